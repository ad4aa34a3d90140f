"""The playbooks of the two keys, followed on a chain; the doctor says at each step what the page says it does."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from evmbilling.domain.decisions import StoreTransmission
from evmbilling.domain.sending.transmissions import Transmission, give_up
from evmbilling.testing.deploy import Deployed, deploy_mandates, transact
from evmbilling.testing.keys import address_of
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY
from evmbilling.testing.wallet import Reverted, Wallet

NEW_KEY = "0x" + "45" * 32


def gateway(ward):
    (one,) = ward.engine.admin(ADMIN).gateways()
    return one


def test_the_order_signing_key_is_rotated_while_people_pay(ward, anvil):
    owner, payer = anvil.accounts[0].address, anvil.accounts[1]
    checkout = Deployed(name="Checkout", address=ward.shop.contract, block=0)
    wallet = Wallet(payer.key, anvil.url)

    def offer(user):
        return ward.shop.checkout(user, wallet=payer.address, asset="ETH")

    def pays(made):
        wallet.pay(ward.engine.pay_instructions(made.ledger_id))
        anvil.mine(4)
        ward.shop.drain()
        return ward.engine.access(made.order.user_id).allowed

    before, forgotten = offer("before"), offer("forgotten")
    transact(anvil, checkout, "addSigner", address_of(NEW_KEY), sender=owner)
    assert ward.found("signers")[0] == "pass"
    ward.engine.admin(ADMIN).update_gateway("main", version=gateway(ward).version, signer=NEW_KEY)
    assert ward.found("signers")[1].endswith(f"accepts {address_of(NEW_KEY)}")
    after = offer("after")
    assert pays(before)
    assert pays(after)
    transact(anvil, checkout, "removeSigner", address_of(SIGNER_KEY), sender=owner)
    assert ward.found("signers")[0] == "pass"
    refused = wallet.send(forgotten.payload)
    anvil.mine()
    with pytest.raises(Reverted, match="UnknownSigner"):
        wallet.wait(refused)
    assert pays(offer("later"))


def ordered(ward, key, sender):
    """Something that a relayer was given, and has not sent yet."""
    now = ward.engine.watch.now()
    given = Transmission(
        transmission_id="waiting",
        purpose="refund",
        subject="refund:waiting",
        network="local",
        chain_id=31337,
        signer=key,
        sender=sender,
        to=ward.shop.token.token,
        gas=100_000,
        gas_ceiling=10**16,
        not_after=now + timedelta(days=1),
        next_at=now,
        waiting_since=now,
        created_at=now,
    )
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([StoreTransmission(given)])
    return given


def test_the_relayer_key_is_rotated(ward, anvil):
    old, new, owner = anvil.accounts[3], anvil.accounts[4], anvil.accounts[0].address
    mandates = deploy_mandates(anvil, operators=(old.address,))
    admin = ward.engine.admin(ADMIN)
    admin.create_contract(
        slug="pull", network="local", address=mandates.address, kind="mandates", start_block=mandates.block
    )
    admin.update_gateway("main", version=gateway(ward).version, relayer=old.key)
    assert (ward.found("relayers")[0], ward.found("allowances")[0]) == ("pass", "pass")
    waiting = ordered(ward, gateway(ward).relayer, old.address)
    assert ward.found("relayers")[0] == "pass"
    anvil.set_balance(new.address, 0)
    admin.update_gateway("main", version=gateway(ward).version, relayer=new.key)
    assert (ward.found("relayers")[0], ward.found("allowances")[0]) == ("fail", "fail")
    anvil.set_balance(new.address, 10**18)
    transact(anvil, mandates, "addOperator", new.address, sender=owner)
    assert ward.found("allowances")[0] == "pass"
    verdict, text = ward.found("relayers")
    assert (verdict, text) == (
        "warn",
        f"local: 1 transactions of {old.address} are under way with a key as no gateway holds it any more",
    )
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([StoreTransmission(give_up(waiting, "expired", ward.engine.watch.now()))])
    assert ward.found("relayers")[0] == "pass"
    transact(anvil, mandates, "removeOperator", old.address, sender=owner)
    assert (ward.found("relayers")[0], ward.found("allowances")[0]) == ("pass", "pass")


@pytest.mark.parametrize("reason", ["not_read", "in_pool", "awaits_fence"])
def test_what_waits_for_what_its_wallet_has_sent_is_named(ward, anvil, reason):
    key = anvil.accounts[3]
    admin = ward.engine.admin(ADMIN)
    admin.update_gateway("main", version=gateway(ward).version, relayer=key.key)
    waiting = ordered(ward, gateway(ward).relayer, key.address)
    assert ward.found("relayers")[0] == "pass"
    held = attrs.evolve(waiting, failure_reason=reason, version=waiting.version + 1)
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([StoreTransmission(held)])
    verdict, text = ward.found("relayers")
    assert (verdict, text.split(",")[0]) == ("warn", "local: 1 transactions wait")
