"""Orders: the ledger rows that finance knows (row E4); what we asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from attrs import field, frozen

from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import InvalidAmount

LineKind = Literal["plan", "quantity", "proration", "credit", "discount", "tax"]
OrderOrigin = Literal["checkout", "renewal", "change"]
Rail = Literal["checkout", "erc20", "call", "deposit"]
"""How an order is paid: a signed order through the Checkout contract, a plain token transfer to the treasury, a call
of a contract that is bound by configuration, or anything sent to the order's own deposit address."""
DEPOSIT: Final = "deposit"
"""The rail of deposit addresses, and the kind of the contract that sweeps them."""
SWEEP_GRACE: Final = timedelta(hours=1)
"""How much later than its order's deadline a deposit address may be swept: what arrives in time is swept afterwards."""
Claim = Literal["owed", "forgiven"]
"""What became of an order whose period fell due unpaid: the customer owes it, or need not pay it any more."""
Pull = Literal["submitted", "unknown", "failed"]
"""How our own charge of an order stands: handed to the relayer, without an answer, or refused."""


@frozen(kw_only=True)
class OrderLine:
    """One reason for a part of the amount; base units, negative for credits and discounts."""

    kind: LineKind
    text: str
    amount: int


@frozen(kw_only=True)
class Completion:
    """The receipt that completed an order, as the order shows it: evidence, which a reorg may change."""

    tx_hash: bytes
    log_index: int
    block_number: int
    block_hash: bytes
    confirmed_at: datetime


@frozen(kw_only=True)
class ManualMark:
    """That a person marked an order as paid: somebody took the money another way."""

    by: str
    at: datetime
    reason: str


@frozen(kw_only=True)
class OrderCall:
    """The call that pays an order, as it was offered; a binding that changes later does not change it.

    Attributes:
        value: wei. data: calldata for the order's contract.
        spender: who has to be allowed to take ``approve`` base units first; None for nobody.
        mark: 32 bytes by which an event finds the order: the hash of its reference where it holds only that, or one of
            the contract's own number of the membership (:func:`evmbilling.domain.identity.token_mark`); empty for none.

    """

    value: int
    data: bytes = field(repr=False)
    spender: str | None = None
    approve: int = 0
    mark: bytes = b""


@frozen(kw_only=True)
class Order:
    """What we asked somebody to pay.

    Attributes:
        ledger_id: UUIDv7; a name, never a permission.
        reference: 32 bytes, indexed in the payment's event; matching is a lookup.
        product: product type and id of the thing sold.
        subscription_id: None for a plan without an interval; ``period`` counts from 0.
        amount: base units of ``asset``; the sum of the lines.
        wallet: who was asked to pay (bound in the signed order).
        beneficiary: who gets the membership on chain.
        rail: how it is paid. call: what pays it, where that is ``call``.
        contract: the bound contract (the token itself for a plain transfer); ``treasury`` the receiver.
        deadline: a paying block's timestamp above it is late; whole seconds.
        member_until: expiry offered on chain, a courtesy view; None without subscription.
        gas: units measured for the binding.
        signature: 65 bytes over the order by ``signer``.
        closed_as: why it is no longer offered (expired, cancelled, superseded); a fact that ``status`` returns to
            when money for it disappears again.
        supersedes: the order that this one replaced.
        completion: filled while the order is paid.
        failure_reason: stable code, when there is one.
        external_id: the id a relay gave.
        manual: set when a person marked it as paid.
        tolerance: base units that may be missing from a complete payment, pinned at checkout; they stay owed.
        due_at: when a renewal has to be paid: where its period begins; None for an offer of a checkout.
        claim: a decision of the biller, once every payment until then was known; it stays when a payment comes later.
        pull, attempts, attempted_at: the last charge by mandate, how many there were, and when it was asked for.
        retry_at: when the next charge is due, after one that failed.
        reminded_at: reminders up to here have been given.

    """

    ledger_id: str
    reference: bytes
    user_id: str
    origin: OrderOrigin = "checkout"
    product: Product
    plan_slug: str
    plan_version: int
    subscription_id: str | None = None
    period: int | None = None
    gateway_slug: str
    contract_slug: str
    network: str
    asset: Asset
    quantity: int
    lines: tuple[OrderLine, ...]
    amount: int
    wallet: str
    beneficiary: str
    contract: str
    treasury: str
    gas: int
    created_at: datetime
    deadline: datetime
    member_until: datetime | None = None
    signer: str = ""
    signature: bytes = field(default=b"", repr=False)
    status: OrderStatus = OrderStatus.PENDING
    closed_as: OrderStatus | None = None
    supersedes: str | None = None
    completion: Completion | None = None
    failure_reason: str | None = None
    external_id: str | None = None
    rail: Rail = "checkout"
    call: OrderCall | None = field(default=None, repr=False)
    manual: ManualMark | None = None
    tolerance: int = 0
    due_at: datetime | None = None
    claim: Claim | None = None
    pull: Pull | None = None
    attempts: int = 0
    attempted_at: datetime | None = None
    retry_at: datetime | None = None
    reminded_at: datetime | None = None
    version: int = 1

    @property
    def chain_id(self) -> int:
        """The chain it must be paid on."""
        return self.asset.chain_id

    @property
    def enough(self) -> int:
        """How many base units complete it: the amount without what its gateway's policy lets be missing."""
        return self.amount - self.tolerance

    @property
    def late_after(self) -> datetime:
        """The last block time at which money on chain is in time; for a deposit address it is when that was swept."""
        return self.deadline + SWEEP_GRACE if self.rail == DEPOSIT else self.deadline


def sum_lines(lines: tuple[OrderLine, ...]) -> int:
    """Return the order's amount.

    Raises:
        InvalidAmount: the lines sum to a negative amount or to 2**256 and above.

    """
    total = sum(line.amount for line in lines)
    if not 0 <= total < 2**256:
        raise InvalidAmount("the order lines sum to an amount outside 0 to 2**256 - 1", field="lines")
    return total


@frozen(kw_only=True)
class KeyRecord:
    """An idempotency key, unique per (operation, user); lives as long as its order.

    Attributes:
        fingerprint: 32 bytes over the canonical parameters of the first request.

    """

    operation: str
    user_id: str
    key: str
    fingerprint: bytes
    ledger_id: str
    created_at: datetime
