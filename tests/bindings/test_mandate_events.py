"""Mandates that a contract keeps which is bound by configuration: given on chain, used by its own call, ended there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bindings_bench import ALICE, BOB, MALLORY, PRICE, MappedShop

from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import Conflict, InputError
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, deploy, deploy_mandates
from evmbilling.testing.merchant import ADMIN

RELAYER = DEV_ACCOUNTS[7]
ALLOWED = {"spender": "{contract}", "amount": "{amount}"}
JOIN: dict[str, Any] = {"method": "join", "args": ["{reference}", "{treasury}", "{amount}"], "approve": ALLOWED}
TAKE: dict[str, Any] = {
    "method": "take",
    "args": ["{reference}", "{payer}", "{treasury}", "{amount}"],
    "approve": ALLOWED,
}
PAID = {"event": "Paid", "means": "paid", "reference": "tag", "payer": "payer", "amount": "amount", "money": "transfer"}
AGREED = {"event": "Agreed", "means": "mandate_given", "mandate": "name", "payer": "payer", "amount": "most"}
LEFT = {"event": "Left", "means": "mandate_revoked", "mandate": "name", "payer": "payer"}
BOUND: dict[str, Any] = {"mint_method": JOIN, "renew_method": TAKE, "events": [PAID, AGREED, LEFT]}


class Agreeing(MappedShop):
    """A shop whose contract takes later months by itself, from whoever has agreed to that."""

    def __init__(self, node: AnvilNode, **storage: Any) -> None:
        super().__init__(node, **storage)
        self.open()
        self.admin.update_gateway("main", version=1, relayer=RELAYER.key)
        self.passes = deploy(node, "PullPass", self.token.address)

    def start(self) -> Order:
        """Sell a month to Alice, who lets the contract take more."""
        self.bind(self.passes, **BOUND)
        self.sell()
        self.confirm("alice", ALICE)
        self.fund(ALICE)
        offer = self.checkout()
        self.pay(offer)
        self.act(self.token, "approve", self.passes.address, 10 * PRICE, sender=ALICE.address)
        return offer.order

    def agree(self, most: int = PRICE, account: Any = ALICE) -> None:
        self.act(self.passes, "agree", self.treasury, most, sender=account.address)
        self.settle()

    def mandates(self) -> list[Mandate]:
        return list(self.engine.mandates.list("alice"))

    def next_month(self) -> Order:
        """Let a month pass, and everything that follows from it; return the order of the new one."""
        self.node.increase_time(31 * 86_400)
        for _ in range(6):
            self.settle()
        return self.orders()[-1]

    def orders(self) -> list[Order]:
        return sorted(self.engine.orders("alice"), key=lambda order: order.ledger_id)


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[Agreeing]:
    made = Agreeing(anvil)
    yield made
    made.close()


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_the_next_period_is_taken_by_the_contracts_own_call(anvil: AnvilNode, open_database, kept: str):
    clock = FrozenClock(MappedShop.when(anvil.block() or {}))
    stored = {} if kept == "memory" else {"storage": open_database(kept, clock), "clock": clock}
    shop = Agreeing(anvil, **stored)
    try:
        check_a_pulled_month(shop)
    finally:
        shop.close()


def check_a_pulled_month(shop: Agreeing) -> None:
    first = shop.start()
    shop.agree()
    (mandate,) = shop.mandates()
    assert (mandate.status, mandate.subscription_id) == ("active", first.subscription_id)
    assert (mandate.contract, mandate.payer, mandate.charge_cap) == (shop.passes.address, ALICE.address, PRICE)
    held = shop.balance(ALICE.address)
    renewal = shop.next_month()
    assert (renewal.origin, renewal.period, renewal.rail) == ("renewal", 1, "call")
    assert str(shop.engine.order(renewal.ledger_id).status) in {"confirmed", "final"}
    assert shop.balance(ALICE.address) == held - PRICE
    (subscription,) = shop.engine.subscriptions("alice")
    assert (subscription.paid_periods, str(subscription.status)) == (2, "active")
    assert shop.movements() == ["receipt"] * 2
    assert shop.differences() == []


def test_a_reorganisation_takes_the_mandate_and_brings_it_back(shop: Agreeing):
    shop.start()
    shop.agree()
    shop.node.reorg(4)
    shop.node.mine()
    shop.settle()
    (mandate,) = shop.mandates()
    assert mandate.status == "prepared"
    with pytest.raises(Conflict, match="on chain"):
        shop.engine.mandates.give("alice", mandate.mandate_id, signature=bytes(65))
    shop.act(shop.token, "approve", shop.passes.address, 10 * PRICE, sender=ALICE.address)
    shop.agree()
    assert [m.status for m in shop.mandates()] == ["active"]


def test_who_revokes_is_asked_and_who_agrees_again_is_charged(shop: Agreeing):
    shop.start()
    shop.agree()
    shop.act(shop.passes, "resign", shop.treasury, sender=ALICE.address)
    shop.settle()
    assert [m.status for m in shop.mandates()] == ["revoked"]
    held = shop.balance(ALICE.address)
    renewal = shop.next_month()
    assert (renewal.period, shop.balance(ALICE.address)) == (1, held)
    assert str(shop.engine.order(renewal.ledger_id).status) == "pending"
    shop.agree()
    assert [m.status for m in shop.mandates()] == ["active"]
    assert len(shop.mandates()) == 1


def test_who_cancels_with_us_is_not_charged(shop: Agreeing):
    shop.start()
    shop.agree()
    (mandate,) = shop.mandates()
    cancelled = shop.engine.mandates.cancel("alice", mandate.mandate_id)
    assert (cancelled.mandate.status, cancelled.revoke) == ("cancelled", None)
    held = shop.balance(ALICE.address)
    renewal = shop.next_month()
    assert (renewal.period, shop.balance(ALICE.address)) == (1, held)


def test_what_is_said_in_anothers_name_takes_nothing(shop: Agreeing):
    """The contract refuses the call; the customer is asked, and may pay."""
    shop.start()
    shop.act(shop.passes, "pretend", ALICE.address, PRICE, sender=MALLORY.address)
    shop.settle()
    held = shop.balance(ALICE.address)
    renewal = shop.next_month()
    assert (renewal.period, shop.balance(ALICE.address)) == (1, held)
    assert shop.movements() == ["receipt"]
    assert {one.status for one in shop.engine.sending(ADMIN).transmissions()} <= {"failed"}
    assert shop.differences() == []


def test_a_mandate_of_nobody_we_know_is_nobodys(shop: Agreeing):
    shop.start()
    shop.agree(account=BOB)
    assert shop.mandates() == []
    other = deploy(shop.node, "PullPass", shop.token.address)
    shop.act(other, "agree", shop.treasury, PRICE, sender=ALICE.address)
    shop.settle()
    assert shop.mandates() == []


def test_nothing_is_believed_of_a_halted_contract(shop: Agreeing):
    shop.start()
    code = shop.node.rpc("eth_getCode", shop.passes.address, "latest")
    shop.node.set_code(shop.passes.address, code + "00")
    (halted,) = shop.engine.check_contracts()
    assert halted.kind == "contract_halted"
    shop.agree()
    assert shop.mandates() == []


def test_less_than_a_period_is_not_taken(shop: Agreeing):
    shop.start()
    shop.agree(PRICE - 1)
    (mandate,) = shop.mandates()
    assert mandate.charge_cap == PRICE - 1
    held = shop.balance(ALICE.address)
    renewal = shop.next_month()
    assert (renewal.period, shop.balance(ALICE.address)) == (1, held)


@pytest.mark.parametrize("revoked", [False, True])
def test_a_contract_says_nothing_about_the_mandates_of_the_one_that_pulls(shop: Agreeing, revoked: bool):
    """Only the contract that charges can say that it may, or may not any more; the same name is another mandate."""
    pulls = deploy_mandates(shop.node, operators=(RELAYER.address,))
    shop.admin.create_contract(
        slug="pulls", network="local", address=pulls.address, kind="mandates", start_block=pulls.block
    )
    first = shop.start()
    prepared = shop.engine.mandates.prepare("alice", first.subscription_id, ALICE.address)
    shop.agree()
    if revoked:
        shop.act(shop.passes, "resign", shop.treasury, sender=ALICE.address)
        shop.settle()
    found = {m.contract: str(m.status) for m in shop.mandates()}
    assert found[prepared.mandate.contract] == "prepared"
    assert found[shop.passes.address] == ("revoked" if revoked else "active")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"renew_method": None}, "renew_method"),
        ({"renew_method": JOIN}, "renew_method.args"),
        (
            {"renew_method": TAKE | {"args": ["{reference}", ALICE.address, "{treasury}", "{amount}"]}},
            "renew_method.args",
        ),
        ({"events": [PAID, LEFT]}, "events"),
        ({"events": [PAID | {"match": "payer"}, AGREED]}, "renew_method.args"),
    ],
)
def test_what_no_mandate_could_be_used_by_is_refused(shop: Agreeing, change: dict[str, Any], place: str):
    fields = {name: part for name, part in (BOUND | change).items() if part is not None}
    with pytest.raises(InputError) as refused:
        shop.bind(Deployed(name="PullPass", address=shop.passes.address, block=shop.passes.block), **fields)
    assert refused.value.field == place


def test_a_call_of_the_payers_own_is_not_sent_by_the_relayer(shop: Agreeing):
    """An order that was asked for before the contract took periods by itself holds the call of its payer."""
    alone = {"mint_method": JOIN, "events": [PAID]}
    bound = shop.bind(shop.passes, **alone)
    shop.sell()
    shop.confirm("alice", ALICE)
    shop.fund(ALICE)
    shop.fund(RELAYER)
    shop.act(shop.token, "approve", shop.passes.address, 10 * PRICE, sender=RELAYER.address)
    shop.pay(shop.checkout())
    renewal = shop.next_month()
    assert renewal.period == 1
    shop.act(shop.token, "approve", shop.passes.address, 10 * PRICE, sender=ALICE.address)
    (now,) = shop.admin.contracts()
    assert now.version > bound.version
    shop.admin.update_contract("theirs", "local", version=now.version, renew_method=TAKE, events=[PAID, AGREED, LEFT])
    shop.agree()
    assert [m.status for m in shop.mandates()] == ["active"]
    held = shop.balance(RELAYER.address)
    shop.node.increase_time(5 * 86_400)
    for _ in range(6):
        shop.settle()
    assert shop.balance(RELAYER.address) == held
    assert shop.engine.sending(ADMIN).transmissions() == []
    assert shop.movements() == ["receipt"]
