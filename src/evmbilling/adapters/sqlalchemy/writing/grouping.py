"""Grouping a list of decisions: few statements, and the order kept where it matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.domain import decisions as d
from evmbilling.domain.charges import StoreCharge
from evmbilling.domain.pay_links import OpenPayLink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Group = tuple[type, list[d.Decision]]
_EVERYTHING = "*"


def touched(decision: d.Decision) -> tuple[str, ...]:  # noqa: C901, PLR0911, PLR0912  - one flat table of all decisions
    """Name what a decision is about. Two decisions that share a name keep their order.

    Everything of a customer depends on it and on nothing of another customer; a journal is named by its receipt.
    """
    match decision:
        case d.StoreCustomer(customer):
            return (f"user {customer.user_id}",)
        case d.ConfirmWallet(wallet):
            return (f"user {wallet.user_id}",)
        case d.OpenOrder(order) | d.StoreOrder(order):
            return (f"user {order.user_id}", f"order {order.ledger_id}")
        case d.BindKey(record):
            return (f"user {record.user_id}", f"order {record.ledger_id}")
        case d.OpenSubscription(subscription) | d.StoreSubscription(subscription):
            return (f"user {subscription.user_id}", f"subscription {subscription.subscription_id}")
        case d.RecordChange(change):
            return (f"subscription {change.subscription_id}",)
        case d.StoreEntitlement(entitlement):
            return (f"user {entitlement.user_id}",)
        case d.StoreReceipt(receipt):
            return (f"receipt {receipt.receipt_id}", f"order {receipt.ledger_id}")
        case d.AppendEntry(entry):
            return (f"receipt {entry.receipt_id}",)
        case d.StoreRefund(refund):
            return (f"order {refund.ledger_id}", f"receipt {refund.receipt_id}", f"refund {refund.refund_id}")
        case d.Publish(event):
            return (f"event {event.aggregate}", f"published {event.event_id}")
        case d.RecordAudit():
            return ("audit",)
        case d.StoreItem(item):
            return (f"item {item.identity}",)
        case d.PostEntry(entry):
            return (f"user {entry.user_id}", f"order {entry.ledger_id}")
        case d.WatchTreasury(treasury):
            return (f"treasury {treasury.chain_id} {treasury.address}",)
        case d.StoreMovement(movement):
            return (f"movement {movement.identity}", f"receipt {movement.receipt_id}", f"refund {movement.refund_id}")
        case d.StoreQueueItem(item):
            return (f"order {item.ledger_id}", f"receipt {item.receipt_id}", f"refund {item.refund_id}", "queue")
        case d.StoreInboxItem(item):
            return (f"hint {item.source} {item.event_id}",)
        case d.OpenDeliveries(event_id, _):
            return (f"published {event_id}",)
        case d.StoreDelivery(delivery):
            return (f"published {delivery.event_id}",)
        case d.StoreMandate(mandate):
            return (f"user {mandate.user_id}", f"subscription {mandate.subscription_id}", "mandates")
        case d.OpenChallenge(challenge):
            return (f"user {challenge.user_id}",)
        case d.StoreTransmission(transmission):
            return (f"transmission {transmission.transmission_id}", f"sent for {transmission.subject}")
        case d.RecordSigned(signed):
            return (f"transmission {signed.transmission_id}",)
        case d.StoreDeposit(deposit):
            return (f"order {deposit.ledger_id}",)
        case StoreCharge(charge):
            return (f"user {charge.user_id}", f"order {charge.ledger_id}")
        case OpenPayLink(link, _):
            return (f"order {link.ledger_id}",)
        case _:
            return (_EVERYTHING,)


def grouped(decisions: Iterable[d.Decision]) -> Sequence[Group]:
    """Put decisions of one class into one group, unless something they depend on stands in between."""
    decisions = list(decisions)
    kinds = [type(decision) for decision in decisions]
    if len(set(kinds)) == len(kinds):  # as a checkout has them
        return [(kind, [decision]) for kind, decision in zip(kinds, decisions, strict=True)]
    groups: list[Group] = []
    newest: dict[type, int] = {}
    seen: dict[str, int] = {}
    barrier = -1
    for decision in decisions:
        names = touched(decision)
        everything = names == (_EVERYTHING,)
        floor = len(groups) - 1 if everything else max((seen.get(name, -1) for name in names), default=-1)
        place = newest.get(type(decision), -1)
        if place < max(floor, barrier, 0):
            place = len(groups)
            groups.append((type(decision), []))
            newest[type(decision)] = place
        groups[place][1].append(decision)
        barrier = place if everything else barrier
        seen.update((name, place) for name in names)
    return groups
