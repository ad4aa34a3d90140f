"""Sending our own transactions through the nodes of a chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, runtime_checkable

import msgspec
from msgspec import Raw

from evmbilling.adapters.evm.rpc.answers import BLOCK, decode_answer
from evmbilling.adapters.evm.rpc.hexes import read_hash, read_quantity, read_timestamp, to_hex
from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.transactions import Unsigned, sign_transaction
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import FeeMarket, Fees, MinedIn, SendOutcome, Transmission
from evmbilling.errors import ChainMismatch, ConfigurationError, RpcRefused, RpcUnavailable
from evmbilling.ports.signer import Signer
from evmbilling.ports.transmitter import RawTransaction, Rehearsal

_GWEI: Final = 10**9
_CANCEL_GAS: Final = 21_000
_MOST_POOLED: Final = 10_000
"""More than any pool keeps of one account (geth ``txpool.globalslots``: 5120 of all)."""
_SEND_OUTCOMES: Final[Mapping[RefusalKind, SendOutcome]] = {
    RefusalKind.KNOWN: "known",
    RefusalKind.NONCE_USED: "nonce_used",
    RefusalKind.UNDERPRICED: "underpriced",
}


@runtime_checkable
class DigestSigner(Protocol):
    """A signer that signs 32 bytes, as a key management service does."""

    @property
    def address(self) -> str:
        """The EIP-55 address of the key."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes; return ``r ‖ s ‖ v``."""
        ...


class _SeenReceipt(msgspec.Struct, rename="camel"):
    transaction_hash: str
    block_hash: str | None
    block_number: str | None
    status: str | None = None
    gas_used: str = "0x0"
    effective_gas_price: str = "0x0"


class _SeenTransaction(msgspec.Struct, rename="camel"):
    block_hash: str | None = None


class _SeenFees(msgspec.Struct, rename="camel"):
    base_fee_per_gas: str | None = None


_RECEIPT: Final = msgspec.json.Decoder(_SeenReceipt | None)
_TRANSACTION: Final = msgspec.json.Decoder(_SeenTransaction | None)
_FEES: Final = msgspec.json.Decoder(_SeenFees | None)
_TEXT: Final = msgspec.json.Decoder(str)


