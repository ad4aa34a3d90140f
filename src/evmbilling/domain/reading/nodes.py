"""What is known about the nodes of a network, for people and for monitoring."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

NodeState = Literal["ready", "limited", "doubtful", "open", "set_aside", "wrong_chain"]
"""``ready``; ``limited``: it said "too many requests"; ``doubtful``: it failed just now and is asked last; ``open``: it
failed several times in a row and is not asked until its pause is over; ``set_aside``: its answers contradicted each
other; ``wrong_chain``: it serves another chain."""


@frozen(kw_only=True)
class NodeHealth:
    """One node as it was seen by this process. Its url is not in here.

    Attributes:
        node: which one, by its place in the configuration: ``node 1 of 2``, ``reserve 1``.
        head: the highest block it named when it was asked last; None before.
        lag: how many blocks that is behind the best node.
        latency_ms: of its answers, a moving average; None before the first.
        asked, failed: how many requests, and how many of them gave no usable answer.
        reason: of the last failure, a stable word: ``timeout``, ``no_connection``, ``rate`` …; empty before.
        waits: seconds until it is asked again as if nothing had been; 0 when it is ready.

    """

    node: str
    state: NodeState
    head: int | None = None
    lag: int | None = None
    latency_ms: int | None = None
    asked: int = 0
    failed: int = 0
    reason: str = ""
    waits: int = 0


@frozen(kw_only=True)
class NetworkHealth:
    """A network: how far its nodes are, and how far we have read.

    Attributes:
        head: the highest block that a usable node named; None before one was asked.
        read: the last block that is evidence; None before the first.
        read_at: when it was read; ``read_time`` is that block's own time.
        behind: how many blocks reading is behind ``head``.
        finality_lag: how many blocks the chain's ``finalized`` is behind its head, as read; None without that tag.
        halted: why reading stands still until a person resumes it; None when it does not.
        nodes: as the provider of this process sees them; empty when it does not say.

    """

    network: str
    chain_id: int
    head: int | None
    read: int | None
    read_at: datetime | None
    read_time: datetime | None
    behind: int | None
    finality_lag: int | None
    halted: str | None
    nodes: tuple[NodeHealth, ...]
