"""Deposit addresses: where an order can be paid by whoever can only send to an address, and when we look there.

The address of an order follows from the Deposits contract, the order's reference and its treasury. Money at it counts
when the contract has swept it to the treasury: that event is the evidence. What is seen there before is a reason to
sweep, and no more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import attrs
from attrs import frozen

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import Transmission, TransmissionStatus

INIT_CODE_HASH: Final = bytes.fromhex("02af0c40ab2e2d538b213d6139f75dbce2259f85db1f6d431c1a3e951c4c05b6")
"""The hash of the creation code of ``DepositAddress``: part of every address, and of the contract that makes them."""
LOOK_SOONEST: Final = timedelta(seconds=10)
LOOK_LATEST: Final = timedelta(minutes=5)
"""How often an open order's address is looked at: the older the order, the more seldom."""
LOOK_AT_SWEEP: Final = timedelta(seconds=30)
"""How often what is being swept is looked at: more may have come."""
LOOK_AFTERWARDS: Final = timedelta(hours=1)
FAILED_LONGEST: Final = timedelta(hours=6)
MOST_FAILURES: Final = 20
"""After so many failures in a row an address that is too old to be watched is left to whoever asks for it."""
SMALLEST_SHARE: Final = 100
"""Less than one of so many parts of an order is not swept, unless it completes it."""
_AGE_SHARE: Final = 32
DepositState: TypeAlias = Literal["empty", "waiting", "stuck"]
DEPOSIT_STATES: Final[tuple[DepositState, ...]] = ("empty", "waiting", "stuck")
"""What is the matter with an address: nothing is there; something is, which is on its way or too little by itself; or
something is that could not be swept, or that nobody looks at any more."""
_FAILED: Final = frozenset({TransmissionStatus.FAILED, TransmissionStatus.REVERTED})
_WAITING: Final = frozenset(
    {
        TransmissionStatus.QUEUED,
        TransmissionStatus.SIGNED,
        TransmissionStatus.SUBMITTED,
        TransmissionStatus.UNKNOWN,
    }
)


@frozen(kw_only=True)
class Deposit:
    """The deposit address of an order, and what was seen at it.

    Attributes:
        address: where the order is paid.
        watched_until: it is looked at by itself until then; later when somebody asks.
        next_at: when it is looked at again; None when only somebody's asking brings that.
        held: base units of the order's asset that were at the address at the last look and wait to be swept.
        seen_at: when something was found there first since it was last empty; None while it is.
        sweeps: how many sweeps were ordered. failures: how many of them failed in a row.

    """

    ledger_id: str
    chain_id: int
    address: str
    watched_until: datetime
    next_at: datetime | None
    held: int = 0
    seen_at: datetime | None = None
    sweeps: int = 0
    failures: int = 0
    version: int = 1

    @property
    def state(self) -> DepositState:
        """What is the matter with it."""
        if self.seen_at is None:
            return "empty"
        return "stuck" if self.failures or self.next_at is None else "waiting"

    @property
    def subject(self) -> str:
        """What the newest sweep is for, as a transmission names it: each sweep is one of its own."""
        return f"deposit:{self.ledger_id}:{self.sweeps}"


def create2_address(maker: str, salt: bytes, init_code_hash: bytes) -> str:
    """Return the address of what a contract creates with a salt of 32 bytes (EIP-1014)."""
    return checksum(keccak(b"\xff" + address_bytes(maker) + salt + init_code_hash)[12:])


def deposit_address(contract: str, reference: bytes, treasury: str) -> str:
    """Return where a reference of 32 bytes is paid for a treasury, as the Deposits contract computes it."""
    salt = keccak(reference + bytes(12) + address_bytes(treasury))
    return create2_address(contract, salt, INIT_CODE_HASH)


