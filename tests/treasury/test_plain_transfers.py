"""Plain transfers: matched by who sent them, in parts, too much, too late, twice; never by how much."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import attrs
import pytest
from till import OTHER_TOKEN, PRICE, STRANGER, TOKEN, TREASURY, address

from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.domain.decisions import ConfirmWallet
from evmbilling.domain.people.customers import Wallet
from evmbilling.errors import InputError

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

OTHER_CHAIN = 10


def test_a_plain_transfer_offers_a_payload_a_link_and_nothing_to_sign(till):
    made = till.checkout()
    assert (made.order.rail, made.order.contract, made.challenge, made.order.signature) == ("erc20", TOKEN, None, b"")
    assert made.uri == f"ethereum:{TOKEN}@31337/transfer?address={TREASURY}&uint256={PRICE}"
    words = bytes.fromhex(TREASURY[2:]).rjust(32, b"\0") + PRICE.to_bytes(32)
    assert (made.payload.to, made.payload.value, made.payload.data.hex()) == (TOKEN, 0, "a9059cbb" + words.hex())
    assert till.checkout().payload == made.payload


def test_a_transfer_from_the_confirmed_wallet_pays_the_order(till):
    made = till.checkout()
    till.send("u1", PRICE)
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.placed() == [("order", None, "u1", PRICE)]
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.accounts() == {"treasury": -PRICE, "deferred_revenue": PRICE}
    assert till.queue() == []
    assert till.differences() == []


def test_a_transfer_in_the_second_of_its_order_pays_it(memory_till):
    till = memory_till()
    till.mine(1)
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=1, microseconds=900_000))
    made = till.checkout()
    till.send("u1", PRICE, depth=0)
    till.chain.mine(1, seconds=1)
    assert till.chain.head.timestamp < made.order.created_at
    till.mine(3)
    assert till.status(made) == "confirmed"


def test_another_confirmed_wallet_of_the_customer_pays_too(till):
    made = till.checkout()
    till.send(till.wallet("u1", "the second wallet"), PRICE)
    assert (till.status(made), till.allowed()) == ("confirmed", True)


def test_a_wallet_that_nobody_confirmed_cannot_be_asked_for_a_transfer(till):
    with pytest.raises(InputError) as caught:
        till.checkout(wallet=STRANGER)
    assert caught.value.field == "wallet"


@pytest.mark.parametrize("timing", ["now", "next_period"])
def test_a_change_cannot_name_a_wallet_that_nobody_confirmed(till, timing):
    till.checkout()
    till.send("u1", PRICE)
    held = till.engine.subscriptions("u1")[-1].subscription_id
    wanted = {"quantity": 2, "timing": timing, "wallet": STRANGER}
    for ask in (till.engine.preview_change, till.engine.change_subscription):
        with pytest.raises(InputError) as caught:
            ask(held, **wanted)
        assert caught.value.field == "wallet"
    assert len(till.engine.orders("u1")) == 1
    assert till.engine.subscription(held).waiting is None
    changed = till.engine.change_subscription(held, **wanted | {"wallet": till.wallet("u1", "another of u1")})
    assert changed.order is None or changed.order.order.wallet == address("another of u1")


def test_an_imported_subscriber_pays_from_a_wallet_of_their_own(till):
    wanted = {
        "external_id": "old-1",
        "user_id": "u1",
        "plan": "pro",
        "paid_until": till.clock.now() + timedelta(days=20),
    }
    till.wallet()
    with pytest.raises(InputError) as caught:
        till.admin.adopt(**wanted, wallet=STRANGER)
    assert caught.value.field == "wallet"
    assert till.engine.subscriptions("u1") == []
    assert till.admin.adopt(**wanted, wallet=address("u1")).subscription.status == "active"


@pytest.mark.fault("S21")
def test_s21_somebody_else_who_pays_gets_nothing_and_waits_for_a_person(till):
    made = till.checkout()
    till.send(STRANGER, PRICE)
    assert (till.status(made), till.allowed()) == ("pending", False)
    assert till.placed() == [("suspense", "unknown_payer", None, PRICE)]
    assert till.kinds() == [("in", "suspense", PRICE, True)]
    assert till.queue() == [("suspense", "unknown_payer", "open")]
    assert till.accounts() == {"suspense": PRICE, "treasury": -PRICE}
    assert till.differences() == []


def test_a_contract_that_vouched_on_another_chain_is_somebody_elses_here(make_till):
    till = make_till()
    made = till.checkout()
    owned = Wallet(user_id="u2", address=address("safe"), confirmed_at=till.clock.now(), chains=(OTHER_CHAIN,))
    till.checkout("u2")
    with till.storage.unit() as unit:
        unit.apply([ConfirmWallet(owned)])
    till.send(owned.address, PRICE)
    assert till.placed() == [("suspense", "unknown_payer", None, PRICE)]
    with till.storage.unit() as unit:
        unit.apply([ConfirmWallet(attrs.evolve(owned, chains=(till.chain.chain_id, OTHER_CHAIN)))])
    till.send(owned.address, PRICE)
    assert (till.status(made), till.allowed("u2")) == ("pending", True)


@pytest.mark.fault("B01")
@pytest.mark.parametrize("missing", [1, PRICE - 1])
def test_b01_one_base_unit_less_is_partial(memory_till, missing):
    till = memory_till()
    made = till.checkout()
    till.send("u1", PRICE - missing)
    assert (till.status(made), till.allowed()) == ("partially_paid", False)
    assert till.accounts() == {"customer_credit": PRICE - missing, "treasury": missing - PRICE}
    till.send("u1", missing)
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.accounts() == {"deferred_revenue": PRICE, "treasury": -PRICE}


@pytest.mark.fault("B03")
def test_b03_what_is_too_much_is_the_customers_credit(till):
    made = till.checkout()
    till.send("u1", PRICE + 5)
    assert till.status(made) == "confirmed"
    assert till.accounts() == {"customer_credit": 5, "deferred_revenue": PRICE, "treasury": -PRICE - 5}
    assert till.differences() == []


@pytest.mark.fault("B04")
@pytest.mark.parametrize("parts", list(permutations([1, 9_000_000, PRICE - 9_000_001])))
def test_b04_parts_in_any_order_come_to_the_same(memory_till, parts):
    till = memory_till()
    made = till.checkout()
    for part in parts:
        till.send("u1", part, depth=1)
    till.mine(3)
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.accounts() == {"deferred_revenue": PRICE, "treasury": -PRICE}


@pytest.mark.both_databases
@pytest.mark.fault("B01", "B04", "S19")
def test_b01_b04_s19_parts_and_what_comes_late_on_every_database(make_till):
    till = make_till(order_ttl=600)
    first, second, late = till.checkout("u1"), till.checkout("u2"), till.checkout("u3")
    for part in (1, PRICE - 9_000_001, 8_999_999):
        till.send("u1", part, depth=0)
    for part in (9_000_000, 1, PRICE - 9_000_001):
        till.send("u2", part, depth=0)
    till.mine(3)
    assert [till.status(o) for o in (first, second)] == ["partially_paid", "confirmed"]  # one base unit is missing
    till.mine(seconds=601)
    till.send("u1", 1)
    till.send("u3", PRICE)
    assert [till.status(o) for o in (first, late)] == ["expired", "expired"]
    assert [till.allowed(user) for user in ("u1", "u2", "u3")] == [False, True, False]
    paid = 3 * PRICE
    assert till.accounts() == {"customer_credit": 2 * PRICE, "deferred_revenue": PRICE, "treasury": -paid}
    assert till.differences() == []


@pytest.mark.fault("B05")
def test_b05_the_second_payment_is_credit_and_somebody_is_asked(till):
    made = till.checkout()
    till.send("u1", PRICE, depth=0)
    till.send("u1", PRICE)
    assert till.status(made) == "confirmed"
    assert sorted(till.placed(), key=str) == [("credit", "duplicate", "u1", PRICE), ("order", None, "u1", PRICE)]
    assert till.queue() == [("duplicate", "duplicate", "open")]
    till.send("u1", 7)
    assert ("credit", "duplicate", "u1", 7) in till.placed()
    assert till.accounts()["customer_credit"] == PRICE + 7
    assert till.differences() == []


def test_the_duplicate_takes_the_place_of_a_payment_that_disappears(till):
    made = till.checkout()
    first = till.send("u1", PRICE, depth=1)
    second = till.send("u1", PRICE)
    assert till.queue() == [("duplicate", "duplicate", "open")]
    till.reorganise(4, keep=[second])
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.queue(None) == [("duplicate", "duplicate", "withdrawn"), ("reversed", "taken_back", "open")]
    till.chain.resend(first)
    till.mine(3)
    assert till.queue(None) == [
        ("duplicate", "duplicate", "open"),
        ("duplicate", "duplicate", "withdrawn"),
        ("reversed", "taken_back", "withdrawn"),
    ]
    assert till.differences() == []


@pytest.mark.fault("B11")
def test_b11_an_amount_never_says_who_paid(till):
    made = [till.checkout(user) for user in ("u1", "u2", "u3")]
    assert len({m.amount for m in made}) == 1
    till.send("u2", PRICE, depth=0)
    till.send(STRANGER, PRICE)
    assert [till.status(m) for m in made] == ["pending", "confirmed", "pending"]
    assert [till.allowed(u) for u in ("u1", "u2", "u3")] == [False, True, False]


@pytest.mark.fault("B12")
def test_b12_money_from_before_the_order_is_not_for_it(till):
    till.wallet()
    till.chain.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.chain.mine()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=15) + timedelta(microseconds=1))
    made = till.checkout()
    till.mine(5)
    assert till.placed() == [("credit", "no_order", "u1", PRICE)]
    assert (till.status(made), till.allowed()) == ("pending", False)


@pytest.mark.fault("Z03")
def test_z03_a_block_that_is_stamped_before_its_order_pays_it(till):
    made = till.checkout()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=60))
    till.send("u1", PRICE)
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=15) + timedelta(seconds=1))
    second = till.checkout(plan="once", key="k2")
    till.send("u1", PRICE, depth=0)
    till.chain.mine(1, seconds=1)
    assert till.chain.head.timestamp + timedelta(seconds=15) == second.order.created_at
    till.mine(3)
    assert [till.status(m) for m in (made, second)] == ["confirmed", "confirmed"]
    assert {place for place, *_ in till.placed()} == {"order"}
    assert till.differences() == []


@pytest.mark.fault("Z03")
def test_z03_an_order_that_was_there_comes_before_one_that_may_have_been(till):
    first = till.checkout()
    till.send("u1", PRICE, depth=0)
    till.chain.mine()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=5))
    second = till.checkout(plan="once", key="k2")
    till.mine(5)
    assert [till.status(m) for m in (first, second)] == ["confirmed", "pending"]


@pytest.mark.fault("B12")
def test_b12_one_transfer_pays_one_order_once(till):
    first = till.checkout()
    till.send("u1", PRICE)
    second = till.checkout(plan="once", key="k2")
    till.mine(5)
    till.settle()
    assert (till.status(first), till.status(second)) == ("confirmed", "pending")
    assert len(till.receipts()) == 1


def test_two_orders_that_could_be_meant_are_ambiguous(till):
    made = [till.checkout(), till.checkout(plan="once", key="k2")]
    till.send("u1", PRICE)
    assert [till.status(m) for m in made] == ["pending", "pending"]
    assert till.placed() == [("suspense", "ambiguous", "u1", PRICE)]
    assert till.queue() == [("suspense", "ambiguous", "open")]


def test_a_known_customer_without_an_order_has_credit(till):
    till.wallet()
    till.send("u1", 3)
    assert till.placed() == [("credit", "no_order", "u1", 3)]
    assert till.accounts() == {"customer_credit": 3, "treasury": -3}
    assert till.told() == ["payment.unmatched"]
    assert till.queue() == []
    assert till.differences() == []


@pytest.mark.fault("B27")
def test_b27_another_allowed_token_is_suspense_with_its_asset(till):
    made = till.checkout()
    till.send("u1", PRICE, token=OTHER_TOKEN)
    assert till.status(made) == "pending"
    assert till.placed() == [("suspense", "wrong_token", "u1", PRICE)]
    (receipt,) = till.receipts()
    assert (receipt.asset.token, receipt.asset.symbol) == (OTHER_TOKEN, "DAI")
    assert till.queue() == [("suspense", "wrong_token", "open")]


@pytest.mark.fault("B27")
def test_b27_a_token_that_nobody_prices_is_not_even_seen(till):
    made = till.checkout()
    till.send("u1", PRICE, token=address("worthless"))
    assert (till.status(made), till.placed(), till.kinds()) == ("pending", [], [])


def test_the_right_token_on_the_wrong_network_is_suspense_there(make_till):
    till = make_till(networks=2)
    made = till.checkout(network="fake")
    till.chains["fake2"].transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.chains["fake2"].mine(3)
    till.settle()
    assert till.status(made) == "pending"
    assert till.placed() == [("suspense", "wrong_network", "u1", PRICE)]
    assert till.receipts()[0].asset.chain_id == till.chains["fake2"].chain_id


@pytest.mark.fault("S19")
@pytest.mark.parametrize(
    ("policy", "place", "status", "allowed"),
    [
        ("credit", ("credit", "late", "u1", PRICE), "expired", False),
        ("suspense", ("suspense", "late", "u1", PRICE), "expired", False),
        ("order", ("order", "late", "u1", PRICE), "confirmed", True),
    ],
)
def test_s19_what_comes_after_the_deadline_goes_by_policy(memory_till, policy, place, status, allowed):
    till = memory_till(order_ttl=60, late=policy)
    made = till.checkout()
    till.mine(seconds=61)
    assert till.status(made) == "expired"
    till.send("u1", PRICE)
    assert (till.placed(), till.status(made), till.allowed()) == ([place], status, allowed)
    assert till.differences() == []


@pytest.mark.fault("S19")
@pytest.mark.parametrize(("after", "status"), [(59, "confirmed"), (60, "confirmed"), (61, "expired")])
def test_s19_the_block_says_whether_it_was_in_time(memory_till, after, status):
    till = memory_till(order_ttl=60)
    made = till.checkout()
    till.chain.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.mine(seconds=after)
    till.mine(3)
    assert till.status(made) == status
    assert till.placed()[0][0] == ("order" if status == "confirmed" else "credit")


def test_a_policy_that_changes_moves_nothing_that_was_decided(memory_till):
    till = memory_till(order_ttl=60)
    made = till.checkout()
    till.mine(seconds=61)
    till.send("u1", PRICE, depth=1)
    till.admin.update_gateway("gw", version=1, misfits={"late": "order"})
    till.mine(5)
    assert (till.placed(), till.status(made)) == ([("credit", "late", "u1", PRICE)], "expired")


@pytest.mark.fault("S22")
def test_s22_a_payload_that_was_tampered_with_cannot_pay_somebody_else(till):
    made = till.checkout()
    till.send("u1", PRICE, to=address("the thief's"))
    till.send("u1", PRICE, token=address("fake dollar"))
    assert (till.status(made), till.allowed(), till.placed()) == ("pending", False, [])


def test_a_transfer_that_is_not_deep_enough_gives_no_access(till):
    made = till.checkout()
    till.send("u1", PRICE, depth=2)
    assert (till.status(made), till.allowed()) == ("confirming", False)
    assert till.accounts() == {}
    till.mine()
    assert (till.status(made), till.allowed()) == ("confirmed", True)


@pytest.mark.fault("C05")
def test_c05_a_transfer_that_is_taken_back_and_comes_again(till):
    made = till.checkout()
    sent = till.send("u1", PRICE, depth=5)
    assert till.allowed()
    till.reorganise(5)
    assert (till.status(made), till.allowed()) == ("reversed", False)
    assert till.kinds() == [("in", "receipt", PRICE, False)]
    assert till.queue() == [("reversed", "taken_back", "open")]
    assert till.accounts() == {}
    till.chain.resend(sent)
    till.mine(3)
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.queue(None) == [("reversed", "taken_back", "withdrawn")]
    assert till.differences() == []


@pytest.mark.fault("T16")
def test_t16_addresses_are_given_in_full_and_checksummed(till):
    till.checkout()
    till.send("u1", PRICE, depth=0)
    till.send(STRANGER, 5)
    given = [a for r in till.receipts() for a in (r.payer, r.treasury, r.asset.token)]
    given += [a for m in till.movements() for a in (m.treasury, m.counterparty)]
    assert len(given) == 10
    assert all(a == checksum(address_bytes(a)) for a in given)


@pytest.mark.both_databases
@pytest.mark.fault("T25")
@pytest.mark.parametrize("amount", [2**256 - 1, 2**255, 10**30])
def test_t25_amounts_up_to_the_largest_are_exact(make_till, amount):
    till = make_till()
    made = till.checkout()
    till.send("u1", amount)
    assert till.status(made) == "confirmed"
    assert till.kinds() == [("in", "receipt", amount, True)]
    assert till.accounts()["customer_credit"] == amount - PRICE
    assert till.differences() == []


def test_a_rail_of_plain_transfers_never_asks_for_an_approval(till):
    made = till.checkout()
    asked = till.engine.pay_instructions(made.ledger_id)
    assert (asked.approval, asked.payload) == (None, made.payload)
