"""Events become deliveries and leave: in order, at least once, each sink in a lane of its own."""

from __future__ import annotations

import threading
from datetime import timedelta

import attrs
import pytest
from messages_bench import ADMIN, QuotaRecorder, Recorder

from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.domain.decisions import Publish
from evmbilling.domain.messages.delivery import SCHEDULE, SinkProfile
from evmbilling.domain.messages.events import EventType
from evmbilling.engine.messages.dispatch import DispatchReport
from evmbilling.errors import StorageError
from evmbilling.ports.network_guard import assert_network_allowed
from evmbilling.ports.notifier import PermanentFailure


def failing(error=ValueError):
    def raise_(event):
        raise error("card 4242 is https://secret.example/key")

    return raise_


def test_every_sink_is_told_everything_that_it_takes_in_order(make_any):
    log, paid, quota = Recorder(), Recorder(events=frozenset({"billing.payment.final.v1"})), QuotaRecorder()
    bench = make_any(notifiers={"log": log, "paid": paid}, quotas={"redis": quota})
    told = [
        *bench.publish(3),
        *bench.publish(type_=EventType.PAYMENT_FINAL, user="u2"),
        *bench.publish(type_=EventType.PLAN_CHANGED, user="u2"),
    ]
    report = bench.engine.dispatch()
    assert report == DispatchReport(handed_out=5, delivered=7)
    assert sorted(log.told, key=lambda e: e.event_id) == sorted(told, key=lambda e: e.event_id)
    assert log.by_aggregate() == {"customer:u1": [1, 2, 3], "customer:u2": [1, 2]}
    assert [e.type for e in paid.told] == [EventType.PAYMENT_FINAL]
    assert [e.type for e in quota.told] == [EventType.PLAN_CHANGED]
    assert bench.engine.dispatch() == DispatchReport()
    assert {d.state for d in bench.deliveries()} == {"done"}


def test_an_event_that_nobody_takes_is_handed_out_all_the_same(make_any):
    bench = make_any()
    bench.publish(2)
    assert bench.engine.dispatch() == DispatchReport(handed_out=2)
    assert bench.engine.dispatch() == DispatchReport()
    assert bench.deliveries() == []


def test_only_the_asked_sinks_are_delivered_to(make_memory):
    a, b = Recorder(), Recorder()
    bench = make_memory(notifiers={"a": a, "b": b})
    bench.publish()
    assert bench.engine.dispatch(sinks=["notifier:b"]).delivered == 1
    assert (a.seqs, b.seqs) == ([], [1])
    bench.engine.dispatch()
    assert (a.seqs, b.seqs) == ([1], [1])


def test_a_limit_bounds_a_batch_and_the_rest_follows(make_any):
    log = Recorder()
    bench = make_any(notifiers={"log": log})
    bench.publish(5)
    assert [bench.engine.dispatch(limit=2).delivered for _ in range(4)] == [2, 2, 1, 0]
    assert log.seqs == [1, 2, 3, 4, 5]


@pytest.mark.fault("O01")
def test_o01_a_notifier_that_raises_harms_no_other(make_any):
    bad, good = Recorder(failing()), Recorder()
    bench = make_any(notifiers={"a": bad, "b": good}, lanes=ThreadLanes())
    bench.publish(2)
    assert bench.engine.dispatch() == DispatchReport(handed_out=2, delivered=2, failed=2)
    assert good.seqs == [1, 2]
    assert bench.telemetry.labels[("deliveries", "a", "failed")] == 2
    assert [(d.state, d.attempts, d.error) for d in bench.deliveries(sink="notifier:a")] == [
        ("waiting", 1, "ValueError")
    ] * 2


@pytest.mark.fault("O02")
@pytest.mark.parametrize(
    ("error", "lanes"), [(KeyboardInterrupt, None), (SystemExit, ThreadLanes), (GeneratorExit, ThreadLanes)]
)
def test_o02_a_base_exception_is_not_swallowed_and_everything_is_stored(make_any, error, lanes):
    bad, good = Recorder(failing(error)), Recorder()
    bench = make_any(notifiers={"a": bad, "b": good}, **({"lanes": lanes()} if lanes else {}))
    bench.publish(2)
    with pytest.raises(error):
        bench.engine.dispatch()
    assert good.seqs == [1, 2]
    assert bench.states("notifier:b") == [(1, "done", 1), (2, "done", 1)]
    assert bench.states("notifier:a") == [(1, "waiting", 1), (2, "waiting", 1)]
    bad.before = None
    bench.clock.advance(seconds=6)
    assert bench.engine.dispatch().delivered == 2


class GivesUp(Exception):
    """A host's transaction ends without a commit."""


async def coroutine():
    return None


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (lambda event: True, "done"),
        (lambda event: "x" * 10_000_000, "done"),
        (lambda event: object(), "done"),
        (lambda event: coroutine(), "waiting"),
        (lambda event: (x for x in ()), "waiting"),
    ],
)
def test_o03_what_a_notifier_returns_is_looked_at(make_any, answer, state):
    bench = make_any(notifiers={"a": Recorder(answer)})
    (event,) = bench.publish()
    bench.engine.dispatch()
    delivery = bench.delivery(event, "notifier:a")
    assert delivery.state == state
    assert len(delivery.error or "") < 100


