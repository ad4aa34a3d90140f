"""Charging under a mandate: what is asked of the chain before it is tried, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.mandates.charges import REASK
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus, mandate_standing, remaining
from evmbilling.domain.payments.allocation import ELSEWHERE
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus

__all__ = [
    "REASK",
    "REFUSALS",
    "UNDECIDED",
    "Charge",
    "ChargeFacts",
    "ChargeProblem",
    "ChargeState",
    "Refusal",
    "Simulated",
    "charge_of",
    "charge_problem",
    "known_problem",
    "state_problem",
    "still_missing",
    "terms_fit",
]

ChargeProblem = Literal[
    "not_given",
    "cancelled",
    "revoked",
    "expired",
    "not_started",
    "terms_changed",
    "rpc_unknown",
    "contract_missing",
    "paused",
    "reference_used",
    "cap_reached",
    "balance",
    "allowance",
    "bad_signature",
    "operator_refused",
    "deny_listed",
    "short_receipt",
]
"""Stable codes: why a charge would not go through now."""

Simulated = Literal["ok", "reverted", "short"]
"""How a trial of the charge went; ``short``: less arrived than was taken."""

UNDECIDED: Final = frozenset({"rpc_unknown", "reference_used"})
"""Problems that say nothing about the charge: nobody could be asked, or the money has moved and the reader will say."""

Refusal = Literal[
    "none",
    "paused",
    "not_operator",
    "wrong_operator",
    "bad_terms",
    "zero_amount",
    "revoked",
    "not_started",
    "expired",
    "charge_late",
    "reference_used",
    "paid_elsewhere",
    "over_charge_cap",
    "over_cap",
    "not_a_token",
    "no_permit2",
    "bad_signature",
    "balance_too_low",
    "allowance_too_low",
]
REFUSALS: Final[tuple[Refusal, ...]] = Refusal.__args__  # type: ignore[attr-defined]  # a Literal's own words, in order
"""The contract's ``Refusal``, by its numbers."""

_MEANING: Final[dict[Refusal, ChargeProblem]] = {
    "paused": "paused",
    "not_operator": "operator_refused",
    "wrong_operator": "operator_refused",
    "bad_terms": "terms_changed",
    "zero_amount": "terms_changed",
    "revoked": "revoked",
    "not_started": "not_started",
    "expired": "expired",
    "charge_late": "expired",
    "reference_used": "reference_used",
    "paid_elsewhere": "reference_used",
    "over_charge_cap": "terms_changed",
    "over_cap": "cap_reached",
    "not_a_token": "contract_missing",
    "no_permit2": "contract_missing",
    "bad_signature": "bad_signature",
    "balance_too_low": "balance",
    "allowance_too_low": "allowance",
}


@frozen(kw_only=True)
class Charge:
    """One pull of money: what the operator's transaction says beside the mandate.

    Attributes:
        reference: 32 bytes of the order; charged once, ever.
        deadline: a block's time above it takes nothing, so a transaction that lies about does no harm.
        checkout: a contract that is asked whether it has taken the reference already; the zero address for none.

    """

    reference: bytes
    amount: int
    deadline: datetime
    checkout: str = ZERO_ADDRESS


@frozen(kw_only=True)
class ChargeState:
    """What the chain says about a charge now, from one batch to one node.

    Attributes:
        time: of the node's newest block.
        contract_known: whether the code at the mandate's contract is the Mandates contract of this package.
        token_answers: whether the token answers like one.
        stage: what the contract knows of the mandate; ``charged`` under it so far, in base units.
        allowance: base units that the contract could take of the payer's, whatever way the mandate goes; a signed
            permit that is good now counts.
        used: whether the reference was charged, or taken by the named checkout.
        refusal: what the contract answered to ``canCharge``; None when it gave no answer.
        simulated: how a charge from the operator went when a node tried it; None when none did.

    """

    time: datetime
    contract_known: bool
    token_answers: bool
    stage: Literal["unknown", "given", "revoked"] = "unknown"
    charged: int = 0
    paused: bool = False
    token_paused: bool = False
    balance: int = 0
    allowance: int = 0
    used: bool = False
    refusal: Refusal | None = None
    simulated: Simulated | None = None


