"""Making a refund: what it gives back, how much of it at most, where it is paid from, and whether somebody must agree.

Everything here runs inside the unit that writes, after the customer was locked: two requests at once wait for each
other, and the second finds what the first has set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import attrs
from attrs import frozen

from evmbilling.domain.actors import Actor
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.identity import make_reference
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.credit import PINNED, on_its_way
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Burn, Receipt, Refund
from evmbilling.domain.refunds.burning import ends_by_policy, may_end, shortens_by_policy
from evmbilling.domain.refunds.refunds import (
    bounded,
    refundable_of_order,
    refundable_of_receipt,
)
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, RefundStatus
from evmbilling.domain.subscriptions.pausing_times import running_moment
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.books.placing import Placing
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.purses import credited_assets, load_purse
from evmbilling.engine.refunds.coverage import went_back
from evmbilling.engine.refunds.limits import is_above, sent_back
from evmbilling.engine.refunds.routes import paid_through_contract
from evmbilling.errors import Conflict, InputError, NotFound, UnknownAsset, UnknownNetwork
from evmbilling.ports.storage import Unit

Via = Literal["contract", "transfer"]


@frozen(kw_only=True)
class Wish:
    """What somebody asks for, parsed.

    Attributes:
        amount: base units; everything that is left when None.
        end: whether the membership ends with it; the gateway's policy decides when None.

    """

    amount: int | None
    reason: str
    via: Via | None = None
    end: bool | None = None


@frozen(kw_only=True)
class CreditWish:
    """Which credit somebody asks for: names and addresses where they are needed to tell."""

    user_id: str
    network: str | None
    asset: str | None
    treasury: str | None


@frozen(kw_only=True)
class Credit:
    """What a customer's account holds in one asset.

    Attributes:
        held: base units that no complete order took, less what is set aside to go back.
        free: how much of it can be given back: what is not waiting for an order that was paid in part.

    """

    asset: Asset
    held: int
    free: int


@frozen(kw_only=True)
class OrderRefunds:
    """What was given back of an order, and what else can be.

    Attributes:
        refunds: all that were asked for, by id.
        asset: of the order. left: base units that can be given back now.

    """

    refunds: tuple[Refund, ...]
    asset: Asset
    left: int


class Maker:
    """Makes refunds in one unit, for one actor; what they take is set aside by then."""

    Make: TypeAlias = "Callable[[Maker], Refund]"

    def __init__(self, ports: Ports, unit: Unit, actor: Actor) -> None:
        self._ports = ports
        self._unit = unit
        self._actor = actor

    def of_order(self, ledger_id: str, wish: Wish) -> Refund:
        """Return a refund of what a paid order took."""
        self._unit.lock_customers([_order(self._unit, ledger_id).user_id])
        order = _order(self._unit, ledger_id)
        self._check_running(order.asset.chain_id)
        taken = self._unit.refunds_of_order(ledger_id)
        most = refundable_of_order(order, self._unit.receipts_of_orders([ledger_id]), taken)
        amount = bounded(wish.amount, most)
        gateway = self._unit.gateway(order.gateway_slug)
        policies = [gateway.misfits] if gateway else self._policies()
        sold = self._unit.subscriptions([order.subscription_id]) if order.subscription_id else {}
        subscription = sold.get(order.subscription_id or "")
        ends, shortens = bool(wish.end), False
        if ends:
            may_end(order)
        elif wish.end is None and gateway is not None:
            ends, shortens = self._takes_away(order, subscription, gateway.misfits, full=amount == most)
        made = self._refund(
            wish,
            amount=amount,
            asset=order.asset,
            network=order.network,
            treasury=order.treasury,
            user_id=order.user_id,
            needs_approval=self._needs_approval(
                policies, order.asset, amount, self._unit.refunds_by(users=[order.user_id])
            ),
        )
        return attrs.evolve(
            made,
            ledger_id=ledger_id,
            reference=order.reference,
            via=_route(wish.via, through=paid_through_contract(self._unit, order)),
            burn=Burn() if ends else None,
            shortens=shortens,
            paid_to=subscription.paid_periods if subscription is not None and (ends or shortens) else None,
        )

    def _takes_away(
        self, order: Order, subscription: Subscription | None, policy: MisfitPolicy, *, full: bool
    ) -> tuple[bool, bool]:
        """Return what a refund takes away by policy: the membership, as it looks now, and the period.

        What is left when it is done decides: until then months may be paid, and refunds of others given up.
        """
        given_back: set[int] = set()
        moment = self._ports.clock.now()
        if subscription is not None:
            moment = running_moment(self._unit.changes([subscription.subscription_id]), moment)
            others = self._unit.orders_of_subscriptions([subscription.subscription_id])
            given_back = {
                o.period
                for o in others
                if o.period is not None and o.ledger_id != order.ledger_id and self._is_given_back(o)
            }
        ends = ends_by_policy(order, subscription, policy, full=full, given_back=given_back, moment=moment)
        return ends, shortens_by_policy(order, subscription, policy, full=full, moment=moment)

    def _is_given_back(self, order: Order) -> bool:
        taken = self._unit.refunds_of_order(order.ledger_id)
        if order.status not in PAID_ORDERS or not on_its_way(taken):
            return False
        return refundable_of_order(order, self._unit.receipts_of_orders([order.ledger_id]), taken) == 0

    def of_receipt(self, receipt_id: str, wish: Wish) -> Refund:
        """Return a refund of money that no order took, as a whole, and set the receipt aside."""
        receipt = _receipt(self._unit, receipt_id)
        if receipt.user_id is not None:
            self._unit.lock_customers([receipt.user_id])
            receipt = _receipt(self._unit, receipt_id)
        _refuse_end(wish)
        self._check_running(receipt.asset.chain_id)
        order = self._unit.order(receipt.ledger_id) if receipt.ledger_id else None
        purse = load_purse(self._unit, receipt.user_id, receipt.asset) if receipt.user_id is not None else None
        most = 0 if went_back(self._unit, receipt) else refundable_of_receipt(receipt, order, purse)
        if bounded(wish.amount, most) != most:
            raise InputError("money that no order took goes back as a whole", field="amount")
        made = self._refund(
            wish,
            amount=most,
            asset=receipt.asset,
            network=_network_of(self._unit, receipt.asset.chain_id).name,
            treasury=receipt.treasury,
            user_id=receipt.user_id,
            needs_approval=self._needs_approval(
                self._policies(), receipt.asset, most, purse.refunds if purse else sent_back(self._unit, receipt.payer)
            ),
        )
        Placing(self._ports, self._unit, self._actor).set_aside(receipt)
        return attrs.evolve(made, receipt_id=receipt_id, via=_route(wish.via, through=False))

    def of_credit(self, credit: CreditWish, wish: Wish) -> Refund:
        """Return a refund of a customer's credit; what it takes pays no order any more."""
        if credit.user_id not in self._unit.lock_customers([credit.user_id]):
            raise NotFound("billing has not seen this user", field="user_id")
        _refuse_end(wish)
        asset, network = self._which(credit)
        self._check_running(asset.chain_id)
        purse = load_purse(self._unit, credit.user_id, asset)
        amount = bounded(wish.amount, purse.free())
        made = self._refund(
            wish,
            amount=amount,
            asset=asset,
            network=network.name,
            treasury=self._treasury(credit.treasury, asset.chain_id, network.name),
            user_id=credit.user_id,
            needs_approval=self._needs_approval(self._policies(), asset, amount, purse.refunds),
        )
        for receipt in purse.to_pin(amount):
            Placing(self._ports, self._unit, self._actor).keep_as(receipt, PINNED)
        return attrs.evolve(made, via=_route(wish.via, through=False))

    # -- parts

    def _refund(
        self,
        wish: Wish,
        *,
        amount: int,
        asset: Asset,
        network: str,
        treasury: str,
        user_id: str | None,
        needs_approval: bool,
    ) -> Refund:
        refund_id = self._ports.ids.new_id()
        return Refund(
            refund_id=refund_id,
            user_id=user_id,
            network=network,
            asset=asset,
            amount=amount,
            treasury=treasury,
            on_chain_id=make_reference(self._ports.storage.instance_id(), refund_id),
            reason=wish.reason,
            requested_by=self._actor.user_id,
            status=RefundStatus.REQUESTED if needs_approval else RefundStatus.APPROVED,
            created_at=self._ports.clock.now(),
        )

    def _policies(self) -> list[MisfitPolicy]:
        """Return the policies of all gateways, where it is not known which one took the money: the strictest holds."""
        return [gateway.misfits for gateway in self._unit.gateways()]

    def _needs_approval(
        self, policies: Iterable[MisfitPolicy], asset: Asset, amount: int, others: Iterable[Refund]
    ) -> bool:
        """Whether a second person must agree.

        What else goes back to the customer in that asset by one person alone counts along, for whichever order or none:
        many parts are one sum, and what was prepared may be sent though it was given up. Money of nobody counts
        together with all that goes back to the wallet that sent it.
        """
        return is_above(policies, asset, amount, others)

    def _check_running(self, chain_id: int) -> None:
        """Refuse to promise money of a chain whose past is in doubt."""
        cursor = self._unit.cursor(chain_id)
        if cursor is not None and cursor.halt is not None:
            raise Conflict("this network is halted: what came in on it is in doubt", field="network")

    def _which(self, credit: CreditWish) -> tuple[Asset, Network]:
        """Return the one asset that is meant.

        Raises:
            UnknownNetwork, UnknownAsset: there is no such network, or no credit in that asset.
            InputError: several could be meant.

        """
        networks = {n.chain_id: n for n in self._unit.networks() if credit.network in (None, n.name)}
        if not networks:
            raise UnknownNetwork(field="network")
        wanted = credit.asset
        found = [
            asset
            for asset in credited_assets(self._unit, credit.user_id)
            if asset.chain_id in networks and wanted in (None, asset.token, asset.symbol)
        ]
        if not found and wanted is not None:
            raise UnknownAsset("the user has no credit in this asset", field="asset")
        if not found:
            raise Conflict("there is nothing left to give back", field="user_id", refundable="0")
        if len(found) > 1:
            field = "network" if len({asset.chain_id for asset in found}) > 1 and credit.network is None else "asset"
            raise InputError("the user has credit in several; say which", field=field)
        return found[0], networks[found[0].chain_id]

    def _treasury(self, named: str | None, chain_id: int, network: str) -> str:
        """Return where it is paid from: the treasury that is named, else the only one that sells on the network."""
        watched = {t.address for t in self._unit.treasuries(chain_id)}
        if named is not None:
            if named not in watched:
                raise InputError("this treasury is not watched there", field="treasury")
            return named
        selling = {g.treasury(network) for g in self._unit.gateways()} & watched
        if len(selling) != 1:
            raise InputError("several treasuries could pay; say which", field="treasury")
        return str(selling.pop())