@pytest.mark.fault("O04")
def test_o04_a_notifier_that_hangs_is_left_and_the_others_go_on(make_any):
    release = threading.Event()
    stuck, good = Recorder(lambda _: release.wait(60) and None, limit=timedelta(seconds=1)), Recorder()
    bench = make_any(notifiers={"a": stuck, "b": good}, lanes=ThreadLanes())
    events = bench.publish(3)
    try:
        report = bench.engine.dispatch()
        assert (report.delivered, report.failed, report.left) == (3, 1, 2)
        assert good.seqs == [1, 2, 3]
        assert stuck.seqs == [1]
        assert bench.delivery(events[0], "notifier:a").error == "not done in time"
        assert bench.states("notifier:a") == [(1, "waiting", 1), (2, "waiting", 0), (3, "waiting", 0)]
    finally:
        release.set()
    bench.clock.advance(seconds=10)
    stuck.before = None
    assert bench.engine.dispatch().delivered == 3
    assert stuck.seqs == [1, 1, 2, 3]


def test_a_lane_that_keeps_hanging_rests_until_some_come_back(make_memory):
    release = threading.Event()
    stuck = Recorder(lambda _: release.wait(20) and None, limit=timedelta(seconds=0.05))
    bench = make_memory(notifiers={"a": stuck}, lanes=ThreadLanes())
    bench.publish(9)
    try:
        reports = [bench.engine.dispatch().failed for _ in range(6)]
    finally:
        release.set()
    assert reports == [1, 1, 1, 1, 0, 0]
    assert bench.states("notifier:a").count((9, "waiting", 0)) == 1


@pytest.mark.fault("O05")
def test_o05_a_notifier_may_call_the_engine(make_any):
    seen = []

    def ask(event):
        seen.append(bench.engine.access(event.data["user_id"]).allowed)
        seen.append(bench.engine.dispatch().delivered)

    bench = make_any(notifiers={"a": Recorder(ask)}, lanes=ThreadLanes())
    bench.publish(2)
    assert bench.engine.dispatch().delivered == 2
    assert seen == [False, 0, False, 0]


@pytest.mark.fault("O07")
def test_o07_a_notifier_that_changes_its_event_changes_only_its_own(make_any):
    def spoil(event):
        event.data.clear()
        event.data["user_id"] = "somebody else"

    good = Recorder()
    bench = make_any(notifiers={"a": Recorder(spoil), "b": good})
    bench.publish(limits={"seats": 5})
    bench.engine.dispatch()
    assert good.told[0].data == {"user_id": "u1", "limits": {"seats": 5}}
    with pytest.raises(AttributeError):
        good.told[0].seq = 9


@pytest.mark.fault("O09")
def test_o09_a_failure_is_tried_again_on_the_schedule_then_dead(make_any):
    bad = Recorder(failing())
    bench = make_any(notifiers={"a": bad})
    (event,) = bench.publish()
    pauses = []
    for _ in range(len(SCHEDULE)):
        bench.engine.dispatch()
        delivery = bench.delivery(event, "notifier:a")
        pauses.append(delivery.next_at - bench.clock.now())
        if delivery.state == "dead":
            break
        bench.clock.set(delivery.next_at - timedelta(milliseconds=1))
        assert bench.engine.dispatch() == DispatchReport()
        bench.clock.set(delivery.next_at)
    assert (delivery.state, delivery.attempts, len(bad.told)) == ("dead", 10, 10)
    assert len({e.event_id for e in bad.told}) == 1
    for pause, scheduled in zip(pauses[:-1], SCHEDULE[1:], strict=True):
        assert scheduled <= pause <= scheduled * 1.2
    bench.clock.advance(days=30)
    assert bench.engine.dispatch() == DispatchReport()


def test_a_permanent_failure_is_dead_at_once(make_memory):
    bench = make_memory(notifiers={"a": Recorder(failing(PermanentFailure))})
    (event,) = bench.publish()
    assert bench.engine.dispatch().dead == 1
    assert bench.delivery(event, "notifier:a").attempts == 1


@pytest.mark.fault("O12")
def test_o12_a_rolled_back_effect_is_never_told(make_any):
    log = Recorder()
    bench = make_any(notifiers={"log": log})
    event = bench.publish()[0]
    ghost = attrs.evolve(event, event_id=bench.ports.ids.new_id(), seq=2)

    def claim_and_give_up():
        with bench.storage.unit() as unit:
            assert [e.event_id for e in unit.claim_events(10)] == [event.event_id]
            unit.apply([Publish(ghost)])
            raise GivesUp

    with pytest.raises(GivesUp):
        claim_and_give_up()
    assert bench.engine.dispatch() == DispatchReport(handed_out=1, delivered=1)
    assert log.seqs == [1]


