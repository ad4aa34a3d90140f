"""What chains do with coins, code and rules: hard forks, delegations, replaced contracts, coins by stealth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from eth_account import Account

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.money import COIN_ALIASES, make_asset
from evmbilling.errors import InputError, NetworkUnavailable
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.provider.fields import AnvilField, FakeField
from evmbilling.testing.deploy import calldata, deploy
from evmbilling.testing.merchant import ADMIN, plan_fields
from evmbilling.testing.paid_logs import pay_call, transfer_log

ETHER = 10**18
LOGGER = {
    3: "0x604035602035600035606036038060606000376000a300",
    4: "0x606035604035602035600035608036038060806000376000a400",
}
"""Code that emits whatever it is called with: so many topics, then data."""


@pytest.fixture
def open_field() -> Iterator[Callable[..., AnvilField]]:
    with ExitStack() as stack:

        def open_(**options: object) -> AnvilField:
            node = stack.enter_context(AnvilNode(**options))
            field = AnvilField(node, 20)
            stack.callback(field.shop.engine.close)
            return field

        yield open_


def emit(field, address, topics, data):
    """Call code that emits what it is called with."""
    call = {"to": address, "from": field.node.accounts[1].address, "data": "0x" + b"".join(topics).hex() + data.hex()}
    return field.node.send(call | {"gas": "0x30d40"})


def status(field, offer):
    return str(field.shop.engine.order(offer.ledger_id).status)


def coins(field):
    """Return how many base units of its coin the treasury holds beyond the books."""
    report = field.shop.engine.verify()
    assert report.differences == ()
    (coin,) = report.coins
    return coin.delta


@pytest.mark.fault("C20")
@pytest.mark.parametrize("hardfork", ["cancun", "prague", "osaka"])
def test_c20_the_measured_gas_pays_on_every_hard_fork(open_field, hardfork):
    field = open_field(hardfork=hardfork)
    offers = {1: field.checkout(1), 2: field.checkout(2, asset="ETH"), 3: field.checkout(3, plan="pack")}
    sent = [field.pay(number, offer) for number, offer in offers.items()]
    field.mine(3)
    for tx_hash, offer in zip(sent, offers.values(), strict=True):
        receipt = field.node.receipt("0x" + tx_hash.hex())
        assert receipt["status"] == "0x1"
        assert int(receipt["gasUsed"], 16) < 0.9 * offer.payload.gas  # with room for what the next one makes dearer
    field.settle()
    assert {status(field, offer) for offer in offers.values()} == {"confirmed"}


@pytest.mark.fault("C24")
def test_c24_a_contract_whose_code_is_replaced_stands_still(open_field):
    field = open_field()
    engine = field.shop.engine
    assert list(engine.check_contracts()) == []
    offers = {number: field.checkout(number) for number in (1, 2)}
    field.pay(1, offers[1])
    field.mine(3)
    field.settle()
    field.node.set_code(field.shop.contract, LOGGER[4])
    (item,) = engine.check_contracts()
    assert (item.kind, item.subject) == ("contract_halted", f"contract:31337:{field.shop.contract}")
    assert list(engine.check_contracts()) == []
    with pytest.raises(NetworkUnavailable) as caught:
        field.checkout(3)
    assert caught.value.details == {"network": "local", "reason": "contract_halted", "instead": []}
    # The new code says whatever it is told; nothing that it says gives access.
    said = pay_call(offers[2].order).paid_log()
    emit(field, field.shop.contract, said.topics, said.data)
    field.mine(3)
    field.settle()
    assert [status(field, offer) for offer in offers.values()] == ["confirmed", "pending"]
    assert [(r.reason, r.user_id) for r in engine.admin(ADMIN).unmatched_receipts()] == [("contract_halted", "user-2")]
    engine.finance(ADMIN).acknowledge(item.item_id)
    assert list(engine.check_contracts()) == []  # a person has seen just this
    assert field.checkout(3).payload is not None
    field.node.set_code(field.shop.contract, LOGGER[3])
    assert [again.item_id for again in engine.check_contracts()] == [item.item_id]  # and not that


@pytest.mark.fault("T19")
def test_t19_a_coin_from_a_smart_wallet_is_credited_by_the_contracts_event(open_field):
    field = open_field()
    owner = field.node.accounts[1].address
    wallet = deploy(field.node, "Forwarder", owner)
    offer = field.checkout(1, asset="ETH", wallet=wallet.address)
    payload = offer.payload
    data = calldata("Forwarder", "execute", payload.to, payload.value, payload.data)
    call = {"from": owner, "to": wallet.address, "data": "0x" + data.hex(), "gas": "0x7a120"}
    field.node.send(call | {"value": hex(payload.value)})
    field.mine(3)
    field.settle()
    assert status(field, offer) == "confirmed"
    assert coins(field) == 10_000 * ETHER  # what the account had before


@pytest.mark.fault("T19")
def test_t19_a_coin_sent_past_the_contract_is_seen_as_a_difference_and_gives_no_access(open_field):
    field = open_field()
    field.settle()
    offer = field.checkout(1, asset="ETH")
    before = coins(field)
    owner, treasury = field.node.accounts[1].address, field.shop.treasury
    wallet = deploy(field.node, "Forwarder", owner)
    data = "0x" + calldata("Forwarder", "execute", treasury, offer.amount, b"").hex()
    field.node.send({"from": owner, "to": wallet.address, "data": data, "value": hex(offer.amount), "gas": "0x7a120"})
    field.node.send({"from": owner, "to": treasury, "value": hex(offer.amount)})
    field.mine(3)
    field.settle()
    assert (status(field, offer), list(field.shop.engine.receipts(offer.ledger_id))) == ("pending", [])
    assert coins(field) == before + 2 * offer.amount


@pytest.mark.fault("T21")
def test_t21_a_coin_that_is_forced_upon_the_treasury_is_no_payment(open_field):
    field = open_field()
    field.settle()
    offer = field.checkout(1, asset="ETH")
    before = coins(field)
    treasury = field.shop.treasury
    # A contract that ends itself in its constructor gives its coins to an address that cannot refuse.
    dying = "0x73" + treasury[2:].lower() + "ff"
    field.node.send({"from": offer.order.wallet, "data": dying, "value": hex(offer.amount), "gas": "0x30d40"})
    field.mine()
    field.node.set_balance(treasury, int(field.node.rpc("eth_getBalance", treasury, "latest"), 16) + 5)
    field.mine(2)
    field.settle()
    assert (status(field, offer), list(field.shop.engine.receipts(offer.ledger_id))) == ("pending", [])
    assert coins(field) == before + offer.amount + 5


@pytest.mark.fault("T23")
@pytest.mark.parametrize("alias", sorted(COIN_ALIASES))
def test_t23_a_coin_that_is_a_token_as_well_is_credited_once(alias):
    for chain_id in (1, 42220, 137, 324):
        with pytest.raises(InputError) as caught:
            make_asset(chain_id=chain_id, token=alias, decimals=18, symbol="COIN")
        assert caught.value.field == "token"
    field = FakeField(1, 20)
    price = {"network": "local", "chain_id": 31337, "token": alias, "decimals": 18, "symbol": "COIN", "display": "1"}
    with pytest.raises(InputError):
        field.shop.engine.admin(ADMIN).create_plan(**plan_fields(field.shop, "twice", prices=[price]))
    offer = field.checkout(1, asset="ETH")
    moved = transfer_log(alias, offer.order.contract, offer.order.treasury, offer.amount)
    field.shop.chain.pay(offer.order, before=[moved])
    field.mine(3)
    field.settle()
    assert (status(field, offer), coins(field)) == ("confirmed", 0)
    (receipt,) = field.shop.engine.receipts(offer.ledger_id)
    assert (receipt.asset.token, receipt.amount) == (NATIVE_COIN, offer.amount)
    assert list(field.shop.engine.admin(ADMIN).unmatched_receipts()) == []


@pytest.mark.fault("T23")
def test_t23_a_real_contract_that_logs_movements_of_the_coin_adds_nothing(open_field):
    field = open_field()
    offer = field.checkout(1, asset="ETH")
    alias = "0x0000000000000000000000000000000000001010"
    field.node.set_code(alias, LOGGER[3])
    said = transfer_log(alias, offer.order.wallet, field.shop.treasury, offer.amount)
    field.pay(1, offer)
    emitted = emit(field, alias, said.topics, said.data)
    field.mine(3)
    assert [log["address"] for log in field.node.receipt(emitted)["logs"]] == [alias]
    field.settle()
    assert status(field, offer) == "confirmed"
    assert len(field.shop.engine.receipts(offer.ledger_id)) == 1
    assert list(field.shop.engine.admin(ADMIN).unmatched_receipts()) == []


@pytest.mark.fault("T30")
def test_t30_a_treasury_that_became_a_contract_and_refuses_the_coin_is_not_paid(open_field):
    field = open_field(hardfork="prague")
    node, treasury = field.node, field.node.accounts[-1]
    offer = field.checkout(1, asset="ETH")
    assert field.shop.engine.pay_instructions(offer.ledger_id).problems == ()
    without_receive = deploy(node, "Forwarder", node.accounts[0].address)
    delegate(node, treasury, without_receive.address)
    assert node.rpc("eth_getCode", treasury.address, "latest").startswith("0xef0100")
    (problem,) = field.shop.engine.pay_instructions(offer.ledger_id).problems
    assert problem.code == "treasury_refuses"
    sent = field.pay(1, offer)
    plain = node.send({"from": node.accounts[2].address, "to": treasury.address, "value": "0x5", "gas": "0x30d40"})
    node.mine(3)
    field.settle()
    for tx_hash in ("0x" + sent.hex(), plain):
        receipt = node.receipt(tx_hash)
        assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert (status(field, offer), list(field.shop.engine.receipts(offer.ledger_id))) == ("pending", [])


def delegate(node, account, code):
    """Let an account run a contract's code (EIP-7702)."""
    signer = Account.from_key(account.key)
    nonce = int(node.rpc("eth_getTransactionCount", account.address, "latest"), 16)
    chain = {"chainId": node.chain_id}
    authorization = signer.sign_authorization(chain | {"address": code, "nonce": nonce + 1})
    transaction = chain | {
        "type": 4,
        "nonce": nonce,
        "to": account.address,
        "value": 0,
        "data": "0x",
        "gas": 200_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 10**9,
        "authorizationList": [authorization],
    }
    node.send_raw("0x" + signer.sign_transaction(transaction).raw_transaction.hex())
    node.mine()
