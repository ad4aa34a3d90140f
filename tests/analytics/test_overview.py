"""What finance sees: by role, in zones, and in files that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import attrs
import pytest
from figure_bench import EVERYBODY, FINANCE, Shop
from figure_facts import USDC

from evmbilling.adapters.memory.figures import MemoryFigures
from evmbilling.domain.books.overview import (
    MoneyRow,
    Monthly,
    MrrRow,
    Stock,
    TransactionRow,
    debt_rows,
    mrr_rows,
)
from evmbilling.domain.books.overview_texts import as_csv, as_document, safe_cell
from evmbilling.domain.books.report_spans import Span
from evmbilling.domain.books.span_totals import Sum
from evmbilling.errors import InputError, PermissionDenied
from evmbilling.testing.merchant import ADMIN

SPAN = Span(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC), label="2026-03-01")
REPORTS = (
    "scope",
    "summary",
    "revenue",
    "tokens",
    "networks",
    "mrr",
    "subscriptions",
    "transactions",
    "debt",
    "finality",
)


@pytest.mark.parametrize("report", REPORTS)
def test_only_finance_sees_figures(memory_shop, report):
    admin_only = attrs.evolve(ADMIN, roles=ADMIN.roles - FINANCE.roles)
    for actor in (EVERYBODY, admin_only):
        with pytest.raises(PermissionDenied) as caught:
            getattr(memory_shop.engine.overview(actor), report)()
        assert caught.value.field == "actor"
    getattr(memory_shop.overview, report)()


def paid_at(shop: Shop, instant: datetime, user: str) -> None:
    """Let a user pay at an instant."""
    shop.later(seconds=(instant - shop.now).total_seconds() - 60)
    shop.shop.buy(user)


def test_days_begin_in_the_zone_of_the_report(shop):
    paid_at(shop, datetime(2026, 2, 1, 4, 30, tzinfo=UTC), "user-1")
    paid_at(shop, datetime(2026, 2, 1, 18, 35, tzinfo=UTC), "user-2")
    shop.fold()

    def days(zone):
        scope = shop.overview.scope(zone=zone, by="day", since=datetime(2026, 1, 31, 18, tzinfo=UTC))
        return [(row.span.label, row.payments) for row in shop.overview.revenue(scope)]

    assert days("UTC") == [("2026-02-01", 2)]
    assert days("America/New_York") == [("2026-01-31", 1), ("2026-02-01", 1)]
    assert days("Asia/Kolkata") == [("2026-02-01", 1), ("2026-02-02", 1)]


def test_what_is_owed_grows_older(shop):
    shop.shop.buy("user-1")
    shop.later(days=30)
    shop.later(days=12)
    (young,) = shop.overview.debt()
    assert (young.days, young.below, young.amount, young.orders) == (7, 30, 19_990_000, 1)
    shop.later(days=60)
    rows = shop.overview.debt()
    assert [row.days for row in rows][-1] == 60
    assert sum(row.amount for row in rows) == 19_990_000 * sum(row.orders for row in rows)


def test_orders_by_status_and_how_far_networks_are_read(shop):
    shop.shop.checkout("user-1")
    shop.shop.buy("user-2")
    found = {(row.status, row.network): row.orders for row in shop.overview.transactions()}
    assert found == {("pending", "local"): 1, ("confirmed", "local"): 1}
    before = shop.overview.scope(until=shop.now - timedelta(days=2))
    assert shop.overview.transactions(before) == ()
    (line,) = shop.overview.finality()
    assert (line.network, line.halted, line.behind) == ("local", None, 0)
    assert line.lag > 0


def test_what_one_report_asks_for_is_read_together(memory_shop, monkeypatch):
    memory_shop.shop.buy("user-1")
    memory_shop.fold()
    memory_shop.later(days=200)
    asked = Counter()

    def counted(name):
        real = getattr(MemoryFigures, name)

        def read(unit, *given, **how):
            asked[name] += 1
            return real(unit, *given, **how)

        return read

    for name in ("figure_totals", "figure_moves"):
        monkeypatch.setattr(MemoryFigures, name, counted(name))
    scope = memory_shop.overview.scope(by="month", zone="Europe/Berlin", as_of=memory_shop.now - timedelta(days=30))
    memory_shop.overview.summary(scope)
    assert asked["figure_totals"] == 3, "one for each group of series"
    assert asked["figure_moves"] <= 2 + 1, "what came late, on the day and after it, and the end at the instant"


def test_reports_say_how_new_they_are(memory_shop):
    assert memory_shop.overview.scope().complete_at.year == 1970
    memory_shop.fold()
    assert memory_shop.overview.scope().complete_at == memory_shop.now


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"by": "hour"}, "by"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"since": datetime(2026, 1, 1)}, "since"),  # noqa: DTZ001  - naive on purpose
        ({"until": "now"}, "until"),
        ({"as_of": 5}, "as_of"),
        ({"since": datetime(2020, 1, 1, tzinfo=UTC)}, "since"),
        ({"until": datetime.min.replace(tzinfo=UTC)}, "until"),
        ({"as_of": datetime.min.replace(tzinfo=UTC)}, "as_of"),
        ({"until": datetime.max.replace(tzinfo=UTC), "since": datetime(9999, 12, 30, tzinfo=UTC)}, "until"),
        ({"by": "month", "until": datetime.max.replace(tzinfo=UTC)}, "until"),
        ({"as_of": datetime.max.replace(tzinfo=UTC), "zone": "Pacific/Kiritimati"}, "as_of"),
        ({"since": datetime.min.replace(tzinfo=UTC), "zone": "America/New_York"}, "since"),
    ],
)
def test_a_scope_that_cannot_be_is_named(memory_shop, arguments, field):
    with pytest.raises(InputError) as caught:
        memory_shop.overview.scope(**arguments)
    assert caught.value.field == field
    with pytest.raises(InputError):
        memory_shop.overview.mrr("everything")


def monthly(amount):
    return Monthly(exact=Fraction(amount))


def test_arpu_and_churn():
    sums = [
        Sum(series="mrr_churn", asset=USDC, per=1, amount=200, items=1),
        Sum(series="mrr_contraction", asset=USDC, per=3, amount=300, items=1),
        Sum(series="mrr_new", asset=USDC, per=12, amount=1201, items=1),
        Sum(series="payers", asset=USDC, per=1, amount=0, items=1),
    ]
    key = (USDC.chain_id, USDC.token)
    before = Stock(mrr={key: Fraction(1000)}, payers={key: 2}, assets={key: USDC})
    (row,) = mrr_rows([SPAN], before, [sums])
    assert row.end.exact == 1000 - 200 - 100 + Fraction(1201, 12)
    assert (row.customers, row.lost, row.churn_rate) == (3, 1, Fraction(300, 1000))
    assert row.arpu == Monthly(exact=row.end.exact / 3)
    empty = attrs.evolve(row, start=monthly(0), customers=0)
    assert (empty.arpu, empty.churn_rate) == (None, None)


def test_months_are_shown_rounded_and_kept_exact():
    assert [Monthly(exact=Fraction(n, 2)).base_units for n in (1, 3, 5)] == [0, 2, 2]
    document = as_document(
        MrrRow(span=SPAN, asset=USDC, **dict.fromkeys(FLOWS, monthly(Fraction(5, 2))), customers=2, lost=0)
    )
    assert document["end"] == {"base_units": "2", "display": "0.000002", "exact": "5/2"}
    assert (document["arpu"]["exact"], document["churn_rate"]) == ("5/4", "2/1")
    json.dumps(document)


FLOWS = ("start", "new", "expansion", "contraction", "churn", "reactivation", "end")
EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("https://evil.example","x")']


@pytest.mark.fault("H14")
@pytest.mark.parametrize("text", EVIL)
def test_h14_no_text_is_a_formula_in_a_spreadsheet(text):
    symbol = attrs.evolve(USDC, symbol=text)
    rows = [MoneyRow(span=SPAN, asset=symbol, received=5, revenue=-1_000_000)]
    (header, cells) = csv.reader(io.StringIO(as_csv(rows), newline=""))
    found = dict(zip(header, cells, strict=True))
    assert found["symbol"] == f"'{text}"
    assert (found["received"], found["revenue"]) == ("0.000005", "-1"), "numbers are ours, and stay numbers"
    networks = as_csv([TransactionRow(status="final", network=text, orders=1)])
    assert list(csv.reader(io.StringIO(networks, newline="")))[1] == ["final", f"'{text}", "1"]
    assert safe_cell("a=b") == "a=b"


def test_csv_of_nothing_and_of_every_report(memory_shop):
    assert as_csv(()) == "\r\n"
    memory_shop.shop.buy()
    memory_shop.fold()
    face = memory_shop.overview
    for rows in (face.revenue(), face.mrr(), face.tokens(), face.subscriptions(), face.transactions(), face.finality()):
        header, first, *_ = csv.reader(io.StringIO(as_csv(rows)))
        assert len(header) == len(first)


def test_ages_of_debt_have_columns():
    rows = debt_rows([(USDC, 5, 0), (USDC, 7, 6), (USDC, 1, 7), (USDC, 2, 400), (USDC, 9, -1)])
    assert [(r.days, r.below, r.amount, r.orders) for r in rows] == [(0, 7, 21, 3), (7, 30, 1, 1), (90, None, 2, 1)]
