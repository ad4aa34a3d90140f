"""Grouping a list of decisions: few statements, and the order kept where it matters."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from evmbilling.domain import decisions as d
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.selling.pay_links import OpenPayLink

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Group = tuple[type, list[d.Decision]]
Name = tuple[str, Any]
_EVERYTHING: tuple[Name, ...] = (("*", None),)

_CLASS = "__class__"
"""What a decision is about as a class: all of them keep their order."""
_ABOUT: Mapping[type, Mapping[str, str]] = {
    d.StoreCustomer: {"user": "customer.user_id"},
    d.ConfirmWallet: {"user": "wallet.user_id"},
    d.OpenOrder: {"user": "order.user_id", "order": "order.ledger_id"},
    d.StoreOrder: {"user": "order.user_id", "order": "order.ledger_id"},
    d.BindKey: {"user": "record.user_id", "order": "record.ledger_id"},
    d.OpenSubscription: {"user": "subscription.user_id", "subscription": "subscription.subscription_id"},
    d.StoreSubscription: {"user": "subscription.user_id", "subscription": "subscription.subscription_id"},
    d.RecordChange: {"subscription": "change.subscription_id"},
    d.StoreEntitlement: {"user": "entitlement.user_id"},
    d.StoreReceipt: {"receipt": "receipt.receipt_id", "order": "receipt.ledger_id"},
    d.AppendEntry: {"receipt": "entry.receipt_id"},
    d.StoreRefund: {"order": "refund.ledger_id", "receipt": "refund.receipt_id", "refund": "refund.refund_id"},
    d.Publish: {"event": "event.aggregate", "published": "event.event_id"},
    d.RecordAudit: {"audit": _CLASS},
    d.StoreItem: {"item": "item.identity"},
    d.PostEntry: {"user": "entry.user_id", "order": "entry.ledger_id"},
    d.WatchTreasury: {"treasury": "treasury.address"},
    d.StoreMovement: {
        "movement": "movement.identity",
        "receipt": "movement.receipt_id",
        "refund": "movement.refund_id",
    },
    d.StoreQueueItem: {
        "order": "item.ledger_id",
        "receipt": "item.receipt_id",
        "refund": "item.refund_id",
        "queue": _CLASS,
    },
    d.StoreInboxItem: {"hint": "item.event_id"},
    d.OpenDeliveries: {"published": "event_id"},
    d.StoreDelivery: {"published": "delivery.event_id"},
    d.StoreMandate: {"user": "mandate.user_id", "subscription": "mandate.subscription_id", "mandates": _CLASS},
    d.OpenChallenge: {"user": "challenge.user_id"},
    d.StoreTransmission: {"transmission": "transmission.transmission_id", "sent for": "transmission.subject"},
    d.RecordSigned: {"transmission": "signed.transmission_id"},
    d.StoreDeposit: {"order": "deposit.ledger_id"},
    d.StoreProof: {"refund": "proof.refund_id", "proof": "proof.tx_hash"},
    StoreCharge: {"user": "charge.user_id", "order": "charge.ledger_id"},
    OpenPayLink: {"order": "link.ledger_id"},
}
"""What a decision is about: kinds of things, and where each kind's own name stands in the decision.

Everything of a customer depends on it and on nothing of another customer; a journal is named by its receipt.
"""


_READERS = {kind: [(name, attrgetter(path)) for name, path in about.items()] for kind, about in _ABOUT.items()}


def touched(decision: d.Decision) -> tuple[Name, ...]:
    """Name what a decision is about. Two decisions that share a name keep their order."""
    readers = _READERS.get(type(decision))
    return _EVERYTHING if readers is None else tuple((name, read(decision)) for name, read in readers)


def grouped(decisions: Iterable[d.Decision]) -> Sequence[Group]:
    """Put decisions of one class into one group, unless something they depend on stands in between."""
    decisions = list(decisions)
    kinds = [type(decision) for decision in decisions]
    if len(set(kinds)) == len(kinds):  # as a checkout has them
        return [(kind, [decision]) for kind, decision in zip(kinds, decisions, strict=True)]
    groups: list[Group] = []
    newest: dict[type, int] = {}
    seen: defaultdict[str, dict[Any, int]] = defaultdict(
        dict
    )  # by what kind of thing, the last group that was about it
    about = {kind: [(seen[name], read) for name, read in _READERS.get(kind, ())] for kind in set(kinds)}
    barrier = 0
    for kind, decision in zip(kinds, decisions, strict=True):
        names = [(places, read(decision)) for places, read in about[kind]]
        floor = barrier if names else len(groups) - 1
        for places, name in names:
            floor = max(floor, places.get(name, 0))
        place = newest.get(kind, -1)
        if place < max(floor, 0):
            place = newest[kind] = len(groups)
            groups.append((kind, []))
        groups[place][1].append(decision)
        if not names:
            barrier = place
        for places, name in names:
            places[name] = place
    return groups
