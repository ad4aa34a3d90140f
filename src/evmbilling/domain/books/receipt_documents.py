"""Receipt documents: numbered papers about payments, which never change.

A final payment of an order gets a receipt, a refund a credit note. What turns out to be untrue afterwards is not taken
away: a correction names the number that it corrects. Numbers have no gaps, and are given by a worker after the commit
of what they are about.

Documents hold chain evidence, order lines, the host's text about the seller and the user's opaque id. What the host
says about the buyer is personal: it stands apart and can be erased.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import frozen

from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import from_base_units
from evmbilling.domain.payments.receipts import Evidence, Receipt, Refund
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus
from evmbilling.errors import InputError

DocumentKind = Literal["receipt", "credit_note", "correction"]
DOCUMENT_EVENTS = (
    EventType.PAYMENT_FINAL,
    EventType.PAYMENT_REVERSED,
    EventType.REFUND_DONE,
    EventType.REFUND_REVERSED,
)
"""Events that may need a document."""
BuyerText = Callable[[str], str]
"""A host's callable: user id -> what stands on receipts about the buyer (name, address, tax number); lines of text."""
LONGEST_TEXT = 4000
DEFAULT_SERIES = "R"
_SERIES = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}", re.ASCII)
_NUMBER = re.compile(r"(?P<series>.+)-(?P<serial>[0-9]{6,15})", re.ASCII)


@frozen(kw_only=True)
class Papers:
    """What stands on documents beside the facts.

    Attributes:
        series: names the series of numbers; one for each seller.
        seller: lines of text about the seller. buyer: gives those about a buyer; nobody is named without it.

    """

    series: str = DEFAULT_SERIES
    seller: str = ""
    buyer: BuyerText | None = None


@frozen(kw_only=True)
class ReceiptDocument:
    """One numbered document.

    Attributes:
        series, serial: its number: serials count from 1 without gaps within a series.
        source: the event that it is about; each has one document.
        subject: what a correction refers by: ``order:<ledger_id>`` or ``refund:<refund_id>``.
        corrects: serial in the same series that it corrects.
        issued_at: when it got its number. content: JSON values only; amounts are strings of base units.

    """

    series: str
    serial: int
    kind: DocumentKind
    source: str
    subject: str
    user_id: str | None = None
    ledger_id: str | None = None
    corrects: int | None = None
    issued_at: datetime
    content: Mapping[str, Any]

    @property
    def number(self) -> str:
        """How people write it: ``R-000001``."""
        return write_number(self.series, self.serial)


@frozen(kw_only=True)
class BuyerNote:
    """What the host said about the buyer when a document was made. Erased with the customer."""

    series: str
    serial: int
    user_id: str
    text: str


@frozen
class IssueDocument:
    """Append a document; a taken number or source is AlreadyExists."""

    document: ReceiptDocument
    buyer: BuyerNote | None = None


def make_papers(*, series: object, seller: object, buyer: BuyerText | None) -> Papers:
    """Build what stands on documents from untrusted values.

    Raises:
        InputError: names the first that cannot be used.

    """
    if not isinstance(series, str) or not _SERIES.fullmatch(series):
        raise InputError("a series is 1 to 32 of A-Z a-z 0-9 . _ - and begins with a letter", field="receipt_series")
    return Papers(series=series, seller=check_text(seller, field="receipt_seller"), buyer=buyer)


def write_number(series: str, serial: int) -> str:
    """Write a number as people read it."""
    return f"{series}-{serial:06d}"


def parse_number(value: object, *, field: str = "number") -> tuple[str, int]:
    """Read a number as it is written on a document.

    Raises:
        InputError: it is none.

    """
    match = _NUMBER.fullmatch(parse_opaque(value, field=field))
    serial = int(match["serial"]) if match else 0
    if match is None or write_number(match["series"], serial) != value:
        raise InputError("a document's number looks like R-000001", field=field)
    return match["series"], serial


def check_text(value: object, *, field: str) -> str:
    """Read a text of a seller or buyer: printable lines.

    Raises:
        InputError: no text, too long, or with control characters other than line ends.

    """
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise InputError(f"a text of up to {LONGEST_TEXT} characters is expected", field=field)
    if not all(line.isprintable() for line in value.split("\n")):
        raise InputError("a text on a receipt is printable", field=field)
    return value


