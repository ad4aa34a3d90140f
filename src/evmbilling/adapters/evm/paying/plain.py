"""Plain token transfers to a treasury: their payload, and what stands in their way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from evmbilling.adapters.evm.abi.calldata import DECIMALS, balance_call, transfer_call
from evmbilling.adapters.evm.paying.instructions import is_revert, make_problem, read_answer, read_number, shown, view
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.selling.offers import Problem, WalletPayload
from evmbilling.domain.selling.orders import Order

RAIL: Final = "erc20"


@frozen(kw_only=True)
class TransferState:
    """What the chain says about a plain transfer now.

    Attributes:
        has_code: whether there is a token at the order's address.
        decimals: what the token says of itself; None when it says nothing.
        balance: base units that the wallet holds; None when the token does not answer.
        refused: whether the token would refuse this transfer: paused, or one of the two addresses blocked.

    """

    has_code: bool
    decimals: int | None
    balance: int | None
    refused: bool


def transfer_payload(order: Order) -> WalletPayload:
    """Return the call ``transfer(treasury, amount)`` on the token. Pure."""
    return WalletPayload(
        chain_id=order.chain_id,
        to=order.asset.token,
        value=0,
        data=transfer_call(order.treasury, order.amount),
        gas=order.gas,
    )


def ask_transfer_state(rpc: JsonRpc, order: Order) -> TransferState:
    """Ask one node, about one block.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    token = order.asset.token
    calls = [
        Call("eth_getCode", (token, "latest")),
        view(token, DECIMALS),
        view(token, balance_call(order.wallet)),
        view(token, transfer_call(order.treasury, order.amount), order.wallet),
    ]
    code, decimals, balance, attempt = ask_now(rpc, calls)
    return TransferState(
        has_code=bool(read_answer(code)),
        decimals=read_number(decimals),
        balance=read_number(balance),
        refused=is_revert(attempt),
    )


def transfer_problems(order: Order, state: TransferState) -> Iterator[Problem]:
    """Name what would make the transfer fail now, or mean another amount than was asked for."""
    if not state.has_code or state.balance is None:
        yield make_problem("contract_missing", f"there is no token at {order.asset.token} on this network")
        return
    if state.decimals is not None and state.decimals != order.asset.decimals:
        yield make_problem("token_changed", f"the token has {state.decimals} decimals now, not {order.asset.decimals}")
        return
    if state.balance < order.amount:
        held, due = shown(order, state.balance), shown(order, order.amount)
        yield make_problem("balance", f"the wallet holds {held}, {due} is due")
    elif state.refused:
        yield make_problem("token_refuses", "the token refuses this transfer: it is paused, or an address is blocked")
