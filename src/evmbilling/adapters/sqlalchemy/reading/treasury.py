"""Reads of what moved to and from treasuries, and pages of everything that ``verify`` goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.orders import by_chain
from evmbilling.adapters.sqlalchemy.reading.session import Session, any_word, several
from evmbilling.adapters.sqlalchemy.rows import billing, books, catalogue, chain, money

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.identity import CreditIdentity
    from evmbilling.domain.money import Asset
    from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
    from evmbilling.domain.payments.treasury import Movement, Treasury
    from evmbilling.domain.reading.evidence import ChainLog, IntakeItem
    from evmbilling.domain.selling.orders import Order

PAYABLE = ("pending", "partially_paid", "confirming")


class TreasuryStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        treasuries, movements, plans = tables["treasuries"], tables["movements"], tables["plans"]
        self.treasuries = sa.select(treasuries).order_by(treasuries.c.chain_id, treasuries.c.address)
        self.treasuries_of_chain = self.treasuries.where(treasuries.c.chain_id == bindparam("chain_id"))
        self.prices = sa.select(plans.c.prices)
        identity = (movements.c.chain_id, movements.c.tx_hash, movements.c.ordinal)
        self.movements = sa.select(movements).where(
            movements.c.chain_id == bindparam("chain_id"), movements.c.tx_hash.in_(several("tx_hashes"))
        )
        self.first_movements = sa.select(movements).order_by(*identity).limit(bindparam("most"))
        seen = (bindparam(f"after_{column.name}", type_=column.type) for column in identity)
        self.next_movements = self.first_movements.where(sa.tuple_(*identity) > sa.tuple_(*seen))
        self._build_evidence(tables["chain_logs"], tables["intake_items"])
        self._build_pages(tables)

    def _build_evidence(self, logs: sa.Table, items: sa.Table) -> None:
        self.logs = (
            sa.select(logs)
            .where(
                logs.c.chain_id == bindparam("chain_id"),
                logs.c.tx_hash.in_(several("tx_hashes")),
                logs.c.canonical == bindparam("canonical"),
            )
            .order_by(logs.c.tx_hash, logs.c.ordinal, logs.c.block_number)
        )
        self.stuck = (
            sa.select(items)
            .where(sa.text("wait <> 'never'"), items.c.wait.in_(("now", "time")))
            .order_by(items.c.chain_id, items.c.tx_hash, items.c.ordinal)
            .limit(bindparam("most"))
        )

    def _build_pages(self, tables: Tables) -> None:
        orders, receipts, refunds = tables["payment_transactions"], tables["payment_receipts"], tables["refunds"]
        entries, wallets = tables["receipt_entries"], tables["wallets"]
        self.owners = sa.select(wallets).where(wallets.c.address.in_(several("addresses")))
        self.payable = (
            sa.select(orders)
            .where(
                orders.c.user_id.in_(several("user_ids")),
                orders.c.chain_id == bindparam("chain_id"),
                orders.c.status.in_(PAYABLE),
            )
            .order_by(orders.c.ledger_id)
        )
        self.orders = _page(orders, orders.c.ledger_id)
        self.receipts = _page(receipts, receipts.c.receipt_id)
        self.receipts_by_id = sa.select(receipts).where(receipts.c.receipt_id.in_(several("receipt_ids")))
        self.entries = (
            sa.select(entries)
            .where(entries.c.receipt_id.in_(several("receipt_ids")))
            .order_by(entries.c.receipt_id, entries.c.seq)
        )
        self.refund = sa.select(refunds).where(refunds.c.refund_id == bindparam("refund_id"))
        self.refunds = _page(refunds, refunds.c.refund_id)
        self.refunds_in = self.refunds.where(any_word(refunds.c.status).in_(several("states")))
        columns = {
            "users": refunds.c.user_id,
            "addresses": refunds.c.address,
            "on_chain_ids": refunds.c.on_chain_id,
            "moved": refunds.c.moved_tx,
            "burned": refunds.c.burned_tx,
            "marks": refunds.c.burn_mark,
        }
        self.refunds_by = {name: sa.select(refunds).where(c.in_(several(name))) for name, c in columns.items()}


def _page(table: sa.Table, key: Any) -> Any:
    return sa.select(table).where(key > bindparam("after")).order_by(key).limit(bindparam("most"))


class TreasuryReader(Session):
    """Implements :class:`evmbilling.ports.books.TreasuryReads`."""

    def treasuries(self, chain_id: int | None = None) -> Sequence[Treasury]:
        """Return the treasuries, of one chain or all, by (chain id, address)."""
        statements = self._statements.treasury
        if chain_id is None:
            found = self._all(statements.treasuries)
        else:
            found = self._all(statements.treasuries_of_chain, chain_id=chain_id)
        return [books.read_treasury(row) for row in found]

    def priced_assets(self, chain_id: int) -> Sequence[Asset]:
        """Return every token asset that any plan version prices on a chain, by token address."""
        rows = self._all(self._statements.treasury.prices)
        priced = {price.asset for row in rows for price in catalogue.read_prices(row.prices)}
        found = (asset for asset in priced if asset.chain_id == chain_id and not asset.is_native)
        return sorted(found, key=lambda asset: (asset.token, asset.decimals, asset.symbol))

    def movements(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Movement]:
        """Return the movements of these logs."""
        wanted = set(identities)
        found = [
            books.read_movement(row)
            for chain_id, hashes in by_chain(wanted)
            for row in self._in(self._statements.treasury.movements, "tx_hashes", hashes, chain_id=chain_id)
        ]
        return {movement.identity: movement for movement in found if movement.identity in wanted}

    def all_movements(self, *, after: CreditIdentity | None = None, limit: int = 1000) -> Sequence[Movement]:
        """Return a page of movements by identity."""
        statements = self._statements.treasury
        if after is None:
            found = self._all(statements.first_movements, most=limit)
        else:
            seen = {
                "after_chain_id": after.chain_id,
                "after_tx_hash": after.tx_hash,
                "after_ordinal": after.ordinal,
            }
            found = self._all(statements.next_movements, most=limit, **seen)
        return [books.read_movement(row) for row in found]

    def logs_of_transactions(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[ChainLog]:
        """Return the canonical logs of these transactions by (tx hash, ordinal)."""
        statement = self._statements.treasury.logs
        found = self._in(statement, "tx_hashes", tx_hashes, chain_id=chain_id, canonical=True)
        return [chain.read_log(row) for row in found]

    def users_of_wallets(self, addresses: Collection[str], chain_id: int | None = None) -> Mapping[str, str]:
        """Return whose these wallets are on a chain; on any chain when none is named."""
        rows = self._in(self._statements.treasury.owners, "addresses", addresses)
        found = map(billing.read_wallet, rows)
        return {w.address: w.user_id for w in found if chain_id is None or w.is_on(chain_id)}

    def payable_orders_of(self, user_ids: Collection[str], chain_id: int) -> Sequence[Order]:
        """Return these users' orders on a chain that are pending, partially paid or confirming, by ledger id."""
        found = self._in(self._statements.treasury.payable, "user_ids", user_ids, chain_id=chain_id)
        return sorted((billing.read_order(row) for row in found), key=lambda order: order.ledger_id)

    def all_receipts(self, *, after: str = "", limit: int = 1000) -> Sequence[Receipt]:
        """Return a page of receipts by receipt id."""
        found = self._all(self._statements.treasury.receipts, after=after, most=limit)
        return [money.read_receipt(row) for row in found]

    def receipts(self, receipt_ids: Collection[str]) -> Mapping[str, Receipt]:
        """Return receipts by id."""
        found = self._in(self._statements.treasury.receipts_by_id, "receipt_ids", receipt_ids)
        return {row.receipt_id: money.read_receipt(row) for row in found}

    def all_orders(self, *, after: str = "", limit: int = 1000) -> Sequence[Order]:
        """Return a page of orders by ledger id."""
        found = self._all(self._statements.treasury.orders, after=after, most=limit)
        return [billing.read_order(row) for row in found]

    def entries_of_receipts(self, receipt_ids: Collection[str]) -> Sequence[ReceiptEntry]:
        """Return the journals of these receipts by (receipt id, seq)."""
        found = self._in(self._statements.treasury.entries, "receipt_ids", receipt_ids)
        return [money.read_entry(row) for row in found]

    def refund(self, refund_id: str) -> Refund | None:
        """Return a refund."""
        row = self._one(self._statements.treasury.refund, refund_id=refund_id)
        return None if row is None else money.read_refund(row)

    def refunds(self, *, states: Collection[str] = (), after: str = "", limit: int = 1000) -> Sequence[Refund]:
        """Return a page of refunds by id, all or those in these states."""
        statements = self._statements.treasury
        if states:
            found = self._all(statements.refunds_in, after=after, most=limit, states=sorted(set(states)))
        else:
            found = self._all(statements.refunds, after=after, most=limit)
        return [money.read_refund(row) for row in found]

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
        wanted: dict[str, Collection[Any]] = {
            "users": users,
            "addresses": addresses,
            "on_chain_ids": on_chain_ids,
            "moved": tx_hashes,
            "burned": tx_hashes,
            "marks": marks,
        }
        statements = self._statements.treasury.refunds_by
        rows = [row for name, values in wanted.items() for row in self._in(statements[name], name, values)]
        found = {row.refund_id: row for row in rows}
        return [money.read_refund(found[refund_id]) for refund_id in sorted(found)]

    def stuck_items(self, *, limit: int = 1000) -> Sequence[IntakeItem]:
        """Return intake items of any chain that wait ``now`` or ``time``, by identity."""
        return [chain.read_item(row) for row in self._all(self._statements.treasury.stuck, most=limit)]
