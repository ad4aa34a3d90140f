"""Contracts that are bound by configuration: what their rows must hold, what may change, how orders are paid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from evmbilling.domain.catalogue.call_templates import CallTemplate, Literal, Signing, template_of
from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract, Price, SubscriptionPlan
from evmbilling.domain.catalogue.event_mappings import mappings_of
from evmbilling.domain.payments.receipts import chain_position
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS
from evmbilling.engine.context import Ports
from evmbilling.errors import AlreadyExists, ConfigurationError, InputError
from evmbilling.ports.bindings import BindingProvider
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_CALLS: Final = ("mint_method", "renew_method", "burn_method", "permit_method", "refund_method")


def binding(provider: object) -> BindingProvider:
    """Return a provider as one that sells through any contract.

    Raises:
        ConfigurationError: it cannot.

    """
    if not isinstance(provider, BindingProvider):
        raise ConfigurationError("this payment provider knows only its own contracts", field="provider")
    return provider


def check_binding(provider: object, contract: PaymentContract) -> None:
    """Check what a contract's row holds: a mapped one has an ABI, calls and events, and no other has.

    Raises:
        InputError: something is missing, too much, or does not fit the ABI; names the place.

    """
    if contract.kind != MAPPED:
        templates = [name for name in _CALLS if (getattr(contract, name) or "").startswith("{")]
        for name in [*templates, *(("events",) if contract.events is not None else ())]:
            raise InputError(f"only a contract of the kind {MAPPED} is bound by configuration", field=name)
        return
    for name in ("abi", "events"):
        if getattr(contract, name) is None:
            raise InputError("a contract that is bound by configuration needs this", field=name)
    for name in _CALLS:
        method = getattr(contract, name)
        if method is not None and not method.startswith("{"):
            raise InputError("a call is a mapping: method, args, value, approve", field=name)
    try:
        binding(provider).check_binding(contract)
    except ConfigurationError as error:
        raise InputError(error.message, field=error.field or "abi") from None


def without_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a contract's fields without the calls of the built-in contract, where it is bound by configuration."""
    built_in = {"burn_method": None} if fields.get("kind") == MAPPED else {}
    return built_in | dict(fields)


def check_alone(unit: Unit, contract: PaymentContract) -> None:
    """Refuse a second binding of one contract: two of them would read its events in two ways.

    Raises:
        AlreadyExists: another row binds the address.

    """
    others = [c for c in unit.contracts(contract.chain_id) if c.address == contract.address and c.kind != "erc20"]
    if any(MAPPED in (contract.kind, other.kind) for other in others):
        raise AlreadyExists(f"{contract.address} is bound as {others[0].slug}", field="address")


def check_kept(unit: Unit, before: PaymentContract, after: PaymentContract) -> None:
    """Let what events mean grow and never change, once a plan was sold through the contract.

    A receipt is judged by its log until it is final, and after a reorg again: were the log read in another way, money
    that was credited would be taken back.

    Raises:
        InputError: an event would mean something else, or nothing any more.

    """
    same = (before.events, before.abi) == (after.events, after.abi)
    if before.kind != MAPPED or same or not plans_through(unit, before):
        return
    known, kept = mappings_of(before.events or "[]"), mappings_of(after.events or "[]")
    if not set(known) <= set(kept):
        raise InputError("what an event means stays; bind events beside those that are bound", field="events")
    if not all(event in _events_of(after) for event in _events_of(before)):
        raise InputError("events of the ABI stay as they are", field="abi")


def check_price(contract: PaymentContract, price: Price) -> None:
    """Check that a mapped contract's calls take what a price asks for.

    Raises:
        InputError: they send the coin along and the price is in a token, or the other way round; or they pay an amount
            of their own that is another.

    """
    misfit = _misfit(contract, price)
    if misfit is not None:
        raise InputError(f"{misfit[0]}: {misfit[1]}", field="prices")


def check_sold(unit: Unit, contract: PaymentContract) -> None:
    """Check that changed calls still take what plans are sold for through a contract now.

    Raises:
        InputError: they do not; names the place in the call.

    """
    for plan in unit.plans():
        if plan.contract_slug != contract.slug or plan.archived_at is not None:
            continue
        for price in plan.prices:
            misfit = _misfit(contract, price) if price.network == contract.network else None
            if misfit is not None:
                raise InputError(f"{misfit[1]}, and the plan {plan.slug} is sold through it", field=misfit[0])


