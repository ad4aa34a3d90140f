"""Mandates: what a payer allows us to pull, and for how long; the contract's rule in whole seconds and base units.

A mandate is signed once by the payer (EIP-712) for one subscription, token and treasury. Where it stands is a fold over
facts, :func:`mandate_standing`; :data:`MANDATE_MOVES` is the test of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import attrs
from attrs import field, frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence
from evmbilling.domain.selling.offers import Problem, WalletPayload
from evmbilling.domain.states import check_reachable
from evmbilling.domain.subscriptions.calendar import Interval, add_to_wall
from evmbilling.errors import InputError, InvalidAmount

Via = Literal["allowance", "permit2"]
EndReason = Literal["by_user", "by_us", "replaced"]
MAX_UINT160 = 2**160 - 1
START_SLACK = timedelta(hours=3)
"""How much earlier than its making a mandate starts. Boundaries of periods are wall times, so a period that loses an
hour to a clock change is shorter than its days; the shift does not add up, one early start makes up for all of them."""
LIFETIME = timedelta(days=1096)
LONGEST_LIFETIME = timedelta(days=3660)
PERMIT2_ADDRESS = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
"""The same on most chains (Uniswap's deployment)."""
_JANUARY_31 = datetime(2001, 1, 31)  # noqa: DTZ001  - a wall time of the calendar, no instant
_MONTHS = 12 * 100  # with 2100, which has no leap day


class MandateStatus(StrEnum):
    """Where a mandate stands."""

    PREPARED = "prepared"
    """Offered to the payer; not signed as far as we know."""
    GIVEN = "given"
    """Signed, and not seen on chain yet."""
    ACTIVE = "active"
    """The contract knows it: the payer or a charge brought it there."""
    REVOKED = "revoked"
    """Ended on chain by the payer."""
    CANCELLED = "cancelled"
    """We do not use it any more."""
    EXPIRED = "expired"


_M = MandateStatus
MANDATE_MOVES: Mapping[MandateStatus, frozenset[MandateStatus]] = {
    _M.PREPARED: frozenset({_M.GIVEN, _M.ACTIVE, _M.REVOKED, _M.CANCELLED, _M.EXPIRED}),
    _M.GIVEN: frozenset({_M.ACTIVE, _M.REVOKED, _M.CANCELLED, _M.EXPIRED}),
    # A reorganisation takes back what made it active.
    _M.ACTIVE: frozenset({_M.PREPARED, _M.GIVEN, _M.REVOKED, _M.CANCELLED, _M.EXPIRED}),
    # A reorganisation takes back the revocation.
    _M.REVOKED: frozenset({_M.PREPARED, _M.GIVEN, _M.ACTIVE, _M.CANCELLED, _M.EXPIRED}),
    _M.EXPIRED: frozenset({_M.REVOKED, _M.CANCELLED}),
    _M.CANCELLED: frozenset(),
}
USABLE_MANDATES = frozenset({_M.GIVEN, _M.ACTIVE})
"""May be charged."""
OPEN_MANDATES = USABLE_MANDATES | {_M.PREPARED}
"""Neither over nor ended."""


@frozen(kw_only=True)
class Permit:
    """A signed allowance of Permit2 (``PermitSingle``) that can come with the first charge.

    Attributes:
        amount: base units that may be taken under it in all.
        nonce: of (payer, token, contract) at Permit2 when it was prepared.
        expiration: the allowance ends; ``deadline``: the signature can no longer be submitted.
        signature: empty until it is given.

    """

    amount: int
    nonce: int
    expiration: datetime
    deadline: datetime
    signature: bytes = field(default=b"", repr=False)


@frozen(kw_only=True)
class Seen:
    """A log about a mandate, and where it stands on chain now."""

    identity: CreditIdentity
    evidence: Evidence


@frozen(kw_only=True)
class Mandate:
    """A payer's consent to pull, for one subscription.

    Attributes:
        mandate_id: ours, UUIDv7; ``digest`` is its id on chain: the 32 bytes that the payer signs, or a mark of the
            mandate where a contract of the kind ``mapped`` keeps it.
        plan_slug, plan_version: what the payer agreed to pay for.
        contract: address of the bound Mandates contract, or of the mapped one that keeps it.
        operator: the only one who may charge; empty for any operator of the contract.
        via: over the token's own allowance, or over Permit2's.
        charge_cap: base units that one charge may take.
        cap: base units that may be taken for each ``spacing`` that has begun since ``start``, added up.
        spacing: whole seconds, the shortest that a period can be.
        start, expires_at: whole seconds; a block's time above ``expires_at`` is late.
        signature: the payer's, as the contract takes it; empty until it is given, or when the payer gave it on chain.
        given_at: when we accepted the signature.
        cancelled_at: when we stopped using it, with the reason.
        on_chain: the contract's ``MandateGiven``; ``revocation``: its ``MandateRevoked``.

    """

    mandate_id: str
    digest: bytes
    user_id: str
    subscription_id: str
    plan_slug: str
    plan_version: int
    network: str
    asset: Asset
    contract: str
    payer: str
    treasury: str
    operator: str = ""
    via: Via
    charge_cap: int
    cap: int
    spacing: int
    start: datetime
    expires_at: datetime
    salt: int
    status: MandateStatus = MandateStatus.PREPARED
    signature: bytes = field(default=b"", repr=False)
    permit: Permit | None = None
    created_at: datetime
    given_at: datetime | None = None
    cancelled_at: datetime | None = None
    end_reason: EndReason | None = None
    on_chain: Seen | None = None
    revocation: Seen | None = None
    version: int = 1

    @property
    def chain_id(self) -> int:
        """The chain it holds on."""
        return self.asset.chain_id


@frozen(kw_only=True)
class Approvals:
    """What the payer has to allow beside signing the mandate.

    Attributes:
        transactions: to be sent by the payer, one after the other; empty when enough is allowed.
        permit: to be signed too; it comes with the first charge.
        instead_of_permit: what the payer may send in place of signing that. An account with code whose code answers no
            ERC-1271, such as many of EIP-7702, has to: Permit2 takes no key's signature for it.
        problems: what stands in the way; a dead node gives ``rpc_unknown``.

    """

    transactions: tuple[WalletPayload, ...] = ()
    permit: Permit | None = None
    instead_of_permit: WalletPayload | None = None
    problems: tuple[Problem, ...] = ()


def mandate_standing(mandate: Mandate, now: datetime) -> MandateStatus:
    """Return where a mandate stands: what ended it, else how far it has come."""
    if mandate.cancelled_at is not None:
        return MandateStatus.CANCELLED
    if mandate.revocation is not None:
        return MandateStatus.REVOKED
    if now > mandate.expires_at:
        return MandateStatus.EXPIRED
    if mandate.on_chain is not None:
        return MandateStatus.ACTIVE
    return MandateStatus.PREPARED if mandate.given_at is None else MandateStatus.GIVEN


def refold(mandate: Mandate, now: datetime) -> Mandate:
    """Return a mandate whose facts changed, with the status that follows and the next version.

    Raises:
        IllegalTransition: the table does not lead there.

    """
    status = check_reachable(MANDATE_MOVES, mandate.status, mandate_standing(mandate, now))
    return attrs.evolve(mandate, status=status, version=mandate.version + 1)


def at(mandate: Mandate, now: datetime) -> Mandate:
    """Return a stored mandate as it is at an instant: time ends one without anybody writing it."""
    return attrs.evolve(mandate, status=mandate_standing(mandate, now))


def accept(mandate: Mandate, signature: bytes, permit_signature: bytes, now: datetime) -> Mandate:
    """Return a prepared mandate that its payer has signed."""
    permit = mandate.permit
    if permit is not None:
        # Without the payer's signature the permit is nothing: the allowance is given on chain instead.
        permit = attrs.evolve(permit, signature=permit_signature) if permit_signature else None
    return refold(attrs.evolve(mandate, signature=signature, permit=permit, given_at=now), now)


def end(mandate: Mandate, reason: EndReason, now: datetime) -> Mandate:
    """Return a mandate that we do not use any more.

    Raises:
        IllegalTransition: it was cancelled before.

    """
    return refold(attrs.evolve(mandate, cancelled_at=now, end_reason=reason), now)


def allowed_by(mandate: Mandate, when: datetime) -> int:
    """Return how much may have been taken at a block's time, in all: a cap for each spacing that has begun.

    The contract's rule: ``cap * (1 + (time - start) / spacing)``, in whole seconds.
    """
    elapsed = int(when.timestamp()) - int(mandate.start.timestamp())
    return mandate.cap * (1 + elapsed // mandate.spacing) if elapsed >= 0 else 0


def remaining(mandate: Mandate, charged: int, when: datetime) -> int:
    """Return how much one charge could take at a block's time, as far as the terms go; the contract's ``remaining``."""
    if not mandate.start <= when <= mandate.expires_at:
        return 0
    return max(0, min(allowed_by(mandate, when) - charged, mandate.charge_cap))


@lru_cache(maxsize=256)
def shortest_period(interval: Interval) -> int:
    """Return the seconds of the shortest period that an interval can have, by the calendar's days.

    Raises:
        InputError: the interval does not recur.

    """
    if not interval.recurs:
        raise InputError("what is sold once has nothing to pull", field="subscription")
    # From every last day of a month: those are clamped, so the shortest step begins at one of them.
    ends = (add_to_wall(_JANUARY_31, Interval("month"), step) for step in range(_MONTHS))
    days = min((add_to_wall(wall, interval, 1) - wall).days for wall in ends)
    return days * 86_400


def parse_cap(value: object, *, field: str) -> int:
    """Read base units that the contract can hold: 1 to 2**160 - 1.

    Raises:
        InvalidAmount: anything else.

    """
    if type(value) is not int or not 1 <= value <= MAX_UINT160:
        raise InvalidAmount("a cap is a whole number of base units from 1 to 2**160 - 1", field=field)
    return value
