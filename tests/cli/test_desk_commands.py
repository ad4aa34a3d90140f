"""`evmbilling audit`, `deadletters` and `plugins`: what is listed is what is stored."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3

import pytest
from typer.testing import CliRunner

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.factory import BillingEngine
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import _NO_SECRET, ADMIN, plan_fields, repeatable_secrets, simulated_merchant


@pytest.fixture
def place(tmp_path, databases):
    url = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'desk.db')}"
    engine = BillingEngine(storage=SqlAlchemyStorage.open(url), secrets=repeatable_secrets())
    shop = simulated_merchant(storage=engine._ports.storage)
    shop.buy()
    yield url, engine, shop
    engine.close()


def run(url, *arguments):
    keys = {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode()}
    return CliRunner(env=keys | {"COLUMNS": "200", "BILLING_NOTIFIERS": "log"}).invoke(app, list(arguments))


def test_audit_shows_who_did_what(place):
    url, engine, _ = place
    told = json.loads(run(url, "audit", "--json").stdout)["entries"]
    assert [entry["audit_id"] for entry in told] == [e.audit_id for e in engine.admin(ADMIN).audit(limit=100)]
    assert {entry["actor"] for entry in told} == {"merchant-admin"}
    words = run(url, "audit", "--object", "network:local", "--limit", "1")
    assert words.exit_code == 0
    assert " merchant-admin network.create network:local " in words.stdout
    assert run(url, "audit", "--object", "network:none").stdout == "nothing is recorded\n"
    refused = run(url, "audit", "--limit", "0", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["field"]) == (2, "limit")


def test_nonces_of_a_relayer_are_used_up(place):
    url, engine, _ = place
    refused = run(url, "sending", "fence", "main", "local", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["field"]) == (2, "relayer")
    engine.admin(ADMIN).update_gateway("main", version=1, relayer=DEV_ACCOUNTS[5].key)
    told = json.loads(run(url, "sending", "fence", "main", "local", "--count", "3", "--by", "olga", "--json").stdout)
    queued = engine.sending(ADMIN).transmissions()
    assert told["transmissions"] == [one.transmission_id for one in queued]
    assert (told["nonces"], told["sender"]) == (3, DEV_ACCOUNTS[5].address)
    assert [(one.to, one.value, one.data) for one in queued] == [(told["sender"], 0, b"")] * 3
    assert engine.admin(ADMIN).audit(limit=100)[-1].actor == "olga"
    again = run(url, "sending", "fence", "main", "local")
    assert again.exit_code == 1
    for one in queued:
        engine.sending(ADMIN).withdraw(one.transmission_id)
    words = run(url, "sending", "fence", "main", "local")
    assert words.stdout == f"64 nonces of {DEV_ACCOUNTS[5].address} on local will be used up\n"


def test_dead_letters_are_listed_and_tried_again(place):
    url, engine, shop = place
    assert run(url, "deadletters", "list").stdout == "there are none\n"
    shop.engine._ports.notifiers["broken"] = Broken()
    shop.engine.dispatch()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE evmbilling_deliveries SET state = 'dead'")
    raw.close()
    dead = engine.deliveries(ADMIN).list(state="dead")
    assert dead
    told = json.loads(run(url, "deadletters", "list", "--json").stdout)["deadletters"]
    assert [(one["event_id"], one["sink"]) for one in told] == [(one.event_id, one.sink) for one in dead]
    assert run(url, "deadletters", "list", "--sink", "notifier:x").stdout == "there are none\n"
    assert f"{dead[0].event_id} notifier:broken " in run(url, "deadletters", "list").stdout
    unknown = run(url, "deadletters", "replay", "--sink", "notifier:nope", "--json")
    told = json.loads(unknown.stdout)["error"]
    assert (unknown.exit_code, told["code"], told["field"]) == (2, "not_found", "sink")
    assert "notifier:nope" in told["message"]
    for idle in ("notifier:log", "notifier:broken"):  # one is configured, one was
        assert run(url, "deadletters", "replay", "nothing", "--sink", idle).stdout == "0 will be tried again\n"
    one = json.loads(run(url, "deadletters", "replay", dead[0].event_id, "--by", "anna", "--json").stdout)["replayed"]
    assert [(each["event_id"], each["state"]) for each in one] == [(dead[0].event_id, "waiting")]
    assert engine.admin(ADMIN).audit(object_=f"event:{dead[0].event_id}")[-1].actor == "anna"
    assert run(url, "deadletters", "replay").stdout == f"{len(dead) - 1} will be tried again\n"
    assert engine.deliveries(ADMIN).list(state="dead") == []


def test_a_deposit_address_is_shown_looked_at_again_and_swept(place):
    url, engine, shop = place
    admin = shop.engine.admin(ADMIN)
    admin.update_gateway("main", version=1, relayer=DEV_ACCOUNTS[1].key)
    contract = "0x" + "de" * 20
    admin.create_contract(slug="sweeper", network="local", address=contract, kind="deposit", start_block=1)
    fields = plan_fields(shop, "sent", contract_slug="sweeper", product="book")
    admin.create_plan(**fields | {"prices": fields["prices"][:1]})
    offer = shop.engine.checkout(plan="sent", user_id="ann", idempotency_key="ann-1")
    shown = json.loads(run(url, "deposits", "show", offer.ledger_id, "--json").stdout)
    assert (shown["address"], shown["held"], shown["sweeps"]) == (offer.address, "0", 0)
    words = run(url, "deposits", "look", offer.ledger_id, "--by", "anna").stdout
    assert words.startswith(f"{offer.address} on chain {shop.chain.chain_id}\nheld 0 base units; ordered: 0 sweeps")
    sent = run(url, "deposits", "sweep", offer.ledger_id, "--token", contract, "--json")
    # The node of the simulated network is not there for another process.
    assert (sent.exit_code, json.loads(sent.stdout)["error"]["code"]) == (1, "rpc_unknown")
    told = [(e.actor, e.action) for e in engine.admin(ADMIN).audit(object_=f"order:{offer.ledger_id}")]
    assert told == [("anna", "deposit.look")]
    absent = run(url, "deposits", "show", "nothing", "--json")
    assert (absent.exit_code, json.loads(absent.stdout)["error"]["field"]) == (2, "ledger_id")


class Broken:
    """A notifier that never succeeds."""

    ordered = False

    def wants(self, event):
        return True

    def notify(self, event):
        raise ValueError("broken")


def test_plugins_are_listed_with_what_is_selected(tmp_path):
    told = json.loads(run("sqlite:///nothing.db", "plugins", "list", "--json").stdout)["plugins"]
    found = {(entry["role"], entry["name"]): entry["selected"] for entry in told}
    assert found["storage", "sqlalchemy"] is True
    assert found["notifier", "log"] is True
    assert found["provider", "evm"] is None
    assert "notifier log: " in run("sqlite:///nothing.db", "plugins", "list").stdout
