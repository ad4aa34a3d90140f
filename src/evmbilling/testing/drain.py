"""Working until nothing changes any more: what workers do in the background, done now and to the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs
from attrs import frozen

from evmbilling.domain.actors import SYSTEM, Actor
from evmbilling.engine.admin.admin import Admin
from evmbilling.engine.books.folding import FoldReport
from evmbilling.engine.books.release import ReleaseReport
from evmbilling.engine.intake.outcome import IntakeReport
from evmbilling.engine.mandates.charges import ChargesReport
from evmbilling.engine.messages.dispatch import DispatchReport
from evmbilling.engine.reading.base import ReadReport
from evmbilling.engine.selling.deposits import DepositReport
from evmbilling.engine.selling.expiry import ExpiryReport
from evmbilling.engine.sending.relayer import RelayReport
from evmbilling.engine.subscriptions.renewals import RenewalReport
from evmbilling.errors import BillingError


class NotSettled(BillingError):
    """The effects did not settle; ``details`` say what the last round still did."""

    code = "not_settled"


class Drainable(Protocol):
    """The worker's steps of an engine."""

    def admin(self, actor: Actor) -> Admin:
        """Return the administrator's face."""
        ...

    def read_chain(self, network: str, *, max_blocks: int = 10_000) -> ReadReport:
        """Read a network forward."""
        ...

    def run_intake(self, *, limit: int = 100) -> IntakeReport:
        """Take in a batch of evidence."""
        ...

    def expire_orders(self, *, limit: int = 100) -> ExpiryReport:
        """Close overdue offers."""
        ...

    def run_renewals(self, *, limit: int = 100) -> RenewalReport:
        """Do what time has made due."""
        ...

    def run_charges(self, *, limit: int = 50) -> ChargesReport:
        """Carry out charges."""
        ...

    def look_at_deposits(self, *, limit: int = 200) -> DepositReport:
        """Look at deposit addresses."""
        ...

    def relay(self, *, limit: int = 50) -> RelayReport:
        """Send our own transactions."""
        ...

    def release_revenue(self, *, limit: int = 10_000) -> ReleaseReport:
        """Release what time has earned."""
        ...

    def dispatch(self, *, limit: int = 100) -> DispatchReport:
        """Deliver events."""
        ...

    def fold(self, *, limit: int = 10_000) -> FoldReport:
        """Take what was committed into the figures."""
        ...


@frozen(kw_only=True)
class Drained:
    """What was done until it settled.

    Attributes:
        rounds: how many rounds did something.
        parked: items that wait with a reason; somebody has to look at them.
        looked: subscriptions that the biller looked at; renewed: what it did.
        held: looks that found nothing to be done yet, because a chain is not read so far or a person has to help.
        charged: charges that were handed to the relayer, or refused by the chain.
        swept: sweeps of deposit addresses that were ordered.
        sent: steps of our own transactions.
        released: orders of which revenue was released. delivered: deliveries. folded: facts taken into the figures.

    """

    rounds: int = 0
    blocks: int = 0
    logs: int = 0
    rewound: int = 0
    taken: int = 0
    parked: int = 0
    expired: int = 0
    looked: int = 0
    renewed: int = 0
    held: int = 0
    charged: int = 0
    swept: int = 0
    sent: int = 0
    released: int = 0
    delivered: int = 0
    folded: int = 0


def drain(
    engine: Drainable, *, rounds: int = 100, release: bool = False, dispatch: bool = False, fold: bool = False
) -> Drained:
    """Read every network, take in, expire, renew, charge, sweep and send, until none of it changes anything any more.

    What the chain and the clock caused is settled. What is sent is mined when the chain mines, and read after that.
    Two of the workers' steps are done when they are asked for: ``release`` releases revenue that time has earned;
    ``dispatch`` calls sinks, which are outside, may fail and are tried again later, so that it never has to come to
    rest.

    Raises:
        NotSettled: after so many rounds something still happens, somebody else holds a row or a lease, or the biller
            stands still because the clocks contradict each other.
        ProviderError: a network could not be read.

    """
    steps: list[_Step] = [partial(_read, network=n.name) for n in engine.admin(SYSTEM).networks()]
    steps += [_take_in, _expire, _renew, _charge, _sweep, _send]
    steps += [step for step, asked in ((_release, release), (_dispatch, dispatch), (_fold, fold)) if asked]
    total, lately, busy, quiet = Drained(), Drained(), 0, 0
    for _ in range(rounds):
        lately, busy = Drained(), 0
        for step in steps:
            done, held = step(engine)
            lately, busy = _sum(lately, done), busy + held
            quiet = 0 if held or done != Drained() else quiet + 1
            if quiet == len(steps):  # each of them has found nothing since the last change
                return total
        total = attrs.evolve(_sum(total, lately), rounds=total.rounds + 1)
    raise NotSettled(f"not settled after {rounds} rounds", done=repr(lately), busy=busy)


_Step = Callable[[Drainable], tuple[Drained, int]]
"""One of the workers' steps: what it did, and how much somebody else held."""


def _sum(one: Drained, other: Drained) -> Drained:
    return Drained(**{a.name: getattr(one, a.name) + getattr(other, a.name) for a in attrs.fields(Drained)})


def _read(engine: Drainable, *, network: str) -> tuple[Drained, int]:
    report = engine.read_chain(network)
    return Drained(blocks=report.blocks, logs=report.logs, rewound=report.rewound), int(report.outcome == "busy")


def _take_in(engine: Drainable) -> tuple[Drained, int]:
    report = engine.run_intake()
    return Drained(taken=report.taken, parked=report.parked), report.left


def _expire(engine: Drainable) -> tuple[Drained, int]:
    return Drained(expired=engine.expire_orders().expired), 0


def _renew(engine: Drainable) -> tuple[Drained, int]:
    report = engine.run_renewals()
    if report.halted is not None:
        raise NotSettled("the biller stands still", reason=report.halted)
    return Drained(looked=report.looked, renewed=report.changed, held=report.held), report.left


def _charge(engine: Drainable) -> tuple[Drained, int]:
    return Drained(charged=engine.run_charges().changed), 0


def _sweep(engine: Drainable) -> tuple[Drained, int]:
    report = engine.look_at_deposits()
    return Drained(swept=report.ordered), report.left + report.busy


def _send(engine: Drainable) -> tuple[Drained, int]:
    report = engine.relay()
    return Drained(sent=report.signed + report.moved), 0


def _release(engine: Drainable) -> tuple[Drained, int]:
    return Drained(released=engine.release_revenue().orders), 0


def _dispatch(engine: Drainable) -> tuple[Drained, int]:
    report = engine.dispatch()
    return Drained(delivered=report.handed_out + report.delivered), 0


def _fold(engine: Drainable) -> tuple[Drained, int]:
    report = engine.fold()
    return Drained(folded=report.folded), report.busy
