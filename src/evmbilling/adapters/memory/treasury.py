"""What moved to and from treasuries, and what a person must decide, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import assert_never

from evmbilling.adapters.memory.pages import page_after
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import replaced
from evmbilling.domain import decisions as d
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.payments.treasury import Movement, Treasury
from evmbilling.domain.reading.evidence import ChainLog, IntakeItem
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import AlreadyExists

TreasuryDecision = d.WatchTreasury | d.StoreMovement | d.StoreQueueItem

_PAYABLE = frozenset({OrderStatus.PENDING, OrderStatus.PARTIALLY_PAID, OrderStatus.CONFIRMING})


class MemoryTreasury(Reads):
    """Implements :class:`evmbilling.ports.books.TreasuryReads` and :class:`evmbilling.ports.books.FinanceReads`."""

    def treasuries(self, chain_id: int | None = None) -> Sequence[Treasury]:
        """Return the treasuries, of one chain or all, by (chain id, address)."""
        found = (t for t in self._tables.treasuries.values() if chain_id in (None, t.chain_id))
        return sorted(found, key=lambda t: (t.chain_id, t.address))

    def priced_assets(self, chain_id: int) -> Sequence[Asset]:
        """Return every token asset that any plan version prices on a chain, by token address."""
        priced = {price.asset for plan in self._tables.plans.values() for price in plan.prices}
        found = (asset for asset in priced if asset.chain_id == chain_id and not asset.is_native)
        return sorted(found, key=lambda asset: (asset.token, asset.decimals, asset.symbol))

    def movements(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Movement]:
        """Return the movements of these logs."""
        found = {identity: self._tables.movements.get(identity) for identity in sorted(set(identities))}
        return {identity: movement for identity, movement in found.items() if movement is not None}

    def all_movements(self, *, after: CreditIdentity | None = None, limit: int = 1000) -> Sequence[Movement]:
        """Return a page of movements by identity."""
        return page_after(self._tables.movements.values(), lambda movement: movement.identity, after, limit)

    def logs_of_transactions(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[ChainLog]:
        """Return the canonical logs of these transactions by (tx hash, ordinal)."""
        hashes = set(tx_hashes)
        found = [stored.log for tx_hash in hashes for stored in self._tables.logs.find("tx", (chain_id, tx_hash))]
        return sorted(found, key=lambda log: (log.tx_hash, log.ordinal, log.block_number))

    def users_of_wallets(self, addresses: Collection[str], chain_id: int | None = None) -> Mapping[str, str]:
        """Return whose these wallets are on a chain; on any chain when none is named."""
        rows = self._tables.wallets
        found = (w for address in sorted(set(addresses)) for w in rows.find("address", address))
        return {w.address: w.user_id for w in found if chain_id is None or w.is_on(chain_id)}

    def payable_orders_of(self, user_ids: Collection[str], chain_id: int) -> Sequence[Order]:
        """Return these users' orders on a chain that are pending, partially paid or confirming, by ledger id."""
        found = (o for user_id in set(user_ids) for o in self._tables.orders.find("user", user_id))
        return sorted((o for o in found if o.chain_id == chain_id and o.status in _PAYABLE), key=lambda o: o.ledger_id)

    def all_receipts(self, *, after: str = "", limit: int = 1000) -> Sequence[Receipt]:
        """Return a page of receipts by receipt id."""
        return page_after(self._tables.receipts.values(), lambda receipt: receipt.receipt_id, after, limit)

    def receipts(self, receipt_ids: Collection[str]) -> Mapping[str, Receipt]:
        """Return receipts by id."""
        found = {receipt_id: self._tables.receipts.get(receipt_id) for receipt_id in sorted(set(receipt_ids))}
        return {receipt_id: receipt for receipt_id, receipt in found.items() if receipt is not None}

    def all_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders by ledger id."""
        return page_after(self._tables.orders.values(), lambda order: order.ledger_id, after, limit)

    def entries_of_receipts(self, receipt_ids: Collection[str]) -> Sequence[ReceiptEntry]:
        """Return the journals of these receipts by (receipt id, seq)."""
        found = [e for receipt_id in set(receipt_ids) for e in self._tables.entries.find("receipt", receipt_id)]
        return sorted(found, key=lambda entry: (entry.receipt_id, entry.seq))

    def refund(self, refund_id: str) -> Refund | None:
        """Return a refund."""
        return self._tables.refunds.get(refund_id)

    def refunds(self, *, states: Collection[str] = (), after: str = "", limit: int = 1000) -> Sequence[Refund]:
        """Return a page of refunds by id, all or those in these states."""
        found = (refund for refund in self._tables.refunds.values() if not states or refund.status in states)
        return page_after(found, lambda refund: refund.refund_id, after, limit)

    def refunds_by(
        self,
        *,
        users: Collection[str] = (),
        addresses: Collection[str] = (),
        on_chain_ids: Collection[bytes] = (),
        tx_hashes: Collection[bytes] = (),
        marks: Collection[bytes] = (),
    ) -> Sequence[Refund]:
        """Return refunds by id: of these users, to these addresses, by ids on chain, transactions or tokens' marks."""
        wanted: dict[str, Collection[str] | Collection[bytes]] = {
            "user": users,
            "address": addresses,
            "on_chain": on_chain_ids,
            "moved": tx_hashes,
            "burned": tx_hashes,
            "mark": marks,
        }
        rows = self._tables.refunds
        found = {r.refund_id: r for index, values in wanted.items() for v in values for r in rows.find(index, v)}
        return [found[refund_id] for refund_id in sorted(found)]

    def stuck_items(self, *, limit: int = 1000) -> Sequence[IntakeItem]:
        """Return intake items of any chain that wait ``now`` or ``time``, by identity."""
        found = (item for item in self._tables.items.values() if item.wait in {"now", "time"})
        return sorted(found, key=lambda item: item.identity)[:limit]

    def queue_item(self, item_id: str) -> QueueItem | None:
        """Return an item of the finance queue."""
        return self._tables.queue.get(item_id)

    def queue_items(self, *, state: str | None = "open", after: str = "", limit: int = 100) -> Sequence[QueueItem]:
        """Return a page of the finance queue by item id; of every state when it is None."""
        found = (item for item in self._tables.queue.values() if state in (None, item.state))
        return page_after(found, lambda item: item.item_id, after, limit)

    def queue_items_of(self, subjects: Collection[str]) -> Sequence[QueueItem]:
        """Return the items about these subjects by item id."""
        found = [item for subject in set(subjects) for item in self._tables.queue.find("subject", subject)]
        return sorted(found, key=lambda item: item.item_id)


