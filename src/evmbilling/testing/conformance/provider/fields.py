"""Where reorganisations are made: on the fake chain, and on Anvil. Both do what they are told in the same words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, Self

from attrs import frozen

from evmbilling.adapters.memory.storage import MemoryStorage
from evmbilling.adapters.system import SystemClock
from evmbilling.domain.addresses import checksum
from evmbilling.domain.selling.offers import Checkout, WalletPayload
from evmbilling.factory import BillingEngine
from evmbilling.ports.provider import Provider
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, transact_all
from evmbilling.testing.drain import drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import (
    ADMIN,
    Merchant,
    SimulatedMerchant,
    anvil_merchant,
    deploy_shop,
    repeatable_secrets,
)
from evmbilling.testing.merchant import simulated_merchant as simulate
from evmbilling.testing.paid_logs import transfer_log
from evmbilling.wiring import SignerCache, make_plugin_manager

Mode = Literal["drop", "reinclude", "reorder", "double_spend"]
STRAY = 1_230_000
"""Base units of a transfer that no order explains."""
TWINS = checksum(b"\xcd" * 20)
"""A token each of whose transfers is two that look alike."""
MOST = 2**200
AHEAD = timedelta(hours=1)
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Field(Protocol):
    """A merchant on a chain that obeys. Payers are numbered; each transaction is known by its hash."""

    shop: Merchant

    def checkout(self, number: int, **over: Any) -> Checkout: ...
    def pay(self, number: int, offer: Checkout) -> bytes: ...
    def holder(self, number: int) -> str: ...
    def send(self, number: int, to: str, *, value: int = 0, data: bytes = b"") -> bytes: ...
    def stray(self, amount: int = STRAY) -> bytes: ...
    def twins(self) -> bytes: ...
    def mine(self, blocks: int = 1) -> None: ...
    def reorganise(self, depth: int, mode: Mode) -> None: ...
    def resend(self) -> None: ...
    def replace(self, sent: bytes) -> None: ...
    def drop(self, sent: bytes) -> None: ...
    def settle(self) -> None: ...
    def hash_at(self, height: int) -> str: ...
    def pretend(self, chain_id: int) -> None: ...


class FakeField:
    """On the fake chain."""

    def __init__(self, seed: int, irreversible: int, *, strict: bool = False) -> None:
        chain = FakeChain(31337, start=START, seed=seed, safe_lag=1, finalized_lag=2)
        self.shop: SimulatedMerchant = simulate(seed=seed, chain=chain)
        self._strict = strict
        self.shop.engine.admin(ADMIN).update_network("local", version=1, irreversible_after=f"depth {irreversible}")
        self._sent: list[bytes] = []

    def checkout(self, number: int, **over: Any) -> Checkout:
        return self.shop.checkout(f"user-{number}", **over)

    def pay(self, number: int, offer: Checkout) -> bytes:
        assert offer.order.user_id == f"user-{number}"
        self._sent.append(self.shop.chain.pay(offer.order, enforce=self._strict))
        return self._sent[-1]

    def holder(self, number: int) -> str:
        return checksum(bytes([number]) * 20)

    def send(self, number: int, to: str, *, value: int = 0, data: bytes = b"") -> bytes:
        """Send coin or calldata to anywhere, as a payer's wallet does."""
        payload = WalletPayload(chain_id=self.shop.chain.chain_id, to=to, value=value, data=data, gas=200_000)
        self._sent.append(self.shop.chain.call(payload, sender=self.holder(number)))
        return self._sent[-1]

    def stray(self, amount: int = STRAY) -> bytes:
        sent = self.shop.chain.transfer(self.shop.token.token, self.shop.contract, self.shop.treasury, amount)
        self._sent.append(sent)
        return sent

    def twins(self) -> bytes:
        """Send, in one transaction, two transfers of ``TWINS`` to the treasury that differ in their place alone."""
        alike = transfer_log(TWINS, self.shop.contract, self.shop.treasury, STRAY)
        return self.shop.chain.send(alike, alike)

    def mine(self, blocks: int = 1) -> None:
        self.shop.chain.mine(blocks)

    def reorganise(self, depth: int, mode: Mode) -> None:
        self.shop.chain.reorganise(depth, mode=mode)

    def resend(self) -> None:
        for sent in self._sent:
            if self.shop.chain.receipt(sent) is None:
                self.shop.chain.resend(sent)

    def replace(self, sent: bytes) -> None:
        self.shop.chain.replace(sent)

    def drop(self, sent: bytes) -> None:
        self.shop.chain.drop(sent)

    def pretend(self, chain_id: int) -> None:
        self.shop.chain.wrong_chain(chain_id)

    def settle(self) -> None:
        # Ahead of every block that comes: a paid period begins no later than we saw it, and nobody saw it earlier here.
        self.shop.clock.set(max(self.shop.clock.now(), self.shop.chain.head.timestamp + AHEAD))
        drain(self.shop.engine)

    def hash_at(self, height: int) -> str:
        header = self.shop.chain.header(height)
        assert header is not None
        return "0x" + header.hash.hex()


@frozen
class Grounds:
    """A token and a Checkout contract on a node, and payers (accounts 1 to 8) whose tokens the contract may take."""

    token: Deployed
    contract: Deployed

    @classmethod
    def laid(cls, node: AnvilNode) -> Self:
        """Deploy both, and give the payers what they need."""
        token, contract = deploy_shop(node)
        payers = [account.address for account in node.accounts[1:9]]
        mints = [(payer, "mint", payer, MOST) for payer in payers]
        transact_all(node, token, mints + [(payer, "approve", contract.address, MOST) for payer in payers])
        return cls(token, contract)

    def are_on(self, node: AnvilNode) -> bool:
        """Whether they are still there: a node that was started again knows nothing of them."""
        return bool(node.rpc("eth_getCode", self.contract.address, "latest") != "0x")


