"""What a worker, its endpoints and the commands beside it say: one line each, no flood, and no secret."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sys

import pytest
from test_worker_steps import NOON, QUICK, Puppet, step, workers
from typer.testing import CliRunner
from worker_bench import Shop

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.cli.logs import JsonLines, PlainLines, logging_to_stderr
from evmbilling.errors import RpcUnavailable
from evmbilling.factory import BillingEngine
from evmbilling.integrations.metrics import metrics_page
from evmbilling.settings import BillingSettings
from evmbilling.testing.merchant import ADMIN


def record(message, *arguments, **extra):
    made = logging.getLogger("evmbilling.test").makeRecord(
        "evmbilling.test", logging.WARNING, "here", 1, message, arguments, None
    )
    vars(made).update(extra)
    return made


def test_lines_have_no_control_characters():
    wild = record("user %s\x1b[31m\r\nFAKE LINE", "a\u2028b\x00c", network="lo\ncal", ledger_id=None)
    plain = PlainLines().format(wild)
    assert "\n" not in plain
    assert plain.isprintable()
    assert plain.endswith(' WARNING evmbilling.test user a b c [31m FAKE LINE network="lo cal"')
    told = json.loads(JsonLines().format(wild))
    assert told["message"] == "user a b c [31m FAKE LINE"
    assert told["network"] == "lo\ncal"
    assert "\n" not in JsonLines().format(wild)
    assert "ledger_id" not in told


def test_a_field_of_a_plain_line_is_not_taken_for_another():
    made = record("paid", user_id='bob" ledger_id=other', ledger_id="mine", block=7, tx_hash="")
    told = PlainLines().format(made)
    assert told.endswith(r' paid user_id="bob\" ledger_id=other" ledger_id=mine block=7 tx_hash=""')


def test_a_traceback_stays_on_its_line_and_its_words_are_left_out():
    try:
        int("a\nb")
    except ValueError:
        made = record("broken")
        made.exc_info = sys.exc_info()
    plain, told = PlainLines().format(made), json.loads(JsonLines().format(made))["trace"]
    assert "\n" not in plain
    assert "test_worker_words.py:" in plain
    assert plain.endswith(" test_a_traceback_stays_on_its_line_and_its_words_are_left_out ValueError")
    assert told.splitlines()[-1] == "ValueError"
    assert "invalid literal" not in plain + told


def logging_now():
    root, own = logging.getLogger(), logging.getLogger("evmbilling")
    return list(root.handlers), root.level, own.level


def test_only_warnings_of_other_libraries_are_logged(capsys):
    before = logging_now()
    with logging_to_stderr(as_json=True):
        logging.getLogger("someone.else").info("chatter")
        logging.getLogger("evmbilling.x").info("said")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["said"]
    assert logging_now() == before


@pytest.mark.parametrize("arguments", [["--once"], ["--once", "--only", "nothing"]], ids=["done", "refused"])
def test_a_worker_inside_a_program_leaves_its_logging_as_it_was(shop: Shop, arguments):
    before = logging_now()
    given = {"BILLING_DATABASE_URL": shop.url, "BILLING_SECRET_KEY": canary("secret")}
    CliRunner(env=given).invoke(app, ["worker", *arguments])
    assert logging_now() == before


@pytest.mark.fault("G10")
def test_g10_a_failure_that_repeats_does_not_flood_the_log(caplog):
    made = workers(Puppet({"bad": [RpcUnavailable("away")] * 1000}), step("bad"), rhythm=QUICK, now=lambda: NOON)
    with caplog.at_level(logging.INFO, "evmbilling.worker"):
        for _ in range(1000):
            made.once()
    assert made.health().jobs["bad"].failing == 1000
    assert [entry.failing for entry in caplog.records] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert caplog.records[0].getMessage() == "bad failed 1 times: rpc_unknown: away"


def canary(name: str) -> str:
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


@pytest.mark.fault("G01")
def test_g01_no_command_and_no_endpoint_shows_a_secret(shop: Shop) -> None:
    rpc_key = "rpcCanary0123456789abcdef"
    given = {
        "BILLING_DATABASE_URL": shop.url,
        "BILLING_SECRET_KEY": canary("secret"),
        "BILLING_SEAL_KEY": canary("seal"),
        "BILLING_WEBHOOK_SECRET": "whsec_" + canary("hook"),
        "BILLING_NOTIFIERS": "log",
        "COLUMNS": "200",
    }
    box = SecretBox(BillingSettings(secret_key=given["BILLING_SECRET_KEY"]).secret_key)
    engine = BillingEngine(storage=SqlAlchemyStorage.open(shop.url), secrets=box)
    admin = engine.admin(ADMIN)
    url = f"http://127.0.0.1:9/v2/{rpc_key}"
    admin.create_network(name="dark", chain_id=31399, rpc_urls=[url], testnet=True, start_block=0)
    secrets = [
        rpc_key,
        *(value.removeprefix("whsec_") for name, value in given.items() if name[8:11] in {"SEC", "SEA"}),
    ]
    secrets += [canary("hook"), shop.node.accounts[1].key.removeprefix("0x")]
    shop.pay("user-1")
    said = [metrics_page(engine).body.decode()]
    for command in (
        ["worker", "--once"],
        ["worker", "--once", "--json"],
        ["doctor", "--json"],
        ["doctor"],
        ["audit", "--json"],
        ["deadletters", "list", "--json"],
        ["plugins", "list", "--json"],
        ["reader", "status", "--json"],
    ):
        answer = CliRunner(env=given).invoke(app, command)
        said.append(answer.output + answer.stderr + repr(answer.exception))
    engine.close()
    assert "readers:dark: failed (rpc_unknown" in said[1]
    everything = "".join(said)
    assert len(secrets) == 5
    assert [secret for secret in secrets if secret in everything] == []
