"""What a provider says of the chain to people, and how money and memberships go back."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain.addresses import checksum
from evmbilling.domain.payments.receipts import Refund
from evmbilling.errors import ProviderError
from evmbilling.testing.conformance.base import needs, of_clause
from evmbilling.testing.conformance.provider.base import Reader
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.rpc_breaks import HttpStatus

STRANGER = checksum(b"\x66" * 20)


def codes(told: Any) -> list[str]:
    return sorted(problem.code for problem in told.problems)


def refund_of(order: Any, **changes: Any) -> Refund:
    """Return a refund of an order that may be sent."""
    money = {"asset": order.asset, "amount": order.amount, "treasury": order.treasury, "reference": order.reference}
    name = bytes(reversed(order.reference))  # each refund has a name of its own
    return records.refund(**(money | {"network": order.network, "address": STRANGER, "on_chain_id": name} | changes))


class SettlingChecks:
    """Instructions, differences, refunds, burns."""

    clause = 11

    def test_instructions_hand_out_the_payload_of_the_order(self, field: Any, reader: Any) -> None:
        order = field.checkout(1).order
        told = reader.provider.pay_instructions(order, reader.network)
        assert (told.ledger_id, told.payload) == (order.ledger_id, reader.provider.payload(order))

    @needs("json_rpc")
    def test_instructions_without_a_node_are_a_problem_and_no_error(self, proxied: Any) -> None:
        field, proxy = proxied
        order, reader = field.checkout(1).order, Reader(field)
        payload = reader.provider.payload(order)
        proxy.add(HttpStatus(503))
        told = reader.provider.pay_instructions(order, reader.network)
        proxy.heal()
        assert (codes(told), told.payload) == (["rpc_unknown"], payload)

    @needs("asks", "json_rpc")
    def test_instructions_say_what_stands_in_the_way_as_the_chain_is_now(self, field: Any, reader: Any) -> None:
        instructions, network = reader.provider.pay_instructions, reader.network
        poor = field.checkout(9, wallet=field.node.accounts[0].address).order
        told = instructions(poor, network)
        assert "balance" in codes(told)
        assert (told.approval.to, told.approval.value) == (poor.asset.token, 0)
        field.node.send(told.approval.as_rpc(poor.wallet))
        field.mine()
        assert instructions(poor, network).approval is None, "what was to be allowed is allowed, and is not enough"
        offer = field.checkout(1)
        assert (codes(instructions(offer.order, network)), instructions(offer.order, network).approval) == ([], None)
        field.pay(1, offer)
        field.mine()
        paid = instructions(offer.order, network)
        assert (codes(paid), paid.payload) == (["reference_used"], None)

    @needs("asks", "json_rpc")
    @of_clause(12)
    def test_a_contract_is_compared_with_the_chain(self, field: Any, reader: Any) -> None:
        inspect, contract = reader.provider.inspect_contract, reader.contract
        assert list(inspect(contract, reader.network, reader.gateway)) == []
        for wrong in (STRANGER, field.shop.token.token):
            assert len(inspect(attrs.evolve(contract, address=wrong), reader.network)) == 1
        signer = reader.provider.signer_address(reader.gateway)
        trusting = Deployed(name="Checkout", address=contract.address, block=0)
        owner = field.node.accounts[0].address
        transact(field.node, trusting, "removeSigner", signer, sender=owner)
        assert len(inspect(contract, reader.network, reader.gateway)) == 1, "the contract takes no order of this signer"
        field.node.set_code(contract.address, "0x6000")
        (found,) = inspect(contract, reader.network)
        assert contract.address in found, f"the difference does not name the contract ({signer}): {found}"

    @needs("asks", "json_rpc")
    @of_clause(12)
    def test_the_decimals_of_prices_are_compared_with_their_tokens(self, field: Any, reader: Any) -> None:
        inspect, networks = reader.provider.inspect_plan, {reader.network.name: reader.network}
        (plan,) = (one for one in field.shop.engine.admin(ADMIN).plans() if one.slug == field.shop.plan)
        assert list(inspect(plan, networks)) == []

        def priced(**changes: Any) -> Any:
            asset = attrs.evolve(plan.prices[0].asset, **changes)
            return attrs.evolve(plan, prices=(attrs.evolve(plan.prices[0], asset=asset), *plan.prices[1:]))

        assert len(inspect(priced(decimals=18), networks)) == 1
        assert len(inspect(priced(token=STRANGER), networks)) >= 1
        assert len(inspect(plan, {})) == len(plan.prices)

    @needs("json_rpc")
    @of_clause(13)
    @pytest.mark.parametrize("asset", ["tUSD", "ETH"])
    def test_a_refund_gives_back_what_it_says(self, field: Any, reader: Any, asset: str) -> None:
        order = field.checkout(1, asset=asset).order
        refund = refund_of(order, via="transfer", amount=order.amount - 1)
        payload = reader.provider.refund_payload(refund, None)
        assert payload == reader.provider.refund_payload(refund, None)
        field.node.set_balance(order.treasury, 10**18)
        field.stray(order.amount) if asset == "tUSD" else None
        field.mine()
        field.node.send(payload.as_rpc(order.treasury))
        field.mine()
        head = reader.head.number
        assert reader.source.balance(order.asset.token, STRANGER, head) == order.amount - 1

    @needs("json_rpc")
    @of_clause(13)
    def test_a_refund_through_the_contract_is_read_as_that(self, field: Any, reader: Any) -> None:
        offer = field.checkout(1)
        field.pay(1, offer)
        field.mine()
        refund = refund_of(offer.order, via="contract")
        token, approve = field.shop.token.token, "0x095ea7b3" + reader.contract.address[2:].rjust(64, "0") + "f" * 64
        field.node.set_balance(offer.order.treasury, 10**18)
        field.node.send({"from": offer.order.treasury, "to": token, "data": approve})
        field.mine()
        field.node.send(reader.provider.refund_payload(refund, reader.contract, offer.order).as_rpc(refund.treasury))
        field.mine()
        (back,) = [one for one in reader.seen(1) if one.kind == "refund"]
        assert (back.reference, back.refund_id, back.amount) == (refund.reference, refund.on_chain_id, refund.amount)

    @of_clause(13)
    def test_a_refund_without_an_address_goes_nowhere(self, field: Any, reader: Any) -> None:
        refund = refund_of(field.checkout(1).order, address=None)
        with pytest.raises(ProviderError):
            reader.provider.refund_payload(refund, reader.contract)

    @needs("json_rpc")
    @of_clause(13)
    def test_the_membership_that_an_order_paid_for_is_burned(self, field: Any, reader: Any) -> None:
        offers = [field.checkout(1), field.checkout(2)]
        for number, offer in enumerate(offers, 1):
            field.pay(number, offer)
        field.mine()
        payload = reader.provider.burn_payload(offers[0].order, reader.contract)
        field.node.send(payload.as_rpc(field.node.accounts[0].address))
        field.mine()
        (burned,) = [one for one in reader.seen(1) if one.kind == "burn"]
        paid = reader.payments(2)[offers[0].order.reference]
        assert burned.subscription == paid.subscription != 0
