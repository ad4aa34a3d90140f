"""What administration does over HTTP: subscribers who come from elsewhere, and fields that the engine knows."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from http_hosts import Host

from evmbilling.engine.admin.catalogue_input import contract_readers, gateway_readers, network_readers, plan_readers
from evmbilling.integrations.http import admin_bodies
from evmbilling.testing.merchant import simulated_merchant, wallet_of

ADMIN = {"user": "admin-1", "roles": "billing_admin"}
COMPUTED = {"contract": {"chain_id"}}
"""Fields that the engine fills in by itself."""


@pytest.fixture
def shop():
    return simulated_merchant(seed=17)


@pytest.fixture
def host(shop, mount) -> Host:
    return mount(shop.engine)


@pytest.mark.parametrize("kind", ["network", "gateway", "contract", "plan"])
def test_every_field_of_the_catalogue_can_be_sent(kind):
    readers = {
        "network": network_readers(None),
        "gateway": gateway_readers(None),
        "contract": contract_readers(None),
        "plan": plan_readers(),
    }[kind]
    body = getattr(admin_bodies, f"{kind.title()}Body")
    sent = set(body.model_fields) - {"interval_count"}
    assert sent == set(readers) - COMPUTED.get(kind, set())


def test_a_subscriber_from_elsewhere_has_access_and_is_asked_here(host, shop):
    until = shop.clock.now() + timedelta(days=10)
    body = {
        "external_id": "old-1",
        "user_id": "user-1",
        "plan": "pro",
        "wallet": wallet_of("user-1"),
        "paid_until": until.isoformat(),
        "zone": "Europe/Berlin",
    }
    tried = host.ask("POST", "/admin/subscriptions/adopt", json=body | {"dry_run": True}, **ADMIN)
    assert tried.status == 200
    assert host.ask("GET", "/me/access", user="user-1").json["allowed"] is False
    made = host.ask("POST", "/admin/subscriptions/adopt", json=body, **ADMIN)
    assert (made.status, made.json["subscription"]["status"]) == (200, "active")
    assert host.ask("POST", "/admin/subscriptions/adopt", json=body, **ADMIN).body == made.body
    assert host.ask("GET", "/me/access", user="user-1").json["allowed"] is True
    (held,) = shop.engine.subscriptions("user-1")
    assert (held.paid_until, held.zone) == (until, "Europe/Berlin")
    other = host.ask("POST", "/admin/subscriptions/adopt", json=body | {"quantity": 2}, **ADMIN)
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    past = host.ask(
        "POST",
        "/admin/subscriptions/adopt",
        json=body | {"external_id": "old-2", "user_id": "user-2", "paid_until": "2020-01-01T00:00:00Z"},
        **ADMIN,
    )
    assert (past.status, past.json["field"]) == (422, "paid_until")


def test_a_price_in_fiat_is_an_estimate_of_a_day(host):
    plan = {"version": 1, "price_usd_estimate": {"amount": "19.90", "currency": "EUR", "as_of": "2026-01-31"}}
    assert host.ask("PATCH", "/admin/plans/pro", json=plan, **ADMIN).status == 200
    shown = {one["slug"]: one["price_usd_estimate"] for one in host.ask("GET", "/plans").json["plans"]}
    assert shown["pro"] == "19.90 EUR (2026-01-31)"
    plan = {"version": 2, "price_usd_estimate": {"amount": "1", "as_of": "2026-02-30"}}
    refused = host.ask("PATCH", "/admin/plans/pro", json=plan, **ADMIN)
    assert (refused.status, refused.json["field"]) == (422, "price_usd_estimate.as_of")


@pytest.mark.fault("H22")
def test_h22_a_customer_cannot_have_any_number_of_open_orders(host, shop):
    shop.engine._ports = attrs.evolve(shop.engine._ports, open_orders=2)

    def buy(key: str, user: str = "user-1"):
        body = {"plan": "pack", "wallet": wallet_of(user)}
        return host.ask("POST", "/checkout", user=user, json=body, headers={"Idempotency-Key": key})

    assert [buy(f"key-{number}").status for number in range(3)] == [201, 201, 429]
    refused = buy("key-2").json
    assert (refused["code"], refused["details"]["limit"], refused["retry_safe"]) == ("too_many_open_orders", 2, True)
    assert [buy("key-0").status, buy("key-0", "user-2").status] == [200, 201]
    assert len(shop.engine.orders("user-1")) == 2
    first = shop.engine.orders("user-1")[0].ledger_id
    again = host.ask("POST", f"/checkout/{first}/requote", user="user-1", json={})
    assert (again.status, again.json["code"]) == (429, "too_many_open_orders")
