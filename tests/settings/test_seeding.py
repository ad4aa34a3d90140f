"""Environment settings seed networks and gateways when they are absent, and never touch what is stored."""

from __future__ import annotations

import json
from contextlib import contextmanager
from threading import Barrier, Thread, get_ident

import pytest

from evmbilling import BillingEngine, BillingSettings, Role
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import SYSTEM, Actor
from evmbilling.domain.catalogue.catalogue import Finality
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.admin.catalogue import CatalogueAdmin
from evmbilling.errors import ConfigurationError
from evmbilling.settings import gateways_from, networks_from

pytestmark = pytest.mark.both_databases
ADMIN = Actor("ann", frozenset({Role.BILLING_ADMIN}))
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
URL = "https://user:canary-5d11@node.example/v3/canary-5d11"
SHOP, OTHER_SHOP = "0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
MAINNET = {"chain_id": 1, "rpc": ["env:NODE_1"], "credit_after": "safe", "irreversible_after": "finalized 64"}
LOCAL = {"chain_id": 31337, "rpc": ["env:NODE_2"], "testnet": True, "credit_after": "depth 12", "rpc_retries": 5}
MAIN = {
    "networks": ["mainnet", "local"],
    "signer": "env:ORDER_KEY",
    "treasuries": {"mainnet": SHOP, "local": OTHER_SHOP},
    "order_ttl": 900,
}
NETWORKS, GATEWAYS = {"mainnet": MAINNET, "local": LOCAL}, {"main": MAIN}
AT_ONCE = 8


@pytest.fixture(params=["sqlite", "postgres"])
def start(request, databases, environment):
    """Start an engine as a host does, whose environment says which networks and gateways there shall be."""
    with databases.lend(request.param) as url:
        environment(DATABASE_URL=url, SECRET_KEY=KEY)

        @contextmanager
        def started(networks=NETWORKS, gateways=GATEWAYS):
            environment(RPC_CONFIG=json.dumps(networks), EVM_GATEWAYS=json.dumps(gateways))
            engine = BillingEngine.from_settings()
            try:
                yield engine.admin(ADMIN)
            finally:
                engine.close()

        yield started


def content(admin):
    """Everything that seeding could write."""
    return (
        {network.name: network for network in admin.networks()},
        {gateway.slug: gateway for gateway in admin.gateways()},
        [(row.actor, row.action, row.object) for row in admin.audit()],
        len(admin.events()),
    )


SEEDED = {
    ("network.create", "network:mainnet"),
    ("network.create", "network:local"),
    ("gateway.create", "gateway:main"),
}


def assert_seeded_once(admin):
    networks, gateways, audit, _ = content(admin)
    settings = BillingSettings()
    assert networks == {network.name: network for network in networks_from(settings, SecretBox().seal)}
    assert gateways == {gateway.slug: gateway for gateway in gateways_from(settings)}
    assert {row.version for row in (*networks.values(), *gateways.values())} == {1}
    assert sorted(audit) == sorted((SYSTEM.user_id, action, what) for action, what in SEEDED)


def test_absent_networks_and_gateways_are_made_once_with_the_values_of_the_settings(start):
    with start() as admin:
        assert_seeded_once(admin)
        before = content(admin)
        local, main = before[0]["local"], before[1]["main"]
        assert (local.chain_id, local.credit_after, local.rpc_retries) == (31337, Finality("depth", 12), 5)
        assert (main.networks, main.signer, main.order_ttl) == (
            ("mainnet", "local"),
            SecretRef("env", "ORDER_KEY"),
            900,
        )
        assert dict(main.treasuries) == {"mainnet": SHOP, "local": OTHER_SHOP}
    with start() as admin:
        assert content(admin) == before


def test_an_absent_network_is_added_beside_those_that_are_stored(start):
    with start({"local": LOCAL}, {}) as admin:
        (stored,) = admin.networks()
    with start({"mainnet": MAINNET | {"rpc": [URL]}, "local": LOCAL | {"credit_after": "depth 99"}}, {}) as admin:
        networks = content(admin)[0]
        assert networks["local"] == stored
        (sealed,) = networks["mainnet"].rpc_urls
        assert (sealed.kind, SecretBox(BillingSettings().secret_key).reveal(sealed)) == ("enc", URL)
        assert "canary" not in repr(networks) + repr(admin.audit()) + sealed.stored


