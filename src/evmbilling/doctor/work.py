"""Checks of what the database says about the work: readers, workers, messages, seals, clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from evmbilling.doctor.findings import Finding, Verdict
from evmbilling.doctor.patient import Patient
from evmbilling.domain.reading.watching import SIGN_OF_LIFE
from evmbilling.engine.books.sealing import check_key
from evmbilling.errors import SealKeyRefused
from evmbilling.working import chosen

_SKEW: Final = timedelta(seconds=30)
_LATE: Final = timedelta(minutes=5)
_VERY_LATE: Final = timedelta(hours=1)
_ESSENTIAL: Final = frozenset({"readers", "intake", "expiry", "renewals", "dispatcher", "hints"})


def check_readers(patient: Patient) -> Iterator[Finding]:
    """See how far each network is read."""
    now = patient.figures.now
    for known in patient.figures.networks:
        network, lag = patient.network(known.network), known.lag(now)
        if known.halted is not None:
            advice = "see the playbook Deep reorganisation; a person decides with `evmbilling reader resume`"
            yield _reader("fail", f"{known.network} stands still: {known.halted}", advice)
        elif known.block is None or lag is None or network is None:
            yield _unread(patient, known.network)
        elif network.max_lag is not None and lag.total_seconds() > network.max_lag:
            text = f"{known.network}: block {known.block} is {_seconds(lag)} s old, {network.max_lag} are allowed"
            yield _reader("fail", text, "see the playbook RPC outage")
        else:
            yield _reader("pass", f"{known.network}: block {known.block}, {_seconds(lag)} s old")


def _unread(patient: Patient, name: str) -> Finding:
    """Say what is missing where nothing has been read yet: something to read, somebody who reads, or a node."""
    network = patient.network(name)
    begins = network is not None and network.start_block is not None
    if not begins and not any(contract.network == name for contract in patient.contracts):
        advice = "bind a contract with the administration; reading begins by itself then"
        return _reader("warn", f"{name}: nothing is bound there yet, so there is nothing to read", advice)
    if "readers" in patient.figures.alive():
        advice = "look at what the check nodes says, and at the log of the worker: somebody tries"
    else:
        advice = "start a worker with the step readers: right after an installation nothing else is missing"
    return _reader("warn", f"{name}: nothing has been read yet", advice)


def check_workers(patient: Patient) -> Iterator[Finding]:
    """See that somebody does every step."""
    wanted = [step for step in chosen(patient.engine) if step.needs is None or patient.ports.seal_key is not None]
    if not any(lease.name.startswith(SIGN_OF_LIFE) for lease in patient.figures.leases):
        text = "no worker has been started yet: payments are not read, nothing falls due and nobody is told"
        yield Finding(check="workers", verdict="fail", text=text, advice="start `evmbilling worker`")
        return
    absent = [step.name for step in wanted if step.name not in patient.figures.alive()]
    essential = [name for name in absent if name in _ESSENTIAL]
    advice = "start `evmbilling worker`, or look at the log of the one that should do it"
    if essential:
        yield Finding(check="workers", verdict="fail", text=f"nobody does {', '.join(essential)}", advice=advice)
    others = [name for name in absent if name not in _ESSENTIAL]
    if others:
        yield Finding(check="workers", verdict="warn", text=f"nobody does {', '.join(others)}", advice=advice)
    if not absent:
        yield Finding(check="workers", verdict="pass", text=f"alive: {', '.join(step.name for step in wanted)}")


def check_clock(patient: Patient) -> Iterator[Finding]:
    """Compare this machine's clock with the database's."""
    skew = abs(patient.figures.skew)
    tolerance = patient.ports.clock_tolerance
    text = f"this machine and the database are {_seconds(skew)} s apart"
    advice = "synchronise both clocks (NTP); nothing falls due while they are too far apart"
    verdict: Verdict = "pass" if skew <= _SKEW else "warn"
    if tolerance is not None and skew > tolerance:
        verdict = "fail"
    yield Finding(check="clock", verdict=verdict, text=text, advice="" if verdict == "pass" else advice)


def check_messages(patient: Patient) -> Iterator[Finding]:
    """See that events leave, and that none is dead."""
    figures = patient.figures
    age = figures.outbox.age(figures.now)
    text = f"{figures.outbox.count} events wait, the oldest for {_seconds(age)} s"
    verdict = _by_age(age)
    advice = "" if verdict == "pass" else "see that a worker does the step dispatcher"
    yield Finding(check="messages", verdict=verdict, text=text, advice=advice)
    for (sink, state), depth in figures.deliveries.items():
        if state == "dead":
            advice = "see `evmbilling deadletters list`; replay them when the receiver is well"
            yield Finding(check="messages", verdict="warn", text=f"{sink}: {depth.count} dead", advice=advice)
        elif _by_age(depth.age(figures.now)) != "pass":
            text = f"{sink}: {depth.count} wait, the oldest for {_seconds(depth.age(figures.now))} s"
            yield Finding(check="messages", verdict="warn", text=text, advice="look at what the receiver answers")


def check_seals(patient: Patient) -> Iterator[Finding]:
    """See that append-only rows are sealed soon."""
    unsealed = patient.figures.unsealed
    with patient.ports.storage.unit(write=False) as unit:
        last = unit.last_seal()
        try:
            check_key(patient.ports, unit, last)
        except SealKeyRefused:
            text = f"the newest link is of another key ({last and last.key_id}) than this process has: it seals nothing"
            advice = "see the playbook Rotate BILLING_SEAL_KEY: a former key is still set here, or one is missing"
            yield Finding(check="seals", verdict="fail", text=text, advice=advice)
            return
    if unsealed is None:
        advice = "set BILLING_SEAL_KEY on workers; without it, changes by hand in the books are not noticed"
        yield Finding(check="seals", verdict="warn", text="sealing is off in this process", advice=advice)
    elif unsealed:
        text = f"{unsealed} rows of ledger and audit are not sealed after five minutes"
        yield Finding(check="seals", verdict="fail", text=text, advice="see that a worker does the step sealer")
    else:
        yield Finding(check="seals", verdict="pass", text="every row is sealed that should be")


def _by_age(age: timedelta) -> Verdict:
    return "fail" if age > _VERY_LATE else "warn" if age > _LATE else "pass"


def _reader(verdict: Verdict, text: str, advice: str = "") -> Finding:
    return Finding(check="readers", verdict=verdict, text=text, advice=advice)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
