"""Whoever sets a variable wrongly, or under a name that is none, is told which: one line, without the value."""

from __future__ import annotations

import json
import logging

import pytest
from typer.testing import CliRunner

from evmbilling.cli.app import app
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import BillingError, ConfigurationError
from evmbilling.factory import BillingEngine
from evmbilling.settings import (
    BillingSettings,
    database_url,
    said_of,
    stored_references,
    strange_options,
    strange_variables,
)
from evmbilling.testing.merchant import ADMIN

CANARY = "canary-5d1c"


def options(**given):
    return json.dumps({key.replace("_", "."): value for key, value in given.items()})


@pytest.mark.parametrize(
    ("variables", "named", "said"),
    [
        ({"DATABASE_URL": CANARY}, "DATABASE_URL", "postgresql://"),
        ({"DATABASE_URL": f"mysql://{CANARY}"}, "DATABASE_URL", "sqlite:///"),
        ({"DATABASE_URL": f"postgresql+asyncpg://{CANARY}"}, "DATABASE_URL", "postgresql://"),
        ({"STORAGE": "cellar"}, "STORAGE", "there is no storage 'cellar'"),
        ({"STORAGE": "memory", "NOTIFIERS": "pigeon"}, "NOTIFIERS", "there is no notifier 'pigeon'"),
        ({"STORAGE": "memory", "QUOTA": "abacus"}, "QUOTA", "there is no quota 'abacus'"),
        ({"STORAGE": "memory", "PLUGINS": "raven"}, "PLUGINS", "has the plugin 'raven'"),
        (
            {"STORAGE": "memory", "NOTIFIERS": "log", "PLUGIN_OPTIONS": options(notifier_log={"levl": CANARY})},
            "PLUGIN_OPTIONS",
            "notifier 'log' of plugin 'builtins' of evmbilling: wrong options: levl",
        ),
        (
            {"STORAGE": "memory", "NOTIFIERS": "email"},
            "PLUGIN_OPTIONS",
            "notifier 'email' of plugin 'builtins' of evmbilling: wrong options: host",
        ),
        ({"STORAGE": "memory", "PLUGIN_OPTIONS": options(provider_evm={"x": CANARY})}, "PLUGIN_OPTIONS", "'evm'"),
        ({"PUBLIC_URL": f"ftp://{CANARY}"}, "PUBLIC_URL", "https://host is expected"),
        ({"PUBLIC_URL": "https://[shop"}, "PUBLIC_URL", "https://host is expected"),
        ({"WEBHOOK_EXCEPTIONS": "127.0.0.1:1,nonsense"}, "WEBHOOK_EXCEPTIONS", "host:port is expected"),
        ({"WEBHOOK_EXCEPTIONS": "127.0.0.1:99999"}, "WEBHOOK_EXCEPTIONS", "a port is from 1 to 65535"),
        ({"WEBHOOK_EXCEPTIONS": "a:80,[::1]:0"}, "WEBHOOK_EXCEPTIONS", "a port is from 1 to 65535"),
    ],
)
def test_what_cannot_be_built_names_its_variable(environment, variables, named, said):
    environment(**variables)
    with pytest.raises(BillingError) as caught:
        BillingEngine.from_settings()
    assert caught.value.field == f"BILLING_{named}"
    assert str(caught.value).startswith(f"BILLING_{named}: ")
    assert said in caught.value.message
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_that_cannot_be_named_are_said_of_their_variables():
    for field, named in (("schema", "SCHEMA"), ("prefix", "TABLE_PREFIX"), ("sender", "PLUGIN_OPTIONS")):
        with pytest.raises(ConfigurationError) as caught, said_of("BILLING_STORAGE"):
            raise ConfigurationError("it is wrong", field=field)
        assert str(caught.value) == f"BILLING_{named}: it is wrong"
    with pytest.raises(ConfigurationError) as caught, said_of("BILLING_STORAGE"):
        raise ConfigurationError("it is not set", field="env:NAME")
    assert caught.value.field == "env:NAME"


