"""Which movements on chain count for which order, and which for none."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from engine_shop import CONTRACT, OTHER_TOKEN, PRICE, START, STRANGER, TREASURY, address

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.decisions import RecordChange, StoreSubscription
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.subscriptions import SubscriptionChange
from evmbilling.errors import WrongChain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.paid_logs import FakeLog, pay_call, transfer_log

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

CREDITED = [("order", None, "credited")]


@pytest.mark.fault("C10")
def test_c10_a_payment_that_is_sped_up_is_matched_by_its_reference(memory_shop):
    order = memory_shop.checkout()
    slow = memory_shop.chain.pay(order.order, nonce=7)
    fast = memory_shop.chain.replace(slow, *pay_call(order.order).logs())
    memory_shop.mine(3)
    assert memory_shop.placed(order) == CREDITED
    assert memory_shop.engine.order(order.ledger_id).order.completion.tx_hash == fast != slow


@pytest.mark.fault("C10")
def test_c10_a_payment_that_is_cancelled_by_its_sender_never_counts(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.replace(memory_shop.chain.pay(order.order))
    memory_shop.mine(5)
    assert (memory_shop.status(order), memory_shop.engine.order(order.ledger_id).next) == ("pending", "pay")


@pytest.mark.fault("C11")
def test_c11_a_dropped_transaction_leaves_the_order_payable(memory_shop):
    order = memory_shop.checkout()
    paid = memory_shop.chain.pay(order.order)
    memory_shop.chain.drop(paid)
    memory_shop.mine(5)
    again = memory_shop.checkout()
    assert (again.status, again.next, again.payload) == ("pending", "pay", order.payload)
    memory_shop.chain.resend(paid)
    memory_shop.mine(3)
    assert memory_shop.status(order) == "confirmed"


@pytest.mark.fault("C12")
def test_c12_a_pending_transaction_never_changes_anything(memory_shop):
    order = memory_shop.checkout()
    before = memory_shop.dump()
    memory_shop.chain.pay(order.order)
    for _ in range(3):
        memory_shop.settle()
    after = memory_shop.dump()
    assert {k: v for k, v in after.items() if k != "cursors"} == {k: v for k, v in before.items() if k != "cursors"}
    assert memory_shop.status(order) == "pending"


@pytest.mark.fault("C13", "S22")
@pytest.mark.parametrize("payer", [STRANGER, TREASURY])
def test_c13_s22_a_payer_whom_the_order_does_not_name_is_suspense(memory_shop, payer):
    order = memory_shop.checkout()
    memory_shop.pay(order, payer=payer)
    assert memory_shop.placed(order) == [("suspense", "wrong_payer", "credited")]
    assert (memory_shop.status(order), memory_shop.allowed()) == ("pending", False)
    assert [r.reason for r in memory_shop.admin.unmatched_receipts()] == ["wrong_payer"]


@pytest.mark.fault("C13")
def test_c13_somebody_elses_payment_opens_nothing_for_me(memory_shop):
    mine, theirs = memory_shop.checkout(user_id="me"), memory_shop.checkout(user_id="them", wallet=STRANGER)
    memory_shop.pay(theirs)
    assert (memory_shop.allowed("me"), memory_shop.allowed("them")) == (False, True)
    assert memory_shop.receipts(mine) == []


@pytest.mark.fault("C14")
def test_c14_one_movement_counts_for_one_order_only(memory_shop):
    first, second = memory_shop.checkout(plan="once"), memory_shop.checkout("k2", plan="once")
    paid = memory_shop.pay(first)
    for _ in range(3):
        memory_shop.reorganise(2)
        memory_shop.mine(3)
    assert [r.identity.tx_hash for r in memory_shop.receipts(first)] == [paid]
    assert (memory_shop.status(first), memory_shop.status(second)) == ("confirmed", "pending")


@pytest.mark.fault("C15")
def test_c15_one_transaction_may_pay_two_orders(shop):
    first, second = shop.checkout(), shop.checkout(user_id="u2")
    paid = shop.chain.pay(first.order, second.order)
    shop.mine(3)
    assert [shop.placed(o) for o in (first, second)] == [CREDITED, CREDITED]
    assert (shop.allowed("u1"), shop.allowed("u2")) == (True, True)
    ordinals = [shop.receipts(o)[0].identity.ordinal for o in (first, second)]
    assert ordinals == [1, 3]
    assert {shop.receipts(o)[0].identity.tx_hash for o in (first, second)} == {paid}


@pytest.mark.fault("C22")
def test_c22_one_contract_address_on_two_chains_is_two_contracts(make_shop):
    chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
    shop = make_shop(chains=chains)
    order = shop.checkout(network="fake2")
    assert order.order.chain_id == 10
    chains[0].pay(order.order)
    shop.mine(3, chain=chains[0])
    assert shop.status(order) == "pending"
    (receipt,) = shop.receipts(order)
    assert (receipt.allocation, receipt.reason, receipt.identity.chain_id) == ("suspense", "wrong_chain", 31337)
    chains[1].pay(order.order)
    shop.mine(3, chain=chains[1])
    assert (shop.status(order), shop.allowed()) == ("confirmed", True)


@pytest.mark.fault("C23")
def test_c23_a_test_network_is_marked_and_a_node_of_another_chain_is_refused(memory_shop):
    (network,) = memory_shop.admin.networks()
    assert (network.testnet, network.chain_id) == (True, 31337)
    order = memory_shop.checkout()
    memory_shop.pay(order, depth=1)
    before = memory_shop.dump()
    memory_shop.chain.wrong_chain(1)
    memory_shop.chain.mine(5)
    with pytest.raises(WrongChain):
        memory_shop.engine.read_chain("fake")
    assert memory_shop.dump() == before
    memory_shop.chain.heal()
    memory_shop.settle()
    assert memory_shop.status(order) == "confirmed"


@pytest.mark.fault("C26")
def test_c26_a_payment_between_the_first_look_and_the_watch_set_is_found(memory_shop):
    order = memory_shop.checkout()
    paid = []

    def pay_while_reading(name, _, proceed):
        if name == "contracts" and not paid:
            paid.append(memory_shop.chain.pay(order.order))
            memory_shop.chain.mine()
        return proceed()

    memory_shop.storage.hook = pay_while_reading
    memory_shop.settle()
    memory_shop.storage.hook = None
    memory_shop.mine(2)
    assert memory_shop.status(order) == "confirmed"


@pytest.mark.fault("C26")
@pytest.mark.parametrize("start_block", [None, 0, 1, 3, 4])
def test_c26_reading_begins_where_it_is_told_to(make_shop, start_block):
    shop = make_shop(start_block=start_block)
    order = shop.checkout()
    shop.chain.mine(2)
    shop.chain.pay(order.order)  # in block 3
    shop.mine(5)
    assert shop.status(order) == ("pending" if start_block == 4 else "confirmed")


def test_a_contract_without_code_before_it_is_nothing_to_watch(make_shop):
    shop = make_shop(start_block=50)
    assert shop.engine.read_chain("fake").outcome == "nothing_to_watch"
    shop.chain.mine(60)
    assert shop.engine.read_chain("fake").blocks == 11


@pytest.mark.fault("T03")
def test_t03_an_event_of_another_contract_is_not_even_seen(memory_shop):
    """What is seen is the token's own transfer, which names no order."""
    order = memory_shop.checkout()
    memory_shop.pay(order, contract=STRANGER)
    assert (memory_shop.status(order), memory_shop.receipts(order)) == ("pending", [])
    assert [r.reason for r in memory_shop.admin.unmatched_receipts()] == ["unknown_payer"]