def open_deposit(order: Order, policy: MisfitPolicy, now: datetime) -> Deposit:
    """Return the deposit address of a new order."""
    return Deposit(
        ledger_id=order.ledger_id,
        chain_id=order.chain_id,
        address=deposit_address(order.contract, order.reference, order.treasury),
        watched_until=order.late_after + timedelta(seconds=policy.late_watch),
        next_at=now + LOOK_SOONEST,
    )


def next_look(deposit: Deposit, order: Order, now: datetime, *, busy: bool = False) -> datetime | None:
    """Return when an address is looked at again: seldom when it is old, and not at all when its time is over.

    Money that is about to be swept is not left because a day came; what cannot be swept in the end waits for somebody.
    """
    if deposit.failures:
        pause = min(LOOK_AT_SWEEP * 2 ** min(deposit.failures, 12), FAILED_LONGEST)
    elif busy:
        pause = LOOK_AT_SWEEP
    elif now <= order.late_after:
        pause = min(max((now - order.created_at) / _AGE_SHARE, LOOK_SOONEST), LOOK_LATEST)
    else:
        pause = LOOK_AFTERWARDS
    goes_on = now < deposit.watched_until or (busy and deposit.failures < MOST_FAILURES)
    return now + pause if goes_on else None


def is_on_its_way(sweep: Transmission | None) -> bool:
    """Whether a sweep was ordered that no block holds yet: what is at the address is what it will take."""
    return sweep is not None and sweep.status in _WAITING


@frozen(kw_only=True)
class Sight:
    """What is known of an address when it is looked at.

    Attributes:
        held: base units of the order's asset that are there.
        received: base units that stand on chain for the order already.
        newest: the last sweep that was ordered.

    """

    held: int
    received: int = 0
    newest: Transmission | None = None


def is_worth_it(order: Order, sight: Sight, policy: MisfitPolicy) -> bool:
    """Whether what is at an address is worth the gas of sweeping it.

    Anybody can send a little to an address, again and again, and it is we who would pay for sweeping that. So a
    hundredth of the order is the least, and never less than dust. What completes the order is always worth it: that
    happens once, and without it a customer who has paid everything has bought nothing.
    """
    if 0 < order.enough - sight.received <= sight.held:
        return True
    return sight.held * SMALLEST_SHARE >= order.amount and not policy.is_dust(order.asset, sight.held)


def is_arriving(deposit: Deposit, order: Order, received: int) -> bool:
    """Whether what lies at an order's address completes it, and is still being looked after.

    Less than that changes nothing: anybody can send a little to an address.

    Args:
        received: base units that stand on chain for the order already.

    """
    return deposit.next_at is not None and 0 < order.enough - received <= deposit.held


def look(deposit: Deposit, order: Order, sight: Sight, *, policy: MisfitPolicy, now: datetime) -> tuple[Deposit, bool]:
    """Take what is at an address now; return the deposit after it, and whether a sweep has to be ordered."""
    newest, held = sight.newest, sight.held
    failed = newest is not None and newest.status in _FAILED
    waits = held > 0 and is_on_its_way(newest)
    sweeps = held > 0 and not waits and is_worth_it(order, sight, policy)
    after = attrs.evolve(
        deposit,
        held=held,
        seen_at=(deposit.seen_at or now) if held else None,
        sweeps=deposit.sweeps + sweeps,
        failures=deposit.failures + failed if sweeps else deposit.failures if waits else 0,
        version=deposit.version + 1,
    )
    return attrs.evolve(after, next_at=next_look(after, order, now, busy=sweeps or waits)), sweeps


def put_off(deposit: Deposit, order: Order, held: int, now: datetime, *, failed: bool = True) -> Deposit:
    """Return a deposit about which nothing could be done: what holds is kept, and it is looked at again later.

    What another process may well be able to do has not failed: it waits no longer than a sweep does.
    """
    after = attrs.evolve(
        deposit,
        held=held,
        seen_at=(deposit.seen_at or now) if held else None,
        failures=deposit.failures + failed,
        version=deposit.version + 1,
    )
    return attrs.evolve(after, next_at=next_look(after, order, now, busy=held > 0))
