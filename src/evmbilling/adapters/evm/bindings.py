"""Bindings by configuration: a contract's templates and mappings, compiled once and used for every order and log."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import attrs
from attrs import field, frozen

from evmbilling.adapters.evm.call_encoding import CompiledCall, Values, compile_call, values_of
from evmbilling.adapters.evm.event_reading import CompiledEvent, compile_events
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.call_templates import SIGNED, Literal, template_of
from evmbilling.domain.catalogue import MAPPED, PaymentContract
from evmbilling.domain.event_mappings import mappings_of
from evmbilling.domain.evidence import ChainLog, Observation
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.orders import Order, OrderCall
from evmbilling.errors import ConfigurationError, InputError, ProviderError

END_GAS: Final = 200_000
"""Units for ending a membership by a call that nobody has measured."""


@frozen(eq=False)
class Binding:
    """How a contract is called, and what its events mean.

    Attributes:
        start, renew, end: the calls that pay the first and a later period, and that end a membership.
        permit: the one that pays with an allowance which the payer signs.
        events: by first topic and number of topics.

    """

    start: CompiledCall
    renew: CompiledCall
    end: CompiledCall | None
    permit: CompiledCall | None
    events: Mapping[tuple[bytes, int], CompiledEvent] = field(repr=False)

    def call_for(self, order: Order) -> CompiledCall:
        """Return the call that pays an order."""
        return self.renew if order.period else self.start

    def signed_call_for(self, order: Order) -> CompiledCall | None:
        """Return the call that pays an order with the payer's signature in it; None where none does."""
        call = self.permit or self.call_for(order)
        return call if call.takes_signature else None

    @property
    def topics(self) -> tuple[bytes, ...]:
        """Every first topic that means something."""
        return tuple(sorted({topic for topic, _ in self.events}))


def binding_of(contract: PaymentContract) -> Binding:
    """Return the compiled binding of a contract.

    Raises:
        InputError: the binding does not fit its ABI; names the place.
        ConfigurationError: the ABI is malformed, or the contract is of another kind.

    """
    if contract.kind != MAPPED or contract.abi is None or contract.events is None:
        raise ConfigurationError(f"contract {contract.slug} is not bound by configuration", field="kind")
    calls = (contract.mint_method, contract.renew_method, contract.burn_method, contract.permit_method)
    return _compile(contract.abi, calls, contract.events)


@lru_cache(maxsize=256)
def _compile(abi: str, calls: tuple[str, str | None, str | None, str | None], events: str) -> Binding:
    start, renew, end, permit = calls
    first = compile_call(template_of(start), abi, path="mint_method")
    later = first if renew is None else compile_call(template_of(renew), abi, path="renew_method")
    last = None if end is None else compile_call(template_of(end), abi, path="burn_method")
    compiled = compile_events(mappings_of(events), abi, path="events")
    signed = None if permit is None else compile_call(template_of(permit), abi, path="permit_method")
    paying = {"mint_method": first, "renew_method": later}
    _check_ways(compiled, paying if signed is None else paying | {"permit_method": signed})
    _check_signed(paying, signed, last)
    by_shape = {event.shape: event for event in compiled}
    return Binding(start=first, renew=later, end=last, permit=signed, events=by_shape)


def _check_signed(calls: Mapping[str, CompiledCall], permit: CompiledCall | None, end: CompiledCall | None) -> None:
    """A payer's signature goes into a call that says what is signed, and into one of the two ways to pay.

    Raises:
        InputError: names the place in the call.

    """
    if end is not None and end.takes_signature:
        raise InputError("nobody signs for the end of a membership", field="burn_method.args")
    for path, call in calls.items():
        if call.takes_signature and call.template.sign is None:
            raise InputError("nobody signs a permit for this call: say what is signed, in sign", field=f"{path}.args")
        if call.takes_signature and permit is not None:
            raise InputError("this call is signed for itself: there is no other with a signature", field=f"{path}.sign")
        _check_signature(path, call)
    if permit is not None:
        if not permit.takes_signature:
            raise InputError("a permit goes in as {permit_v}, {permit_r} and {permit_s}", field="permit_method.args")
        _check_signature("permit_method", permit)


