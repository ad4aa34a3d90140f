"""Refunds: asked for, agreed to, addressed by their owner, prepared for the treasury, and found again on chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.addresses import parse_address
from evmbilling.domain.decisions import Decision, StoreQueueItem, StoreRefund
from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.money import parse_base_units
from evmbilling.domain.payments.receipts import Burn, Refund
from evmbilling.domain.refunds.burning import may_end
from evmbilling.domain.refunds.refunds import given_up, move
from evmbilling.domain.selling.offers import PreparedRefund, WalletPayload
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.admin.readers import flag, text
from evmbilling.engine.intake.purses import credited_assets, load_purse
from evmbilling.engine.refunds.addresses import audit_refund, known_refund
from evmbilling.engine.refunds.coverage import check_covered
from evmbilling.engine.refunds.ends import set_free
from evmbilling.engine.refunds.limits import agreed, approval_question
from evmbilling.engine.refunds.naming import NamedTransactions
from evmbilling.engine.refunds.payloads import refund_payload
from evmbilling.engine.refunds.record import check_decided
from evmbilling.engine.refunds.requests import (
    Credit,
    CreditWish,
    Maker,
    OrderRefunds,
    Via,
    Wish,
    refunds_of,
)
from evmbilling.engine.requests import parse_asset, parse_page, parse_words
from evmbilling.engine.sending.withdrawing import withdraw_queued
from evmbilling.engine.subscriptions.membership_burns import burn_when_over
from evmbilling.engine.subscriptions.membership_tokens import burn_payload, marked
from evmbilling.errors import Conflict, InputError, PermissionDenied
from evmbilling.ports.storage import Unit

_LONGEST_REASON = 500


class Refunds(NamedTransactions):
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
        end_membership: bool | None = None,
    ) -> Refund:
        """Ask to give back a paid order's money, or money that no order took.

        Args:
            ledger_id, receipt_id: one of the two.
            amount: base units; everything that is left when absent.
            reason: for the books, one line.
            via: ``contract`` or ``transfer``; the contract's own refund where the order was paid through one.
            end_membership: whether the membership ends when the refund is done; the gateway's policy (``on_refund``)
                decides when absent.

        Raises:
            NotFound: no such order or receipt.
            InputError: more than is left, or both or neither named.
            Conflict: nothing is left to give back, its network is halted, or the order is of no subscription.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        if (ledger_id is None) == (receipt_id is None):
            raise InputError("a refund names an order or a receipt", field="ledger_id")
        order_id = None if ledger_id is None else parse_opaque(ledger_id, field="ledger_id")
        money_id = None if receipt_id is None else parse_opaque(receipt_id, field="receipt_id")
        wish = _wish(amount, reason, via, end_membership)

        def make(maker: Maker) -> Refund:
            return maker.of_order(order_id, wish) if order_id else maker.of_receipt(money_id or "", wish)

        return self._open(make)

    def request_credit(
        self,
        user_id: str,
        *,
        network: str | None = None,
        asset: str | None = None,
        amount: int | str | None = None,
        treasury: str | None = None,
        reason: str,
    ) -> Refund:
        """Ask to give back what a customer paid beyond all orders: too much, twice, or too late.

        It is set aside at once: the account does not hold it any more, and it pays no order.

        Args:
            user_id: whose. network, asset: name, and symbol or address, where the user has credit in several.
            amount: base units; all of the free credit when absent. A payment in parts waits for its order.
            treasury: which of several treasuries pays.
            reason: for the books, one line.

        Raises:
            NotFound: billing has not seen this user.
            UnknownNetwork, UnknownAsset: no such network, or no credit in that asset.
            InputError: more than is free, or it is not clear which asset or treasury is meant.
            Conflict: there is no free credit, or the network is halted.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        credit = CreditWish(
            user_id=parse_opaque(user_id, field="user_id"),
            network=None if network is None else parse_slug(network, field="network"),
            asset=None if asset is None else parse_asset(asset),
            treasury=None if treasury is None else parse_address(treasury, field="treasury"),
        )
        wish = _wish(amount, reason, "transfer", None)
        return self._open(lambda maker: maker.of_credit(credit, wish))

    def credit(self, user_id: str) -> Sequence[Credit]:
        """Return what a customer's account holds, by asset, and how much of it can be given back; base units.

        Raises:
            InputError: the user id cannot be used.

        """
        user = parse_opaque(user_id, field="user_id")

        def work(unit: Unit) -> list[Credit]:
            found = []
            for asset in credited_assets(unit, user):
                purse = load_purse(unit, user, asset)
                found.append(Credit(asset=asset, held=purse.held, free=max(0, purse.free())))
            return found

        return self._read_only(work)

    def approve(self, refund_id: str, *, end_membership: bool | None = None) -> Refund:
        """Agree to a refund that another person asked for: one that waits for it, or that is too much for its wallet.

        Args:
            refund_id: which.
            end_membership: whether the membership ends with it; as it was asked for when absent.

        Raises:
            PermissionDenied: the actor asked for it, or is no ``billing_admin``.
            IllegalTransition: it is not waiting for anybody.
            Conflict: the chain has taken back the money, the order is of no subscription, or its row is not what the
                audit says was asked for (``reason`` names the part).

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_opaque(refund_id, field="refund_id")
        end = None if end_membership is None else flag("end_membership")(end_membership)

        def work(unit: Unit) -> Refund:
            refund = self._locked(unit, name)
            if refund.requested_by == self._actor.user_id:
                raise PermissionDenied("a second person has to agree", field="actor")
            check_decided(self._ports, unit, refund)
            check_covered(unit, attrs.evolve(refund, approved_by=self._actor.user_id))
            after = agreed(unit, refund, self._actor.user_id)
            if end is not None:
                after = attrs.evolve(after, shortens=False, **_chosen(unit, refund, end=end))
            decided = self._decide_items(unit, f"refund:{name}", "refund")
            return self._write(unit, refund, after, "approve", *decided)

        return self._runner.write(work)

    def prepare(self, refund_id: str) -> PreparedRefund:
        """Return the transaction that the treasury signs. Asking again returns the same one.

        A contract's refund pulls from the sender: for a token the treasury approves the contract first. Where the
        binding says so, ``approval`` is that transaction; send it right before the refund, one refund after another.

        Raises:
            Conflict: its address has not been proved yet, the chain has taken back the money that it returns, or its
                row is not what the audit says was decided (``reason`` names the part).
            IllegalTransition: nobody agreed to it, or it is over.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name = parse_opaque(refund_id, field="refund_id")

        def work(unit: Unit) -> PreparedRefund:
            refund = self._locked(unit, name)
            if refund.address is None or refund.address_confirmed_at is None:
                raise Conflict("nobody has proved yet where this refund goes", field="address")
            check_decided(self._ports, unit, refund)
            check_covered(unit, refund)
            payload = refund_payload(self._ports, unit, refund)
            if refund.status is not RefundStatus.PREPARED:
                after = move(refund, RefundStatus.PREPARED, prepared_at=self._ports.clock.now())
                self._write(unit, refund, after, "prepare", *self._decide_items(unit, f"refund:{name}", None))
            return payload

        return self._runner.write(work)

    def prepare_burn(self, refund_id: str) -> WalletPayload:
        """Return the transaction that burns the membership token, for the wallet of the contract's operator or owner.

        Nobody else may send it but the token's holder. Asking again returns the same one, and nothing changes but the
        mark by which the burn is found, where a reorganisation made the contract give another number.

        Raises:
            Conflict: no membership ends with this refund, it is not done yet, the contract burns nothing, or it goes
                by numbers of its own and no payment that counts has told one (``field`` is ``token_id``).

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name = parse_opaque(refund_id, field="refund_id")

        def work(unit: Unit) -> WalletPayload:
            self._locked(unit, name)
            refund = burn_when_over(self._ports, unit, name)
            payload = burn_payload(self._ports, unit, refund)
            found = marked(self._ports, unit, refund)
            if found != refund:
                unit.apply([StoreRefund(attrs.evolve(found, version=refund.version + 1))])
            return payload

        return self._runner.write(work)

    def cancel(self, refund_id: str, *, reason: str) -> Refund:
        """Give up a refund that was not sent, or that the chain took back and that nobody will send again.

        What waits in the relayer's queue is withdrawn with it. What was prepared may be sent all the same, by whoever
        signed it: it is recognised and accounted for then.

        Raises:
            IllegalTransition: it is on chain or over.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name = parse_opaque(refund_id, field="refund_id")
        why = text("reason", _LONGEST_REASON)(reason)

        def work(unit: Unit) -> Refund:
            refund = self._locked(unit, name)
            after = given_up(refund, why)
            withdrawn = withdraw_queued(self._ports, unit, self._actor.user_id, name)
            items = self._decide_items(unit, f"refund:{name}", None)
            return self._write(unit, refund, after, "cancel", *items, *withdrawn)

        return self._runner.write(work)

    def refund(self, refund_id: str) -> Refund:
        """Return a refund.

        Raises:
            NotFound: there is none.

        """
        name = parse_opaque(refund_id, field="refund_id")
        return self._read_only(lambda unit: known_refund(unit, name))

    def refunds(self, *, states: Sequence[str] = (), after: str = "", limit: int = 100) -> Sequence[Refund]:
        """Return a page of refunds by id, all or those in these states."""
        words = parse_words(states, RefundStatus, field="states")
        start, rows = parse_page(after, limit)
        return self._read_only(lambda unit: unit.refunds(states=words, after=start, limit=rows))

    def of_order(self, ledger_id: str) -> OrderRefunds:
        """Return the refunds of an order, and how much else of it can be given back.

        Raises:
            NotFound: there is no such order.

        """
        name = parse_opaque(ledger_id, field="ledger_id")
        return self._read_only(lambda unit: refunds_of(unit, name))

    def _open(self, make: Maker.Make) -> Refund:
        def work(unit: Unit) -> Refund:
            made = make(Maker(self._ports, unit, self._actor))
            asks = (
                [StoreQueueItem(approval_question(self._ports, made))] if made.status is RefundStatus.REQUESTED else []
            )
            return self._write(unit, None, made, "request", *asks)

        return self._runner.write(work)

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

    def _locked(self, unit: Unit, refund_id: str) -> Refund:
        refund = known_refund(unit, refund_id)
        if refund.user_id is not None:
            unit.lock_customers([refund.user_id])
            refund = known_refund(unit, refund_id)
        return refund

    def _write(self, unit: Unit, before: Refund | None, after: Refund, verb: str, *more: Decision) -> Refund:
        after = marked(self._ports, unit, after)
        posted = set_free(self._ports, unit, self._actor, before, after)
        audit = audit_refund(self._ports, self._actor.user_id, after, verb)
        unit.apply([StoreRefund(after), *more, *posted, audit])
        return after


def _wish(amount: object, reason: object, via: object, end: object) -> Wish:
    if via not in (None, "contract", "transfer") or not isinstance(via, str | None):
        raise InputError("a refund goes through the contract or by a transfer", field="via")
    return Wish(
        amount=None if amount is None else parse_base_units(amount, field="amount", minimum=1),
        reason=text("reason", _LONGEST_REASON)(reason),
        via=via,
        end=None if end is None else flag("end_membership")(end),
    )


def _chosen(unit: Unit, refund: Refund, *, end: bool) -> dict[str, Any]:
    """Return what becomes of a refund where a person says whether the membership ends with it."""
    if not end:
        return {"burn": None, "paid_to": None}
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    if order is None:
        raise Conflict("only the refund of an order can end a membership", field="end_membership")
    may_end(order)
    sold = unit.subscriptions([order.subscription_id or ""]).get(order.subscription_id or "")
    paid_to = refund.paid_to
    if paid_to is None and sold is not None:
        paid_to = sold.paid_periods
    return {"burn": refund.burn or Burn(), "paid_to": paid_to}
