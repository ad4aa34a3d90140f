"""A worker leaves out only what nobody uses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import fewer_messages


class WorkerInteractor:
    """Keeps what it would have told."""

    def __init__(self):
        self.told = []

    @pytest.hookimpl
    def pytest_runtest_logstart(self, nodeid, location):
        self.told.append("begins")

    @pytest.hookimpl
    def pytest_runtest_logfinish(self, nodeid, location):
        self.told.append("ends")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report):
        self.told.append((report.when, report.outcome))


def told_of(phases, **options):
    """What the other process learns of a test with these phases: when, outcome, what was written."""
    manager, worker = pytest.PytestPluginManager(), WorkerInteractor()
    manager.register(worker)
    option = SimpleNamespace(**{"verbose": 0} | options)
    fewer_messages.pytest_configure(SimpleNamespace(workerinput={}, option=option, pluginmanager=manager))
    manager.hook.pytest_runtest_logstart(nodeid="t", location=("t", 1, "t"))
    for when, outcome, written in phases:
        report = pytest.TestReport("t", ("t", 1, "t"), {}, outcome, None, when, written)
        manager.hook.pytest_runtest_logreport(report=report)
    manager.hook.pytest_runtest_logfinish(nodeid="t", location=("t", 1, "t"))
    return worker.told


WELL = [("setup", "passed", ()), ("call", "passed", ()), ("teardown", "passed", ())]


def test_of_a_test_that_passes_its_own_phase_is_told():
    assert told_of(WELL) == [("call", "passed")]


@pytest.mark.parametrize(
    "phases",
    [
        [("setup", "failed", ()), ("teardown", "failed", ())],
        [("setup", "skipped", ())],
        [("call", "failed", ()), ("teardown", "failed", ())],
        [("setup", "passed", [("Captured stdout setup", "x")]), ("call", "passed", ())],
    ],
)
def test_what_failed_was_skipped_or_wrote_something_is_told(phases):
    assert told_of(phases) == [(when, outcome) for when, outcome, _ in phases]


@pytest.mark.parametrize("options", [{"durations": 5}, {"xmlpath": "report.xml"}, {"verbose": 1}])
def test_everything_is_told_where_it_is_used(options):
    assert told_of(WELL, **options) == ["begins", *((when, outcome) for when, outcome, _ in WELL), "ends"]


def test_xdist_still_has_what_is_replaced():
    from xdist.remote import WorkerInteractor as Theirs

    assert Theirs.__name__ == WorkerInteractor.__name__
    assert set(vars(WorkerInteractor)) - set(dir(object)) - {"__init__"} <= set(dir(Theirs))
