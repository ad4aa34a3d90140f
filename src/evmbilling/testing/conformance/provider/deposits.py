"""The whole kit of providers that sell through deposit addresses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS, checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.deposits import deposit_address
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import RpcUnavailable
from evmbilling.ports.deposits import DepositProvider
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.provider.ground import PRICE, Ground, GroundKit, MakeProvider
from evmbilling.testing.deploy import deploy

COINS = 10**16
STRANGER = checksum(b"\x66" * 20)


class Deposits(Ground):
    """With the Deposits contract; account 2 is the one that sweeps."""

    def __init__(self, node: AnvilNode, make: MakeProvider, port: type) -> None:
        super().__init__(node, make, port)
        self.deposits = deploy(node, "Deposits")
        self.relayer = node.accounts[2].address
        self.contract = PaymentContract(
            slug="deposits",
            network=self.network.name,
            chain_id=node.chain_id,
            address=self.deposits.address,
            kind="deposit",
        )
        self.coin = Asset(chain_id=node.chain_id, token=NATIVE_COIN, decimals=18, symbol="ETH")

    def asked(self, number: int = 1, **changes: Any) -> Order:
        """Return an order that is paid at an address of its own, by whoever sends something there."""
        nobody = {"wallet": ZERO_ADDRESS, "beneficiary": ZERO_ADDRESS}
        return self.order(number, rail="deposit", contract=self.deposits.address, **(nobody | changes))

    def address(self, order: Order) -> str:
        """Return where an order is paid, as the contract computes it."""
        word = self.ask(self.deposits, "addressOf", order.reference, order.treasury)
        return checksum(word.to_bytes(20))

    def swept(self, order: Order, amount: int, token: str | None = None) -> bool:
        payload = self.provider.sweep_payload(order, token or order.asset.token, amount)
        return self.send(payload, self.relayer)

    def coins(self, address: str) -> int:
        return int(self.node.rpc("eth_getBalance", address, "latest"), 16)


class DepositConformance(GroundKit):
    """Standard tests of :class:`evmbilling.ports.deposits.DepositProvider`; give ``make_provider``.

    The chain under it is Anvil, with the project's Deposits contract and a test token.
    """

    port = DepositProvider
    ground = Deposits
    clause = 1

    def test_an_order_is_paid_at_the_address_that_its_contract_computes(self, field: Deposits) -> None:
        for order in (field.asked(), field.asked(2), field.asked(treasury=STRANGER)):
            address = field.address(order)
            assert deposit_address(order.contract, order.reference, order.treasury) == address
            assert field.send(field.provider.payload(order), field.payer.address)
            assert field.holds(address) == order.amount
            assert (
                field.provider.uri(order).lower()
                == (
                    f"ethereum:{field.token.address}@{field.node.chain_id}/transfer?address={address}&uint256={PRICE}"
                ).lower()
            )
        coin = field.asked(3, asset=field.coin, amount=COINS)
        assert field.send(field.provider.payload(coin), field.payer.address)
        assert field.coins(field.address(coin)) == COINS

    @of_clause(2)
    @pytest.mark.parametrize("amount", [PRICE, PRICE - 1, PRICE // 2 + 1])
    def test_a_sweep_moves_what_it_says_to_the_orders_treasury(self, field: Deposits, amount: int) -> None:
        order, other = field.asked(), field.asked(2)
        for one in (order, other):
            assert field.send(field.provider.payload(one), field.payer.address)
        assert field.swept(order, amount)
        assert (field.holds(field.treasury), field.holds(field.address(order))) == (amount, PRICE - amount)
        assert field.holds(field.address(other)) == PRICE

    @of_clause(2)
    def test_coins_and_other_tokens_are_swept_too(self, field: Deposits) -> None:
        order = field.asked()
        coin = field.asked(2, asset=field.coin, amount=COINS)
        for one in (order, coin):
            assert field.send(field.provider.payload(one), field.payer.address)
        before = field.coins(field.treasury)
        assert field.swept(coin, COINS)
        assert field.coins(field.treasury) == before + COINS
        field.node.send({"from": field.payer.address, "to": field.address(order), "value": hex(5)})
        field.node.mine()
        assert field.swept(order, 5, NATIVE_COIN)
        assert (field.coins(field.treasury), field.holds(field.treasury)) == (before + COINS + 5, 0)

    @of_clause(2)
    def test_a_sweep_is_the_same_every_time_and_asks_nobody(self, field: Deposits) -> None:
        order = field.asked()
        first = field.provider.sweep_payload(order, order.asset.token, 7)
        assert first == field.provider.sweep_payload(order, order.asset.token, 7)
        assert first == field.blind.sweep_payload(order, order.asset.token, 7)

    @of_clause(3)
    def test_a_sweep_is_read_as_the_payment_of_its_order(self, field: Deposits) -> None:
        order = field.asked()
        assert field.send(field.provider.payload(order), field.payer.address)
        watch = field.provider.watch([field.contract], tokens=[field.token.address], treasuries=[field.treasury])
        assert field.logs(watch) == []
        assert field.swept(order, PRICE - 3)
        decoded = [field.provider.decode(log, field.contract) for log in field.logs(watch)]
        (paid,) = [one for one in decoded if one is not None]
        assert (paid.kind, paid.rail, paid.reference, paid.amount) == ("payment", "deposit", order.reference, PRICE - 3)
        assert (paid.token, paid.treasury) == (field.token.address, field.treasury)
        for wrong in (
            {"address": STRANGER},
            {"chain_id": paid.log.chain_id + 1},
            {"topics": paid.log.topics[:-1]},
            {"topics": (*paid.log.topics, bytes(32))},
            {"topics": (bytes(32), *paid.log.topics[1:])},
            {"data": paid.log.data[:-1]},
            {"data": paid.log.data + bytes(32)},
        ):
            assert field.provider.decode(attrs.evolve(paid.log, **wrong), field.contract) is None, wrong

    @of_clause(4)
    def test_balances_are_those_of_the_newest_block_in_the_order_of_the_question(self, field: Deposits) -> None:
        order, token = field.asked(), field.token.address
        address, empty = field.address(order), STRANGER
        places = [(empty, token), (address, token), (address, NATIVE_COIN)]
        balances = field.provider.deposit_balances
        assert list(balances(field.network, places)) == [0, 0, 0]
        assert field.send(field.provider.payload(order), field.payer.address)
        field.node.send({"from": field.payer.address, "to": address, "value": hex(2**63)})
        field.node.mine()
        assert list(balances(field.network, places)) == [0, PRICE, 2**63]
        assert list(balances(field.network, places[::-1])) == [2**63, PRICE, 0]
        assert list(balances(field.network, [])) == []
        assert list(balances(field.network, places * 60)) == [0, PRICE, 2**63] * 60

    @of_clause(4)
    def test_a_token_that_gives_no_number_holds_up_no_other(self, field: Deposits) -> None:
        order = field.asked()
        assert field.send(field.provider.payload(order), field.payer.address)
        address = field.address(order)
        places = [(address, STRANGER), (address, field.token.address)]
        assert list(field.provider.deposit_balances(field.network, places)) == [None, PRICE]

    @of_clause(4)
    def test_without_a_node_there_is_no_balance(self, field: Deposits) -> None:
        with pytest.raises(RpcUnavailable):
            field.blind.deposit_balances(field.network, [(STRANGER, field.token.address)])
