"""Sending our own transactions to a fake chain: port :class:`evmbilling.ports.transmitter.Transmitter`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import rlp  # type: ignore[import-untyped]  # it ships no types

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.signing.signatures import recover_signer
from evmbilling.adapters.evm.transmitter import sign_version
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import FeeMarket, Fees, MinedIn, SendOutcome, Transmission
from evmbilling.errors import InputError, ProviderError
from evmbilling.ports.signer import Signer
from evmbilling.ports.transmitter import RawTransaction, Rehearsal
from evmbilling.testing.fake_blocks import Executed, FakeTransaction
from evmbilling.testing.fake_calls import FakeCall, Reverted

if TYPE_CHECKING:
    from evmbilling.testing.fake_chain import FakeChain

GWEI: Final = 10**9
BASE_FEE: Final = GWEI
"""It never changes here."""
PLAIN_GAS: Final = 21_000
CALL_GAS: Final = 120_000
"""What every call with data uses."""
_TYPE_2: Final = 2


class FakeTransmitter:
    """One fake chain, for transactions of ours."""

    def __init__(self, chain: FakeChain, signer_for: Callable[[SecretRef], Signer]) -> None:
        self._chain, self._signer_for = chain, signer_for

    def __repr__(self) -> str:
        return f"<FakeTransmitter chain_id={self._chain.chain_id}>"

    def address(self, signer: SecretRef) -> str:
        """Return the address of a key that can move money."""
        return self._signer_for(signer).address

    def sign(self, transmission: Transmission, nonce: int, fees: Fees, *, cancel: bool = False) -> RawTransaction:
        """Sign one version: the same bytes as for a real node."""
        return sign_version(self._signer_for(transmission.signer), transmission, nonce, fees, cancel=cancel)

    def send(self, raw: bytes) -> SendOutcome:
        """Put signed bytes into the pool."""
        try:
            return self._chain.submit(read_raw(raw, self._chain.chain_id))
        except ProviderError:
            return "no_answer"
        except InputError:
            return "refused"

    def rehearse(self, transmission: Transmission) -> Rehearsal:
        """Run the transaction on the newest block."""
        call = FakeCall(to=transmission.to, value=transmission.value, data=transmission.data)
        try:
            self._chain.try_call(transmission.sender, call)
        except Reverted:
            return Rehearsal(problem="reverts")
        return Rehearsal(gas=gas_of(call))

    def market(self) -> FeeMarket:
        """Return what gas costs: the same always."""
        return FeeMarket(base_fee=BASE_FEE, priority_fee=GWEI, gas_price=2 * GWEI)

    def balance(self, address: str) -> int:
        """Return how much native coin an address holds for gas, in wei."""
        return self._chain.coins(address)

    def heights(self) -> Heights:
        """Return the head and the tags."""
        tip = self._chain.tip(0)
        return Heights(
            head=tip.head.number,
            safe=None if tip.safe is None else tip.safe.number,
            finalized=None if tip.finalized is None else tip.finalized.number,
        )

    def nonce(self, address: str, block: int | None = None) -> int:
        """Return how many transactions of an address are mined, up to a block, or the latest."""
        return self._chain.mined_count(address, block)

    def pooled(self, address: str) -> int | None:
        """Return how many transactions of an address are mined or wait for it, without a gap."""
        return self._chain.pooled_count(address)

    def mined(self, hashes: Collection[bytes]) -> Mapping[bytes, MinedIn]:
        """Return where these transactions are mined."""
        return {tx_hash: found for tx_hash in hashes if (found := self._mined(tx_hash)) is not None}

    def pending(self, tx_hash: bytes) -> bool:
        """Say whether the pool holds a transaction."""
        return tx_hash in self._chain.pending

    def _mined(self, tx_hash: bytes) -> MinedIn | None:
        executed, block = self._chain.receipt(tx_hash), self._chain.block_of(tx_hash)
        if executed is None or block is None:
            return None
        return MinedIn(
            tx_hash=tx_hash,
            block_number=block.number,
            block_hash=block.hash,
            block_time=block.timestamp,
            succeeded=executed.status == 1,
            gas_paid=_paid(executed),
        )


def gas_of(call: FakeCall) -> int:
    """Return the units that a call uses."""
    return CALL_GAS if call.data else PLAIN_GAS


def read_raw(raw: bytes, chain_id: int) -> FakeTransaction:
    """Return signed bytes of type 2 (EIP-1559) as a transaction of the fake chain.

    Raises:
        InputError: another type or chain, or a signature of nobody.

    """
    if raw[:1] != bytes((_TYPE_2,)):
        raise InputError("the fake chain takes transactions of type 2", field="raw")
    try:
        fields: list[Any] = rlp.decode(raw[1:])
        chain, nonce, priority, most, _, to, value, data, _, parity, r, s = fields
    except (rlp.DecodingError, ValueError):
        raise InputError("this is no transaction", field="raw") from None
    if int.from_bytes(chain) != chain_id:
        raise InputError("this is a transaction of another chain", field="raw")
    signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes((27 + int.from_bytes(parity),))
    sender = recover_signer(keccak(raw[:1] + rlp.encode(fields[:9])), signature)
    if sender is None:
        raise InputError("nobody signed this", field="raw")
    return FakeTransaction(
        hash=keccak(raw),
        sender=sender,
        nonce=int.from_bytes(nonce),
        logs=(),
        call=FakeCall(to=checksum(to), value=int.from_bytes(value), data=bytes(data)),
        fees=(int.from_bytes(most), int.from_bytes(priority)),
    )


def _paid(executed: Executed) -> int:
    sent = executed.transaction
    if sent.call is None or sent.fees is None:
        return 0
    most, priority = sent.fees
    return gas_of(sent.call) * min(most, BASE_FEE + priority)
