"""What others put into the transaction of a payment neither takes it, nor stands in its way, nor is taken itself."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.decisions import ConfirmWallet
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.core import Engine
from evmbilling.errors import InputError
from evmbilling.presets import preset
from evmbilling.testing.mapped_logs import mapped_logs
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant, plan_fields, simulated_merchant
from evmbilling.testing.paid_logs import transfer_log

STRANGER = checksum(b"\7" * 20)


@pytest.fixture
def shop() -> SimulatedMerchant:
    """A shop that is paid by authorizations of the token itself (ERC-3009)."""
    made = simulated_merchant()
    admin = made.engine.admin(ADMIN)
    address = made.token.token
    admin.create_contract(slug="signed", network=made.network, address=address, start_block=0, **preset("erc3009"))
    fields = plan_fields(made, "signed", product="signed", contract_slug="signed")
    fields["prices"] = fields["prices"][:1]
    admin.create_plan(**fields)
    return made


def binding(shop: SimulatedMerchant) -> PaymentContract:
    (found,) = (c for c in shop.engine.admin(ADMIN).contracts() if c.slug == "signed")
    return found


class Renamed:
    """A storage under another name."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def instance_id(self) -> bytes:
        return b"the copy"


def differences(shop: SimulatedMerchant) -> list[str]:
    return [d.code for d in shop.engine.verify(full=True).differences if d.code != "unproved"]


def receipts(shop: SimulatedMerchant) -> list[tuple[str, str | None, int]]:
    with shop.engine._ports.storage.unit(write=False) as unit:
        return [(r.allocation, r.reason, r.amount) for r in unit.all_receipts()]


@pytest.mark.parametrize("victim_first", [True, False])
def test_transfers_of_nothing_do_not_stand_in_the_way_of_a_signed_payment(shop, victim_first):
    """Whoever sends a signed payment on can add what a token lets anybody do: move nothing from anybody."""
    order = shop.checkout(plan="signed").order
    contract = binding(shop)
    paid = mapped_logs(order, contract)
    ends = [(order.wallet, order.treasury), (order.treasury, STRANGER), (order.treasury, order.treasury)]
    nothing = [transfer_log(shop.token.token, sender, receiver, 0) for sender, receiver in ends]
    shop.chain.send(*(paid if victim_first else ()), *nothing, *(() if victim_first else paid))
    shop.settle()
    assert shop.engine.order(order.ledger_id).status == "confirmed"
    assert receipts(shop) == [("order", None, order.amount)]
    assert differences(shop) == []


def test_a_copy_of_the_shop_knows_what_was_signed_for_the_first_one(shop):
    """A copy that goes on under a name of its own keeps the references of its orders."""
    order = shop.checkout(plan="signed").order
    shop.chain.send(*mapped_logs(order, binding(shop)))
    shop.settle()
    copied = Engine(attrs.evolve(shop.engine._ports, storage=Renamed(shop.engine._ports.storage)))
    shop.chain.reorganise(3, mode="reinclude", delay=1)
    shop.chain.mine(3)
    shop.clock.set(shop.chain.head.timestamp)
    copied.read_chain(shop.network)
    while copied.run_intake().taken:
        pass
    assert shop.engine.order(order.ledger_id).status == "confirmed"
    assert [d.code for d in copied.verify(full=True).differences if d.code != "unproved"] == []


def test_what_is_signed_beside_it_for_another_purpose_is_not_in_question_later_either(shop):
    """A payer may authorize something else in the same transaction; verification reads it as the intake did."""
    order = shop.checkout(plan="signed").order
    contract = binding(shop)
    (moved, told) = mapped_logs(order, contract)
    elsewhere = attrs.evolve(told, topics=(*told.topics[:-1], b"x" * 32))
    assert elsewhere != told
    shop.chain.send(elsewhere, moved, told)
    shop.settle()
    assert shop.engine.order(order.ledger_id).status == "confirmed"
    assert differences(shop) == []


# -- an event that names nobody who paid