def _as_they_were(admin):
    assert admin.networks()


def _changed(admin):
    admin.update_network("local", version=1, credit_after="depth 3", rpc_urls=["env:NODE_3"])
    admin.update_gateway("main", version=1, order_ttl=600)


def _archived(admin):
    admin.archive_gateway("main", version=1)
    admin.archive_network("local", version=1)


@pytest.mark.parametrize("deed", [_as_they_were, _changed, _archived], ids=lambda deed: deed.__name__.strip("_"))
def test_what_is_stored_stays_as_it_is_whatever_the_settings_say_later(start, deed):
    """No field, no version, no row of the audit and no event, and what is archived stays so."""
    with start() as admin:
        deed(admin)
        before = content(admin)
    others = {
        "mainnet": MAINNET | {"credit_after": "finalized", "rpc": ["env:NODE_9"]},
        "local": LOCAL | {"credit_after": "depth 99", "rpc_retries": 1},
    }
    with start(
        others, {"main": MAIN | {"treasuries": {"mainnet": OTHER_SHOP, "local": SHOP}, "order_ttl": 1800}}
    ) as admin:
        assert content(admin) == before


def test_engines_that_start_at_once_make_one_of_each(start, monkeypatch):
    """Each has seen that the first network is absent before one of them makes it."""
    create, together, came, failed = CatalogueAdmin.create_network, Barrier(AT_ONCE), set(), []

    def create_together(self, **fields):
        if get_ident() not in came:
            came.add(get_ident())
            together.wait(timeout=30)
        return create(self, **fields)

    def begin():
        try:
            BillingEngine.from_settings().close()
        except BaseException as error:  # noqa: BLE001  - whatever it is, the test says it
            failed.append(error)

    with start({}, {}):
        pass
    monkeypatch.setattr(CatalogueAdmin, "create_network", create_together)
    monkeypatch.setenv("BILLING_RPC_CONFIG", json.dumps(NETWORKS))
    monkeypatch.setenv("BILLING_EVM_GATEWAYS", json.dumps(GATEWAYS))
    threads = [Thread(target=begin) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    with start() as admin:
        assert_seeded_once(admin)


def refusal(start, networks, gateways):
    with pytest.raises(ConfigurationError) as caught, start(networks, gateways):
        pass
    assert "\n" not in str(caught.value)
    return caught.value.field, caught.value.message


def test_wrong_settings_are_refused_by_the_name_of_their_variable(start):
    """Before anything is written, whatever else they say right."""
    for variable, networks, gateways, said in (
        ("RPC_CONFIG", NETWORKS | {"local": LOCAL | {"credit_after": "soon"}}, GATEWAYS, "local.credit_after: "),
        ("RPC_CONFIG", NETWORKS | {"local": LOCAL | {"chain_id": 1}}, GATEWAYS, "local and mainnet have one chain id"),
        ("EVM_GATEWAYS", NETWORKS, {"main": MAIN | {"signer": "0x" + "11" * 32}}, "main.signer: "),
    ):
        field, message = refusal(start, networks, gateways)
        assert (field, message[: len(said)]) == (f"BILLING_{variable}", said)
        assert "11" * 32 not in message
    with start({}, {}) as admin:
        assert content(admin) == ({}, {}, [], 0)


def test_a_gateway_of_a_network_that_is_nowhere_is_refused_by_the_name_of_its_variable(start):
    """A chain that is stored is not absent, whatever the settings call it: only gateways then find no such name."""
    said = ("BILLING_EVM_GATEWAYS", "main.networks: there is no network mainnet")
    assert refusal(start, {"local": LOCAL}, GATEWAYS) == said
    with start({"other": LOCAL}, {}) as admin:
        assert content(admin) == (
            {"local": admin.networks()[0]},
            {},
            [("system", "network.create", "network:local")],
            0,
        )
    assert refusal(start, {"local": LOCAL}, GATEWAYS) == said
    with start() as admin:
        assert_seeded_once(admin)
