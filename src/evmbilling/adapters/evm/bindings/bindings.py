"""Bindings by configuration: a contract's templates and mappings, compiled once and used for every order and log."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import attrs
from attrs import field, frozen

from evmbilling.adapters.evm.abi.calldata import approve_call
from evmbilling.adapters.evm.bindings.call_encoding import CompiledCall, compile_call
from evmbilling.adapters.evm.bindings.call_values import Values, values_of
from evmbilling.adapters.evm.bindings.checks import (
    check_amounts,
    check_given_back,
    check_mandates,
    check_receivers,
    check_refund,
    check_signed,
    check_tokens,
    check_ways,
)
from evmbilling.adapters.evm.bindings.event_reading import CompiledEvent, compile_events
from evmbilling.adapters.evm.paying.instructions import APPROVAL_GAS
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.catalogue.call_templates import template_of
from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract
from evmbilling.domain.catalogue.event_mappings import mappings_of
from evmbilling.domain.identity import plan_digest, subscription_token, token_mark
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import ChainLog, Observation
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order, OrderCall
from evmbilling.errors import ConfigurationError, InputError, ProviderError

END_GAS: Final = 200_000
REFUND_GAS: Final = 400_000
"""Units for ending a membership, and for giving money back, by calls that nobody has measured."""


@frozen(eq=False)
class Binding:
    """How a contract is called, and what its events mean.

    Attributes:
        start, renew, end: the calls that pay the first and a later period, and that end a membership.
        permit: the one that pays with what the payer signs.
        refund: the one by which the treasury gives a payment back.
        events: by first topic and number of topics.

    """

    start: CompiledCall
    renew: CompiledCall
    end: CompiledCall | None
    permit: CompiledCall | None
    refund: CompiledCall | None
    events: Mapping[tuple[bytes, int], CompiledEvent] = field(repr=False)

    def call_for(self, order: Order, token_id: int | None = None) -> CompiledCall:
        """Return the call that pays an order; a membership that the contract has not numbered yet begins."""
        if self.renew.names_token and token_id is None:
            return self.start
        return self.renew if order.period else self.start

    def signed_call_for(self, order: Order) -> CompiledCall | None:
        """Return the call that pays an order with the payer's signature in it; None where none does."""
        call = self.permit or self.call_for(order)
        return call if call.takes_signature else None

    @property
    def topics(self) -> tuple[bytes, ...]:
        """Every first topic that means something."""
        return tuple(sorted({topic for topic, _ in self.events}))

    @property
    def speaking(self) -> frozenset[bytes]:
        """First topics of the events that mean something by themselves, without a token's transfer beside them."""
        return frozenset(topic for (topic, _), event in self.events.items() if not event.needs_transfer)


def binding_of(contract: PaymentContract) -> Binding:
    """Return the compiled binding of a contract.

    Raises:
        InputError: the binding does not fit its ABI; names the place.
        ConfigurationError: the ABI is malformed, or the contract is of another kind.

    """
    if contract.kind != MAPPED or contract.abi is None or contract.events is None:
        raise ConfigurationError(f"contract {contract.slug} is not bound by configuration", field="kind")
    calls = (
        *(contract.mint_method, contract.renew_method, contract.burn_method),
        *(contract.permit_method, contract.refund_method),
    )
    return _compile(contract.abi, calls, contract.events)


def check_hopes(contract: PaymentContract) -> None:
    """Check a binding that is about to be saved beyond what it needs to be read: whether its calls can work.

    What was saved before is read on, whatever is asked of new bindings now: money may be on its way by it.

    Raises:
        InputError: a call cannot work; names the place.
        ConfigurationError: as :func:`binding_of`.

    """
    made = binding_of(contract)
    named = {"mint_method": made.start, "permit_method": made.permit}
    if contract.renew_method is not None:
        named["renew_method"] = made.renew
    paying = {path: call for path, call in named.items() if call is not None}
    check_amounts(paying, tuple(made.events.values()))
    check_receivers(paying)
    check_mandates(named.get("renew_method"), tuple(made.events.values()))
    if made.refund is not None:
        check_given_back(made.refund)


@lru_cache(maxsize=256)
def _compile(abi: str, calls: tuple[str, str | None, str | None, str | None, str | None], events: str) -> Binding:
    start, renew, end, permit, refund = calls
    first = compile_call(template_of(start), abi, path="mint_method")
    later = first if renew is None else compile_call(template_of(renew), abi, path="renew_method")
    last = None if end is None else compile_call(template_of(end), abi, path="burn_method")
    compiled = compile_events(mappings_of(events), abi, path="events")
    signed = None if permit is None else compile_call(template_of(permit), abi, path="permit_method")
    paying = {"mint_method": first, "renew_method": later}
    check_ways(compiled, paying if signed is None else paying | {"permit_method": signed})
    back = None if refund is None else compile_call(template_of(refund), abi, path="refund_method")
    check_signed(paying, signed, last)
    others = (*paying.items(), ("permit_method", signed), ("burn_method", last))
    check_refund(back, compiled, others)
    check_tokens((*others, ("refund_method", back)), compiled)
    by_shape = {event.shape: event for event in compiled}
    return Binding(start=first, renew=later, end=last, permit=signed, refund=back, events=by_shape)


