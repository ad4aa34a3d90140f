"""`evmbilling reader backfill`: to the head, killed and run again, and over blocks that were read before."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from evm_servers import ScriptedNode, each, scripted
from typer.testing import CliRunner

import forks
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli import main
from evmbilling.cli.app import app
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.factory import BillingEngine
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import _NO_SECRET, anvil_merchant, repeatable_secrets

CAP = 10


@pytest.fixture
def failures() -> list[ValueError]:
    return []


@pytest.fixture
def chain(anvil: AnvilNode, failures: list[ValueError]) -> Iterator[ScriptedNode]:
    """A node that takes ten blocks at once, and fails as often as ``failures`` has items."""

    def answer(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs" and failures:
            return failures.pop()
        asked = params[0] if method == "eth_getLogs" else {}
        if "toBlock" in asked and int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) >= CAP:
            return ValueError(-32602, f"query exceeds max block range {CAP}")
        return anvil.rpc(method, *params)

    with scripted(each(answer)) as node:
        yield node


@pytest.fixture
def url(anvil: AnvilNode, chain: ScriptedNode, tmp_path: Path, databases: Any) -> str:
    """A database of a merchant whose treasury got five transfers, the last of them some while ago."""
    place = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'shop.db')}"
    storage = SqlAlchemyStorage.open(place)
    shop = anvil_merchant(BillingEngine(storage=storage, secrets=repeatable_secrets()), anvil, rpc_url=chain.url)
    mint = "0x40c10f19" + encode(["address", "uint256"], [shop.treasury, 7]).hex()
    for _ in range(5):
        anvil.send({"from": anvil.accounts[0].address, "to": shop.token.token, "data": mint, "gas": "0x186a0"})
        anvil.mine(10)
    anvil.mine(110)
    storage.close()
    return place


def environment(url: str) -> dict[str, str]:
    secret = base64.b64encode(_NO_SECRET).decode()
    return {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": secret, "COLUMNS": "200", "NO_COLOR": "1"}


def run(url: str, *arguments: str) -> Any:
    return CliRunner(env=environment(url)).invoke(app, ["reader", "backfill", *arguments])


def evidence(url: str) -> list[ChainLog]:
    storage = SqlAlchemyStorage.open(url)
    with storage.unit(write=False) as unit:
        found = list(unit.logs_between(31337, 0, 10**6))
    storage.close()
    return found


def test_it_reads_to_the_head_and_says_so(anvil: AnvilNode, url: str) -> None:
    answer = run(url, "local", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told | {"blocks": 0} == {
        "network": "local",
        "outcome": "idle",
        "blocks": 0,
        "logs": 5,
        "rescanned": 0,
        "rewound": 0,
    }
    assert [log.log_index for log in evidence(url)] == [0] * 5
    words = run(url, "local", "--from", "3", "--quiet")
    assert words.exit_code == 0
    assert words.stdout == (
        f"local: 0 blocks and 0 logs read, {anvil.block_number - 2} blocks read again; it is read up to its head\n"
    )
    assert words.stderr == ""


def test_it_stops_at_a_block(anvil: AnvilNode, url: str) -> None:
    assert run(url, "local", "--to", "30").exit_code == 0
    storage = SqlAlchemyStorage.open(url)
    with storage.unit(write=False) as unit:
        cursor = unit.cursor(31337)
    assert cursor is not None
    assert cursor.block.number == 30
    held = storage.acquire_lease("reader:31337", "another", 60)
    answer = run(url, "local", "--wait", "1")
    assert held is not None
    assert (answer.exit_code, answer.stdout.split("; ")[1]) == (1, "another worker reads this network at the moment\n")
    storage.close()


@pytest.mark.fault("R11")
def test_r11_a_node_that_refuses_for_a_moment_is_asked_again(url: str, failures: list[ValueError]) -> None:
    failures += [ValueError(-32603, "internal error")] * 7
    answer = run(url, "local", "--json")
    assert answer.exit_code == 0, answer.output
    assert (json.loads(answer.stdout)["logs"], failures) == (5, [])


def test_reading_again_waits_for_the_lease_of_another_worker_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(url, "local").exit_code == 0
    storage = SqlAlchemyStorage.open(url)
    held = storage.acquire_lease("reader:31337", "another", 60)
    assert held is not None
    refused = run(url, "local", "--from", "3", "--wait", "0", "--quiet")
    assert (refused.exit_code, refused.stdout) == (1, "")
    monkeypatch.setattr("evmbilling.cli.backfill.time.sleep", lambda _: storage.release_lease(held))
    answer = run(url, "local", "--from", "3", "--wait", "30", "--json", "--quiet")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["rescanned"] > 0
    storage.close()


def test_bad_input_is_refused(url: str) -> None:
    for arguments in (["nowhere"], ["local", "--from", "3"]):
        answer = run(url, *arguments, "--json")
        assert answer.exit_code == 2, answer.output
        assert json.loads(answer.stdout)["error"]["field"] == "network"


def backfill() -> None:
    sys.argv = ["evmbilling", "reader", "backfill", "local", "--quiet"]
    main()


@pytest.mark.fault("D16")
def test_d16_killed_between_two_ranges_it_goes_on_and_misses_nothing(url: str, tmp_path: Path) -> None:
    copy = f"sqlite:///{tmp_path}/whole.db"
    (tmp_path / "whole.db").write_bytes((tmp_path / "shop.db").read_bytes())
    outcomes = []
    for at in ("transaction.after_commit:4", "transaction.before_commit:4", ""):
        done = forks.run(backfill, env=os.environ | environment(url) | {CRASH_VARIABLE: at})
        outcomes.append((done.returncode, len(evidence(url))))
        with sqlite3.connect(tmp_path / "shop.db") as raw:  # the half minute goes by
            raw.execute("UPDATE evmbilling_leases SET until = '2020-01-01T00:00:00.000000Z'")
        raw.close()
    assert outcomes[0][0] == outcomes[1][0] == -signal.SIGKILL
    assert outcomes[0][1] < outcomes[1][1]
    assert outcomes[2] == (0, 5)
    assert run(copy, "local").exit_code == 0
    assert evidence(copy) == evidence(url)
