"""What stands in the way of paying an order, asked from the chain in one batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.abi.calldata import (
    PAUSED,
    allowance_call,
    approve_call,
    balance_call,
    is_signer_call,
    is_used_call,
)
from evmbilling.adapters.evm.rpc.answers import BYTES, decode_answer
from evmbilling.adapters.evm.rpc.hexes import read_bytes, read_quantity, to_hex
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.money import from_base_units
from evmbilling.domain.selling.offers import Problem, ProblemCode, WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ChainMismatch, RpcRefused

APPROVAL_GAS: Final = 100_000
_WORD: Final = 32
_REVERTED: Final = 3  # the code that nodes give a revert; some only say it in words


@frozen(kw_only=True)
class PayState:
    """What the chain says about an order now.

    Attributes:
        has_code: whether there is a contract at the order's contract address.
        signer_accepted: whether the contract takes orders that the key of this one has signed.
        token_answers: whether the token answers like one (always for the native coin).
        balance: base units that the wallet holds.
        allowance: base units that the contract may take; None for the native coin.
        treasury_takes: whether the treasury takes the native coin (always for a token): an address with code may not.
        takes_approval: whether the token takes ``approve`` for the full amount as its allowance stands.

    """

    has_code: bool
    paused: bool
    used: bool
    signer_accepted: bool
    token_answers: bool
    balance: int
    allowance: int | None
    takes_approval: bool
    treasury_takes: bool = True


def ask_pay_state(rpc: JsonRpc, order: Order) -> PayState:
    """Ask one node, about one block.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    answers = iter(ask_now(rpc, _questions(order)))
    has_code = bool(read_answer(next(answers)))
    paused, used = read_number(next(answers)), read_number(next(answers))
    accepted = read_number(next(answers)) != 0
    balance = read_number(next(answers))
    if order.asset.is_native:
        return PayState(
            has_code=has_code,
            paused=bool(paused),
            used=bool(used),
            signer_accepted=accepted,
            token_answers=True,
            balance=balance or 0,
            allowance=None,
            takes_approval=True,
            treasury_takes=not is_revert(next(answers)),
        )
    allowance = read_number(next(answers))
    return PayState(
        has_code=has_code,
        paused=bool(paused),
        used=bool(used),
        signer_accepted=accepted,
        token_answers=balance is not None and allowance is not None,
        balance=balance or 0,
        allowance=allowance or 0,
        takes_approval=not is_revert(next(answers)),
    )


def problems_of(order: Order, state: PayState) -> Iterator[Problem]:
    """Name what would make the payment fail now."""
    if not state.has_code:
        yield make_problem("contract_missing", f"there is no contract at {order.contract} on this network")
        return
    if not state.token_answers:
        yield make_problem("contract_missing", f"there is no token at {order.asset.token} on this network")
        return
    if state.used:
        yield make_problem("reference_used", "this order has been paid")
        return
    if state.paused:
        yield make_problem("paused", "the payment contract is paused")
    if not state.signer_accepted:
        yield make_problem("signer_removed", "the contract takes no orders any more that this key signed")
    if not state.treasury_takes:
        yield make_problem("treasury_refuses", f"the contract at {order.treasury} refuses the coin")
    if state.balance < order.amount:
        held, due = shown(order, state.balance), shown(order, order.amount)
        yield make_problem("balance", f"the wallet holds {held}, {due} is due")
    if state.allowance is not None and state.allowance < order.amount:
        yield make_problem("allowance", f"the contract may take {shown(order, state.allowance)}: approve it first")


def approval_of(order: Order, state: PayState) -> WalletPayload | None:
    """Return the approval to send before paying, for exactly the amount; None when the allowance suffices.

    Some tokens (USDT on Ethereum) refuse to change an allowance that is neither zero nor being set to zero. The node
    was asked whether this one would; if so, the first approval sets the allowance to zero, and asking again after it
    is mined returns the second.
    """
    if state.allowance is None or state.allowance >= order.amount or not state.has_code or not state.token_answers:
        return None
    reset = state.allowance > 0 and not state.takes_approval
    return WalletPayload(
        chain_id=order.chain_id,
        to=order.asset.token,
        value=0,
        data=approve_call(order.contract, 0 if reset else order.amount),
        gas=APPROVAL_GAS,
    )


def _questions(order: Order) -> list[Call]:
    calls = [
        Call("eth_getCode", (order.contract, "latest")),
        view(order.contract, PAUSED),
        view(order.contract, is_used_call(order.reference)),
        view(order.contract, is_signer_call(order.signer or ZERO_ADDRESS)),
    ]
    if order.asset.is_native:
        return [*calls, Call("eth_getBalance", (order.wallet, "latest")), view(order.treasury, b"", order.contract)]
    token = order.asset.token
    return [
        *calls,
        view(token, balance_call(order.wallet)),
        view(token, allowance_call(order.wallet, order.contract)),
        view(token, approve_call(order.contract, order.amount), order.wallet),
    ]


def view(to: str, data: bytes, sender: str | None = None) -> Call:
    """Return a call that changes nothing, as seen from a sender."""
    call = {"to": to, "data": to_hex(data)}
    return Call("eth_call", (call | ({"from": sender} if sender else {}), "latest"))


def read_answer(answer: Raw | RpcRefused) -> bytes:
    """Read returned bytes.

    Raises:
        RpcRefused: the node refused. ChainMismatch: these are no bytes.

    """
    if isinstance(answer, RpcRefused):
        raise answer
    value = None
    try:
        value = read_bytes(decode_answer(BYTES, answer, "value"))
    except ValueError:
        value = None
    if value is None:
        raise ChainMismatch("the node's answer is no bytes")
    return value


def read_number(answer: Raw | RpcRefused) -> int | None:
    """Read one word or quantity; None when a contract gave no number, as an address without code does."""
    if isinstance(answer, RpcRefused):
        if is_revert(answer):
            return None
        raise answer
    text = decode_answer(BYTES, answer, "value")
    try:
        return read_quantity(text)
    except ValueError:
        value = read_answer(answer)
        return int.from_bytes(value[:_WORD], "big") if len(value) >= _WORD else None


def is_revert(answer: Raw | RpcRefused) -> bool:
    """Whether the contract refused, rather than the node."""
    if not isinstance(answer, RpcRefused):
        return False
    return answer.details["rpc_code"] == _REVERTED or "revert" in answer.message


def make_problem(code: ProblemCode, text: str) -> Problem:
    """Return a problem with its words."""
    return Problem(code=code, text=text)


def shown(order: Order, amount: int) -> str:
    """Write an amount of the order's asset for people; the symbol is the configured one."""
    return f"{from_base_units(amount, order.asset.decimals)} {order.asset.symbol}"
