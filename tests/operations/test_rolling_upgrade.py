"""The tables move on while workers of the version before are at work, and old and new ones finish the work together."""

from __future__ import annotations

import shutil
import threading
from collections import Counter

import attrs
import pytest
import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy import migrating, tables
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.types import PlainText
from evmbilling.engine.core import Engine
from evmbilling.errors import SchemaError
from evmbilling.ports.notifier import SinkProfile
from evmbilling.testing.merchant import simulated_merchant
from sampling import EVERYTHING

NEXT = '''
"""What a later version adds: a column that may be empty, a table, and an index."""

import sqlalchemy as sa
from alembic import context, op

revision = "9999"
down_revision = "{head}"


def upgrade():
    names = context.get_context().opts["evmbilling_names"]
    op.add_column(names.table("payment_transactions"), sa.Column("campaign", sa.Text(collation="C"), nullable=True))
    op.create_table(names.table("campaigns"), sa.Column("name", sa.Text(collation="C"), primary_key=True))
    op.create_index(names.table("ix_payment_transactions_campaign"), names.table("payment_transactions"), ["campaign"])
'''
USERS = 24


@pytest.fixture
def postgres_url(databases):
    """A database with the tables of this version."""
    with databases.lend("postgres") as url:
        yield url


@pytest.fixture
def later(monkeypatch, tmp_path):
    """Enter the version that comes next: its migrations, and its tables for whatever is opened from then on."""
    head = migrating.head()
    folder = shutil.copytree(migrating._FOLDER, tmp_path / "migrations")
    (folder / "versions" / "r9999_campaigns.py").write_text(NEXT.format(head=head))

    def define_campaigns(make):
        make["payment_transactions"].append_column(sa.Column("campaign", PlainText(), nullable=True))

    def enter():
        monkeypatch.setattr(migrating, "_FOLDER", folder)
        monkeypatch.setattr(tables, "DEFINITIONS", (*tables.DEFINITIONS, define_campaigns))

    yield enter
    monkeypatch.undo()


class Mailbox:
    """Remembers which events it was told, whoever told them."""

    profile = SinkProfile()

    def __init__(self):
        self.told = Counter()

    def notify(self, event):
        self.told[event.event_id] += 1


class AtWork:
    """A worker of some version: a thread with an engine of its own over the same database."""

    def __init__(self, shop, url, mailbox):
        self.storage = SqlAlchemyStorage.open(url)
        own = {"storage": self.storage, "worker": f"worker-{id(self)}", "notifiers": {"box": mailbox}}
        self.engine = Engine(attrs.evolve(shop.engine._ports, **own))
        self.taken = 0
        self.failed = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)
        self.storage.close()

    def _work(self):
        try:
            while not self._stop.is_set():
                self.taken += self.engine.run_intake(limit=1).taken
                self.engine.dispatch(limit=5)
                self.engine.run_renewals()
        except BaseException as error:  # noqa: BLE001  - the test looks at it
            self.failed = error


def until(condition, *workers):
    for _ in range(6000):
        if condition():
            return
        assert [worker.failed for worker in workers] == [None] * len(workers)
        threading.Event().wait(0.01)
    pytest.fail("it never came to it")


def sell(shop, users):
    for user in users:
        shop.chain.pay(shop.checkout(user).order)
    shop.chain.mine(4)
    shop.clock.set(max(shop.clock.now(), shop.chain.head.timestamp))
    shop.engine.read_chain("local")


def _all_told(shop):
    figures = shop.engine.watch.figures()
    return figures.outbox.count == 0 and not any(d.count for d in figures.deliveries.values())


@pytest.mark.fault("D20")
def test_d20_the_tables_move_on_under_old_workers_and_old_and_new_ones_work_together(postgres_url, later):
    storage = SqlAlchemyStorage.open(postgres_url)
    shop = simulated_merchant(seed=1, storage=storage)
    box = Mailbox()
    first = [f"user-{number}" for number in range(USERS)]
    sell(shop, first)
    with AtWork(shop, postgres_url, box) as one, AtWork(shop, postgres_url, box) as other:
        until(lambda: one.taken + other.taken > 3, one, other)
        assert one.taken + other.taken < USERS
        later()
        migrating.upgrade(postgres_url)  # in the middle of it
        until(lambda: all(shop.engine.access(user).allowed for user in first), one, other)
        assert (one.failed, other.failed) == (None, None)
        with AtWork(shop, postgres_url, box) as new:  # the first of the new version, beside the old ones
            second = [f"late-{number}" for number in range(USERS if EVERYTHING else USERS // 2)]
            sell(shop, second)
            until(lambda: all(shop.engine.access(user).allowed for user in second), one, other, new)
            until(lambda: _all_told(shop), one, other, new)
            assert new.taken > 0
            assert one.taken + other.taken > USERS
            assert new.engine.verify(full=True).ok
    assert shop.engine.verify(full=True).ok
    with storage.unit(write=False) as unit:
        assert {event.event_id for event in unit.events(limit=1000)} == box.told.keys()
        assert {delivery.state for delivery in unit.deliveries(limit=1000)} == {"done"}
    storage.close()


@pytest.mark.fault("D20")
def test_d20_a_process_of_the_version_before_does_not_take_the_tables_back(postgres_url, later, monkeypatch):
    later()
    migrating.upgrade(postgres_url)
    monkeypatch.undo()
    with pytest.raises(SchemaError):
        migrating.upgrade(postgres_url)
    assert migrating.check(postgres_url)[0] == f"revision 9999 instead of {migrating.head()}"