class AnvilField:
    """On Anvil, with real transactions."""

    def __init__(
        self,
        node: AnvilNode,
        irreversible: int,
        *,
        provider: Callable[..., Provider] | None = None,
        rpc_url: str | None = None,
        grounds: Grounds | None = None,
    ) -> None:
        self.node = node
        through = {} if rpc_url is None else {"rpc_url": rpc_url}
        if grounds is None or not grounds.are_on(node):
            grounds = Grounds.laid(node)
        self.shop = anvil_merchant(
            _engine(provider),
            node,
            irreversible_after=f"depth {irreversible}",
            deployed=(grounds.token, grounds.contract),
            **through,
        )
        self._raw: dict[str, str] = {}

    def checkout(self, number: int, **over: Any) -> Checkout:
        return self.shop.checkout(f"user-{number}", **({"wallet": self.node.accounts[number].address} | over))

    def pay(self, number: int, offer: Checkout) -> bytes:
        assert offer.payload is not None
        return self._keep(self.node.send(offer.payload.as_rpc(self.node.accounts[number].address)))

    def holder(self, number: int) -> str:
        return checksum(bytes.fromhex(self.node.accounts[number].address[2:]))

    def send(self, number: int, to: str, *, value: int = 0, data: bytes = b"") -> bytes:
        """Send coin or calldata to anywhere, as a payer's wallet does."""
        payload = WalletPayload(chain_id=self.node.chain_id, to=to, value=value, data=data, gas=200_000)
        return self._keep(self.node.send(payload.as_rpc(self.holder(number))))

    def stray(self, amount: int = STRAY) -> bytes:
        sender = self.node.accounts[8].address
        data = "0xa9059cbb" + self.shop.treasury[2:].lower().rjust(64, "0") + f"{amount:064x}"
        call = {"from": sender, "to": self.shop.token.token, "data": data, "gas": "0x30d40"}
        return self._keep(self.node.send(call))

    def twins(self) -> bytes:
        """Do the same by a contract of a few bytes, which logs what it was written to log."""
        said = transfer_log(TWINS, self.shop.contract, self.shop.treasury, STRAY)
        words = b"".join(b"\x7f" + topic for topic in reversed(said.topics))
        log3 = words + bytes((0x60, 0x20, 0x5F, 0xA3))
        self.node.set_code(TWINS, "0x" + (b"\x7f" + said.data + bytes((0x5F, 0x52)) + log3 + log3).hex())
        return self._keep(self.node.send({"from": self.node.accounts[8].address, "to": TWINS, "gas": "0x30d40"}))

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)

    def reorganise(self, depth: int, mode: Mode) -> None:
        head = self.node.block_number
        content: list[tuple[Any, int]] = []
        for offset in range(depth):
            block = self.node.block(head - depth + 1 + offset, full=True)
            assert block is not None
            content += [(transaction, offset) for transaction in block["transactions"]]
        self.node.reorg(depth, self._replacing(content, mode, depth))

    def _replacing(self, content: list[tuple[Any, int]], mode: Mode, depth: int) -> list[tuple[Any, int]]:
        if mode == "drop":
            return []
        if mode == "reinclude":
            return [(self._raw[transaction["hash"]], offset) for transaction, offset in content]
        if mode == "reorder":  # each sender sent one, so any order is possible
            return [(self._raw[transaction["hash"]], depth - 1) for transaction, _ in reversed(content)]
        attacker = self.node.accounts[0].address
        return [
            ({"from": transaction["from"], "to": attacker, "value": "0x1", "nonce": transaction["nonce"]}, offset)
            for transaction, offset in content
        ]

    def resend(self) -> None:
        for sent, raw in self._raw.items():
            if self.node.receipt(sent) is None:
                self.node.send_raw(raw)

    def replace(self, sent: bytes) -> None:
        """Send another transaction of the same sender and nonce at twice the price."""
        old = self.node.rpc("eth_getTransactionByHash", "0x" + sent.hex())
        fees = {name: hex(2 * int(old[name], 16)) for name in ("maxFeePerGas", "maxPriorityFeePerGas")}
        call = {"from": old["from"], "to": old["from"], "value": "0x0", "nonce": old["nonce"]} | fees
        self._keep(self.node.send(call))

    def drop(self, sent: bytes) -> None:
        self.node.drop("0x" + sent.hex())

    def pretend(self, chain_id: int) -> None:
        self.node.set_chain_id(chain_id)

    def settle(self) -> None:
        drain(self.shop.engine)

    def hash_at(self, height: int) -> str:
        return self.node.block_hash(height)

    def _keep(self, sent: str) -> bytes:
        self._raw[sent] = self.node.raw_transaction(sent)
        return bytes.fromhex(sent[2:])


def _engine(make_provider: Callable[..., Provider] | None) -> BillingEngine:
    """Return an engine in memory, over the built-in provider or over the one that is made."""
    clock, box = SystemClock(), repeatable_secrets()
    storage = MemoryStorage(clock)
    if make_provider is None:
        return BillingEngine(storage=storage, clock=clock, secrets=box)
    lent = {"signer_for": SignerCache(make_plugin_manager(), box), "reveal": box.reveal}
    return BillingEngine(storage=storage, clock=clock, secrets=box, providers={"evm": make_provider(**lent)})
