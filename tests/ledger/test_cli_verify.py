"""`evmbilling verify`: exits with 1 on any difference, in words and in JSON."""

from __future__ import annotations

import base64
import json
import time
from typing import get_args

import pytest
from ledger_records import SEAL_KEY
from typer.testing import CliRunner

from databases import make_sqlite
from evmbilling.cli import verify as command
from evmbilling.cli.app import app
from evmbilling.engine.verify.report import Code
from evmbilling.testing.merchant import _NO_SECRET

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def run(url, *arguments, **environment):
    keys = {
        "BILLING_DATABASE_URL": url,
        "BILLING_SEAL_KEY": base64.b64encode(SEAL_KEY).decode(),
        "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode(),
    }
    return CliRunner(env=WIDE | keys | environment).invoke(app, ["verify", *arguments])


def test_an_empty_database_is_proved(tmp_path):
    url = make_sqlite(tmp_path / "empty.db")
    answer = run(url)
    assert answer.exit_code == 0
    assert answer.stdout.splitlines()[-1] == "everything is proved"


def test_a_node_that_does_not_answer_is_a_difference(make_bookshop):
    shop = make_bookshop("sqlite")
    shop.merchant.buy()
    shop.engine.seal()
    answer = run(shop.place, "--json")
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert [(d["code"], d["subject"], d["reason"]) for d in told["differences"]] == [
        ("unproved", "network:local", "rpc_unknown")
    ]
    assert (told["ok"], told["seals"], told["counts"]["orders"]) == (False, "proved", 1)
    words = run(shop.place, "--full")
    assert words.exit_code == 1
    assert words.stdout.startswith("unproved network:local reason rpc_unknown\n")
    assert words.stdout.endswith("\n1 difference\n")


def test_progress_goes_to_standard_error(make_bookshop, monkeypatch):
    monkeypatch.setattr(command, "_STEP", 1)
    shop = make_bookshop("sqlite")
    shop.merchant.buy()
    assert "ledger_entries: 2\n" in run(shop.place).stderr
    assert run(shop.place, "--quiet").stderr == ""


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_tables_it_says_what_to_do(tmp_path, arguments):
    answer = run(f"sqlite:///{tmp_path}/none.db", *arguments)
    assert answer.exit_code == 1
    assert "evmbilling db upgrade" in answer.stderr


def test_a_seal_key_that_is_none_is_named(tmp_path):
    answer = run(f"sqlite:///{tmp_path}/none.db", BILLING_SEAL_KEY="short")
    assert answer.exit_code == 2
    assert "BILLING_SEAL_KEY" in answer.stderr
    assert "short" not in answer.stderr


def told_by(path):
    lines = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_what_was_found_is_written_for_prometheus(make_bookshop, tmp_path):
    path = tmp_path / "billing.prom"
    shop = make_bookshop("sqlite")
    shop.merchant.buy()
    before = time.time()
    assert run(shop.place, "--metrics", str(path), "--quiet").exit_code == 1
    told = told_by(path)
    assert before <= told.pop("evmbilling_verify_time_seconds") <= time.time()
    assert {name for name, value in told.items() if value} == {'evmbilling_verify_differences{code="unproved"}'}
    assert len(told) == len(get_args(Code))
    url = make_sqlite(tmp_path / "empty.db")
    assert run(url, "--metrics", str(path), "--quiet").exit_code == 0
    told = told_by(path)
    del told["evmbilling_verify_time_seconds"]
    assert set(told.values()) == {0}
    refused = run(url, "--metrics", str(tmp_path / "nowhere" / "billing.prom"), "--quiet")
    assert refused.exit_code == 2
    assert "metrics: cannot be written: No such file or directory" in refused.stderr
