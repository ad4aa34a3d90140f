"""What an operator looks at: how much there is, how much waits, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import Finality
from evmbilling.domain.money import Asset
from evmbilling.domain.reading.evidence import Lease
from evmbilling.domain.selling.deposits import DepositState

SIGN_OF_LIFE = "worker:"
"""Leases of this name say that somebody does a worker's step."""


@frozen
class Depth:
    """How many wait, and since when the oldest of them does; None when there is none."""

    count: int
    oldest: datetime | None = None

    def age(self, now: datetime) -> timedelta:
        """Return how long the oldest has waited; nothing when none does."""
        return timedelta() if self.oldest is None else max(now - self.oldest, timedelta())


@frozen(kw_only=True)
class NetworkFigures:
    """How far a network has been read.

    Attributes:
        head: the chain's head when it was read last. block: the last block that is evidence. block_time: its time.
        finalized: the chain's ``finalized`` block as read last; None without that tag.
        irreversible_after: the rule of the network.
        halted: why reading stands still; None when it does not.

    """

    network: str
    chain_id: int
    head: int | None
    block: int | None
    block_time: datetime | None
    finalized: int | None
    irreversible_after: Finality
    halted: str | None

    @property
    def behind(self) -> int | None:
        """How many blocks reading was behind the head when it was read last."""
        return None if self.head is None or self.block is None else max(self.head - self.block, 0)

    @property
    def finality_lag(self) -> int | None:
        """How many blocks ``finalized`` is behind the head."""
        return None if self.head is None or self.finalized is None else max(self.head - self.finalized, 0)

    def lag(self, now: datetime) -> timedelta | None:
        """Return how old the last block is that was read."""
        return None if self.block_time is None else max(now - self.block_time, timedelta())


@frozen(kw_only=True)
class AssetFigures:
    """The money in one asset, since the beginning; base units.

    Attributes:
        network: its name.
        mrr: a month, exactly. payers: customers who pay a subscription in it.
        received, payments: what came to treasuries, and how many times. refunded: what went back.
        revenue: earned, less what of it was given back.
        debt: what is due and not paid now.

    """

    network: str
    asset: Asset
    mrr: Fraction
    payers: int
    received: int
    payments: int
    refunded: int
    revenue: int
    debt: int

    @property
    def arpu(self) -> Fraction | None:
        """MRR for each paying customer; None when there is none."""
        return self.mrr / self.payers if self.payers else None


@frozen(kw_only=True)
class Business:
    """What finance looks at; test networks never count.

    Attributes:
        customers: who pays a subscription in any asset.
        complete_at: until when everything that was recorded by then is counted.

    """

    assets: tuple[AssetFigures, ...] = ()
    customers: int = 0
    complete_at: datetime | None = None


@frozen(kw_only=True)
class Figures:
    """Everything that is counted at one time, in one transaction.

    Attributes:
        now: the database's clock; clock: this process's.
        subscriptions: how many, by (plan, status). orders: how many, by status.
        outbox: events that no sink was given yet. deliveries: those that wait or are dead, by (sink, state).
        queue: open items of the finance queue, by kind.
        deposits: deposit addresses that hold something, by (network, state).
        unsealed: rows of ledger and audit older than five minutes that no seal covers; None where sealing is off.
        networks: those in use, by name. leases: all that were ever taken, by name.
        business: money and customers, from the rollups.

    """

    now: datetime
    clock: datetime
    subscriptions: Mapping[tuple[str, str], int] = field(factory=dict)
    orders: Mapping[str, int] = field(factory=dict)
    outbox: Depth = Depth(0)
    deliveries: Mapping[tuple[str, str], Depth] = field(factory=dict)
    queue: Mapping[str, Depth] = field(factory=dict)
    deposits: Mapping[tuple[str, DepositState], Depth] = field(factory=dict)
    unsealed: int | None = None
    networks: tuple[NetworkFigures, ...] = ()
    leases: tuple[Lease, ...] = ()
    business: Business = Business()

    @property
    def skew(self) -> timedelta:
        """How far this process's clock is ahead of the database's; negative when it is behind."""
        return self.clock - self.now

    def held(self) -> tuple[Lease, ...]:
        """Return the leases that somebody holds now."""
        return tuple(lease for lease in self.leases if lease.until > self.now)

    def alive(self) -> frozenset[str]:
        """Return the worker's steps that somebody does at the moment."""
        names = (lease.name for lease in self.held())
        return frozenset(name.removeprefix(SIGN_OF_LIFE) for name in names if name.startswith(SIGN_OF_LIFE))