TAGGED = {
    "mint_method": {
        "method": "tag",
        "args": ["{reference}", "{treasury}", "{amount}"],
        "approve": {"spender": "{contract}", "amount": "{amount}"},
    },
    "events": [
        {
            "event": "Tagged(bytes32,uint256,address)",
            "means": "paid",
            "reference": "tag",
            "money": "transfer",
        }
    ],
}
EXTENDED = {
    "mint_method": {
        "method": "extend",
        "args": ["{subscription}", "{treasury}", "{amount}"],
        "approve": {"spender": "{contract}", "amount": "{amount}"},
    },
    "events": [
        {
            "event": "Extended",
            "means": "paid",
            "match": "token_id",
            "token_id": "tokenId",
            "money": "transfer",
        }
    ],
}
ALICE, MALLORY = checksum(b"\x0a" * 20), checksum(b"\x0b" * 20)


def sell_namelessly(shop: SimulatedMerchant, name: str, fields: dict[str, Any]) -> PaymentContract:
    admin = shop.engine.admin(ADMIN)
    bound = admin.create_contract(
        slug="nameless",
        network=shop.network,
        address=checksum(b"\x0c" * 20),
        kind="mapped",
        abi=list(artifact(name).abi),
        **fields,
    )
    plan = plan_fields(shop, "nameless", product="nameless", contract_slug="nameless")
    plan["prices"] = plan["prices"][:1]
    admin.create_plan(**plan)
    return bound


def mallorys(shop: SimulatedMerchant) -> Order:
    """An order of Mallory's with a wallet that Mallory has proved."""
    prove(shop, "mallory", MALLORY)
    return shop.checkout("mallory", plan="nameless", wallet=MALLORY).order


def prove(shop: SimulatedMerchant, user: str, wallet: str) -> None:
    with shop.engine._ports.storage.unit() as unit:
        now = shop.clock.now()
        customer = unit.lock_customer(Customer(user_id=user, created_at=now))
        unit.apply([ConfirmWallet(Wallet(user_id=user, address=wallet, confirmed_at=now))])
        assert customer.user_id == user


def alone(shop: SimulatedMerchant, order: Order, contract: PaymentContract, sender: str) -> None:
    """Let the event stand beside somebody's own transfer to the treasury, which has nothing to do with it."""
    (_, told) = mapped_logs(order, contract)
    shop.chain.send(transfer_log(shop.token.token, sender, order.treasury, order.amount), told)
    shop.settle()


def test_an_order_in_the_name_of_anothers_wallet_does_not_take_what_that_one_sends(shop):
    """Whoever sends a signed transfer on can have a contract say beside it that something was paid."""
    sell_namelessly(shop, "ClubPass", TAGGED)
    prove(shop, "alice", ALICE)
    with pytest.raises(InputError) as refused:
        shop.checkout("mallory", plan="nameless", wallet=ALICE)
    assert refused.value.field == "wallet"


@pytest.mark.parametrize(
    ("name", "fields"), [("ClubPass", TAGGED), ("ZeroPass", EXTENDED)], ids=["order", "membership"]
)
def test_what_a_stranger_sends_beside_it_pays_nothing_of_a_wallet(shop, name: str, fields: dict[str, Any]):
    contract = sell_namelessly(shop, name, fields)
    order = mallorys(shop)
    alone(shop, order, contract, ALICE)
    assert receipts(shop) == [("suspense", "wrong_payer", order.amount)]
    assert shop.engine.order(order.ledger_id).status == "pending"
    alone(shop, order, contract, MALLORY)
    assert shop.engine.order(order.ledger_id).status == "confirmed"
    assert differences(shop) == []


def test_an_event_beside_its_own_money_and_somebody_elses_takes_neither(shop):
    contract = sell_namelessly(shop, "ZeroPass", EXTENDED)
    order = mallorys(shop)
    moved, told = mapped_logs(order, contract)
    shop.chain.send(transfer_log(shop.token.token, ALICE, order.treasury, order.amount), moved, told)
    shop.settle()
    assert shop.engine.order(order.ledger_id).status == "pending"
    assert {place for place, _, _ in receipts(shop)} <= {"suspense"}
    assert differences(shop) == []


def test_an_event_of_another_contract_is_no_word_of_the_bound_one(shop):
    contract = sell_namelessly(shop, "ZeroPass", EXTENDED)
    order = mallorys(shop)
    moved, told = mapped_logs(order, contract)
    shop.chain.send(moved, attrs.evolve(told, address=STRANGER))
    shop.settle()
    assert shop.engine.order(order.ledger_id).status == "pending"
