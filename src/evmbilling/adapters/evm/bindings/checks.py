"""Whether the calls of a binding and its events fit each other; each alone was checked against the ABI before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from evmbilling.adapters.evm.bindings.call_encoding import CompiledCall
from evmbilling.adapters.evm.bindings.event_reading import CompiledEvent
from evmbilling.adapters.evm.bindings.permit2_witness import compile_witness
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.catalogue.call_templates import REFUND, SIGNED, Approval, Literal, Placeholder, Signing
from evmbilling.domain.catalogue.event_mappings import Constant
from evmbilling.errors import InputError

_NAMED: Final[tuple[Placeholder | Literal, ...]] = (
    *(Placeholder(name) for name in ("payer", "token", "contract", "zero_address")),
    Literal(ZERO_ADDRESS),
)
"""Addresses that every signed transfer names, and nobody's."""


def check_refund(
    refund: CompiledCall | None, events: tuple[CompiledEvent, ...], others: Sequence[tuple[str, CompiledCall | None]]
) -> None:
    """The call that gives money back leaves an event by which its refund is found; no other call is about a refund.

    Raises:
        InputError: names the place in the call.

    """
    for path, call in others:
        if call is not None and call.template.placeholders() & REFUND:
            raise InputError(
                "this call gives nothing back: it has no {refund_id} and no {receiver}", field=f"{path}.args"
            )
    if refund is None:
        return
    template = refund.template
    if template.sign is not None or refund.takes_signature:
        raise InputError("the treasury sends this call itself", field="refund_method.sign")
    if template.approve is not None:
        _check_allowed(template.approve)
    told = {name for event in events if event.mapping.means == "refunded" for name, _ in event.mapping.parts}
    named = ({"refund_id"} if "refund_id" in told else {"reference"}) & template.placeholders()
    if not told:
        raise InputError("no event means that something was refunded", field="events")
    if not named:
        raise InputError("hand over the {refund_id} or {reference} that the event tells", field="refund_method.args")


def _check_allowed(approval: Approval) -> None:
    """What a treasury allows is bounded by its refund, and nobody whom the refund names may take it himself.

    Raises:
        InputError: names the place in the call.

    """
    if approval.amount != Placeholder("amount"):
        raise InputError("a treasury allows the {amount} of its refund", field="refund_method.approve.amount")
    if isinstance(approval.spender, Placeholder) and approval.spender.name != "contract":
        raise InputError("a treasury allows the {contract}, or an address", field="refund_method.approve.spender")


def check_given_back(refund: CompiledCall) -> None:
    """Check that the call gives back what the refund says, to whoever has proved the address of it.

    Raises:
        InputError: names the argument that is the same in every call, where there is one.

    """
    given, template = refund.template.placeholders(), refund.template
    if "receiver" not in given:
        place = next((place for place, kind in refund.literals if kind == "address"), "refund_method.args")
        raise InputError("money goes back to the {receiver} whom the refund names: hand it over", field=place)
    if "amount" not in given and template.value != Placeholder("amount"):
        place = next((place for place, kind in refund.literals if "int" in kind), "refund_method.args")
        raise InputError("what goes back is the {amount} of the refund: hand it over", field=place)


def check_amounts(calls: Mapping[str, CompiledCall], events: Sequence[CompiledEvent]) -> None:
    """What an order costs is in every call that pays it: in an argument, in what is allowed, signed or sent along.

    A contract with a price of its own takes that, and the approval is where the order's amount bounds it. Without
    either a call takes whatever somebody set on chain. Where the events that mean a payment all have one constant
    amount, that is the amount.

    Raises:
        InputError: names the call's arguments, or the coins that are sent along.

    """
    paying = [event.mapping for event in events if event.mapping.is_paying]
    constant = all(isinstance(mapping.part("amount"), Constant) for mapping in paying)
    for path, call in calls.items():
        template = call.template
        if template.value == Placeholder("quantity"):
            raise InputError("the coin is sent along with the call: its value is {amount}", field=f"{path}.value")
        granted = [given.amount for given in (template.approve, template.sign) if given is not None]
        fixed = any(amount not in (Literal(0), Placeholder("quantity")) for amount in (template.value, *granted))
        if not fixed and not constant and "amount" not in template.placeholders():
            raise InputError("nothing says how much this call pays: hand over the {amount}", field=f"{path}.args")


