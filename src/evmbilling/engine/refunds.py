"""Refunds: asked for, agreed to, addressed by their owner, prepared for the treasury, and found again on chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.addresses import parse_address
from evmbilling.domain.decisions import Decision, RecordAudit, StoreQueueItem, StoreRefund
from evmbilling.domain.events import AuditEntry
from evmbilling.domain.finance import QueueItem
from evmbilling.domain.identity import make_reference
from evmbilling.domain.money import parse_base_units
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt, Refund
from evmbilling.domain.refunds import bounded, move, on_its_way, refundable_of_order, refundable_of_receipt
from evmbilling.domain.states import SUPPORTING_RECEIPTS, RefundStatus
from evmbilling.engine.admin_base import AdminBase
from evmbilling.engine.context import Ports
from evmbilling.engine.finance_rulings import Rulings
from evmbilling.engine.reader import network_and_provider
from evmbilling.engine.readers import text
from evmbilling.errors import ChallengeRefused, Conflict, InputError, NotFound, PermissionDenied
from evmbilling.ports.storage import Unit

Via = Literal["contract", "transfer"]
_OPEN = frozenset({RefundStatus.REQUESTED, RefundStatus.APPROVED, RefundStatus.PREPARED})


class Refunds(AdminBase):
    """Giving money back, for one actor.

    Asking needs ``finance_ops``; agreeing above the gateway's limit needs ``billing_admin`` and a second person. A
    refund is bounded by what came in, goes only to an address that its owner proved, and is done when the chain says
    so.
    """

    def request(
        self,
        *,
        ledger_id: str | None = None,
        receipt_id: str | None = None,
        amount: int | str | None = None,
        reason: str,
        via: Via | None = None,
    ) -> Refund:
        """Ask to give back a paid order's money, or money that no order took.

        Args:
            ledger_id, receipt_id: one of the two.
            amount: base units; everything that is left when absent.
            reason: for the books, one line.
            via: ``contract`` or ``transfer``; the contract's own refund where the order was paid through one.

        Raises:
            NotFound: no such order or receipt.
            InputError: more than is left, or both or neither named.
            Conflict: nothing is left to give back.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        if (ledger_id is None) == (receipt_id is None):
            raise InputError("a refund names an order or a receipt", field="ledger_id")
        wanted = None if amount is None else parse_base_units(amount, field="amount", minimum=1)
        why = text("reason", 500)(reason)

        def work(unit: Unit) -> Refund:
            made, receipt = self._make(unit, ledger_id, receipt_id, wanted, why, via)
            if receipt is not None:
                self._rulings(unit).set_aside(receipt)
            decisions: list[Decision] = [StoreRefund(made)]
            if made.status is RefundStatus.REQUESTED:
                decisions.append(StoreQueueItem(self._approval(made)))
            self._write(unit, decisions, made, "request")
            return made

        return self._runner.write(work)

    def approve(self, refund_id: str) -> Refund:
        """Agree to a refund that another person asked for.

        Raises:
            PermissionDenied: the actor asked for it, or is no ``billing_admin``.
            IllegalTransition: it is not waiting for anybody.

        """
        self._actor.require(Role.BILLING_ADMIN)

        def work(unit: Unit) -> Refund:
            refund = self._locked(unit, refund_id)
            if refund.requested_by == self._actor.user_id:
                raise PermissionDenied("a second person has to agree", field="actor")
            _check_covered(unit, refund)
            after = move(refund, RefundStatus.APPROVED, approved_by=self._actor.user_id)
            decided = self._decide_items(unit, f"refund:{refund_id}", "refund")
            self._write(unit, [StoreRefund(after), *decided], after, "approve")
            return after

        return self._runner.write(work)

    def prepare(self, refund_id: str) -> WalletPayload:
        """Return the transaction that the treasury signs. Asking again returns the same one.

        A contract's refund pulls from the sender: for a token the treasury approves the contract first.

        Raises:
            Conflict: its address has not been proved yet, or the chain has taken back the money that it returns.
            IllegalTransition: nobody agreed to it, or it is over.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)

        def work(unit: Unit) -> WalletPayload:
            refund = self._locked(unit, refund_id)
            if refund.address is None or refund.address_confirmed_at is None:
                raise Conflict("nobody has proved yet where this refund goes", field="address")
            _check_covered(unit, refund)
            order = unit.order(refund.ledger_id) if refund.ledger_id else None
            contract = unit.contract(order.contract_slug, order.network) if order else None
            _, provider = network_and_provider(self._ports, unit, refund.network)
            payload = provider.refund_payload(refund, contract)
            if refund.status is not RefundStatus.PREPARED:
                after = move(refund, RefundStatus.PREPARED)
                self._write(unit, [StoreRefund(after)], after, "prepare")
            return payload

        return self._runner.write(work)

    def cancel(self, refund_id: str, *, reason: str) -> Refund:
        """Give up a refund that was not sent.

        One that is sent all the same is found on chain as the owner's own transfer.

        Raises:
            IllegalTransition: it is on chain or over.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        why = text("reason", 500)(reason)

        def work(unit: Unit) -> Refund:
            after = move(self._locked(unit, refund_id), RefundStatus.CANCELLED, failure_reason=why)
            withdrawn = self._decide_items(unit, f"refund:{refund_id}", None)
            self._write(unit, [StoreRefund(after), *withdrawn], after, "cancel")
            self._give_up(unit, after)
            return after

        return self._runner.write(work)

    def refund(self, refund_id: str) -> Refund:
        """Return a refund.

        Raises:
            NotFound: there is none.

        """
        return self._read_only(lambda unit: _known(unit, refund_id))

    def refunds(self, *, states: Sequence[str] = (), after: str = "", limit: int = 100) -> Sequence[Refund]:
        """Return a page of refunds by id, all or those in these states."""
        return self._read_only(lambda unit: unit.refunds(states=states, after=after, limit=limit))

    def _make(  # noqa: PLR0917  - private; what a request consists of
        self, unit: Unit, ledger_id: str | None, receipt_id: str | None, wanted: int | None, why: str, via: Via | None
    ) -> tuple[Refund, Receipt | None]:
        order, receipt = _subject(unit, ledger_id, receipt_id)
        user_id = order.user_id if order and ledger_id else receipt.user_id if receipt else None
        if user_id is not None:
            # The customer's lock makes two requests at once wait for each other.
            unit.lock_customers([user_id])
            order, receipt = _subject(unit, ledger_id, receipt_id)
        taken = unit.refunds_of_order(ledger_id) if ledger_id is not None else ()
        if ledger_id is not None and order is not None:
            most = refundable_of_order(order, unit.receipts_of_orders([ledger_id]), taken)
        else:
            most = refundable_of_receipt(receipt, order) if receipt is not None else 0
        refund_id = self._ports.ids.new_id()
        asset = order.asset if ledger_id and order else receipt.asset if receipt else None
        if asset is None:
            raise NotFound("there is no such money", field="receipt_id")
        amount = bounded(wanted, most)
        if receipt is not None and amount != most:
            raise InputError("money that no order took goes back as a whole", field="amount")
        through = order is not None and ledger_id is not None and order.rail == "checkout"
        return Refund(
            refund_id=refund_id,
            ledger_id=ledger_id,
            receipt_id=receipt_id,
            user_id=user_id,
            network=order.network if order else _network_of(unit, asset.chain_id),
            asset=asset,
            amount=amount,
            treasury=order.treasury if ledger_id and order else receipt.treasury if receipt else "",
            reference=order.reference if ledger_id and order else b"",
            on_chain_id=make_reference(self._ports.storage.instance_id(), refund_id),
            via=_route(via, through=through),
            reason=why,
            requested_by=self._actor.user_id,
            status=RefundStatus.REQUESTED
            if self._needs_approval(unit, order, asset, amount + on_its_way(taken))
            else RefundStatus.APPROVED,
            created_at=self._ports.clock.now(),
        ), receipt

    def _needs_approval(self, unit: Unit, order: Order | None, asset: Any, amount: int) -> bool:
        gateway = unit.gateway(order.gateway_slug) if order else None
        policies = [gateway.misfits] if gateway else [g.misfits for g in unit.gateways()]
        return any(policy.needs_approval(asset, amount) for policy in policies)

    def _approval(self, refund: Refund) -> QueueItem:
        return QueueItem(
            item_id=self._ports.ids.new_id(),
            kind="refund_approval",
            subject=f"refund:{refund.refund_id}",
            reason=refund.reason,
            user_id=refund.user_id,
            ledger_id=refund.ledger_id,
            receipt_id=refund.receipt_id,
            refund_id=refund.refund_id,
            asset=refund.asset,
            amount=refund.amount,
            opened_at=self._ports.clock.now(),
        )

    def _decide_items(self, unit: Unit, subject: str, ruling: Literal["refund"] | None) -> Sequence[Decision]:
        now = self._ports.clock.now()
        return [
            StoreQueueItem(
                attrs.evolve(
                    item,
                    state="decided" if ruling else "withdrawn",
                    ruling=ruling,
                    decided_by=self._actor.user_id,
                    decided_at=now,
                    version=item.version + 1,
                )
            )
            for item in unit.queue_items_of([subject])
            if item.state == "open"
        ]

    def _give_up(self, unit: Unit, refund: Refund) -> None:
        receipt = unit.receipts([refund.receipt_id]).get(refund.receipt_id) if refund.receipt_id else None
        if receipt is not None and receipt.allocation == "refunded":
            self._rulings(unit).give_up(receipt)

    def _rulings(self, unit: Unit) -> Rulings:
        return Rulings(self._ports, unit, self._actor, note="")

    def _locked(self, unit: Unit, refund_id: str) -> Refund:
        refund = _known(unit, refund_id)
        if refund.user_id is not None:
            unit.lock_customers([refund.user_id])
            refund = _known(unit, refund_id)
        return refund

    def _write(self, unit: Unit, decisions: Sequence[Decision], refund: Refund, verb: str) -> None:
        unit.apply([*decisions, RecordAudit(_audit(self._ports, self._actor.user_id, refund, verb))])


