"""What a host can do inside a transaction: its own or ours. Nothing here touches the network."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from evmbilling.domain.actors import Actor
from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.identity import Product, parse_opaque, parse_product
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.offers import Checkout, Quote
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.access import Access
from evmbilling.domain.subscriptions.access import access as fold_access
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.admin.admin import Admin
from evmbilling.engine.books.finance import Finance
from evmbilling.engine.people.people import PeopleOperations
from evmbilling.engine.refunds.refunds import Refunds
from evmbilling.engine.requests import check_text, is_ledger_id, parse_checkout, parse_limit, parse_optional
from evmbilling.engine.selling import checkout as flow
from evmbilling.engine.selling.orders import answer, find_order, order_provider
from evmbilling.engine.subscriptions.changes import ChangeOperations
from evmbilling.errors import NotFound
from evmbilling.ports.storage import Unit


class Operations(ChangeOperations, PeopleOperations):
    """Billing inside one kind of transaction; :class:`evmbilling.BillingEngine` and ``engine.within(…)`` share it."""

    def checkout(
        self,
        *,
        plan: str,
        user_id: str,
        wallet: str | None = None,
        idempotency_key: str,
        network: str | None = None,
        asset: str | None = None,
        product: Product | str | None = None,
        quantity: int = 1,
        beneficiary: str | None = None,
        zone: str | None = None,
        start_at: datetime | None = None,
    ) -> Checkout:
        """Ask a wallet to pay for a plan.

        The same key and parameters answer with the same ``ledger_id`` and ``reference`` for ever, and with a
        byte-identical payload, challenge and deadline while the order can be paid.

        Args:
            plan: slug. user_id: the host's opaque id.
            wallet: the paying address, bound in the signed order; only a deposit address can be paid from anywhere.
            idempotency_key: unique per user; 1 to 255 printable ASCII characters.
            network: name; the plan's first priced network in use when left out.
            asset: token address or symbol; the first price on that network when left out.
            product: ``"type"`` or ``"type/id"`` where a user can hold several; the plan's own when left out.
            quantity: pieces; the amount and the limits multiply.
            beneficiary: who gets the membership on chain; the wallet when left out.
            zone: IANA zone of the subscription's calendar; the customer's when left out.
            start_at: a later start; an instant with a time zone.

        Raises:
            InputError: a parameter cannot be used; names the field.
            IdempotencyConflict: the key was used with other parameters.
            ChangeNeeded: a live subscription to the product is on another plan or quantity.
            TooManyOpenOrders: the customer has as many unpaid orders as the engine allows.
            RequestInProgress: another call for this user has not finished in time; try again.
            RetryTransaction: the database is busy with something else; inside ``within`` also for what would be
                RequestInProgress: run your whole transaction again.

        """
        key = parse_opaque(idempotency_key, field="idempotency_key")
        request = parse_checkout(
            plan=plan,
            user_id=user_id,
            wallet=wallet,
            network=network,
            asset=asset,
            product=product,
            quantity=quantity,
            beneficiary=beneficiary,
            zone=zone,
            start_at=start_at,
        )
        telemetry = self._ports.telemetry
        with telemetry.span("billing.checkout"):
            offer = self._runner.claim(
                lambda unit: flow.check_out(self._ports, unit, request, operation="checkout", key=key)
            )
            telemetry.annotate(ledger_id=offer.ledger_id, network=offer.order.network)
            return offer

    def quote(
        self,
        *,
        plan: str,
        user_id: str,
        wallet: str | None = None,
        network: str | None = None,
        asset: str | None = None,
        product: Product | str | None = None,
        quantity: int = 1,
    ) -> Quote:
        """Say what a checkout with these parameters would ask for now; nothing is written.

        Raises:
            InputError: as ``checkout``.

        """
        request = parse_checkout(
            plan=plan,
            user_id=user_id,
            wallet=wallet,
            network=network,
            asset=asset,
            product=product,
            quantity=quantity,
            beneficiary=None,
            zone=None,
            start_at=None,
        )
        return self._runner.read(lambda unit: flow.make_quote(self._ports, unit, request))

    def requote(self, ledger_id: str, *, user_id: str | None = None, idempotency_key: str | None = None) -> Checkout:
        """Withdraw an unpaid order and offer the same again with a new deadline.

        The old order is no longer offered but stays watched: money that still arrives for it is found. An order
        that is paid or being confirmed answers as it is. Without a key an order can be requoted once; each call returns
        that one.

        Raises:
            NotFound: no such order, or it is another user's.
            InputError: the plan cannot be bought any more, as in ``checkout``.
            ChangeNeeded: it pays for a change within a period, whose price was that of its moment: ask for the change
                again.

        """
        key = parse_optional(idempotency_key, field="idempotency_key")
        user = check_text(user_id, field="user_id")
        return self._runner.claim(lambda unit: flow.requote(self._ports, unit, ledger_id, user_id=user, key=key))

    def order(self, ledger_id: str, *, user_id: str | None = None) -> Checkout:
        """Return an order as it stands now.

        Raises:
            NotFound: no such order, or it is not ``user_id``'s.

        """
        user = check_text(user_id, field="user_id")

        def work(unit: Unit) -> Checkout:
            order = find_order(unit, ledger_id, user)
            return answer(order_provider(self._ports, unit, order), order, self._ports.clock.now())

        return self._runner.read(work)

    def orders(self, user_id: str, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of a user's orders, newest first, below the given ledger id.

        Raises:
            InputError: the user id or the limit (1 to 10,000) cannot be used.
            NotFound: ``before`` names no order.

        """
        user, rows = parse_opaque(user_id, field="user_id"), parse_limit(limit)
        if before is not None and not is_ledger_id(before):
            raise NotFound("there is no such order", field="before")
        return self._runner.read(lambda unit: unit.orders_of_user(user, before=before, limit=rows))

    def receipts(self, ledger_id: str) -> Sequence[Receipt]:
        """Return the movements of money that name an order; none for an order that is not there.

        Raises:
            InputError: the id cannot be used.

        """
        name = parse_opaque(ledger_id, field="ledger_id")
        return self._runner.read(lambda unit: unit.receipts_of_orders([name])) if is_ledger_id(name) else []

    def subscriptions(self, user_id: str) -> Sequence[Subscription]:
        """Return a user's subscriptions, oldest first.

        Raises:
            InputError: the user id cannot be used.

        """
        user = parse_opaque(user_id, field="user_id")
        return self._runner.read(lambda unit: unit.subscriptions_of_user(user))

    def plans(self) -> Sequence[SubscriptionPlan]:
        """Return the plans that are sold now: the newest version of each, without archived ones."""
        return [plan for plan in self._runner.read(lambda unit: unit.plans()) if plan.archived_at is None]

    def access(self, user_id: str, product: Product | str | None = None, feature: str | None = None) -> Access:
        """Say whether a user may use something now, until when, and why not.

        One indexed read, no RPC; fails closed: an unknown user has no access.

        Raises:
            InputError: the product is not written ``"type"`` or ``"type/id"``.

        """
        user = parse_opaque(user_id, field="user_id")
        wanted = None if product is None else parse_product(product, field="product")
        asked = check_text(feature, field="feature")
        entitlements = self._runner.read(lambda unit: unit.entitlements([user]))
        return fold_access(entitlements, self._ports.clock.now(), product=wanted, feature=asked)

    def finance(self, actor: Actor) -> Finance:
        """Return the finance queue's face, for an actor whose roles are checked at every call."""
        return Finance(self._ports, self._runner, actor)

    def refunds(self, actor: Actor) -> Refunds:
        """Return the face of giving money back, for an actor whose roles are checked at every call."""
        return Refunds(self._ports, self._runner, actor)

    def admin(self, actor: Actor) -> Admin:
        """Return the administrator's face, for an actor whose roles are checked at every call."""
        return Admin(self._ports, self._runner, actor)
