"""The intake: what evidence means for orders, in small batches, aggregates locked, exactly once.

Exactly once comes from the unique keys of receipts and their entries, not from sharing a commit with the cursor. A row
that the host holds locked is passed over; an item that cannot be understood is parked with its reason; others flow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.engine.context import Ports, Runner, Screen
from evmbilling.engine.each_network import cursors_of, each_network
from evmbilling.engine.host_code import tell_callable
from evmbilling.engine.intake.batch import Batch, Incoming, Outside, Verdict, Verdicts
from evmbilling.engine.intake.outcome import IntakeReport
from evmbilling.engine.intake.telling import Telling, tell
from evmbilling.engine.reading.agreement import Quorum, quorum_of
from evmbilling.errors import BillingError, RetryTransaction
from evmbilling.ports.lanes import Call, Finished
from evmbilling.ports.storage import Unit

SCREEN_LANE = "screen"
SCREEN_LIMIT = timedelta(seconds=5)
"""How long the host's screen may take for one payment."""
SCREEN_BUDGET = timedelta(seconds=20)
"""How long it may take for a batch; the rest of the batch waits for the next."""
WIDEST = 5000
"""How many items are claimed at most to get past those of customers that somebody holds."""


@frozen
class _Place:
    """A chain, and whom to ask about large amounts there."""

    chain_id: int
    quorum: Quorum | None


def run_intake(ports: Ports, runner: Runner, *, limit: int, network: str | None = None) -> IntakeReport:
    """Take in one batch per network; see :meth:`evmbilling.engine.core.Engine.run_intake`."""
    total = IntakeReport()
    with each_network(ports) as attempt:
        for place in runner.read(lambda unit: _places(ports, unit, network)):
            report = attempt(partial(_take_network, ports, runner, place, limit))
            total = _sum(total, report) if report is not None else total
    return total


def _places(ports: Ports, unit: Unit, network: str | None) -> list[_Place]:
    chains = [cursor.chain_id for cursor in cursors_of(unit, network)]
    return [_Place(chain_id, quorum_of(ports, unit, chain_id)) for chain_id in chains]


def _take_network(ports: Ports, runner: Runner, place: _Place, limit: int) -> IntakeReport:
    try:
        report = _take_batch(ports, runner, place, limit)
        while report.left and not report.taken + report.parked and limit < WIDEST:
            # The whole batch belongs to customers that somebody holds: look past them.
            limit *= 4
            report = _take_batch(ports, runner, place, limit)
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError:
        # One of them cannot be written: find it by taking them one at a time.
        return _one_by_one(ports, runner, place, limit)
    return report


def _tell(ports: Ports, told: Sequence[Telling]) -> None:
    for telling in told:
        tell(ports, telling)


def _take_batch(ports: Ports, runner: Runner, place: _Place, limit: int) -> IntakeReport:
    outside = _ask(ports, runner, place.quorum, lambda unit: Batch(ports, unit, place.chain_id).incoming(limit))
    told: list[Telling] = []
    report = runner.write(lambda unit: Batch(ports, unit, place.chain_id, outside=outside, told=told).take(limit))
    _tell(ports, told)
    return report


def _one_by_one(ports: Ports, runner: Runner, place: _Place, limit: int) -> IntakeReport:
    """Take the items of a batch alone, each once; park what cannot be written and pass over what somebody holds."""
    total = IntakeReport()
    tried: set[CreditIdentity] = set()
    for _ in range(limit):
        before = len(tried)
        report = _take_one(ports, runner, place, limit, tried)
        if len(tried) == before:
            break
        total = _sum(total, report)
    return total


def _take_one(ports: Ports, runner: Runner, place: _Place, limit: int, tried: set[CreditIdentity]) -> IntakeReport:
    """Take the first item that was not tried; nothing is added to ``tried`` when there is none."""
    known = frozenset(tried)
    batch = partial(Batch, chain_id=place.chain_id, known=known)
    told: list[Telling] = []
    report, reason = None, ""
    try:
        outside = _ask(ports, runner, place.quorum, lambda unit: batch(ports, unit).incoming(limit, most=1))
        report = runner.write(
            lambda unit: batch(ports, unit, tried=tried, outside=outside, told=told).take(limit, most=1)
        )
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError as error:
        reason = error.code
    if report is None:
        report = runner.write(lambda unit: batch(ports, unit, tried=tried, told=told).park_first(limit, reason))
    _tell(ports, told)
    return report


def _ask(ports: Ports, runner: Runner, quorum: Quorum | None, look: Callable[[Unit], Sequence[Incoming]]) -> Outside:
    """Ask the host's screen and other nodes about money that is not credited yet, outside every transaction."""
    if ports.screen is None and quorum is None:
        return Outside()
    incoming = runner.write(look)
    verdicts = None if ports.screen is None else _screen(ports, ports.screen, incoming)
    agreed = {} if quorum is None else quorum.ask(ports, [money.log for money in incoming if money.is_large])
    return Outside(verdicts=verdicts, agreed=agreed)


def _screen(ports: Ports, screen: Screen, incoming: Sequence[Incoming]) -> Verdicts:
    """Ask the host's screen about money that is new.

    A verdict is asked for once: the receipt that is then written keeps it. A screen that fails, or does not answer in
    time, holds; what it was not asked about, because it hung before or took too long in all, waits for a later batch.
    """
    new = [money for money in incoming if money.is_new]
    if not new:
        return {}
    if not ports.lanes.has_room(SCREEN_LANE):
        ports.telemetry.count("screen_busy")
        return {}
    calls = [Call(partial(screen, money.payer, money.log.tx_hash), SCREEN_LIMIT) for money in new]
    verdicts: dict[CreditIdentity, Verdict] = {}
    for ended in ports.lanes.run({SCREEN_LANE: calls}, SCREEN_BUDGET):
        for one in ended:
            if one.begun:
                verdicts[new[one.index].log.identity] = _verdict(ports, one)
    return verdicts


def _verdict(ports: Ports, answer: Finished) -> Verdict:
    """Read an answer; nobody has said that money is fine unless the answer is ``"ok"``, in time."""
    if answer.error is not None and not isinstance(answer.error, Exception):
        raise answer.error
    if answer.error is not None:
        ports.telemetry.count("screen_failed")
        tell_callable(ports, "screen", answer.error)
    if answer.overdue:
        ports.telemetry.count("screen_overdue")
    return "ok" if answer.result == "ok" else "hold"


def _sum(one: IntakeReport, other: IntakeReport) -> IntakeReport:
    return IntakeReport(taken=one.taken + other.taken, parked=one.parked + other.parked, left=one.left + other.left)
