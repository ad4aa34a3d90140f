"""Two big tables of sums, compared in little memory."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from evmbilling.engine.verify import tally as verify_tally
from evmbilling.engine.verify.tally import differing

SALT = b"s" * 32
ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-3, 2**200), st.integers(-3, 2**200)), max_size=12)


def sums(rows):
    left, right = Counter(), Counter()
    for key, one, other in rows:
        left[key] += one
        right[key] += other
    return {(key, left[key], right[key]) for key in {*left, *right} if left[key] != right[key]}


@given(ROWS)
def test_what_differs_is_named_with_both_sums(rows):
    found = list(differing(lambda: rows, SALT))
    assert set(found) == sums(rows)
    assert len(found) == len(sums(rows))


def test_equal_sides_are_read_once():
    reads = []

    def stream():
        reads.append(1)
        return [(f"k{i}", i, 0) for i in range(500)] + [(f"k{i}", 0, i) for i in range(500)]

    assert list(differing(stream, SALT)) == []
    assert len(reads) == 1


def test_many_differences_are_all_named_a_few_buckets_at_a_time(monkeypatch):
    monkeypatch.setattr(verify_tally, "TOGETHER", 7)
    rows = [(f"k{i}", i, 0) for i in range(300)]
    assert {key for key, _, _ in differing(lambda: rows, SALT)} == {f"k{i}" for i in range(1, 300)}