def refunds_of(unit: Unit, ledger_id: str) -> OrderRefunds:
    """Return what was given back of an order, and what else can be; see :meth:`Refunds.of_order`."""
    order = _order(unit, ledger_id)
    taken = unit.refunds_of_order(ledger_id)
    left = refundable_of_order(order, unit.receipts_of_orders([ledger_id]), taken)
    return OrderRefunds(refunds=tuple(sorted(taken, key=lambda r: r.refund_id)), asset=order.asset, left=left)


def _refuse_end(wish: Wish) -> None:
    if wish.end:
        raise InputError("only the refund of an order can end a membership", field="end_membership")


def _order(unit: Unit, ledger_id: str) -> Order:
    order = unit.order(ledger_id)
    if order is None:
        raise NotFound("there is no such order", field="ledger_id")
    return order


def _receipt(unit: Unit, receipt_id: str) -> Receipt:
    receipt = unit.receipts([receipt_id]).get(receipt_id)
    if receipt is None:
        raise NotFound("there is no such receipt", field="receipt_id")
    return receipt


def _network_of(unit: Unit, chain_id: int) -> Network:
    return next(n for n in unit.networks() if n.chain_id == chain_id)


def _route(via: Via | None, *, through: bool) -> Via:
    if via not in (None, "contract", "transfer"):
        raise InputError("a refund goes through the contract or by a transfer", field="via")
    if via == "contract" and not through:
        raise InputError("only an order paid through the contract is refunded by it", field="via")
    return via or ("contract" if through else "transfer")
