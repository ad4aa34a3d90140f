"""A document as a page to print: plain HTML, everything escaped, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from evmbilling.domain.receipt_documents import ReceiptDocument, display, write_number

_TITLES: Mapping[str, str] = {"receipt": "Receipt", "credit_note": "Credit note", "correction": "Correction"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#111}"
    "h1{font-size:1.4rem}table{border-collapse:collapse;width:100%;margin:1rem 0}"
    "td,th{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #ccc;vertical-align:top;overflow-wrap:anywhere}"
    ".n{text-align:right;white-space:nowrap}.who{display:flex;gap:2rem;flex-wrap:wrap}.who>div{flex:1}"
    "small{color:#555}@media print{body{margin:0;max-width:none}}"
)


def document_page(document: ReceiptDocument, *, buyer: str | None) -> str:
    """Return the page of a document."""
    content = document.content
    title = f"{_TITLES[document.kind]} {document.number}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(document.issued_at.date().isoformat())}</p>",
        f'<div class="who">{_who("Seller", content.get("seller"))}{_who("Buyer", buyer)}</div>',
        _refers(document),
        _lines(content),
        _payments(content),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _who(label: str, text: Any) -> str:
    if not text:
        return ""
    lines = "<br>".join(escape(line) for line in str(text).split("\n"))
    return f"<div><small>{label}</small><p>{lines}</p></div>"


def _refers(document: ReceiptDocument) -> str:
    content = document.content
    facts = {
        "Corrects": None if document.corrects is None else write_number(document.series, document.corrects),
        "Receipt": content.get("receipt"),
        "Order": content.get("ledger_id"),
        "Plan": content.get("plan"),
        "Reason": content.get("reason"),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items() if value)
    return f"<table>{rows}</table>" if rows else ""


def _lines(content: Mapping[str, Any]) -> str:
    symbol = escape(str(content.get("symbol", "")))
    rows = "".join(
        f'<tr><td>{escape(str(line["text"]))}</td><td class="n">{escape(str(line["display"]))} {symbol}</td></tr>'
        for line in content.get("lines", ())
    )
    total = f'<tr><th>Total</th><th class="n">{escape(str(content.get("display", "")))} {symbol}</th></tr>'
    return f"<table>{rows}{total}</table>"


def _payments(content: Mapping[str, Any]) -> str:
    place = ", ".join(escape(str(content.get(name, ""))) for name in ("network", "chain_id", "token"))
    head = f"<h2>On chain</h2><p><small>{place}</small></p>"
    rows = "".join(
        f"<tr><td>{escape(str(paid['tx_hash']))}<br><small>block {escape(str(paid['block_number']))},"
        f" {escape(str(paid['block_time']))}</small></td>"
        f'<td class="n">{escape(display(int(paid["amount"]), int(content["decimals"])))}</td></tr>'
        for paid in content.get("payments", ())
    )
    return f"{head}<table>{rows}</table>" if rows else ""
