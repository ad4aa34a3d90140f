"""What units committed that do not wait for the disk comes into SQLite's file while nobody waits for it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
import warnings
from contextlib import closing, suppress

import pytest
from sqlalchemy import event

import forks
from databases import make_sqlite, migrate_in_memory
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain import decisions as d
from evmbilling.testing.conformance.storage import records as b

LONG = 30
THREAD = "evmbilling-log"


def running():
    return {thread for thread in threading.enumerate() if thread.name.startswith(THREAD)}


@pytest.fixture
def copiers():
    """Ask for the copying threads of this test: storages that other tests share may have theirs."""
    others = running()
    return lambda: running() - others


def in_the_file(folder):
    """How many hints stand in the file itself, whatever its log holds."""
    alone = folder / "alone.db"
    shutil.copyfile(folder / "shop.db", alone)
    with closing(sqlite3.connect(alone)) as connection, suppress(sqlite3.DatabaseError):
        return connection.execute("SELECT count(*) FROM evmbilling_webhook_inbox").fetchone()[0]
    return 0  # it was copied in the middle of a write


def wait_for(folder, count):
    end = time.monotonic() + LONG
    while in_the_file(folder) != count and time.monotonic() < end:
        time.sleep(0.01)
    return in_the_file(folder)


@pytest.fixture
def storage(tmp_path):
    with closing(SqlAlchemyStorage.open(make_sqlite(tmp_path / "shop.db"))) as opened:
        yield opened


def write(storage, number, *, durable):
    with storage.unit(durable=durable) as unit:
        unit.apply([d.StoreInboxItem(b.hint(number))])


def test_what_need_not_wait_is_copied_beside(copiers, storage, tmp_path):
    write(storage, 1, durable=True)
    assert not copiers()
    write(storage, 2, durable=False)
    assert wait_for(tmp_path, 2) == 2
    write(storage, 3, durable=True)
    assert in_the_file(tmp_path) == 2
    write(storage, 4, durable=False)
    assert wait_for(tmp_path, 4) == 4
    storage.close()
    assert not copiers()


def test_a_file_that_cannot_be_opened_again_stops_nobody(copiers, storage, tmp_path):
    write(storage, 1, durable=False)
    assert wait_for(tmp_path, 1) == 1
    storage._engine.pool._creator = _refused
    storage._engine.pool._invoke_creator = _refused
    write(storage, 2, durable=False)
    storage.close()
    assert not copiers()


def test_a_fork_waits_for_what_is_copied(storage, tmp_path):
    """The child would inherit SQLite's locks, from a thread that it does not have."""
    write(storage, 1, durable=False)
    assert wait_for(tmp_path, 1) == 1
    begun, done = threading.Event(), []

    def connected(*_):
        if threading.current_thread().name.startswith(THREAD):
            begun.set()
            time.sleep(0.2)
            done.append(True)

    event.listen(storage._engine, "connect", connected)
    write(storage, 2, durable=False)
    assert begun.wait(LONG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is what this is about
        child = os.fork()
    if not child:
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_was_committed_has_not_failed_when_no_thread_can_be_had(storage):
    write(storage, 1, durable=False)
    storage._copier._thread.shutdown()  # as Python does before it ends
    write(storage, 2, durable=False)
    with storage.unit(write=False) as unit:
        assert unit.inbox_item("relay", "msg_2") is not None


def _refused(*_):
    raise sqlite3.OperationalError("unable to open database file")


def test_a_database_in_memory_has_nothing_to_copy(copiers):
    with closing(SqlAlchemyStorage.open("sqlite://")) as storage:
        migrate_in_memory(storage._engine)
        write(storage, 1, durable=False)
        assert not copiers()


def test_a_process_that_is_forked_copies_by_itself(storage, tmp_path):
    write(storage, 1, durable=False)
    assert wait_for(tmp_path, 1) == 1

    def work(_):
        write(storage, 2, durable=False)
        storage.close()

    forks.in_children(1, work)
    assert wait_for(tmp_path, 2) == 2


def test_threads_that_fork_at_once_leave_it_free_to_copy(tmp_path):
    """Each fork lets go of what it held, and not of what another thread's fork holds.

    In a process of its own: whoever is forked by a thread ends what other threads had for themselves, as an event loop.
    """
    url = make_sqlite(tmp_path / "shop.db")
    done = forks.run(_fork_at_once, url)
    assert done.returncode == 0, done.stderr
    assert wait_for(tmp_path, 1) == 1


def _fork_at_once(url):
    def work():
        for _ in range(20):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
                child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

    with closing(SqlAlchemyStorage.open(url)) as storage:
        threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in threads)
        write(storage, 1, durable=False)
