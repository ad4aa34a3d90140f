"""Customers and what they hold, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import assert_never

import attrs

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.values import checked
from evmbilling.domain import decisions as d
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.errors import AlreadyExists, NotFound

CustomerDecision = d.StoreCustomer | d.ConfirmWallet | d.StoreEntitlement


class MemoryCustomers(Reads):
    """Implements :class:`evmbilling.ports.storage.CustomerReads`.

    A unit holds the lock of the whole storage, and so that of every customer.
    """

    def lock_customer(self, fresh: Customer) -> Customer:
        """Return the stored customer, inserting ``fresh`` on first sight."""
        self._must_write()
        stored = self._tables.customers.get(fresh.user_id)
        if stored is None:
            stored = checked(fresh)
            self._tables.customers.put(fresh.user_id, stored)
        return stored

    def lock_customers(self, user_ids: Collection[str], *, skip_locked: bool = False) -> Mapping[str, Customer]:  # noqa: ARG002  - nobody else can hold one
        """Return existing customers in order of their id."""
        self._must_write()
        found = {user_id: self._tables.customers.get(user_id) for user_id in sorted(set(user_ids))}
        return {user_id: customer for user_id, customer in found.items() if customer is not None}

    def customer(self, user_id: str) -> Customer | None:
        """Return a customer."""
        return self._tables.customers.get(user_id)

    def customers(self, *, after: str = "", limit: int = 100) -> Sequence[Customer]:
        """Return a page of customers by id."""
        ordered = sorted(self._tables.customers.values(), key=lambda c: c.user_id)
        return [c for c in ordered if c.user_id > after][:limit]

    def wallets(self, user_id: str) -> Sequence[Wallet]:
        """Return a customer's confirmed wallets by address."""
        return sorted(self._tables.wallets.find("user", user_id), key=lambda w: w.address)

    def entitlements(self, user_ids: Collection[str]) -> Sequence[Entitlement]:
        """Return what these users are entitled to by (user, product, source)."""
        found = [e for user_id in set(user_ids) for e in self._tables.entitlements.find("user", user_id)]
        return sorted(found, key=lambda e: (e.user_id, e.product, e.source_id))


def _store_customer(tables: Tables, customer: Customer) -> None:
    """Replace a customer's row."""
    if tables.customers.get(customer.user_id) is None:
        raise NotFound("there is no such customer", field="user_id")
    tables.customers.put(customer.user_id, customer)


def _confirm_wallet(tables: Tables, wallet: Wallet) -> None:
    """Insert a wallet, or replace the chains of the customer's own; when it was confirmed first stays."""
    key = (wallet.user_id, wallet.address)
    if any(other.user_id != wallet.user_id for other in tables.wallets.find("address", wallet.address)):
        raise AlreadyExists("another user confirmed this wallet", field="address")
    refer(tables.customers, wallet.user_id, field="user_id")
    stored = tables.wallets.get(key)
    tables.wallets.put(key, wallet if stored is None else attrs.evolve(stored, chains=wallet.chains))


def _store_entitlement(tables: Tables, entitlement: Entitlement) -> None:
    """Insert or replace what a source gives a user."""
    key = (entitlement.user_id, entitlement.product, entitlement.source_id)
    refer(tables.customers, entitlement.user_id, field="user_id")
    tables.entitlements.put(key, entitlement)


def write(tables: Tables, decision: CustomerDecision) -> None:
    """Write one decision about a customer."""
    match decision:
        case d.StoreCustomer(customer):
            _store_customer(tables, customer)
        case d.ConfirmWallet(wallet):
            _confirm_wallet(tables, wallet)
        case d.StoreEntitlement(entitlement):
            _store_entitlement(tables, entitlement)
        case _:
            assert_never(decision)
