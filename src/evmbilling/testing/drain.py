"""Working until nothing changes any more: what workers do in the background, done now and to the end."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from evmbilling.domain.actors import SYSTEM, Actor
from evmbilling.engine.admin import Admin
from evmbilling.engine.expiry import ExpiryReport
from evmbilling.engine.intake import IntakeReport
from evmbilling.engine.reader_base import ReadReport
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


@frozen(kw_only=True)
class Drained:
    """What was done until it settled.

    Attributes:
        rounds: how many rounds did something.
        parked: items that wait with a reason; somebody has to look at them.

    """

    rounds: int = 0
    blocks: int = 0
    logs: int = 0
    rewound: int = 0
    taken: int = 0
    parked: int = 0
    expired: int = 0


def drain(engine: Drainable, *, rounds: int = 100) -> Drained:
    """Read every network, take in and expire, until a whole round changes nothing.

    What the chain caused is settled, and no more. Two of the workers' steps stay apart: ``engine.release_revenue()``
    follows the clock and not the chain, so a test says itself when time has earned something; ``engine.dispatch()``
    calls sinks, which are outside, may fail and are tried again later, so it never has to come to rest.

    Raises:
        NotSettled: after so many rounds something still happens, or somebody else holds a row or a lease.
        ProviderError: a network could not be read.

    """
    total = Drained()
    networks = [n.name for n in engine.admin(SYSTEM).networks()]
    for _ in range(rounds):
        reads = [engine.read_chain(name) for name in networks]
        intake, expiry = engine.run_intake(), engine.expire_orders()
        busy = intake.left + sum(report.outcome == "busy" for report in reads)
        done = Drained(
            blocks=sum(report.blocks for report in reads),
            logs=sum(report.logs for report in reads),
            rewound=sum(report.rewound for report in reads),
            taken=intake.taken,
            parked=intake.parked,
            expired=expiry.expired,
        )
        if done == Drained() and not busy:
            return total
        total = Drained(
            rounds=total.rounds + 1,
            blocks=total.blocks + done.blocks,
            logs=total.logs + done.logs,
            rewound=total.rewound + done.rewound,
            taken=total.taken + done.taken,
            parked=total.parked + done.parked,
            expired=total.expired + done.expired,
        )
    raise NotSettled(f"not settled after {rounds} rounds", done=repr(done), busy=busy)
