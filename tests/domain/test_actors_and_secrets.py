"""Roles, secret references, wallet payloads: small records with one duty each."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from evmbilling.domain.actors import SYSTEM, Actor, Role
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.pairs import pairs
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.domain.selling.offers import Challenge, WalletPayload
from evmbilling.errors import PermissionDenied

FINANCE, ADMIN = Role.FINANCE_OPS, Role.BILLING_ADMIN


@pytest.mark.parametrize("roles", [(), (FINANCE,), (ADMIN,), (FINANCE, ADMIN)])
@pytest.mark.parametrize("accepted", [(FINANCE,), (ADMIN,), (FINANCE, ADMIN)])
def test_an_actor_needs_one_of_the_accepted_roles(roles, accepted):
    actor = Actor("ann", frozenset(roles))
    if set(roles) & set(accepted):
        assert actor.require(*accepted) is None
        return
    with pytest.raises(PermissionDenied) as caught:
        actor.require(*accepted)
    assert caught.value.details["roles"] == sorted(accepted)


def test_no_roles_suffice_when_none_are_accepted():
    with pytest.raises(PermissionDenied):
        SYSTEM.require()
    assert SYSTEM.roles == set(Role)


@pytest.mark.fault("G02")
def test_g02_sealed_values_stay_out_of_every_repr():
    sealed = SecretRef("enc", "v1.0.canary-55")
    network = Network(name="n", chain_id=1, rpc_urls=(sealed, SecretRef("env", "canary-55")))
    gateway = PaymentGateway(slug="g", networks=("n",), signer=sealed, treasuries=())
    contract = PaymentContract(
        slug="c", network="n", chain_id=1, address="0x", webhook_secret=sealed, fallback_rpc=(sealed,)
    )
    for shown in (repr(sealed), str(sealed), f"{sealed}", repr(network), repr(gateway), repr(contract)):
        assert "canary-55" not in shown
    assert str(sealed) == "enc:…"
    assert pickle.loads(pickle.dumps(sealed)) == copy.deepcopy(sealed) == sealed


@pytest.mark.parametrize("stored", ["env:RPC_URL", "file:/run/secrets/a b", "plugin:kms:key/1", "enc:v1.ab.cd=="])
def test_references_are_read_and_stored_alike(stored):
    ref = parse_secret_ref(stored, field="signer")
    assert ref.stored == stored
    assert parse_secret_ref(ref, field="signer") is ref
    assert str(ref) == ("enc:…" if ref.kind == "enc" else stored)


@pytest.mark.fault("O07")
def test_o07_records_that_plugins_are_handed_cannot_be_changed():
    payload = WalletPayload(chain_id=1, to="0x", value=0, data=b"", gas=1)
    for record in (SYSTEM, SecretRef("env", "A"), payload):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, next(iter(attrs.fields_dict(type(record)))), None)


def test_a_payload_is_written_in_minimal_hex():
    payload = WalletPayload(chain_id=31337, to="0xAb", value=0, data=b"\x01\xff", gas=250_000)
    call = {"chainId": "0x7a69", "to": "0xAb", "value": "0x0", "data": "0x01ff", "gas": "0x3d090"}
    assert payload.as_rpc() == call
    assert payload.as_rpc("0xCd") == call | {"from": "0xCd"}


def test_signatures_and_calldata_are_not_printed():
    challenge = Challenge(typed_data={"canary": 55}, signature=b"canary-55", signer="0x")
    assert "canary" not in repr(challenge)


def test_pairs_are_sorted_and_comparable():
    assert pairs({"b": 2, "a": 1}) == pairs([("b", 2), ("a", 1)]) == (("a", 1), ("b", 2))
