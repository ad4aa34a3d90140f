"""Offering: where a plan is sold, for how much, and the order that asks for it; not yet signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.catalogue.catalogue import (
    MAPPED,
    Network,
    PaymentContract,
    PaymentGateway,
    Price,
    SubscriptionPlan,
)
from evmbilling.domain.identity import Product, make_reference
from evmbilling.domain.selling.orders import DEPOSIT, Order, OrderLine, OrderOrigin, Rail, sum_lines
from evmbilling.domain.subscriptions.periods import PeriodTable, plain_table
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.errors import InputError, UnknownAsset, UnknownNetwork

ExtraLines = Callable[[SubscriptionPlan, str, int, tuple[OrderLine, ...]], Sequence[OrderLine]]
"""A host's callable: (plan, user_id, quantity, lines so far) -> tax and discount lines. Pure and quick."""

_RAILS: Mapping[str, Rail] = {"erc20": "erc20", MAPPED: "call", DEPOSIT: DEPOSIT}
"""How orders through a kind of contract are paid, where that is not a signed order."""


NOBODY: Final = ZERO_ADDRESS
"""The wallet of an order that anybody may pay from anywhere: at its deposit address."""


@frozen(kw_only=True)
class CheckoutRequest:
    """A checkout's parameters, parsed; None stands for what the caller left to us, ``NOBODY`` for no wallet."""

    plan: str
    user_id: str
    wallet: str
    network: str | None
    asset: str | None
    product: Product | None
    quantity: int
    beneficiary: str | None
    zone: str | None
    start_at: datetime | None


@frozen(kw_only=True)
class Offer:
    """Where a plan is sold: one price, with the network, gateway and contract behind it."""

    plan: SubscriptionPlan
    price: Price
    network: Network
    gateway: PaymentGateway
    contract: PaymentContract
    treasury: str


def choose_price(plan: SubscriptionPlan, network: str | None, asset: str | None) -> Price:
    """Return the plan's price for a network and an asset (a symbol or a token address); the first that fits.

    Raises:
        UnknownNetwork: the plan is not sold there.
        UnknownAsset: the plan has no price in that asset there.

    """
    on_network = [p for p in plan.prices if network in (None, p.network)]
    if not on_network:
        raise UnknownNetwork(f"the plan {plan.slug} is not sold on {network}", field="network")
    for price in on_network:
        if asset is None or asset.lower() == price.asset.token.lower() or asset == price.asset.symbol:
            return price
    raise UnknownAsset(f"the plan {plan.slug} has no price in {asset}", field="asset")


def make_lines(offer: Offer, user_id: str, quantity: int, extra: ExtraLines | None) -> tuple[OrderLine, ...]:
    """Return the order's lines: the plan, further pieces, then what the host adds."""
    unit = offer.price.amount
    lines: tuple[OrderLine, ...] = (OrderLine(kind="plan", text=offer.plan.name, amount=unit),)
    if quantity > 1:
        lines += (OrderLine(kind="quantity", text=f"{quantity - 1} more", amount=unit * (quantity - 1)),)
    given = extra(offer.plan, user_id, quantity, lines) if extra else ()
    if not isinstance(given, tuple | list) or not all(isinstance(line, OrderLine) for line in given):
        raise InputError("a host's lines are a list of order lines", field="lines")
    if any(line.kind not in ("tax", "discount") or type(line.amount) is not int for line in given):
        raise InputError("a host adds lines of kind tax or discount with whole base units", field="lines")
    if not all(isinstance(line.text, str) and line.text.isprintable() for line in given):
        raise InputError("the text of a line is printable", field="lines")
    return (*lines, *given)


def period_lines(
    lines: tuple[OrderLine, ...], table: PeriodTable, period: int, *, paused: int = 0
) -> tuple[OrderLine, ...]:
    """Return the lines of a period: with one that says so when it is shorter or longer than others.

    Args:
        lines: of a period like others.
        table, period: which one.
        paused: how many of its seconds were paused.

    """
    length, full = table.share(period, paused=paused)
    if length == full:
        return lines
    whole = sum(line.amount for line in lines)
    text = "a shorter period" if length < full else "a longer period"
    return (*lines, OrderLine(kind="proration", text=text, amount=whole * length // full - whole))


def draw_order(
    request: CheckoutRequest,
    offer: Offer,
    *,
    lines: tuple[OrderLine, ...],
    instance_id: bytes,
    ledger_id: str,
    now: datetime,
    deadline: datetime,
    subscription: Subscription | None = None,
    period: int | None = None,
    origin: OrderOrigin = "checkout",
    due_at: datetime | None = None,
) -> Order:
    """Return the order that asks for these lines; the deadline is cut to whole seconds.

    Raises:
        InputError: there is nothing to pay.

    """
    amount = sum_lines(lines)
    if amount == 0:
        raise InputError("an order of nothing cannot be paid on chain", field="lines")
    return Order(
        ledger_id=ledger_id,
        reference=make_reference(instance_id, ledger_id),
        user_id=request.user_id,
        origin=origin,
        product=request.product or offer.plan.product,
        plan_slug=offer.plan.slug,
        plan_version=offer.plan.version,
        subscription_id=subscription.subscription_id if subscription else None,
        period=period,
        gateway_slug=offer.gateway.slug,
        contract_slug=offer.contract.slug,
        network=offer.network.name,
        asset=offer.price.asset,
        quantity=request.quantity,
        lines=lines,
        amount=amount,
        wallet=request.wallet,
        beneficiary=request.beneficiary or request.wallet,
        contract=offer.contract.address,
        treasury=offer.treasury,
        gas=dict(offer.contract.gas)["native" if offer.price.asset.is_native else "token"],
        created_at=now,
        # Whole seconds: the chain's clock has no fractions, and the signed deadline must be the stored one.
        deadline=deadline.replace(microsecond=0),
        member_until=_member_until(subscription, period, now) if subscription and period is not None else None,
        rail=_RAILS.get(offer.contract.kind, "checkout"),
        tolerance=offer.gateway.misfits.tolerance(amount),
        due_at=due_at,
    )


def _member_until(subscription: Subscription, period: int, now: datetime) -> datetime:
    """Estimate the end of the period being paid: what the chain may show; access is decided elsewhere."""
    table = subscription.table
    if table is None:
        begins = max(t for t in (now, subscription.start_at, subscription.trial_end) if t)
        table = plain_table(begins, subscription.interval, subscription.zone)
    return table.end(period).replace(microsecond=0)
