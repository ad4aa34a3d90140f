"""The money on a scrape equals what the rows of the database say, on every storage; test networks never count."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from figure_bench import Shop
from prometheus_client.parser import text_string_to_metric_families

from evmbilling.adapters.prometheus.gauges import series_of
from evmbilling.domain.reading.watching import AssetFigures, Business, Figures
from evmbilling.domain.states import PAID_ORDERS, ReceiptStatus
from evmbilling.integrations.metrics import metrics_page

MONEY = ("mrr", "arpu", "payers", "received", "received_payments", "refunded", "revenue", "debt")


def scraped(shop: Shop) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics_page(shop.engine).body.decode()):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name.removeprefix("evmbilling_"), {})[labels] = sample.value
    return found


@pytest.mark.fault("G06")
def test_g06_money_on_a_scrape_equals_the_rows(shop: Shop) -> None:
    """Two pay monthly and one of them stops; a third pays yearly; a fourth never pays."""
    for user in ("stays", "stops"):
        shop.shop.buy(user)
    shop.shop.buy("yearly", plan="yearly")
    shop.shop.checkout("never")
    shop.later(days=31)
    (asked,) = [o for o in shop.read(lambda u: u.orders_of_user("stays")) if o.status not in PAID_ORDERS]
    shop.shop.chain.pay(asked)
    shop.settle(25)
    shop.later(days=3)
    shop.fold()
    told = scraped(shop)

    def facts(unit):
        users = [c.user_id for c in unit.customers(limit=100)]
        orders = [order for user in users for order in unit.orders_of_user(user)]
        receipts = unit.receipts_of_orders([order.ledger_id for order in orders])
        held = [s for user in users for s in unit.subscriptions_of_user(user)]
        return orders, receipts, held

    _, receipts, held = shop.read(facts)
    token = shop.shop.token
    place, unit = ("local", token.symbol), 10**token.decimals
    credited = [r for r in receipts if r.status in {ReceiptStatus.CREDITED, ReceiptStatus.FINAL}]
    assert len(credited) == 4
    assert told["received"] == {place: sum(r.amount for r in credited) / unit}
    assert told["received_payments"] == {place: 4}
    owed = sum(s.debt for s in held if s.status in {"past_due", "suspended"})
    assert owed > 0
    assert told["debt"] == {place: owed / unit}
    ((_, mrr),) = shop.standing_mrr().items()
    assert told["mrr"][place] == pytest.approx(float(mrr / unit), rel=1e-12)
    payers = told["payers"][place]
    assert payers == told["paying_customers"][()] == 3
    assert told["arpu"][place] == pytest.approx(float(mrr / unit / 3), rel=1e-12)
    assert (
        told["revenue"][place] + 0
        == sum(row.revenue for row in shop.overview.tokens(shop.overview.scope(by="month"))) / unit
    )
    assert told["refunded"] == {place: 0}
    assert 0 <= told["figures_age_seconds"][()] < 3600


def test_a_test_network_is_on_no_scrape_of_money(open_shop) -> None:
    shop = open_shop(testnet=True)
    shop.shop.buy("somebody")
    shop.fold()
    told = scraped(shop)
    assert [name for name in MONEY if name in told] == []
    assert told["paying_customers"] == {(): 0}
    assert told["orders"] == {("confirmed",): 1}


def test_figures_that_were_never_folded_have_no_age(open_shop) -> None:
    shop = open_shop()
    assert "figures_age_seconds" not in scraped(shop)


def test_tokens_of_one_symbol_are_told_apart(memory_shop) -> None:
    one = memory_shop.shop.token
    other = attrs.evolve(one, token="0x" + "ab" * 20)

    def figures(asset, received):
        return AssetFigures(
            network="local",
            asset=asset,
            mrr=Fraction(1, 3),
            payers=0,
            received=received,
            payments=1,
            refunded=0,
            revenue=0,
            debt=0,
        )

    now = memory_shop.now
    series = series_of(Figures(now=now, clock=now, business=Business(assets=(figures(one, 1), figures(other, 2)))))
    unit = 10**one.decimals
    assert series["received"] == {
        ("local", f"{one.symbol} {one.token}"): 1 / unit,
        ("local", f"{one.symbol} {other.token}"): 2 / unit,
    }
    assert series["arpu"] == {}
