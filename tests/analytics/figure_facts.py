"""Facts that figures are made of, drawn at random, and the plainest way to add them up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from evmbilling.domain.books.movements import MRR_SERIES, Move, Series
from evmbilling.domain.books.mrr import Price, monthly
from evmbilling.domain.identity import Product
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order, OrderLine
from evmbilling.domain.subscriptions.calendar import Interval

T0 = datetime(2026, 3, 20, 12, tzinfo=UTC)
USDC = Asset(chain_id=1, token="0x" + "11" * 20, decimals=6, symbol="USDC")
DAI = Asset(chain_id=10, token="0x" + "22" * 20, decimals=18, symbol="DAI")
TEST_MONEY = Asset(chain_id=31337, token="0x" + "33" * 20, decimals=6, symbol="tUSD")
ASSETS = (USDC, DAI, TEST_MONEY)
SIGNS = {
    Series.MRR_NEW: 1,
    Series.MRR_EXPANSION: 1,
    Series.MRR_REACTIVATION: 1,
    Series.MRR_CONTRACTION: -1,
    Series.MRR_CHURN: -1,
}


def price(
    ledger_id: str, period: int, amount: int = 1200, *, asset: Asset = USDC, interval: Interval | None = None
) -> Price:
    """The price behind a paid order."""
    month = monthly(amount, interval or Interval("month"))
    return Price(
        ledger_id=ledger_id,
        period=period,
        asset=asset,
        amount=month.numerator,
        per=month.denominator,
        counts=asset is not TEST_MONEY,
    )


class Told:
    """Writes a customer's journal."""

    def __init__(self, start: datetime = T0) -> None:
        self.events: list[Event] = []
        self.at = start

    def tell(self, kind: EventType, *, later: int = 0, occurred: int = 0, **data: Any) -> Event:
        """Publish an event some minutes later; ``occurred`` minutes before that."""
        self.at += timedelta(minutes=later)
        seq = len(self.events) + 1
        event = Event(
            event_id=f"e{seq:04d}",
            type=kind,
            aggregate="customer:u1",
            seq=seq,
            occurred_at=self.at - timedelta(minutes=occurred),
            recorded_at=self.at,
            data=data,
        )
        self.events.append(event)
        return event

    def moved(self, after: str, name: str = "s1", **how: int) -> Event:
        """A subscription moves."""
        return self.tell(EventType.SUBSCRIPTION_MOVED, subscription_id=name, before="", after=after, **how)

    def paid(self, ledger_id: str, name: str = "s1", **how: int) -> Event:
        """An order of a subscription is paid."""
        return self.tell(EventType.PAYMENT_CONFIRMED, ledger_id=ledger_id, subscription_id=name, **how)

    def reversed(self, ledger_id: str, name: str = "s1", **how: int) -> Event:
        """The payment of an order is gone."""
        return self.tell(EventType.PAYMENT_REVERSED, ledger_id=ledger_id, subscription_id=name, **how)

    def changed(self, plan: str, name: str = "s1", **how: int) -> Event:
        """Other terms hold."""
        terms = {"new_plan": plan, "new_version": 1, "new_quantity": 2}
        return self.tell(EventType.SUBSCRIPTION_CHANGED, subscription_id=name, **terms, **how)


def terms_price(plan: str, version: int, quantity: int, asset: Asset) -> Fraction | None:
    """What terms cost a month: plans are named by their price, and sold in USDC and DAI."""
    return None if asset is TEST_MONEY else Fraction(int(plan) * quantity * version, 12)


def mrr_of(moves: Iterable[Move]) -> Mapping[tuple[int, str], Fraction]:
    """Add movements of MRR up by asset."""
    total: dict[tuple[int, str], Fraction] = defaultdict(Fraction)
    for move in moves:
        if move.series in MRR_SERIES:
            total[(move.asset.chain_id, move.asset.token)] += SIGNS[Series(move.series)] * Fraction(
                move.amount, move.per
            )
    return {key: amount for key, amount in total.items() if amount}


def order(**changes: Any) -> Order:
    """An order, as far as figures look at it."""
    import attrs

    lines = (
        OrderLine(kind="plan", text="Pro", amount=1000),
        OrderLine(kind="quantity", text="1 more", amount=1000),
        OrderLine(kind="discount", text="-", amount=-200),
        OrderLine(kind="tax", text="VAT", amount=342),
        OrderLine(kind="credit", text="credit", amount=-500),
    )
    made = Order(
        ledger_id="o1",
        reference=b"r" * 32,
        user_id="u1",
        product=Product("saas", ""),
        plan_slug="pro",
        plan_version=1,
        subscription_id="s1",
        period=3,
        gateway_slug="gw",
        contract_slug="co",
        network="main",
        asset=USDC,
        quantity=2,
        lines=lines,
        amount=1642,
        wallet=USDC.token,
        beneficiary=USDC.token,
        contract=USDC.token,
        treasury=USDC.token,
        gas=1,
        created_at=T0,
        deadline=T0,
    )
    return attrs.evolve(made, **changes)


INSTANTS = st.datetimes(datetime(2026, 1, 20), datetime(2026, 5, 10), timezones=st.just(UTC))  # noqa: DTZ001  - with st
MOVES = st.builds(
    Move,
    source=st.uuids().map(str),
    seq=st.just(0),
    series=st.sampled_from([str(Series.RECEIVED), str(Series.REVENUE), str(Series.MRR_NEW)]),
    asset=st.sampled_from(ASSETS),
    per=st.sampled_from([1, 12, 36]),
    amount=st.integers(-(2**260), 2**260),
    items=st.integers(-3, 3),
    occurred_at=INSTANTS,
    recorded_at=INSTANTS,
)