@pytest.mark.fault("T03", "S22")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token": OTHER_TOKEN}, "wrong_token"),
        ({"token": NATIVE_COIN, "native": True}, "wrong_token"),
        ({"treasury": STRANGER}, "wrong_treasury"),
        ({"token": OTHER_TOKEN, "treasury": STRANGER}, "wrong_token"),
    ],
    ids=str,
)
def test_t03_s22_our_event_with_other_values_gives_no_access(memory_shop, changes, reason):
    order = memory_shop.checkout()
    memory_shop.pay(order, depth=20, **changes)
    assert memory_shop.placed(order) == [("suspense", reason, "final")]
    assert (memory_shop.status(order), memory_shop.allowed()) == ("pending", False)
    assert memory_shop.types() == ["order.opened", "payment.unmatched"]


@pytest.mark.fault("T03")
def test_t03_a_second_bound_contract_cannot_speak_for_the_first(memory_shop):
    memory_shop.admin.create_contract(slug="co2", network="fake", address=STRANGER)
    order = memory_shop.checkout()
    memory_shop.pay(order, contract=STRANGER)
    assert memory_shop.placed(order) == [("suspense", "wrong_contract", "credited")]
    assert not memory_shop.allowed()


GARBAGE = {
    "no data": lambda log: attrs.evolve(log, data=b""),
    "short data": lambda log: attrs.evolve(log, data=log.data[:-1]),
    "long data": lambda log: attrs.evolve(log, data=log.data + bytes(32)),
    "few topics": lambda log: attrs.evolve(log, topics=log.topics[:3]),
    "first topic only": lambda log: attrs.evolve(log, topics=log.topics[:1]),
    "dirty address": lambda log: attrs.evolve(log, data=b"\xff" * 32 + log.data[32:]),
    "dirty payer": lambda log: attrs.evolve(log, topics=(*log.topics[:3], b"\xff" * 32)),
    "other event": lambda log: attrs.evolve(log, topics=(bytes(32), *log.topics[1:])),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_log_that_cannot_be_read_harms_nobody(memory_shop, name):
    order = memory_shop.checkout()
    other = memory_shop.checkout(user_id="u2")
    bad = GARBAGE[name](pay_call(order.order).paid_log())
    memory_shop.chain.send(bad)
    memory_shop.pay(other)
    assert (memory_shop.status(order), memory_shop.receipts(order)) == ("pending", [])
    assert memory_shop.allowed("u2")
    assert memory_shop.dump()["parked"] == []


def test_a_foreign_reference_is_counted_and_left_alone(memory_shop):
    order = memory_shop.checkout()
    memory_shop.pay(order, reference=b"\xee" * 32)
    assert memory_shop.admin.unmatched_receipts() == []
    assert memory_shop.telemetry.labels[("evidence_ignored", "foreign_reference")] == 1
    assert memory_shop.types() == ["order.opened"]


def test_our_reference_without_an_order_is_suspense(memory_shop):
    order = memory_shop.checkout()
    memory_shop.pay(order, reference=order.reference[:8] + bytes(24), depth=20)
    (receipt,) = memory_shop.admin.unmatched_receipts()
    assert (receipt.reason, receipt.ledger_id, receipt.amount) == ("no_order", None, PRICE)
    assert (receipt.asset.symbol, receipt.status, receipt.payer) == ("USDC", "final", address("wallet"))
    memory_shop.reorganise(3)
    assert len(memory_shop.admin.unmatched_receipts()) == 1


def test_huge_amounts_are_kept_exactly(shop):
    amount = 2**256 - 1
    order = shop.checkout()
    shop.pay(order, amount=amount)
    (receipt,) = shop.receipts(order)
    assert (receipt.amount, shop.status(order)) == (amount, "confirmed")
    (event,) = shop.events(type_="billing.payment.seen.v1")
    assert event.data["received"] == str(amount)


@pytest.mark.parametrize(("amount", "status"), [(PRICE - 1, "partially_paid"), (PRICE, "confirmed"), (0, "pending")])
def test_a_base_unit_too_little_is_too_little(memory_shop, amount, status):
    order = memory_shop.checkout()
    memory_shop.pay(order, amount=amount)
    assert (memory_shop.status(order), memory_shop.allowed()) == (status, status == "confirmed")


@pytest.mark.parametrize("parts", [(PRICE - 1, 1), (1, PRICE - 1), (1, 1, PRICE - 2), (PRICE - 2, 1, 1)])
def test_parts_complete_an_order_in_any_order(memory_shop, parts):
    order = memory_shop.checkout()
    for part in parts[:-1]:
        memory_shop.pay(order, amount=part)
        assert (memory_shop.status(order), memory_shop.allowed()) == ("partially_paid", False)
        assert memory_shop.engine.order(order.ledger_id).next == "pay"
    last = memory_shop.pay(order, amount=parts[-1])
    assert memory_shop.allowed()
    assert memory_shop.engine.order(order.ledger_id).order.completion.tx_hash == last


@pytest.mark.fault("B05")
@pytest.mark.parametrize("nonces", [(0, 1), (1, 0), (3, 9)])
def test_b05_the_second_payment_of_an_order_is_the_customers_credit(memory_shop, nonces):
    order = memory_shop.checkout()
    first = memory_shop.chain.pay(order.order, nonce=nonces[0])
    memory_shop.chain.mine()
    second = memory_shop.chain.pay(order.order, nonce=nonces[1])
    memory_shop.mine(3)
    placed = {r.identity.tx_hash: (r.allocation, r.reason) for r in memory_shop.receipts(order)}
    assert placed == {first: ("order", None), second: ("credit", "duplicate")}
    assert memory_shop.subscription().paid_periods == 1
    (event,) = memory_shop.events(type_="billing.payment.unmatched.v1")
    assert (event.data["allocation"], event.data["reason"]) == ("credit", "duplicate")


@pytest.mark.fault("B11")
def test_b11_two_users_with_one_amount_are_never_mixed_up(memory_shop):
    orders = [memory_shop.checkout(user_id=f"u{i}") for i in range(5)]  # one wallet, one amount, one plan
    memory_shop.pay(orders[3])
    assert [memory_shop.allowed(f"u{i}") for i in range(5)] == [False, False, False, True, False]
    memory_shop.chain.send(transfer_log(orders[0].asset.token, address("wallet"), TREASURY, PRICE))
    memory_shop.mine(20)
    assert [memory_shop.status(o) for o in orders] == ["pending"] * 3 + ["final", "pending"]


@pytest.mark.fault("B12")
def test_b12_an_old_payment_of_a_wallet_pays_no_new_order(memory_shop):
    first = memory_shop.checkout()
    memory_shop.pay(first, depth=20)
    second = memory_shop.checkout("k2")
    memory_shop.mine(5)
    memory_shop.settle()
    assert memory_shop.status(second) == "pending"
    memory_shop.chain.send(*pay_call(first.order).logs(), sender=address("wallet"))
    memory_shop.mine(3)
    assert (memory_shop.status(second), memory_shop.placed(first)[0]) == (
        "pending",
        ("credit", "duplicate", "credited"),
    )


@pytest.mark.fault("S18")
@pytest.mark.parametrize(("seconds", "placed"), [(-1, CREDITED), (0, CREDITED), (1, [("credit", "late", "credited")])])
@pytest.mark.parametrize("enforce", [True, False])
def test_s18_the_paying_blocks_time_decides_to_the_second(memory_shop, seconds, placed, enforce):
    order = memory_shop.checkout()
    paid = memory_shop.chain.pay(order.order, enforce=enforce)
    memory_shop.mine(3, timestamp=order.deadline + timedelta(seconds=seconds))
    late = placed != CREDITED
    assert memory_shop.placed(order) == ([] if late and enforce else placed)
    assert memory_shop.status(order) == ("expired" if late else "confirmed")
    assert (memory_shop.chain.receipt(paid).failure == "OrderLate") is (late and enforce)


@pytest.mark.fault("S18")
def test_s18_the_machines_clock_decides_nothing_about_lateness(memory_shop):
    order = memory_shop.checkout()
    memory_shop.clock.advance(days=30)
    memory_shop.pay(order)
    assert (memory_shop.status(order), memory_shop.placed(order)) == ("confirmed", CREDITED)


def test_logs_of_other_contracts_before_ours_move_only_the_ordinal(memory_shop):
    order = memory_shop.checkout()
    noise = [FakeLog(STRANGER, (bytes([i]) * 32,), b"") for i in range(5)]
    memory_shop.pay(order, before=noise)
    (receipt,) = memory_shop.receipts(order)
    assert (receipt.identity.ordinal, receipt.evidence.log_index) == (6, 6)


def test_a_failed_transaction_is_nothing(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.send(*pay_call(order.order).logs(), status=0)
    memory_shop.mine(5)
    assert (memory_shop.status(order), memory_shop.receipts(order)) == ("pending", [])


def test_the_binding_of_an_open_order_outlives_a_new_contract(memory_shop):
    order = memory_shop.checkout()
    memory_shop.admin.archive_contract("co", "fake", version=1)
    memory_shop.admin.archive_gateway("gw", version=1)
    memory_shop.admin.archive_network("fake", version=1)
    memory_shop.pay(order)
    assert (order.order.contract, memory_shop.status(order), memory_shop.allowed()) == (CONTRACT, "confirmed", True)


def test_another_treasury_of_the_gateway_leaves_open_orders_as_they_were_signed(memory_shop):
    order = memory_shop.checkout()
    memory_shop.admin.update_gateway("gw", version=1, treasuries={"fake": STRANGER})
    assert memory_shop.checkout().payload == order.payload
    memory_shop.pay(order)
    assert memory_shop.status(order) == "confirmed"
    assert memory_shop.checkout("k2").order.treasury == STRANGER


def test_the_native_coin_is_paid_and_credited_exactly(memory_shop):
    price = {
        "network": "fake",
        "chain_id": 31337,
        "token": NATIVE_COIN,
        "decimals": 18,
        "symbol": "ETH",
        "display": "0.000000000000000001",
    }
    memory_shop.admin.create_plan(
        slug="wei",
        name="Wei",
        product="wei",
        interval="month",
        gateway_slug="gw",
        contract_slug="co",
        prices=[price],
    )
    order = memory_shop.checkout(plan="wei")
    assert (order.amount, order.payload.value, order.payload.gas) == (1, 1, 250_000)
    memory_shop.pay(order)
    assert memory_shop.status(order) == "confirmed"


def test_money_that_is_only_seen_takes_no_place_of_money_that_counts(make_shop):
    chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
    shop = make_shop(chains=chains)
    slow = shop.checkout("a", network="fake")
    fast = shop.checkout("b", network="fake2")
    chains[0].pay(slow.order)
    chains[0].mine()  # the first block of all, and not read yet
    chains[1].pay(fast.order)
    shop.mine(3, chain=chains[1], seconds=60)
    assert shop.placed(slow) == [("credit", "period_paid", "seen")]
    assert (shop.placed(fast), shop.allowed()) == (CREDITED, True)
    chains[0].mine()
    shop.catch_up()
    shop.settle()
    assert shop.allowed()


def end(shop):
    """End the user's subscription, as a person would."""
    with shop.storage.unit() as unit:
        (before,) = unit.subscriptions_of_user("u1")
        now = shop.clock.now()
        change = SubscriptionChange(
            subscription_id=before.subscription_id, seq=1, kind="end", effective_at=now, recorded_at=now, by="root"
        )
        after = attrs.evolve(before, status=SubscriptionStatus.ENDED, next_charge_at=None, version=before.version + 1)
        unit.apply([RecordChange(change), StoreSubscription(after)])


def test_money_for_a_subscription_that_has_ended_is_credit(memory_shop):
    first = memory_shop.checkout()
    memory_shop.pay(first)
    second = memory_shop.checkout("k2")
    end(memory_shop)
    memory_shop.pay(second)
    assert memory_shop.placed(first) == CREDITED
    assert memory_shop.placed(second) == [("credit", "subscription_ended", "credited")]
    assert (memory_shop.subscription().status, memory_shop.subscription().paid_periods) == ("ended", 1)


def test_money_that_was_there_before_the_end_comes_back_to_its_order(memory_shop):
    order = memory_shop.checkout()
    paid = memory_shop.pay(order)
    end(memory_shop)
    memory_shop.reorganise(3)
    assert memory_shop.status(order) == "reversed"
    memory_shop.chain.resend(paid)
    memory_shop.mine(3)
    assert (memory_shop.status(order), memory_shop.placed(order)) == ("confirmed", CREDITED)
    assert (memory_shop.subscription().status, memory_shop.allowed()) == ("ended", False)
