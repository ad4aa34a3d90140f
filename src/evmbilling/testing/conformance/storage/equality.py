"""Whatever is decided, in whatever order: memory and the databases answer alike afterwards."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.identity import Product
from evmbilling.domain.reading.evidence import Halt
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus, SubscriptionStatus
from evmbilling.errors import BillingError, Conflict, InputError, StorageError
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

USERS = ("a", "A", "a%")

NUMBERS = (1, 2, 3)

CHAINS = (b.CHAIN, b.OTHER_CHAIN)

BLOCKS = (5, 6, 7, 8)

PRODUCTS = (Product("site", "1"), Product("site"))

users = st.sampled_from(USERS)

numbers = st.sampled_from(NUMBERS)

versions = st.sampled_from((1, 1, 2, 2, 3))

amounts = st.sampled_from((*b.EXTREMES, 7, 2**256))

instants = st.integers(-3, 3).map(lambda n: b.at(n / 1_000_000))

maybe = st.booleans()

words = st.sampled_from(("", "x", "ü", "%"))

ids = numbers.map(b.ident)


@st.composite
def orders(draw: Any) -> Any:
    number, version = draw(numbers), draw(versions)
    order = b.order(
        number,
        reference=b.word(draw(st.sampled_from((number, number, number, 9)))),
        user_id=draw(users),
        subscription_id=draw(st.none() | ids),
        period=draw(st.sampled_from((0, 0, 1, None))),
        asset=b.asset(chain_id=draw(st.sampled_from(CHAINS))),
        amount=draw(amounts if version == 1 else st.just(7)),
        deadline=draw(instants),
        status=draw(st.sampled_from(OrderStatus)),
        closed_as=draw(st.sampled_from((None, None, OrderStatus.EXPIRED))),
        completion=b.completion() if draw(maybe) else None,
        failure_reason=draw(st.none() | words),
        version=version,
    )
    return (d.OpenOrder if version == 1 else d.StoreOrder)(order)


@st.composite
def subscriptions(draw: Any) -> Any:
    version = draw(versions)
    subscription = b.subscription(
        draw(numbers),
        user_id=draw(users),
        product=draw(st.sampled_from(PRODUCTS)),
        status=draw(st.sampled_from(SubscriptionStatus)),
        debt=draw(amounts),
        anchor=draw(st.none() | instants),
        paid_periods=draw(st.integers(0, 9)),
        version=version,
    )
    return (d.OpenSubscription if version == 1 else d.StoreSubscription)(subscription)


@st.composite
def receipts(draw: Any) -> Any:
    number = draw(numbers)
    chain_id = CHAINS[number % 2 - 1]
    receipt = b.receipt(
        number,
        identity=b.identity(draw(numbers), chain_id=chain_id, ordinal=draw(st.integers(0, 1))),
        asset=b.asset(chain_id=chain_id),
        ledger_id=draw(st.none() | ids),
        allocation=draw(st.sampled_from(("order", "credit", "suspense"))),
        amount=draw(amounts),
        status=draw(st.sampled_from(ReceiptStatus)),
        first_seen_at=draw(instants),
        version=draw(versions),
    )
    return d.StoreReceipt(receipt)


@st.composite
def cursors(draw: Any) -> Any:
    block = draw(st.sampled_from(BLOCKS))
    heights = Heights(head=block, safe=draw(st.none() | st.just(block - 1)))
    return b.cursor(block, chain_id=draw(st.sampled_from(CHAINS)), fence=draw(st.integers(1, 2)), heights=heights)


def mined_in(tx: Any, branch: Any) -> Any:
    """Return the block of a branch that holds a transaction: in one branch it is mined once."""
    return BLOCKS[(tx + branch) % len(BLOCKS)]


@st.composite
def evidence(draw: Any) -> Any:
    """Read a range again as a reader does: what is above its start is taken back first."""
    cursor, branch = draw(cursors()), draw(st.integers(0, 1))
    first = draw(st.integers(BLOCKS[0], cursor.block.number))
    headers = tuple(b.header(number, branch=branch) for number in range(first, cursor.block.number + 1))
    logs = tuple(
        b.log(
            mined_in(tx, branch),
            tx,
            branch=branch,
            chain_id=cursor.chain_id,
            ordinal=ordinal,
            log_index=2 * tx + ordinal,
        )
        for tx, ordinal in sorted(draw(st.sets(st.tuples(numbers, st.integers(0, 1)))))
        if first <= min(mined_in(tx, 0), mined_in(tx, 1)) and mined_in(tx, branch) <= cursor.block.number
    )
    return [
        d.Rewind(cursor=b.cursor(first - 1, chain_id=cursor.chain_id, fence=cursor.fence)),
        d.RecordEvidence(cursor=cursor, headers=headers, logs=logs, keep_from=draw(st.integers(0, 10))),
    ]


items = st.builds(
    lambda number, chain_id, ordinal, wait, height, retry_at, reason: d.StoreItem(
        b.item(
            identity=b.identity(number, chain_id=chain_id, ordinal=ordinal),
            wait=wait,
            height=height,
            retry_at=retry_at,
            reason=reason,
        )
    ),
    numbers,
    st.sampled_from(CHAINS),
    st.integers(0, 1),
    st.sampled_from(("now", "head", "safe", "finalized", "time", "never")),
    st.integers(4, 9),
    st.none() | instants,
    st.none() | words,
)


def _network(number: Any, version: Any, testnet: Any) -> Any:
    return d.SaveNetwork(b.network(name=f"n{number}", chain_id=number, version=version, testnet=testnet))


def _wallet(user_id: Any, address: Any, confirmed_at: Any) -> Any:
    return d.ConfirmWallet(b.wallet(user_id=user_id, address=address, confirmed_at=confirmed_at))


def _entitlement(user_id: Any, product: Any, source_id: Any, until: Any) -> Any:
    return d.StoreEntitlement(b.entitlement(user_id=user_id, product=product, source_id=source_id, until=until))


def _change(subscription_id: Any, seq: Any, effective_at: Any) -> Any:
    return d.RecordChange(b.change(subscription_id=subscription_id, seq=seq, effective_at=effective_at))


def _refund(number: Any, ledger_id: Any, status: Any, version: Any, amount: Any) -> Any:
    return d.StoreRefund(b.refund(number, ledger_id=ledger_id, status=status, version=version, amount=amount))


def _event(number: Any, aggregate: Any, seq: Any, recorded_at: Any) -> Any:
    return d.Publish(b.event(number, aggregate=aggregate, seq=seq, recorded_at=recorded_at))


one_decision = st.one_of(
    orders(),
    subscriptions(),
    receipts(),
    items,
    cursors().map(d.StoreCursor),
    cursors().map(lambda cursor: d.Rewind(cursor=cursor)),
    st.builds(
        lambda cursor, block: d.HaltChain(
            attrs.evolve(cursor, halt=Halt(reason="deep_reorg", at_block=block, since=b.T0))
        ),
        cursors(),
        st.sampled_from(BLOCKS),
    ),
    st.builds(_network, numbers, versions, maybe),
    st.builds(lambda n, v, o: d.SaveGateway(b.gateway(slug=n, version=v, order_ttl=o)), words, versions, numbers),
    st.builds(lambda n, c, v: d.SaveContract(b.contract(slug=n, chain_id=c, version=v)), words, numbers, versions),
    st.builds(lambda s, v, n: d.AddPlanVersion(b.plan(slug=s, version=v, name=n)), words, versions, words),
    st.builds(lambda s, at: d.ArchivePlan(b.plan(slug=s, archived_at=at)), words, st.none() | instants),
    st.builds(lambda u, n: d.StoreCustomer(b.customer(u, event_seq=n)), users, numbers),
    st.builds(_wallet, users, st.sampled_from((b.WALLET, b.OTHER_WALLET)), instants),
    st.builds(_entitlement, users, st.sampled_from(PRODUCTS), ids, st.none() | instants),
    st.builds(lambda u, k, n: d.BindKey(b.key_record(user_id=u, key=k, ledger_id=n)), users, words, ids),
    st.builds(_change, ids, numbers, instants),
    st.builds(lambda r, n, a: d.AppendEntry(b.entry(receipt_id=r, seq=n, amount=a)), ids, numbers, amounts),
    st.builds(_refund, numbers, ids, st.sampled_from(RefundStatus), versions, amounts),
    st.builds(_event, st.integers(1, 9), users, numbers, instants),
    st.builds(lambda n, o, at: d.RecordAudit(b.audit(n, object=o, recorded_at=at)), st.integers(1, 9), words, instants),
)

lists_of_decisions = st.lists(
    one_decision.map(lambda decision: [decision]) | evidence() | st.lists(one_decision, max_size=3), max_size=25
)

FIRST = (
    d.OpenSubscription(b.subscription(1, user_id="a", product=PRODUCTS[0])),
    d.OpenOrder(b.order(1, user_id="a", subscription_id=b.ident(1), period=0)),
    d.StoreReceipt(b.receipt(1)),
)

"""What other rows refer to, so that more of them are taken."""


def everything(unit: Any) -> Any:
    """Return what every read says, in the order in which it says it where that is documented."""
    identities = [b.identity(n, chain_id=c, ordinal=o) for n in NUMBERS for c in CHAINS for o in (0, 1)]
    every_id = [b.ident(n) for n in NUMBERS]
    answers = {
        "networks": list(unit.networks()),
        "gateways": list(unit.gateways()),
        "contracts": list(unit.contracts()),
        "plans": list(unit.plans()),
        "customers": list(unit.customers()),
        "wallets": [sorted(unit.wallets(user), key=lambda w: w.address) for user in USERS],
        "entitlements": sorted(unit.entitlements(USERS), key=lambda e: (e.user_id, e.product, e.source_id)),
        "keys": [unit.key("checkout", user, key) for user in USERS for key in ("", "x", "ü", "%")],
        "orders": [list(unit.orders_of_user(user)) for user in USERS],
        "orders of subscriptions": list(unit.orders_of_subscriptions(every_id)),
        "orders by reference": sorted(unit.orders_by_reference([b.word(n) for n in range(10)]).items()),
        "overdue": [list(unit.overdue_offers(chain, b.at(0), 2)) for chain in CHAINS],
        "live": [unit.live_subscription(user, product) for user in USERS for product in PRODUCTS],
        "subscriptions": sorted(unit.subscriptions(every_id).items()),
        "subscriptions of user": [list(unit.subscriptions_of_user(user)) for user in USERS],
        "changes": list(unit.changes(every_id)),
        "receipts of orders": list(unit.receipts_of_orders(every_id)),
        "receipts by identity": sorted(unit.receipts_by_identity(identities).items()),
        "unmatched": list(unit.unmatched_receipts()),
        "entries": [list(unit.entries(receipt_id)) for receipt_id in every_id],
        "refunds": [list(unit.refunds_of_order(ledger_id)) for ledger_id in every_id],
        "cursors": list(unit.cursors()),
        "window": [list(unit.window(chain)) for chain in CHAINS],
        "logs": sorted(unit.logs_of(identities).items()),
        "log blocks": [list(unit.log_blocks(chain, below=block, limit=2)) for chain in CHAINS for block in BLOCKS],
        "waiting": [unit.waiting_below(chain, block) for chain in CHAINS for block in BLOCKS],
        "parked": sorted(unit.parked_items(), key=lambda item: item.identity),
        "events": list(unit.events()),
        "audit": list(unit.audit()),
    }
    claims = [unit.claim_items(chain, b.cursor(7), b.T0, 100) for chain in CHAINS]
    return answers | {"due": [sorted(claim, key=lambda item: item.identity) for claim in claims]}


def outcome(storage: Any, decisions: Any) -> Any:
    """Apply a list; return the kind of its error, if any."""
    try:
        b.write(storage, *decisions)
    except BillingError as error:
        # A row may break several rules at once; which of two taken keys is named is the database's choice.
        return next(kind for kind in (InputError, Conflict, StorageError) if isinstance(error, kind))
    return None


class EqualityChecks(StorageKit):
    """Whatever is decided, in whatever order: memory and the databases answer alike afterwards."""

    clause = 10

    @pytest.mark.fault("D19")
    @pytest.mark.fault("D23")
    def test_d19_d23_every_storage_answers_alike(self, new_storage: Any, clock: Any) -> None:
        @settings(
            deadline=None,
            max_examples=self.examples(60),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(lists_of_decisions)
        def compare(lists: Any) -> None:
            storages = (MemoryStorage(clock), new_storage())
            for storage in storages:
                b.seed(storage, *FIRST, users=USERS)
            for decisions in lists:
                memory, other = (outcome(storage, decisions) for storage in storages)
                # Of several errors in one list either may be met first.
                assert (memory is None, other is None) == (memory is None,) * 2, (memory, other, decisions)
                assert len(decisions) > 1 or memory is other, (memory, other, decisions)
            with storages[0].unit() as memory, storages[1].unit() as other:
                said, heard = everything(memory), everything(other)
            assert said == heard
            assert repr(said) == repr(heard)

        compare()
