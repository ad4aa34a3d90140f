"""`evmbilling worker` as a real process over a database in a file and a real chain: nobody else does its steps."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from pathlib import Path

import pytest
from worker_bench import Shop, eventually

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import ADMIN
from sampling import EVERYTHING as WHOLE
from workers_in_process import work_once

EVERYTHING = {
    *("readers", "intake", "expiry", "renewals", "charges", "relayer", "dispatcher", "hints", "release", "folder"),
    *("sealer", "checks"),
}


def once(shop: Shop, *arguments: str):
    return work_once(shop.environment(), *arguments)


def copied(folder: Path) -> str:
    """Copy the database, with what is in its log, and return the copy's url."""
    with sqlite3.connect(folder / "shop.db") as raw, sqlite3.connect(folder / "calm.db") as copy:
        raw.backup(copy)
    raw.close()
    copy.close()
    return f"sqlite:///{folder}/calm.db"


def books(url: str) -> object:
    """Receipts, balances, orders and subscriptions, without their ids and instants."""
    storage = SqlAlchemyStorage.open(url)
    with storage.unit(write=False) as unit:
        orders = unit.orders_of_user("user-1")
        receipts = unit.receipts_of_orders([order.ledger_id for order in orders])
        found = (
            [(order.status, order.amount, order.plan_slug) for order in orders],
            [(receipt.identity, receipt.amount, receipt.allocation) for receipt in receipts],
            [(s.status, s.plan_slug) for s in unit.subscriptions_of_user("user-1")],
            sorted((b.owner == "", b.account, b.asset.token, b.net_credit) for b in unit.all_balances()),
        )
    storage.close()
    return found


def test_a_paid_order_becomes_access_and_a_message_without_anybody_calling_a_step(shop: Shop) -> None:
    with shop.working("--json", "--health-port", "0") as process:
        assert set(process.told["steps"]) >= EVERYTHING
        shop.pay("user-1")
        eventually(lambda: shop.engine.access("user-1").allowed, process.err)
        sent = lambda: shop.engine.deliveries(ADMIN).list(state="done")  # noqa: E731  - a word for a question
        eventually(sent, process.err)
        eventually(lambda: shop.engine.watch.figures().outbox.count == 0, process.err)
        eventually(lambda: shop.engine.watch.figures().alive() >= EVERYTHING, process.err)
        status, health = eventually(lambda: _all_done(process), process.err)
        assert (status, health["status"]) == (200, "ok")
        assert {"readers:local", "intake:local", "sealer", "dispatcher"} <= set(health["steps"])
        assert process.get("/nothing")[0] == 404
        status, metrics = process.get("/metrics")
        assert status == 200
        assert 'evmbilling_worker_alive{step="intake"} 1.0' in metrics
        assert 'evmbilling_orders{status="confirmed"} 1.0' in metrics
        assert "evmbilling_blocks_read_total" in metrics
        assert process.end() == 0
    figures = shop.engine.watch.figures()
    assert figures.held() == ()
    assert figures.alive() == frozenset()
    lines = [json.loads(line) for line in process.err.read_text().splitlines()]
    assert any(line["logger"] == "evmbilling.seal" and line["seal"] == 1 for line in lines)


def _all_done(process):
    status, health = process.get()
    done = all(step["last_success"] and step["age_seconds"] >= 0 for step in health["steps"].values())
    return (status, health) if done else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_batch_finish_and_gives_the_leases_back(shop: Shop, number: int) -> None:
    with shop.working("--only", "readers,intake", "--json") as process:
        assert process.told == {"steps": ["readers", "intake"], "health_port": None}
        shop.node.mine(30)
        eventually(lambda: shop.engine.watch.figures().alive(), process.err)
        assert process.end(number) == 0
    figures = shop.engine.watch.figures()
    assert (figures.held(), process.err.read_text()) == ((), "")
    assert {lease.name for lease in figures.leases} >= {"reader:31337", "worker:readers", "worker:intake"}


