"""What a chain that changes its mind does to orders, money, access and events."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from engine_shop import OTHER_TOKEN, START, STRANGER, TREASURY, address

from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.paid_logs import pay_call, transfer_log

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

CREDIT, IRREVERSIBLE = 3, 20


def evidence(shop, order):
    """Return (number, block hash, log index) of the order's only receipt."""
    (receipt,) = shop.receipts(order)
    return receipt.evidence.block_number, receipt.evidence.block_hash, receipt.evidence.log_index


@pytest.mark.fault("C01")
def test_c01_a_reorg_before_credit_depth_leaves_the_order_unpaid(shop):
    order = shop.checkout()
    shop.pay(order, depth=CREDIT - 1)
    assert (shop.status(order), shop.allowed()) == ("confirming", False)
    shop.reorganise(CREDIT - 1)
    assert (shop.status(order), shop.allowed(), shop.engine.order(order.ledger_id).next) == ("pending", False, "pay")
    assert shop.types() == ["order.opened", "payment.seen"]
    assert shop.placed(order) == [("order", None, "gone")]


@pytest.mark.fault("C02")
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_c02_a_payment_mined_again_in_a_later_block_is_one_credit(memory_shop, depth):
    order = memory_shop.checkout()
    paid = memory_shop.pay(order, depth=depth)
    memory_shop.reorganise(depth)
    memory_shop.chain.mine(2)
    memory_shop.chain.resend(paid)
    memory_shop.mine(CREDIT)
    block = memory_shop.chain.block_of(paid)
    assert evidence(memory_shop, order)[:2] == (block.number, block.hash)
    assert memory_shop.placed(order) == [("order", None, "credited")]
    assert (memory_shop.status(order), memory_shop.allowed()) == ("confirmed", True)
    assert memory_shop.subscription().paid_periods == 1


@pytest.mark.fault("C03")
def test_c03_another_place_in_its_block_is_the_same_credit(memory_shop):
    first, second = memory_shop.checkout(), memory_shop.checkout(user_id="u2", wallet=address("second"))
    memory_shop.chain.pay(first.order)
    memory_shop.chain.pay(second.order)
    memory_shop.mine(2)
    before = evidence(memory_shop, second)
    memory_shop.reorganise(2, mode="reorder")
    after = evidence(memory_shop, second)
    assert before[2] == 3
    assert after[2] == 1
    memory_shop.mine(CREDIT)
    assert [memory_shop.placed(o) for o in (first, second)] == [[("order", None, "credited")]] * 2
    assert memory_shop.engine.order(second.ledger_id).order.completion.log_index == 1


@pytest.mark.fault("C03")
def test_c03_a_credit_keeps_its_access_when_only_its_block_changes(memory_shop):
    order = memory_shop.checkout()
    memory_shop.pay(order)
    events = memory_shop.types()
    memory_shop.reorganise(3, mode="reinclude")
    memory_shop.mine()
    assert (memory_shop.status(order), memory_shop.allowed()) == ("confirmed", True)
    assert memory_shop.types() == events
    block = memory_shop.chain.block_of(memory_shop.receipts(order)[0].identity.tx_hash)
    assert evidence(memory_shop, order)[:2] == (block.number, block.hash)
    assert memory_shop.engine.order(order.ledger_id).order.completion.block_hash == block.hash