def test_every_url_that_our_connections_take_is_a_setting():
    for url in ("sqlite:///a.db", "sqlite+pysqlite:///a.db", "postgres://h/a", "postgresql+psycopg://h/a"):
        assert database_url(BillingSettings(database_url=url)) == url


SLIPS = {
    "BILLING_NOTIFIRES": "BILLING_NOTIFIERS",
    "BILLING_DB_SCHEMA": "BILLING_SCHEMA",
    "BILLING_DATABASE": "BILLING_DATABASE_URL",
    "BILLING_SEALKEY_FILE": "BILLING_SEAL_KEY_FILE",
    "billing_quta": "BILLING_QUOTA",
    "BILLING_TEAM_EMAIL": None,
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_variable_that_is_no_setting_is_told_with_the_one_that_was_meant(name):
    (told,) = strange_variables({name: "x", "BILLING_SCHEMA": "x", "billing_storage": "x"}, BillingSettings())
    assert (told.name, told.near) == (name, SLIPS[name])
    meant = f"; did you mean {SLIPS[name]}?" if SLIPS[name] else ""
    assert str(told) == f"{name}: there is no such setting, it is ignored{meant}"


def test_a_variable_that_holds_a_secret_is_not_strange():
    named = {"a": {"chain_id": 1, "rpc": ["env:BILLING_NODE", "env:BILLING_NODE_2"]}}
    kept = [SecretRef("env", "BILLING_SIGNER"), SecretRef("file", "BILLING_FILE")]
    environment = dict.fromkeys(["BILLING_NODE", "BILLING_NODE_2", "BILLING_SIGNER", "BILLING_FILE", "SHOP"], "x")
    told = strange_variables(environment | {"BILLING_EMPTY": ""}, BillingSettings(rpc_config=named), kept)
    assert [each.name for each in told] == ["BILLING_FILE"]


def test_an_engine_logs_variables_that_are_none_and_knows_what_its_rows_refer_to(environment, caplog):
    environment(STORAGE="memory", NOTIFIRES="log")
    with caplog.at_level(logging.WARNING, logger="evmbilling.settings"):
        engine = BillingEngine.from_settings()
    assert caplog.messages == [
        "BILLING_NOTIFIRES: there is no such setting, it is ignored; did you mean BILLING_NOTIFIERS?"
    ]
    environment(NODE="http://127.0.0.1:9")
    engine.admin(ADMIN).create_network(name="n", chain_id=31337, rpc_urls=["env:BILLING_NODE"], testnet=True)
    told = strange_variables({"BILLING_NODE": "x"}, BillingSettings(), stored_references(engine._ports.storage))
    assert told == []


def test_options_that_nobody_reads_are_named():
    given = {"notifier.log": {}, "notifier.pigeon": {}, "signer.hsm.one": {}, "quota.redis": {}}
    built = {"notifier": ["log"], "signer": ["hsm.one"], "quota": []}
    assert strange_options(BillingSettings(plugin_options=given), built) == ["notifier.pigeon", "quota.redis"]


def test_a_command_warns_on_standard_error_and_works(environment, tmp_path):
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/billing.db\n")
    environment(DATABASE_URL_FILE=str(tmp_path / "url"), NOTIFIRES="log", TEAM_EMAIL="x")
    done = CliRunner().invoke(app, ["db", "upgrade", "--json"])
    assert done.exit_code == 0, done.output
    assert done.stderr == (
        "warning: BILLING_NOTIFIRES: there is no such setting, it is ignored; did you mean BILLING_NOTIFIERS?\n"
    )
    assert json.loads(done.stdout)["revision"]
    environment(DATABASE_URL="")
    environment(DATABASE_URL_FILE="")
    done = CliRunner().invoke(app, ["db", "check"])
    assert (done.exit_code, "BILLING_DATABASE_URL: is not set" in done.stderr) == (2, True)
