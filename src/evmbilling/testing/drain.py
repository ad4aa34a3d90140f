"""Working until nothing changes any more: what workers do in the background, done now and to the end."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Read every network, take in, expire, renew, charge, sweep and send, until a whole round changes nothing.

    What the chain and the clock caused is settled. What is sent is mined when the chain mines, and read after that.
    Two of the workers' steps are done when they are asked for: ``release`` releases revenue that time has earned;
    ``dispatch`` calls sinks, which are outside, may fail and are tried again later, so that it never has to come to
    rest.

    Raises:
        NotSettled: after so many rounds something still happens, somebody else holds a row or a lease, or the biller
            stands still because the clocks contradict each other.
        ProviderError: a network could not be read.

    """
    total = Drained()
    networks = [n.name for n in engine.admin(SYSTEM).networks()]
    for _ in range(rounds):
        done, busy = _round(engine, networks, release=release, dispatch=dispatch, fold=fold)
        if done == Drained() and not busy:
            return total
        added = {a.name: getattr(total, a.name) + getattr(done, a.name) for a in attrs.fields(Drained)}
        total = Drained(**(added | {"rounds": total.rounds + 1}))
    raise NotSettled(f"not settled after {rounds} rounds", done=repr(done), busy=busy)


def _round(
    engine: Drainable, networks: Sequence[str], *, release: bool, dispatch: bool, fold: bool
) -> tuple[Drained, int]:
    """Do every step once; return what was done, and how much somebody else held."""
    reads = [engine.read_chain(name) for name in networks]
    intake, expiry, renewals = engine.run_intake(), engine.expire_orders(), engine.run_renewals()
    if renewals.halted is not None:
        raise NotSettled("the biller stands still", reason=renewals.halted)
    charges, deposits, relayed = engine.run_charges(), engine.look_at_deposits(), engine.relay()
    released = engine.release_revenue().orders if release else 0
    sent = engine.dispatch() if dispatch else DispatchReport()
    folded = engine.fold() if fold else FoldReport()
    done = Drained(
        blocks=sum(report.blocks for report in reads),
        logs=sum(report.logs for report in reads),
        rewound=sum(report.rewound for report in reads),
        taken=intake.taken,
        parked=intake.parked,
        expired=expiry.expired,
        looked=renewals.looked,
        renewed=renewals.changed,
        held=renewals.held,
        charged=charges.changed,
        swept=deposits.ordered,
        sent=relayed.signed + relayed.moved,
        released=released,
        delivered=sent.handed_out + sent.delivered,
        folded=folded.folded,
    )
    held = intake.left + renewals.left + folded.busy + deposits.left + deposits.busy
    return done, held + sum(report.outcome == "busy" for report in reads)
