"""Celery does the steps of a worker: real processes, a broker that is a file, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import warnings
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from celery.__main__ import main as celery_command
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "working"))

from test_worker_process import books, copied
from worker_bench import eventually, open_shop

import forks
from evmbilling.cli.app import app as command
from evmbilling.errors import InputError, RpcUnavailable
from evmbilling.integrations.celery import add_billing, beat_schedule
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.merchant import ADMIN, simulated_merchant
from evmbilling.working import STEPS

HERE = Path(__file__).parent
PAUSE = 0.25
"""Seconds between two looks at the database: Celery ticks once a second."""
TICKED = "readers,intake,expiry,renewals,dispatcher,release"


@pytest.fixture
def shop(anvil, tmp_path, databases):
    with open_shop(tmp_path, databases.sqlite_template, anvil) as made:
        yield made


@contextmanager
def celery(shop, name, **environment):
    """Run a Celery worker with two children and a clock until the end of the block."""
    broker = shop.folder / "broker"
    broker.mkdir(exist_ok=True)
    words = ["worker", "--beat", "-s", str(broker / name), "--pool", "prefork", "-c", "2", "-l", "warning"]
    log = shop.folder / f"{name}.log"
    log.touch()
    env = shop.environment() | {"CELERY_SHOP_FOLDER": str(broker)} | environment
    process = forks.begin(be_celery, *words, "--without-gossip", "--without-mingle", env=env, folder=HERE, out=log)
    try:
        yield process, log
    finally:
        if process.exitcode is None:
            with suppress(ProcessLookupError):  # it had no time to begin a session
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        process.join()


def be_celery(*words):
    """Be the command ``celery`` in a session of its own: its children have the warnings that a program has."""
    os.setsid()
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    warnings.resetwarnings()
    warnings.simplefilter("default")
    sys.path.insert(0, str(HERE))
    sys.argv = ["celery", "-A", "celery_shop", *words]
    celery_command()


def leases_run_out(path):
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE evmbilling_leases SET until = '2020-01-01T00:00:00.000000Z'")
    raw.close()


@pytest.mark.fault("D16")
def test_d16_celery_is_killed_and_started_again_and_the_books_are_those_of_a_calm_worker(shop, tmp_path):
    shop.pay("user-1")
    calm = copied(tmp_path)
    with celery(shop, "first", **{CRASH_VARIABLE: "transaction.after_commit:3"}) as (process, log):
        eventually(lambda: "signal 9" in log.read_text(), log)  # a child died behind a commit
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    leases_run_out(tmp_path / "shop.db")  # the minute goes by
    with celery(shop, "second") as (process, log):
        eventually(lambda: shop.engine.access("user-1").allowed, log, pause=PAUSE)
        eventually(lambda: shop.engine.deliveries(ADMIN).list(state="done"), log, pause=PAUSE)
        eventually(lambda: shop.engine.watch.figures().outbox.count == 0, log, pause=PAUSE)
        often = set(TICKED.split(",")) - {"release"}  # the clock of Celery begins with a pause
        eventually(lambda: shop.engine.watch.figures().alive() >= often, log, pause=PAUSE)
        process.terminate()
        process.join(40)
        assert process.exitcode == 0, log.read_text()
        makers = {line.split()[-1] for line in log.read_text().splitlines() if "engine made by" in line}
        assert str(process.pid) not in makers  # it was made by children, each for itself
        assert 1 <= len(makers) <= 2
    done = CliRunner(env=shop.environment() | {"BILLING_DATABASE_URL": calm}).invoke(
        command, ["worker", "--once", "--only", TICKED]
    )
    assert done.exit_code == 0, done.output
    assert books(shop.url) == books(calm)
    assert shop.engine.verify().ok


def eager_app(name="eager"):
    made = Celery(name, broker="memory://", backend="cache+memory://")
    made.conf.update(task_always_eager=True, task_store_eager_result=False)
    return made


@pytest.fixture
def eager():
    return eager_app()


def test_a_tick_does_what_is_due_and_says_how_it_went(eager):
    shop = simulated_merchant(seed=1)
    made = []
    tasks = add_billing(eager, lambda: made.append(shop.engine) or shop.engine)
    assert list(tasks) == [step.name for step in STEPS]
    offer = shop.checkout("user-1")
    shop.chain.pay(offer.order)
    shop.chain.mine(5)
    shop.clock.set(shop.chain.head.timestamp)
    assert tasks["readers"].delay().get() == {}  # it sends a tick for each network
    (told,) = tasks["intake"].delay("local").get().values()
    assert (told["condition"], told["failures"], told["error"]) == ("ok", 0, None)
    assert shop.engine.access("user-1").allowed
    assert eager.tasks["evmbilling.dispatcher"].delay().get()["dispatcher"]["calls"] > 0
    assert made == [shop.engine]
    assert shop.engine.watch.figures().alive() == {"readers", "intake", "dispatcher"}


def test_a_step_without_its_setting_is_off_and_one_that_fails_does_not_fail_its_task(eager, caplog):
    shop = simulated_merchant(seed=1)
    tasks = add_billing(eager, lambda: shop.engine, only=["sealer", "readers"], prefix="shop.billing")
    assert list(tasks) == ["readers", "sealer"]
    for _ in range(2):
        assert tasks["sealer"].delay().get()["sealer"]["condition"] == "off"

    def away(**_):
        raise RpcUnavailable

    shop.engine.read_chain = away
    told = tasks["readers"].delay("local").get()["readers:local"]
    assert (told["failing"], told["error"][:11]) == (1, "rpc_unknown")
    assert "readers:local failed 1 times" in caplog.text
    assert shop.engine.watch.figures().alive() == {"readers"}  # not overdue yet
    shop.clock.set(shop.clock.now() + timedelta(minutes=3))
    assert tasks["readers"].delay("local").get()["readers:local"]["condition"] == "overdue"
    assert shop.engine.watch.figures().alive() == {"readers"}  # somebody does it, and a node keeps them from it

    def broken(**_):
        raise RuntimeError

    shop.engine.read_chain = broken
    for _ in range(2):
        shop.clock.set(shop.clock.now() + timedelta(minutes=3))
        tasks["readers"].delay("local").get()
    assert shop.engine.watch.figures().alive() == frozenset()


def test_another_process_makes_an_engine_of_its_own(eager, monkeypatch):
    made = []

    def make():
        made.append(simulated_merchant(seed=1).engine)
        return made[-1]

    tasks = add_billing(eager, make, only=["expiry"])
    tasks["expiry"].delay().get()
    tasks["expiry"].delay().get()
    assert len(made) == 1
    monkeypatch.setattr(os, "getpid", lambda: 1)
    tasks["expiry"].delay().get()
    assert len(made) == 2


def test_two_applications_of_a_process_tick_their_own_engines():
    shops = [simulated_merchant(seed=seed) for seed in (1, 2)]
    apps = [eager_app(name) for name in ("first", "second")]
    for app, shop in zip(apps, shops, strict=True):
        add_billing(app, lambda shop=shop: shop.engine, only=["expiry"])
    beating = []
    for app in apps:
        app.finalize()
        app.tasks["evmbilling.expiry"].delay().get()
        beating.append([bool(shop.engine.watch.figures().alive()) for shop in shops])
    assert beating == [[True, False], [True, True]]


def test_the_schedule_is_the_table_of_steps():
    schedule = beat_schedule(queue="billing")
    assert {name: entry["schedule"] for name, entry in schedule.items()} == {
        f"evmbilling.{step.name}": step.pause for step in STEPS
    }
    assert schedule["evmbilling.intake"] == {
        "task": "evmbilling.intake",
        "schedule": 1.0,
        "options": {"expires": 3, "queue": "billing"},
    }
    assert list(beat_schedule(["sealer"], prefix="x")) == ["x.sealer"]
    with pytest.raises(InputError) as caught:
        beat_schedule(["cooks"])
    assert caught.value.field == "only"
    with pytest.raises(InputError):
        add_billing(Celery("none"), lambda: None, only=["cooks"])
