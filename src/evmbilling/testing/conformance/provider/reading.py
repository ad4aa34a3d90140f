"""What the reader of a chain builds on: tips, common ancestors, ranges below; and nodes that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest

from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch, ProviderError
from evmbilling.testing.conformance.base import needs, of_clause
from evmbilling.testing.conformance.provider.base import Reader
from evmbilling.testing.rpc_breaks import Close, HttpStatus
from evmbilling.testing.rpc_lies import RpcError, Truncate

MOST = 60
"""No look of these tests makes so many calls."""
FAULTS = {"closed": Close(), "status": HttpStatus(503), "error": RpcError(-32000, "try again"), "cut": Truncate(20)}


class UnreadyError(Exception):
    """What whoever makes the logs ready may raise."""


def scanned(reader: Any, first: int, last: int) -> list[Any]:
    """Read a range to its end."""
    with reader.source.scan(first, last, reader.watch) as ranges:
        return list(ranges)


class ReadingChecks:
    """Tips, ancestors, ranges, and faults of nodes."""

    clause = 7

    def test_a_tip_is_the_chain_at_one_moment(self, field: Any, reader: Any) -> None:
        field.mine(4)
        head = reader.head
        tip = reader.source.tip(head.number - 3)
        assert (tip.head, tip.there) == (head, reader.source.header(head.number - 3))
        assert (tip.safe, tip.finalized) == (reader.source.header("safe"), reader.source.header("finalized"))
        assert reader.source.tip(head.number + 1).there is None
        assert reader.source.tip(head.number).there == head

    def test_the_common_ancestor_is_the_last_block_that_stayed(self, field: Any, reader: Any) -> None:
        field.mine(6)
        held = reader.headers(6)
        assert reader.source.common_ancestor(held, reader.head) == held[-1]
        field.reorganise(2, "drop")
        assert reader.source.common_ancestor(held, reader.head) == held[-3]
        assert reader.source.common_ancestor(held[-2:], reader.head) is None
        with pytest.raises(ChainMismatch):
            reader.source.common_ancestor(held, held[-1])

    def test_ranges_below_are_the_whole_in_order(self, field: Any, reader: Any) -> None:
        for number in (1, 2, 3):
            field.pay(number, field.checkout(number))
            field.mine(2)
        first, last = reader.head.number - 6, reader.head.number
        found = scanned(reader, first, last)
        assert (found[0].first.number, found[-1].last.number) == (first, last)
        assert all(one.last.number + 1 == other.first.number for one, other in pairwise(found))
        assert [log for one in found for log in one.logs] == reader.logs(7)
        assert len([log for one in found for log in one.logs]) == 6
        assert scanned(reader, last, last)[0].last == reader.head
        below = scanned(reader, first, last - 2)
        assert below[-1].last.number == last - 2
        assert len([log for one in below for log in one.logs]) == 4

    def test_what_is_made_of_the_logs_of_a_range_takes_their_place(self, field: Any, reader: Any) -> None:
        for number in (1, 2, 3):
            field.pay(number, field.checkout(number))
            field.mine(2)
        first, last = reader.head.number - 6, reader.head.number
        plain, asked, made = scanned(reader, first, last), [], []

        def ready(logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
            asked.append(list(logs))
            made.append([attrs.evolve(log, data=b"ready") for log in logs[:1]])
            return made[-1]

        with reader.source.scan(first, last, reader.watch, ready=ready) as ranges:
            found = list(ranges)
        assert [log for logs in asked for log in logs] == [log for one in plain for log in one.logs] != []
        assert [list(one.logs) for one in found] == made
        assert (found[0].first, found[-1].last) == (plain[0].first, plain[-1].last)
        assert all(one.last.number + 1 == other.first.number for one, other in pairwise(found))

    def test_what_cannot_be_made_of_the_logs_is_told_where_that_range_is_taken(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine(3)
        first, last = reader.head.number - 3, reader.head.number

        def ready(logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
            raise UnreadyError(len(logs))

        with reader.source.scan(first, last, reader.watch, ready=ready) as ranges:
            with pytest.raises(UnreadyError):
                next(ranges)
            with pytest.raises((UnreadyError, StopIteration)):
                next(ranges)
        assert len([log for one in scanned(reader, first, last) for log in one.logs]) == 2

    @needs("json_rpc")
    @of_clause(8)
    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
    def test_a_look_whose_nth_call_fails_is_whole_or_an_error(self, proxied: Any, fault: Any) -> None:
        field, proxy = proxied
        for number in (1, 2):
            field.pay(number, field.checkout(number))
            field.mine()
        reader = Reader(field)
        first, last = reader.head.number - 1, reader.head.number
        looks: tuple[Callable[[], Any], ...] = (
            lambda: ends(reader.source.tip(first)),
            lambda: reader.source.headers(first, last),
            lambda: reader.logs(2),
            lambda: [log for one in scanned(reader, first, last) for log in one.logs],
        )
        for look in looks:
            right, met = look(), 0
            for place in range(MOST):
                rule = proxy.add(fault, after=place, first=1)
                found = outcome(look)
                proxy.heal()
                met += rule.met
                assert found in ("told", right), f"call {place + 1} failed; the answer was neither whole nor an error"
                if rule.met == 0 and found == right:
                    break
            assert met > 0, "no call reached the node"
            assert look() == right


def ends(tip: Any) -> tuple[Any, Any]:
    """Return what a tip always has; a node that does not tell a tag is one that does not know it."""
    return tip.head, tip.there


def outcome(look: Callable[[], Any]) -> Any:
    """Return what a look says, or that it said that it could not."""
    try:
        return look()
    except ProviderError:
        return "told"
