"""Plugins that disagree, readers that crash, sessions in two threads: each harms itself alone."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from engine_shop import START, build_shop, stock
from messages_bench import Recorder, make_bench
from pydantic import BaseModel
from sqlalchemy import create_engine

from databases import open_sql
from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.errors import HostTransactionError, PluginError, RpcUnavailable
from evmbilling.plugins import hookimpl
from evmbilling.ports.lanes import Call
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.wiring import make_plugin_manager


class NoOptions(BaseModel):
    """None."""


def plugin(name):
    class Plugin:
        @hookimpl
        def evmbilling_register_notifiers(self, registry):
            registry.add(name, lambda options: Recorder(), implements=Recorder, options=NoOptions)

    return Plugin()


@pytest.mark.fault("O06")
@pytest.mark.parametrize("name", ["pigeon", "log"])
def test_o06_two_plugins_never_answer_one_question(name):
    with pytest.raises(PluginError) as caught:
        make_plugin_manager([plugin("other"), plugin(name), plugin(name)])
    assert "has that name already" in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.fault("O08")
@pytest.mark.parametrize("path", ["SECURITY.md", "docs/reference/hooks.md"])
def test_o08_that_plugins_are_trusted_is_said(project, path):
    text = (project / path).read_text(encoding="utf-8")
    assert "rust" in text
    assert "process" in text


@pytest.mark.fault("O21")
@pytest.mark.both_databases
def test_o21_a_chain_that_fails_leaves_the_others_alone(backend, open_storage):
    clock = FrozenClock(START)
    chains = [FakeChain(31337, start=clock.now()), FakeChain(31338, start=clock.now())]
    shop = stock(build_shop(open_storage(backend, clock), clock, chains=chains))
    order = shop.checkout(network="fake2")
    chains[0].fail()
    chains[1].pay(order.order)
    chains[1].mine(3)
    shop.catch_up()
    with pytest.raises(RpcUnavailable):
        shop.engine.read_chain("fake")
    shop.engine.read_chain("fake2")
    shop.intake()
    assert shop.allowed()


def in_a_thread(work):
    """Return what work in another thread raised, or None."""
    caught = []

    def run():
        try:
            work()
        except HostTransactionError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return caught[0] if caught else None


@pytest.mark.fault("O22")
@pytest.mark.both_databases
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_o22_one_connection_in_two_threads_is_refused(fresh_url, database):
    url, clock = fresh_url(database), FrozenClock(START)
    bench = make_bench(open_sql(url, clock), clock)
    host = create_engine(url, connect_args={"check_same_thread": False} if database == "sqlite" else {})
    with host.connect() as connection:
        with bench.engine.within(connection) as billing:
            assert not billing.access("u1").allowed

            def call():
                billing.access("u1")

            def join():
                with bench.engine.within(connection):
                    pass

            assert "another thread" in str(in_a_thread(call))
            assert "another thread" in str(in_a_thread(join))
            with bench.engine.within(connection) as again:
                assert not again.access("u1").allowed
        assert in_a_thread(join) is None
        connection.rollback()
    host.dispose()
    bench.storage.close()


def test_no_call_begins_when_the_budget_is_used_up():
    begun = []

    def work(n):
        begun.append(n)
        threading.Event().wait(0.15)

    calls = [Call(partial(work, n), timedelta(seconds=5)) for n in range(5)]
    ended = [one for some in ThreadLanes().run({"a": calls}, timedelta(seconds=0.2)) for one in some]
    assert [(one.index, one.begun) for one in sorted(ended, key=lambda one: one.index)] == [
        (n, n in begun) for n in range(5)
    ]
    assert begun == [0, 1]


def test_lanes_that_are_closed_early_begin_nothing_more():
    begun = []
    go_on = threading.Event()

    def work(n):
        begun.append(n)
        go_on.wait(5 if n else 0)

    lanes = ThreadLanes()
    running = lanes.run({"a": [Call(partial(work, n), timedelta(seconds=5)) for n in range(3)]}, timedelta(minutes=1))
    assert [one.index for one in next(running)] == [0]
    running.close()
    go_on.set()
    threading.Event().wait(0.1)
    assert begun in ([0], [0, 1])
    assert lanes.has_room("a")
