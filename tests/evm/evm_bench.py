"""A shop on a real chain: a deployed checkout, tokens, and wallets that send exactly the payload they are given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
from eth_abi.abi import encode
from eth_account import Account
from eth_hash.auto import keccak

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.adapters.signers import LocalSigner
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import NATIVE_COIN, parse_address
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.identity import Product, make_reference
from evmbilling.domain.money import Asset
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order, OrderLine
from evmbilling.testing.anvil import AnvilNode

SIGNER_KEY = "0x" + "11" * 32
TREASURY = parse_address("0x" + "77" * 20, field="treasury")
INSTANCE = b"shop-one"
SIGNER_REF = SecretRef("env", "SIGNER")
URL_REF = SecretRef("env", "URL")
NO_NODE = "http://127.0.0.1:9/"  # the discard port: nothing listens
STRANGE_ASSET = parse_address("0x" + "99" * 20, field="token")


class Wallet:
    """A wallet with a key of its own."""

    def __init__(self, node: AnvilNode, key: str) -> None:
        self.node, self.account = node, Account.from_key(key)

    @property
    def address(self) -> str:
        return str(self.account.address)

    def raw(self, payload: WalletPayload, **changes: Any) -> str:
        call = {key: value for key, value in payload.as_rpc(self.address).items() if key != "from"}
        nonce = self.node.rpc("eth_getTransactionCount", self.address, "pending")
        fees = {"maxFeePerGas": hex(20 * 10**9), "maxPriorityFeePerGas": hex(10**9), "type": "0x2"}
        signed = self.account.sign_transaction(call | {"nonce": nonce} | fees | changes)
        return "0x" + signed.raw_transaction.hex()

    def send(self, payload: WalletPayload, **changes: Any) -> str:
        return self.node.send_raw(self.raw(payload, **changes))


class Shop:
    """One merchant on one chain."""

    def __init__(self, node: AnvilNode, *, decimals: int = 6) -> None:
        self.node = node
        self.wallet = Wallet(node, node.accounts[5].key)
        self.signer = LocalSigner(SIGNER_KEY)
        self.owner = node.accounts[0].address
        self.checkout = self.deploy("Checkout", self.owner, self.owner, [self.signer.address], "Member", "MBR")
        self.token = self.deploy("TestToken", "Test Dollar", "TUSD", decimals)
        self.contract = PaymentContract(
            slug="main", network="local", chain_id=node.chain_id, address=self.checkout, start_block=1
        )
        self.gateway = PaymentGateway(
            slug="crypto", networks=("local",), signer=SIGNER_REF, treasuries=(("local", TREASURY),)
        )
        self.network = Network(name="local", chain_id=node.chain_id, rpc_urls=(URL_REF,), rpc_retries=1, rpc_timeout=5)
        self.provider = EvmProvider(signer_for=lambda _: self.signer, reveal=lambda _: node.url)
        self.source = EvmChainSource(JsonRpc(chain_id=node.chain_id, urls=[node.url], timeout=5, attempts=1))
        self._orders = 0

    def close(self) -> None:
        self.provider.close()
        self.source.close()

    # -- the chain

    def deploy(self, name: str, *args: Any) -> str:
        built = artifact(name)
        constructor = next((item for item in built.abi if item["type"] == "constructor"), {"inputs": []})
        data = built.bytecode + encode([item["type"] for item in constructor["inputs"]], args)
        tx_hash = self.node.send({"from": self.node.accounts[0].address, "data": "0x" + data.hex(), "gas": "0x7a1200"})
        self.node.mine()
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        assert receipt["status"] == "0x1", name
        return parse_address(receipt["contractAddress"], field="address")

    def call(self, to: str, signature: str, *args: Any, sender: str | None = None, mine: bool = True) -> str:
        """Send a call from an unlocked account."""
        transaction = {"from": sender or self.owner, "to": to, "data": calldata(signature, *args), "gas": "0x4c4b40"}
        tx_hash = self.node.send(transaction)
        if mine:
            self.node.mine()
        return tx_hash

    def view(self, to: str, signature: str, *args: Any) -> bytes:
        answer: str = self.node.rpc("eth_call", {"to": to, "data": calldata(signature, *args)}, "latest")
        return bytes.fromhex(answer[2:])

    def now(self) -> int:
        block = self.node.block()
        assert block is not None
        return int(block["timestamp"], 16)

    def fund(self, address: str, amount: int, token: str | None = None) -> None:
        self.call(token or self.token, "mint(address,uint256)", address, amount)

    # -- orders

    def asset(self, *, token: str | None = None, decimals: int = 6) -> Asset:
        return Asset(chain_id=self.node.chain_id, token=token or self.token, decimals=decimals, symbol="TUSD")

    def native(self) -> Asset:
        return Asset(chain_id=self.node.chain_id, token=NATIVE_COIN, decimals=18, symbol="ETH")

    def order(self, *, signed: bool = True, **changes: Any) -> Order:
        """A new order of 20 units; ``changes`` are made before it is signed."""
        self._orders += 1
        ledger_id = str(UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + self._orders))
        deadline = datetime.fromtimestamp(self.now(), UTC) + timedelta(minutes=30)
        values: dict[str, Any] = {
            "ledger_id": ledger_id,
            "reference": make_reference(INSTANCE, ledger_id),
            "user_id": "alice",
            "product": Product("site"),
            "plan_slug": "pro",
            "plan_version": 1,
            "subscription_id": str(UUID(int=0x0190_0000_0000_7000_9000_0000_0000_0000 + self._orders)),
            "period": 0,
            "gateway_slug": "crypto",
            "contract_slug": "main",
            "network": "local",
            "asset": self.asset(),
            "quantity": 1,
            "lines": (),
            "amount": 20_000_000,
            "wallet": self.wallet.address,
            "beneficiary": self.wallet.address,
            "contract": self.checkout,
            "treasury": TREASURY,
            "gas": 300_000,
            "created_at": deadline - timedelta(minutes=30),
            "deadline": deadline,
            "member_until": deadline + timedelta(days=30),
        } | changes
        values["lines"] = (OrderLine(kind="plan", text="Pro", amount=values["amount"]),)
        order = Order(**values)
        return self.sign(order) if signed else order

    def sign(self, order: Order) -> Order:
        signer, signature = self.provider.sign(order, self.gateway)
        return attrs.evolve(order, signer=signer, signature=signature)

    def approve(self, amount: int = 20_000_000, *, token: str | None = None) -> None:
        self.fund(self.wallet.address, amount, token)
        self.call(token or self.token, "approve(address,uint256)", self.checkout, amount, sender=self.wallet_unlocked())

    def wallet_unlocked(self) -> str:
        return self.wallet.address  # Anvil's own accounts are unlocked as well

    def pay(self, order: Order, **changes: Any) -> dict[str, Any]:
        """Let the wallet send the order's payload and mine; return the receipt."""
        tx_hash = self.wallet.send(self.provider.payload(order), **changes)
        self.node.mine()
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        return receipt

    def logs(self, first: int = 0, last: int | None = None) -> Sequence[ChainLog]:
        """What the source sees between two blocks."""
        headers = self.source.headers(first, self.node.block_number if last is None else last)
        return self.source.logs(headers, self.provider.watch([self.contract]))


def calldata(signature: str, *args: Any) -> str:
    inner = signature[signature.index("(") + 1 : -1]
    types = split_types(inner)
    return "0x" + (keccak(signature.encode())[:4] + encode(types, args)).hex()


def split_types(inner: str) -> list[str]:
    """Split at the commas of the outermost level."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(inner):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(inner[start:at])
            start = at + 1
    return [*parts, inner[start:]] if inner else []
