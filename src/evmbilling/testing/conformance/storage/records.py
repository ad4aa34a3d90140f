"""Records for tests of storage: complete, plausible, and different in every field from the defaults.

Each function takes changes as keywords. Ids and hashes come from small numbers, so that a test can say which is first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from evmbilling.domain.decisions import AddPlanVersion, Decision, OpenOrder, OpenSubscription, StoreReceipt
from evmbilling.ports.storage import Storage
from evmbilling.testing.conformance.storage.book_records import (
    SINK,
    challenge,
    delivery,
    endpoint,
    entry,
    hint,
    line,
    moved,
    movement,
    posting,
    queued,
    receipt,
    received,
    refund,
    seal,
    seal_item,
    treasury,
    window,
)
from evmbilling.testing.conformance.storage.catalogue_records import (
    contract,
    customer,
    entitlement,
    gateway,
    network,
    plan,
    wallet,
)
from evmbilling.testing.conformance.storage.chain_records import (
    ALICE,
    BOB,
    CHAIN,
    CONTRACT,
    EXTREMES,
    OTHER_CHAIN,
    OTHER_WALLET,
    SITE,
    T0,
    TOKEN,
    TREASURY,
    WALLET,
    asset,
    at,
    cursor,
    evidence,
    header,
    ident,
    identity,
    item,
    log,
    word,
)
from evmbilling.testing.conformance.storage.figure_records import (
    HUGE,
    cell,
    document,
    figure_state,
    figures,
    issued,
    journal_mark,
    monthly_price,
    move,
    note,
)
from evmbilling.testing.conformance.storage.sale_records import (
    adoption,
    audit,
    change,
    charge,
    completion,
    event,
    key_record,
    mandate,
    mark,
    order,
    pay_link,
    subscription,
    terms_change,
)
from evmbilling.testing.conformance.storage.sending_records import (
    MINED,
    RECEIVER,
    SENDER,
    deposit,
    proof,
    sending,
    signed_version,
)

__all__ = [
    "ALICE",
    "BOB",
    "CHAIN",
    "CONTRACT",
    "EXTREMES",
    "HUGE",
    "MINED",
    "OTHER_CHAIN",
    "OTHER_WALLET",
    "RECEIVER",
    "SENDER",
    "SINK",
    "SITE",
    "T0",
    "TOKEN",
    "TREASURY",
    "WALLET",
    "adoption",
    "asset",
    "at",
    "audit",
    "cell",
    "challenge",
    "change",
    "charge",
    "completion",
    "contract",
    "cursor",
    "customer",
    "delivery",
    "deposit",
    "document",
    "endpoint",
    "entitlement",
    "entry",
    "event",
    "evidence",
    "figure_state",
    "figures",
    "gateway",
    "header",
    "hint",
    "ident",
    "identity",
    "issued",
    "item",
    "journal_mark",
    "key_record",
    "line",
    "log",
    "looking",
    "mandate",
    "mark",
    "monthly_price",
    "move",
    "moved",
    "movement",
    "network",
    "note",
    "order",
    "pay_link",
    "plan",
    "posting",
    "proof",
    "queued",
    "receipt",
    "received",
    "refund",
    "seal",
    "seal_item",
    "seed",
    "seeded",
    "sending",
    "signed_version",
    "subscription",
    "terms_change",
    "treasury",
    "wallet",
    "window",
    "word",
    "write",
]


@contextmanager
def looking(storage: Storage) -> Iterator[Any]:
    """Open a unit that only reads."""
    with storage.unit(write=False) as unit:
        yield unit


def write(storage: Storage, *decisions: Decision) -> None:
    """Apply decisions in a unit of their own."""
    with storage.unit() as unit:
        unit.apply(decisions)


def seed(storage: Storage, *decisions: Decision, users: Iterable[str] = (ALICE, BOB)) -> None:
    """Store customers and the plan, which most other rows refer to, and then whatever else is given."""
    with storage.unit() as unit:
        for user_id in users:
            unit.lock_customer(customer(user_id))
        if unit.plan("pro", 1) is None:
            unit.apply([AddPlanVersion(plan())])
        unit.apply(decisions)


def seeded(storage: Storage) -> Storage:
    """Store one customer's subscription with an order and a receipt, all numbered 1."""
    asked, paid = order(subscription_id=ident(1), period=0), receipt(ledger_id=ident(1), user_id=ALICE)
    paid = attrs.evolve(paid, allocation="order", reason=None)
    seed(storage, OpenSubscription(subscription()), OpenOrder(asked), StoreReceipt(paid))
    return storage
