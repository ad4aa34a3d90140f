"""What stands in the way of paying an order by a configured call: the money, the allowance, and the call itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from evmbilling.adapters.evm.abi.calldata import allowance_call, approve_call, balance_call
from evmbilling.adapters.evm.paying.instructions import (
    APPROVAL_GAS,
    is_revert,
    make_problem,
    read_answer,
    read_number,
    shown,
    view,
)
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.selling.offers import PayInstructions, Problem, WalletPayload
from evmbilling.domain.selling.orders import Order, OrderCall
from evmbilling.errors import ProviderError

_LATEST: Final = "latest"


@frozen(kw_only=True)
class CallState:
    """What the chain says about a call now.

    Attributes:
        has_code: whether there is a contract.
        balance: base units that the wallet holds; None when the token does not answer.
        allowance: what the spender may take; None where nothing has to be allowed.
        resets: whether the token refuses to change an allowance that is neither zero nor being set to zero.
        refused: whether the contract would refuse the call as things stand.

    """

    has_code: bool
    balance: int | None
    allowance: int | None
    resets: bool
    refused: bool


def call_instructions(rpc: JsonRpc, order: Order, payload: WalletPayload | None, *, is_open: bool) -> PayInstructions:
    """Ask one node, about one block, what a wallet has to do to pay an order by its call.

    A call that takes the payer's signature cannot be tried before it is there.

    Raises:
        ProviderError: no node answered, not understandably, or the order has no call.

    """
    if order.call is None:
        raise ProviderError("the order has no call", field="call")
    state = _ask(rpc, order, order.call)
    return PayInstructions(
        ledger_id=order.ledger_id,
        payload=payload,
        approval=_approval(order, order.call, state) if is_open else None,
        problems=tuple(_problems(order, order.call, state)),
    )


def _ask(rpc: JsonRpc, order: Order, call: OrderCall) -> CallState:
    token, native = order.asset.token, order.asset.is_native
    attempt = {
        "from": order.wallet,
        "to": order.contract,
        "data": to_hex(call.data),
        "value": hex(call.value),
        "gas": hex(order.gas),
    }
    calls = [
        Call("eth_getCode", (order.contract, _LATEST)),
        Call("eth_getBalance", (order.wallet, _LATEST)) if native else view(token, balance_call(order.wallet)),
        Call("eth_call", (attempt, _LATEST)),
    ]
    if call.spender is not None:
        calls.append(view(token, allowance_call(order.wallet, call.spender)))
        calls.append(view(token, approve_call(call.spender, call.approve), order.wallet))
    code, balance, tried, *allowed = ask_now(rpc, calls)
    return CallState(
        has_code=bool(read_answer(code)),
        balance=read_number(balance),
        allowance=read_number(allowed[0]) or 0 if allowed else None,
        resets=is_revert(allowed[1]) if allowed else False,
        refused=bool(call.data) and is_revert(tried),
    )


def _problems(order: Order, call: OrderCall, state: CallState) -> Iterator[Problem]:
    if not state.has_code:
        yield make_problem("contract_missing", f"there is no contract at {order.contract} on this network")
        return
    if state.balance is None:
        yield make_problem("contract_missing", f"there is no token at {order.asset.token} on this network")
        return
    if state.balance < order.amount:
        held, due = shown(order, state.balance), shown(order, order.amount)
        yield make_problem("balance", f"the wallet holds {held}, {due} is due")
    elif state.allowance is not None and state.allowance < call.approve:
        allowed = shown(order, state.allowance)
        yield make_problem("allowance", f"{call.spender} may take {allowed}: approve it first")
    elif state.refused:
        yield make_problem("contract_refuses", "the contract refuses this call as things stand now")


def _approval(order: Order, call: OrderCall, state: CallState) -> WalletPayload | None:
    """Return the approval to send first, for exactly what the call needs; zero first where the token wants that."""
    if call.spender is None or state.allowance is None or state.allowance >= call.approve or not state.has_code:
        return None
    reset = state.allowance > 0 and state.resets
    return WalletPayload(
        chain_id=order.chain_id,
        to=order.asset.token,
        value=0,
        data=approve_call(call.spender, 0 if reset else call.approve),
        gas=APPROVAL_GAS,
    )
