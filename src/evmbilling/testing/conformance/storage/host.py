"""Joining the host's transaction: what billing wrote stands and falls with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from evmbilling.domain import decisions as d
from evmbilling.errors import AlreadyExists
from evmbilling.testing.conformance.base import needs
from evmbilling.testing.conformance.storage import records as b


@frozen(kw_only=True)
class HostTransaction:
    """A transaction that a host has open, on the database under test.

    Attributes:
        connection: what ``join`` is given: the connection or session.
        commit, rollback: end the transaction, as the host would.
        note: write a row of the host's own, in the transaction.
        notes: return the host's rows that are committed, read on a connection of its own.

    """

    connection: object
    commit: Callable[[], object]
    rollback: Callable[[], object]
    note: Callable[[str], object]
    notes: Callable[[], list[str]]


def written(storage: Any) -> tuple[list[str], bool]:
    """Return which orders are committed, and whether the new customer is."""
    with b.looking(storage) as unit:
        return [order.ledger_id for order in unit.orders_of_user("user-new")], unit.customer("user-new") is not None


def sell(unit: Any, number: int) -> None:
    """Write what a checkout of a new customer would."""
    unit.lock_customer(b.customer("user-new"))
    unit.apply([d.OpenOrder(b.order(number, user_id="user-new"))])


class HostChecks:
    """A unit of a joined storage is a savepoint of the host's transaction, which only the host ends."""

    clause = 15

    @needs("host_transaction")
    def test_what_the_host_commits_is_there_for_all(self, storage: Any, host: HostTransaction) -> None:
        b.seed(storage)
        host.note("bought")
        with storage.join(host.connection) as joined, joined.unit() as unit:
            sell(unit, 1)
            assert unit.order(b.ident(1)) is not None
        assert written(storage) == ([], False), "joining committed something by itself"
        assert host.notes() == []
        host.commit()
        assert (host.notes(), written(storage)) == (["bought"], ([b.ident(1)], True))

    @needs("host_transaction")
    def test_what_the_host_rolls_back_never_was(self, storage: Any, host: HostTransaction) -> None:
        b.seed(storage)
        host.note("bought")
        with storage.join(host.connection) as joined:
            with joined.unit() as unit:
                sell(unit, 1)
                assert unit.consume(b.window(user_id="user-new"), 1) == 1
            with joined.unit() as unit:
                assert unit.customer("user-new") is not None
        host.rollback()
        assert (host.notes(), written(storage)) == ([], ([], False))
        with b.looking(storage) as unit:
            assert unit.used(b.window(user_id="user-new")) == 0

    @needs("host_transaction")
    @pytest.mark.parametrize("error", [ZeroDivisionError, AlreadyExists], ids=lambda e: e.__name__)
    def test_a_unit_that_raises_is_undone_alone(self, storage: Any, host: HostTransaction, error: Any) -> None:
        b.seed(storage)
        host.note("before")
        with storage.join(host.connection) as joined:
            with joined.unit() as unit:
                sell(unit, 1)
            with pytest.raises(error), joined.unit() as unit:  # noqa: PT012  - the unit is what raises
                unit.apply([d.OpenOrder(b.order(2, user_id="user-new"))])
                if error is AlreadyExists:
                    unit.apply([d.AddPlanVersion(b.plan())])
                raise error
            with joined.unit() as unit:
                unit.apply([d.OpenOrder(b.order(3, user_id="user-new"))])
        host.note("after")
        host.commit()
        assert host.notes() == ["before", "after"]
        assert written(storage) == ([b.ident(3), b.ident(1)], True)

    @needs("host_transaction")
    def test_a_joined_unit_sees_what_the_transaction_wrote_before(self, storage: Any, host: HostTransaction) -> None:
        b.seed(storage)
        with storage.join(host.connection) as joined, joined.unit() as unit:
            sell(unit, 1)
        with storage.join(host.connection) as joined, joined.unit() as unit:
            assert unit.order(b.ident(1)).user_id == "user-new"
        host.rollback()