class EvmTransmitter:
    """Port :class:`evmbilling.ports.transmitter.Transmitter` over JSON-RPC.

    Args:
        signer_for: gives the signer behind a reference.

    """

    def __init__(self, rpc: JsonRpc, signer_for: Callable[[SecretRef], Signer]) -> None:
        self._rpc, self._signer_for = rpc, signer_for

    def __repr__(self) -> str:
        return f"<EvmTransmitter chain_id={self._rpc.chain_id}>"

    def address(self, signer: SecretRef) -> str:
        """Return the address of a key that can move money."""
        return self._signer_for(signer).address

    def sign(self, transmission: Transmission, nonce: int, fees: Fees, *, cancel: bool = False) -> RawTransaction:
        """Sign one version; the key must still be the sender's."""
        return sign_version(self._signer_for(transmission.signer), transmission, nonce, fees, cancel=cancel)

    def send(self, raw: bytes) -> SendOutcome:
        """Send to one node, once: what its answer means is for the chain to say.

        Nodes that have it, or have mined it, answer with an error; so does one that was asked before and whose first
        reply was lost.
        """
        try:
            self._rpc.call("eth_sendRawTransaction", to_hex(raw), attempts=1)
        except RpcRefused as refused:
            return _SEND_OUTCOMES.get(refusal_of(refused).kind, "refused")
        except RpcUnavailable:
            return "no_answer"
        return "accepted"

    def rehearse(self, transmission: Transmission) -> Rehearsal:
        """Let a node estimate the gas; a revert is a problem, not an error."""
        call = {
            "from": transmission.sender,
            "to": transmission.to,
            "value": hex(transmission.value),
            "data": to_hex(transmission.data),
        }
        try:
            return Rehearsal(gas=_number(self._rpc.call("eth_estimateGas", call)))
        except RpcRefused as refused:
            words = refused.message.lower()
            return Rehearsal(problem="relayer_funds" if "insufficient funds" in words else "reverts")

    def market(self) -> FeeMarket:
        """Return what gas costs now; where a node suggests no tip, it is a twentieth of the base fee."""
        latest = decode_answer(_FEES, self._rpc.call("eth_getBlockByNumber", "latest", False), "block")
        if latest is None:
            raise ChainMismatch("the node has no latest block")
        base_fee = None if latest.base_fee_per_gas is None else read_quantity(latest.base_fee_per_gas)
        answers = self._rpc.batch([Call("eth_gasPrice"), Call("eth_maxPriorityFeePerGas")])
        gas_price = _GWEI if isinstance(answers[0], RpcRefused) else _number(answers[0])
        suggested = max(1, (base_fee or 0) // 20) if isinstance(answers[1], RpcRefused) else _number(answers[1])
        return FeeMarket(base_fee=base_fee, priority_fee=suggested, gas_price=gas_price)

    def balance(self, address: str) -> int:
        """Return how much native coin an address holds, in wei."""
        return _number(self._rpc.call("eth_getBalance", address, "latest"))

    def heights(self) -> Heights:
        """Return the head and, where the node has them, its tags."""
        calls = [Call("eth_getBlockByNumber", (tag, False)) for tag in ("latest", "safe", "finalized")]
        found = [None if isinstance(raw, RpcRefused) else _block_number(raw) for raw in self._rpc.batch(calls)]
        if found[0] is None:
            raise ChainMismatch("the node has no latest block")
        return Heights(head=found[0], safe=found[1], finalized=found[2])

    def nonce(self, address: str, block: int | None = None) -> int:
        """Return how many transactions of an address are mined, up to a block, or the latest."""
        at = "latest" if block is None else hex(block)
        return _number(self._rpc.call("eth_getTransactionCount", address, at))

    def pooled(self, address: str) -> int | None:
        """Return how many transactions of an address are mined or wait for it, without a gap: the most any node tells.

        What one pool has dropped another may keep, so every node is asked. One that counts less than it has mined, or
        more than a pool holds of an account, tells nothing.

        Raises:
            RpcUnavailable: no node answered.

        """
        calls = [Call("eth_getTransactionCount", (address, tag)) for tag in ("latest", "pending")]
        answered, told = False, list[int]()
        for node in self._rpc.each_node():
            try:
                mined, pooled = [None if isinstance(raw, RpcRefused) else _number(raw) for raw in node.batch(calls)]
            except (RpcUnavailable, ChainMismatch):
                continue
            answered = True
            if mined is not None and pooled is not None and 0 <= pooled - mined <= _MOST_POOLED:
                told.append(pooled)
        if not answered:
            chain_id = self._rpc.chain_id
            raise RpcUnavailable(f"no node of chain {chain_id} told what it holds", chain_id=chain_id)
        return max(told, default=None)

    def mined(self, hashes: Collection[bytes]) -> Mapping[bytes, MinedIn]:
        """Return where these transactions are mined.

        A receipt counts when the block that it names is the canonical one at that height.

        Raises:
            ChainMismatch: an answer is malformed, or is another transaction's.

        """
        wanted = list(hashes)
        answers = self._results([Call("eth_getTransactionReceipt", (to_hex(tx_hash),)) for tx_hash in wanted])
        found: dict[bytes, MinedIn] = {}
        for tx_hash, raw in zip(wanted, answers, strict=True):
            receipt = decode_answer(_RECEIPT, raw, "receipt")
            if receipt is not None and receipt.block_number is not None and receipt.block_hash is not None:
                place = self._place(tx_hash, receipt)
                if place is not None:
                    found[tx_hash] = place
        return found

    def pending(self, tx_hash: bytes) -> bool:
        """Say whether the node holds a transaction that is not mined."""
        answer = self._results([Call("eth_getTransactionByHash", (to_hex(tx_hash),))])[0]
        seen = decode_answer(_TRANSACTION, answer, "transaction")
        return seen is not None and seen.block_hash is None

    def _place(self, tx_hash: bytes, receipt: _SeenReceipt) -> MinedIn | None:
        number, own = read_quantity(receipt.block_number), read_hash(receipt.block_hash)
        if read_hash(receipt.transaction_hash) != tx_hash:
            raise ChainMismatch("the node answered the receipt of another transaction")
        block = decode_answer(BLOCK, self._rpc.call("eth_getBlockByNumber", hex(number), False), "block")
        if block is None or block.hash is None or read_hash(block.hash) != own:
            return None
        stamp: datetime = read_timestamp(block.timestamp)
        return MinedIn(
            tx_hash=tx_hash,
            block_number=number,
            block_hash=own,
            block_time=stamp.astimezone(UTC),
            succeeded=receipt.status == "0x1",
            gas_paid=read_quantity(receipt.gas_used) * read_quantity(receipt.effective_gas_price),
        )

    def _results(self, calls: list[Call]) -> list[Raw]:
        results: list[Raw] = []
        for result in self._rpc.batch(calls):
            if isinstance(result, RpcRefused):
                raise result
            results.append(result)
        return results


def sign_version(signer: Signer, transmission: Transmission, nonce: int, fees: Fees, *, cancel: bool) -> RawTransaction:
    """Sign one version of a transmission with the key of its sender.

    Raises:
        ConfigurationError: the key signs no transactions, or it is another address's.

    """
    if not isinstance(signer, DigestSigner):
        raise ConfigurationError("this signer signs typed data only, no transactions", field="relayer")
    if signer.address != transmission.sender:
        raise ConfigurationError("the relayer's key is another one than the transaction was made for", field="relayer")
    raw, tx_hash = sign_transaction(
        Unsigned(
            chain_id=transmission.chain_id,
            nonce=nonce,
            to=transmission.sender if cancel else transmission.to,
            value=0 if cancel else transmission.value,
            data=b"" if cancel else transmission.data,
            gas=_CANCEL_GAS if cancel else transmission.gas,
            fees=fees,
        ),
        signer.sign_digest,
    )
    return RawTransaction(raw=raw, tx_hash=tx_hash)


def _number(raw: Raw) -> int:
    return read_quantity(decode_answer(_TEXT, raw, "number"))


def _block_number(raw: Raw) -> int | None:
    block = decode_answer(BLOCK, raw, "block")
    return None if block is None or block.number is None else read_quantity(block.number)
