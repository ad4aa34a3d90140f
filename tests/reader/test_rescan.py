"""Reading again: what is missing or altered is stored, what is there stays, and the books end the same."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import contextmanager

import attrs
import pytest
from reader_books import books, cursor, evidence, sell, told

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.decisions import Rewind
from evmbilling.domain.reading.evidence import Rescan, ScannedRange
from evmbilling.errors import ChainMismatch, InputError, NotFound, RequestInProgress, UnknownNetwork
from evmbilling.testing.merchant import simulated_merchant


@contextmanager
def leaving_out(shop, wanted):
    """Let the chain leave out the logs for which ``wanted`` says so."""
    scan, logs = shop.chain.scan, shop.chain.logs

    @contextmanager
    def cut(first, last, watch, **how):
        with scan(first, last, watch, **how) as ranges:
            yield (attrs.evolve(r, logs=tuple(log for log in r.logs if not wanted(log))) for r in ranges)

    shop.chain.scan = cut
    shop.chain.logs = lambda headers, watch: [log for log in logs(headers, watch) if not wanted(log)]
    yield
    del shop.chain.scan, shop.chain.logs


def finish(shop):
    while cursor(shop).rescan is not None:
        shop.engine.read_chain("local")
    shop.drain()


@pytest.mark.parametrize("name", ["memory", "sqlite", "postgresql"])
def test_a_rescan_from_any_block_changes_nothing(open_shop, name):
    shop = open_shop(name)
    sell(shop, 4, apart=30)
    shop.chain.mine(120)
    shop.drain()
    before, events = books(shop), told(shop)
    for start in (0, 1, 90, 239):
        assert shop.engine.rescan("local", start) == Rescan(next=start, last=240)
        report = shop.engine.read_chain("local")
        assert (report.outcome, report.rescanned, report.blocks, report.logs) == ("read", 241 - start, 0, 0)
        finish(shop)
        assert (books(shop), told(shop)) == (before, events)
    assert cursor(shop).block == shop.chain.head


def test_what_a_node_left_out_is_found_and_credited(shop):
    honest = simulated_merchant()
    for one in (honest, shop):
        sell(one, 4, apart=30)
        one.chain.mine(120)
    with leaving_out(shop, lambda log: log.block_number in (31, 91)):
        shop.drain()
    assert len(evidence(shop)) == 4
    shop.engine.rescan("local", 0)
    finish(shop)
    honest.drain()
    assert evidence(shop) == evidence(honest)
    found, expected = books(shop), books(honest)
    assert [o.status for o in found["orders"]] == [o.status for o in expected["orders"]] == ["final"] * 4
    assert sorted(r.amount for r in found["receipts"]) == sorted(r.amount for r in expected["receipts"])
    assert found["entitlements"] == expected["entitlements"]


@pytest.mark.fault("D22")
def test_d22_evidence_that_was_altered_in_the_database_is_put_right(open_shop, tmp_path):
    shop = open_shop("sqlite")
    sell(shop, 2, apart=30)
    shop.chain.mine(120)
    shop.drain()
    before = books(shop)
    with sqlite3.connect(tmp_path / "shop.db") as raw:
        raw.execute("UPDATE evmbilling_chain_logs SET data = zeroblob(length(data)) WHERE block_number = 31")
        raw.execute("DELETE FROM evmbilling_chain_logs WHERE block_number = 1")
    raw.close()
    assert evidence(shop) != before["logs"]
    shop.engine.rescan("local", 0)
    finish(shop)
    assert books(shop) == before


@pytest.mark.parametrize("block", [31, 121])
def test_a_log_that_is_left_out_now_is_an_error_and_takes_nothing_back(shop, block):
    sell(shop, 5, apart=30)
    shop.chain.mine(2)
    shop.drain()
    before = books(shop)
    shop.engine.rescan("local", 0)
    with leaving_out(shop, lambda log: log.block_number == block), pytest.raises(ChainMismatch, match="leaves out"):
        shop.engine.read_chain("local")
    shop.drain()
    assert books(shop) == before
    finish(shop)
    assert books(shop) == before


def test_another_chain_below_what_was_called_irreversible_halts_the_network(shop):
    sell(shop, 3, apart=40)
    shop.chain.mine(100)
    shop.drain()
    shop.engine.rescan("local", 0)
    # The node shows the old blocks where the tip is compared, and another past below.
    ledger, there = shop.chain._ledger.blocks, shop.chain.header

    def header(number):
        found = there(number)
        return attrs.evolve(found, hash=b"\7" * 32) if number == 41 else found

    shop.chain.header = header
    with leaving_out(shop, lambda log: log.block_number == 41):
        assert shop.engine.read_chain("local").outcome == "halted"
    assert shop.chain._ledger.blocks is ledger
    halt = cursor(shop).halt
    assert (halt.reason, halt.at_block) == ("reorg_below_irreversible", 40)
    assert shop.engine.read_chain("local").outcome == "halted"


def test_a_rescan_goes_on_after_an_interruption_and_beside_new_blocks(shop):
    sell(shop, 4, apart=30)
    shop.chain.mine(120)
    shop.drain()
    before = books(shop)
    shop.chain.scan_blocks = 20
    shop.engine.rescan("local", 10, to_block=200)

    def interrupt(block, end):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.engine.read_chain("local", progress=interrupt)
    assert cursor(shop).rescan == Rescan(next=30, last=200)
    shop.chain.mine(5)
    report = shop.engine.read_chain("local", max_blocks=45)
    assert (report.blocks, report.rescanned, cursor(shop).block.number) == (5, 40, 245)
    report = shop.engine.read_chain("local", max_blocks=45)
    assert (report.blocks, report.rescanned) == (0, 45)
    # Asked for again, it begins at the lowest block that anybody asked for.
    assert shop.engine.rescan("local", 50, to_block=60) == Rescan(next=50, last=200)
    finish(shop)
    assert books(shop) == before


def test_contiguity_is_proved_in_a_rescan_too(shop):
    shop.chain.mine(200)
    shop.drain()
    shop.engine.rescan("local", 0)
    shop.chain.scan_blocks = 50
    scan = shop.chain.scan

    @contextmanager
    def torn(first, last, watch):
        with scan(first, last, watch) as ranges:
            for number, found in enumerate(ranges):
                other = attrs.evolve(found.first, parent_hash=b"\7" * 32)
                yield_ = ScannedRange(first=other, last=found.last, logs=found.logs) if number == 1 else found
                pieces.append(yield_)
            yield iter(pieces)

    pieces = []
    shop.chain.scan = torn
    with pytest.raises(ChainMismatch):
        shop.engine.read_chain("local")
    assert cursor(shop).rescan == Rescan(next=50, last=200)


def test_bad_input_is_named(shop):
    with pytest.raises(UnknownNetwork):
        shop.engine.rescan("nowhere", 0)
    with pytest.raises(NotFound):
        shop.engine.rescan("local", 0)
    shop.chain.mine(10)
    shop.drain()
    for first, last in ((-1, None), (11, None), (5, 4), (0, 11)):
        with pytest.raises(InputError) as caught:
            shop.engine.rescan("local", first, to_block=last)
        assert caught.value.field == "from_block"
    assert cursor(shop).rescan is None
    shop.engine._ports.storage.acquire_lease("reader:31337", "another", 30)
    with pytest.raises(RequestInProgress):
        shop.engine.rescan("local", 0)


def test_under_a_new_lease_what_a_paused_worker_wrote_is_taken_back_first(shop):
    """As the reader does it: a rescan is no way around the fence."""
    shop.chain.mine(10)
    shop.engine.read_chain("local")
    applied = []
    unit_of = shop.engine._ports.storage.unit

    @contextmanager
    def spying(**how):
        with unit_of(**how) as unit:
            apply = unit.apply
            unit.apply = lambda decisions: (applied.extend(decisions), apply(decisions))
            yield unit

    shop.clock.advance(seconds=60)
    shop.engine._ports.storage.acquire_lease("reader:31337", "another", 1)
    shop.clock.advance(seconds=60)
    shop.engine._ports.storage.unit = spying
    shop.engine.rescan("local", 0)
    assert [type(decision) for decision in applied] == [Rewind]
    assert cursor(shop).fence == 3


@pytest.mark.fault("D08")
def test_d08_a_database_that_lost_its_last_commits_heals_from_the_chain(open_shop, tmp_path):
    """A replica that was promoted, or a backup: its cursor is as old as its rows, so nothing between is missed."""
    shop = open_shop("sqlite")
    offers = sell(shop, 3, apart=30)
    shop.drain()
    shop.engine._ports.storage._engine.dispose()
    shutil.copy(tmp_path / "shop.db", tmp_path / "old.db")
    shop.chain.reorganise(4)
    shop.chain.mine(200)
    shop.clock.set(shop.chain.head.timestamp)
    shop.drain()
    after = books(shop)
    old = SqlAlchemyStorage.open(f"sqlite:///{tmp_path}/old.db")
    restored = simulated_merchant_on(old, shop)
    restored.drain()
    healed = books(restored)
    assert healed == after
    assert [o.status for o in healed["orders"]] == ["final"] * len(offers)
    old.close()


def simulated_merchant_on(storage, shop):
    """The same merchant over another copy of its database."""
    ports = attrs.evolve(shop.engine._ports, storage=storage)
    engine = type(shop.engine).__new__(type(shop.engine))
    super(type(shop.engine), engine).__init__(ports)
    return attrs.evolve(shop, engine=engine)
