"""Exchanging ``BILLING_SECRET_KEY``: what is stored is sealed again, and nobody has to stop for it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.messages.messages import WebhookEndpoint
from evmbilling.engine.admin.secrets import keepers, secrets_of
from evmbilling.errors import ConfigurationError, PermissionDenied
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY


def key(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


HOOK = "whsec_" + key("hook")
URLS = ("http://127.0.0.1:1/with-a-key", "http://127.0.0.1:2/with-a-key")


@pytest.fixture
def place(tmp_path, databases) -> str:
    url = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'billing.db')}"
    with opened(url, key("old")) as engine:
        admin = engine.admin(ADMIN)
        admin.create_network(
            name="local", chain_id=31337, rpc_urls=[*URLS, "env:THIRD"], testnet=True, credit_after="depth 3"
        )
        treasuries = {"local": "0x" + "11" * 20}
        admin.create_gateway(slug="main", networks=["local"], signer=SIGNER_KEY, treasuries=treasuries)
        admin.create_gateway(slug="other", networks=["local"], signer="env:KEY", treasuries=treasuries)
        admin.create_contract(
            slug="checkout",
            network="local",
            address="0x" + "22" * 20,
            start_block=1,
            webhook_secret=HOOK,
            fallback_rpc=[URLS[1]],
        )
        engine.endpoints(ADMIN).create(url="https://shop.example/hook", secret=HOOK)
    return url


@contextmanager
def opened(url: str, *keys: str) -> Iterator[BillingEngine]:
    engine = BillingEngine(storage=SqlAlchemyStorage.open(url), secrets=SecretBox(SecretStr(" ".join(keys))))
    try:
        yield engine
    finally:
        engine.close()


def revealed(engine: BillingEngine) -> dict[str, list[str]]:
    """Every stored secret in the clear, by what holds it; a reference to elsewhere as it is."""
    with engine._ports.storage.unit(write=False) as unit:
        kept = [(name, list(secrets_of(keeper))) for name, keeper in keepers(unit)]
    reveal = engine._ports.secrets.reveal
    return {name: [reveal(ref) if ref.kind == "enc" else ref.stored for ref in refs] for name, refs in kept}


def test_every_kind_of_secret_is_sealed_again_and_says_what_it_said(place: str):
    old, new = key("old"), key("new")
    with opened(place, old) as engine:
        before = revealed(engine)
    endpoint = next(name for name in before if name.startswith("endpoint:"))
    assert before == {
        "network:local": [*URLS, "env:THIRD"],
        "gateway:main": [SIGNER_KEY],
        "gateway:other": ["env:KEY"],
        "contract:checkout@local": [HOOK, URLS[1]],
        endpoint: [HOOK],
    }
    with opened(place, new, old) as engine:
        assert revealed(engine) == before
        with pytest.raises(PermissionDenied):
            engine.admin(Actor("ops", frozenset({Role.FINANCE_OPS}))).reseal_secrets()
        done = engine.admin(ADMIN).reseal_secrets()
        assert done == {"network:local": 2, "gateway:main": 1, "contract:checkout@local": 2, endpoint: 1}
        assert engine.admin(ADMIN).reseal_secrets() == {}
        audited = [entry for entry in engine.admin(ADMIN).audit(limit=1000) if entry.action == "secrets.reseal"]
        assert {entry.object: entry.changes for entry in audited} == {n: {"secrets": c} for n, c in done.items()}
    with opened(place, new) as engine:
        assert revealed(engine) == before


def test_one_that_cannot_be_read_leaves_all_as_they_were(place: str):
    with opened(place, key("lost")) as engine:
        engine.admin(ADMIN).update_gateway("main", version=1, signer=SIGNER_KEY)
    with opened(place, key("new"), key("old")) as engine:
        with pytest.raises(ConfigurationError) as refused:
            engine.admin(ADMIN).reseal_secrets()
        assert refused.value.field == "BILLING_SECRET_KEY"
        assert "gateway:main" in refused.value.message
        assert SIGNER_KEY not in str(refused.value)
    with opened(place, key("old")) as engine, engine._ports.storage.unit(write=False) as unit:
        (network,) = unit.networks()
        assert (network.version, [engine._ports.secrets.former(ref) for ref in network.rpc_urls]) == (1, [False] * 3)


def test_all_that_can_hold_a_secret_is_looked_at():
    """A record with a new field for a secret, or a new record with one, has to be met here."""
    kinds = (Network, PaymentGateway, PaymentContract, WebhookEndpoint)
    held = {kind.__name__: [f.name for f in attrs.fields(kind) if "SecretRef" in str(f.type)] for kind in kinds}
    assert held == {
        "Network": ["rpc_urls"],
        "PaymentGateway": ["signer", "relayer"],
        "PaymentContract": ["webhook_secret", "fallback_rpc"],
        "WebhookEndpoint": ["secrets"],
    }


def test_the_command_says_what_was_sealed_again(place: str):
    def run(keys: str, *more: str):
        env = {"BILLING_DATABASE_URL": place, "BILLING_SECRET_KEY": keys}
        return CliRunner(env=env).invoke(app, ["secrets", "reseal", *more])

    both = f"{key('new')} {key('old')}"
    lost = run(key("new"), "--json")
    assert (lost.exit_code, json.loads(lost.stdout)["error"]["field"]) == (2, "BILLING_SECRET_KEY")
    assert run("short").exit_code == 2
    told = run(both, "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["resealed"]["network:local"] == 2
    assert run(both).stdout == "every stored secret is sealed under the newest key\n"
    assert run(key("new")).exit_code == 0
