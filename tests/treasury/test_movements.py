"""Every transfer to or from a treasury is exactly one movement, whatever it was."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest
from till import (
    CONTRACT,
    OTHER_TOKEN,
    PRICE,
    ROOT,
    SECOND_TREASURY,
    START,
    STRANGER,
    TOKEN,
    TREASURY,
    address,
    open_till,
)

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.paid_logs import pay_call, transfer_log
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def test_a_payment_through_the_contract_is_one_movement(till):
    made = till.checkout(plan="signed")
    paid = till.chain.pay(made.order)
    till.mine(3)
    (movement,) = till.movements()
    (receipt,) = till.receipts()
    assert (movement.identity, movement.receipt_id) == (till.log_id(paid, 0), receipt.receipt_id)
    assert receipt.identity == till.log_id(paid, 1)
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.accounts() == {"treasury": -PRICE, "deferred_revenue": PRICE}
    assert till.differences() == []


def test_each_event_takes_the_nearest_transfer_before_it(till):
    """A plain transfer of the same amount in the same transaction stays what it is."""
    made = till.checkout(plan="signed")
    plain = transfer_log(TOKEN, STRANGER, TREASURY, PRICE)
    paid = till.chain.pay(made.order, before=[plain])
    till.mine(3)
    by_place = {m.identity.ordinal: (m.kind, m.counterparty) for m in till.movements()}
    assert by_place == {0: ("suspense", STRANGER), 1: ("receipt", address("u1"))}
    assert sorted((r.allocation, r.identity.ordinal) for r in till.receipts()) == [("order", 2), ("suspense", 0)]
    assert till.status(made) == "confirmed"
    assert till.log_id(paid, 1) in {m.identity for m in till.movements()}
    assert till.differences() == []


def test_two_payments_in_one_transaction_are_two_movements(till):
    first, second = till.checkout(plan="signed"), till.checkout("u2", plan="signed")
    till.chain.pay(first.order, second.order)
    till.mine(3)
    assert sorted(kind for _, kind, _, _ in till.kinds()) == ["receipt", "suspense"]
    # The second was paid from the first one's wallet; its signed order named another.
    assert sorted(till.placed(), key=str) == [("order", None, "u1", PRICE), ("suspense", "wrong_payer", "u2", PRICE)]
    assert till.differences() == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_event_and_the_transfer_may_be_taken_in_apart(make_till, limit):
    till = make_till()
    made = [till.checkout(user, plan="signed") for user in ("u1", "u2", "u3")]
    for order in made:
        till.chain.pay(order.order)
    till.chain.mine(3)
    till.settle(limit=limit)
    assert [till.status(m) for m in made] == ["confirmed"] * 3
    assert till.kinds() == [("in", "receipt", PRICE, True)] * 3
    assert till.differences() == []


def test_a_foreign_instances_payment_is_external(till):
    made = till.checkout(plan="signed")
    till.chain.pay(made.order, reference=b"foreign!" + bytes(24))
    till.mine(3)
    assert (till.status(made), till.receipts()) == ("pending", [])
    assert till.kinds() == [("in", "external", PRICE, True)]
    assert till.accounts() == {"external": PRICE, "treasury": -PRICE}
    assert till.differences() == []


def test_what_the_owner_takes_out_is_external(till):
    till.checkout()
    till.send("u1", PRICE)
    till.send(TREASURY, 1_000, to=STRANGER)
    assert till.kinds() == [("out", "external", 1_000, True), ("in", "receipt", PRICE, True)]
    assert till.accounts() == {"deferred_revenue": PRICE, "external": -1_000, "treasury": 1_000 - PRICE}
    assert till.differences() == []


def test_between_own_treasuries_nothing_comes_or_goes(till):
    till.checkout()
    till.send("u1", PRICE)
    till.send(TREASURY, 1_000, to=SECOND_TREASURY)
    assert till.kinds() == [("out", "external", 1_000, True), ("in", "receipt", PRICE, True)]
    assert till.accounts() == {"deferred_revenue": PRICE, "treasury": -PRICE}
    assert till.differences() == []


def test_a_treasury_that_pays_itself_changes_nothing(till):
    till.send(TREASURY, 50, to=TREASURY)
    assert till.kinds() == [("out", "external", 50, True)]
    assert (till.accounts(), till.differences()) == ({}, [])


@pytest.mark.parametrize("what", ["receipt", "suspense", "external"])
def test_a_reorganisation_takes_movements_back_and_restores_them(make_till, what):
    till = make_till()
    till.checkout()
    sender, to = {"receipt": ("u1", TREASURY), "suspense": (STRANGER, TREASURY), "external": (TREASURY, STRANGER)}[what]
    sent = till.send(sender, PRICE, to=to)
    direction = "out" if what == "external" else "in"
    books = till.accounts()
    assert till.kinds() == [(direction, what, PRICE, True)]
    till.reorganise(3)
    assert till.kinds() == [(direction, what, PRICE, False)]
    assert till.accounts() == {}
    till.chain.resend(sent)
    till.mine(4)
    assert till.kinds() == [(direction, what, PRICE, True)]
    assert (till.accounts(), till.differences()) == (books, [])


def test_a_payment_of_a_contract_is_taken_back_with_its_movement(till):
    made = till.checkout(plan="signed")
    paid = till.chain.pay(made.order)
    till.mine(3)
    till.reorganise(3)
    assert (till.kinds(), till.accounts()) == ([("in", "receipt", PRICE, False)], {})
    till.chain.resend(paid)
    till.mine(3)
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.differences() == []


def test_a_contract_that_acts_differently_on_another_branch_loses_its_movement(till):
    made = till.checkout()
    sent = till.send("u1", PRICE)
    till.reorganise(3)
    other = transfer_log(TOKEN, address("u1"), TREASURY, PRICE - 1)
    # The same transaction emits another amount on the new branch.
    known = till.chain._known[sent]
    import attrs

    till.chain._known[sent] = attrs.evolve(known, logs=(other,))
    till.chain.resend(sent)
    till.mine(3)
    assert till.kinds() == [("in", "receipt", PRICE, False)]
    assert (till.status(made), till.allowed(), till.accounts()) == ("reversed", False, {})


@pytest.mark.fault("T15")
def test_t15_transfers_of_nothing_leave_no_trace(till):
    made = till.checkout()
    logs = [transfer_log(TOKEN, address(f"poison {i}"), TREASURY, 0) for i in range(100)]
    logs += [transfer_log(TOKEN, address("u1"), address(f"poison {i}"), 0) for i in range(100)]
    till.chain.send(*logs)
    till.send("u1", 0)
    assert (till.receipts(), till.movements(), till.queue(), till.told()) == ([], [], [], ["order.opened"])
    assert till.read(lambda unit: unit.stuck_items()) == []
    assert till.read(lambda unit: unit.logs_of_transactions(31337, list(till.chain._known))) == []
    till.send("u1", PRICE)
    assert till.status(made) == "confirmed"


@pytest.mark.fault("T14")
def test_t14_an_nft_transfer_to_the_treasury_is_no_money(till):
    made = till.checkout()
    plain = transfer_log(TOKEN, address("u1"), TREASURY, PRICE)
    nft = type(plain)(plain.address, (*plain.topics, PRICE.to_bytes(32)), b"")
    till.chain.send(nft)
    till.mine(3)
    assert (till.status(made), till.movements()) == ("pending", [])


@pytest.mark.fault("B25")
def test_b25_dust_costs_the_same_each_time_and_asks_nobody(make_till):
    till = make_till(dust_below={"USDC": 1_000})
    made = till.checkout()
    for i in range(40):
        till.chain.transfer(TOKEN, address(f"dust {i}"), TREASURY, 999)
    till.chain.transfer(TOKEN, address("somebody"), TREASURY, 1_000)
    till.send("u1", PRICE)
    assert till.queue() == [("suspense", "unknown_payer", "open")]
    assert [r.reason for r in till.receipts()].count("dust") == 40
    assert till.status(made) == "confirmed"
    assert till.accounts()["suspense"] == 40 * 999 + 1_000
    assert till.differences() == []


def test_a_treasury_is_accounted_for_from_where_its_gateway_came(till):
    """What it held before is its opening balance."""
    young = address("young treasury")
    till.send("u1", 5, to=young)
    till.admin.create_gateway(slug="young", networks=["fake"], signer="env:K", treasuries={"fake": young})
    (treasury,) = (t for t in till.read(lambda unit: unit.treasuries()) if t.address == young)
    assert treasury.since_block == till.chain.head.number + 1
    till.send(STRANGER, 7, to=young)
    assert till.kinds() == [("in", "suspense", 7, True)]
    till.admin.update_gateway("young", version=1, order_ttl=60)
    assert treasury in till.read(lambda unit: unit.treasuries())


def test_a_treasury_that_a_gateway_leaves_is_still_watched(till):
    till.admin.update_gateway("gw", version=1, treasuries={"fake": address("new treasury")})
    till.send(STRANGER, 7)
    assert till.kinds() == [("in", "suspense", 7, True)]


def test_gateways_from_before_transfers_were_read_are_watched_too(till):
    """A database from before has gateways and no treasuries."""
    with till.storage.unit(write=False) as unit:
        gateway = unit.gateway("gw")
    old = address("old treasury")
    import attrs

    from evmbilling.domain.decisions import SaveGateway

    with till.storage.unit() as unit:
        unit.apply([SaveGateway(attrs.evolve(gateway, treasuries=(("fake", old),), version=2))])
    till.mine()
    till.send(STRANGER, 7, to=old)
    assert till.kinds() == [("in", "suspense", 7, True)]


def test_another_contracts_event_in_the_transaction_explains_nothing(till):
    made = till.checkout(plan="signed")
    call = pay_call(made.order, contract=address("copycat"))
    till.chain.send(*call.logs())
    till.mine(3)
    assert till.status(made) == "pending"
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.placed() == [("credit", "no_order", "u1", PRICE)]
    assert address("copycat") != CONTRACT


def test_the_other_token_has_its_own_account(till):
    till.wallet()
    till.send("u1", 5, token=OTHER_TOKEN, depth=0)
    till.send("u1", 7)
    found = {b.asset.token: b.net_credit for b in till.read(lambda unit: unit.balances(["customer:u1"]))}
    assert found == {TOKEN: 7, OTHER_TOKEN: 5}


def test_a_payment_long_after_is_still_one_movement(till):
    till.checkout()
    till.send("u1", PRICE)
    till.mine(seconds=int(timedelta(days=20).total_seconds()))
    till.mine(20)
    assert [str(r.status) for r in till.receipts()] == ["final"]
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.engine.admin(ROOT).unmatched_receipts() == []


class Counting:
    """Storage that counts the calls of its units."""

    def __init__(self, inner):
        self._inner, self.calls = inner, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    @contextmanager
    def unit(self, *, write=True, durable=True):
        with self._inner.unit(write=write, durable=durable) as unit:
            yield _Counted(self, unit)


class _Counted:
    def __init__(self, owner, unit):
        self._owner, self._unit = owner, unit

    def __getattr__(self, name):
        self._owner.calls += 1
        return getattr(self._unit, name)


@pytest.mark.fault("B25")
def test_b25_the_last_of_much_dust_costs_what_the_first_did():
    clock = FrozenClock(START)
    storage = Counting(MemoryStorage(clock, instance_id=bytes(range(1, 9))))
    till = open_till(storage, clock, dust_below={"USDC": 1_000})
    costs, rounds = [], 20 if EVERYTHING else 8
    for round_ in range(rounds):
        for i in range(50):
            till.chain.transfer(TOKEN, address(f"dust {round_} {i}"), TREASURY, 1)
        before = storage.calls
        till.mine()
        costs.append(storage.calls - before)
    till.mine(25)
    assert len(till.receipts()) == 50 * rounds
    # A batch more where the oldest become final; never more because there are more of them.
    assert max(costs[5:]) <= 2 * min(costs[5:]) < 120
    assert till.queue() == []
