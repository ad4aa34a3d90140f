"""The price of a part: exact, rounded down, and never more or less than the whole when all parts are there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from domain_records import T0
from hypothesis import assume, given
from hypothesis import strategies as st

from evmbilling import proration
from evmbilling.errors import InputError, InvalidAmount
from evmbilling.proration import prorate, prorate_lines, prorate_parts, seconds_between

PRICES = st.integers(0, 2**256 - 1)
SECONDS = st.integers(0, 400 * 86_400)


@pytest.mark.fault("N15")
@given(price=PRICES, parts=st.lists(SECONDS, min_size=1, max_size=40))
def test_n15_the_parts_are_the_whole(price, parts):
    assume(sum(parts))
    shares = prorate_parts(price, parts)
    assert sum(shares) == price
    assert all(share == prorate(price, part, sum(parts)) for share, part in zip(shares[:-1], parts, strict=False))
    assert 0 <= shares[-1] - prorate(price, parts[-1], sum(parts)) < len(parts)


@given(price=PRICES, whole=st.integers(1, 400 * 86_400), data=st.data())
def test_more_time_never_costs_less_and_no_part_more_than_the_price(price, whole, data):
    first, second = sorted(data.draw(st.tuples(st.integers(0, whole), st.integers(0, whole))))
    assert 0 <= prorate(price, first, whole) <= prorate(price, second, whole) <= price
    assert prorate(price, 0, whole) == 0
    assert prorate(price, whole, whole) == price


@given(first=st.integers(0, 2**200), second=st.integers(0, 2**200), whole=st.integers(1, 10**8), data=st.data())
def test_a_dearer_plan_never_costs_less_for_the_same_time(first, second, whole, data):
    part = data.draw(st.integers(0, whole))
    assert prorate(min(first, second), part, whole) <= prorate(max(first, second), part, whole)


@given(amounts=st.lists(st.integers(-(10**30), 10**30), max_size=10), whole=st.integers(1, 10**8), data=st.data())
def test_lines_sum_to_the_part_of_their_sum(amounts, whole, data):
    part = data.draw(st.integers(0, whole))
    shares = prorate_lines(amounts, part, whole)
    assert sum(shares) == sum(amounts) * part // whole
    assert all(abs(share * whole - amount * part) < 2 * whole for share, amount in zip(shares, amounts, strict=True))


def test_the_helpers_are_exact_where_floats_are_not():
    assert prorate(19_990_000, 1_209_600, 2_419_200) == 9_995_000
    assert prorate(2**256 - 1, 1, 3) == (2**256 - 1) // 3
    assert prorate_parts(10, [1, 1, 1]) == (3, 3, 4)
    assert prorate_parts(0, [5]) == (0,)
    assert prorate_lines([10, 10], 1, 3) == (3, 3)
    assert prorate_lines([10, -1], 1, 2) == (5, -1)
    assert seconds_between(T0, T0 + timedelta(seconds=5, microseconds=999_999)) == 5
    assert seconds_between(T0 + timedelta(days=1), T0) == 0
    assert seconds_between(T0, T0 + timedelta(days=400)) == 400 * 86_400


@pytest.mark.parametrize("price", [-1, 2**256, 1.5, "5", True, None])
def test_a_price_is_base_units(price):
    for call in (lambda: prorate(price, 1, 2), lambda: prorate_parts(price, [1])):
        with pytest.raises(InvalidAmount) as caught:
            call()
        assert caught.value.field == "price"
    if price != -1:
        with pytest.raises(InvalidAmount):
            prorate_lines([price], 1, 2)


@pytest.mark.parametrize(("part", "whole"), [(-1, 2), (3, 2), (0, 0), (1, -1), (1.0, 2), (1, 2.0), (True, 2), ("1", 2)])
def test_a_part_is_within_its_whole(part, whole):
    with pytest.raises(InputError) as caught:
        prorate(1, part, whole)
    assert caught.value.field == "part"


@pytest.mark.parametrize("parts", [[], [0], [-1, 2], [1.5], ["1"]])
def test_parts_are_seconds(parts):
    with pytest.raises(InputError):
        prorate_parts(1, parts)


def test_what_is_public():
    assert sorted(proration.__all__) == ["prorate", "prorate_lines", "prorate_parts", "seconds_between"]
