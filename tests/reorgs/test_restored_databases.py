"""A database that lost its last commits, and two that came out of one backup."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from campaign_digest import differing, digest

from databases import make_sqlite
from evmbilling.adapters.sqlalchemy.migrating import check
from evmbilling.adapters.sqlalchemy.renewing import renew_instance
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.engine.reading.base import ReaderWork, reading
from evmbilling.errors import AppendOnlyViolation, SchemaError
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import ADMIN, repeatable_secrets, simulated_merchant
from sampling import EVERYTHING


class Databases:
    """Databases that are copies of each other, all over one chain."""

    def __init__(self, kind, request, folder, lent):
        self._kind, self._folder, self._lent = kind, folder, lent
        self._server = request.getfixturevalue("postgres_server") if kind == "postgres" else None
        self._names = []
        self._open = []
        self.clock = FrozenClock()
        self.chain = FakeChain(31337, start=self.clock.now(), safe_lag=8, finalized_lag=16)

    def fresh(self):
        if self._server is None:
            return f"sqlite:///{shutil.copy(self._lent.sqlite_template, self._folder / 'first.db')}"
        self._names.append(self._server.create(template=self._lent.postgres_template(self._server)))
        return self._server.url(self._names[-1])

    def copy(self, url):
        """Copy a database to which nobody is connected, as a restored backup is."""
        if self._server is None:
            path = url.removeprefix("sqlite:///")
            return f"sqlite:///{shutil.copy(path, self._folder / f'copy{len(self._names)}.db')}"
        self._names.append(self._server.create(template=self._names[0]))
        return self._server.url(self._names[-1])

    def engine(self, url):
        storage = SqlAlchemyStorage.open(url, clock=self.clock)
        made = BillingEngine(
            storage=storage, clock=self.clock, secrets=repeatable_secrets(), sources=lambda _: self.chain
        )
        self._open.append(made)
        return made

    def merchant(self, url):
        """Open a merchant, and return how it sells; it must be closed before a copy is made."""
        storage = SqlAlchemyStorage.open(url, clock=self.clock)
        made = simulated_merchant(storage=storage, chain=self.chain)
        self._open.append(made.engine)
        return made

    def close(self):
        for engine in self._open:
            engine.close()
        for name in self._names:
            self._server.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request, tmp_path, databases) -> Iterator[Databases]:
    made = Databases(request.param, request, tmp_path, databases)
    yield made
    made.close()


def buy(engine, user, chain=None):
    offer = engine.checkout(plan="pro", user_id=user, wallet=WALLET, idempotency_key=f"{user}-1")
    if chain is not None:
        chain.pay(offer.order)
    return offer


def asked_prefix(engine):
    """The references that the reader of an engine asks its chain for; empty for any."""
    runner, ports = engine._runner, engine._ports
    with reading(ports, 31337) as lease:
        network = runner.read(lambda unit: unit.network("local"))
        work = ReaderWork(ports, runner, network=network, provider=ports.provider("evm"), lease=lease)
        return work.sight().asked.reference_prefix


WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def settle(databases, *engines, blocks=3):
    databases.chain.mine(blocks)
    databases.clock.set(databases.chain.head.timestamp)
    for engine in engines:
        drain(engine)


@pytest.mark.fault("D08")
def test_d08_a_replica_that_lost_the_last_commits_heals_from_the_chain(databases):
    url = databases.fresh()
    shop = databases.merchant(url)
    early = buy(shop.engine, "early")
    settle(databases, shop.engine)
    shop.engine.close()
    replica_url = databases.copy(url)
    # The primary goes on: it takes in a payment for an old order, sells a new one, and is paid; then it is gone.
    primary = databases.engine(url)
    databases.chain.pay(early.order)
    late = buy(primary, "late", databases.chain)
    settle(databases, primary)
    assert [str(primary.order(o.ledger_id).status) for o in (early, late)] == ["confirmed", "confirmed"]
    known = digest(primary)
    replica = databases.engine(replica_url)
    settle(databases, replica, blocks=1)
    # What the replica knew of is as if nothing had been lost; money for what it never heard of waits for a person.
    assert (str(replica.order(early.ledger_id).status), replica.access("early").allowed) == ("confirmed", True)
    (stray,) = replica.admin(ADMIN).unmatched_receipts()
    assert (stray.amount, stray.reason, replica.access("late").allowed) == (late.amount, "no_order", False)
    assert replica.verify().differences == ()
    lost = differing(known, digest(replica))
    assert all("late" in row or late.ledger_id in row for row in lost["orders"]["only first"])
    # A person makes it good: the customer buys again, and the stray money pays for it.
    again = buy(replica, "late")
    (item,) = replica.finance(ADMIN).queue()
    replica.finance(ADMIN).assign(item.item_id, again.ledger_id)
    assert replica.access("late").allowed
    assert again.reference != late.reference
    assert replica.verify().differences == ()


@pytest.mark.fault("D30")
@pytest.mark.parametrize("databases", ["sqlite", "postgres"] if EVERYTHING else ["sqlite"], indirect=True)
def test_d30_a_second_live_copy_takes_the_others_orders_for_lost_ones_and_gives_no_access(databases):
    url = databases.fresh()
    shop = databases.merchant(url)
    shop.engine.close()
    one, two = databases.engine(url), databases.engine(databases.copy(url))
    orders = [buy(one, "of-one", databases.chain), buy(two, "of-two", databases.chain)]
    settle(databases, one, two)
    for engine, own, other in ((one, "of-one", "of-two"), (two, "of-two", "of-one")):
        assert (engine.access(own).allowed, engine.access(other).allowed) == (True, False)
        assert [r.reason for r in engine.admin(ADMIN).unmatched_receipts()] == ["no_order"]
        assert engine.verify().differences == ()
    assert orders[0].reference[:8] == orders[1].reference[:8]


@pytest.mark.fault("D30")
def test_d30_a_renewed_copy_and_the_original_leave_each_other_alone(databases):
    url = databases.fresh()
    shop = databases.merchant(url)
    before = buy(shop.engine, "before")
    shop.engine.close()
    copied = databases.copy(url)
    done = renew_instance(copied)
    assert check(copied) == check(url) == []
    one, two = databases.engine(url), databases.engine(copied)
    assert one._ports.storage.instance_id() == done.before != done.after == two._ports.storage.instance_id()
    databases.chain.pay(before.order)
    of_one, of_two = buy(one, "of-one", databases.chain), buy(two, "of-two", databases.chain)
    settle(databases, one, two)
    assert (of_one.reference[:8], of_two.reference[:8]) == (done.before, done.after)
    # Only the copy has orders with references of another instance, so it alone looks at payments of foreign ones.
    assert (asked_prefix(one), asked_prefix(two)) == (done.before, b"")
    for engine, own, other in ((one, "of-one", "of-two"), (two, "of-two", "of-one")):
        assert (engine.access(own).allowed, engine.access(other).allowed) == (True, False)
        assert list(engine.admin(ADMIN).unmatched_receipts()) == []
        assert engine.access("before").allowed  # asked for before the copy was made: nobody can say whose it is
        assert engine.verify().differences == ()


@pytest.mark.fault("D30")
def test_d30_the_instance_id_is_guarded_before_and_after(databases):
    url = databases.fresh()
    for _ in range(2):
        renew_instance(url)
        storage = SqlAlchemyStorage.open(url)
        with pytest.raises(AppendOnlyViolation), storage._statements.failures(), storage._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE evmbilling_instance SET single = 'only'")
        storage.close()


def test_a_database_without_tables_cannot_be_renewed(tmp_path):
    with pytest.raises(SchemaError):
        renew_instance(f"sqlite:///{tmp_path}/none.db")


def test_the_command_says_both_ids(tmp_path):
    import json

    from typer.testing import CliRunner

    url = make_sqlite(tmp_path / "shop.db")
    told = json.loads(CliRunner().invoke(app, ["db", "renew-instance", "--url", url, "--json"]).stdout)
    words = CliRunner().invoke(app, ["db", "renew-instance", "--url", url]).stdout
    assert len(bytes.fromhex(told["before"])) == len(bytes.fromhex(told["after"])) == 8
    assert told["after"] in words
