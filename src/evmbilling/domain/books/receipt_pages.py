"""A document as a page to print: plain HTML, everything escaped, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.books.paper_words import PaperWords
from evmbilling.domain.books.receipt_documents import ReceiptDocument, display, write_number

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#111;"
    "background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem}table{border-collapse:collapse;width:100%;margin:1rem 0}"
    "td,th{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #ccc;vertical-align:top;overflow-wrap:anywhere}"
    "th{overflow-wrap:normal}p{overflow-wrap:anywhere}"
    ".n{text-align:right;white-space:nowrap}.who{display:flex;gap:2rem;flex-wrap:wrap}.who>div{flex:1}"
    "small{color:#555}@media print{body{margin:0;max-width:none}}"
)


def document_page(document: ReceiptDocument, *, buyer: str | None, words: PaperWords) -> str:
    """Return the page of a document in a language."""
    content = document.content
    title = f"{words(document.kind)} {document.number}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_when(document.issued_at, words.day(document.issued_at))}</p>",
        f'<div class="who">{_who(words("seller"), content.get("seller"))}{_who(words("buyer"), buyer)}</div>',
        _refers(document, words),
        _lines(document, words),
        _payments(content, words),
    ]
    return (
        f'<!doctype html>\n<html lang="{words.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _when(moment: datetime, told: str) -> str:
    return f'<time datetime="{escape(moment.isoformat())}">{escape(told)}</time>'


def _who(label: str, text: Any) -> str:
    if not text:
        return ""
    lines = "<br>".join(escape(line) for line in str(text).split("\n"))
    return f"<div><small>{escape(label)}</small><p>{lines}</p></div>"


def _refers(document: ReceiptDocument, words: PaperWords) -> str:
    content = document.content
    reason = content.get("reason")
    facts = {
        "corrects": None if document.corrects is None else write_number(document.series, document.corrects),
        "of_receipt": content.get("receipt"),
        "order": content.get("ledger_id"),
        "plan": content.get("plan"),
        "reason": words.reason(str(reason)) if reason else None,
        "paid": words("paid_another_way") if content.get("paid_another_way") else None,
    }
    rows = "".join(
        f'<tr><th scope="row">{escape(words(name))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in facts.items()
        if value
    )
    return f"<table>{rows}</table>" if rows else ""


def _lines(document: ReceiptDocument, words: PaperWords) -> str:
    content = document.content
    symbol = str(content.get("symbol", ""))
    rows = "".join(
        f"<tr><td>{escape(words.line(str(line['kind']), str(line['text'])))}</td>"
        f'<td class="n">{escape(words.amount(str(line["display"]), symbol))}</td></tr>'
        for line in content.get("lines", ())
    )
    total = words.amount(str(content["display"]), symbol)
    label = escape(words(f"total_{document.kind}"))
    return f'<table>{rows}<tr><th scope="row">{label}</th><th class="n">{escape(total)}</th></tr></table>'


def _payments(content: Mapping[str, Any], words: PaperWords) -> str:
    paid = content.get("payments", ())
    if not paid:
        return ""
    token = content["token"]
    named = words("coin") if token == NATIVE_COIN else words("token", token=token)
    place = words("place", network=content["network"], chain_id=content["chain_id"], token=named)
    rows = "".join(_payment(one, content, words) for one in paid)
    return f"<h2>{escape(words('on_chain'))}</h2><p><small>{escape(place)}</small></p><table>{rows}</table>"


def _payment(paid: Mapping[str, Any], content: Mapping[str, Any], words: PaperWords) -> str:
    mined = datetime.fromisoformat(paid["block_time"])
    block = words("block", number=paid["block_number"], moment=words.moment(mined))
    amount = words.amount(display(int(paid["amount"]), int(content["decimals"])), str(content["symbol"]))
    return (
        f"<tr><td>{escape(str(paid['tx_hash']))}<br><small>{escape(block)}</small></td>"
        f'<td class="n">{escape(amount)}</td></tr>'
    )
