"""The whole kit of providers that sell through contracts that are bound by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest

from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.errors import ChallengeRefused, ConfigurationError, Conflict, InputError, RpcUnavailable
from evmbilling.ports.bindings import BindingProvider
from evmbilling.testing.conformance.base import needs, of_clause
from evmbilling.testing.conformance.provider.club import (
    ALLOWED,
    IMPLEMENTATION,
    JOINED,
    MISFITS,
    NUMBERED,
    PERMIT,
    STRANGER,
    TAG,
    TAGGED,
    Club,
    numbered_abi,
)
from evmbilling.testing.conformance.provider.ground import PRICE, GroundKit
from evmbilling.testing.conformance.provider.settling import refund_of
from evmbilling.testing.keys import sign_typed_data


class BindingConformance(GroundKit):
    """Standard tests of :class:`evmbilling.ports.bindings.BindingProvider`; give ``make_provider``.

    The chain under it is Anvil, with a contract of the package that plays somebody else's and a test token.
    """

    port = BindingProvider
    ground = Club
    clause = 1
    known: ClassVar[Mapping[str, str]] = {
        "permits": "it takes the payer's signature in place of an allowance (ERC-2612, ERC-3009, Permit2)",
    }

    def test_what_fits_the_abi_is_taken(self, field: Club) -> None:
        for contract in (
            field.bound(),
            field.bound(mint_method=TAG, events=[TAGGED]),
            field.bound(events=[JOINED, TAGGED]),
            field.bound(renew_method=TAG),
        ):
            field.blind.check_binding(contract)

    @pytest.mark.parametrize(("changes", "place"), MISFITS.values(), ids=MISFITS.keys())
    def test_what_does_not_fit_is_refused_by_its_place(self, field: Club, changes: Any, place: str) -> None:
        with pytest.raises(InputError) as refused:
            field.provider.check_binding(field.bound(**changes))
        assert str(refused.value.field).startswith(place)

    def test_an_abi_that_is_none_is_a_configuration_error(self, field: Club) -> None:
        with pytest.raises(ConfigurationError):
            field.provider.check_binding(field.bound(abi='[{"type":"function","name":7}]'))

    @of_clause(2)
    def test_a_call_is_the_same_every_time_and_changes_nothing_else(self, field: Club) -> None:
        order, contract = field.asked(beneficiary=field.stranger.address), field.bound()
        called = field.provider.with_call(order, contract)
        assert called == field.provider.with_call(order, contract) == field.blind.with_call(order, contract)
        assert field.provider.payload(called) == field.blind.payload(called)
        assert attrs.evolve(called, call=order.call) == order

    @of_clause(2)
    def test_every_value_of_an_order_is_in_its_place(self, field: Club) -> None:
        order, contract = field.asked(), field.bound()
        until = int(order.member_until.timestamp()) if order.member_until else 0
        field.allow()
        member: dict[str, Any] = {"beneficiary": field.stranger.address}
        field.pay(attrs.evolve(order, **member), contract)
        assert (field.holds(field.treasury), field.ask(field.passes, "memberUntil", member["beneficiary"])) == (
            PRICE,
            until,
        )
        usual = field.provider.with_call(order, contract).call
        for change in (
            member,
            {"quantity": order.quantity + 1},
            {"plan_version": 2},
            {"treasury": STRANGER},
            {"amount": PRICE + 1},
            {"member_until": field.at(31 * 86_400)},
        ):
            assert field.provider.with_call(attrs.evolve(order, **change), contract).call.data != usual.data, change
        assert (usual.spender, usual.approve, usual.value) == (field.passes.address, PRICE, 0)

    @of_clause(2)
    def test_a_value_that_does_not_fit_is_refused_by_its_place(self, field: Club) -> None:
        with pytest.raises(InputError) as refused:
            field.provider.with_call(field.asked(quantity=2**96), field.bound())
        assert str(refused.value.field).startswith("mint_method.args[0]")

    @of_clause(2)
    def test_a_membership_is_renewed_by_the_number_that_its_contract_gave(self, field: Club) -> None:
        renew = {"method": "tag", "args": ["{token_id}", "{treasury}", "{amount}"], "approve": ALLOWED}
        contract = field.bound(abi=numbered_abi(), renew_method=renew, events=[NUMBERED])
        later = field.asked(period=1)
        first, second = (field.provider.with_call(later, contract, number).call.data for number in (7, 8))
        assert (7).to_bytes(32) in first
        assert first.replace((7).to_bytes(32), (8).to_bytes(32)) == second
        begins = field.provider.with_call(field.asked(), contract).call.data
        assert field.provider.with_call(later, contract).call.data[:4] == begins[:4] != first[:4]

    @of_clause(3)
    def test_a_payment_is_found_by_its_payer_where_the_event_has_no_reference(self, field: Club) -> None:
        order, contract = field.asked(), field.bound()
        field.allow()
        field.pay(order, contract)
        (paid,) = field.seen(contract)
        assert (paid.kind, paid.rail, paid.found_by, paid.payer) == ("payment", "call", "payer", order.wallet)
        assert (paid.reference, paid.money) == (b"", "transfer")

    @of_clause(3)
    def test_a_payment_is_found_by_its_reference_where_the_event_has_one(self, field: Club) -> None:
        order, contract = field.asked(), field.bound(mint_method=TAG, events=[TAGGED])
        field.allow()
        field.pay(order, contract)
        (paid,) = field.seen(contract)
        assert (paid.found_by, paid.reference) == ("reference", order.reference)
        assert (paid.amount, paid.treasury, paid.payer) == (PRICE, field.treasury, "")
        most = attrs.evolve(paid.log, data=paid.log.data.replace(PRICE.to_bytes(32), b"\xff" * 32))
        assert field.provider.decode(most, contract).amount == 2**256 - 1

    @of_clause(3)
    def test_what_is_not_the_bound_event_of_the_bound_contract_means_nothing(self, field: Club) -> None:
        order, contract = field.asked(), field.bound(mint_method=TAG, events=[TAGGED])
        field.allow()
        field.pay(order, contract)
        (paid,) = field.seen(contract)
        decode = field.provider.decode
        for wrong in (
            {"address": STRANGER},
            {"chain_id": paid.log.chain_id + 1},
            {"topics": (*paid.log.topics, bytes(32))},
            {"topics": paid.log.topics[:-1]},
            {"topics": ()},
            {"topics": (bytes(32), *paid.log.topics[1:])},
        ):
            assert decode(attrs.evolve(paid.log, **wrong), contract) is None, wrong
        assert decode(paid.log, field.bound()) is None

    @of_clause(3)
    def test_an_event_means_it_only_where_its_fields_say_so(self, field: Club) -> None:
        here, elsewhere = ({"when": {"vault": vault}} for vault in (field.treasury, ZERO_ADDRESS))
        order, contract = field.asked(), field.bound(mint_method=TAG, events=[{**TAGGED, **here}])
        field.allow()
        field.pay(order, contract)
        (paid,) = field.seen(contract)
        assert field.provider.decode(paid.log, field.bound(mint_method=TAG, events=[{**TAGGED, **elsewhere}])) is None

    @of_clause(4)
    def test_pins_are_the_code_that_is_there_and_what_is_behind_it(self, field: Club) -> None:
        address, read = field.passes.address, field.provider.read_pins
        ((pinned, before),) = read(field.network, [address])
        assert (pinned, read(field.network, [address])) == (address, ((address, before),))
        assert [code for _, code in read(field.network, [STRANGER])] == [""]
        field.node.set_storage(address, IMPLEMENTATION, int(field.token.address, 16))
        assert {place for place, _ in read(field.network, [address])} == {address, field.token.address}
        field.node.set_code(address, "0x6000")
        assert dict(read(field.network, [address]))[address] != before

    @of_clause(4)
    def test_without_a_node_nothing_is_pinned(self, field: Club) -> None:
        with pytest.raises(RpcUnavailable):
            field.blind.read_pins(field.network, [field.passes.address])

    @of_clause(5)
    def test_a_dry_run_says_what_would_happen_and_does_nothing(self, field: Club) -> None:
        order, contract = field.asked(), field.bound()
        field.allow()
        height, held = field.node.block_number, field.holds(order.wallet)
        poor = field.provider.simulate(field.asked(wallet=field.stranger.address), contract, field.network)
        assert (poor.succeeds, poor.gas) == (False, None)
        assert poor.refusal is not None
        tried = field.provider.simulate(order, contract, field.network)
        assert (tried.succeeds, tried.refusal, tried.approval) == (True, None, (field.passes.address, PRICE))
        assert tried.pays in (True, None)
        assert tried.payload == field.provider.payload(field.provider.with_call(order, contract))
        assert tried.gas is not None
        assert (field.node.block_number, field.holds(order.wallet)) == (height, held)
        silent = field.bound(mint_method=TAG, events=[{**TAGGED, "when": {"vault": ZERO_ADDRESS}}])
        stray = field.provider.simulate(order, silent, field.network)
        assert stray.succeeds
        assert stray.pays in (False, None)

    @of_clause(5)
    def test_without_a_node_nothing_is_tried(self, field: Club) -> None:
        with pytest.raises(RpcUnavailable):
            field.blind.simulate(field.asked(), field.bound(), field.network)

    @of_clause(6)
    def test_a_treasury_allows_just_what_goes_back(self, field: Club) -> None:
        refund = refund_of(order := field.asked(), amount=PRICE - 1, via="contract")
        back: dict[str, Any] = {"method": "giveBack", "args": ["{refund_id}", "{receiver}", "{amount}"]}
        parts = {"refund_id": "name", "beneficiary": "to", "amount": "price", "token": {"const": field.token.address}}
        events = [JOINED, {"event": "GivenBack", "means": "refunded", **parts}]
        assert field.blind.refund_approval(refund, field.bound(refund_method=back, events=events), order) is None
        back["approve"] = ALLOWED
        approval = field.blind.refund_approval(refund, field.bound(refund_method=back, events=events), order)
        assert approval is not None
        assert (approval.to, approval.value) == (field.token.address, 0)
        assert field.send(approval, refund.treasury)
        assert field.ask(field.token, "allowance", refund.treasury, field.passes.address) == PRICE - 1
        back["approve"] = ALLOWED | {"spender": STRANGER}
        approval = field.blind.refund_approval(refund, field.bound(refund_method=back, events=events), order)
        assert approval is not None
        assert field.send(approval, refund.treasury)
        assert field.ask(field.token, "allowance", refund.treasury, STRANGER) == PRICE - 1

    @needs("permits")
    @of_clause(7)
    def test_a_payers_signature_pays_in_place_of_an_allowance(self, field: Club) -> None:
        order, contract = field.asked(), field.bound(permit_method=PERMIT)
        called = field.provider.with_call(order, contract)
        typed = field.provider.permit_typed_data_of(called, contract, field.network)
        more = {**typed, "message": {**typed["message"], "value": str(2 * PRICE)}}
        signed = sign_typed_data(field.payer.key, typed)
        for wrong in (
            sign_typed_data(field.stranger.key, typed),
            sign_typed_data(field.payer.key, more),
            signed[:64],
            bytes(65),
            b"",
        ):
            with pytest.raises(ChallengeRefused):
                field.provider.permitted_payload(called, contract, field.network, wrong)
        payload = field.provider.permitted_payload(called, contract, field.network, signed)
        assert field.send(payload, order.wallet)
        assert field.holds(field.treasury) == PRICE
        with pytest.raises(ChallengeRefused):  # the token has used it
            field.provider.permitted_payload(called, contract, field.network, signed)
        again = field.provider.permit_typed_data_of(called, contract, field.network)
        assert again["message"] != typed["message"], "the token wants another one now"
        assert (
            field.provider.permitted_payload(called, contract, field.network, sign_typed_data(field.payer.key, again))
            != payload
        )

    @needs("permits")
    @of_clause(7)
    def test_a_binding_without_permits_says_so(self, field: Club) -> None:
        order, contract = field.asked(), field.bound()
        called = field.provider.with_call(order, contract)
        with pytest.raises(Conflict):
            field.provider.permit_typed_data_of(called, contract, field.network)
        with pytest.raises(Conflict):
            field.provider.simulate(order, contract, field.network, signed=True)

    @needs("permits")
    @of_clause(5)
    def test_the_call_that_takes_a_signature_is_tried_as_that(self, field: Club) -> None:
        order, contract = field.asked(), field.bound(permit_method=PERMIT)
        plain, signed = (field.provider.simulate(order, contract, field.network, signed=s) for s in (False, True))
        assert (plain.stand_in, signed.stand_in is not None) == (None, True)
        assert signed.payload.data[:4] != plain.payload.data[:4]
        assert signed.approval is None, "the signature allows it"