@pytest.mark.fault("C03")
def test_c03_two_payments_of_one_order_keep_their_ordinals_apart(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.pay(order.order, order.order)
    memory_shop.mine(CREDIT)
    ordinals = [r.identity.ordinal for r in memory_shop.receipts(order)]
    assert ordinals == [1, 3]
    assert memory_shop.placed(order) == [("credit", "duplicate", "credited"), ("order", None, "credited")]


@pytest.mark.fault("C04")
@pytest.mark.parametrize("depth", [1, 2])
def test_c04_a_double_spend_before_credit_depth_is_never_confirmed(memory_shop, depth):
    order = memory_shop.checkout()
    memory_shop.pay(order, depth=depth)
    memory_shop.reorganise(depth, mode="double_spend")
    memory_shop.mine(IRREVERSIBLE)
    assert (memory_shop.status(order), memory_shop.allowed()) == ("pending", False)
    assert "payment.confirmed" not in memory_shop.types()


@pytest.mark.fault("C04")
def test_c04_a_double_spend_of_a_confirmed_payment_is_reversed_for_good(memory_shop):
    order = memory_shop.checkout()
    paid = memory_shop.pay(order)
    memory_shop.reorganise(3, mode="double_spend")
    assert (memory_shop.status(order), memory_shop.allowed()) == ("reversed", False)
    memory_shop.chain.resend(paid)
    memory_shop.mine(IRREVERSIBLE)
    assert (memory_shop.status(order), memory_shop.allowed()) == ("reversed", False)
    assert memory_shop.placed(order) == [("order", None, "reversed")]


@pytest.mark.fault("C05")
@pytest.mark.parametrize("plan", ["pro", "once"])
def test_c05_a_reorg_deeper_than_credit_after_reverses_and_mining_again_restores(shop, plan):
    order = shop.checkout(plan=plan)
    paid = shop.pay(order, depth=10)
    assert (shop.status(order), shop.allowed()) == ("confirmed", True)
    shop.reorganise(10)
    assert (shop.status(order), shop.allowed()) == ("reversed", False)
    shop.chain.resend(paid)
    shop.mine()
    assert (shop.status(order), shop.allowed()) == ("confirming", False)
    shop.mine(2)
    assert (shop.status(order), shop.allowed()) == ("confirmed", True)
    assert shop.plan_changes() == [(None, plan, "payment"), (plan, None, "reversal"), (None, plan, "payment")]
    (receipt,) = shop.receipts(order)
    with shop.storage.unit(write=False) as unit:
        kinds = [entry.kind for entry in unit.entries(receipt.receipt_id)]
    assert kinds == ["seen", "credited", "reversed", "seen", "credited"]


@pytest.mark.fault("C05")
def test_c05_the_anchor_moves_with_a_payment_until_it_is_final(memory_shop):
    order = memory_shop.checkout()
    memory_shop.clock.advance(minutes=10)  # or else what we saw would bound the anchor
    paid = memory_shop.pay(order)
    first = memory_shop.subscription().anchor
    memory_shop.reorganise(3)
    assert (memory_shop.subscription().status, memory_shop.subscription().anchor) == ("incomplete", None)
    memory_shop.chain.mine(5)
    memory_shop.chain.resend(paid)
    memory_shop.mine(CREDIT)
    moved = memory_shop.subscription().anchor
    assert moved == memory_shop.chain.block_of(paid).timestamp > first
    memory_shop.mine(IRREVERSIBLE)
    assert (memory_shop.status(order), memory_shop.subscription().anchor) == ("final", moved)


@pytest.mark.fault("C05")
def test_c05_a_reversed_first_period_takes_the_next_one_with_it_and_gives_it_back(memory_shop):
    first = memory_shop.checkout()
    paid = memory_shop.pay(first)
    memory_shop.pay(memory_shop.checkout("k2"))
    assert memory_shop.subscription().paid_periods == 2
    second = memory_shop.engine.orders("u1")[0].ledger_id
    memory_shop.reorganise(6, keep=[r.identity.tx_hash for r in memory_shop.engine.receipts(second)])
    assert (memory_shop.subscription().paid_periods, memory_shop.allowed()) == (0, False)
    memory_shop.chain.resend(paid)
    memory_shop.mine(CREDIT)
    assert (memory_shop.subscription().paid_periods, memory_shop.allowed()) == (2, True)


@pytest.mark.fault("C08")
def test_c08_depth_counts_for_the_block_that_holds_the_payment_now(memory_shop):
    order = memory_shop.checkout()
    paid = memory_shop.pay(order, depth=1)
    memory_shop.chain.reorganise(1)
    memory_shop.chain.mine(4)  # were depth counted from the old height, it would be reached
    memory_shop.catch_up()
    memory_shop.settle()
    assert (memory_shop.status(order), memory_shop.allowed()) == ("pending", False)
    memory_shop.chain.resend(paid)
    seen = []
    for _ in range(3):
        memory_shop.mine()
        seen.append(memory_shop.status(order))
    assert seen == ["confirming", "confirming", "confirmed"]


@pytest.mark.fault("C09")
@pytest.mark.parametrize("k", [1, 2, 3, 12])
def test_c09_confirmed_at_exactly_k_confirmations(make_shop, k):
    shop = make_shop(credit_after=f"depth {k}", irreversible_after=f"depth {k + 2}")
    order = shop.checkout()
    shop.chain.pay(order.order)
    seen = {}
    for confirmations in range(1, k + 4):
        shop.mine()
        seen[confirmations] = shop.status(order)
    expected = dict.fromkeys(range(1, k), "confirming") | {k: "confirmed", k + 1: "confirmed", k + 2: "final"}
    assert seen == expected | {k + 3: "final"}


@pytest.mark.fault("C09")
def test_c09_a_reader_that_was_away_sees_the_same(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.pay(order.order)
    memory_shop.mine(IRREVERSIBLE)
    assert memory_shop.status(order) == "final"
    assert memory_shop.types()[1:4] == ["payment.seen", "payment.confirmed", "payment.final"]


def test_a_payment_that_comes_back_late_is_late(make_shop):
    shop = make_shop(order_ttl=60)
    order = shop.checkout()
    paid = shop.pay(order)
    shop.reorganise(3)
    shop.mine(6)
    shop.chain.resend(paid)
    shop.mine(CREDIT)
    assert shop.chain.block_of(paid).timestamp > order.deadline
    assert shop.placed(order) == [("credit", "late", "credited")]
    assert (shop.status(order), shop.allowed()) == ("expired", False)


def test_a_duplicate_takes_the_place_of_a_payment_that_disappears(memory_shop):
    order = memory_shop.checkout()
    memory_shop.pay(order, nonce=0, depth=1)
    second = memory_shop.pay(order, nonce=1, depth=3)
    assert memory_shop.placed(order) == [("credit", "duplicate", "credited"), ("order", None, "credited")]
    memory_shop.reorganise(4, keep=[second])
    memory_shop.mine(CREDIT)
    assert memory_shop.placed(order) == [("order", None, "credited"), ("order", None, "reversed")]
    assert memory_shop.allowed()


def test_an_expired_order_is_restored_by_a_payment_mined_again_in_time(make_shop):
    shop = make_shop(order_ttl=60)
    order = shop.checkout()
    paid = shop.chain.pay(order.order)
    shop.chain.drop(paid)
    shop.mine(8)
    assert shop.status(order) == "expired"
    shop.chain.reorganise(8, length=1)
    shop.chain.resend(paid)
    shop.mine(9)
    assert shop.chain.block_of(paid).timestamp <= order.deadline
    assert (shop.status(order), shop.allowed()) == ("confirmed", True)
    # … and when that payment disappears as well, access closes again.
    shop.reorganise(9)
    assert (shop.status(order), shop.allowed()) == ("reversed", False)
    assert shop.dump()["parked"] == []


def test_money_that_was_paid_twice_over_a_reorg_is_credit_not_lost(make_shop):
    shop = make_shop(order_ttl=60)
    first = shop.checkout()
    paid = shop.pay(first)
    shop.reorganise(3)
    shop.mine(8)
    second = shop.checkout("k2")
    assert second.ledger_id != first.ledger_id
    again = shop.pay(second)
    shop.chain.reorganise(shop.chain.head.number - 1, keep=[again], length=1)
    shop.chain.resend(paid)
    shop.mine(8)
    assert shop.chain.block_of(paid).timestamp <= first.deadline
    assert sorted(shop.placed(first) + shop.placed(second)) == [
        ("credit", "period_paid", "credited"),
        ("order", None, "credited"),
    ]
    assert (shop.subscription().paid_periods, shop.allowed()) == (1, True)


class TestAMovementThatSaysSomethingElse:
    """A paying contract may act differently on another branch: one transaction, one ordinal, other logs."""

    @pytest.mark.parametrize("users", [("rich", "poor"), ("same", "same")])
    def test_another_reference_takes_the_support_away(self, memory_shop, users):
        dear = memory_shop.checkout("a", plan="team", user_id=users[0])
        cheap = memory_shop.checkout("b", plan="once", user_id=users[1])
        memory_shop.pay(dear, depth=1)
        self.rewrite(memory_shop, pay_call(cheap.order).paid_log())
        memory_shop.reorganise(1, mode="reinclude")
        memory_shop.mine(IRREVERSIBLE)
        assert (memory_shop.status(dear), memory_shop.status(cheap)) == ("pending", "pending")
        assert not any(memory_shop.allowed(user) for user in users)
        assert [row["reason"] for row in memory_shop.dump()["parked"]] == ["evidence_changed"]

    def test_another_reference_alone_is_enough(self, memory_shop):
        mine, theirs = memory_shop.checkout(user_id="me"), memory_shop.checkout(user_id="them")
        memory_shop.pay(mine)
        self.rewrite(memory_shop, pay_call(theirs.order).paid_log())
        memory_shop.reorganise(3, mode="reinclude")
        memory_shop.mine(CREDIT)
        assert (memory_shop.status(mine), memory_shop.allowed("me")) == ("reversed", False)

    @pytest.mark.parametrize(
        "changes", [{"amount": 1}, {"treasury": STRANGER}, {"token": OTHER_TOKEN}, {"payer": STRANGER}], ids=str
    )
    def test_other_values_take_credited_access_away(self, memory_shop, changes):
        order = memory_shop.checkout()
        memory_shop.pay(order)
        self.rewrite(memory_shop, pay_call(order.order, **changes).paid_log())
        memory_shop.reorganise(3, mode="reinclude")
        memory_shop.mine(CREDIT)
        assert (memory_shop.status(order), memory_shop.allowed()) == ("reversed", False)

    def test_suspense_that_names_an_order_in_the_end_stays_with_a_person(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.pay(order, reference=order.reference[:8] + bytes(24))
        self.rewrite(memory_shop, pay_call(order.order).paid_log())
        memory_shop.reorganise(3, mode="reinclude")
        memory_shop.mine(IRREVERSIBLE)
        assert [r.reason for r in memory_shop.admin.unmatched_receipts()] == ["no_order"]
        assert (memory_shop.status(order), memory_shop.dump()["parked"]) == ("pending", [])

    def test_the_old_content_restores_it(self, memory_shop):
        order = memory_shop.checkout()
        memory_shop.pay(order)
        self.rewrite(memory_shop, pay_call(order.order, amount=1).paid_log())
        memory_shop.reorganise(3, mode="reinclude")
        assert not memory_shop.allowed()
        memory_shop.source.rewrite = None
        memory_shop.reorganise(3, mode="reinclude")
        memory_shop.mine(CREDIT)
        assert memory_shop.allowed()

    @staticmethod
    def rewrite(shop, log):
        known = {shop.chain.head.hash}
        number = shop.chain.head.number
        while shop.chain.header(number - 1) and number > 0:
            number -= 1
            known.add(shop.chain.header(number).hash)
        shop.source.rewrite = lambda found: (
            found if found.block_hash in known else attrs.evolve(found, topics=log.topics, data=log.data)
        )


def test_suspense_follows_its_block(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.pay(order.order, reference=order.reference[:8] + bytes(24))
    memory_shop.mine(3)
    assert [(r.evidence.block_number, r.reason) for r in memory_shop.admin.unmatched_receipts()] == [(1, "no_order")]
    memory_shop.reorganise(3, mode="reorder")
    (receipt,) = memory_shop.admin.unmatched_receipts()
    assert receipt.evidence.block_number == 3
    assert receipt.evidence.block_hash == memory_shop.chain.block_of(receipt.identity.tx_hash).hash


class TestBelowTheIrreversibleHeight:
    @pytest.mark.parametrize("after", [0, 4, 30])
    def test_the_network_halts_and_its_credits_are_disputed(self, make_shop, after):
        shop = make_shop(irreversible_after="depth 5")
        order = shop.checkout()
        shop.pay(order, depth=5)
        assert shop.status(order) == "final"
        if after:
            shop.mine(after)
        shop.chain.reorganise(5 + after)
        shop.mine()
        assert shop.engine.read_chain("fake").outcome == "halted"
        assert shop.placed(order) == [("order", None, "disputed")]
        assert (shop.status(order), shop.allowed()) == ("final", True)
        (event,) = shop.events(type_="billing.network.halted.v1")
        assert (event.aggregate, event.seq, event.data["network"]) == ("network:fake", 1, "fake")
        assert shop.dump()["parked"] == []

    def test_access_closes_where_the_policy_says_so(self, make_shop):
        shop = make_shop(irreversible_after="depth 5", disputed_access=False)
        for i, plan in enumerate(("pro", "once")):
            shop.pay(shop.checkout(f"k{i}", plan=plan), depth=1)
        shop.mine(4)
        shop.chain.reorganise(6)
        shop.mine()
        verdict = shop.engine.access("u1", "saas")
        assert (verdict.allowed, verdict.reason) == (False, "disputed")
        assert shop.engine.access("u1", "book").reason == "disputed"
        assert [c for c in shop.plan_changes() if c[1] is None] == [
            ("pro", None, "reversal"),
            ("once", None, "reversal"),
        ]

    def test_credits_below_the_last_block_that_both_have_are_left_alone(self, make_shop):
        shop = make_shop(irreversible_after="depth 5", disputed_access=False)
        old, new = shop.checkout("a", user_id="old"), shop.checkout("b", user_id="new")
        shop.pay(old, depth=4)
        shop.pay(new, depth=5)
        shop.chain.reorganise(5)
        shop.mine()
        assert shop.engine.read_chain("fake").outcome == "halted"
        assert [shop.placed(o)[0][2] for o in (old, new)] == ["final", "disputed"]
        assert (shop.allowed("old"), shop.allowed("new")) == (True, False)

    def test_the_reader_stands_still_and_the_other_network_goes_on(self, make_shop):
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
        shop = make_shop(chains=chains, irreversible_after="depth 5")
        one = shop.checkout("a", user_id="one", network="fake")
        two = shop.checkout("b", user_id="two", network="fake2")
        shop.pay(one, depth=5)
        chains[0].reorganise(5)
        chains[0].mine()
        shop.catch_up()
        shop.settle()
        block = shop.admin.cursors()[0].block.number
        shop.pay(two, depth=5)
        assert (shop.status(two), shop.allowed("two")) == ("final", True)
        chains[0].mine(10)
        assert shop.engine.read_chain("fake").outcome == "halted"
        cursors = {c.chain_id: c for c in shop.admin.cursors()}
        assert cursors[31337].halt is not None
        assert cursors[31337].block.number == 5
        assert (cursors[10].halt, cursors[10].block.number) == (None, block + 5)
        assert len(shop.events(type_="billing.network.halted.v1")) == 1

    def test_another_networks_payment_does_not_reopen_disputed_access(self, make_shop):
        chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
        shop = make_shop(chains=chains, irreversible_after="depth 5", disputed_access=False)
        shop.pay(shop.checkout("a", network="fake"), depth=5)
        chains[0].reorganise(5)
        chains[0].mine()
        shop.catch_up()
        shop.settle()
        assert shop.engine.access("u1").reason == "disputed"
        shop.pay(shop.checkout("b", network="fake2"), depth=5)
        assert shop.engine.access("u1").reason == "disputed"

    def test_orders_of_a_halted_network_do_not_expire(self, make_shop):
        shop = make_shop(irreversible_after="depth 5", order_ttl=60)
        order = shop.checkout()
        shop.chain.mine(20)
        shop.catch_up()
        shop.engine.read_chain("fake")
        assert shop.admin.cursors()[0].block.timestamp > order.deadline
        shop.chain.reorganise(20)
        shop.mine(10)
        assert shop.admin.cursors()[0].halt is not None
        shop.clock.advance(days=1)
        shop.settle()
        assert shop.status(order) == "pending"

    def test_the_deepest_reorg_that_is_allowed_does_not_halt(self, make_shop):
        shop = make_shop(irreversible_after="depth 5")
        shop.mine(3)
        order = shop.checkout()
        paid = shop.pay(order, depth=4)
        shop.reorganise(4)
        assert (shop.status(order), shop.admin.cursors()[0].halt) == ("reversed", None)
        shop.chain.resend(paid)
        shop.mine(5)
        assert shop.status(order) == "final"


def test_a_token_transfer_without_our_event_is_nothing(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.send(transfer_log(order.asset.token, order.order.wallet, TREASURY, order.amount))
    memory_shop.mine(IRREVERSIBLE)
    assert memory_shop.status(order) == "pending"
    assert memory_shop.engine.run_intake().taken == 0


def test_blocks_in_which_time_goes_back_are_read(make_shop):
    shop = make_shop(order_ttl=60)
    order = shop.checkout()
    shop.chain.mine(2, seconds=100)
    shop.chain.pay(order.order)
    shop.chain.mine(timestamp=START + timedelta(seconds=30))
    shop.mine(2, timestamp=START + timedelta(seconds=300))
    assert (shop.status(order), shop.allowed()) == ("confirmed", True)