def confirm_address(ports: Ports, unit: Unit, refund_id: str, *, user_id: str, address: str) -> Refund:
    """Take an address as a refund's, whose owner has just proved it; see :meth:`Engine.confirm_refund_address`."""
    unit.lock_customers([user_id])
    refund = _known(unit, refund_id)
    if refund.status not in _OPEN or refund.status is RefundStatus.PREPARED:
        raise Conflict("the address of this refund is settled", field="refund_id")
    if refund.user_id not in (None, user_id):
        raise NotFound("there is no such refund", field="refund_id")
    if refund.user_id is None:
        receipt = unit.receipts([refund.receipt_id or ""]).get(refund.receipt_id or "")
        if receipt is None or receipt.payer != address:
            raise ChallengeRefused("money that is nobody's goes back to the wallet that sent it", field="wallet")
    after = attrs.evolve(refund, address=address, address_confirmed_at=ports.clock.now(), version=refund.version + 1)
    unit.apply([StoreRefund(after), RecordAudit(_audit(ports, user_id, after, "address"))])
    return after


def use_wallet(ports: Ports, unit: Unit, refund_id: str, *, user_id: str, wallet: str) -> Refund:
    """Take a wallet that the customer has confirmed before as a refund's address."""
    address = parse_address(wallet, field="wallet")
    if address not in {w.address for w in unit.wallets(user_id)}:
        raise ChallengeRefused("this wallet is not confirmed as the user's", field="wallet")
    return confirm_address(ports, unit, refund_id, user_id=user_id, address=address)


