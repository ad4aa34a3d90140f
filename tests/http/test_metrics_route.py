"""Metrics in a host: who may read them, what else stays the host's, and how many series there can be."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from http_hosts import OPTIONS
from pydantic import SecretStr

from evmbilling import BillingSettings
from evmbilling.errors import ConfigurationError, StorageError
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.metrics import make_telemetry
from evmbilling.testing.merchant import ADMIN, simulated_merchant
from sampling import EVERYTHING

TOKEN = "a token that nobody guesses"
GUARDED = attrs.evolve(OPTIONS, metrics_token=SecretStr(TOKEN))


@pytest.fixture
def shop():
    return simulated_merchant(seed=11)


def scrape(host, path="/v1/metrics", method="GET", user=None, roles="", **headers):
    return host.ask(method, path, prefix="", user=user, roles=roles, headers=headers)


@pytest.mark.fault("H21")
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer \xe9\xff", 401),
    ],
)
def test_h21_the_metrics_are_for_roles_and_for_the_token(mount, shop, authorization, status):
    host = mount(shop.engine, GUARDED)
    reply = scrape(host, Authorization=authorization)
    assert reply.status == status
    assert (b"evmbilling_orders" in reply.body) is (status == 200)
    assert scrape(host, user="user-1", Authorization=authorization).status == (200 if status == 200 else 403)


@pytest.mark.fault("H21")
def test_h21_without_a_token_no_token_opens(mount, shop):
    host = mount(shop.engine, OPTIONS)
    for given in ("Bearer None", "Bearer ", "Bearer"):
        assert scrape(host, Authorization=given).status == 401
    assert scrape(host, user="ops-by-setting").status == 200


@pytest.mark.fault("H21")
def test_h21_paths_and_users_make_no_series(mount):
    """Strange paths, methods, wallets and plans leave as many series as there were."""
    shop = simulated_merchant(seed=12)
    telemetry = make_telemetry()
    assert telemetry is not None
    shop.engine._ports = attrs.evolve(shop.engine._ports, telemetry=telemetry)
    host = mount(shop.engine, GUARDED)

    def series() -> set[str]:
        lines = scrape(host, Authorization=f"Bearer {TOKEN}").body.decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    def strange(number: int) -> None:
        user, slug = f"user-{number}", f"plan-{number}"
        host.ask("GET", f"/nothing/{number}", user=user)
        host.ask(
            "POST",
            "/checkout",
            user=user,
            json={"plan": slug, "wallet": "0x" + f"{number:040x}"},
            headers={"Idempotency-Key": slug},
        )
        host.ask("POST", f"/contracts/{slug}/webhook", json={})

    strange(0)
    before = series()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(strange, range(1, 100 if EVERYTHING else 25)))
    assert series() == before


def test_the_rest_of_the_hosts_paths_stays_its_own(mount, shop):
    host = mount(shop.engine, GUARDED)
    assert scrape(host, "/v1/reports").status == 200
    theirs = scrape(host, "/v1/nothing")
    assert theirs.status == 404
    assert theirs.headers["content-type"] != "application/problem+json"
    assert scrape(host, method="POST", Authorization=f"Bearer {TOKEN}").status == 405


def test_a_host_puts_them_elsewhere_or_serves_none(mount, shop):
    elsewhere = mount(shop.engine, attrs.evolve(GUARDED, metrics_path="/internal/billing-metrics"))
    assert scrape(elsewhere, "/internal/billing-metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert scrape(elsewhere).status == 404
    none = mount(shop.engine, attrs.evolve(GUARDED, metrics_path=None))
    assert scrape(none, user="ops-by-setting").status == 404
    assert "/v1/metrics" not in none.ask("GET", "/openapi.json").json["paths"]


def test_the_token_stands_in_for_whoever_the_host_knows(mount, shop, monkeypatch):
    """A host whose own sign-in takes the header for its own, and refuses it, is not asked."""
    host = mount(shop.engine, GUARDED)
    strange = {"Authorization": f"Bearer {TOKEN}", "X-User": "prometheus", "X-Roles": "no-such-role"}
    assert scrape(host, **strange).status == 200
    assert host.ask("GET", "/plans", headers=strange).status == 500


def test_without_the_extra_the_reason_is_told(mount, shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in [name for name in sys.modules if name.startswith("evmbilling.adapters.prometheus")]:
        monkeypatch.delitem(sys.modules, name)
    reply = scrape(mount(shop.engine, GUARDED), Authorization=f"Bearer {TOKEN}")
    assert (reply.status, reply.json["code"], reply.json["details"]) == (
        503,
        "metrics_unavailable",
        {"cause": "missing_extra"},
    )
    assert "evmbilling[metrics]" in reply.json["detail"]


def test_without_its_database_the_reason_is_told(mount, shop, monkeypatch):
    def broken(*_: object) -> None:
        raise StorageError("the database is away")

    monkeypatch.setattr(type(shop.engine.watch), "figures", broken)
    reply = scrape(mount(shop.engine, GUARDED), Authorization=f"Bearer {TOKEN}")
    assert (reply.status, reply.json["details"]) == (503, {"cause": "storage_error"})


@pytest.mark.parametrize(
    ("field", "value"),
    [("metrics_token", "short"), ("metrics_path", "metrics"), ("metrics_path", "/v1/<path:x>"), ("metrics_path", "/")],
)
def test_options_that_cannot_be(field, value):
    with pytest.raises(ConfigurationError) as refused:
        Options(**{field: value})
    assert refused.value.field == field
    assert "short" not in str(refused.value)


def test_the_token_comes_from_the_settings_and_is_never_shown():
    options = Options.from_settings(BillingSettings(metrics_token=TOKEN))
    assert options.metrics_token is not None
    assert options.metrics_token.get_secret_value() == TOKEN
    assert TOKEN not in repr(options)
    with pytest.raises(ConfigurationError, match="BILLING_METRICS_TOKEN"):
        BillingSettings(metrics_token="short")
    assert ADMIN.user_id not in repr(options)
