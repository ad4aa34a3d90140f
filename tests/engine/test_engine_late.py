"""Readers that come late, meet each other, or have a neighbour in trouble; transactions that change on their way."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import attrs
import pytest
from engine_shop import START, Overslept, address, restarted

from evmbilling.domain.messages.hints import RETRIES, parse_secrets, sign_webhook
from evmbilling.domain.states import OrderStatus
from evmbilling.engine.messages import webhooks
from evmbilling.errors import LeaseLost, UnknownNetwork
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.paid_logs import pay_call

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

SECRET = "whsec_" + base64.b64encode(b"a relay's own secret of 32 bytes").decode()
OUTAGE = 100_000


class Measured:
    """What a chain was asked for, counted."""

    def __init__(self, inner):
        self._inner, self.largest, self.blocks = inner, 0, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def headers(self, first, last):
        found = self._inner.headers(first, last)
        self.largest, self.blocks = max(self.largest, len(found)), self.blocks + len(found)
        return found

    @contextmanager
    def scan(self, first, last, watch, **how):
        with self._inner.scan(first, last, watch, **how) as ranges:
            yield (self._counted(found) for found in ranges)

    def _counted(self, found):
        self.blocks += found.last.number - found.first.number + 1
        return found


class TestAReaderThatWasAway:
    @pytest.mark.fault("C25")
    def test_c25_a_hundred_thousand_blocks_are_caught_up_before_anything_is_over(self, make_shop):
        shop = make_shop()
        paid, unpaid = shop.checkout("a", user_id="paid"), shop.checkout("b", user_id="unpaid")
        shop.chain.mine(10)
        shop.settle()
        shop.chain.pay(paid.order)
        shop.chain.mine(OUTAGE)
        shop.clock.set(shop.chain.head.timestamp)
        assert shop.clock.now() - paid.deadline > timedelta(days=13)
        source = shop.source._inner = Measured(shop.chain)
        # By the wall's clock everything is over for two weeks. Nobody knows before the chain has been read.
        assert shop.engine.expire_orders().expired == 0
        assert [shop.status(o) for o in (paid, unpaid)] == ["pending", "pending"]
        assert shop.engine.order(paid.ledger_id).next == "wait"
        windows = set()
        while shop.engine.read_chain("fake", max_blocks=1000).blocks:
            # The payment is read but not taken in: whoever closes offers now has to wait for it.
            report = shop.engine.expire_orders()
            assert report.expired == 0
            with shop.storage.unit(write=False) as unit:
                windows.add(len(unit.window(31337)))
        # Headers are held for the newest blocks only, and those that cannot change any more are read once, in ranges.
        assert (source.blocks, source.largest <= 128, max(windows) <= 200) == (OUTAGE, True, True)
        shop.intake()
        assert shop.engine.expire_orders().expired == 1
        assert [shop.status(o) for o in (paid, unpaid)] == ["final", "expired"]
        assert "order.expired" not in shop.types("customer:paid")
        (over,) = shop.events(type_="billing.order.expired.v1")
        assert over.occurred_at == unpaid.deadline
        assert (
            shop.subscription("paid").anchor == shop.chain.block_of(shop.receipts(paid)[0].identity.tx_hash).timestamp
        )

    @pytest.mark.fault("C26")
    def test_c26_of_two_readers_that_begin_at_once_the_slow_one_writes_nothing(self, make_shop):
        shop = make_shop()
        other = restarted(shop)
        order = shop.checkout()
        shop.chain.pay(order.order)
        shop.chain.mine(5)
        # The first has chosen where to begin, and sleeps past its lease before it says so.
        shop.chain.calls = slept = Overslept(shop, other, "tip", then=other.intake)
        with pytest.raises(LeaseLost):
            shop.engine.read_chain("fake")
        shop.chain.calls = []
        assert slept.met == ["read"]
        (cursor,) = shop.admin.cursors()
        assert (cursor.block, cursor.fence) == (shop.chain.head, 2)
        assert shop.engine.read_chain("fake").outcome == "idle"
        assert shop.intake() == (0, 0)
        assert shop.placed(order) == [("order", None, "credited")]

    @pytest.mark.fault("O17")
    def test_o17_a_follower_that_slept_past_its_lease_goes_on_following(self, make_shop):
        shop = make_shop()
        other = restarted(shop)
        shop.chain.mine(5)
        shop.chain.calls = slept = Overslept(shop, other, "tip")
        turns = iter([True, False])

        def wait(_):
            shop.chain.mine(3)
            return next(turns)

        reports = list(shop.engine.follow("fake", wait=wait))
        assert slept.met == ["read"]
        assert [(report.outcome, report.blocks) for report in reports] == [("read", 3)]


class TestThreadsOfOneWorker:
    def test_one_of_them_reads_a_network_at_a_time(self, make_shop):
        shop = make_shop()
        shop.chain.mine(3)
        outcomes = []

        class Slow(list):
            def append(self, method):
                if method == "logs" and not outcomes:
                    outcomes.append("")
                    with ThreadPoolExecutor(1) as pool:
                        outcomes[0] = pool.submit(shop.engine.read_chain, "fake").result(timeout=30).outcome

        shop.chain.calls = Slow()
        assert (shop.engine.read_chain("fake").outcome, outcomes) == ("read", ["busy"])
        assert shop.engine.read_chain("fake").outcome == "idle"

    def test_one_that_fails_leaves_the_network_to_the_next(self, memory_shop):
        memory_shop.chain.mine(3)
        memory_shop.chain.fail(1)
        with pytest.raises(Exception, match="told to fail"):
            memory_shop.engine.read_chain("fake")
        assert memory_shop.engine.read_chain("fake").outcome == "read"


class TestOneNetworksTrouble:
    @pytest.fixture
    def two(self, any_shop):
        """A shop on two networks, each with a payment that has been mined, and an order that is over."""
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
        shop = any_shop(chains=chains, order_ttl=60)
        names = ("fake", "fake2")
        orders = {name: shop.checkout(name, user_id=name, network=name) for name in names}
        late = {name: shop.checkout(f"late-{name}", user_id=f"late-{name}", network=name) for name in names}
        for order in orders.values():
            shop.chains[order.order.chain_id].pay(order.order)
        for chain in chains:
            chain.mine(20)
        shop.catch_up()
        return shop, orders, late

    @staticmethod
    def failing(chain_id, *names):
        def hook(name, args, proceed):
            if name in names and args[0] == chain_id:
                raise RuntimeError("something that nobody expected")
            return proceed()

        return hook

    @pytest.mark.both_databases
    @pytest.mark.fault("O21")
    @pytest.mark.parametrize("chain_id", [31337, 10])
    def test_o21_an_intake_that_crashes_on_one_network_takes_in_the_others(self, two, chain_id):
        shop, orders, _ = two
        for name in orders:
            shop.engine.read_chain(name)
        shop.storage.hook = self.failing(chain_id, "claim_items")
        for _ in range(3):
            with pytest.raises(RuntimeError, match="nobody expected"):
                shop.engine.run_intake()
        shop.storage.hook = None
        healthy = {10: "fake", 31337: "fake2"}[chain_id]
        assert {name: shop.status(order) for name, order in orders.items() if shop.allowed(name)} == {healthy: "final"}
        assert shop.telemetry.total["network_failed"] == 3
        shop.intake()
        assert {shop.status(order) for order in orders.values()} == {"final"}

    @pytest.mark.fault("O21")
    @pytest.mark.parametrize("chain_id", [31337, 10])
    def test_o21_offers_of_one_network_end_while_another_crashes(self, two, chain_id):
        shop, orders, late = two
        for name in orders:
            shop.engine.read_chain(name)
        shop.intake()
        shop.storage.hook = self.failing(chain_id, "overdue_offers")
        with pytest.raises(RuntimeError):
            shop.engine.expire_orders()
        shop.storage.hook = None
        healthy = {10: "fake", 31337: "fake2"}[chain_id]
        assert [name for name, order in late.items() if shop.status(order) == "expired"] == [healthy]

    @pytest.mark.fault("O21")
    def test_o21_a_worker_may_be_kept_to_one_network(self, two):
        shop, orders, late = two
        for name in orders:
            shop.engine.read_chain(name)
        while shop.engine.run_intake(network="fake2").taken:
            pass
        assert (shop.allowed("fake"), shop.allowed("fake2")) == (False, True)
        assert shop.engine.expire_orders(network="fake2").expired == 1
        assert [shop.status(late[name]) for name in ("fake", "fake2")] == ["pending", "expired"]
        for work in (shop.engine.run_intake, shop.engine.expire_orders):
            with pytest.raises(UnknownNetwork):
                work(network="nowhere")

    @pytest.mark.fault("O21")
    def test_o21_hints_of_one_network_are_looked_for_while_another_hangs(self, two, monkeypatch):
        shop, orders, _ = two
        monkeypatch.setattr(webhooks, "LONGEST_READ", timedelta(seconds=1))
        engine = type(shop.engine)(
            storage=shop.storage,
            clock=shop.clock,
            secrets=shop.engine._ports.secrets,
            sources=lambda network: shop.chains[network.chain_id],
            relay_keys=parse_secrets(SECRET),
        )
        for name, order in orders.items():
            chain = shop.chains[order.order.chain_id]
            (executed,) = chain._ledger.blocks[1].executed
            send_hint(shop, engine, executed.transaction.hash, chain.chain_id, name)
        released = threading.Event()

        class Hanging(list):
            def append(self, method):
                assert released.wait(timeout=60), method

        shop.chain.calls = Hanging()
        report = engine.read_hints()
        assert (report.found, report.waiting) == (1, 1)
        shop.intake()
        assert (shop.allowed("fake"), shop.allowed("fake2")) == (False, True)
        shop.chain.calls = []
        released.set()
        for left in threading.enumerate():
            if left.name.startswith("lane-"):
                left.join(timeout=30)  # it goes on with the database, which the next test is lent


def send_hint(shop, engine, tx_hash, chain_id=31337, event_id="msg"):
    """A relay tells of a transaction."""
    body = json.dumps({"chain_id": chain_id, "tx_hash": "0x" + tx_hash.hex()}).encode()
    timestamp = str(int(shop.clock.now().timestamp()))
    signature = sign_webhook(parse_secrets(SECRET)[0], event_id, timestamp, body)
    headers = {"webhook-id": event_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    return engine.handle_webhook("relay", body, headers)


class TestTransactionsThatChangeOnTheirWay:
    @pytest.fixture
    def hinted(self, make_shop):
        """A shop whose relay told of a payment that is not mined yet."""
        shop = make_shop(order_ttl=7 * 86_400)
        shop = attrs.evolve(
            shop, engine=type(shop.engine)(
                storage=shop.storage,
                clock=shop.clock,
                ids=shop.engine._ports.ids,
                secrets=shop.engine._ports.secrets,
                sources=lambda network: shop.chains[network.chain_id],
                relay_keys=parse_secrets(SECRET),
            )
        )  # fmt: skip
        order = shop.checkout()
        sent = shop.chain.pay(order.order, nonce=7)
        send_hint(shop, shop.engine, sent)
        return shop, order, sent

    @staticmethod
    def look(shop, times):
        """Look for what was hinted at, at the first times of the schedule; return how often it was still not there."""
        waiting = 0
        for pause in RETRIES[:times]:
            waiting += shop.engine.read_hints().waiting
            shop.clock.advance(pause)
        return waiting

    @pytest.mark.fault("C10")
    def test_c10_a_replaced_transaction_is_found_by_its_reference_and_its_hint_ends(self, hinted):
        shop, order, sent = hinted
        assert self.look(shop, 3) == 3
        fast = shop.chain.replace(sent, *pay_call(order.order).logs())
        shop.chain.mine(3)
        shop.settle()
        assert shop.engine.order(order.ledger_id).order.completion.tx_hash == fast != sent
        dead = 0
        for _ in RETRIES:
            dead += shop.engine.read_hints().dead
            shop.clock.advance(timedelta(days=1))
        assert dead == 1
        assert (shop.status(order), len(shop.receipts(order))) == ("confirmed", 1)

    @pytest.mark.fault("C11")
    def test_c11_a_dropped_transaction_is_unknown_until_the_chain_says(self, hinted):
        shop, order, sent = hinted
        shop.chain.drop(sent)
        shop.chain.mine(5)
        assert self.look(shop, len(RETRIES)) == len(RETRIES)
        shop.settle()
        assert (shop.status(order), shop.engine.order(order.ledger_id).next) == ("pending", "pay")
        assert shop.types() == ["order.opened"]
        # Days later it is mined after all: the chain has said.
        shop.chain.resend(sent)
        shop.chain.mine(3)
        shop.catch_up()
        shop.settle()
        assert shop.status(order) == "confirmed"

    @pytest.mark.fault("C12")
    def test_c12_a_confirmation_that_comes_late_is_looked_for_on_a_schedule(self, hinted):
        shop, order, sent = hinted
        waited = self.look(shop, 4)
        shop.chain.mine(3)
        report = shop.engine.read_hints()
        shop.intake()
        assert (waited, report.found, shop.status(order)) == (4, 1, "confirmed")
        assert shop.placed(order) == [("order", None, "credited")]
        assert shop.receipts(order)[0].identity.tx_hash == sent

    @pytest.mark.parametrize("stored", [OrderStatus.SUBMITTED, OrderStatus.UNKNOWN])
    def test_what_was_sent_for_a_customer_stays_unknown_until_the_chain_says(self, make_shop, stored):
        shop = make_shop()
        order = shop.checkout()
        with shop.storage.unit() as unit:
            from evmbilling.domain.decisions import StoreOrder

            unit.apply([StoreOrder(attrs.evolve(order.order, status=stored, version=2))])
        shop.chain.mine(200)
        shop.catch_up()
        shop.settle()
        assert (shop.status(order), shop.engine.order(order.ledger_id).next) == (str(stored), "wait")
        assert address("wallet") == order.order.wallet
        shop.chain.pay(order.order)
        shop.mine(3)
        # Mined after its deadline here: the customer's credit, and the order is where it was.
        assert shop.placed(order) == [("credit", "late", "credited")]
