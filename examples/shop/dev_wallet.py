"""A wallet in the page for a local chain, where no extension is. It asks nobody and pays whatever it is told to.

Only the local examples put it into their pages; the pages of the package never hold it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evmbilling.errors import RpcRefused
from evmbilling.testing.anvil import AnvilNode

PATH = "/dev-wallet"
_TAG = f'<script src="{PATH}.js"></script></body>'.encode()
_READS = frozenset({"eth_call", "eth_getTransactionReceipt", "eth_getTransactionByHash", "eth_blockNumber"})


def with_wallet(page: bytes) -> bytes:
    """Return a page with the wallet in it."""
    return page.replace(b"</body>", _TAG)


class DevWallet:
    """One unlocked account of a node.

    Args:
        node: where it sends.
        account: from which account.

    """

    script = Path(__file__).with_name("dev_wallet.js").read_bytes()

    def __init__(self, node: AnvilNode, account: str) -> None:
        self._node = node
        self._account = account

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the page (EIP-1193)."""
        method, params = str(asked.get("method")), list(asked.get("params") or [])
        try:
            return {"result": self._result(method, params)}
        except RpcRefused as refused:
            return {"error": {"code": refused.details.get("rpc_code", -32603), "message": refused.message}}

    def _result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_requestAccounts" | "eth_accounts":
                return [self._account]
            case "eth_chainId":
                return hex(self._node.chain_id)
            case "wallet_switchEthereumChain":
                return None
            case "eth_sendTransaction":
                return self._node.send({key: value for key, value in params[0].items() if key != "chainId"})
            case _ if method in _READS:
                return self._node.rpc(method, *params)
        raise RpcRefused("this wallet does not do that", rpc_code=4200)
