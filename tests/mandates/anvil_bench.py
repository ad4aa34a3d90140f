"""A merchant on a real chain that pulls: wallets of every kind give mandates, an operator's key charges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from eth_account import Account

from evmbilling.adapters.evm.mandates.provider import MandatesByContract
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.mandates.mandate_charges import (
    Charge,
    ChargeFacts,
    ChargeProblem,
    ChargeState,
    charge_of,
    charge_problem,
)
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.mandates.offers import PreparedMandate
from evmbilling.domain.selling.offers import Checkout, WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, calldata, deploy_mandates, deploy_token, put_permit2, transact
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, Merchant, anvil_merchant, repeatable_secrets
from evmbilling.testing.wallet import SentTransaction, Wallet

PRICE = 19_990_000
USER = "alice"


class PullingShop:
    """One merchant on a node; accounts 1 pays, 2 operates."""

    def __init__(self, node: AnvilNode, *, token: str = "TestToken") -> None:
        self.node = node
        self.permit2 = put_permit2(node)
        self.payer = Wallet(node.accounts[1].key, node.url)
        self.operator = Wallet(node.accounts[2].key, node.url)
        self.clock = FrozenClock(self.time())
        self.storage = MemoryStorage(self.clock, instance_id=b"on-anvil")
        self.engine = BillingEngine(storage=self.storage, clock=self.clock, secrets=repeatable_secrets())
        odd = deploy_token(node, decimals=6, artefact=token)
        if token == "FeeToken":
            transact(node, odd, "setFee", 0, sender=node.accounts[0].address)  # nothing is sold in it otherwise
        self.merchant: Merchant = anvil_merchant(self.engine, node, token=odd.address)
        self.token = odd
        self.mandates: Deployed = deploy_mandates(node, operators=(self.operator.address,))
        self.admin = self.engine.admin(ADMIN)
        self.admin.create_contract(
            slug="pulls",
            network=self.merchant.network,
            address=self.mandates.address,
            kind="mandates",
            start_block=self.mandates.block,
        )
        provider = self.engine._ports.provider("evm")
        assert isinstance(provider, MandatesByContract)
        self.provider = provider
        self.network = next(n for n in self.admin.networks() if n.name == self.merchant.network)
        self._keys = 0

    def close(self) -> None:
        self.engine.close()

    def time(self) -> datetime:
        block = self.node.block()
        assert block is not None
        return datetime.fromtimestamp(int(block["timestamp"], 16), UTC)

    def settle(self, blocks: int = CREDIT_DEPTH) -> None:
        self.node.mine(blocks)
        self.clock.set(max(self.clock.now(), self.time()))
        self.merchant.drain()

    def act(self, deployed: Deployed, function: str, *arguments: Any, sender: str | None = None) -> None:
        """Call a contract from an unlocked account: the first by default."""
        transact(self.node, deployed, function, *arguments, sender=sender or self.node.accounts[0].address)

    def fund(self, address: str, amount: int = 20 * PRICE) -> None:
        self.act(self.token, "mint", address, amount)

    def balance(self, address: str) -> int:
        call = {"to": self.token.address, "data": "0x" + calldata(self.token.name, "balanceOf", address).hex()}
        return int(self.node.rpc("eth_call", call, "latest"), 16)

    # -- who buys

    def subscribe(self, wallet: Wallet | None = None) -> str:
        """Buy the monthly plan with the paying wallet and return the subscription's id."""
        payer = wallet or self.payer
        self.fund(payer.address)
        offer = self.order(payer.address)
        payer.approve(
            token=self.token.address, spender=self.merchant.contract, amount=PRICE, chain_id=self.node.chain_id
        )
        assert offer.payload is not None
        payer.send(offer.payload)
        self.settle()
        subscription = self.engine.order(offer.ledger_id).order.subscription_id
        assert subscription is not None
        return subscription

    def order(self, wallet: str | None = None) -> Checkout:
        self._keys += 1
        return self.engine.checkout(
            plan="pro", user_id=USER, wallet=wallet or self.payer.address, idempotency_key=f"k{self._keys}"
        )

    # -- who allows

    def send(self, wallet: Wallet, payload: WalletPayload) -> dict[str, Any]:
        sent = wallet.send(payload)
        self.node.mine()
        return wallet.wait(sent)

    def allow(self, prepared: PreparedMandate, wallet: Wallet | None = None) -> None:
        for payload in prepared.approvals:
            self.send(wallet or self.payer, payload)

    def prepare(self, subscription: str, wallet: str | None = None, **changes: Any) -> PreparedMandate:
        return self.engine.mandates.prepare(USER, subscription, wallet or self.payer.address, **changes)

    def give(self, prepared: PreparedMandate, key: str | None = None, *, permit: bool = True) -> Mandate:
        """Sign what was prepared with the payer's key (or another) and hand it in."""
        signer = key or self.node.accounts[1].key
        wanted = prepared.permit_typed_data if permit else None
        return self.engine.mandates.give(
            USER,
            prepared.mandate.mandate_id,
            signature=sign_typed_data(signer, prepared.typed_data),
            permit_signature=None if wanted is None else sign_typed_data(signer, wanted),
        )

    def only(self) -> Mandate:
        (mandate,) = self.engine.mandates.list(USER)
        return mandate

    # -- who charges

    def state(self, mandate: Mandate, charge: Charge, *, operator: str | None = None) -> ChargeState | None:
        sender = operator or self.operator.address
        return self.provider.charge_state(mandate, charge, self.network, operator=sender)

    def problem(self, mandate: Mandate, order: Order, **changes: Any) -> ChargeProblem | None:
        """The pre-flight of a charge."""
        charge = charge_of(order)
        found = ChargeFacts(
            mandate=mandate,
            order=order,
            charge=charge,
            chain=self.state(mandate, charge, **changes),
            now=self.clock.now(),
        )
        return charge_problem(found)

    def charge(self, mandate: Mandate, order: Order) -> SentTransaction:
        """Send the operator's transaction; not mined yet."""
        return self.operator.send(self.provider.charge_payload(mandate, charge_of(order)))

    def pull(self, mandate: Mandate, order: Order) -> dict[str, Any]:
        """Charge and mine; return the receipt, which must be a success."""
        sent = self.charge(mandate, order)
        self.node.mine()
        return self.operator.wait(sent)


def delegated(node: AnvilNode, key: str, code: str) -> None:
    """Let an account delegate to code (EIP-7702), by a real transaction of its own."""
    account = Account.from_key(key)
    nonce = int(node.rpc("eth_getTransactionCount", account.address, "latest"), 16)
    authorization = account.sign_authorization({"chainId": node.chain_id, "address": code, "nonce": nonce + 1})
    signed = account.sign_transaction(
        {
            "type": 4,
            "chainId": node.chain_id,
            "nonce": nonce,
            "to": account.address,
            "value": 0,
            "gas": 200_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 10**9,
            "authorizationList": [authorization],
        }
    )
    node.send_raw("0x" + signed.raw_transaction.hex())
    node.mine()
    assert node.rpc("eth_getCode", account.address, "latest").startswith("0xef0100")
