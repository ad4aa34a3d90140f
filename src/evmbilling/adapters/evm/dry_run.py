"""Trying a configured call on a node, before a customer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from evmbilling.adapters.evm.bindings import Binding, binding_of, call_payload, read_mapped, with_call
from evmbilling.adapters.evm.calldata import approve_call
from evmbilling.adapters.evm.decoders import EventDecoders
from evmbilling.adapters.evm.events import decode_transfer
from evmbilling.adapters.evm.hexes import to_hex
from evmbilling.adapters.evm.pinned import ask_now
from evmbilling.adapters.evm.rpc import Call, JsonRpc
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue import PaymentContract
from evmbilling.domain.evidence import ChainLog, Observation
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.orders import Order
from evmbilling.domain.paired_money import pair_money
from evmbilling.domain.simulations import SimulatedEvent, Simulation
from evmbilling.errors import Conflict, RpcRefused

_LATEST: Final = "latest"
_SIMULATE: Final = "eth_simulateV1"
_LONGEST: Final = 300
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HASH: Final = bytes(32)


def dry_run(rpc: JsonRpc, order: Order, contract: PaymentContract) -> Simulation:
    """Ask one node what paying an order would do; nothing is sent.

    A node with ``eth_simulateV1`` (execution-apis) shows the logs and lets the approval go first; without it the call
    is only tried, as things stand.

    Raises:
        ProviderError: no node answered, or not understandably.
        Conflict: the call takes the payer's signature.

    """
    pinned, binding = with_call(order, contract), binding_of(contract)
    payload = _payload(pinned)
    call = payload.as_rpc(order.wallet)
    call.pop("chainId")
    calls = [*_first(pinned), call]
    simulated, tried, measured = ask_now(
        rpc,
        [
            Call(_SIMULATE, ({"blockStateCalls": [{"calls": calls}]}, _LATEST)),
            Call("eth_call", (call, _LATEST)),
            Call("eth_estimateGas", (call, _LATEST)),
        ],
    )
    shown = None if isinstance(simulated, RpcRefused) else _outcome(simulated)
    gas = None if isinstance(measured, RpcRefused) else int(msgspec.json.decode(measured), 16)
    refusal = tried.message[:_LONGEST] if isinstance(tried, RpcRefused) else None
    logs: Sequence[ChainLog] = ()
    if shown is not None:
        succeeded, used, refusal = shown["status"] == "0x1", int(shown["gasUsed"], 16), _refusal(shown)
        gas = gas if gas is not None or not succeeded else used
        logs = tuple(_logs(shown, order)) if succeeded else ()
    seen = [found for log in logs if (found := _read(log, contract)) is not None]
    spender = pinned.call.spender if pinned.call else None
    return Simulation(
        payload=payload,
        approval=None if spender is None or pinned.call is None else (spender, pinned.call.approve),
        succeeds=refusal is None,
        refusal=refusal,
        gas=gas if refusal is None else None,
        pays=None if shown is None else _pays(seen, pinned),
        events=tuple(_event(log, contract, binding) for log in logs),
        mapped=tuple((event.decoder.signature, event.mapping.means) for event in binding.events.values()),
    )


def _payload(order: Order) -> WalletPayload:
    payload = call_payload(order)
    if payload is None:
        raise Conflict("the call takes the payer's signature: nothing can be tried without it", field="slug")
    return payload


def _first(order: Order) -> Iterator[Mapping[str, Any]]:
    """Give the approval that goes first, where there is one."""
    call = order.call
    if call is not None and call.spender is not None:
        yield {"from": order.wallet, "to": order.asset.token, "data": to_hex(approve_call(call.spender, call.approve))}


def _outcome(simulated: msgspec.Raw) -> dict[str, Any] | None:
    """Return what the node says of the last call of its one block; None when it says something else."""
    blocks = msgspec.json.decode(simulated)
    calls = blocks[0].get("calls") if isinstance(blocks, list) and blocks and isinstance(blocks[0], dict) else None
    last = calls[-1] if isinstance(calls, list) and calls else None
    needed = {"status", "gasUsed", "logs"}
    return last if isinstance(last, dict) and needed <= set(last) else None


def _refusal(shown: Mapping[str, Any]) -> str | None:
    if shown["status"] == "0x1":
        return None
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
    return any(
        found.kind == "payment"
        and (found.token, found.amount, found.treasury) == (order.asset.token, order.amount, order.treasury)
        and (found.found_by != "reference" or found.reference in (order.reference, mark or order.reference))
        for found in pair_money(seen, treasuries={order.treasury}).seen
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
