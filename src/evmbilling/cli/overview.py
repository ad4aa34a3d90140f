"""``evmbilling overview``: the figures of finance, in words, in JSON or as CSV."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import counted, one_line, reporting, say, say_json
from evmbilling.errors import InputError

if TYPE_CHECKING:
    from evmbilling.domain.books.overview import MrrRow, Scope, Summary
    from evmbilling.engine.books.overview import Overview

REPORTS = ("revenue", "mrr", "tokens", "subscriptions", "transactions", "debt", "finality")


def overview(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    as_csv: Annotated[
        str | None, typer.Option("--csv", help=f"One report as CSV on standard output: {', '.join(REPORTS)}.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="What a row is: day, week or month.")] = "month",
    zone: Annotated[str, typer.Option("--zone", help="IANA zone in which days, weeks and months begin.")] = "UTC",
    since: Annotated[str | None, typer.Option("--since", help="First instant, ISO 8601; a day in UTC will do.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Where it ends, ISO 8601.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="What was known then, ISO 8601.")] = None,
    fold: Annotated[
        bool, typer.Option("--fold", help="Take in what was committed since the last time, first.")
    ] = False,
) -> None:
    """Show money, MRR, subscriptions, transactions, debt and finality of the configured database.

    Reads what the worker has folded; --fold does that work here. Whoever can run this may see everything.
    """
    with reporting(as_json=as_json):
        from evmbilling.domain.actors import SYSTEM
        from evmbilling.factory import BillingEngine

        if as_csv is not None:
            as_csv = _one_of_reports(as_csv)
            if as_json:
                raise InputError("an answer is JSON or CSV; leave one of them out", field="csv")
        instants = {
            "since": _instant(since, "since"),
            "until": _instant(until, "until"),
            "as_of": _instant(as_of, "as_of"),
        }
        engine = BillingEngine.from_settings()
        try:
            while fold and engine.fold().folded:
                pass
            face = engine.overview(SYSTEM)
            scope = face.scope(by=by, zone=zone, **instants)  # type: ignore[arg-type]  # checked there
            if as_csv is not None:
                _say_csv(face, scope, as_csv)
            elif as_json:
                _say_document(face, scope)
            else:
                _say(face, scope)
        finally:
            engine.close()


def _one_of_reports(name: str) -> str:
    if name not in REPORTS:
        raise InputError(f"one of {', '.join(REPORTS)} is expected", field="csv")
    return name


def _instant(value: str | None, field: str) -> datetime | None:
    if value is None:
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise InputError(
            "an instant is written in ISO 8601, for example 2026-01-31 or 2026-01-31T12:00:00Z", field=field
        ) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _rows(face: Overview, scope: Scope, name: str) -> Any:
    return getattr(face, name)() if name in {"debt", "finality"} else getattr(face, name)(scope)


def _say_csv(face: Overview, scope: Scope, name: str) -> None:
    from evmbilling.domain.books.overview_texts import as_csv

    sys.stdout.write(as_csv(_rows(face, scope, name)))


def _say_document(face: Overview, scope: Scope) -> None:
    from evmbilling.domain.books.overview_texts import report_document

    parts = {name: _rows(face, scope, name) for name in REPORTS if name != "subscriptions"}
    # The summary has MRR of the whole stretch as one; here it is by row.
    say_json(report_document(face.summary(scope), by=parts))


def _say(face: Overview, scope: Scope) -> None:
    from evmbilling.domain.books.overview_texts import scope_words

    summary = face.summary(scope)
    say(scope_words(scope))
    _say_money(summary)
    for row in summary.mrr:
        _say_mrr(row)
    say(f"{summary.customers} paying customers")
    for standing in summary.subscriptions:
        say(f"{counted(standing.subscriptions, 'subscription')} {standing.status}")
    for count in face.transactions(scope):
        say(f"{counted(count.orders, 'order')} {count.status} on {one_line(count.network)}")
    for debt in face.debt():
        older = f"{debt.days} days or older" if debt.below is None else f"{debt.days} to {debt.below} days"
        say(f"owed for {older}: {_shown(debt.amount, debt.asset)} in {counted(debt.orders, 'order')}")
    for line in face.finality():
        say(f"{one_line(line.network)}: read to block {line.read}, irreversible {line.lag} blocks behind the head")


def _say_money(summary: Summary) -> None:
    for row in summary.money:
        asset = row.asset
        say(
            f"{one_line(asset.symbol)} on chain {asset.chain_id}:"
            f" received {_shown(row.received, asset)} in {row.payments},"
            f" refunded {_shown(row.refunded, asset)} in {row.refunds}, revenue {_shown(row.revenue, asset)},"
            f" tax {_shown(row.tax, asset)}, written off {_shown(row.written_off, asset)}"
        )


def _say_mrr(row: MrrRow) -> None:
    def shown(name: str) -> str:
        return _shown(getattr(row, name).base_units, row.asset)

    arpu = "none" if row.arpu is None else _shown(row.arpu.base_units, row.asset)
    say(
        f"MRR in {one_line(row.asset.symbol)} on chain {row.asset.chain_id}: {shown('start')} + {shown('new')} new"
        f" + {shown('expansion')} expansion + {shown('reactivation')} reactivation"
        f" - {shown('contraction')} contraction - {shown('churn')} churn = {shown('end')}; ARPU {arpu}"
    )


def _shown(amount: int, asset: Any) -> str:
    from evmbilling.domain.books.receipt_documents import display

    return display(amount, asset.decimals)
