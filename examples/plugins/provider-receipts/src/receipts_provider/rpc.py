"""JSON-RPC over HTTP with the standard library."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any
from urllib.request import Request, urlopen

from evmbilling.errors import ConfigurationError, RpcRefused, RpcUnavailable


class Rpc:
    """Asks nodes, one after another until one answers. Safe for threads: it keeps no connection.

    Args:
        urls: of nodes of one chain; they may hold keys, so no error repeats them.
        timeout: seconds that one answer may take.

    """

    def __init__(self, urls: Sequence[str], *, timeout: float) -> None:
        if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
            raise ConfigurationError("a network is read over http(s) urls", field="rpc_urls")
        self._urls = tuple(urls)
        self._timeout = timeout
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Rpc of {len(self._urls)} nodes>"

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of one call.

        Raises:
            RpcRefused: the node answered with an error.
            RpcUnavailable: no node answered as JSON-RPC does.

        """
        number = next(self._ids)
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        for url in self._urls:
            try:
                request = Request(url, data=body, headers={"content-type": "application/json"})  # noqa: S310  - checked when it was made
                with urlopen(request, timeout=self._timeout) as said:  # noqa: S310
                    answer = json.loads(said.read())
            except (OSError, ValueError):
                continue
            if isinstance(answer, dict) and answer.get("id") == number and "error" in answer:
                code = answer["error"].get("code") if isinstance(answer["error"], dict) else None
                raise RpcRefused(f"{method} was refused ({code})")
            if isinstance(answer, dict) and answer.get("id") == number and "result" in answer:
                return answer["result"]
        raise RpcUnavailable(f"no node answered {method}")