def _audit(ports: Ports, actor: str, refund: Refund, verb: str) -> AuditEntry:
    return AuditEntry(
        audit_id=ports.ids.new_id(),
        actor=actor,
        action=f"refund.{verb}",
        object=f"refund:{refund.refund_id}",
        changes={"status": str(refund.status), "amount": str(refund.amount), "address": refund.address},
        recorded_at=ports.clock.now(),
    )


def _subject(unit: Unit, ledger_id: str | None, receipt_id: str | None) -> tuple[Order | None, Receipt | None]:
    if ledger_id is not None:
        order = unit.order(ledger_id)
        if order is None:
            raise NotFound("there is no such order", field="ledger_id")
        return order, None
    receipt = unit.receipts([receipt_id or ""]).get(receipt_id or "")
    if receipt is None:
        raise NotFound("there is no such receipt", field="receipt_id")
    return (unit.order(receipt.ledger_id) if receipt.ledger_id else None), receipt


def _check_covered(unit: Unit, refund: Refund) -> None:
    """Refuse what the chain no longer covers: a payment may have been taken back since the refund was asked for."""
    if refund.ledger_id is not None:
        order = unit.order(refund.ledger_id)
        others = [r for r in unit.refunds_of_order(refund.ledger_id) if r.refund_id != refund.refund_id]
        receipts = unit.receipts_of_orders([refund.ledger_id])
        covered = refundable_of_order(order, receipts, others) >= refund.amount if order is not None else False
    else:
        receipt = unit.receipts([refund.receipt_id or ""]).get(refund.receipt_id or "")
        covered = receipt is not None and receipt.status in SUPPORTING_RECEIPTS
    if not covered:
        raise Conflict("the chain has taken back what this refund would return", field="refund_id")


def _known(unit: Unit, refund_id: str) -> Refund:
    refund = unit.refund(refund_id)
    if refund is None:
        raise NotFound("there is no such refund", field="refund_id")
    return refund


def _network_of(unit: Unit, chain_id: int) -> str:
    return next(n.name for n in unit.networks() if n.chain_id == chain_id)


def _route(via: Via | None, *, through: bool) -> Via:
    if via not in (None, "contract", "transfer"):
        raise InputError("a refund goes through the contract or by a transfer", field="via")
    if via == "contract" and not through:
        raise InputError("only an order paid through the contract is refunded by it", field="via")
    return via or ("contract" if through else "transfer")
