"""Asking ahead: pieces are taken in order while others still come, and who takes them need not be there for more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
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