def subject_of(event: Event) -> str:
    """Return what an event about money is about."""
    if event.type in {EventType.REFUND_DONE, EventType.REFUND_REVERSED}:
        return f"refund:{event.data['refund_id']}"
    return f"order:{event.data['ledger_id']}"


def kind_of(event: Event) -> DocumentKind:
    """Return which kind of document an event needs."""
    kinds: Mapping[str, DocumentKind] = {EventType.PAYMENT_FINAL: "receipt", EventType.REFUND_DONE: "credit_note"}
    return kinds.get(event.type, "correction")


def order_content(order: Order, receipts: Sequence[Receipt], *, seller: str) -> dict[str, Any]:
    """Return what stands on the receipt of an order: its lines, and every movement on chain that counts for it."""
    own = [r for r in receipts if r.allocation == "order"]
    # One that was taken back before its receipt got a number still says what was paid; a correction follows.
    gone = [r for r in own if r.status is ReceiptStatus.REVERSED]
    paid = [r for r in own if r.status in SUPPORTING_RECEIPTS] or gone
    return _money(order) | {
        "seller": seller,
        "ledger_id": order.ledger_id,
        "plan": order.plan_slug,
        "plan_version": order.plan_version,
        "product": str(order.product),
        "period": order.period,
        "quantity": order.quantity,
        "lines": [
            {
                "kind": line.kind,
                "text": line.text,
                "amount": str(line.amount),
                "display": display(line.amount, order.asset.decimals),
            }
            for line in order.lines
        ],
        "amount": str(order.amount),
        "display": display(order.amount, order.asset.decimals),
        "paid": str(sum(r.amount for r in paid)),
        "paid_another_way": order.manual is not None,
        "payments": [
            {"amount": str(r.amount), "payer": r.payer, "treasury": r.treasury}
            | evidence_content(r.identity.tx_hash, r.identity.ordinal, r.evidence)
            for r in sorted(paid, key=lambda r: r.identity)
        ],
    }


def refund_content(refund: Refund, order: Order | None, *, seller: str, original: str | None) -> dict[str, Any]:
    """Return what stands on a credit note: what went back, where to, and the receipt that it belongs to."""
    money = {
        "network": refund.network,
        "chain_id": refund.asset.chain_id,
        "token": refund.asset.token,
        "symbol": refund.asset.symbol,
        "decimals": refund.asset.decimals,
    }
    moved = (
        []
        if refund.identity is None or refund.evidence is None
        else [
            {"amount": str(refund.amount), "treasury": refund.treasury, "address": refund.address}
            | evidence_content(refund.identity.tx_hash, refund.identity.ordinal, refund.evidence)
        ]
    )
    return money | {
        "seller": seller,
        "refund_id": refund.refund_id,
        "ledger_id": refund.ledger_id,
        "plan": None if order is None else order.plan_slug,
        "receipt": original,
        "amount": str(refund.amount),
        "display": display(refund.amount, refund.asset.decimals),
        "reason": refund.reason,
        "payments": moved,
    }


def correction_content(corrected: ReceiptDocument, *, reason: str) -> dict[str, Any]:
    """Return what stands on a correction: the number that no longer holds, and its amount, taken back."""
    kept = ("network", "chain_id", "token", "symbol", "decimals", "seller", "ledger_id", "plan", "amount", "display")
    content = {name: corrected.content.get(name) for name in kept}
    return content | {"corrects": corrected.number, "reason": reason, "payments": corrected.content["payments"]}


def evidence_content(tx_hash: bytes, ordinal: int, evidence: Evidence) -> dict[str, Any]:
    """Return chain evidence as JSON values."""
    return {
        "tx_hash": "0x" + tx_hash.hex(),
        "ordinal": ordinal,
        "block_number": evidence.block_number,
        "block_hash": "0x" + evidence.block_hash.hex(),
        "block_time": evidence.block_time.isoformat(),
    }


def display(amount: int, decimals: int) -> str:
    """Write base units as people read them, negative ones too."""
    return f"-{from_base_units(-amount, decimals)}" if amount < 0 else from_base_units(amount, decimals)


def _money(order: Order) -> dict[str, Any]:
    return {
        "network": order.network,
        "chain_id": order.asset.chain_id,
        "token": order.asset.token,
        "symbol": order.asset.symbol,
        "decimals": order.asset.decimals,
    }
