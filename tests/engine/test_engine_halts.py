"""A halted network: who lets it go on, upon which block, and what becomes of what was disputed meanwhile."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from engine_shop import OTHER_TOKEN, STRANGER, TOKEN, TREASURY, build_shop

from evmbilling.domain.actors import Actor, Role
from evmbilling.errors import (
    ChainMismatch,
    Conflict,
    InputError,
    PermissionDenied,
    RequestInProgress,
    RpcUnavailable,
    UnknownNetwork,
)
from evmbilling.testing.paid_logs import pay_call, transfer_log

ADMIN = Actor("anna", frozenset({Role.BILLING_ADMIN}))
OPS = Actor("olga", frozenset({Role.FINANCE_OPS}))
NOBODY = Actor("nobody")
IRREVERSIBLE = 5


def halted(shop, *, depth=8, kept=True, **how):
    """Make two payments final and let both blocks go; ``kept`` ones are mined again. Return both orders."""
    stays, goes = shop.checkout("a", user_id="stays"), shop.checkout("b", user_id="goes")
    stayed = shop.chain.pay(stays.order)
    shop.pay(goes, depth=depth)
    assert [shop.status(o) for o in (stays, goes)] == ["final", "final"]
    shop.chain.reorganise(depth, keep=[stayed] if kept else [], **how)
    shop.mine()
    assert shop.admin.cursors()[0].halt is not None
    return stays, goes


def now_there(shop):
    """Return the hash that the chain has at the contested height, as a person writes it."""
    (status,) = shop.engine.reader(OPS).status()
    return "0x" + shop.chain.header(status.contested.number).hash.hex()


def resume(shop):
    return shop.engine.reader(ADMIN).resume("fake", accept=now_there(shop))


def balanced(shop):
    report = shop.engine.verify()
    assert report.differences == ()
    return report


@pytest.fixture
def halting(make_shop):
    """A shop whose network halts at a reorg of more than five blocks."""
    return make_shop(irreversible_after=f"depth {IRREVERSIBLE}")


@pytest.mark.parametrize("disputed_access", [True, False])
def test_what_is_there_is_restored_and_what_is_not_is_reversed(any_shop, disputed_access):
    shop = any_shop(irreversible_after=f"depth {IRREVERSIBLE}", disputed_access=disputed_access)
    stays, goes = halted(shop)
    assert [shop.allowed(u) for u in ("stays", "goes")] == [disputed_access, disputed_access]
    done = resume(shop)
    assert (done.network, done.accepted.hash) == ("fake", shop.chain.header(done.accepted.number).hash)
    assert done.ancestor.hash == shop.chain.header(done.ancestor.number).hash
    shop.settle()
    assert shop.placed(stays) == [("order", None, "final")]
    assert shop.placed(goes) == [("order", None, "reversed")]
    assert [shop.status(o) for o in (stays, goes)] == ["final", "reversed"]
    assert [shop.allowed(u) for u in ("stays", "goes")] == [True, False]
    assert [shop.subscription(u).paid_periods for u in ("stays", "goes")] == [1, 0]
    assert shop.admin.cursors()[0].block == shop.chain.head
    balanced(shop)


def test_a_credit_that_is_there_never_closes_in_between(halting):
    halting.chain.mine(4)  # read in one go with what follows, so that nothing below the payment is known by its hash
    stays, _ = halted(halting, depth=15)
    done = resume(halting)
    assert done.ancestor.number < halting.receipts(stays)[0].evidence.block_number - 1
    seen = set()
    while halting.engine.read_chain("fake", max_blocks=1).blocks:
        halting.intake()
        seen.add((halting.status(stays), halting.allowed("stays"), halting.placed(stays)[0][2]))
    assert {(status, allowed) for status, allowed, _ in seen} == {("final", True)}
    assert {place for *_, place in seen} == {"disputed", "credited", "final"}
    assert "payment.reversed" not in halting.types("customer:stays")
    assert halting.plan_changes("customer:stays") == [(None, "pro", "payment")]


def test_a_credit_that_is_mined_again_later_is_restored_when_it_is_deep_enough(halting):
    order = halting.checkout()
    paid = halting.pay(order, depth=8)
    halting.chain.reorganise(8)
    halting.mine()
    resume(halting)
    halting.settle()
    assert (halting.status(order), halting.allowed()) == ("reversed", False)
    halting.chain.resend(paid)
    halting.mine(2)
    assert (halting.status(order), halting.allowed()) == ("confirming", False)
    halting.mine(IRREVERSIBLE)
    assert (halting.status(order), halting.allowed()) == ("final", True)
    balanced(halting)


def test_a_disputed_credit_in_a_young_block_waits_for_its_depth(halting):
    halting.mine(3)
    order = halting.checkout()
    paid = halting.pay(order, depth=IRREVERSIBLE + 1)
    halting.chain.reorganise(IRREVERSIBLE + 2, length=IRREVERSIBLE + 1)
    halting.chain.resend(paid)
    halting.mine()
    assert halting.placed(order) == [("order", None, "disputed")]
    resume(halting)
    halting.settle()
    assert halting.placed(order) == [("order", None, "disputed")]  # in the newest block, with one confirmation
    halting.mine(2)
    assert halting.placed(order) == [("order", None, "credited")]
    halting.mine(2)
    assert halting.placed(order) == [("order", None, "final")]
    balanced(halting)


def test_the_branch_that_we_had_can_come_back(halting):
    stays, goes = halted(halting)
    blocks = halting.chain._ledger.blocks
    halting.chain._ledger.blocks = blocks[:1]
    (status,) = halting.engine.reader(OPS).status()
    with pytest.raises(ChainMismatch):  # the node has no block at that height for the moment
        halting.engine.reader(ADMIN).resume("fake", accept="0x" + status.contested.hash.hex())
    halting.chain._ledger.blocks = blocks
    halting.chain.reorganise(9, keep=[r.identity.tx_hash for o in (stays, goes) for r in halting.receipts(o)])
    for order in (stays, goes):
        halting.chain.resend(halting.receipts(order)[0].identity.tx_hash)
    halting.chain.mine(8)
    resume(halting)
    halting.settle()
    assert [halting.placed(o) for o in (stays, goes)] == [[("order", None, "final")]] * 2
    balanced(halting)


@pytest.mark.parametrize("blocks", [7, 40, 600])
def test_the_doubt_goes_down_to_the_last_block_of_evidence_that_both_have(halting, blocks):
    old = halting.checkout("old", user_id="old")
    halting.pay(old, depth=blocks)
    new = halting.checkout("new", user_id="new")
    halting.pay(new, depth=30)
    block = halting.receipts(old)[0].evidence.block_number
    halting.chain.reorganise(35)
    halting.mine()
    (cursor,) = halting.admin.cursors()
    assert (cursor.halt.at_block, [halting.placed(o)[0][2] for o in (old, new)]) == (block, ["final", "disputed"])
    done = resume(halting)
    halting.settle()
    assert done.ancestor.number == block
    assert [halting.placed(o)[0][2] for o in (old, new)] == ["final", "reversed"]
    balanced(halting)


def test_the_node_is_asked_few_blocks_for_the_common_ground(halting):
    for i in range(60):
        halting.chain.pay(halting.checkout(f"k{i}", user_id=f"u{i}", plan="once").order)
        halting.chain.mine()
    halting.mine(IRREVERSIBLE)
    halting.chain.reorganise(64)
    halting.chain.mine()
    halting.chain.calls.clear()
    assert halting.engine.read_chain("fake").outcome == "halted"
    assert halting.chain.calls.count("header") < 30


def test_an_order_of_before_is_paid_after_it(halting):
    before = halting.checkout("before", user_id="late")
    halted(halting)
    assert halting.engine.order(before.ledger_id).next == "pay"
    resume(halting)
    halting.pay(before)
    assert (halting.status(before), halting.allowed("late")) == ("confirmed", True)
    balanced(halting)


def test_the_event_and_the_audit_say_who_accepted_what(halting):
    halted(halting)
    accept = now_there(halting)
    done = halting.engine.reader(ADMIN).resume("fake", accept=accept)
    events = sorted(halting.events(aggregate="network:fake"), key=lambda e: e.seq)
    assert [(e.seq, e.type) for e in events] == [(1, "billing.network.halted.v1"), (2, "billing.network.resumed.v1")]
    facts = {
        "network": "fake",
        "chain_id": 31337,
        "accepted": accept,
        "block": done.accepted.number,
        "read_from": done.ancestor.number + 1,
    }
    assert events[1].data == facts
    (entry,) = halting.admin.audit(object_="network:fake")[-1:]
    assert (entry.actor, entry.action, entry.changes) == ("anna", "network.resume", facts)
    # The number goes on counting when it halts again.
    halting.settle()
    halting.mine(IRREVERSIBLE)
    halting.reorganise(IRREVERSIBLE + 2)
    assert halting.events(type_="billing.network.halted.v1")[-1].seq == 3


def test_what_cannot_be_resumed_says_why_and_changes_nothing(halting):
    desk = halting.engine.reader(ADMIN)
    with pytest.raises(UnknownNetwork) as caught:
        desk.resume("nowhere", accept="0x" + "11" * 32)
    assert caught.value.field == "network"
    for wrong in ("", "0x12", "11" * 32, "0x" + "zz" * 32, None, 5):
        with pytest.raises(InputError) as caught:
            desk.resume("fake", accept=wrong)
        assert caught.value.field == "accept"
    with pytest.raises(Conflict) as caught:
        desk.resume("fake", accept="0x" + "11" * 32)
    assert caught.value.field == "network"
    halted(halting)
    before = halting.dump()
    (status,) = desk.status()
    canonical = now_there(halting)
    for wrong in ("11" * 32, status.contested.hash.hex()):
        with pytest.raises(Conflict) as caught:
            desk.resume("fake", accept="0x" + wrong)
        assert (caught.value.field, caught.value.details["canonical"]) == ("accept", canonical)
    for actor in (OPS, NOBODY):
        with pytest.raises(PermissionDenied):
            halting.engine.reader(actor).resume("fake", accept=canonical)
    with pytest.raises(PermissionDenied):
        halting.engine.reader(NOBODY).status()
    lease = halting.storage.acquire_lease("reader:31337", "somebody", 30)
    with pytest.raises(RequestInProgress) as caught:
        desk.resume("fake", accept=canonical)
    assert caught.value.retry_safe
    halting.storage.release_lease(lease)
    halting.chain.fail(1)
    with pytest.raises(RpcUnavailable):
        desk.resume("fake", accept=canonical)
    assert halting.dump() == before
    assert desk.resume("fake", accept=canonical).network == "fake"


def test_another_process_resumes_as_well(any_shop):
    shop = any_shop(irreversible_after=f"depth {IRREVERSIBLE}")
    stays, goes = halted(shop)
    other = build_shop(shop.storage, shop.clock, chains=list(shop.chains.values()), seed=9)
    resume(other)
    shop.settle()
    assert [shop.placed(o)[0][2] for o in (stays, goes)] == ["final", "reversed"]


def test_the_status_of_every_network_is_read_from_what_is_stored(halting):
    (status,) = halting.engine.reader(OPS).status()
    assert (status.network.name, status.cursor, status.lag, status.unavailable) == ("fake", None, None, None)
    order = halting.checkout()
    halting.pay(order, depth=8)
    halting.clock.advance(seconds=90)
    halting.chain.calls.clear()
    (status,) = halting.engine.reader(OPS).status()
    assert (status.cursor.block, status.lag) == (halting.chain.head, timedelta(seconds=90))
    assert (status.cursor.irreversible.number, status.contested, dict(status.parked)) == (4, None, {})
    halting.chain.reorganise(8)
    halting.mine()
    (status,) = halting.engine.reader(OPS).status()
    assert (status.unavailable, status.cursor.halt.reason) == ("halted", "reorg_below_irreversible")
    assert status.contested.number == 4
    assert halting.chain.calls.count("header") > 0
    halting.chain.calls.clear()
    halting.engine.reader(OPS).status()
    assert halting.chain.calls == []


class TestFinanceAndDisputedCredits:
    def test_a_disputed_credit_is_an_item_until_the_network_goes_on(self, halting):
        stays, goes = halted(halting)
        items = {i.ledger_id: i for i in halting.engine.finance(OPS).queue()}
        assert {(i.kind, i.reason) for i in items.values()} == {("disputed", "below_irreversible")}
        assert items.keys() == {stays.ledger_id, goes.ledger_id}
        resume(halting)
        halting.settle()
        assert [i.state for i in map(halting.engine.finance(OPS).item, (i.item_id for i in items.values()))] == [
            "withdrawn",
            "withdrawn",
        ]
        assert [(i.kind, i.ledger_id) for i in halting.engine.finance(OPS).queue()] == [("reversed", goes.ledger_id)]

    @pytest.mark.parametrize("disputed_access", [True, False])
    def test_finance_takes_a_credit_back_at_once_and_the_chain_may_restore_it(self, any_shop, disputed_access):
        shop = any_shop(irreversible_after=f"depth {IRREVERSIBLE}", disputed_access=disputed_access)
        stays, goes = halted(shop)
        items = {i.user_id: i for i in shop.engine.finance(OPS).queue()}
        for user in ("stays", "goes"):
            decided = shop.engine.finance(OPS).reverse(items[user].item_id, note="fraud is known")
            assert (decided.state, decided.ruling, decided.decided_by) == ("decided", "reverse", "olga")
            assert not shop.allowed(user)
        assert [shop.placed(o) for o in (stays, goes)] == [[("order", None, "reversed")]] * 2
        # A halted network cannot be proved, and nothing else is wrong.
        assert {d.code for d in shop.engine.verify().differences} == {"unproved"}
        resume(shop)
        shop.settle()
        assert [shop.placed(o)[0][2] for o in (stays, goes)] == ["final", "reversed"]
        assert [shop.allowed(u) for u in ("stays", "goes")] == [True, False]
        balanced(shop)

    def test_finance_believes_a_credit_and_access_opens_while_the_chain_stands_still(self, make_shop):
        shop = make_shop(irreversible_after=f"depth {IRREVERSIBLE}", disputed_access=False)
        stays, goes = halted(shop)
        items = {i.user_id: i for i in shop.engine.finance(OPS).queue()}
        for user in ("stays", "goes"):
            shop.engine.finance(OPS).accept(items[user].item_id)
        assert [shop.allowed(u) for u in ("stays", "goes")] == [True, True]
        assert {d.code for d in shop.engine.verify().differences} == {"unproved"}
        resume(shop)
        shop.settle()
        assert shop.placed(stays) == [("order", None, "final")]
        # What a person believed is not taken back without a person: the chain asks again.
        assert shop.placed(goes) == [("order", None, "disputed")]
        (item,) = shop.engine.finance(OPS).queue()
        assert (item.item_id, item.kind, item.ruling) == (items["goes"].item_id, "disputed", None)
        with pytest.raises(Conflict, match="does not show"):
            shop.engine.finance(OPS).accept(item.item_id)
        shop.engine.finance(OPS).reverse(item.item_id)
        assert (shop.status(goes), shop.allowed("goes")) == ("reversed", False)
        balanced(shop)

    def test_who_may_decide_and_that_once_is_enough(self, halting):
        halted(halting)
        one, two = halting.engine.finance(OPS).queue()
        for decide in (halting.engine.finance(ADMIN).accept, halting.engine.finance(NOBODY).reverse):
            with pytest.raises(PermissionDenied):
                decide(one.item_id)
        done = halting.engine.finance(OPS).reverse(one.item_id)
        before = halting.dump()
        assert halting.engine.finance(OPS).reverse(one.item_id) == done
        with pytest.raises(Conflict):
            halting.engine.finance(OPS).accept(one.item_id)
        with pytest.raises(Conflict):
            halting.engine.finance(OPS).acknowledge(two.item_id)
        assert halting.dump() == before
        entry = halting.admin.audit(object_=one.subject)[-1]
        assert (entry.actor, entry.action, entry.changes["item_id"]) == ("olga", "finance.reverse", one.item_id)
        resume(halting)
        halting.settle()
        with pytest.raises(Conflict):
            halting.engine.finance(OPS).accept(two.item_id)

    @pytest.mark.parametrize("ruling", ["accept", "reverse"])
    def test_money_of_nobody_is_disputed_and_ruled_on_too(self, halting, ruling):
        order = halting.checkout()
        halting.pay(order, reference=order.reference[:8] + bytes(24), depth=8)
        halting.chain.reorganise(8)
        halting.mine()
        (item,) = halting.engine.finance(OPS).queue()
        assert (item.kind, item.user_id) == ("disputed", None)
        getattr(halting.engine.finance(OPS), ruling)(item.item_id)
        expected = {"accept": ["suspense"], "reverse": []}[ruling]
        assert [i.kind for i in halting.engine.finance(OPS).queue()] == expected
        assert {d.code for d in halting.engine.verify().differences} == {"unproved"}


class TestFinanceAndChangedEvidence:
    """One transaction, one ordinal, other logs: a paying contract acts differently on another branch."""

    @staticmethod
    def change(shop, paid, order, *, depth=3):
        """Let the transaction pay another order in the blocks that come."""
        made = shop.chain._known[paid]
        call = pay_call(order.order, payer=made.sender)
        shop.chain._known[paid] = attrs.evolve(made, logs=call.logs(), calls=(call,))
        shop.chain.reorganise(depth)
        shop.chain.resend(paid)
        shop.chain.mine(3)

    @pytest.fixture
    def changed(self, any_shop):
        """A shop whose paid order lost its payment to another user's order, of another amount."""
        shop = any_shop()
        mine, theirs = shop.checkout("a", user_id="mine"), shop.checkout("b", user_id="theirs", plan="once")
        paid = shop.pay(mine, depth=3)
        assert shop.allowed("mine")
        self.change(shop, paid, theirs)
        shop.catch_up()
        shop.settle()
        assert (shop.allowed("mine"), shop.allowed("theirs")) == (False, False)
        balanced(shop)
        return shop, mine, theirs

    def test_accepted_it_counts_for_the_order_that_it_names_now(self, changed):
        shop, mine, theirs = changed
        (item,) = shop.engine.finance(OPS).queue()
        assert (item.kind, item.ledger_id) == ("evidence_changed", mine.ledger_id)
        shop.engine.finance(OPS).accept(item.item_id)
        balanced(shop)
        shop.mine()
        (receipt,) = shop.receipts(theirs)
        assert (receipt.amount, receipt.user_id) == (5_000_000, "theirs")
        assert shop.placed(theirs) == [("order", None, "credited")]
        assert (shop.allowed("mine"), shop.allowed("theirs", feature="book")) == (False, True)
        assert (shop.receipts(mine), shop.status(mine)) == ([], "reversed")
        assert shop.dump()["parked"] == []
        balanced(shop)
        shop.reorganise(4)
        assert not shop.allowed("theirs")
        balanced(shop)

    def test_reversed_the_money_is_suspense_that_a_person_can_assign(self, changed):
        shop, mine, theirs = changed
        (item,) = shop.engine.finance(OPS).queue()
        shop.engine.finance(OPS).reverse(item.item_id)
        balanced(shop)
        (receipt,) = shop.admin.unmatched_receipts()
        assert (receipt.amount, receipt.reason, receipt.user_id) == (5_000_000, "evidence_changed", None)
        (item,) = shop.engine.finance(OPS).queue()
        assert item.kind == "suspense"
        shop.engine.finance(OPS).assign(item.item_id, theirs.ledger_id)
        assert (shop.allowed("theirs"), shop.allowed("mine")) == (True, False)
        balanced(shop)
        assert shop.receipts(mine) == []

    def test_the_item_goes_when_the_old_content_comes_back_or_everything_is_gone(self, changed):
        shop, mine, _ = changed
        (item,) = shop.engine.finance(OPS).queue()
        shop.reorganise(3)
        assert shop.engine.finance(OPS).item(item.item_id).state == "withdrawn"
        with pytest.raises(Conflict):
            shop.engine.finance(OPS).accept(item.item_id)
        assert shop.placed(mine)[0][2] == "reversed"
        balanced(shop)

    @pytest.mark.parametrize(("ruling", "place"), [("accept", "order"), ("reverse", "suspense")])
    def test_a_final_credit_waits_disputed_for_a_person_however_long(self, halting, ruling, place):
        mine, theirs = halting.checkout("a", user_id="mine"), halting.checkout("b", user_id="theirs", plan="team")
        paid = halting.pay(mine, depth=8)
        self.change(halting, paid, theirs, depth=8)
        halting.chain.mine(8)
        halting.catch_up()
        halting.settle()
        resume(halting)
        halting.settle()
        for _ in range(3):
            assert (halting.status(mine), halting.allowed("mine")) == ("final", True)
            assert halting.placed(mine) == [("order", None, "disputed")]
            halting.clock.advance(hours=7)
            halting.settle()
        (item,) = halting.engine.finance(OPS).queue()
        assert item.kind == "evidence_changed"
        getattr(halting.engine.finance(OPS), ruling)(item.item_id)
        assert (halting.status(mine), halting.allowed("mine")) == ("reversed", False)
        assert halting.allowed("theirs") == (place == "order")
        with halting.storage.unit(write=False) as unit:
            (receipt,) = unit.all_receipts(after="", limit=10)
        assert (receipt.allocation, receipt.amount, receipt.status) == (place, 49_000_000, "final")
        balanced(halting)

    def test_what_was_decided_about_other_content_is_asked_anew(self, make_shop):
        shop = make_shop()
        paid = shop.chain.transfer(TOKEN, STRANGER, TREASURY, 70)
        shop.mine(3)
        shop.checkout("a", user_id="mine")
        (item,) = shop.engine.finance(OPS).queue()
        shop.engine.finance(OPS).credit(item.item_id, "mine")
        shop.chain._known[paid] = attrs.evolve(
            shop.chain._known[paid], logs=(transfer_log(TOKEN, STRANGER, TREASURY, 7),)
        )
        shop.chain.reorganise(3)
        shop.chain.resend(paid)
        shop.mine(3)
        (item,) = shop.engine.finance(OPS).queue()
        assert item.kind == "evidence_changed"
        shop.engine.finance(OPS).reverse(item.item_id)
        (item,) = shop.engine.finance(OPS).queue()
        assert (item.kind, item.amount, item.ruling) == ("suspense", 7, None)
        balanced(shop)

    def test_another_amount_of_a_plain_transfer_follows_the_decision(self, make_shop):
        shop = make_shop()
        paid = shop.chain.transfer(TOKEN, STRANGER, TREASURY, 70)
        shop.mine(3)
        made = shop.chain._known[paid]
        shop.chain._known[paid] = attrs.evolve(made, logs=(transfer_log(TOKEN, STRANGER, TREASURY, 7),))
        shop.chain.reorganise(3)
        shop.chain.resend(paid)
        shop.mine(3)
        balanced(shop)
        (item,) = shop.engine.finance(OPS).queue()
        assert (item.kind, item.amount) == ("evidence_changed", 70)
        shop.engine.finance(OPS).accept(item.item_id)
        balanced(shop)
        (receipt,) = shop.admin.unmatched_receipts()
        assert (receipt.amount, receipt.status) == (7, "credited")


def test_the_owners_own_transfer_may_change_on_another_branch(make_shop):
    shop = make_shop()
    sent = shop.chain.transfer(TOKEN, TREASURY, STRANGER, 70)
    shop.chain.give(TOKEN, TREASURY, 100)
    shop.mine(3)
    made = shop.chain._known[sent]
    for token, amount in ((TOKEN, 7), (OTHER_TOKEN, 7)):
        shop.chain._known[sent] = attrs.evolve(made, logs=(transfer_log(token, TREASURY, STRANGER, amount),))
        shop.chain.reorganise(3)
        shop.chain.resend(sent)
        shop.mine(3)
        expected = 7 if token == TOKEN else 0
        assert shop.dump()["parked"] == []
        codes = {(d.code, d.expected, d.found) for d in shop.engine.verify().differences}
        assert codes == {("unexplained_delta", str(-expected), str(100 - expected))}