@pytest.mark.fault("D16")
@pytest.mark.parametrize("place", ["transaction.after_commit:3", *(["dispatch.claimed"] if WHOLE else [])])
def test_d16_a_worker_that_is_killed_and_started_again_ends_in_the_same_books(
    shop: Shop, tmp_path: Path, place: str
) -> None:
    shop.pay("user-1")
    untouched = copied(tmp_path)
    steps = "readers,intake,dispatcher,renewals,release,expiry"
    os.environ[CRASH_VARIABLE] = place
    try:
        with shop.working("--only", steps) as process:
            process.process.join(60)
            assert process.process.exitcode == -signal.SIGKILL, process.err.read_text()
    finally:
        del os.environ[CRASH_VARIABLE]
    with sqlite3.connect(tmp_path / "shop.db") as raw:  # the minute goes by
        raw.execute("UPDATE evmbilling_leases SET until = '2020-01-01T00:00:00.000000Z'")
    raw.close()
    with shop.working("--only", steps) as process:
        eventually(lambda: shop.engine.access("user-1").allowed, process.err)
        assert process.end() == 0
    calm = Shop(shop.merchant, shop.node, untouched, tmp_path)
    assert once(calm, "--only", steps).exit_code == 0
    assert books(shop.url) == books(untouched)
    assert shop.engine.verify().ok


def test_a_network_that_hangs_delays_no_other(shop: Shop) -> None:
    with AnvilNode(chain_id=31338) as other:
        shop.engine.admin(ADMIN).create_network(
            name="other", chain_id=31338, rpc_urls=[other.url], testnet=True, start_block=0, rpc_timeout=2
        )
        shop.engine.admin(ADMIN).create_gateway(
            slug="second", networks=["other"], signer="env:NOTHING", treasuries={"other": shop.merchant.treasury}
        )
        os.kill(other.pid, signal.SIGSTOP)
        try:
            with shop.working("--json", "--health-port", "0") as process:
                shop.pay("user-1")
                eventually(lambda: shop.engine.access("user-1").allowed, process.err)
                eventually(lambda: "rpc_unknown" in _error(process, "readers:other"), process.err)
                eventually(lambda: not _error(process, "readers:local"), process.err)
                eventually(lambda: not _error(process, "intake:local"), process.err)
                assert process.end() == 0
        finally:
            os.kill(other.pid, signal.SIGCONT)


def _error(process, name):
    return process.get()[1]["steps"].get(name, {}).get("error") or ""


def test_once_does_every_step_and_says_what_failed(shop: Shop) -> None:
    shop.pay("user-1")
    done = once(shop, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["status"] == "ok"
    assert shop.engine.access("user-1").allowed
    assert drain(shop.engine).rounds == 0
    words = once(shop, "--only", "sealer,expiry")
    assert words.stdout.splitlines() == ["expiry: done in 1 call", "sealer: done in 1 call"]
    shop.engine.admin(ADMIN).create_network(
        name="gone", chain_id=31339, rpc_urls=["http://127.0.0.1:9"], testnet=True, start_block=0
    )
    failed = once(shop, "--only", "readers")
    assert failed.exit_code == 1
    assert failed.stdout.splitlines()[0].startswith("readers:gone: failed (rpc_unknown: ")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--only", "cooks"], "only"),
        (["--only", ","], "only"),
        (["--health-port", "70000"], "health_port"),
    ],
)
def test_what_was_given_wrongly_is_named(shop: Shop, arguments: list[str], field: str) -> None:
    answer = once(shop, "--json", *arguments)
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == field


def test_a_port_that_is_taken_is_named(shop: Shop) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        shop.working("--health-port", str(taken.getsockname()[1])) as process,
    ):
        process.process.join(30)
        assert process.process.exitcode == 2
        assert process.err.read_text() == "error: health_port: cannot listen: Address already in use\n"
