"""MRR follows a customer's journal: five movements, an identity that always holds, and reversals at their own time."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from figure_facts import DAI, T0, TEST_MONEY, USDC, Told, mrr_of, order, price, terms_price
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.books.movements import Series
from evmbilling.domain.books.mrr import NO_PERIOD, follow, monthly, recurring_price
from evmbilling.domain.subscriptions.calendar import Interval

PRICES = {
    "o0": price("o0", 0),
    "o1": price("o1", 1),
    "dearer": price("dearer", 1, 1800),
    "cheaper": price("cheaper", 2, 600),
    "yearly": price("yearly", 1, 1200, interval=Interval("year")),
    "dai": price("dai", 1, 7, asset=DAI),
    "test": price("test", 0, asset=TEST_MONEY),
    "again": price("again", 0),
    "upgrade": price("upgrade", NO_PERIOD, 5),
}


def read(events, prices=PRICES):
    """Follow a journal; return (series, asset, amount a month, items, minutes since the beginning) of each movement."""
    figures, moves = {}, []
    for event in events:
        figures, moved = follow(figures, event, prices.get, terms_price)
        moves += moved
    return figures, moves


def mrr_moves(events):
    return [
        (m.series, m.asset.symbol, Fraction(m.amount, m.per), m.items, (m.occurred_at - T0) // timedelta(minutes=1))
        for m in read(events)[1]
        if m.series.startswith("mrr_")
    ]


PER_MONTH = [
    (Interval("month"), Fraction(1200)),
    (Interval("month", 3), Fraction(400)),
    (Interval("year"), Fraction(100)),
    (Interval("year", 2), Fraction(50)),
    (Interval("week"), Fraction(1200 * 52, 12)),
    (Interval("week", 2), Fraction(1200 * 26, 12)),
    (Interval("day"), Fraction(1200 * 365, 12)),
    (Interval("day", 7), Fraction(1200 * 365, 84)),
    (Interval("none"), Fraction(0)),
]


@pytest.mark.parametrize(("interval", "expected"), PER_MONTH, ids=str)
def test_a_price_is_an_exact_fraction_a_month(interval, expected):
    assert monthly(1200, interval) == expected


def test_what_recurs_of_an_order_is_its_plan_and_pieces_less_discounts():
    found = recurring_price(order(), Interval("month"), 1000, counts=True)
    assert (found.amount, found.per, found.period) == (1800, 1, 3)
    changed = recurring_price(order(origin="change"), Interval("year"), 1000, counts=True)
    assert (changed.amount, changed.per) == (500, 3)
    assert recurring_price(order(period=None), Interval("month"), None, counts=True).period == NO_PERIOD
    free = order(lines=order().lines[2:3], amount=0)
    assert recurring_price(free, Interval("month"), None, counts=True).amount == 0


def test_the_five_movements():
    told = Told()
    told.moved("incomplete")
    told.paid("o0", later=1)
    told.moved("active")
    told.paid("dearer", later=1)
    told.paid("cheaper", later=1)
    told.moved("past_due", later=1)
    told.moved("suspended", later=1)
    told.moved("active", later=1)
    told.moved("ended", later=1)
    assert mrr_moves(told.events) == [
        (Series.MRR_NEW, "USDC", 1200, 1, 1),
        (Series.MRR_EXPANSION, "USDC", 600, 1, 2),
        (Series.MRR_CONTRACTION, "USDC", 1200, 1, 3),
        (Series.MRR_CHURN, "USDC", 600, 1, 5),
        (Series.MRR_REACTIVATION, "USDC", 600, 1, 6),
        (Series.MRR_CHURN, "USDC", 600, 1, 7),
    ]


def test_trials_and_test_networks_do_not_count():
    told = Told()
    told.moved("trialing")
    told.moved("ended", later=5)
    told.moved("incomplete", name="s2")
    told.paid("test", name="s2")
    told.moved("active", name="s2")
    assert mrr_moves(told.events) == []
    assert [(m.series, m.items) for m in read(told.events)[1]] == [
        ("in_trialing", 1),
        ("in_trialing", -1),
        ("in_ended", 1),
        ("in_incomplete", 1),
        ("in_incomplete", -1),
    ]


def test_who_pays_in_another_asset_contracts_in_the_one_and_expands_in_the_other():
    told = Told()
    told.paid("o0")
    told.moved("active")
    told.paid("dai", later=1)
    assert mrr_moves(told.events)[1:] == [
        (Series.MRR_CONTRACTION, "USDC", 1200, 1, 1),
        (Series.MRR_EXPANSION, "DAI", 7, 1, 1),
    ]
    payers = [(m.series, m.asset.symbol, m.items) for m in read(told.events)[1] if m.series in {"payers", "customers"}]
    assert payers == [
        ("payers", "USDC", 1),
        ("customers", "-", 1),
        ("payers", "USDC", -1),
        ("payers", "DAI", 1),
    ]


def test_a_reversal_adds_the_opposite_with_the_time_of_what_it_takes_back():
    told = Told()
    told.paid("o0")
    told.moved("active")
    told.reversed("o0", later=10)
    told.moved("incomplete")
    told.paid("o0", later=10)
    told.moved("active")
    assert mrr_moves(told.events) == [
        (Series.MRR_NEW, "USDC", 1200, 1, 0),
        (Series.MRR_NEW, "USDC", -1200, -1, 0),
        (Series.MRR_NEW, "USDC", 1200, 1, 20),
    ]


def test_a_reversed_renewal_takes_its_expansion_back_and_nothing_else():
    told = Told()
    told.paid("o0")
    told.moved("active")
    told.paid("dearer", later=5)
    told.reversed("dearer", later=5)
    assert mrr_moves(told.events)[1:] == [
        (Series.MRR_EXPANSION, "USDC", 600, 1, 5),
        (Series.MRR_EXPANSION, "USDC", -600, -1, 5),
    ]


def test_what_a_reversal_did_not_cause_is_a_movement_of_its_own():
    told = Told()
    told.paid("o0")
    told.moved("active")
    told.paid("again", later=1)
    told.reversed("o0", later=1)
    told.moved("ended", later=60)
    assert mrr_moves(told.events)[1:] == [(Series.MRR_CHURN, "USDC", 1200, 1, 62)]


def test_other_terms_cost_what_they_cost_from_then_on():
    told = Told()
    told.changed("7200")
    told.paid("o0")
    told.moved("active")
    told.changed("3600", later=2)
    told.changed("9600", later=2)
    told.paid("dearer", later=2)
    assert mrr_moves(told.events) == [
        (Series.MRR_NEW, "USDC", 1200, 1, 0),
        (Series.MRR_CONTRACTION, "USDC", 600, 1, 2),
        (Series.MRR_EXPANSION, "USDC", 1000, 1, 4),
        (Series.MRR_EXPANSION, "USDC", 200, 1, 6),
    ]


def test_a_reorganisation_takes_an_upgrade_back_at_its_own_time():
    told = Told()
    told.paid("o1")
    told.moved("active")
    told.paid("upgrade", later=3)
    told.changed("10800")
    told.reversed("upgrade", later=3)
    told.changed("7200")
    assert mrr_moves(told.events)[1:] == [
        (Series.MRR_EXPANSION, "USDC", 600, 1, 3),
        (Series.MRR_EXPANSION, "USDC", -600, -1, 3),
    ]


def test_an_order_of_no_subscription_moves_nothing():
    told = Told()
    told.tell("billing.payment.confirmed.v1", ledger_id="pack", subscription_id=None)
    told.paid("unknown")
    assert [m for m in read(told.events)[1] if m.series.startswith("mrr")] == []


STEPS = st.one_of(
    st.tuples(st.just("paid"), st.sampled_from(sorted(PRICES))),
    st.tuples(st.just("reversed"), st.sampled_from(sorted(PRICES))),
    st.tuples(st.just("changed"), st.sampled_from(["7200", "9600", "10800"])),
    st.tuples(
        st.just("moved"),
        st.sampled_from(["incomplete", "trialing", "active", "past_due", "suspended", "paused", "ended"]),
    ),
)
HISTORIES = st.lists(st.tuples(STEPS, st.sampled_from(["s1", "s2"]), st.sampled_from([0, 1, 7])), max_size=25)


def journal(history):
    told = Told()
    for (verb, what), name, later in history:
        getattr(told, verb)(what, name=name, later=later)
    return told.events


@given(HISTORIES)
def test_mrr_is_what_the_subscriptions_hold_whatever_happened(history):
    events = journal(history)
    figures, moves = read(events)
    held = [known.held for known in figures.values() if known.held is not None]
    expected = {}
    for one in held:
        key = (one.asset.chain_id, one.asset.token)
        expected[key] = expected.get(key, 0) + Fraction(one.amount, one.per)
    assert mrr_of(moves) == {key: amount for key, amount in expected.items() if amount}
    payers = sum(m.items for m in moves if m.series == Series.CUSTOMERS)
    assert payers == (1 if held else 0)
    in_assets = sum(m.items for m in moves if m.series == Series.PAYERS)
    assert in_assets == len({(one.asset.chain_id, one.asset.token) for one in held})
    assert all(one.asset is not TEST_MONEY for one in held)
    statuses = sum(m.items for m in moves if m.series.startswith("in_"))
    assert statuses == sum(known.told is not None for known in figures.values())
    assert len({(m.source, m.seq) for m in moves}) == len(moves)


@given(HISTORIES, st.data())
def test_it_does_not_matter_in_how_many_portions_a_journal_is_read(history, data):
    events = journal(history)
    whole = read(events)
    cut = data.draw(st.integers(0, len(events)))
    figures, first = read(events[:cut])
    rest = []
    for event in events[cut:]:
        figures, moved = follow(figures, event, PRICES.get, terms_price)
        rest += moved
    assert (figures, first + rest) == whole


def test_usdc_is_one_asset_whatever_its_symbol_says():
    assert price("o0", 0).value[:2] == (USDC.chain_id, USDC.token)
