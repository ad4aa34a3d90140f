"""The table of a worker's steps, and its threads, over engines that do what a test says."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, field

from evmbilling.engine.worker_steps import WorkerSteps
from evmbilling.errors import ConfigurationError, InputError, LeaseLost, RetryTransaction, RpcUnavailable
from evmbilling.testing.merchant import simulated_merchant
from evmbilling.working import ELSEWHERE, STEPS, Call, Rhythm, Step, Workers, chosen

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
QUICK = Rhythm(longest=0.01, part=lambda: 0)


def public(kind: type) -> set[str]:
    return {name for name, member in vars(kind).items() if callable(member) and not name.startswith("_")}


def test_every_step_of_the_engine_is_called_by_a_worker_or_it_says_why_not():
    called = {call.method for step in STEPS for call in step.calls}
    assert public(WorkerSteps) == called | set(ELSEWHERE)
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_the_whole_table_runs_on_a_real_engine():
    shop = simulated_merchant()
    offer = shop.checkout()
    shop.chain.pay(offer.order)
    shop.chain.mine(4)
    shop.clock.set(shop.chain.head.timestamp)
    workers = Workers(shop.engine, chosen(shop.engine), now=shop.clock.now, networks=lambda: ["local"])
    health = workers.once()
    assert {job.condition for name, job in health.jobs.items() if name != "sealer"} == {"ok"}
    assert health.jobs["sealer"].condition == "off"
    assert [job.error for job in health.jobs.values() if job.failures] == []
    assert shop.engine.access("user-1").allowed


@define
class Report:
    done: int = 0
    halted: object = None


@define
class Puppet:
    """An engine whose steps do what they are told, and note that they were called."""

    does: dict = field(factory=dict)
    calls: list = field(factory=list)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def call(**arguments):
            self.calls.append((name, *arguments.values()))
            todo = self.does.get(name, [])
            outcome = todo.pop(0) if todo else Report()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome() if callable(outcome) else outcome

        return call

    def count(self, name):
        return sum(call[0] == name for call in self.calls)


def step(name, **changes):
    values = {"calls": (Call(name, ("done",), stands=("halted", ())),), "pause": 1, "overdue": 60}
    return Step(name=name, **(values | changes))


def workers(engine, *steps, **changes):
    waited = changes.pop("waited", None)

    def wait(event, seconds):
        if waited is not None:
            waited.append(seconds)
        return event.wait(0.001)

    values = {"now": lambda: NOON, "networks": list, "rhythm": QUICK, "wait": wait}
    return Workers(engine, steps, **(values | changes))


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def running(made):
    thread = threading.Thread(target=made.run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "trouble", [RpcUnavailable(), RetryTransaction(), ValueError("a bug"), SystemExit(3), KeyboardInterrupt()]
)
def test_what_fails_stops_no_other_and_is_tried_again(trouble):
    engine = Puppet({"bad": [trouble] * 3})
    made = workers(engine, step("bad"), step("good"))
    thread = running(made)
    until(lambda: engine.count("bad") > 5 and engine.count("good") > 5)
    made.stop()
    thread.join(10)
    assert not thread.is_alive()
    health = made.health().jobs
    assert (health["bad"].failures, health["bad"].failing, health["bad"].error) == (3, 0, None)
    assert health["good"].failures == 0


def test_a_step_that_hangs_delays_no_other_and_is_waited_for_at_the_end():
    go_on = threading.Event()
    engine = Puppet({"slow": [lambda: (go_on.wait(20), Report())[1]]})
    made = workers(engine, step("slow"), step("good"))
    thread = running(made)
    until(lambda: engine.count("good") > 5)
    made.stop()
    thread.join(0.05)
    assert thread.is_alive()
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert engine.count("slow") == 1


def test_a_lease_that_was_lost_is_no_failure():
    engine = Puppet({"seal": [LeaseLost()]})
    made = workers(engine, step("seal"))
    assert made.once().jobs["seal"].failures == 0


def test_a_step_that_lacks_its_setting_is_off_and_another_setting_is_a_failure():
    engine = Puppet({"seal": [ConfigurationError("no key", field="seal_key")] * 5})
    made = workers(engine, step("seal", needs="seal_key"))
    thread = running(made)
    until(lambda: engine.count("seal"))
    time.sleep(0.05)
    made.stop()
    thread.join(10)
    assert engine.count("seal") == 1
    assert made.health().jobs["seal"].condition == "off"
    assert made.health().ok
    assert made.alive() == ()
    other = Puppet({"seal": [ConfigurationError("no url", field="rpc")]})
    assert workers(other, step("seal", needs="seal_key")).once().jobs["seal"].failures == 1


def test_work_that_stands_still_is_a_failure_with_its_reason():
    engine = Puppet({"renew": [Report(halted="clock_ahead")] * 3})
    made = workers(engine, step("renew"))
    (job,) = made.once().jobs.values()
    assert (job.failing, job.error) == (1, "stands still: clock_ahead")


def test_overdue_is_counted_from_the_last_success_or_the_start():
    clock = [NOON]
    engine = Puppet({"renew": [Report(), RpcUnavailable("gone")]})
    made = workers(engine, step("renew"), now=lambda: clock[0])
    assert made.once().jobs["renew"].last_success == NOON
    clock[0] += timedelta(seconds=60)
    assert made.once().ok
    assert made.alive() == ("renew",)
    clock[0] += timedelta(seconds=1)
    job = made.health().jobs["renew"]
    assert (job.condition, job.age, job.last_success) == ("overdue", 61, NOON)
    assert job.error == "rpc_unknown: gone"
    assert not made.health().ok


OUTSIDE = [RpcUnavailable("gone"), Report(halted="deep_reorg")]
OWN = [OSError("the disk is full"), ConfigurationError("no key"), Report(halted="configuration"), RetryTransaction()]


@pytest.mark.parametrize(("failure", "there"), [*((f, True) for f in OUTSIDE), *((f, False) for f in OWN)])
def test_whoever_is_kept_from_work_by_what_is_outside_is_there_and_who_fails_is_not(failure, there):
    clock = [NOON]
    made = workers(Puppet({"renew": [failure] * 9}), step("renew"), now=lambda: clock[0])
    for _ in range(9):
        clock[0] += timedelta(seconds=50)
        made.once(rounds=1)
    job = made.health().jobs["renew"]
    assert (job.condition, job.failing) == ("overdue", 9)
    assert made.alive() == (("renew",) if there else ())
    clock[0] += timedelta(seconds=61)  # it hangs
    assert made.alive() == ()


def test_each_network_has_a_thread_and_new_ones_are_found():
    networks = ["a"]
    go_on = threading.Event()
    engine = Puppet({"read": [lambda: (go_on.wait(20), Report())[1]]})
    made = workers(engine, step("read", by_network=True), networks=lambda: networks)
    thread = running(made)
    until(lambda: engine.calls)
    networks.append("b")
    until(lambda: engine.calls.count(("read", "b")) > 3)
    assert engine.calls.count(("read", "a")) == 1
    go_on.set()
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_network_that_is_archived_is_left_alone_and_is_not_overdue():
    networks = ["a", "b"]
    engine = Puppet()
    made = workers(engine, step("read", by_network=True), networks=lambda: list(networks))
    thread = running(made)
    until(lambda: {("read", "a"), ("read", "b")} <= set(engine.calls))
    networks.remove("b")
    until(lambda: list(made.health().jobs) == ["read:a"])
    before = engine.calls.count(("read", "b"))
    seen = engine.calls.count(("read", "a"))
    until(lambda: engine.calls.count(("read", "a")) > seen + 5)
    assert engine.calls.count(("read", "b")) == before
    networks.append("b")
    until(lambda: engine.calls.count(("read", "b")) > before)
    made.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_database_that_is_away_at_a_look_around_ends_nothing():
    looks = []

    def networks():
        looks.append(1)
        raise RetryTransaction

    engine = Puppet()
    made = workers(engine, step("good"), step("read", by_network=True), networks=networks)

    def beat(_):
        raise RetryTransaction

    thread = threading.Thread(target=made.run, args=(beat,))
    thread.start()
    until(lambda: len(looks) > 3 and engine.count("good") > 3)
    made.stop()
    thread.join(10)
    assert engine.count("read") == 0


def test_work_that_is_left_is_done_at_once_and_failures_back_off():
    waited = []
    engine = Puppet({"go": [Report(done=1), Report(done=1), Report(), RpcUnavailable(), RpcUnavailable()]})
    rhythm = Rhythm(part=lambda: 0)
    made = workers(engine, step("go", pause=2), rhythm=rhythm, waited=waited)
    thread = running(made)
    until(lambda: engine.count("go") > 6)
    made.stop()
    thread.join(10)
    assert [pause for pause in waited if pause != 10][:4] == [2, 2, 4, 2]


@pytest.mark.parametrize(
    ("rest", "took", "pause"), [(0, 100, 10), (20, 0.1, 10), (20, 1.5, 30), (20, 100, 300)], ids=str
)
def test_a_look_through_whole_tables_is_followed_by_a_pause_of_its_own_length(rest, took, pause):
    assert Step(name="x", calls=(), pause=10, overdue=600, rest=rest).pause_after(took) == pause


def test_back_off_doubles_to_a_bound_and_half_of_it_is_chance():
    least, most = Rhythm(part=lambda: 0), Rhythm(part=lambda: 1)
    assert [least.back_off(1, n) for n in (1, 2, 3, 20)] == [1, 2, 4, 30]
    assert [most.back_off(1, n) for n in (1, 2, 3, 20)] == [2, 4, 8, 60]
    assert most.back_off(600, 3) == 60
    assert (least.rest(10), most.rest(10)) == (10, 12)
    drawn = {Rhythm().back_off(1, 5) for _ in range(50)}
    assert len(drawn) > 5
    assert all(16 <= pause < 32 for pause in drawn)


def test_steps_are_chosen_by_name_in_the_order_of_the_table():
    engine = simulated_merchant().engine
    assert [s.name for s in chosen(engine, ["sealer", "readers"])] == ["readers", "sealer"]
    with pytest.raises(InputError) as caught:
        chosen(engine, ["cooks"])
    assert "there is no step cooks; there are readers, intake" in caught.value.message
    assert caught.value.field == "only"
    with pytest.raises(InputError):
        chosen(engine, [])
    with pytest.raises(ConfigurationError):
        chosen(object(), ["readers"])
    assert chosen(object()) == ()
