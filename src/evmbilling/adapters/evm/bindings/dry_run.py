"""Trying a configured call on a node, before a customer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_bytes
from typing import Any, Final

import attrs
import msgspec
from attrs import frozen
from eth_keys.main import KeyAPI

from evmbilling.adapters.evm.abi.calldata import approve_call, transfer_call
from evmbilling.adapters.evm.abi.decoders import EventDecoders
from evmbilling.adapters.evm.abi.events import decode_transfer
from evmbilling.adapters.evm.bindings.bindings import (
    Binding,
    binding_of,
    call_payload,
    order_values,
    read_mapped,
    with_call,
)
from evmbilling.adapters.evm.bindings.token_permits import ask_permit, permitted_payload
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.tokens.lending import lend
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.catalogue.simulations import SimulatedEvent, Simulation, Unchecked
from evmbilling.domain.payments.paired_money import pair_money, told_again
from evmbilling.domain.reading.evidence import ChainLog, Observation
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import Conflict, RpcRefused

_LATEST: Final = "latest"
_SIMULATE: Final = "eth_simulateV1"
_LONGEST: Final = 300
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HASH: Final = bytes(32)
_GOOD: Final = "0x1"
_KEY_BYTES: Final = 32
_FIRST_V: Final = 27


@frozen(kw_only=True)
class Trial:
    """A call that is about to be tried.

    Attributes:
        order: with its call; of the throw-away wallet, where one pays.
        payload: the transaction.
        allowed: whom the payer has to allow how many base units first; None for nobody.
        payer: whose money it is.
        stand_in: the throw-away wallet; None where the payer's own is tried.

    """

    order: Order
    payload: WalletPayload
    allowed: tuple[str, int] | None
    payer: str
    stand_in: str | None = None

    @property
    def before(self) -> tuple[Mapping[str, Any], ...]:
        """What goes first: money for the throw-away wallet, and the approval."""
        token, found = self.order.asset.token, []
        if self.stand_in is not None:
            moved = transfer_call(self.stand_in, self.order.amount)
            found.append({"from": self.payer, "to": token, "data": to_hex(moved)})
        if self.allowed is not None:
            found.append({"from": self.order.wallet, "to": token, "data": to_hex(approve_call(*self.allowed))})
        return tuple(found)

    @property
    def call(self) -> dict[str, Any]:
        """The transaction as a node tries it."""
        call = self.payload.as_rpc(self.order.wallet)
        call.pop("chainId")
        return call


@frozen(kw_only=True)
class _Outcome:
    """How it went; ``logs`` are None where the node does not show them."""

    succeeds: bool | None
    refusal: str | None = None
    gas: int | None = None
    logs: tuple[ChainLog, ...] | None = None
    unchecked: tuple[Unchecked, ...] = ()


def dry_run(rpc: JsonRpc, order: Order, contract: PaymentContract, *, signed: bool = False) -> Simulation:
    """Ask one node what paying an order would do; nothing is sent.

    A node with ``eth_simulateV1`` (execution-apis) shows the logs and lets the approval go first; without it the call
    is only tried, with what state overrides can lend, or as things stand. A call that takes the payer's signature is
    signed by a throw-away key, to whose wallet the payer's money is moved before, in the simulation alone.

    Args:
        rpc, order, contract: what is tried where.
        signed: try the call that takes the payer's signature, where there is another without one.

    Raises:
        ProviderError: no node answered, or not understandably.
        Conflict: there is no call that takes a signature, or the token takes none.

    """
    binding = binding_of(contract)
    by_signature = signed or binding.call_for(order).takes_signature
    trial = _signed_trial(rpc, order, contract) if by_signature else _plain_trial(order, contract)
    found = _simulated(rpc, trial) or _tried(rpc, trial)
    logs = found.logs or ()
    seen = [told for log in logs if (told := _read(log, contract)) is not None]
    return Simulation(
        payload=trial.payload,
        approval=trial.allowed,
        succeeds=found.succeeds,
        refusal=found.refusal,
        gas=found.gas if found.succeeds else None,
        stand_in=trial.stand_in,
        unchecked=(*found.unchecked, *(("own_signature",) if trial.stand_in else ())),
        pays=None if found.logs is None else _pays(seen, trial.order),
        events=tuple(_event(log, contract, binding) for log in logs),
        mapped=tuple((event.decoder.signature, event.mapping.means) for event in binding.events.values()),
    )


def _plain_trial(order: Order, contract: PaymentContract) -> Trial:
    pinned = with_call(order, contract)
    payload = call_payload(pinned)
    if payload is None:
        raise Conflict("the call takes the payer's signature", field="slug")
    call = pinned.call
    allowed = None if call is None or call.spender is None else (call.spender, call.approve)
    return Trial(order=pinned, payload=payload, allowed=allowed, payer=order.wallet)


def _signed_trial(rpc: JsonRpc, order: Order, contract: PaymentContract) -> Trial:
    """Let a throw-away key sign, and a wallet of its own pay with the payer's money."""
    key = KeyAPI().PrivateKey(token_bytes(_KEY_BYTES))
    wallet = key.public_key.to_checksum_address()
    own = order.beneficiary if order.beneficiary != order.wallet else wallet
    theirs = with_call(attrs.evolve(order, wallet=wallet, beneficiary=own), contract)
    made = key.sign_msg_hash(ask_permit(rpc, theirs, contract).digest).to_bytes()
    signature = made[:-1] + bytes((made[-1] + _FIRST_V,))
    call = binding_of(contract).signed_call_for(theirs)
    needs = call is not None and call.template.sign is not None
    return Trial(
        order=theirs,
        payload=permitted_payload(rpc, theirs, contract, signature),
        allowed=call.approval(order_values(theirs)) if call is not None and needs else None,
        payer=order.wallet,
        stand_in=wallet,
    )


