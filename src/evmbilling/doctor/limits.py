"""What each node lets us ask: how many blocks at once, how many calls at once, and which finality tags it knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evmbilling.adapters.evm.reading.chunks import START, Span
from evmbilling.adapters.evm.rpc.exchange import Call
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.session import NodeSession
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.errors import BillingError, ConfigurationError, ProviderError, RpcRefused

_TRIES: Final = 12
"""Halving so often comes from the first range to a single block."""
_NARROW: Final = 100
"""Blocks at once below which catching up after an outage takes long."""
_CALLS: Final = 20
"""As many as the reader asks at once at most when it looks at headers."""
_TAGS: Final = ("safe", "finalized")


def check_limits(patient: Patient) -> Iterator[Finding]:
    """Ask every node that answers for a range of our contracts' logs, a batch of calls, and the finality tags."""
    for network in patient.networks:
        try:
            source = patient.provider(network).chain(network)
            if not isinstance(source, EvmChainSource):
                continue
            watched = [c.address for c in patient.contracts if c.network == network.name] or [ZERO_ADDRESS]
            asked = False
            for session in source.rpc.each_node():
                asked = True
                yield _limits(network, session, watched)
            if not asked:
                yield _unasked(network, "no node answers")
        except (ProviderError, ConfigurationError) as error:
            yield _unasked(network, error.message)


def _unasked(network: Network, why: str) -> Finding:
    text = f"{network.name}: what its nodes allow could not be asked: {why}"
    return Finding(check="limits", verdict="warn", text=text, advice="look again when its nodes answer")


def _limits(network: Network, session: NodeSession, watched: Sequence[str]) -> Finding:
    name = f"{network.name}: {session.name}"
    try:
        blocks, calls, tags = _blocks(session, watched), _calls(session), _tags(session)
    except BillingError as error:
        text = f"{name} could not be asked: {error.message}"
        return Finding(check="limits", verdict="warn", text=text, advice="look again when it answers")
    known = ", ".join(tags) or "no finality tags"
    if blocks is None:
        text = f"{name} gives no logs of any range"
        advice = "use another node: this one cannot be read from"
        return Finding(check="limits", verdict="fail", text=text, advice=advice)
    text = f"{name} takes {blocks} blocks and {calls} calls at once; {known}"
    if blocks < min(_NARROW, session.head + 1):
        advice = "use another node or plan: catching up after an outage takes long with so few blocks at once"
        return Finding(check="limits", verdict="warn", text=text, advice=advice)
    return Finding(check="limits", verdict="pass", text=text)


def _blocks(session: NodeSession, watched: Sequence[str]) -> int | None:
    """Return how many of the newest blocks it gives logs of at once, up to the reader's first range; None for none."""
    span, head = Span(), session.head
    span.begin_with(min(START, head + 1))
    for _ in range(_TRIES):
        first = max(0, head - span.blocks + 1)
        wanted = {"fromBlock": hex(first), "toBlock": hex(head), "address": list(watched)}
        try:
            session.call("eth_getLogs", wanted)
        except RpcRefused as refused:
            refusal = refusal_of(refused)
            if refusal.kind not in (RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH):
                raise
            if not span.refused(refusal, first, head):
                return None
        else:
            return head - first + 1
    return None


def _calls(session: NodeSession) -> int:
    session.batch([Call("eth_chainId")] * _CALLS)
    return min(session.endpoint.exchange.batch, _CALLS)


def _tags(session: NodeSession) -> list[str]:
    answers = session.batch([Call("eth_getBlockByNumber", (tag, False)) for tag in _TAGS])
    told = zip(_TAGS, answers, strict=True)
    return [tag for tag, answer in told if not isinstance(answer, RpcRefused) and bytes(answer) != b"null"]