@pytest.mark.fault("O14")
def test_o14_a_poison_event_blocks_neither_its_customer_nor_others(make_any):
    def poison(event):
        if event.aggregate == "customer:u1" and event.seq == 1:
            raise ValueError

    log = Recorder(poison)
    bench = make_any(notifiers={"log": log})
    bench.publish(3)
    bench.publish(2, user="u2")
    assert bench.engine.dispatch() == DispatchReport(handed_out=5, delivered=4, failed=1)
    assert log.by_aggregate() == {"customer:u1": [1, 2, 3], "customer:u2": [1, 2]}


@pytest.mark.fault("O14")
def test_o14_an_ordered_sink_holds_back_one_customer_and_no_other(make_any):
    def poison(event):
        if event.aggregate == "customer:u1" and event.seq == 1 and len(log.told) < 20:
            raise ValueError

    log = Recorder(poison, ordered=True)
    bench = make_any(notifiers={"log": log})
    bench.publish(3)
    bench.publish(2, user="u2")
    for _ in range(4):
        bench.engine.dispatch()
    assert log.by_aggregate() == {"customer:u1": [1], "customer:u2": [1, 2]}
    log.before = None
    bench.clock.advance(seconds=6)
    for _ in range(3):
        bench.engine.dispatch()
    assert log.by_aggregate()["customer:u1"] == [1, 1, 2, 3]


@pytest.mark.fault("O15")
def test_o15_a_message_says_which_one_of_its_customer_it_is(make_any):
    log = Recorder()
    bench = make_any(notifiers={"log": log})
    bench.publish(3)
    bench.engine.dispatch()
    assert [(e.aggregate, e.seq) for e in log.told] == [("customer:u1", n) for n in (1, 2, 3)]


@pytest.mark.fault("O17")
def test_o17_a_dispatcher_that_slept_past_its_lease_changes_nothing(make_any):
    def sleep(event):
        # While this one stands still, its lease runs out and another dispatcher delivers.
        first.before = None
        bench.clock.advance(hours=1)
        assert bench.engine.dispatch().delivered == 2

    first = Recorder(sleep)
    bench = make_any(notifiers={"a": first}, lanes=ThreadLanes())
    bench.publish(2)
    report = bench.engine.dispatch()
    assert (report.delivered, report.left) == (0, 2)
    assert bench.states("notifier:a") == [(1, "done", 1), (2, "done", 1)]


@pytest.mark.fault("O19")
def test_o19_what_failed_together_does_not_come_back_together(make_any):
    bench = make_any(notifiers={"a": Recorder(failing())})
    bench.publish(50)
    assert bench.engine.dispatch(limit=20).failed == 20
    bench.engine.dispatch(limit=100)
    bench.clock.advance(seconds=7)
    bench.engine.dispatch(limit=100)
    times = {d.next_at for d in bench.deliveries()}
    assert len(times) == 50
    spread = max(times) - min(times)
    assert timedelta(seconds=30) < spread <= SCHEDULE[2] * 0.2


def test_the_same_seed_gives_the_same_schedule(make_memory):
    def run(seed):
        bench = make_memory(notifiers={"a": Recorder(failing())}, seed=seed)
        bench.publish(5)
        bench.engine.dispatch()
        return [d.next_at for d in bench.deliveries()]

    assert run(7) == run(7) != run(8)


def test_nothing_is_told_inside_a_transaction(make_any):
    log = Recorder(lambda _: assert_network_allowed())
    bench = make_any(notifiers={"log": log})
    bench.publish(2)
    assert bench.engine.dispatch().delivered == 2


def test_an_outcome_that_cannot_be_stored_is_delivered_again_when_the_claim_is_over(make_memory, monkeypatch):
    log = Recorder()
    bench = make_memory(notifiers={"log": log})
    bench.publish()

    def broken(*_):
        raise StorageError

    with monkeypatch.context() as patch:
        patch.setattr("evmbilling.engine.messages.dispatch.settled", broken)
        with pytest.raises(StorageError):
            bench.engine.dispatch()
    assert bench.engine.dispatch() == DispatchReport()
    bench.clock.advance(minutes=3)
    assert bench.engine.dispatch().delivered == 1
    assert [e.event_id for e in log.told] == [log.told[0].event_id] * 2


def test_profiles_other_than_ours_are_not_believed(make_memory):
    bad = Recorder()
    bad.profile = {"events": "everything"}
    bench = make_memory(notifiers={"a": bad})
    bench.publish()
    assert bench.engine.dispatch().delivered == 1
    assert SinkProfile().takes("anything")


def test_people_decide_about_dead_letters(make_any):
    bad = Recorder(failing(PermanentFailure))
    bench = make_any(notifiers={"a": bad})
    (event,) = bench.publish()
    bench.engine.dispatch()
    face = bench.engine.deliveries(ADMIN)
    (dead,) = face.list(state="dead")
    assert (dead.event_id, dead.sink) == (event.event_id, "notifier:a")
    face.redeliver(dead.event_id, dead.sink)
    assert bench.engine.dispatch().dead == 1
    bad.before = None
    face.redeliver(dead.event_id, dead.sink)
    assert bench.engine.dispatch().delivered == 1
    assert face.list(state="dead") == []
    assert [(a.actor, a.action, a.object) for a in bench.audit()] == [
        ("root", "delivery.redeliver", f"event:{event.event_id}")
    ] * 2
