"""A renewal that can be charged by a mandate, and is paid at its deposit address as well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from life_bench import ADMIN, Life

from evmbilling.domain.addresses import checksum
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import plan_fields

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

SWEEPER, EXCHANGE = checksum(b"deposits".rjust(20, b"\2")), checksum(b"exchange".rjust(20, b"\3"))


def due_tomorrow(life: Life):
    """A subscription that is paid at addresses, by a payer with a mandate; its renewal, a day before it is due."""
    admin = life.engine.admin(ADMIN)
    admin.update_gateway("main", version=1, relayer=DEV_ACCOUNTS[1].key)
    admin.create_contract(slug="sweeper", network=life.shop.network, address=SWEEPER, kind="deposit", start_block=1)
    fields = plan_fields(life.shop, "sent", contract_slug="sweeper", product="sent", dunning={})
    admin.create_plan(**fields | {"prices": fields["prices"][:1]})
    first = life.engine.checkout(plan="sent", user_id="u1", idempotency_key="k")
    send(life, first.ledger_id, first.amount)
    life.clock.advance(timedelta(minutes=1))
    life.shop.drain()
    life.shop.settle()
    life.mandate()
    life.until(life.held().paid_until - timedelta(hours=1))
    (renewal,) = life.renewals()
    return renewal


def send(life: Life, ledger_id: str, amount: int) -> None:
    """Let an exchange send to the address of an order."""
    address = life.engine.order(ledger_id).address or ""
    life.chain.transfer(life.shop.token.token, EXCHANGE, address, amount)
    life.chain.mine()


def charges(life: Life) -> int:
    with life.engine._ports.storage.unit(write=False) as unit:
        return len(unit.open_charges(life.chain.chain_id, "requested"))


@pytest.mark.parametrize("sent", ["all", "little", "nothing"])
def test_what_lies_at_the_address_is_not_charged_as_well(life, sent):
    """Else the customer has paid twice, and the second payment ends as credit."""
    renewal = due_tomorrow(life)
    amount = {"all": renewal.amount, "little": renewal.amount // 50, "nothing": 0}[sent]
    life.clock.set(renewal.due_at + timedelta(seconds=5))
    life.chain.mine(1, timestamp=life.clock.now())
    if amount:
        send(life, renewal.ledger_id, amount)
        life.clock.set(max(life.clock.now(), life.chain.head.timestamp) + timedelta(minutes=6))
        life.chain.mine(1, timestamp=life.clock.now())
        life.engine.look_at_deposits()
    life.engine.read_chain(life.shop.network)
    life.engine.run_renewals()
    assert charges(life) == (0 if sent == "all" else 1)
    if sent == "all":
        life.shop.settle()
        life.go(1)
        life.shop.settle()
        assert life.engine.order(renewal.ledger_id).status in PAID_ORDERS
        assert (charges(life), life.engine.refunds(ADMIN).credit("u1")) == (0, [])
        assert life.differences() == []
