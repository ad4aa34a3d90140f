"""A network may list what can be bound on it and sold in; everything else is refused by name. The list is audited."""

from __future__ import annotations

import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.errors import InputError, InvalidAddress, NotAllowed, PermissionDenied
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, repeatable_secrets

A, B, C = ("0x" + digit * 40 for digit in "123")


@pytest.fixture
def engine():
    clock = FrozenClock()
    made = BillingEngine(storage=MemoryStorage(clock), clock=clock, secrets=repeatable_secrets())
    admin = made.admin(ADMIN)
    admin.create_network(
        name="local",
        chain_id=31337,
        rpc_urls=["http://127.0.0.1:1"],
        testnet=True,
        allowed_contracts=[B, A],
        allowed_tokens=[C],
    )
    admin.create_gateway(slug="main", networks=["local"], signer=SIGNER_KEY, treasuries={"local": A})
    yield made
    made.close()


def plan(**changes: object) -> dict[str, object]:
    price = {"network": "local", "chain_id": 31337, "token": C, "decimals": 6, "symbol": "tUSD", "amount": 5}
    fields = {"slug": "pro", "name": "Pro", "product": "api", "interval": "month", "gateway_slug": "main"}
    return fields | {"contract_slug": "shop", "prices": [price | changes]}


def test_only_what_is_listed_is_bound_and_sold_in(engine):
    admin = engine.admin(ADMIN)
    with pytest.raises(NotAllowed) as refused:
        admin.create_contract(slug="shop", network="local", address=C)
    assert (refused.value.field, refused.value.code) == ("address", "not_allowed")
    assert not admin.contracts()
    admin.create_contract(slug="shop", network="local", address=A)
    with pytest.raises(NotAllowed) as refused:
        admin.create_plan(**plan(token=B))
    assert refused.value.field == "prices"
    admin.create_plan(**plan())
    with pytest.raises(NotAllowed):
        admin.revise_plan("pro", version=1, prices=plan(token=B)["prices"])
    # The chain's own coin is no contract that could be another than it seems.
    admin.revise_plan("pro", version=1, prices=plan(token=NATIVE_COIN, symbol="ETH", decimals=18)["prices"])


def test_a_list_keeps_what_is_in_use_until_that_is_archived(engine):
    admin = engine.admin(ADMIN)
    admin.create_contract(slug="shop", network="local", address=A)
    admin.create_plan(**plan())
    for name, value in (("allowed_contracts", [B]), ("allowed_tokens", [])):
        with pytest.raises(NotAllowed) as refused:
            admin.update_network("local", version=1, **{name: value})
        assert refused.value.field == name
    admin.archive_plan("pro")
    admin.archive_contract("shop", "local", version=1)
    after = admin.update_network("local", version=1, allowed_contracts=[B], allowed_tokens=[])
    assert (after.allowed_contracts, after.allowed_tokens) == ((B,), ())
    entry = admin.audit(object_="network:local")[-1]
    assert entry.action == "network.update"
    assert entry.changes["allowed_tokens"] == [[C], []]
    assert entry.changes["allowed_contracts"] == [[A, B], [B]]
    free = admin.update_network("local", version=2, allowed_contracts=None, allowed_tokens=None)
    assert (free.allowed_contracts, free.allowed_tokens) == (None, None)
    admin.create_contract(slug="other", network="local", address=C)


def test_a_list_is_of_addresses_and_an_administrators(engine):
    admin = engine.admin(ADMIN)
    with pytest.raises(InvalidAddress) as refused:
        admin.update_network("local", version=1, allowed_tokens=["0x12"])
    assert refused.value.field == "allowed_tokens"
    for wrong in ("0x" + "12" * 20, 7, [C, C]):
        with pytest.raises(InputError) as refused:
            admin.update_network("local", version=1, allowed_contracts=wrong)
        assert refused.value.field == "allowed_contracts"
    with pytest.raises(PermissionDenied):
        engine.admin(Actor("ops", frozenset({Role.FINANCE_OPS}))).update_network("local", version=1, allowed_tokens=[])
