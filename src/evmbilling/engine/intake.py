"""The intake: what evidence means for orders, in small batches, aggregates locked, exactly once.

Exactly once comes from the unique keys of receipts and their entries, not from sharing a commit with the cursor. A row
that the host holds locked is passed over; an item that cannot be understood is parked with its reason; others flow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from evmbilling.domain.identity import CreditIdentity
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.each_network import cursors_of, each_network
from evmbilling.engine.intake_batch import Batch, Incoming, IntakeReport, Verdict, Verdicts, parked
from evmbilling.errors import BillingError, RetryTransaction
from evmbilling.ports.storage import Unit

__all__ = ["IntakeReport", "parked", "run_intake"]

WIDEST = 5000
"""How many items are claimed at most to get past those of customers that somebody holds."""


def run_intake(ports: Ports, runner: Runner, *, limit: int, network: str | None = None) -> IntakeReport:
    """Take in one batch per network; see :meth:`evmbilling.engine.core.Engine.run_intake`."""
    total = IntakeReport()
    with each_network(ports) as attempt:
        for cursor in runner.read(lambda unit: cursors_of(unit, network)):
            report = attempt(partial(_take_network, ports, runner, cursor.chain_id, limit))
            total = _sum(total, report) if report is not None else total
    return total


def _take_network(ports: Ports, runner: Runner, chain_id: int, limit: int) -> IntakeReport:
    try:
        report = _take_batch(ports, runner, chain_id, limit)
        while report.left and not report.taken + report.parked and limit < WIDEST:
            # The whole batch belongs to customers that somebody holds: look past them.
            limit *= 4
            report = _take_batch(ports, runner, chain_id, limit)
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError:
        # One of them cannot be written: find it by taking them one at a time.
        return _one_by_one(ports, runner, chain_id, limit)
    return report


def _take_batch(ports: Ports, runner: Runner, chain_id: int, limit: int) -> IntakeReport:
    verdicts = _screen(ports, runner, lambda unit: Batch(ports, unit, chain_id).incoming(limit))
    return runner.write(lambda unit: Batch(ports, unit, chain_id, verdicts=verdicts).take(limit))


def _one_by_one(ports: Ports, runner: Runner, chain_id: int, limit: int) -> IntakeReport:
    """Take the items of a batch alone, each once; park what cannot be written and pass over what somebody holds."""
    total = IntakeReport()
    tried: set[CreditIdentity] = set()
    for _ in range(limit):
        before = len(tried)
        report = _take_one(ports, runner, chain_id, limit, tried)
        if len(tried) == before:
            break
        total = _sum(total, report)
    return total


def _take_one(ports: Ports, runner: Runner, chain_id: int, limit: int, tried: set[CreditIdentity]) -> IntakeReport:
    """Take the first item that was not tried; nothing is added to ``tried`` when there is none."""
    known = frozenset(tried)
    try:
        verdicts = _screen(ports, runner, lambda unit: Batch(ports, unit, chain_id, known).incoming(limit, most=1))
        batch = partial(Batch, chain_id=chain_id, known=known, tried=tried, verdicts=verdicts)
        return runner.write(lambda unit: batch(ports, unit).take(limit, most=1))
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError as error:
        reason = error.code
    return runner.write(lambda unit: Batch(ports, unit, chain_id, known, tried).park_first(limit, reason))


def _screen(ports: Ports, runner: Runner, look: Callable[[Unit], Iterable[Incoming]]) -> Verdicts | None:
    """Ask the host's screen about money that is new, outside every transaction; None when there is no screen.

    A verdict is asked for once: the receipt that is then written keeps it. A screen that fails holds.
    """
    if ports.screen is None:
        return None
    verdicts: dict[CreditIdentity, Verdict] = {}
    for money in runner.write(look):
        verdict: str = "hold"
        try:
            verdict = ports.screen(money.payer, money.identity.tx_hash)
        except Exception:  # noqa: BLE001  - whatever the host's code raises, nobody has said that this money is fine
            ports.telemetry.count("screen_failed")
        verdicts[money.identity] = "ok" if verdict == "ok" else "hold"
    return verdicts


def _sum(one: IntakeReport, other: IntakeReport) -> IntakeReport:
    return IntakeReport(taken=one.taken + other.taken, parked=one.parked + other.parked, left=one.left + other.left)
