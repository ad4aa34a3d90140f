"""Exchanging ``BILLING_SECRET_KEY``: fingerprints of addresses that a former key has made go on to be understood."""

from __future__ import annotations

import base64
import hashlib

import attrs
import pytest
from pydantic import SecretStr
from refunds_bench import ALICE, BOB, OPS, Desk
from test_verify_refunds import reasons, rewrite

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.core import Engine
from evmbilling.errors import Conflict
from evmbilling.testing.keys import sign_text


def with_keys(desk: Desk, *names: str) -> None:
    """Go on as a process that has these keys, the newest first."""
    keys = [base64.b64encode(hashlib.sha256(name.encode()).digest()).decode() for name in names]
    desk.engine = Engine(attrs.evolve(desk.engine._ports, secrets=SecretBox(SecretStr(" ".join(keys)))))
    desk.ops = desk.engine.refunds(OPS)


def asked(desk: Desk) -> str:
    with_keys(desk, "old")
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=5_000_000, reason="asked")
    desk.prove(refund)
    return refund.refund_id


@pytest.mark.parametrize("keys", [("new", "old"), ("old", "new")], ids=["newest", "not_newest"])
def test_a_refund_goes_on_while_both_keys_are_there(memory_desk: Desk, keys):
    name = asked(memory_desk)
    with_keys(memory_desk, *keys)
    assert reasons(memory_desk) == []
    memory_desk.ops.prepare(name)
    assert memory_desk.ops.refund(name).status is RefundStatus.PREPARED
    assert reasons(memory_desk) == []


def test_what_went_back_before_stays_proved_without_the_former_key(desk: Desk):
    name = asked(desk)
    desk.ops.prepare(name)
    desk.send(desk.ops.refund(name))
    desk.shop.settle()
    assert desk.ops.refund(name).status is RefundStatus.DONE
    for keys in (("new", "old"), ("new",)):
        with_keys(desk, *keys)
        assert reasons(desk) == []


def test_without_the_former_key_nothing_is_prepared_until_the_address_is_proved_again(memory_desk: Desk):
    name = asked(memory_desk)
    with_keys(memory_desk, "new")
    assert reasons(memory_desk) == []
    with pytest.raises(Conflict) as refused:
        memory_desk.ops.prepare(name)
    assert refused.value.details["reason"] == "address"
    memory_desk.prove(memory_desk.ops.refund(name))
    memory_desk.ops.prepare(name)
    assert reasons(memory_desk) == []


@pytest.mark.fault("D22")
@pytest.mark.parametrize("address", [BOB.address, None], ids=["another", "none"])
def test_d22_an_address_that_was_changed_is_named_by_the_former_key(memory_desk: Desk, address):
    name = asked(memory_desk)
    with_keys(memory_desk, "new", "old")
    rewrite(memory_desk, name, address=address)
    assert reasons(memory_desk) == [("refund_record_differs", "address")]


@pytest.mark.fault("D22")
def test_d22_wallets_are_compared_by_the_key_that_their_proof_names(memory_desk: Desk):
    """Proofs under the former and the newest key are both understood; one of a key that is gone says nothing."""
    for key, account in (("old", ALICE), ("new", BOB)):
        with_keys(memory_desk, *dict.fromkeys([key, "old"]))
        challenge = memory_desk.engine.wallet_challenge(
            user_id="user-1",
            wallet=account.address,
            network=memory_desk.shop.network,
            domain="shop.example",
            uri="https://shop.example/",
        )
        signature = sign_text(account.key, challenge.message)
        memory_desk.engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=signature)
    wallets = memory_desk.engine._ports.storage._committed.wallets
    assert wallet_reasons(memory_desk) == []
    for key in [("user-1", ALICE.address)]:
        wallets.drop(key)
    assert wallet_reasons(memory_desk) == ["not_there"]
    with_keys(memory_desk, "new")
    assert wallet_reasons(memory_desk) == []


def wallet_reasons(desk: Desk) -> list[str]:
    return [d.reason for d in desk.engine.verify(full=True).differences if d.code == "wallet_record_differs"]
