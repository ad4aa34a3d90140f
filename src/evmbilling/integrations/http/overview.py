"""The figures of finance, and the numbered documents of users."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.books.overview import Scope
from evmbilling.domain.books.overview_texts import as_csv, as_document
from evmbilling.domain.books.report_spans import STEPS
from evmbilling.engine.books.overview import Overview
from evmbilling.engine.books.receipt_documents import NumberedDocument
from evmbilling.errors import InputError, NotFound
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of, read_instant
from evmbilling.integrations.http.routes import INSTANT, LANG, Call, Parameter, RouteTable
from evmbilling.integrations.http.shapes import DocumentPage, DocumentView, ReportView
from evmbilling.integrations.http.views import instant

figures = RouteTable("overview", access="finance_ops", prefix="/overview")
papers = RouteTable("receipts", access="user", prefix="/me")
_NOW_ONLY = frozenset({"debt", "finality"})
"""Reports of how things stand, which have no stretch of time."""
_PRINTED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""What a document to print may load: its own styles (Content Security Policy 3)."""
REPORTS = ("revenue", "mrr", "tokens", "networks", "subscriptions", "transactions", "debt", "finality")
SCOPE = (
    Parameter(name="by", text="What a row is: `day`, `week` or `month`.", example="month", shape={"enum": list(STEPS)}),
    Parameter(name="zone", text="IANA zone in which days, weeks and months begin.", example="Europe/Berlin"),
    Parameter(name="since", text="The first instant.", example="2030-01-01T00:00:00Z", shape=INSTANT),
    Parameter(name="until", text="Where it ends.", shape=INSTANT),
    Parameter(name="as_of", text="What was known then: a closed month stays as it was.", shape=INSTANT),
)


@figures.get("", name="get_overview", answer=ReportView, parameters=SCOPE)
def get_overview(call: Call) -> ReportView:
    """The summary: money in and out, MRR with its movements, subscriptions, customers."""
    face, scope = _face(call)
    return ReportView(report="summary", scope=as_document(scope), data=as_document(face.summary(scope)))


@figures.get("/{report}", name="get_report", answer=ReportView, parameters=SCOPE, errors=(NotFound,))
def get_report(call: Call) -> ReportView:
    """One report: revenue, mrr, tokens, networks, subscriptions, transactions, debt or finality."""
    face, scope = _face(call)
    name = call.param("report")
    return ReportView(report=name, scope=as_document(scope), data=as_document(_rows(face, scope, name)))


@figures.get(
    "/{report}/csv",
    name="get_report_csv",
    produces="text/csv; charset=utf-8",
    parameters=SCOPE,
    errors=(NotFound,),
)
def get_report_csv(call: Call) -> Answer:
    """One report for a spreadsheet: no cell of it is computed as a formula."""
    face, scope = _face(call)
    name = call.param("report")
    if name == "networks":
        raise InputError("this report is no table; ask for it as JSON", field="report")
    headers = (("Content-Disposition", f'attachment; filename="{name}.csv"'),) if name in REPORTS else ()
    return Answer(value=as_csv(_rows(face, scope, name)).encode(), headers=headers)


@papers.get("/receipts", answer=DocumentPage, parameters=PAGE)
def list_documents(call: Call) -> DocumentPage:
    """The user's receipts, credit notes and corrections, the newest number first."""
    rows = limit_of(call)
    found = call.engine.receipt_documents(call.user, before=cursor_of(call), limit=rows + 1)
    more = make_cursor(found[rows - 1].document.number) if len(found) > rows else None
    shown = [
        DocumentView(
            number=one.document.number,
            kind=one.document.kind,
            issued_at=instant(one.document.issued_at),
            document=one.as_json(),
        )
        for one in found[:rows]
    ]
    return DocumentPage(documents=shown, next=more)


@papers.get("/receipts/{number}", answer=dict[str, Any], errors=(NotFound,))
def get_document(call: Call) -> dict[str, Any]:
    """A receipt, a credit note or a correction."""
    found: dict[str, Any] = call.engine.receipt_document(call.param("number"), user_id=call.user).as_json()
    return found


@papers.get("/receipts/{number}/print", produces="text/html; charset=utf-8", parameters=LANG, errors=(NotFound,))
def print_document(call: Call) -> Answer:
    """A document as a page to print, in English or Russian; it loads nothing."""
    return printed(call.engine.receipt_document(call.param("number"), user_id=call.user), call)


def printed(found: NumberedDocument, call: Call) -> Answer:
    """Return the page of a document in the language of who asks."""
    return Answer(value=found.as_html(call.language).encode(), headers=(("Content-Security-Policy", _PRINTED),))


def _face(call: Call) -> tuple[Overview, Scope]:
    face = call.engine.overview(call.who)
    by, zone = query_of(call, "by"), query_of(call, "zone")
    scope = face.scope(
        by="month" if by is None else by,  # type: ignore[arg-type]  # checked there
        zone="UTC" if zone is None else zone,
        since=read_instant(query_of(call, "since"), field="since"),
        until=read_instant(query_of(call, "until"), field="until"),
        as_of=read_instant(query_of(call, "as_of"), field="as_of"),
    )
    return face, scope


def _rows(face: Overview, scope: Scope, name: str) -> Any:
    if name not in REPORTS:
        raise NotFound(f"there is no such report; there are {', '.join(REPORTS)}", field="report")
    return getattr(face, name)() if name in _NOW_ONLY else getattr(face, name)(scope)
