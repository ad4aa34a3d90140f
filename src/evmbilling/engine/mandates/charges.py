"""Carrying charges out: what the biller has decided is asked of the chain, then handed to the relayer, or refused.

The chain is asked outside every transaction. What it said, and what we know, is judged again under the customer's lock,
in the transaction that moves the charge and stores the transmission: two workers at once find one charge moved.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.domain.decisions import Decision, StoreTransmission
from evmbilling.domain.mandates.charges import Charge
from evmbilling.domain.mandates.mandate_charges import (
    UNDECIDED,
    ChargeFacts,
    ChargeState,
    charge_of,
    charge_problem,
    known_problem,
    still_missing,
)
from evmbilling.domain.mandates.mandate_charges import Charge as Call
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, TransmissionStatus
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.mandates.charging import ON_ITS_WAY, PAID_MEANWHILE, Outcome, is_being_paid, settle_charge
from evmbilling.engine.mandates.kept import is_kept, is_taken_by
from evmbilling.engine.mandates.requests import pulling
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.requests import is_ledger_id
from evmbilling.engine.sending.sending import SEND_WITHIN, Errand, queue_errand
from evmbilling.errors import BillingError, ConfigurationError, Conflict, RetryTransaction
from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.charges")
_SUBJECT = "order:"
DECIDED_WITHIN = timedelta(days=3)
"""How long a charge waits for whoever decides about held money that would pay the whole; then the period is owed."""


@frozen(kw_only=True)
class ChargesReport:
    """What one call did with charges that were requested.

    Attributes:
        looked: charges that were looked at.
        queued: handed to the relayer.
        failed: refused before anything was sent, by reason.
        left: left as they are for the next call, by reason: ``rpc_unknown`` no node answered, ``reference_used`` or
            ``confirming`` the money has moved and the reader will say, ``no_key`` this process does not hold the
            relayer's key, ``another_first`` a charge of the same subscription is on its way, ``money_held`` the whole
            price is there and a person decides about it, ``busy`` somebody else was at it.

    """

    looked: int = 0
    queued: int = 0
    failed: Mapping[str, int] = attrs.field(factory=dict)
    left: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def changed(self) -> int:
        """How many charges moved."""
        return self.queued + sum(self.failed.values())


@frozen
class _Verdict:
    """What is to become of a charge: it ``goes`` on to the next question, has ``failed``, or is ``left`` alone."""

    word: Literal["goes", "queued", "failed", "left"]
    reason: str = ""


@frozen(kw_only=True)
class _Pull:
    """A charge with everything that belongs to it.

    Attributes:
        own: the order's own call, where the contract that it is paid through keeps the mandate itself.

    """

    charge: Charge
    order: Order
    mandate: Mandate
    call: Call
    network: Network
    gateway: PaymentGateway
    provider: MandateProvider
    operator: str
    own: WalletPayload | None = None


def run_charges(ports: Ports, runner: Runner, *, limit: int) -> ChargesReport:
    """Carry out what is requested; see :meth:`evmbilling.engine.core.Engine.run_charges`."""
    counts: Counter[tuple[str, str]] = Counter()
    for cursor in runner.read(lambda unit: unit.cursors()):
        if cursor.halt is None:
            _Network(ports, runner, cursor.chain_id, counts).run(limit)
    named = {word: {reason: n for (w, reason), n in counts.items() if w == word} for word in ("failed", "left")}
    return ChargesReport(
        looked=sum(counts.values()), queued=counts["queued", ""], failed=named["failed"], left=named["left"]
    )


class _Network:
    """The charges of one network."""

    def __init__(self, ports: Ports, runner: Runner, chain_id: int, counts: Counter[tuple[str, str]]) -> None:
        self._ports, self._runner = ports, runner
        self._chain_id = chain_id
        self._counts = counts

    def run(self, limit: int) -> None:
        """Carry out up to ``limit``; those that have to be left do not stand in the way of others."""
        moved = 0
        for charge in self._requested(limit):
            with self._ports.telemetry.span("billing.charge", ledger_id=charge.ledger_id):
                verdict = self._carry_out(charge)
                self._ports.telemetry.annotate(outcome=verdict.word)
            self._counts[verdict.word, verdict.reason] += 1
            self._ports.telemetry.count("charge_attempts", outcome=verdict.word, reason=verdict.reason or "none")
            if verdict.word == "failed":
                _log.info("a charge was refused", extra={"ledger_id": charge.ledger_id, "reason": verdict.reason})
            moved += verdict.word != "left"
            # The next one would wait for the same nodes, as long as this one did.
            if moved == limit or verdict.reason == "rpc_unknown":
                return

    def _requested(self, page: int) -> Iterator[Charge]:
        after = ""
        while True:
            found = self._runner.read(partial(self._page, page, after))
            yield from (charge for charge, ours in found if ours)
            if len(found) < page:
                return
            after = found[-1][0].ledger_id

    def _page(self, page: int, after: str, unit: Unit) -> Sequence[tuple[Charge, bool]]:
        """Return charges, and whether each is under a mandate of ours: a host may carry out its own."""
        found = unit.open_charges(self._chain_id, "requested", page, after=after)
        return [(charge, is_ledger_id(charge.mandate_id) and bool(unit.mandate(charge.mandate_id))) for charge in found]

    def _carry_out(self, charge: Charge) -> _Verdict:
        pull, verdict = self._runner.read(partial(self._look, charge))
        chain = None
        if pull is not None and pull.own is None:
            chain = pull.provider.charge_state(pull.mandate, pull.call, pull.network, operator=pull.operator)
        elif pull is None and verdict.word == "left":
            return verdict
        try:
            return self._runner.write(partial(self._settle, charge, pull, chain))
        except (Conflict, RetryTransaction):
            return _Verdict("left", "busy")
        except BillingError as error:
            # One that cannot be written stops no other.
            return _Verdict("left", error.code)

    def _look(self, charge: Charge, unit: Unit) -> tuple[_Pull | None, _Verdict]:
        """Return what the chain is to be asked about; None when there is nothing to ask, with the verdict."""
        order, mandate = unit.order(charge.ledger_id), unit.mandate(charge.mandate_id)
        if order is None or mandate is None:
            return None, _Verdict("left", "busy")
        gateway = unit.gateway(order.gateway_slug)
        call = charge_of(order, still_missing(order, unit.receipts_of_orders([order.ledger_id])))
        verdict = self._standing(unit, charge, order, call)
        if verdict.word == "goes" and (gateway is None or gateway.relayer is None):
            verdict = _Verdict("failed", "no_relayer")
        if verdict.word != "goes" or gateway is None:
            return None, verdict
        network, provider = network_and_provider(self._ports, unit, order.network)
        try:
            operator = provider.relayer_address(gateway)
            pulls = pulling(provider)
        except ConfigurationError:
            return None, _Verdict("left", "no_key")
        own = None
        if is_kept(unit, mandate):
            if not is_taken_by(unit, provider, order, mandate):
                return None, _Verdict("failed", "terms_changed")
            if call.amount != order.amount:
                return None, _Verdict("failed", "paid_in_part")  # its call takes the whole
            own = provider.payload(order)
        return (
            _Pull(
                charge=charge,
                order=order,
                mandate=mandate,
                call=call,
                network=network,
                gateway=gateway,
                provider=pulls,
                operator=operator,
                own=own,
            ),
            verdict,
        )

    def _standing(self, unit: Unit, charge: Charge, order: Order, call: Call) -> _Verdict:
        """Say whether a charge is wanted now, as far as we know."""
        verdict = _as_it_stands(charge, order)
        if verdict.word != "goes":
            return verdict
        if is_being_paid(unit, order):
            return _Verdict("left", "confirming")
        if not call.amount:
            waited = self._ports.clock.now() - charge.requested_at
            return _Verdict("left" if waited < DECIDED_WITHIN else "failed", "money_held")
        return _Verdict("left", "another_first") if _waits_for_another(unit, charge) else verdict

    def _settle(self, charge: Charge, asked: _Pull | None, chain: ChargeState | None, unit: Unit) -> _Verdict:
        """Judge again under the lock, and write what follows."""
        unit.lock_customers([charge.user_id])
        stored = next((c for c in unit.charges_of([charge.ledger_id]) if c.attempt == charge.attempt), None)
        if stored != charge:
            return _Verdict("left", "busy")
        pull, verdict = self._look(charge, unit)
        if pull is not None:
            same = asked is not None and asked.call == pull.call
            verdict = self._judge(pull, chain) if same else _Verdict("left", "busy")
        decisions: list[Decision] = []
        if pull is not None and verdict.word == "goes":
            decisions, verdict = self._queue(unit, pull)
        if verdict.word == "failed":
            outcome = Outcome(state="failed", reason=verdict.reason)
            decisions = [*settle_charge(self._ports, unit, charge, outcome)]
        if decisions:
            unit.apply(decisions)
        return verdict

    def _judge(self, pull: _Pull, chain: ChargeState | None) -> _Verdict:
        facts = ChargeFacts(
            mandate=pull.mandate, order=pull.order, charge=pull.call, chain=chain, now=self._ports.clock.now()
        )
        # Whether a contract's own call goes through, the relayer asks before it gives it a nonce.
        problem = charge_problem(facts) if pull.own is None else known_problem(facts)
        if problem is None:
            return _Verdict("goes")
        return _Verdict("left" if problem in UNDECIDED else "failed", problem)

    def _queue(self, unit: Unit, pull: _Pull) -> tuple[list[Decision], _Verdict]:
        """Hand it to the relayer, once: whatever was sent for this order before must have failed for ever."""
        subject = _SUBJECT + pull.order.ledger_id
        before = unit.transmissions_of("charge", subject)
        if any(one.status in OPEN_TRANSMISSIONS or one.status is TransmissionStatus.DONE for one in before):
            return [], _Verdict("left", "reference_used")
        now = self._ports.clock.now()
        errand = Errand(
            purpose="charge",
            subject=subject,
            user_id=pull.order.user_id,
            network=pull.order.network,
            payload=pull.own or pull.provider.charge_payload(pull.mandate, pull.call),
            not_after=min(pull.order.deadline, now + SEND_WITHIN),
        )
        sent = queue_errand(self._ports, unit, errand, pull.gateway, pull.operator)
        moved = settle_charge(self._ports, unit, pull.charge, Outcome(state="submitted"))
        return [*moved, StoreTransmission(sent)], _Verdict("queued")


def _waits_for_another(unit: Unit, charge: Charge) -> bool:
    """Whether another charge of the subscription is on its way: the chain does not count that one yet."""
    on_its_way = [
        order.ledger_id
        for order in unit.orders_of_subscriptions([charge.subscription_id])
        if order.status in ON_ITS_WAY and order.ledger_id != charge.ledger_id
    ]
    return any(other.state in {"submitted", "unknown"} for other in unit.charges_of(on_its_way))


def _as_it_stands(charge: Charge, order: Order) -> _Verdict:
    """Say whether a charge that was decided is still wanted."""
    if order.status in PAID_ORDERS:
        return _Verdict("failed", PAID_MEANWHILE)
    if order.status not in ON_ITS_WAY or order.attempts != charge.attempt:
        return _Verdict("left", "confirming")
    return _Verdict("failed", "withdrawn") if order.closed_as is not None else _Verdict("goes")
