"""Reads of the books: the ledger, treasuries, the finance queue, seals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from evmbilling.domain.books.ledger import Balance, Entry
from evmbilling.domain.books.seals import Seal, SealedRow, SealItem
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.payments.treasury import Movement, Treasury
from evmbilling.domain.reading.evidence import ChainLog, IntakeItem
from evmbilling.domain.selling.orders import Order


class LedgerReads(Protocol):
    """What was posted."""

    def balances(self, owners: Collection[str]) -> Sequence[Balance]:
        """Return the balance rows of these owners, by (owner, account, chain id, token)."""
        ...

    def all_balances(self, *, after: str = "", limit: int = 1000) -> Sequence[Balance]:
        """Return a page of balance rows in that order; ``after`` is the last owner before it.

        Whole owners only: as many as fit into ``limit`` rows, at least one.
        """
        ...

    def ledger_entries(self, *, ledger_id: str | None = None, after: str = "", limit: int = 1000) -> Sequence[Entry]:
        """Return a page of entries by entry id, all or of one order."""
        ...

    def deferred_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders, by ledger id, whose deferred revenue is above zero."""
        ...


class TreasuryReads(Protocol):
    """What moved to and from treasuries."""

    def treasuries(self, chain_id: int | None = None) -> Sequence[Treasury]:
        """Return the treasuries, of one chain or all, by (chain id, address)."""
        ...

    def priced_assets(self, chain_id: int) -> Sequence[Asset]:
        """Return every token asset that any plan version prices on a chain, by token address."""
        ...

    def movements(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Movement]:
        """Return the movements of these logs."""
        ...

    def all_movements(self, *, after: CreditIdentity | None = None, limit: int = 1000) -> Sequence[Movement]:
        """Return a page of movements by identity."""
        ...

    def logs_of_transactions(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[ChainLog]:
        """Return the canonical logs of these transactions by (tx hash, ordinal)."""
        ...

    def users_of_wallets(self, addresses: Collection[str], chain_id: int | None = None) -> Mapping[str, str]:
        """Return whose these wallets are on a chain; on any chain when none is named."""
        ...

    def payable_orders_of(self, user_ids: Collection[str], chain_id: int) -> Sequence[Order]:
        """Return these users' orders on a chain that are pending, partially paid or confirming, by ledger id."""
        ...

    def all_receipts(self, *, after: str = "", limit: int = 1000) -> Sequence[Receipt]:
        """Return a page of receipts by receipt id."""
        ...

    def receipts(self, receipt_ids: Collection[str]) -> Mapping[str, Receipt]:
        """Return receipts by id."""
        ...

    def all_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders by ledger id."""
        ...

    def entries_of_receipts(self, receipt_ids: Collection[str]) -> Sequence[ReceiptEntry]:
        """Return the journals of these receipts by (receipt id, seq)."""
        ...

    def refund(self, refund_id: str) -> Refund | None:
        """Return a refund."""
        ...

    def refunds(self, *, states: Collection[str] = (), after: str = "", limit: int = 1000) -> Sequence[Refund]:
        """Return a page of refunds by id, all or those in these states."""
        ...

    def refunds_by(
        self,
        *,
        users: Collection[str] = (),
        addresses: Collection[str] = (),
        on_chain_ids: Collection[bytes] = (),
        tx_hashes: Collection[bytes] = (),
        marks: Collection[bytes] = (),
    ) -> Sequence[Refund]:
        """Return refunds by id, each once, that any of the lists names.

        Args:
            users: whose they are. addresses: where they go. on_chain_ids: their names in the contract's event.
            tx_hashes: of transactions that carried them out, or that burned the membership that ends with them.
            marks: of membership tokens that contracts have numbered themselves, and that end with them.

        """
        ...

    def stuck_items(self, *, limit: int = 1000) -> Sequence[IntakeItem]:
        """Return intake items of any chain that wait ``now`` or ``time``, by identity."""
        ...


class FinanceReads(Protocol):
    """What a person must decide."""

    def queue_item(self, item_id: str) -> QueueItem | None:
        """Return an item of the finance queue."""
        ...

    def queue_items(self, *, state: str | None = "open", after: str = "", limit: int = 100) -> Sequence[QueueItem]:
        """Return a page of the finance queue by item id; of every state when it is None."""
        ...

    def queue_items_of(self, subjects: Collection[str]) -> Sequence[QueueItem]:
        """Return the items about these subjects by item id."""
        ...


class SealReads(Protocol):
    """Tamper evidence."""

    def last_seal(self) -> Seal | None:
        """Return the newest link of the chain."""
        ...

    def seals(self, *, after: int = 0, limit: int = 1000) -> Sequence[Seal]:
        """Return a page of links by number."""
        ...

    def seal_items(self, number: int) -> Sequence[SealItem]:
        """Return what a link covers, by (table, key)."""
        ...

    def unsealed_rows(self, limit: int) -> Sequence[SealedRow]:
        """Return committed append-only rows that no link covers yet, in whatever order they were committed.

        Tables: ``audit``, ``ledger_entries``, ``outbox``, ``receipt_entries``, ``subscription_changes``.
        """
        ...

    def sealed_rows(self, table: str, keys: Collection[str]) -> Mapping[str, SealedRow]:
        """Return append-only rows by key, as they are stored now; nothing of any other table."""
        ...

    def unsealed_before(self, instant: datetime) -> int:
        """Count ledger and audit rows recorded before an instant that no link covers: the seal's lag."""
        ...