def charge_of(order: Order, amount: int | None = None) -> Charge:
    """Return the charge that takes an order's money, or ``amount`` base units of it."""
    through_checkout = order.rail == "checkout" and bool(order.contract)
    return Charge(
        reference=order.reference,
        amount=order.amount if amount is None else amount,
        deadline=order.deadline,
        checkout=order.contract if through_checkout else ZERO_ADDRESS,
    )


def still_missing(order: Order, receipts: Iterable[Receipt]) -> int:
    """Return the base units of an order for which no money has been seen that counts for it, or may yet.

    What names it and became credit, went back or was written off pays nothing of it; what is held still may.
    """
    seen = {*SUPPORTING_RECEIPTS, ReceiptStatus.SEEN}
    own = (r for r in receipts if r.ledger_id == order.ledger_id and r.allocation not in ELSEWHERE)
    there = sum(r.amount for r in own if r.status in seen)
    return max(order.amount - there, 0)


def terms_fit(mandate: Mandate, order: Order, amount: int | None = None) -> bool:
    """Whether an order asks for what the payer signed: plan, token, treasury, and no more in one charge."""
    return (
        (mandate.user_id, mandate.subscription_id) == (order.user_id, order.subscription_id)
        and (mandate.plan_slug, mandate.plan_version) == (order.plan_slug, order.plan_version)
        and (mandate.chain_id, mandate.asset.token) == (order.chain_id, order.asset.token)
        and mandate.treasury == order.treasury
        and 0 < (order.amount if amount is None else amount) <= mandate.charge_cap
    )


@frozen(kw_only=True)
class ChargeFacts:
    """Everything that decides whether a charge is tried.

    Attributes:
        charge: of ``order``; its amount is what is pulled.
        chain: None when no node answered.

    """

    mandate: Mandate
    order: Order
    charge: Charge
    chain: ChargeState | None
    now: datetime


def charge_problem(facts: ChargeFacts) -> ChargeProblem | None:
    """Return why a charge would not go through now; None when nothing stands in its way.

    What only the payer can mend comes first, so that nobody is told to fill a wallet for a mandate that is over.
    """
    ours = known_problem(facts)
    if ours is not None:
        return ours
    if facts.chain is None:
        return "rpc_unknown"
    return _on_chain(facts, facts.chain)


def known_problem(facts: ChargeFacts) -> ChargeProblem | None:
    """Return why a charge would not go through, as far as we know without asking the chain; None for nothing."""
    ended: dict[MandateStatus, ChargeProblem] = {
        MandateStatus.PREPARED: "not_given",
        MandateStatus.CANCELLED: "cancelled",
        MandateStatus.REVOKED: "revoked",
        MandateStatus.EXPIRED: "expired",
    }
    status = mandate_standing(facts.mandate, facts.now)
    if status in ended:
        return ended[status]
    return None if terms_fit(facts.mandate, facts.order, facts.charge.amount) else "terms_changed"


def _on_chain(facts: ChargeFacts, chain: ChargeState) -> ChargeProblem | None:
    found = state_problem(facts.mandate, facts.charge.amount, chain)
    if found is not None:
        return found
    # A permit that comes with the charge is not in force yet when the contract is asked.
    if chain.refusal not in (None, "none", "allowance_too_low"):
        return _MEANING[chain.refusal]
    if chain.simulated == "short":
        return "short_receipt"
    if chain.simulated == "reverted":
        return "paused" if chain.token_paused else "deny_listed"
    return None


def state_problem(mandate: Mandate, amount: int, chain: ChargeState) -> ChargeProblem | None:
    """Return why base units could not be taken under a mandate as the chain stands; None when they could.

    Neither the contract's own answer nor a trial counts here: they are about the present moment.
    """
    checks: tuple[tuple[bool, ChargeProblem], ...] = (
        (not chain.contract_known or not chain.token_answers, "contract_missing"),
        (chain.stage == "revoked", "revoked"),
        (chain.time > mandate.expires_at, "expired"),
        (chain.time < mandate.start, "not_started"),
        (chain.used, "reference_used"),
        (amount > remaining(mandate, chain.charged, chain.time), "cap_reached"),
        (chain.paused, "paused"),
        (chain.balance < amount, "balance"),
        (chain.allowance < amount, "allowance"),
    )
    return next((code for fails, code in checks if fails), None)