def _misfit(contract: PaymentContract, price: Price) -> tuple[str, str] | None:
    """Return in which place of a contract's calls a price does not fit, and why; None where it does."""
    if contract.kind != MAPPED:
        return None
    native = price.asset.is_native
    for name in ("mint_method", "renew_method"):
        text = getattr(contract, name)
        if text is None:
            continue
        call = template_of(text)
        if (call.value != Literal(0)) != native:
            wanted = "the native coin" if not native else "tokens"
            return f"{name}.value", f"this contract is called with {wanted} only"
        if native and isinstance(call.value, Literal) and call.value.value != price.amount:
            return f"{name}.value", f"the call sends {call.value.value} base units, {price.amount} are asked for"
    for name in ("mint_method", "renew_method", "permit_method"):
        text = getattr(contract, name)
        short = None if text is None or native else _short(template_of(text), price.amount)
        if short is not None:
            return f"{name}.{short}", f"{price.amount} are asked for, and this is another amount"
    return None


def _short(call: CallTemplate, amount: int) -> str | None:
    """Return where a call allows or has signed a constant that cannot be the price; None where it can.

    More than the price may be allowed: a contract may give some of it back. A transfer is signed for what it moves.
    """
    for name, given in (("approve.amount", call.approve), ("sign.amount", call.sign)):
        constant = given.amount.value if given is not None and isinstance(given.amount, Literal) else None
        if constant is None:
            continue
        moves = isinstance(given, Signing) and given.scheme != "erc2612"
        if int(constant) < amount or (moves and int(constant) != amount):
            return name
    return None


def by_payer(contract: PaymentContract) -> bool:
    """Whether payments through a contract are told apart by who paid."""
    return contract.events is not None and any(m.match == "payer" for m in mappings_of(contract.events))


def names_nobody(contract: PaymentContract) -> bool:
    """Whether an event through which a contract is paid leaves it to the transfer beside it to say who paid."""
    events = mappings_of(contract.events) if contract.events is not None else ()
    return any(mapping.is_paying and mapping.part("payer") is None for mapping in events)


def is_found_by_payer(unit: Unit, order: Order) -> bool:
    """Whether the payment of an order through a mapped contract is told from others by who paid."""
    contract = unit.contract(order.contract_slug, order.network) if order.rail == "call" else None
    return contract is not None and by_payer(contract)


def with_call(ports: Ports, unit: Unit, order: Order) -> Order:
    """Return an order of a mapped contract with the call that pays it.

    Raises:
        ConfigurationError: its gateway or contract is gone.
        InputError: a value of the order does not fit the call.

    """
    gateway, contract = unit.gateway(order.gateway_slug), unit.contract(order.contract_slug, order.network)
    if gateway is None or contract is None:
        raise ConfigurationError(f"the plan {order.plan_slug} has no gateway or contract in use", field="plan")
    return call_of(unit, ports.provider(gateway.provider), order, contract)


def call_of(unit: Unit, provider: Provider, order: Order, contract: PaymentContract) -> Order:
    """Return an order with the call that pays it, through a contract and provider that are at hand.

    Raises:
        ConfigurationError: the provider knows only its own contracts.
        InputError: a value of the order does not fit the call.

    """
    token_id = None
    if contract.renew_method is not None and "token_id" in template_of(contract.renew_method).placeholders():
        token_id = given_token(unit, provider, order, contract) if order.period else None
    return binding(provider).with_call(order, contract, token_id)


def given_token(unit: Unit, provider: Provider, order: Order, contract: PaymentContract) -> int | None:
    """Return the number that a contract gave to an order's membership: what the newest payment that counts says.

    Another payment may have been told another number, which nobody has paid a period of: it is the customer's credit.
    """
    family = unit.orders_of_subscriptions([order.subscription_id]) if order.subscription_id else ()
    paid = unit.receipts_of_orders([o.ledger_id for o in family]) if family else ()
    counting = [r for r in paid if r.status in SUPPORTING_RECEIPTS and r.allocation == "order"]
    counted = [receipt.identity for receipt in sorted(counting, key=chain_position)]
    logs = unit.logs_of(counted)
    for identity in reversed(counted):
        seen = provider.decode(logs[identity], contract) if identity in logs else None
        if seen is not None and seen.kind == "payment" and seen.subscription is not None:
            return seen.subscription
    return None


def tokens_sold(unit: Unit, contract: PaymentContract) -> Sequence[str]:
    """Return the tokens in which a plan is sold through a contract now."""
    prices = [price for plan in plans_through(unit, contract) for price in plan.prices]
    return sorted({p.asset.token for p in prices if p.network == contract.network and not p.asset.is_native})


def plans_through(unit: Unit, contract: PaymentContract) -> Sequence[SubscriptionPlan]:
    """Return every version of a plan that names a contract: an order of it may be open, or paid."""
    return [plan for plan in every_version(unit) if plan.contract_slug == contract.slug]


def every_version(unit: Unit) -> Sequence[SubscriptionPlan]:
    """Return every version of every plan: running subscriptions keep theirs, and archived plans have some too."""
    keys = {(plan.slug, version) for plan in unit.plans() for version in range(1, plan.version + 1)}
    return list(unit.plan_versions(keys).values())


def _events_of(contract: PaymentContract) -> list[object]:
    return [item for item in json.loads(contract.abi or "[]") if item.get("type") == "event"]