def _simulated(rpc: JsonRpc, trial: Trial) -> _Outcome | None:
    """Try it as a block would run it; None where the node has no such method."""
    calls = [*trial.before, trial.call]
    asked = Call(_SIMULATE, ({"blockStateCalls": [{"calls": calls}]}, _LATEST))
    simulated, measured = ask_now(rpc, [asked, Call("eth_estimateGas", (trial.call, _LATEST))])
    done = None if isinstance(simulated, RpcRefused) else _calls(simulated, len(calls))
    if done is None:
        return None
    if trial.stand_in is not None and done[0]["status"] != _GOOD:
        return _Outcome(succeeds=False, refusal=f"the wallet cannot hand over the money: {_refusal(done[0])}")
    last = done[-1]
    if last["status"] != _GOOD:
        return _Outcome(succeeds=False, refusal=_refusal(last), logs=())
    used = int(last["gasUsed"], 16)
    gas = used if isinstance(measured, RpcRefused) else max(used, int(msgspec.json.decode(measured), 16))
    return _Outcome(succeeds=True, gas=gas, logs=tuple(_logs(last, trial.order)))


def _tried(rpc: JsonRpc, trial: Trial) -> _Outcome:
    """Try the call alone, with a balance and an allowance that state overrides lend where the node has them."""
    order, allowed = trial.order, trial.allowed
    lent = lend(rpc, order.asset.token, order.wallet, order.amount if trial.stand_in else 0, allowed)
    if lent is None and trial.stand_in is not None:
        return _Outcome(succeeds=None, unchecked=("call", "events"))
    state = () if not lent else (lent,)
    asked = [Call(method, (trial.call, _LATEST, *state)) for method in ("eth_call", "eth_estimateGas")]
    tried, measured = rpc.batch(asked, attempts=1) if state else ask_now(rpc, asked)
    missing: tuple[Unchecked, ...] = ("events", "approval") if allowed is not None and not state else ("events",)
    if isinstance(tried, RpcRefused):
        return _Outcome(succeeds=False, refusal=tried.message[:_LONGEST], unchecked=missing)
    gas = None if isinstance(measured, RpcRefused) else int(msgspec.json.decode(measured), 16)
    return _Outcome(succeeds=True, gas=gas, unchecked=missing)


def _calls(simulated: msgspec.Raw, count: int) -> Sequence[Mapping[str, Any]] | None:
    """Return what the node says of the calls of its one block; None when it says something else."""
    blocks = msgspec.json.decode(simulated)
    calls = blocks[0].get("calls") if isinstance(blocks, list) and blocks and isinstance(blocks[0], dict) else None
    if not isinstance(calls, list) or len(calls) != count:
        return None
    return calls if all(isinstance(one, dict) and {"status", "gasUsed", "logs"} <= set(one) for one in calls) else None


def _refusal(shown: Mapping[str, Any]) -> str:
    error = shown.get("error")
    told = error.get("message") if isinstance(error, dict) else None
    return str(told or "the contract refuses this call")[:_LONGEST]


def _logs(shown: Mapping[str, Any], order: Order) -> Iterator[ChainLog]:
    """Give the logs of a call that nobody sent, as if a block held them."""
    for at, log in enumerate(shown["logs"]):
        yield ChainLog(
            chain_id=order.chain_id,
            block_number=0,
            block_hash=_HASH,
            block_time=_EPOCH,
            tx_hash=_HASH,
            log_index=at,
            ordinal=at,
            address=checksum(bytes.fromhex(log["address"][2:])),
            topics=tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
            data=bytes.fromhex(log["data"][2:]),
        )


def _read(log: ChainLog, contract: PaymentContract) -> Observation | None:
    return read_mapped(log, contract) or decode_transfer(log)


def _pays(seen: Sequence[Observation], order: Order) -> bool:
    """Whether what was emitted pays the order as the intake would see it."""
    mark = order.call.mark if order.call else b""
    paired = pair_money(seen, treasuries={order.treasury}).seen
    if told_again(paired):
        return False
    return any(
        found.kind == "payment"
        and (found.token, found.amount, found.treasury) == (order.asset.token, order.amount, order.treasury)
        and (found.found_by != "reference" or found.reference in (order.reference, mark or order.reference))
        for found in paired
    )


def _event(log: ChainLog, contract: PaymentContract, binding: Binding) -> SimulatedEvent:
    known = EventDecoders.of(msgspec.json.decode(contract.abi or "[]")) if log.address == contract.address else None
    found = known.decode(log.topics, log.data) if known is not None else None
    if found is None:
        return SimulatedEvent(address=log.address, event="")
    mapped = binding.events.get((log.topics[0], len(log.topics)))
    return SimulatedEvent(
        address=log.address,
        event=found.event.signature,
        means=mapped.mapping.means if mapped is not None else None,
        fields=tuple((name, _text(value)) for name, value in found.named().items()),
    )


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return str(value)
