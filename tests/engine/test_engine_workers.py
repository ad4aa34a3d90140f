"""Readers and intakes that die, meet each other, fall behind, or find something that they cannot write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import attrs
import pytest
from engine_shop import START, Overslept, address, restarted

from evmbilling.domain.decisions import Rewind
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.reading.evidence import Heights
from evmbilling.errors import ChainMismatch, LeaseLost, RetryTransaction, RpcUnavailable, StorageError
from evmbilling.ports.network_guard import assert_network_allowed
from evmbilling.testing.fake_chain import FakeChain

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def named(decisions):
    return {type(d).__name__ for d in decisions}


@contextmanager
def hooked(shop, hook):
    shop.storage.hook = hook
    try:
        yield
    finally:
        shop.storage.hook = None


class TestReader:
    def test_two_readers_at_once_one_reads(self, memory_shop):
        other = restarted(memory_shop)
        outcomes = []

        def meet(name, _, proceed):
            if name == "cursor" and not outcomes:
                outcomes.append("")
                outcomes[0] = other.engine.read_chain("fake").outcome
            return proceed()

        memory_shop.chain.mine(3)
        with hooked(memory_shop, meet):
            report = memory_shop.engine.read_chain("fake")
        assert (report.outcome, report.blocks, outcomes) == ("read", 3, ["busy"])
        assert other.engine.read_chain("fake").outcome == "idle"

    def test_many_readers_in_threads_store_each_log_once(self, shop):
        orders = [shop.checkout(f"k{i}", user_id=f"u{i}") for i in range(6)]
        for order in orders:
            shop.chain.pay(order.order)
            shop.chain.mine()
        shop.chain.mine(3)
        readers = [restarted(shop, seed=i) for i in range(6)]
        barrier = Barrier(6)

        def run(reader):
            barrier.wait(timeout=30)
            done = reader.engine.read_chain("fake")
            return done.outcome, done.logs, reader.intake()

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(run, readers))
        assert sum(logs for _, logs, _ in results) == 12  # the contract's event and the token's transfer of each
        assert {outcome for outcome, _, _ in results} <= {"read", "busy", "idle"}
        shop.settle()
        assert [shop.placed(o) for o in orders] == [[("order", None, "credited")]] * 6
        assert all(shop.types(f"customer:u{i}").count("payment.confirmed") == 1 for i in range(6))

    def test_a_lease_that_ran_out_is_taken_over_and_the_old_reader_writes_nothing(self, memory_shop):
        other = restarted(memory_shop)
        memory_shop.chain.mine(3)
        memory_shop.engine.read_chain("fake", max_blocks=1)
        memory_shop.chain.calls = late = Overslept(memory_shop, other, "logs")
        with pytest.raises(LeaseLost):
            memory_shop.engine.read_chain("fake")
        (cursor,) = memory_shop.admin.cursors()
        assert (late.met, cursor.block.number, cursor.fence) == (["read"], 3, 2)

    @pytest.mark.parametrize("calls", range(1, 9))
    def test_a_node_that_dies_at_any_call_loses_nothing(self, memory_shop, calls):
        order = memory_shop.checkout()
        memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(4)
        seen = []

        class Dying:
            def append(self, method):
                seen.append(method)
                if len(seen) == calls:
                    raise RpcUnavailable("gone", method=method)

        memory_shop.chain.calls = Dying()
        try:
            memory_shop.engine.read_chain("fake")
        except RpcUnavailable:
            memory_shop.chain.calls = []
            memory_shop.engine.read_chain("fake")
        memory_shop.intake()
        assert (memory_shop.status(order), len(memory_shop.receipts(order))) == ("confirmed", 1)

    def test_a_chain_that_changes_while_it_is_read_is_tried_again(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.mine(2)
        paid = memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(2)
        calls = []

        class Forking:
            def append(self, method):
                calls.append(method)
                if method == "headers" and calls.count("headers") == 1:
                    memory_shop.chain.reorganise(4)

        memory_shop.chain.calls = Forking()
        with pytest.raises(ChainMismatch):
            memory_shop.engine.read_chain("fake")
        memory_shop.chain.calls = []
        memory_shop.chain.resend(paid)
        memory_shop.mine(3)
        assert memory_shop.status(order) == "confirmed"

    def test_a_chain_that_changes_between_two_steps_of_a_look_ends_it_and_is_no_contradiction(self, memory_shop):
        memory_shop.chain.mine(30)
        head = memory_shop.chain.head.number
        calls = []

        class Forking:
            def append(self, method):
                calls.append(method)
                if method == "tip" and "logs" in calls:
                    calls.clear()
                    memory_shop.chain.reorganise(head - 2)

        memory_shop.chain.calls = Forking()
        report = memory_shop.engine.read_chain("fake")
        assert (report.outcome, report.rewound) == ("read", 0)
        assert 0 < report.blocks < head
        memory_shop.chain.calls = []
        again = memory_shop.engine.read_chain("fake")
        assert (again.outcome, again.rewound) == ("read", report.blocks - 2)
        assert memory_shop.engine.read_chain("fake").outcome == "idle"

    def test_reading_in_small_steps_is_reading_at_once(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(120)
        reports = []
        while (report := memory_shop.engine.read_chain("fake", max_blocks=7)).outcome == "read":
            reports.append(report.blocks)
            memory_shop.intake()
        assert reports == [7] * 17 + [1]
        assert memory_shop.status(order) == "final"

    def test_a_lower_head_alone_proves_nothing(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.pay(order, depth=5)
        blocks = memory_shop.chain._ledger.blocks
        held, memory_shop.chain._ledger.blocks = blocks, blocks[:3]
        assert memory_shop.engine.read_chain("fake").outcome == "behind"
        assert memory_shop.status(order) == "confirmed"
        memory_shop.chain._ledger.blocks = held
        assert memory_shop.engine.read_chain("fake").outcome == "idle"

    @pytest.mark.parametrize("length", [1, 2, 4, 9])
    def test_a_branch_of_another_length_is_followed(self, memory_shop, length):
        order = memory_shop.checkout()
        memory_shop.pay(order, depth=5)
        memory_shop.reorganise(5, length=length)
        assert (memory_shop.status(order), memory_shop.allowed()) == ("reversed", False)
        memory_shop.mine()
        assert memory_shop.engine.read_chain("fake").outcome == "idle"

    @pytest.mark.fault("O21")
    @pytest.mark.both_databases
    def test_o21_a_dead_node_of_one_network_does_not_touch_another(self, any_shop):
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
        shop = any_shop(chains=chains)
        order = shop.checkout(network="fake2")
        chains[1].pay(order.order)
        chains[1].mine(3)
        chains[0].fail()
        with pytest.raises(RpcUnavailable):
            shop.engine.read_chain("fake")
        shop.engine.read_chain("fake2")
        shop.intake()
        assert shop.status(order) == "confirmed"


class TestIntake:
    def test_two_intakes_in_threads_take_each_item_once(self, shop):
        orders = [shop.checkout(f"k{i}", user_id=f"u{i % 4}", plan="once") for i in range(16)]
        for order in orders:
            shop.chain.pay(order.order)
        shop.chain.mine(3)
        shop.engine.read_chain("fake")
        shop.catch_up()
        workers = [restarted(shop, seed=i) for i in range(4)]
        barrier = Barrier(4)

        def run(worker):
            barrier.wait(timeout=30)
            return worker.intake(limit=3)

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(run, workers))
        taken, parked = (sum(r[i] for r in results) for i in (0, 1))
        leftover = shop.intake()
        assert (taken + leftover[0], parked + leftover[1]) == (32, 0)
        assert [shop.placed(o) for o in orders] == [[("order", None, "credited")]] * 16
        for i in range(4):
            types = shop.types(f"customer:u{i}")
            assert [types.count(t) for t in ("payment.seen", "payment.confirmed", "plan.changed")] == [4, 4, 4]

    @pytest.mark.parametrize("limit", [1, 2, 50])
    def test_a_held_customer_is_passed_over_and_the_others_flow(self, memory_shop, limit):
        orders = [memory_shop.checkout(f"k{i}", user_id=f"u{i}") for i in range(5)]
        for order in orders:
            memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(3)
        memory_shop.catch_up()
        memory_shop.engine.read_chain("fake")
        held = {"u0", "u1", "u3"}

        def hold(name, _, proceed):
            found = proceed()
            return {k: v for k, v in found.items() if k not in held} if name == "lock_customers" else found

        with hooked(memory_shop, hold):
            memory_shop.intake(limit=limit)
            assert [memory_shop.allowed(f"u{i}") for i in range(5)] == [False, False, True, False, True]
        memory_shop.intake(limit=limit)
        assert all(memory_shop.allowed(f"u{i}") for i in range(5))

    def test_a_customer_locked_by_a_host_on_postgresql_is_passed_over(self, make_shop):
        shop = make_shop("postgres")
        held, free = shop.checkout(user_id="held"), shop.checkout(user_id="free")
        shop.chain.pay(held.order, free.order)
        shop.chain.mine(3)
        shop.catch_up()
        with shop.storage.unit() as unit:
            unit.lock_customer(Customer(user_id="held", created_at=START))
            shop.engine.read_chain("fake")
            report = shop.engine.run_intake()
            assert (report.taken, report.left) == (3, 1)
            assert (shop.allowed("held"), shop.allowed("free")) == (False, True)
        shop.intake()
        assert shop.allowed("held")

    @pytest.mark.fault("O14")
    @pytest.mark.parametrize("limit", [1, 3, 50])
    def test_o14_what_cannot_be_written_is_parked_and_the_others_flow(self, memory_shop, limit):
        orders = [memory_shop.checkout(f"k{i}", user_id=f"u{i}") for i in range(5)]
        for order in orders:
            memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(3)
        memory_shop.catch_up()
        memory_shop.engine.read_chain("fake")

        def poison(name, args, proceed):
            stored = [d.order.user_id for d in args[0] if type(d).__name__ == "StoreOrder"] if name == "apply" else []
            if "u2" in stored:
                raise StorageError("this one cannot be written")
            return proceed()

        with hooked(memory_shop, poison):
            assert memory_shop.intake(limit=limit) == (9, 1)
        assert [memory_shop.allowed(f"u{i}") for i in range(5)] == [True, True, False, True, True]
        (parked,) = memory_shop.dump()["parked"]
        assert (parked["reason"], parked["attempts"]) == ("storage_error", 1)
        assert memory_shop.intake(limit=limit) == (0, 0)
        memory_shop.clock.advance(seconds=31)
        memory_shop.intake(limit=limit)
        assert memory_shop.allowed("u2")

    def test_poison_behind_a_held_customer_is_found(self, memory_shop):
        orders = [memory_shop.checkout(f"k{i}", user_id=f"u{i}") for i in range(6)]
        for order in orders:
            memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(3)
        memory_shop.catch_up()
        memory_shop.engine.read_chain("fake")
        first = min((memory_shop.chain._ledger.blocks[1].executed[i].transaction.hash, i) for i in range(6))[1]
        bad = (first + 1) % 6

        def hook(name, args, proceed):
            if name == "lock_customers":
                return {k: v for k, v in proceed().items() if k != f"u{first}"}
            stored = [d.order.user_id for d in args[0] if type(d).__name__ == "StoreOrder"] if name == "apply" else []
            if f"u{bad}" in stored:
                raise StorageError("this one cannot be written")
            return proceed()

        with hooked(memory_shop, hook):
            memory_shop.intake()
        allowed = [memory_shop.allowed(f"u{i}") for i in range(6)]
        assert allowed == [i not in (first, bad) for i in range(6)]

    def test_the_pauses_of_a_parked_item_grow_to_hours(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.chain.pay(order.order)
        memory_shop.chain.mine(3)
        memory_shop.catch_up()
        memory_shop.engine.read_chain("fake")

        def poison(name, args, proceed):
            if name == "apply" and "StoreReceipt" in named(args[0]):
                raise StorageError("no")
            return proceed()

        pauses = []
        with hooked(memory_shop, poison):
            for _ in range(14):
                memory_shop.intake()
                (parked,) = memory_shop.dump()["parked"]
                pauses.append((parked["retry_at"] - memory_shop.clock.now()).total_seconds())
                memory_shop.clock.set(parked["retry_at"])
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[1], pauses[-1]) == (30, 60, 6 * 3600)

    def test_a_database_that_asks_for_another_try_gets_one(self, memory_shop):
        order = memory_shop.checkout()
        tries = []

        def refuse(name, _, proceed):
            if name == "apply" and len(tries) < 2:
                tries.append(name)
                raise RetryTransaction
            return proceed()

        memory_shop.chain.pay(order.order)
        with hooked(memory_shop, refuse):
            memory_shop.mine(3)
        assert (len(tries), memory_shop.status(order)) == (2, "confirmed")

    def test_nothing_moves_on_a_replay(self, shop):
        order = shop.checkout()
        shop.pay(order, depth=20)
        before = shop.dump()
        for _ in range(3):
            shop.settle()
        assert shop.dump() == before
        assert shop.status(order) == "final"


def story(shop):
    """Checkout, payment, reorg, restoration, expiry: one order each."""
    paid, lost, once = (
        shop.checkout("a", user_id="a"),
        shop.checkout("b", user_id="b"),
        shop.checkout("c", user_id="c", plan="once", wallet=address("c")),
    )
    tx = shop.chain.pay(paid.order)
    shop.chain.pay(once.order)
    yield
    shop.chain.mine(3)
    yield
    shop.chain.reorganise(3)
    yield
    shop.chain.resend(tx)
    shop.chain.mine(4)
    yield
    shop.chain.mine(20, seconds=2000)
    yield
    assert lost


def test_an_engine_that_is_restarted_between_all_steps_ends_where_another_does(make_shop):
    ends = []
    for restart in (False, True):
        shop = make_shop()
        for i, _ in enumerate(story(shop)):
            shop.catch_up()
            for step in ("read", "intake", "expire"):
                worker = restarted(shop, seed=f"{i}{step}") if restart else shop
                if step == "read":
                    worker.engine.read_chain("fake")
                elif step == "intake":
                    worker.intake(limit=1)
                else:
                    worker.engine.expire_orders()
        ends.append((shop.standing(), {u: shop.types(f"customer:{u}") for u in "abc"}))
    assert ends[0] == ends[1]
    assert [o["status"] for o in ends[0][0]["orders"]] == ["final", "expired", "expired"]


def test_a_scan_from_the_first_block_ends_in_the_same_standing(shop):
    for _ in story(shop):
        shop.catch_up()
        shop.settle()
    before = shop.standing()
    (cursor,) = shop.admin.cursors()
    lease = shop.storage.acquire_lease("reader:31337", "scan", 30)
    first = shop.chain.header(0)
    back = attrs.evolve(cursor, block=first, heights=Heights(head=0), irreversible=None, fence=lease.fence)
    with shop.storage.unit() as unit:
        unit.apply([Rewind(cursor=back)])
    shop.storage.release_lease(lease)
    shop.settle()
    assert shop.standing() == before
    assert shop.admin.cursors()[0].block == cursor.block


@pytest.mark.parametrize("duplicates", [0, 1, 2])
def test_a_reader_that_was_away_ends_where_one_that_watched_does(make_shop, duplicates):
    ends = []
    for watched in (True, False):
        shop = make_shop()
        orders = [shop.checkout(f"k{i}", user_id=f"u{i % 2}", plan=("pro", "once")[i % 2]) for i in range(4)]
        for n in range(duplicates + 1):
            for order in orders:
                shop.chain.pay(order.order, nonce=7 * (4 * n + orders.index(order)) % 31)
                shop.chain.mine()
                if watched:
                    shop.catch_up()
                    shop.settle()
        shop.chain.mine(25)
        shop.catch_up()
        shop.settle()
        ends.append(shop.standing())
    assert ends[0] == ends[1]
    assert len(ends[0]["receipts"]) == 4 * (duplicates + 1)


class TestNthCall:
    """D15: whatever call of storage fails, a step happened entirely or not at all, and doing it again finishes it."""

    def run(self, shop, step, check):
        for n in range(1, 200):
            state = {"left": n, "writes": 0}

            def fail(name, args, proceed, state=state):
                state["left"] -= 1
                if state["left"] == 0:
                    raise StorageError("the call failed")
                return proceed()

            before = shop.dump()
            shop.storage.hook = fail
            try:
                step()
            except StorageError:
                shop.storage.hook = None
                check(before, shop.dump())
                continue
            finally:
                shop.storage.hook = None
            if state["left"] > 0:
                return n
        raise AssertionError("the step never passed")

    @staticmethod
    def unchanged(before, after):
        assert after == before

    @pytest.mark.fault("D15")
    def test_d15_checkout(self, any_shop):
        shop = any_shop()
        assert self.run(shop, shop.checkout, self.unchanged) > 8
        assert len(shop.dump()["orders"]) == 1

    @pytest.mark.fault("D15")
    def test_d15_checkout_that_supersedes_and_abandons(self, memory_shop):
        memory_shop.checkout()
        assert self.run(memory_shop, lambda: memory_shop.checkout("k2", plan="team"), self.unchanged) > 8
        over = ["subscription.moved", "subscription.ended"]
        assert memory_shop.types() == ["order.opened", "order.superseded", *over, "order.opened"]

    @pytest.mark.fault("D15")
    def test_d15_requote(self, memory_shop):
        order = memory_shop.checkout()
        self.run(memory_shop, lambda: memory_shop.engine.requote(order.ledger_id), self.unchanged)
        assert memory_shop.types() == ["order.opened", "order.superseded", "order.opened"]

    @pytest.mark.fault("D15")
    def test_d15_administration(self, memory_shop):
        steps = (
            lambda: memory_shop.admin.archive_plan("pro"),
            lambda: memory_shop.admin.update_network("fake", version=1, credit_after="depth 4"),
            lambda: memory_shop.admin.archive_contract("co", "fake", version=1),
        )
        audits = len(memory_shop.dump()["audit"])
        for step in steps:
            self.run(memory_shop, step, self.unchanged)
        assert len(memory_shop.dump()["audit"]) == audits + 3

    @pytest.mark.fault("D15")
    @pytest.mark.parametrize("name", ["credit", "reversal", "restoration", "expiry"])
    def test_d15_reading_and_taking_in(self, make_shop, name):
        shop, calm = make_shop(), make_shop()
        happenings = {
            "credit": lambda s, tx: None,
            "reversal": lambda s, tx: s.chain.reorganise(3),
            "restoration": lambda s, tx: (s.chain.reorganise(3), s.settle(), s.chain.resend(tx), s.chain.mine(3)),
            "expiry": lambda s, tx: (s.settle(), s.chain.mine(2, seconds=2000)),
        }
        for one in (shop, calm):
            paid, _ = one.checkout("a", user_id="a"), one.checkout("b", user_id="b")
            tx = one.chain.pay(paid.order)
            one.chain.mine(3)
            if name == "reversal":
                one.settle()
            happenings[name](one, tx)
            one.catch_up()

        def check(before, after):
            seq = {}
            for event in sorted(after["events"], key=lambda e: e["seq"]):
                assert event["seq"] == seq.get(event["aggregate"], 0) + 1
                seq[event["aggregate"]] = event["seq"]
            for customer in after["customers"]:
                assert customer["event_seq"] == seq.get(f"customer:{customer['user_id']}", 0)
            paid = {o["ledger_id"] for o in after["orders"] if o["status"] in {"confirmed", "final"}}
            open_ = {e["user_id"] for e in after["entitlements"] if e["basis"] == "paid"}
            assert {o["user_id"] for o in after["orders"] if o["ledger_id"] in paid} == open_
            for receipt in after["receipts"]:
                assert sum(e["receipt_id"] == receipt["receipt_id"] for e in after["entries"]) == receipt["entries"]

        self.run(shop, shop.settle, check)
        shop.clock.advance(days=1)  # what was parked comes back
        shop.settle()
        calm.settle()
        assert shop.standing() == calm.standing()


class TestNoNetworkInAUnit:
    @pytest.mark.fault("D27")
    def test_d27_checkout_and_all_that_a_host_may_join_call_no_node(self, memory_shop):
        memory_shop.chain.fail()
        memory_shop.chain.calls.clear()  # saving the plan has asked
        order = memory_shop.checkout()
        memory_shop.checkout()
        memory_shop.engine.quote(plan="pro", user_id="u1", wallet=address("w"))
        memory_shop.engine.requote(order.ledger_id)
        memory_shop.engine.order(order.ledger_id)
        memory_shop.engine.access("u1")
        memory_shop.engine.expire_orders()
        memory_shop.engine.run_intake()
        assert memory_shop.chain.calls == []

    @pytest.mark.fault("D27")
    def test_d27_a_dead_node_is_a_problem_of_paying_and_no_error(self, memory_shop):
        memory_shop.chain.fail()
        order = memory_shop.checkout()
        answer = memory_shop.engine.pay_instructions(order.ledger_id, user_id="u1")
        assert [problem.code for problem in answer.problems] == ["rpc_unknown"]
        assert (answer.payload, answer.approval) == (order.payload, None)

    @pytest.mark.fault("D27")
    def test_d27_every_storage_call_is_made_with_the_network_forbidden(self, memory_shop):
        seen = set()

        def guard(name, _, proceed):
            if name not in seen:
                with pytest.raises(RuntimeError):
                    assert_network_allowed()
                seen.add(name)
            return proceed()

        with hooked(memory_shop, guard):
            order = memory_shop.checkout()
            memory_shop.pay(order)
            memory_shop.reorganise(3)
            memory_shop.mine(2, seconds=3000)
            memory_shop.admin.archive_plan("pro")
        assert {"apply", "lock_customer", "claim_items", "overdue_offers", "commit"} <= seen
        assert_network_allowed()

    @pytest.mark.fault("D27")
    def test_d27_no_node_is_asked_while_a_unit_is_open(self, memory_shop):
        class Watching(list):
            def append(self, method):
                assert_network_allowed()
                super().append(method)

        memory_shop.chain.calls = Watching()
        order = memory_shop.checkout()
        memory_shop.pay(order)
        memory_shop.reorganise(2)
        memory_shop.mine(30)
        assert {"tip", "headers", "logs", "common_ancestor"} <= set(memory_shop.chain.calls)


class TestTheHostsTransaction:
    @pytest.fixture(params=["sqlite", "postgres"])
    def joined(self, request, make_shop):
        shop = make_shop(request.param)
        engine = shop.storage._inner._engine
        return shop, engine

    @pytest.mark.both_databases
    @pytest.mark.fault("D25")
    def test_d25_what_the_host_rolls_back_never_was(self, joined):
        shop, database = joined
        before = shop.dump()
        shop.chain.calls.clear()  # saving the plan has asked
        with database.connect() as connection:
            transaction = connection.begin()
            with shop.engine.within(connection) as billing:
                order = billing.checkout(plan="pro", user_id="u1", wallet=address("w"), idempotency_key="k")
                billing.requote(order.ledger_id)
                assert billing.access("u1").reason == "unpaid"
                assert billing.order(order.ledger_id).status == "superseded"
            transaction.rollback()
        assert shop.dump() == before
        assert shop.chain.calls == []

    @pytest.mark.both_databases
    @pytest.mark.fault("D25")
    def test_d25_what_the_host_commits_is_there_and_can_be_paid(self, joined):
        shop, database = joined
        with database.begin() as connection, shop.engine.within(connection) as billing:
            order = billing.checkout(plan="pro", user_id="u1", wallet=address("wallet"), idempotency_key="k1")
        again = shop.checkout()
        assert (again.ledger_id, again.payload, again.replayed) == (order.ledger_id, order.payload, True)
        shop.pay(order)
        assert shop.allowed()
