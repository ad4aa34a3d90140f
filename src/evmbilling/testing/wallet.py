"""A wallet with its own key: it sends what it is handed, as a browser wallet would."""

from __future__ import annotations

import time
from typing import Any

from attrs import field, frozen

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.selling.offers import PayInstructions, WalletPayload
from evmbilling.errors import ProviderError, RpcRefused, WrongChain
from evmbilling.testing.keys import address_of, sign_text, sign_transaction, sign_typed_data
from evmbilling.testing.reverts import read_revert
from evmbilling.testing.rpc import JsonRpc

_APPROVE = keccak(b"approve(address,uint256)")[:4]
_TIP = 10**9
_POLL_SECONDS = 0.02


class Reverted(ProviderError):
    """The transaction was mined and failed; ``details`` hold ``tx_hash``, ``reason`` and ``arguments``."""

    code = "reverted"


class NotIncluded(ProviderError):
    """No block held the transaction in time; it may still come."""

    code = "not_included"
    retry_safe = True


@frozen(kw_only=True)
class SentTransaction:
    """A signed transaction: ``hash`` and ``raw`` bytes as ``0x…``, and the call that was asked for."""

    hash: str
    raw: str = field(repr=False)
    call: dict[str, str] = field(repr=False)


class Wallet:
    """A key that signs, on one node.

    Args:
        key: the private key as ``0x…``; for test chains only.
        url: the node's JSON-RPC url.

    """

    def __init__(self, key: str, url: str) -> None:
        self._key = key
        self._address = address_of(key)
        self._rpc = JsonRpc(url)

    def __repr__(self) -> str:
        return f"<Wallet {self.address}>"

    @property
    def address(self) -> str:
        """Its address (EIP-55)."""
        return self._address

    def sign(self, payload: WalletPayload, *, nonce: int | None = None) -> SentTransaction:
        """Sign exactly what the payload asks for; like any wallet it adds only nonce and fees.

        Raises:
            WrongChain: the node serves another chain than the payload is for.

        """
        call = payload.as_rpc(self.address)
        served = self._rpc.number("eth_chainId")
        if served != payload.chain_id:
            raise WrongChain(f"the wallet is on chain {served}, the payload is for {payload.chain_id}")
        base_fee = int(self._rpc.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        tx_hash, raw = sign_transaction(
            self._key,
            {
                "type": 2,
                "chainId": int(call["chainId"], 16),
                "to": call["to"],
                "value": int(call["value"], 16),
                "data": call["data"],
                "gas": int(call["gas"], 16),
                "nonce": self.next_nonce() if nonce is None else nonce,
                "maxPriorityFeePerGas": _TIP,
                "maxFeePerGas": 2 * base_fee + _TIP,
            },
        )
        return SentTransaction(hash=tx_hash, raw=raw, call=call)

    def send(self, payload: WalletPayload, *, nonce: int | None = None) -> SentTransaction:
        """Sign and send a payload; the signed bytes are kept in the answer.

        Raises:
            RpcRefused: the node did not take it into its pool.

        """
        return self.resend(self.sign(payload, nonce=nonce))

    def resend(self, sent: SentTransaction) -> SentTransaction:
        """Send signed bytes, again perhaps: after a reorg the same transaction can be mined once more."""
        self._rpc.call("eth_sendRawTransaction", sent.raw)
        return sent

    def approve(self, *, token: str, spender: str, amount: int, chain_id: int) -> SentTransaction:
        """Send an ERC-20 ``approve``."""
        data = _APPROVE + address_bytes(spender).rjust(32, b"\0") + amount.to_bytes(32)
        return self.send(WalletPayload(chain_id=chain_id, to=token, value=0, data=data, gas=100_000))

    def pay(self, instructions: PayInstructions) -> SentTransaction:
        """Send the approval, when one is needed, and then the payment; return the payment.

        Raises:
            ProviderError: there is nothing to pay any more.

        """
        if instructions.payload is None:
            raise ProviderError("this order cannot be paid any more", ledger_id=instructions.ledger_id)
        if instructions.approval is not None:
            self.send(instructions.approval)
        return self.send(instructions.payload)

    def wait(self, sent: SentTransaction, *, timeout: float = 20) -> dict[str, Any]:
        """Wait until a block holds the transaction and return its receipt, as the node sent it.

        Raises:
            Reverted: it is there and failed; the reason comes from calling it again.
            NotIncluded: it is not there after ``timeout`` seconds.

        """
        deadline = time.monotonic() + timeout
        while True:
            receipt = self._rpc.call("eth_getTransactionReceipt", sent.hash)
            if receipt is not None:
                break
            if time.monotonic() >= deadline:
                raise NotIncluded(f"no block held {sent.hash} within {timeout} seconds", tx_hash=sent.hash)
            time.sleep(_POLL_SECONDS)
        if receipt["status"] != "0x1":
            self._raise_reason(sent, int(receipt["blockNumber"], 16))
        return dict(receipt)

    def sign_typed_data(self, typed_data: dict[str, Any]) -> bytes:
        """Sign EIP-712 typed data; 65 bytes ``r ‖ s ‖ v``."""
        return sign_typed_data(self._key, typed_data)

    def sign_text(self, text: str) -> bytes:
        """Sign a text, such as a challenge to confirm this wallet; 65 bytes ``r ‖ s ‖ v``."""
        return sign_text(self._key, text)

    def next_nonce(self) -> int:
        """Return the nonce of the next transaction, those in the node's pool counted."""
        return self._rpc.number("eth_getTransactionCount", self.address, "pending")

    def _raise_reason(self, sent: SentTransaction, block: int) -> None:
        """Call it again, after its block and before it: one of the two states shows why it failed."""
        for height in (block, block - 1):
            try:
                self._rpc.call("eth_call", sent.call, hex(height))
            except RpcRefused as refused:
                reason = read_revert(refused.details.get("data"))
                raise Reverted(
                    f"the transaction reverted: {reason}",
                    tx_hash=sent.hash,
                    reason=reason.name,
                    arguments=reason.arguments,
                ) from refused
        raise Reverted("the transaction reverted, and would not now", tx_hash=sent.hash, reason="unknown", arguments=())
