"""A plain JSON-RPC client: for wallets of tests, and to look at a chain with other eyes than the engine's."""

from __future__ import annotations

import json
from typing import Any

import urllib3

from evmbilling.errors import RpcRefused, RpcUnavailable


class JsonRpc:
    """One node over HTTP. It asks once and retries nothing; its url is never shown.

    Args:
        url: where the node answers; a secret.
        timeout: seconds for one answer.

    """

    def __init__(self, url: str, *, timeout: float = 20) -> None:
        self._url = url
        self._http = urllib3.PoolManager(timeout=timeout, retries=False)

    def __repr__(self) -> str:
        return "<JsonRpc>"

    def call(self, method: str, *params: Any) -> Any:
        """Return the ``result`` of a call, as the node sent it.

        Raises:
            RpcUnavailable: nobody answered, or not with JSON-RPC.
            RpcRefused: the node answered with an error; ``details`` hold ``method``, ``rpc_code`` and ``data``.

        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            reply = self._http.request("POST", self._url, body=body, headers={"content-type": "application/json"})
            answer = json.loads(reply.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            # The cause names the url, so only its kind is told.
            raise RpcUnavailable(f"the node does not answer: {type(error).__name__}", method=method) from None
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise RpcUnavailable("the node does not answer in JSON-RPC", method=method)
        if "error" in answer:
            refusal = answer["error"]
            raise RpcRefused(
                f"{method}: {refusal.get('message')}",
                method=method,
                rpc_code=refusal.get("code"),
                data=refusal.get("data"),
            )
        return answer["result"]

    def number(self, method: str, *params: Any) -> int:
        """Return the quantity that a call answers."""
        return int(self.call(method, *params), 16)

    def close(self) -> None:
        """Let go of connections."""
        self._http.clear()
