"""The logs that the Deposits contract leaves on chain, encoded as it encodes them; for ``FakeChain.send``."""

from __future__ import annotations

from typing import Final

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.selling.deposits import deposit_address
from evmbilling.testing.paid_logs import FakeLog, transfer_log

SWEPT_TOPIC: Final = keccak(b"Swept(bytes32,address,address,uint256)")
_WORD: Final = 32


def swept_logs(contract: str, reference: bytes, treasury: str, *, token: str, amount: int) -> tuple[FakeLog, ...]:
    """Return what a sweep of tokens emits: the token's ``Transfer``, then ``Swept``."""
    moved = transfer_log(token, deposit_address(contract, reference, treasury), treasury, amount)
    topics = (SWEPT_TOPIC, reference, _word(token), _word(treasury))
    return moved, FakeLog(contract, topics, amount.to_bytes(_WORD))


def _word(address: str) -> bytes:
    return address_bytes(address).rjust(_WORD, b"\0")
