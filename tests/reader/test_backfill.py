"""Reading what cannot change any more in ranges: as if block by block, resumable, and within bounds."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from reader_books import books, cursor, evidence, sell, window

from evmbilling.domain.decisions import Rewind
from evmbilling.engine.reading import reader
from evmbilling.errors import ChainMismatch, RetryTransaction, RpcUnavailable
from evmbilling.testing.merchant import IRREVERSIBLE_DEPTH, simulated_merchant


def watching(shop, method, act):
    """Call ``act`` with the number of calls whenever the chain is asked by this method."""

    class Calls(list):
        def append(self, name):
            super().append(name)
            if name == method:
                act(self.count(method))

    shop.chain.calls = Calls()


def test_blocks_that_cannot_change_are_read_in_ranges_and_keep_one_header(shop):
    sell(shop, 8)
    shop.chain.mine(400)
    shop.chain.scan_blocks = 100
    report = shop.engine.read_chain(shop.network)
    head = shop.chain.head.number
    final = head - IRREVERSIBLE_DEPTH + 1
    assert (report.outcome, report.blocks) == ("read", head)
    assert shop.chain.calls.count("scan") == -(-final // 100)
    assert shop.chain.calls.count("headers") == 1
    # The last header of the ranges and of the one before it, and what may still change.
    assert [n for n in window(shop) if n <= final] in ([final // 100 * 100, final], [final])
    assert [n for n in window(shop) if n > final] == list(range(final + 1, head + 1))
    assert cursor(shop).irreversible == shop.chain.header(final)
    assert cursor(shop).heights.finalized == head - 16


@pytest.mark.parametrize("step", [40, 77, 10_000])
@pytest.mark.parametrize("ranges", [7, 1000])
def test_ranges_end_where_single_blocks_do(shop, monkeypatch, step, ranges):
    one_by_one = simulated_merchant()
    for one in (one_by_one, shop):
        sell(one, 6, apart=35)
        one.chain.mine(90)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "FAR", 10**9)
        while one_by_one.engine.read_chain("local", max_blocks=step).blocks:
            one_by_one.engine.run_intake()
        assert "scan" not in one_by_one.chain.calls
    shop.chain.scan_blocks = ranges
    while shop.engine.read_chain("local", max_blocks=step).blocks:
        shop.engine.run_intake()
    for one in (one_by_one, shop):
        one.drain()
    assert "scan" in shop.chain.calls
    assert books(shop) == books(one_by_one)
    assert {order.status for order in books(shop)["orders"]} == {"final"}


@pytest.mark.parametrize("name", ["memory", "sqlite", "postgres"])
def test_what_the_database_lost_while_ranges_are_read_is_read_again(open_shop, name):
    """A server that crashes loses the newest commits, and this program goes on with a connection to what is left."""
    shop = open_shop(name)
    sell(shop, 8)
    shop.chain.mine(300)
    shop.chain.scan_blocks = 50
    ports = shop.engine._ports

    def lose(calls):
        if calls == 3:
            kept = attrs.evolve(cursor(shop), block=shop.chain.header(50), irreversible=shop.chain.header(50))
            with ports.storage.unit() as unit:
                unit.apply([Rewind(cursor=kept)])

    watching(shop, "scan", lose)
    with pytest.raises(RetryTransaction, match="read again"):
        shop.engine.read_chain("local")
    assert cursor(shop).block == shop.chain.header(50)
    shop.chain.calls = []
    shop.drain()
    assert cursor(shop).block == shop.chain.head
    assert {order.status for order in books(shop)["orders"]} == {"final"}
    assert len(books(shop)["orders"]) == 8


def test_a_chain_that_changes_below_its_word_is_noticed_where_ranges_meet(shop):
    sell(shop, 3)
    shop.chain.mine(300)
    shop.chain.scan_blocks = 50
    watching(shop, "scan", lambda calls: shop.chain.reorganise(300) if calls == 3 else None)
    with pytest.raises(ChainMismatch):
        shop.engine.read_chain("local")
    reached = cursor(shop).block
    assert reached.number == 100
    shop.chain.calls = []
    # What is below it was called irreversible: the next look halts the network.
    assert shop.engine.read_chain("local").outcome == "halted"


def test_a_reader_that_lost_its_lease_in_the_middle_writes_no_range_more(shop):
    sell(shop, 2)
    shop.chain.mine(300)
    shop.chain.scan_blocks = 50
    other = attrs.evolve(shop.engine._ports, worker="other")
    stolen = []

    def steal(calls):
        if calls == 3:
            shop.clock.advance(seconds=60)
            stolen.append(other.storage.acquire_lease("reader:31337", "other", 30))

    watching(shop, "scan", steal)
    report = shop.engine.read_chain("local")
    assert stolen[0].fence == 2
    assert (report.blocks, cursor(shop).block.number) == (100, 100)


@pytest.mark.parametrize("name", ["memory", "sqlite", "postgresql"])
def test_it_goes_on_where_it_was_interrupted(open_shop, name):
    whole, broken = simulated_merchant(), open_shop(name)
    for one in (whole, broken):
        sell(one, 4)
        one.chain.mine(200)
        one.chain.scan_blocks = 30

    def interrupt(block, end):
        raise KeyboardInterrupt

    reached = []
    while not reached or reached[-1] < whole.chain.head.number:
        with pytest.raises(KeyboardInterrupt):
            broken.engine.read_chain("local", progress=interrupt)
        reached.append(cursor(broken).block.number)
    assert reached == sorted(set(reached))
    for one in (whole, broken):
        one.drain()
    assert [log.block_number for log in evidence(broken)] == [log.block_number for log in evidence(whole)]
    assert [order.status for order in books(broken)["orders"]] == ["final"] * 4


def test_progress_tells_each_range_and_where_it_ends(shop):
    shop.chain.mine(300)
    shop.chain.scan_blocks = 100
    told = []
    shop.engine.read_chain("local", progress=lambda *at: told.append(at))
    final = 300 - IRREVERSIBLE_DEPTH + 1
    assert told == [(100, final), (200, final), (final, final), (300, 300)]
    told.clear()
    shop.chain.mine(200)
    shop.engine.read_chain("local", to_block=350, progress=lambda *at: told.append(at))
    assert told[-1] == (350, 350)
    assert shop.engine.read_chain("local", to_block=350).outcome == "idle"
    assert cursor(shop).block.number == 350


def test_a_node_that_dies_in_the_middle_keeps_what_was_written(shop):
    sell(shop, 3)
    shop.chain.mine(200)
    shop.chain.scan_blocks = 40

    def die(calls):
        if calls == 3:
            raise RpcUnavailable("gone")

    watching(shop, "scan", die)
    with pytest.raises(RpcUnavailable):
        shop.engine.read_chain("local")
    assert cursor(shop).block.number == 80
    assert len(evidence(shop)) == 6


@pytest.mark.fault("C25")
def test_c25_a_reader_that_was_down_100_000_blocks_catches_up_before_anything_expires(shop):
    paid, unpaid = shop.checkout("pays"), shop.checkout("pays-not")
    shop.chain.mine(3)
    shop.drain()
    shop.chain.pay(paid.order)
    shop.chain.mine(100_000, seconds=1)
    shop.clock.set(shop.chain.head.timestamp)
    assert shop.clock.now() > paid.order.deadline + timedelta(days=10)
    held: list[int] = []

    def look(block, end):
        # A worker of another kind runs at the same time, and the window never holds more than what may change.
        held.append(len(window(shop)))
        shop.engine.run_intake()
        shop.engine.expire_orders()

    # Nothing of it is read yet: the deadline is long over, and nothing expires.
    shop.engine.expire_orders()
    assert [shop.engine.order(o.ledger_id).status for o in (paid, unpaid)] == ["pending", "pending"]
    report = shop.engine.read_chain("local", max_blocks=200_000, progress=look)
    shop.drain()
    assert (report.blocks, cursor(shop).block) == (100_000, shop.chain.head)
    assert [shop.engine.order(o.ledger_id).status for o in (paid, unpaid)] == ["final", "expired"]
    assert max(held) <= IRREVERSIBLE_DEPTH + 2
    assert len(shop.chain.calls) < 200


class TestFollow:
    def test_each_wait_is_followed_by_a_look_and_false_ends_it(self, shop):
        waits = []

        def wait(seconds):
            waits.append(seconds)
            shop.chain.mine(2)
            return len(waits) < 4

        reports = list(shop.engine.follow("local", wait=wait, seconds=0.25))
        assert [report.blocks for report in reports] == [0, 2, 2, 2]
        assert waits == [0.25] * 4

    @pytest.mark.fault("R22")
    def test_r22_a_socket_that_says_nothing_any_more_delays_by_the_pause_only(self, shop):
        """Nothing ever wakes it: after the pause the chain is looked at all the same."""
        shop.chain.mine(5)
        silent = iter([True, False])
        reports = list(shop.engine.follow("local", wait=lambda _: next(silent)))
        assert sum(report.blocks for report in reports) == 5

    def test_a_node_that_fails_is_looked_at_again(self, shop):
        shop.chain.mine(5)
        shop.engine.read_chain("local", max_blocks=1)
        shop.chain.fail(times=2)
        turns = iter([True, True, False])
        reports = list(shop.engine.follow("local", wait=lambda _: next(turns)))
        assert [report.blocks for report in reports] == [4]


def test_the_source_is_told_which_orders_are_ours(shop):
    """Orders of other instances on the same contract then cost no receipt; see the chain source."""
    shop.chain.mine(200)
    asked = []
    scan, logs = shop.chain.scan, shop.chain.logs
    shop.chain.scan = lambda first, last, watch, **how: (asked.append(watch), scan(first, last, watch, **how))[1]
    shop.chain.logs = lambda headers, watch: (asked.append(watch), logs(headers, watch))[1]
    shop.drain()
    assert len(asked) == 2
    assert {watch.reference_prefix for watch in asked} == {shop.engine._ports.storage.instance_id()}


def test_full_blocks_near_the_head_are_read_a_few_at_a_time(shop, monkeypatch):
    """What memory holds at once depends on how many logs that is, not on how many blocks."""
    sell(shop, 12, apart=1)
    shop.chain.mine(20)
    monkeypatch.setattr(reader, "FAR", 10**9)
    monkeypatch.setattr(reader, "NEAR_LOGS", 8)
    monkeypatch.setattr(reader, "NEAR_AT_FIRST", 4)
    held = []
    logs = shop.chain.logs
    shop.chain.logs = lambda headers, watch: (found := logs(headers, watch), held.append((len(headers), len(found))))[0]
    shop.drain()
    assert sum(found for _, found in held) >= 3 * 8
    assert max(found for _, found in held) <= 2 * 8
    assert max(blocks for blocks, found in held if not found) > 4


@pytest.mark.parametrize(
    ("blocks", "read", "logs", "following"),
    [(16, 16, 0, 32), (100, 100, 10, 128), (16, 16, 8_000, 16), (16, 16, 40_000, 3), (16, 1, 20_000, 1)],
)
def test_how_many_blocks_near_the_head_come_next(blocks, read, logs, following):
    assert reader.near_after(blocks, read, logs) == following