def read_mapped(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read a log of a contract that is bound by configuration; None for what means nothing. Pure.

    The emitting address and the chain are compared: a topic alone proves nothing, anybody can emit it.
    """
    if log.address != contract.address or log.chain_id != contract.chain_id or not log.topics:
        return None
    event = binding_of(contract).events.get((log.topics[0], len(log.topics)))
    return None if event is None else event.read(log)


def order_call(order: Order, contract: PaymentContract, token_id: int | None = None) -> OrderCall:
    """Return the call that pays an order, to be pinned in it: later changes of the binding do not touch it. Pure.

    ``token_id`` is the contract's own number of the membership, where it has given one.

    Raises:
        InputError: a value of the order does not fit its parameter; names the argument's path.

    """
    call, values = binding_of(contract).call_for(order, token_id), order_values(order, token_id)
    native = order.asset.is_native
    value, approval = call.value(values), call.approval(values)
    if native and value != order.amount:
        raise InputError("the coin is sent along with the call: its value is {amount}", field="mint_method.value")
    if not native and value:
        raise InputError("a call that is paid in a token sends no coin along", field="mint_method.value")
    spender, amount = (None, 0) if approval is None or native else approval
    # What a signature belongs into is encoded when it is there.
    data = b"" if call.takes_signature else call.encode(values)
    mark = call.mark(order.reference)
    if call.names_token and token_id is not None:
        mark = token_mark(order.chain_id, order.contract, token_id)
    return OrderCall(value=value, data=data, spender=spender, approve=amount, mark=mark)


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


def end_payload(order: Order, contract: PaymentContract, token_id: int | None = None) -> WalletPayload:
    """Return the call that ends the membership that an order paid for. Pure.

    ``token_id`` is the contract's own number of the membership, where it has given one.

    Raises:
        ProviderError: the binding ends nothing, or hands over a number that is not known.

    """
    end = binding_of(contract).end
    if end is None:
        raise ProviderError("this binding has no call that ends a membership", field="burn_method")
    if end.names_token and token_id is None:
        raise ProviderError("the contract has told no number of this membership", field="token_id")
    data = end.encode(order_values(order, token_id))
    return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=data, gas=END_GAS)


def refund_call_payload(refund: Refund, order: Order, contract: PaymentContract) -> WalletPayload:
    """Return the call by which the treasury gives money of an order back. Pure.

    Raises:
        ProviderError: the binding has no such call, or the refund has no address yet.
        InputError: a value does not fit the call; names the argument's path.

    """
    call, values = _refund_call(refund, order, contract)
    value = call.value(values)
    if value != (refund.amount if order.asset.is_native else 0):
        raise InputError("a refund sends the coin along, and nothing when it is a token", field="refund_method.value")
    return WalletPayload(
        chain_id=order.chain_id, to=order.contract, value=value, data=call.encode(values), gas=REFUND_GAS
    )


def refund_approval(refund: Refund, order: Order, contract: PaymentContract) -> WalletPayload | None:
    """Return the ``approve`` (ERC-20) that a treasury sends before the call that gives money back; None for none. Pure.

    Raises:
        ProviderError: the binding has no such call, or the refund has no address yet.

    """
    call, values = _refund_call(refund, order, contract)
    approval = call.approval(values)
    if approval is None or refund.asset.is_native:
        return None
    return WalletPayload(
        chain_id=refund.asset.chain_id,
        to=refund.asset.token,
        value=0,
        data=approve_call(*approval),
        gas=APPROVAL_GAS,
    )


def _refund_call(refund: Refund, order: Order, contract: PaymentContract) -> tuple[CompiledCall, Values]:
    """Return the call that gives money back, and what a refund fills into it."""
    call = binding_of(contract).refund
    if call is None or refund.address is None:
        raise ProviderError("this binding gives nothing back", field="refund_method")
    about: Values = {
        "amount": refund.amount,
        "treasury": refund.treasury,
        "receiver": refund.address,
        "refund_id": refund.on_chain_id,
    }
    return call, {**order_values(order), **about}


def order_values(order: Order, token_id: int | None = None) -> Values:
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
            **({} if token_id is None else {"token_id": token_id}),
        },
        reference=order.reference,
        plan=f"{order.plan_slug}@{order.plan_version}",
        plan_digest=plan_digest(order.plan_slug, order.plan_version),
    )


def with_call(order: Order, contract: PaymentContract, token_id: int | None = None) -> Order:
    """Return an order with its call pinned."""
    return attrs.evolve(order, call=order_call(order, contract, token_id))
