"""When a block counts: one formula, head - number + 1 confirmations, or the node's tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.catalogue.catalogue import Finality, Heights, parse_finality
from evmbilling.errors import InputError


@pytest.mark.fault("C09")
@pytest.mark.parametrize("depth", [1, 2, 12, 100_000])
@pytest.mark.parametrize("block", [0, 1, 1_000_000])
def test_c09_depth_k_is_reached_at_k_confirmations_not_one_before(depth, block):
    rule = Finality("depth", depth)
    for confirmations, reached in ((depth - 1, False), (depth, True), (depth + 1, True)):
        head = block + confirmations - 1
        assert rule.reached(block, Heights(head=head)) is reached


@pytest.mark.fault("C09")
@given(block=st.integers(0, 10**9), ahead=st.integers(-5, 200), depth=st.integers(1, 100))
def test_c09_the_block_at_the_head_has_one_confirmation(block, ahead, depth):
    assert Finality("depth", depth).reached(block, Heights(head=block + ahead)) is (ahead + 1 >= depth)


@pytest.mark.fault("C21")
@pytest.mark.parametrize("kind", ["safe", "finalized"])
@pytest.mark.parametrize(("tag", "reached"), [(99, False), (100, True), (101, True)])
def test_c21_a_tag_counts_up_to_and_with_its_block_however_far_the_head_is(kind, tag, reached):
    heights = Heights(head=10_000, **{kind: tag})
    assert Finality(kind).reached(100, heights) is reached
    assert Finality(kind, 5).reached(100, heights) is reached


def test_the_tags_are_not_mixed_up():
    heights = Heights(head=200, safe=150, finalized=100)
    assert [Finality("safe").reached(n, heights) for n in (100, 150, 151)] == [True, True, False]
    assert [Finality("finalized").reached(n, heights) for n in (100, 101, 150)] == [True, False, False]


@pytest.mark.parametrize("kind", ["safe", "finalized"])
def test_without_a_tag_the_fallback_depth_decides_and_without_that_nothing(kind):
    heights = Heights(head=163)
    assert Finality(kind, 64).reached(100, heights) is True
    assert Finality(kind, 65).reached(100, heights) is False
    assert Finality(kind).reached(0, heights) is False


def test_a_block_above_the_head_never_counts():
    assert Finality("depth", 1).reached(101, Heights(head=100)) is False


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("depth 1", Finality("depth", 1)),
        ("depth 100000", Finality("depth", 100_000)),
        ("safe", Finality("safe")),
        ("finalized 64", Finality("finalized", 64)),
    ],
)
def test_rules_are_read_and_written_alike(text, rule):
    assert parse_finality(text, field="credit_after") == rule
    assert parse_finality(rule, field="credit_after") is rule
    assert str(rule) == text


BAD_RULES = [
    *("", "depth", "depth ", "depth 0", "depth 01", "depth -1", "depth +1", "depth 1.0", "depth 100001", "depth 1e2"),
    *("latest", "Safe", "finalized x", "depth  1", "depth 1 ", "depth \u0661", "depth \uff11", None, 12, True),
    pytest.param("depth " + "9" * 5000, id="thousands of digits"),
]


@pytest.mark.parametrize("value", BAD_RULES)
def test_what_is_no_rule_is_refused(value):
    with pytest.raises(InputError) as caught:
        parse_finality(value, field="credit_after")
    assert caught.value.field == "credit_after"
