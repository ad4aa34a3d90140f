"""Deposit addresses of the Deposits contract: how they are paid, looked at, swept, and what a sweep says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Raw

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import balance_call, selector, transfer_call
from evmbilling.adapters.evm.paying.instructions import read_number, view
from evmbilling.adapters.evm.rpc.pinned import ask_now
from evmbilling.adapters.evm.rpc.rpc import Call
from evmbilling.adapters.evm.signing.typed_data import address_word
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract
from evmbilling.domain.reading.evidence import ChainLog, Observation
from evmbilling.domain.selling.deposits import deposit_address
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.errors import ChainMismatch, ConfigurationError, RpcRefused
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.deposits import BalanceSource

SWEPT: Final = keccak(b"Swept(bytes32,address,address,uint256)")
SWEEP: Final = selector("sweep(bytes32,address,address,uint256)")
SWEEP_GAS: Final = 300_000
"""Units, with room: the first sweep of an address also makes it."""
COIN_GAS: Final = 60_000
_TOPICS: Final = 4
_WORD: Final = 32
_NO_HIGH_BYTES: Final = bytes(12)


def pay_deposit(order: Order) -> WalletPayload:
    """Return the transfer that pays an order at its deposit address, for payers who have a wallet. Pure."""
    address = order_address(order)
    if order.asset.is_native:
        return WalletPayload(chain_id=order.chain_id, to=address, value=order.amount, data=b"", gas=COIN_GAS)
    data = transfer_call(address, order.amount)
    return WalletPayload(chain_id=order.chain_id, to=order.asset.token, value=0, data=data, gas=order.gas)


def order_address(order: Order) -> str:
    """Return the deposit address of an order."""
    return deposit_address(order.contract, order.reference, order.treasury)


def sweep_call(reference: bytes, treasury: str, token: str, amount: int) -> bytes:
    """Return the calldata of ``sweep(reference, treasury, token, amount)``."""
    return SWEEP + reference + address_word(treasury) + address_word(token) + amount.to_bytes(_WORD, "big")


def decode_swept(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read ``Swept`` of a Deposits contract; None for any other log.

    Anybody can have it emitted for a treasury or a token of their own; what is ours is for the caller to say. The
    ``payer`` is the deposit address: who sent the money there, nobody says.
    """
    topics, data = log.topics, log.data
    if log.address != contract.address or log.chain_id != contract.chain_id:
        return None
    if len(topics) != _TOPICS or topics[0] != SWEPT or len(data) != _WORD:
        return None
    if any(topic[:12] != _NO_HIGH_BYTES for topic in topics[2:]):
        return None
    token, treasury = checksum(topics[2][12:]), checksum(topics[3][12:])
    address = _address(contract.address, topics[1], treasury)
    return Observation(
        kind="payment",
        rail=DEPOSIT,
        contract=log.address,
        reference=topics[1],
        subscription=0,
        payer=address,
        beneficiary=address,
        token=token,
        amount=int.from_bytes(data, "big"),
        treasury=treasury,
        log=log,
    )


_address = lru_cache(maxsize=4096)(deposit_address)


class DepositsByContract:
    """The part of the provider for deposit addresses: port :class:`evmbilling.ports.deposits.DepositProvider`."""

    @abstractmethod
    def chain(self, network: Network) -> ChainSource:
        """Return the shared source for a network."""

    def sweep_payload(self, order: Order, token: str, amount: int) -> WalletPayload:
        """Return the transaction that sweeps an order's deposit address; see the port. Pure."""
        data = sweep_call(order.reference, order.treasury, token, amount)
        return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=data, gas=SWEEP_GAS)

    def deposit_balances(self, network: Network, places: Sequence[tuple[str, str]]) -> Sequence[int | None]:
        """Return what addresses hold now, asked in one batch of one node; see the port.

        Raises:
            RpcUnavailable: no node answered.
            ConfigurationError: the network is not read from a node.

        """
        source = self.chain(network)
        if isinstance(source, EvmChainSource):
            answers = ask_now(source.rpc, [_balance(*place) for place in places]) if places else ()
            return [_held(answer) for answer in answers]
        if isinstance(source, BalanceSource):
            return source.balances_now(places)
        raise ConfigurationError(f"{network.name} is not read from a node", field="network")


def _balance(address: str, token: str) -> Call:
    return Call("eth_getBalance", (address, "latest")) if token == NATIVE_COIN else view(token, balance_call(address))


def _held(answer: Raw | RpcRefused) -> int | None:
    """Read a balance; a token about which there is no sensible answer holds up nobody else's order."""
    try:
        return read_number(answer)
    except (ChainMismatch, RpcRefused):
        return None