def _watch(tables: Tables, treasury: Treasury) -> None:
    """Insert a treasury; what is there stays as it is."""
    key = (treasury.chain_id, treasury.address)
    if tables.treasuries.get(key) is None:
        tables.treasuries.put(key, treasury)


def _store_movement(tables: Tables, movement: Movement) -> None:
    """Insert version 1 of a movement, or replace the version below."""
    stored = tables.movements.get(movement.identity)
    if movement.version > 1:
        replaced(stored, movement)
    elif stored is not None:
        raise AlreadyExists("this log has a movement", field="identity")
    _refer_money(tables, movement)
    tables.movements.put(movement.identity, movement)


def _store_queue_item(tables: Tables, item: QueueItem) -> None:
    """Insert version 1 of a queue item, or replace the version below."""
    stored = tables.queue.get(item.item_id)
    if item.version > 1:
        replaced(stored, item)
    elif stored is not None:
        raise AlreadyExists("an item with this id is queued", field="item_id")
    elif any(other.kind == item.kind for other in tables.queue.find("subject", item.subject)):
        raise AlreadyExists("this subject is queued", field="subject")
    if item.ledger_id is not None:
        refer(tables.orders, item.ledger_id, field="ledger_id")
    _refer_money(tables, item)
    tables.queue.put(item.item_id, item)


def _refer_money(tables: Tables, row: Movement | QueueItem) -> None:
    if row.receipt_id is not None:
        refer(tables.receipts, row.receipt_id, field="receipt_id")
    if row.refund_id is not None:
        refer(tables.refunds, row.refund_id, field="refund_id")


def write(tables: Tables, decision: TreasuryDecision) -> None:
    """Write one decision about a treasury or the finance queue."""
    match decision:
        case d.WatchTreasury(treasury):
            _watch(tables, treasury)
        case d.StoreMovement(movement):
            _store_movement(tables, movement)
        case d.StoreQueueItem(item):
            _store_queue_item(tables, item)
        case _:
            assert_never(decision)
