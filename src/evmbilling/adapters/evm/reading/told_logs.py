"""What a node's answers to ``eth_getLogs`` tell: each log once, in order, and where an answer may have been cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.reading.asking import size_of
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import LOGS, LogAnswer, LogReader, SeenLog, decode_answer
from evmbilling.errors import ChainMismatch

LONG: Final = 500
"""Logs from which on an answer may have been cut: by its size, which is no round number."""


@frozen
class Found:
    """What one question for logs gave.

    Attributes:
        beside: the block of each log that came along and is not watched.
        most: how many logs the longest of the answers had.
        octets: the size of the answers.
        since: the block in which the last of the long answers begins; None where none was long.
        until: the block in which the first of the long answers ends.

    """

    logs: list[SeenLog]
    beside: list[int]
    most: int
    octets: int
    since: int | None = None
    until: int | None = None

    def count_from(self, start: int) -> int:
        """Return of how many logs it told from a block on, whether they are watched or not."""
        return sum(log.block_number >= start for log in self.logs) + sum(number >= start for number in self.beside)


def read_told(raws: Sequence[Raw], watched: Filter, *, chain_id: int, pass_over: Callable[[str], None]) -> Found:
    """Read answers to ``eth_getLogs``: each log once, in the order of blocks and places.

    Raises:
        ChainMismatch: a log was removed, or two are at one place.

    """
    told = _Told(watched, chain_id, pass_over)
    lists: list[list[SeenLog]] = []
    beside: list[int] = []
    most = 0
    begins: list[int] = []
    ends: list[int] = []
    for raw in raws:
        answers = decode_answer(LOGS, raw, "list of logs")
        most = max(most, len(answers))
        if answers:
            logs, others = told.ordered(answers)
            lists.append(logs)
            beside += others
            if len(answers) >= LONG:
                edges = [log.block_number for log in (*logs[:1], *logs[-1:])] + others
                begins.append(min(edges, default=0))
                ends.append(max(edges, default=0))
    if len(lists) > 1:
        # A transfer between two treasuries answers two queries.
        lists = [list({_place(log): log for logs in lists for log in logs}.values())]
        lists[0].sort(key=_place)
    return Found(
        lists[0] if lists else [],
        beside,
        most,
        sum(map(size_of, raws)),
        since=max(begins, default=None),
        until=min(ends, default=None),
    )


class _Told:
    """Reads the answers to one question; what they have in common is read once."""

    def __init__(self, watched: Filter, chain_id: int, pass_over: Callable[[str], None]) -> None:
        self._watched, self._chain_id, self._pass_over = watched, chain_id, pass_over
        self._reader = LogReader()

    def ordered(self, answers: Sequence[LogAnswer]) -> tuple[list[SeenLog], list[int]]:
        """Return the watched logs of one answer in their order, each with its own place, and the others' blocks."""
        read, holds = self._reader.read, self._watched.holds
        found: list[SeenLog] = []
        beside: list[int] = []
        before = (-1, -1)
        in_order = True
        for answer in answers:
            if not answer.has_transaction:
                self._pass_over("no_transaction")
                continue
            log = read(answer)
            if answer.removed:
                raise ChainMismatch(f"a log of block {log.block_number} was removed", chain_id=self._chain_id)
            place = (log.block_number, log.log_index)
            in_order = in_order and before < place
            before = place
            if holds(log):
                found.append(log)
            else:
                beside.append(log.block_number)
        if not in_order:
            if len(set(map(_place, found))) != len(found):
                raise ChainMismatch(f"two logs of blocks up to {before[0]} are at one index", chain_id=self._chain_id)
            found.sort(key=_place)
        return found, beside


def _place(log: SeenLog) -> tuple[int, int]:
    return (log.block_number, log.log_index)
