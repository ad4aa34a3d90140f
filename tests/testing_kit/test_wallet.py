"""The wallet and the deployments of the testing kit, on Anvil."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import attrs
import pytest
from eth_account import Account
from kit_values import START

from evmbilling.adapters.evm.signing.typed_data import DOMAIN_FIELDS, ORDER_FIELDS
from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.money import Asset
from evmbilling.domain.reading.evidence import WatchSet
from evmbilling.domain.selling.offers import PayInstructions, WalletPayload
from evmbilling.errors import ChainMismatch, NotFound, ProviderError, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.testing.deploy import calldata, deploy, deploy_checkout, deploy_token, transact
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.keys import address_of, new_key
from evmbilling.testing.paid_logs import PAID_TOPIC, TRANSFER_TOPIC
from evmbilling.testing.reverts import RevertReason, read_revert
from evmbilling.testing.rpc import JsonRpc
from evmbilling.testing.wallet import NotIncluded, Reverted, Wallet


class Shop:
    """A token, a contract and a signer on Anvil, without the engine."""

    def __init__(self, node, make_order):
        self.node = node
        self.signer = Account.from_key("0x" + "5" * 64)
        self.token = deploy_token(node)
        self.contract = deploy_checkout(node, signers=(self.signer.address,))
        self.wallet = Wallet(node.accounts[1].key, node.url)
        transact(node, self.token, "mint", self.wallet.address, 10**9, sender=node.accounts[0].address)
        self.make_order = make_order

    def order(self, **changes):
        asset = Asset(chain_id=self.node.chain_id, token=self.token.address, decimals=6, symbol="tUSD")
        values = {
            "wallet": self.wallet.address,
            "contract": self.contract.address,
            "asset": asset,
            "treasury": self.node.accounts[2].address,
            "deadline": datetime(2100, 1, 1, tzinfo=UTC),
            "member_until": datetime(2101, 1, 1, tzinfo=UTC),
        }
        return self.make_order(**(values | changes))

    def payload(self, order, signer=None):
        values = (
            order.reference,
            subscription_token(order.subscription_id),
            order.wallet,
            order.beneficiary,
            plan_digest(order.plan_slug, order.plan_version),
            order.asset.token,
            order.amount,
            order.treasury,
            int(order.member_until.timestamp()),
            int(order.deadline.timestamp()),
        )
        typed = {
            "types": {
                "Order": [{"name": n, "type": t} for n, t in ORDER_FIELDS],
                "EIP712Domain": [{"name": n, "type": t} for n, t in DOMAIN_FIELDS],
            },
            "primaryType": "Order",
            "domain": {
                "name": "evmbilling Checkout",
                "version": "1",
                "chainId": self.node.chain_id,
                "verifyingContract": order.contract,
            },
            "message": dict(zip([n for n, _ in ORDER_FIELDS], values, strict=True)),
        }
        signature = (signer or self.signer).sign_typed_data(full_message=typed).signature
        return WalletPayload(
            chain_id=self.node.chain_id,
            to=order.contract,
            value=order.amount if order.asset.is_native else 0,
            data=calldata("Checkout", "pay", values, bytes(signature)),
            gas=400_000,
        )

    def approve(self, amount=10**9):
        return self.wallet.approve(
            token=self.token.address, spender=self.contract.address, amount=amount, chain_id=self.node.chain_id
        )

    def mine(self, sent):
        self.node.mine()
        return self.wallet.wait(sent)


@pytest.fixture
def shop(anvil, make_order):
    return Shop(anvil, make_order)


def as_logs(receipt):
    return [
        (log["address"].lower(), [topic[2:] for topic in log["topics"]], log["data"][2:]) for log in receipt["logs"]
    ]


def test_a_wallet_sends_exactly_the_payload(shop):
    payload = shop.payload(shop.order())
    sent = shop.wallet.send(payload)
    on_chain = JsonRpc(shop.node.url).call("eth_getTransactionByHash", sent.hash)
    wanted = payload.as_rpc(shop.wallet.address)
    assert {key: on_chain["input" if key == "data" else key].lower() for key in wanted} == {
        key: value.lower() for key, value in wanted.items()
    }
    assert shop.node.raw_transaction(sent.hash) == sent.raw


@pytest.mark.parametrize("native", [False, True])
def test_the_fake_chain_logs_what_the_contract_logs(shop, native):
    order = shop.order()
    if native:
        order = attrs.evolve(order, asset=attrs.evolve(order.asset, token=NATIVE_COIN))
    shop.approve()
    receipt = shop.mine(shop.wallet.send(shop.payload(order)))
    fake = FakeChain(1, start=START)
    fake.pay(order)
    fake.mine()
    watch = WatchSet(addresses=(order.contract, order.asset.token), topics=(PAID_TOPIC, TRANSFER_TOPIC), start_block=0)
    made = [
        (log.address.lower(), [topic.hex() for topic in log.topics], log.data.hex())
        for log in fake.logs(fake.headers(1, 1), watch)
    ]
    real = as_logs(receipt)
    assert made[-1] == real[-1]
    assert [log for log in made if log not in real] == []
    assert len(made) == (1 if native else 2)


def test_instructions_are_paid_approval_first(shop):
    order = shop.order()
    approval = WalletPayload(
        chain_id=shop.node.chain_id,
        to=shop.token.address,
        value=0,
        data=calldata("TestToken", "approve", shop.contract.address, order.amount),
        gas=100_000,
    )
    instructions = PayInstructions(
        ledger_id=order.ledger_id, payload=shop.payload(order), approval=approval, problems=()
    )
    assert shop.mine(shop.wallet.pay(instructions))["status"] == "0x1"
    with pytest.raises(ProviderError, match="cannot be paid"):
        shop.wallet.pay(attrs.evolve(instructions, payload=None))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("twice", "ReferenceUsed"),
        ("late", "OrderLate"),
        ("forged", "UnknownSigner"),
        ("other payer", "WrongPayer"),
        ("no allowance", "ERC20InsufficientAllowance"),
    ],
)
def test_a_revert_is_a_typed_error_with_its_reason(shop, case, reason):
    order = shop.order()
    if case == "late":
        order = attrs.evolve(order, deadline=datetime(2020, 1, 1, tzinfo=UTC))
    if case == "other payer":
        order = attrs.evolve(order, wallet=shop.node.accounts[5].address)
    if case != "no allowance":
        shop.approve()
    payload = shop.payload(order, Account.from_key("0x" + "6" * 64) if case == "forged" else None)
    if case == "twice":
        shop.mine(shop.wallet.send(payload))
    sent = shop.wallet.send(payload)
    with pytest.raises(Reverted) as failed:
        shop.mine(sent)
    assert failed.value.details["reason"] == reason
    assert failed.value.details["tx_hash"] == sent.hash
    assert shop.node.receipt(sent.hash)["logs"] == []


@pytest.mark.fault("C02")
def test_c02_the_kept_bytes_can_be_mined_again_after_a_reorg(shop):
    shop.approve()
    shop.node.mine()
    sent = shop.wallet.send(shop.payload(shop.order()))
    first = shop.mine(sent)
    shop.node.reorg(1)
    assert shop.node.receipt(sent.hash) is None
    assert shop.wallet.resend(sent) is sent
    second = shop.mine(sent)
    assert (first["transactionHash"], first["blockHash"]) != (second["transactionHash"], second["blockHash"])
    assert as_logs(first) == as_logs(second)


def test_what_is_not_mined_is_not_included(shop):
    with pytest.raises(NotIncluded) as missing:
        shop.wallet.wait(shop.approve(), timeout=0.05)
    assert missing.value.retry_safe


@pytest.mark.fault("C23")
def test_c23_a_wallet_refuses_a_payload_for_another_chain(shop):
    payload = attrs.evolve(shop.payload(shop.order()), chain_id=1)
    with pytest.raises(WrongChain):
        shop.wallet.send(payload)
    assert shop.wallet.next_nonce() == 0


def test_typed_data_is_signed_by_the_wallets_key(shop):
    typed = {
        "types": {"EIP712Domain": [{"name": "name", "type": "string"}], "Note": [{"name": "text", "type": "string"}]},
        "primaryType": "Note",
        "domain": {"name": "x"},
        "message": {"text": "hello"},
    }
    signature = shop.wallet.sign_typed_data(typed)
    expected = Account.from_key(shop.node.accounts[1].key).sign_typed_data(full_message=typed).signature
    assert signature == bytes(expected)
    assert len(signature) == 65


def test_fresh_keys_differ_and_name_an_address():
    keys = {new_key() for _ in range(20)}
    assert len(keys) == 20
    assert all(address_of(key) == Account.from_key(key).address for key in keys)


@pytest.mark.exhaustive  # the test of what our imports do to it signs first
def test_signing_leaves_the_recursion_limit_alone():
    code = (
        "import sys\nbefore = sys.getrecursionlimit()\n"
        "from evmbilling.testing.keys import new_key, sign_typed_data\n"
        "types = {'EIP712Domain': [], 'Note': [{'name': 'n', 'type': 'uint8'}]}\n"
        "sign_typed_data(new_key(), {'types': types, 'primaryType': 'Note', 'domain': {}, 'message': {'n': 1}})\n"
        "print(sys.getrecursionlimit() == before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.fault("G02")
def test_g02_neither_key_nor_url_is_shown(shop):
    key = shop.node.accounts[1].key
    assert key[2:] not in repr(shop.wallet) + str(vars(shop.wallet)["_rpc"])
    dead = JsonRpc("http://127.0.0.1:9/secret-path")
    with pytest.raises(RpcUnavailable) as failed:
        dead.call("eth_chainId")
    assert "secret-path" not in f"{failed.value!r} {failed.value} {failed.value.__cause__} {dead!r}"


def test_json_rpc_refusals_are_typed(anvil):
    rpc = JsonRpc(anvil.url)
    with pytest.raises(RpcRefused) as refused:
        rpc.call("eth_noSuchMethod")
    assert refused.value.details["method"] == "eth_noSuchMethod"
    rpc.close()


def test_unreadable_answers_are_no_answers(anvil):
    with pytest.raises(RpcUnavailable):
        JsonRpc(f"{anvil.url}/no/such/path/").call("eth_chainId")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("0x", RevertReason("unknown")),
        (None, RevertReason("unknown")),
        ("0xdeadbeef00", RevertReason("unknown")),
        (
            "0x08c379a0" + "20".rjust(64, "0") + "2".rjust(64, "0") + b"no".hex().ljust(64, "0"),
            RevertReason("Error", ("no",)),
        ),
        ("0x4e487b71" + "11".rjust(64, "0"), RevertReason("Panic", (17,))),
        ("0x08c379a0ff", RevertReason("Error")),
    ],
)
def test_revert_data_is_read(data, reason):
    assert read_revert(data) == reason


def test_deployments_are_checked(anvil):
    token = deploy_token(anvil, decimals=18, symbol="X")
    assert token.block == anvil.block_number
    decimals = JsonRpc(anvil.url).number(
        "eth_call", {"to": token.address, "data": "0x" + calldata("TestToken", "decimals").hex()}, "latest"
    )
    assert decimals == 18
    with pytest.raises(ChainMismatch):
        deploy(anvil, "Checkout", ZERO_ADDRESS, ZERO_ADDRESS, [], "n", "s")
    with pytest.raises(ChainMismatch):
        transact(anvil, token, "transfer", anvil.accounts[3].address, 1, sender=anvil.accounts[2].address)
    with pytest.raises(NotFound):
        calldata("Checkout", "noSuchFunction")
    with pytest.raises(NotFound):
        deploy(anvil, "NoSuchContract")
