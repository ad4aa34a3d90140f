"""Contract calls through web3, over our own bounded transport."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import msgspec
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from evmbilling._imports import recursion_limit_kept
from evmbilling.adapters.evm.abi.calldata import selector
from evmbilling.adapters.evm.paying.instructions import read_answer
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.pinned import LATEST, ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.errors import ChainMismatch, RpcRefused

with recursion_limit_kept():
    from web3 import Web3
    from web3.exceptions import Web3Exception
    from web3.providers.base import JSONBaseProvider
    from web3.types import RPCEndpoint, RPCResponse

_DECIMALS: Final = selector("decimals()")
_VIEWS: Final = [
    {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": f"a{at}", "type": kind} for at, kind in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}],
    }
    for name, inputs, output in (
        ("isSigner", ("address",), "bool"),
        ("isOperator", ("address",), "bool"),
        ("allowance", ("address", "address"), "uint256"),
    )
]


class RpcProvider(JSONBaseProvider):
    """web3's way to a node: ours, with its limits, and with CCIP-read off.

    With CCIP-read (ERC-3668) on, any contract that is called can make this process send HTTP requests.
    """

    global_ccip_read_enabled = False

    def __init__(self, rpc: JsonRpc) -> None:
        super().__init__()
        self._rpc = rpc

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer as a node would."""
        calls = [Call(method, tuple(params))]
        (result,) = ask_now(self._rpc, calls) if LATEST in params else self._rpc.batch(calls)
        if isinstance(result, RpcRefused):
            error = {
                "code": result.details["rpc_code"],
                "message": result.message,
                "data": result.details["data"],
            }
            return {"jsonrpc": "2.0", "id": 1, "error": error}  # type: ignore[typeddict-item]  # a literal dict
        return {"jsonrpc": "2.0", "id": 1, "result": msgspec.json.decode(result, type=str)}


class ContractReader:
    """Asks contracts over ``rpc``, through web3 where there is more to it than two words.

    A plan's first look at its tokens asks for their code and decimals; through web3 that costs three times as much.
    """

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc

    @cached_property
    def _web3(self) -> Web3:
        return Web3(RpcProvider(self.rpc), middleware=[])

    def code(self, address: str) -> bytes:
        """Return the code at an address; empty when there is none.

        Raises:
            RpcRefused: the node does not tell. ChainMismatch: what it tells is no code.

        """
        return self._asked(Call("eth_getCode", (address, LATEST)))

    def decimals(self, token: str) -> int | None:
        """Return what ``decimals()`` of a token answers; None when it answers no number from 0 to 255."""
        call = {"to": token, "data": to_hex(_DECIMALS)}
        try:
            (answer,) = decode(("uint8",), self._asked(Call("eth_call", (call, LATEST))))
        except (RpcRefused, ChainMismatch, DecodingError):
            return None
        return int(answer)

    def is_signer(self, contract: str, address: str) -> bool:
        """Return whether a Checkout contract accepts orders signed by an address."""
        return self._view(contract, "isSigner", Web3.to_checksum_address(address)) is True

    def is_operator(self, contract: str, address: str) -> bool:
        """Return whether a Mandates contract takes charges from an address."""
        return self._view(contract, "isOperator", Web3.to_checksum_address(address)) is True

    def allowance(self, token: str, owner: str, spender: str) -> int | None:
        """Return how many base units a spender may take; None when the token does not tell."""
        answer = self._view(token, "allowance", Web3.to_checksum_address(owner), Web3.to_checksum_address(spender))
        return answer if isinstance(answer, int) else None

    def _asked(self, call: Call) -> bytes:
        (answer,) = ask_now(self.rpc, [call])
        return read_answer(answer)

    def _view(self, address: str, function: str, *arguments: Any) -> Any:
        contract = self._web3.eth.contract(address=Web3.to_checksum_address(address), abi=_VIEWS)
        try:
            return contract.functions[function](*arguments).call()
        except (Web3Exception, DecodingError):
            return None
