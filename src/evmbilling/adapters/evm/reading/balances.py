"""What an address held after a block."""

from __future__ import annotations

from evmbilling.adapters.evm.abi.calldata import balance_call
from evmbilling.adapters.evm.paying.instructions import read_number
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.errors import RpcRefused


def ask_balance(rpc: JsonRpc, token: str, holder: str, block: int) -> int:
    """Ask for a balance of a token (``balanceOf``) or of the native coin, in base units, after a block.

    Raises:
        RpcRefused: the node does not keep the state of that block, or the token gives no number.
        RpcUnavailable: no node answered.

    """
    call = Call("eth_getBalance", (holder, hex(block)))
    if token != NATIVE_COIN:
        call = Call("eth_call", ({"to": token, "data": to_hex(balance_call(holder))}, hex(block)))
    found = read_number(rpc.batch([call])[0])
    if found is None:
        raise RpcRefused("the token says no balance")
    return found
