"""What others put into the transaction of a payment neither takes it, nor stands in its way."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue import PaymentContract
from evmbilling.engine.core import Engine
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