def check_tokens(calls: Sequence[tuple[str, CompiledCall | None]], events: Sequence[CompiledEvent]) -> None:
    """The contract's own number of a membership is known once its event has told it: to later periods and the end.

    Raises:
        InputError: names the place in the call.

    """
    for path, call in calls:
        if call is None or not call.names_token:
            continue
        if path not in {"renew_method", "burn_method"}:
            raise InputError("only a later period and the end know the {token_id}", field=f"{path}.args")
        firsts = [e for e in events if e.mapping.is_paying and e.mapping.match != "token_id"]
        if not any(event.mapping.part("token_id") for event in firsts):
            raise InputError("no event of a first payment tells the {token_id}", field=f"{path}.args")
        if path == "renew_method" and {"string", "bytes"} & set(call.references):
            raise InputError("either {token_id} or the hash of a {reference} finds the order", field=f"{path}.args")


def check_signed(calls: Mapping[str, CompiledCall], permit: CompiledCall | None, end: CompiledCall | None) -> None:
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
    if template.sign is not None and template.sign.witness is not None:
        compile_witness(template.sign.witness, f"{path}.sign.witness")
    if call.scheme != "erc2612" and not {"bytes32", "uint256"} & set(call.references):
        raise InputError("the nonce of what is signed is the order's {reference}: hand it over", field=f"{path}.args")


def check_receivers(calls: Mapping[str, CompiledCall]) -> None:
    """Whoever sends what a payer has signed chooses nothing of it: not who gets the money, nor what is paid with it.

    What is signed names the payer, the token, the amount and the spender. Every other address of the call is in the
    witness, or is whom ERC-3009 pays. A call without such an address leaves it to the contract, which then has to be
    the spender itself: nobody else can use the signature. The nonce is the order's reference; where the call names its
    order a second time, or a membership, that is in the witness too.

    Raises:
        InputError: names the argument that nobody signs, the arguments, or the spender.

    """
    for path, call in calls.items():
        sign = call.template.sign
        if sign is None or sign.scheme == "erc2612":
            continue
        signed: list[Placeholder | Literal] = [*_NAMED, *(sign.witness.values if sign.witness is not None else ())]
        if sign.scheme.startswith("erc3009"):
            signed.append(sign.spender)
        bound = {_same(given) for given in signed}
        for place, given in call.addresses:
            if _same(given) not in bound:
                raise InputError("the payer does not sign this, so whoever sends the call could change it", field=place)
        _check_spender(sign, f"{path}.sign.spender")
        purposes = call.template.placeholders() & {"subscription", "token_id"}
        purposes |= {"reference"} if len(call.references) > 1 else set()
        for name in sorted(purposes):
            if Placeholder(name) not in bound:
                raise InputError(f"the payer does not sign which {{{name}}} is paid", field=f"{path}.args")


def _same(given: Placeholder | Literal) -> Placeholder | str:
    """Return what is equal for one address, however its letters are written."""
    return given if isinstance(given, Placeholder) else str(given.value).lower()


def _check_spender(sign: Signing, path: str) -> None:
    """Check that nobody but the called contract can use a signature that does not say where the money goes.

    Raises:
        InputError: somebody else could.

    """
    own = sign.spender == Placeholder("contract")
    if sign.scheme == "erc3009_transfer":
        if own:
            raise InputError(
                "anybody could send this transfer without the call: sign it as erc3009_receive", field=path
            )
    elif not own:
        raise InputError("only the {contract} that is called can use this signature", field=path)


def check_mandates(renew: CompiledCall | None, events: Sequence[CompiledEvent]) -> None:
    """A mandate that a contract keeps is used by the call of a later period, which the relayer sends.

    While it is on its way its order is not open, so nothing but its reference finds the payment.

    Raises:
        InputError: names the event that tells of mandates, or what is missing in the call.

    """
    told = {event.mapping.means for event in events} & {"mandate_given", "mandate_revoked"}
    if not told:
        return
    if "mandate_given" not in told:
        raise InputError("no event means that a mandate was given", field="events")
    if renew is None:
        raise InputError("a mandate is used by the call of a later period: say which", field="renew_method")
    if renew.takes_signature:
        raise InputError("a call that is sent under a mandate takes no signature", field="renew_method.args")
    if renew.template.value != Literal(0):
        raise InputError("under a mandate tokens are taken, no coins of the relayer", field="renew_method.value")
    by_reference = all(event.mapping.match == "reference" for event in events if event.mapping.is_paying)
    if not by_reference or "reference" not in renew.template.placeholders():
        raise InputError("what is taken under a mandate is found by its {reference}", field="renew_method.args")
    if renew.names_token:
        raise InputError("what is taken under a mandate begins no membership anew", field="renew_method.args")
    if "payer" not in renew.template.placeholders():
        raise InputError("somebody else sends this call: hand the {payer} over", field="renew_method.args")


def check_ways(events: tuple[CompiledEvent, ...], calls: Mapping[str, CompiledCall]) -> None:
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
        elif not ("token_id" in rules and given & {"subscription", "token_id"}):
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
