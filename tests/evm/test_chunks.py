"""How large a range is asked for: learned from answers and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.adapters.evm.reading.chunks import (
    MOST,
    START,
    TARGET_BYTES,
    TARGET_LOGS,
    TARGET_SECONDS,
    Span,
    Spans,
    is_cap,
)
from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, classify
from evmbilling.testing.clock import FrozenClock

CAP, MUCH = RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH


def served(span: Span, blocks: int | None = None, *, logs: int = 0, octets: int = 0, seconds: float = 0.0) -> int:
    span.served(span.blocks if blocks is None else blocks, logs=logs, octets=octets, seconds=seconds)
    return span.blocks


def test_small_answers_let_it_grow_twofold_up_to_the_most() -> None:
    span = Span()
    assert (span.blocks, span.known) == (START, False)
    assert [served(span) for _ in range(3)] == [2 * START, 4 * START, 8 * START]
    for _ in range(10):
        served(span)
    assert (span.blocks, span.known) == (MOST, True)


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        ({"logs": TARGET_LOGS}, 1.0),
        ({"logs": TARGET_LOGS * 4}, 0.25),
        ({"octets": TARGET_BYTES * 2}, 0.5),
        ({"octets": TARGET_BYTES, "logs": 2 * TARGET_LOGS}, 0.5),
        ({"seconds": TARGET_SECONDS * 5}, 0.2),
        ({"logs": TARGET_LOGS * 3 // 4}, 4 / 3),
        ({"logs": 1, "octets": 1, "seconds": 0.001}, 2.0),
    ],
)
def test_it_aims_at_an_answer_of_a_certain_size(answer: dict[str, Any], after: float) -> None:
    span = Span()
    assert served(span, **answer) == int(START * after)


def test_the_rest_of_a_range_says_nothing_about_a_whole_one() -> None:
    span = Span()
    assert served(span, 3) == START
    assert served(span, 3, logs=10 * TARGET_LOGS) == 1


@pytest.mark.parametrize(
    ("refusal", "after"),
    [
        (Refusal(MUCH), START // 2),
        (Refusal(MUCH, suggestion=(0, 99)), 100),
        (Refusal(MUCH, suggestion=(1, 99)), START // 2),
        (Refusal(MUCH, suggestion=(0, START - 1)), START // 2),
        (Refusal(MUCH, suggestion=(99, 0)), START // 2),
        (Refusal(CAP, cap=300), 300),
        (Refusal(CAP), START // 2),
        (Refusal(CAP, cap=5 * START), START // 2),
        (Refusal(CAP, cap=300, suggestion=(0, 9)), 300),
    ],
)
def test_a_refusal_shrinks_it_at_once(refusal: Refusal, after: int) -> None:
    span = Span()
    assert span.refused(refusal, 0, START - 1)
    assert span.blocks == after


def test_a_cap_holds_for_an_hour_and_a_large_answer_does_not() -> None:
    clock = FrozenClock()
    span = Span(lambda: clock.now().timestamp())
    span.refused(Refusal(CAP, cap=300), 0, START - 1)
    assert [served(span) for _ in range(3)] == [300, 300, 300]
    clock.advance(seconds=3601)
    assert served(span) == 600
    span.refused(Refusal(CAP, cap=500), 0, 599)
    span.refused(Refusal(CAP, cap=300), 0, 499)
    span.refused(Refusal(CAP, cap=400), 0, 299)  # what is named above what was asked for is not the cap that was met
    assert span.blocks == 150
    span.refused(Refusal(MUCH), 0, 149)
    assert [served(span), served(span)] == [150, 150]


def test_a_single_block_cannot_shrink() -> None:
    span = Span()
    assert not span.refused(Refusal(MUCH), 7, 7)
    assert span.blocks == START


def test_it_starts_smaller_where_blocks_are_full_but_only_before_the_first_answer() -> None:
    span = Span()
    span.begin_with(40)
    assert span.blocks == 40
    served(span, octets=4_000)
    span.begin_with(7)
    assert span.blocks == 80
    assert span.expected_bytes(10) == 1_000


@given(st.lists(st.tuples(st.sampled_from(["served", "cap", "much"]), st.integers(0, 200_000)), max_size=40))
def test_whatever_happens_it_is_at_least_one_block_and_never_above_a_cap(steps: list[tuple[str, int]]) -> None:
    span, cap = Span(lambda: 0.0), MOST
    for kind, number in steps:
        asked = span.blocks
        if kind == "served":
            served(span, logs=number)
        elif span.refused(Refusal(CAP if kind == "cap" else MUCH, cap=number or None), 1, asked):
            assert span.blocks < asked
            if kind == "cap":
                cap = min(cap, number if 0 < number < asked else asked // 2)
        assert 1 <= span.blocks <= cap


@pytest.mark.fault("R04")
@pytest.mark.parametrize(
    ("count", "round_"),
    [
        *((count, False) for count in (0, 999, 1024, 3000, 9999, 10_001)),
        *((count, True) for count in (1000, 2000, 5000, 10_000, 20_000, 50_000, 200_000)),
    ],
)
def test_r04_counts_at_which_nodes_cut_their_answers(count: int, round_: bool) -> None:
    assert is_cap(count) is round_


def test_nodes_and_shapes_are_learned_apart() -> None:
    spans = Spans()
    spans.of("one", "a").refused(Refusal(CAP, cap=10), 0, 999)
    assert spans.newest("a") is spans.of("one", "a")
    assert [spans.of(*place).blocks for place in (("one", "a"), ("one", "b"), ("two", "a"))] == [10, START, START]
    assert spans.newest("c") is None


def test_what_a_node_says_becomes_a_step() -> None:
    text = "query exceeds max results 20000, retry with the range 100-355"
    span = Span()
    span.refused(classify(status=200, code=-32602, message=text, data=None), 100, 1099)
    assert span.blocks == 256


def test_another_question_begins_with_fewer_blocks_and_grows_again() -> None:
    span = Span()
    span.narrow(8)
    assert (span.blocks, span.known) == (8, False)
    span.narrow(20)
    assert [span.blocks, served(span, logs=1)] == [8, 16]
