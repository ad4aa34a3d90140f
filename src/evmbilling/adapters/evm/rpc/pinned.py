"""Questions about state, all as of one block: the head of the node that answers.

Behind one url there can be several nodes, some of them late. Asked about ``latest``, a late one answers from an old
state and nobody can tell; asked about a block that it does not have, it says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from msgspec import Raw

from evmbilling.adapters.evm.rpc.exchange import Call, Results
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.errors import RpcRefused, RpcUnavailable

LATEST = "latest"


def ask_now(rpc: JsonRpc, calls: Sequence[Call]) -> Results:
    """Return the results of calls whose last parameter is ``latest``, all from one node at one block.

    Raises:
        RpcUnavailable: no node answered about its own head. WrongChain: they serve another chain.

    """
    tried: list[str] = []
    while True:
        with rpc.session(other_than=tried) as node:
            tried.append(node.name)
            try:
                results = node.batch([_at(call, node.head) for call in calls], attempts=1)
            except RpcUnavailable:
                continue  # when no node is left, the session says so
            if not any(map(_lags, results)):
                return results


def _at(call: Call, block: int) -> Call:
    *params, last = call.params
    return attrs.evolve(call, params=(*params, hex(block))) if last == LATEST else call


def _lags(result: Raw | RpcRefused) -> bool:
    return isinstance(result, RpcRefused) and refusal_of(result).kind is RefusalKind.HEAD_LAG
