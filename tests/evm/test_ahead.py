"""Asking ahead: pieces are taken in order while others still come, and who takes them need not be there for more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from evmbilling.adapters.evm.reading.ahead import Ahead, Piece
from evmbilling.adapters.evm.reading.chunks import Spans
from evmbilling.domain.reading.evidence import BlockHeader, ScannedRange
from evmbilling.errors import RpcUnavailable

SHAPE = "shape"
LONG = 60
Read = Callable[[int, int], Iterator[Piece]]


def piece(first: int, last: int, octets: int = 1) -> Piece:
    ends = [
        BlockHeader(number=n, hash=bytes(32), parent_hash=bytes(32), timestamp=datetime(2026, 1, 1, tzinfo=UTC))
        for n in (first, last)
    ]
    return Piece(ScannedRange(first=ends[0], last=ends[1], logs=()), octets)


def known(blocks: int) -> Spans:
    """What a node takes, after it has answered once."""
    spans = Spans()
    spans.of("node", SHAPE).begin_with(blocks)
    spans.of("node", SHAPE).served(blocks + 1, logs=8_000, octets=1, seconds=0)
    return spans


@contextlib.contextmanager
def ahead(read: Read, last: int, spans: Spans) -> Iterator[Ahead]:
    asking = Ahead(read, 1, last, spans=spans, shape=SHAPE)
    with contextlib.closing(asking):
        yield asking
    assert not [t for t in threading.enumerate() if t.name.startswith("evmbilling-reader")]


def taken(asking: Ahead) -> list[tuple[int, int]]:
    return [(found.first.number, found.last.number) for found in iter(asking.take, None)]


def test_a_piece_is_taken_before_its_request_has_ended() -> None:
    has_one = threading.Event()

    def read(first: int, last: int) -> Iterator[Piece]:
        yield piece(first, first)
        assert has_one.wait(LONG)
        yield piece(first + 1, last)

    with ahead(read, 9, Spans()) as asking:
        assert asking.take() == piece(1, 1).scanned
        has_one.set()
        assert taken(asking) == [(2, 9)]


def test_what_a_request_leaves_is_asked_for_though_nobody_takes() -> None:
    asked_again = threading.Event()

    def read(first: int, last: int) -> Iterator[Piece]:
        if first > 1:
            asked_again.set()
        yield piece(first, min(last, first + 2))

    with ahead(read, 9, known(9)) as asking:
        assert asking.take() == piece(1, 3).scanned
        assert asked_again.wait(LONG)
        assert taken(asking) == [(4, 6), (7, 9)]


def test_what_a_request_leaves_comes_before_what_was_asked_for_after_it() -> None:
    second = threading.Event()

    def read(first: int, last: int) -> Iterator[Piece]:
        if first == 1:
            yield piece(1, 1)
            assert second.wait(LONG)
            return
        if first > 4:
            second.set()
        yield piece(first, last)

    with ahead(read, 12, known(4)) as asking:
        assert taken(asking) == [(1, 1), (2, 4), (5, 8), (9, 12)]


@pytest.mark.parametrize("pieces", range(3))
def test_a_failure_comes_after_what_came_before_it(pieces: int) -> None:
    def read(first: int, last: int) -> Iterator[Piece]:
        if first > 4:
            yield piece(first, last)
            return
        for number in range(pieces):
            yield piece(number + 1, number + 1)
        raise RpcUnavailable("gone", chain_id=1)

    with ahead(read, 12, known(4)) as asking:
        for number in range(pieces):
            assert asking.take() == piece(number + 1, number + 1).scanned
        for _ in range(2):
            with pytest.raises(RpcUnavailable):
                asking.take()


def test_who_leaves_early_is_asked_for_nothing_more() -> None:
    asked: list[int] = []

    def read(first: int, last: int) -> Iterator[Piece]:
        asked.append(first)
        for number in range(first, last + 1):
            yield piece(number, number)

    with ahead(read, 10**9, known(4)) as asking:
        asking.take()
    assert len(asked) <= 5


class Gates:
    """Requests that each come when their gate is opened."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._open: dict[int, threading.Event] = {}

    def read(self, first: int, last: int) -> Iterator[Piece]:
        self.asked.append(first)
        assert self._of(first).wait(LONG)
        yield piece(first, last)

    def open(self, *places: int) -> None:
        for place in places:
            self._of(place).set()

    def _of(self, place: int) -> threading.Event:
        return self._open.setdefault(place, threading.Event())


@contextlib.contextmanager
def gated(last: int, blocks: int) -> Iterator[tuple[Ahead, Gates]]:
    gates = Gates()
    with ahead(gates.read, last, known(blocks)) as asking:
        try:
            yield asking, gates
        finally:
            gates.open(*range(1, last + 1))  # what is on its way is waited for


def until(asking: Ahead, line: list[tuple[int, bool]]) -> None:
    """Wait for these requests to be in line: where each begins, and whether it has ended."""
    found: list[tuple[int, bool]] = []
    for _ in range(LONG * 100):
        with asking._changed:
            found = [(one.first, one.ended) for one in asking._line]
            if found == line:
                return
            asking._changed.wait(0.01)  # not everything that changes the line says so
    raise AssertionError(f"{found} instead of {line}")


def test_while_nobody_waits_one_request_is_on_its_way_and_two_are_in_line() -> None:
    with gated(40, 4) as (asking, gates):
        gates.open(1)
        assert asking.take() == piece(1, 4).scanned
        until(asking, [(5, False)])
        gates.open(5)
        until(asking, [(5, True), (9, False)])
        gates.open(9)
        until(asking, [(5, True), (9, True)])
        assert gates.asked == [1, 5, 9]
        assert asking.take() == piece(5, 8).scanned
        until(asking, [(9, True), (13, False)])
        assert asking.take() == piece(9, 12).scanned
        until(asking, [(13, False)])


def test_who_waits_has_two_requests_on_their_way() -> None:
    with ThreadPoolExecutor(1) as taker, gated(40, 4) as (asking, gates):
        for first in (1, 5, 9):
            found = taker.submit(asking.take)
            until(asking, [(first, False), (first + 4, False)])
            gates.open(first)
            assert found.result(LONG) == piece(first, first + 3).scanned
            until(asking, [(first + 4, False)])
        gates.open(17)
        found = taker.submit(asking.take)
        until(asking, [(13, False), (17, True)])  # and none besides, however long it waits
        gates.open(13)
        assert found.result(LONG) == piece(13, 16).scanned