def _check_signature(path: str, call: CompiledCall) -> None:
    """Check that a signature is whole, and that what is signed is bound to the order.

    Raises:
        InputError: names the place in the call.

    """
    template = call.template
    if template.sign is not None and not call.takes_signature:
        raise InputError("a signature goes in as {permit_v}, {permit_r} and {permit_s}", field=f"{path}.args")
    if call.scheme is None:
        return
    if template.placeholders() & SIGNED not in ({"permit_signature"}, SIGNED - {"permit_signature"}):
        raise InputError("a signature goes in as {permit_v}, {permit_r} and {permit_s}", field=f"{path}.args")
    if template.value != Literal(0):
        raise InputError("a call that is paid in a token sends no coin along", field=f"{path}.value")
    if template.approve is None and template.sign is None:
        raise InputError("a permit allows a spender an amount: say which, in approve", field=f"{path}.approve")
    if call.scheme != "erc2612" and not {"bytes32", "uint256"} & set(call.references):
        raise InputError("the nonce of what is signed is the order's {reference}: hand it over", field=f"{path}.args")


def _check_ways(events: tuple[CompiledEvent, ...], calls: Mapping[str, CompiledCall]) -> None:
    """Every call that pays must leave something by which its order is found.

    Raises:
        InputError: names the call's arguments.

    """
    rules = {event.mapping.match for event in events if event.mapping.is_paying}
    hashed = [event for event in events if event.mapping.is_paying and event.by_hash]
    for path, call in calls.items():
        given = call.template.placeholders()
        if "payer" in rules or (rules & {"reference"} and "reference" in given):
            pass
        elif not ("token_id" in rules and "subscription" in given):
            raise InputError(
                "this call names no order: give it {reference}, or find orders by payer, or by {subscription}",
                field=f"{path}.args",
            )
        for event in hashed:
            if "reference" in given and event.reference_type not in call.references:
                kind = event.reference_type
                raise InputError(
                    f"the event holds the hash of a {kind}: give {{reference}} as one", field=f"{path}.args"
                )


def read_mapped(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read a log of a contract that is bound by configuration; None for what means nothing. Pure.

    The emitting address and the chain are compared: a topic alone proves nothing, anybody can emit it.
    """
    if log.address != contract.address or log.chain_id != contract.chain_id or not log.topics:
        return None
    event = binding_of(contract).events.get((log.topics[0], len(log.topics)))
    return None if event is None else event.read(log)


def order_call(order: Order, contract: PaymentContract) -> OrderCall:
    """Return the call that pays an order, to be pinned in it: later changes of the binding do not touch it. Pure.

    Raises:
        InputError: a value of the order does not fit its parameter; names the argument's path.

    """
    call, values = binding_of(contract).call_for(order), order_values(order)
    native = order.asset.is_native
    value, approval = call.value(values), call.approval(values)
    if native and value != order.amount:
        raise InputError("the coin is sent along with the call: its value is {amount}", field="mint_method.value")
    if not native and value:
        raise InputError("a call that is paid in a token sends no coin along", field="mint_method.value")
    spender, amount = (None, 0) if approval is None or native else approval
    # What a signature belongs into is encoded when it is there.
    data = b"" if call.takes_signature else call.encode(values)
    return OrderCall(value=value, data=data, spender=spender, approve=amount, mark=call.mark(order.reference))


def call_payload(order: Order) -> WalletPayload | None:
    """Return the transaction that pays an order by its pinned call; None where the payer has to sign first. Pure.

    Raises:
        ProviderError: the order has no call.

    """
    if order.call is None:
        raise ProviderError("the order has no call", field="call")
    if not order.call.data:
        return None
    return WalletPayload(
        chain_id=order.chain_id, to=order.contract, value=order.call.value, data=order.call.data, gas=order.gas
    )


def end_payload(order: Order, contract: PaymentContract) -> WalletPayload:
    """Return the call that ends the membership that an order paid for. Pure.

    Raises:
        ProviderError: the binding ends nothing.

    """
    end = binding_of(contract).end
    if end is None:
        raise ProviderError("this binding has no call that ends a membership", field="burn_method")
    data = end.encode(order_values(order))
    return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=data, gas=END_GAS)


def order_values(order: Order) -> Values:
    """Return what an order fills into a call."""
    return values_of(
        addresses={
            "payer": order.wallet,
            "beneficiary": order.beneficiary,
            "treasury": order.treasury,
            "token": order.asset.token,
            "contract": order.contract,
            "zero_address": ZERO_ADDRESS,
        },
        numbers={
            "amount": order.amount,
            "quantity": order.quantity,
            "deadline": int(order.deadline.timestamp()),
            "period_end": int(order.member_until.timestamp()) if order.member_until else 0,
            "subscription": subscription_token(order.subscription_id),
        },
        reference=order.reference,
        plan=f"{order.plan_slug}@{order.plan_version}",
        plan_digest=plan_digest(order.plan_slug, order.plan_version),
    )


def with_call(order: Order, contract: PaymentContract) -> Order:
    """Return an order with its call pinned."""
    return attrs.evolve(order, call=order_call(order, contract))
