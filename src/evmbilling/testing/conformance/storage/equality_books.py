"""Whatever is posted, told, counted, erased or pruned: memory and the databases answer alike afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import Account, EntryKind, customer_owner, order_owner
from evmbilling.domain.books.seals import SealItem
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus
from evmbilling.errors import BillingError, Conflict, InputError, StorageError
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

USERS = ("a", "A", "a%")

NUMBERS = (1, 2, 3)

SINKS = ("notifier:log", "webhook:1")

ASSETS = (b.asset(), b.asset(chain_id=b.OTHER_CHAIN))

OWNERS = (*map(customer_owner, USERS), *(order_owner(b.ident(n)) for n in NUMBERS), "-")

WALLETS = (b.WALLET, b.OTHER_WALLET, b.TREASURY)

SUBJECTS = ("receipt:1", "receipt:2")

LIMITS = ("api", "API")

users = st.sampled_from(USERS)

numbers = st.sampled_from(NUMBERS)

ids = numbers.map(b.ident)

versions = st.sampled_from((1, 1, 2, 2, 3))

amounts = st.sampled_from((*b.EXTREMES, 7, 2**256))

instants = st.integers(-2, 2).map(b.at)

states = st.sampled_from(("waiting", "waiting", "done", "dead"))


def line(account: Any, owner: Any, side: Any, amount: Any) -> Any:
    return b.line(account, owner, side, amount)


lines = st.lists(
    st.builds(
        line,
        st.sampled_from((Account.CUSTOMER_CREDIT, Account.DEFERRED_REVENUE, Account.TREASURY)),
        st.sampled_from(OWNERS),
        st.sampled_from(("debit", "credit")),
        st.sampled_from((1, 7, 2**63, 2**255, 2**256 - 1)),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def _posting(number: Any, source: Any, **changes: Any) -> Any:
    return d.PostEntry(b.posting(number, source=f"s{source}", **changes))


def _movement(number: Any, version: Any, receipt_id: Any, amount: Any, live: Any) -> Any:
    return d.StoreMovement(b.movement(number, version=version, receipt_id=receipt_id, amount=amount, live=live))


def _queued(number: Any, version: Any, kind: Any, state: Any, ledger_id: Any) -> Any:
    # What an item is about does not change from version to version.
    changes = {"kind": kind, "subject": SUBJECTS[number % 2], "state": state, "ledger_id": ledger_id}
    return d.StoreQueueItem(b.queued(number, version=version, **changes))


def _hint(number: Any, version: Any, state: Any, received_at: Any, retry_at: Any) -> Any:
    return d.StoreInboxItem(
        b.hint(number, version=version, state=state, received_at=received_at, retry_at=retry_at, body=bytes([version]))
    )


def _event(number: Any) -> Any:
    return b.event(number, aggregate=USERS[number % 3], seq=number)


def _delivery(number: Any, **changes: Any) -> Any:
    return b.delivery(number, aggregate=USERS[number % 3], seq=number, **changes)


progress = {
    "state": states,
    "attempts": st.integers(0, 1),
    "next_at": instants,
    "done_at": st.none() | instants,
    "status_code": st.sampled_from((None, 200, 503)),
}


@st.composite
def hand_outs(draw: Any) -> Any:
    number = draw(st.integers(1, 6))
    sinks = sorted(draw(st.sets(st.sampled_from(SINKS))))
    deliveries = [_delivery(number, sink=sink, **draw(st.fixed_dictionaries(progress))) for sink in sinks]
    return d.OpenDeliveries(b.ident(number), tuple(deliveries))


def _order(number: Any, user_id: Any, status: Any, deferred: Any, version: Any) -> Any:
    order = b.order(number, user_id=user_id, status=status, manual=b.mark() if deferred else None, version=version)
    return (d.OpenOrder if version == 1 else d.StoreOrder)(order)


def _refund(number: Any, ledger_id: Any, receipt_id: Any, status: Any, version: Any) -> Any:
    return d.StoreRefund(
        b.refund(number, ledger_id=ledger_id, receipt_id=receipt_id, status=status, version=version, identity=None)
    )


def _seal(number: Any, keys: Any) -> Any:
    items = tuple(SealItem(table="audit", key=b.ident(key), digest=b.word(key), seal=number) for key in sorted(keys))
    return d.AddSeal(b.seal(number, rows=len(items)), items)


def _challenge(number: Any, user_id: Any, expires_at: Any, used_at: Any) -> Any:
    return d.OpenChallenge(b.challenge(number, user_id=user_id, expires_at=expires_at, used_at=used_at))


one_decision = st.one_of(
    st.builds(
        _posting,
        st.integers(1, 6),
        st.integers(1, 6),
        kind=st.sampled_from(EntryKind),
        asset=st.sampled_from(ASSETS),
        lines=lines,
        ledger_id=st.none() | ids,
        user_id=st.none() | users,
    ),
    st.builds(_movement, numbers, versions, st.none() | ids, amounts, st.booleans()),
    st.builds(
        lambda chain, address, n: d.WatchTreasury(b.treasury(n, chain_id=chain, address=address)),
        st.sampled_from((b.CHAIN, b.OTHER_CHAIN)),
        st.sampled_from(WALLETS),
        numbers,
    ),
    st.builds(
        _queued,
        numbers,
        versions,
        st.sampled_from(("suspense", "held")),
        st.sampled_from(("open", "decided")),
        st.none() | ids,
    ),
    st.builds(_hint, numbers, versions, st.sampled_from(("received", "done", "parked", "dead")), instants, instants),
    st.builds(lambda n, v, o: d.SaveEndpoint(b.endpoint(n, version=v, ordered=o)), numbers, versions, st.booleans()),
    st.builds(lambda n: d.Publish(_event(n)), st.integers(1, 6)),
    hand_outs(),
    st.builds(
        lambda number, **changes: d.StoreDelivery(_delivery(number, **changes)),
        st.sampled_from((1, 1, 4, 5)),
        sink=st.sampled_from(SINKS),
        version=st.sampled_from((2, 2, 3)),
        **progress,
    ),
    st.builds(_order, numbers, users, st.sampled_from(OrderStatus), st.booleans(), versions),
    st.builds(
        lambda n, ledger_id, status, v: d.StoreReceipt(b.receipt(n, ledger_id=ledger_id, status=status, version=v)),
        numbers,
        st.none() | ids,
        st.sampled_from(ReceiptStatus),
        versions,
    ),
    st.builds(_refund, numbers, st.none() | ids, st.none() | ids, st.sampled_from(RefundStatus), versions),
    st.builds(lambda r, n: d.AppendEntry(b.entry(receipt_id=r, seq=n)), ids, numbers),
    st.builds(lambda n: d.RecordAudit(b.audit(n)), numbers),
    st.builds(_seal, numbers, st.sets(st.integers(1, 4))),
    st.builds(_challenge, numbers, users, instants, st.none() | instants),
    st.builds(
        lambda u, a: d.ConfirmWallet(b.wallet(user_id=u, address=a)),
        st.sampled_from((*USERS, "nobody")),
        st.sampled_from(WALLETS),
    ),
    st.builds(lambda u, n: d.EraseCustomer(b.customer(u, version=n, erased_at=b.T0)), users, numbers),
)

windows = st.builds(
    lambda u, limit, at, allowed: b.window(user_id=u, limit=limit, starts_at=at, allowed=allowed),
    st.sampled_from((*USERS, "nobody")),
    st.sampled_from(LIMITS),
    instants,
    st.sampled_from((0, 5, 10, 10**20)),
)

operations = st.one_of(
    st.tuples(st.just("consume"), windows, st.sampled_from((-1, 0, 1, 3, 5))),
    st.tuples(st.just("use"), numbers.map("nonce-{}".format), instants),
    st.tuples(
        st.just("prune"),
        st.sampled_from(("webhook_inbox", "deliveries", "wallet_challenges", "usage", "chain_logs", "outbox", "x")),
        instants,
    ),
)

steps = st.lists(one_decision.map(lambda one: [one]) | st.lists(one_decision, max_size=3) | operations, max_size=30)

FIRST = (
    d.OpenOrder(b.order(1, user_id="a")),
    d.StoreReceipt(b.receipt(1)),
    d.StoreRefund(b.refund(1)),
    d.Publish(_event(1)),
    d.Publish(_event(4)),
    d.OpenDeliveries(b.ident(1), tuple(_delivery(1, sink=sink) for sink in SINKS)),
    d.OpenDeliveries(b.ident(4), tuple(_delivery(4, sink=sink) for sink in SINKS)),
)


def do(storage: Any, step: Any) -> Any:
    """Take a step; return what it answered, or the kind of its error."""
    try:
        if isinstance(step, list):
            return b.write(storage, *step)
        name, first, second = step
        if name == "prune":
            return storage.prune(first, second, 1000)
        with storage.unit() as unit:
            return unit.consume(first, second) if name == "consume" else unit.use_challenge(first, second)
    except BillingError as error:
        return next(kind for kind in (InputError, Conflict, StorageError) if isinstance(error, kind))


def everything(unit: Any) -> Any:
    """Return what every read says."""
    identities = [b.identity(n) for n in NUMBERS]
    every_id = [b.ident(n) for n in NUMBERS]
    windows_ = [
        b.window(user_id=u, limit=limit, starts_at=b.at(n)) for u in USERS for limit in LIMITS for n in range(-2, 3)
    ]
    return {
        "customers": list(unit.customers()),
        "balances": list(unit.balances(OWNERS)),
        "all balances": list(unit.all_balances()),
        "ledger": list(unit.ledger_entries()),
        "ledger of orders": [list(unit.ledger_entries(ledger_id=n, limit=2)) for n in every_id],
        "deferred": list(unit.deferred_orders()),
        "treasuries": [list(unit.treasuries(chain)) for chain in (None, b.CHAIN, b.OTHER_CHAIN)],
        "movements": sorted(unit.movements(identities).items()),
        "all movements": list(unit.all_movements()),
        "users of wallets": sorted(unit.users_of_wallets(WALLETS).items()),
        "payable": list(unit.payable_orders_of(USERS, b.CHAIN)),
        "receipts": sorted(unit.receipts(every_id).items()),
        "all receipts": list(unit.all_receipts()),
        "orders": list(unit.all_orders()),
        "journals": list(unit.entries_of_receipts(every_id)),
        "refunds": [list(unit.refunds()), list(unit.refunds(states=("done", "requested")))],
        "refunds by": list(unit.refunds_by(users=USERS, addresses=WALLETS, on_chain_ids=[b.word(n) for n in NUMBERS])),
        "queue": [list(unit.queue_items(state=state)) for state in (None, "open", "decided")],
        "queue of subjects": list(unit.queue_items_of(SUBJECTS)),
        "inbox": [unit.inbox_item("relay", f"msg_{n}") for n in NUMBERS],
        "endpoints": list(unit.endpoints()),
        "events": [unit.event(b.ident(n)) for n in range(1, 7)],
        "deliveries": [list(unit.deliveries(sink=sink)) for sink in (None, *SINKS)],
        "seals": [list(unit.seals()), unit.last_seal(), *(list(unit.seal_items(n)) for n in NUMBERS)],
        "unsealed": sorted(row.table for row in unit.unsealed_rows(1000)),
        "lag": [unit.unsealed_before(b.at(n)) for n in (1, 2, 61, 62)],
        "used": [unit.used(window) for window in windows_],
        "wallets": [list(unit.wallets(user)) for user in USERS],
        "events to send": [event.event_id for event in unit.claim_events(4)],
        "due": [
            list(unit.claim_deliveries(sink, b.at(0), limit, ordered=ordered))
            for sink in SINKS
            for limit in (2, 100)
            for ordered in (False, True)
        ],
        "hints": sorted(item.event_id for item in unit.claim_inbox(b.at(0), 100)),
    }


class EqualityBooksChecks(StorageKit):
    """Whatever is posted, told, counted, erased or pruned: memory and the databases answer alike afterwards."""

    clause = 10

    @pytest.mark.fault("D19")
    def test_d19_every_storage_keeps_the_same_books(self, new_storage: Any, clock: Any) -> None:
        @settings(
            deadline=None,
            max_examples=self.examples(60),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(steps)
        def compare(taken: Any) -> None:
            storages = (MemoryStorage(clock), new_storage())
            for storage in storages:
                b.seed(storage, *FIRST, users=USERS)
            for step in taken:
                memory, other = (do(storage, step) for storage in storages)
                # Of several errors either may be met first: in one list, or a taken source and a balance that is full.
                if isinstance(step, list) and (len(step) != 1 or isinstance(step[0], d.PostEntry)):
                    memory, other = memory is None, other is None
                assert memory == other, step
            with storages[0].unit() as memory, storages[1].unit() as other:
                said, heard = everything(memory), everything(other)
            assert said == heard
            assert repr(said) == repr(heard)

        compare()
