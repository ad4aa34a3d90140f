"""Decoding the events that move money, by slicing: no ABI decoder stands between a log and its meaning."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from eth_hash.auto import keccak

from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue import PaymentContract
from evmbilling.domain.evidence import ChainLog, Observation

PAID: Final = bytes(keccak(b"Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)"))
_PAID_TOPICS: Final = 4
_PAID_DATA: Final = 6 * 32
_NO_HIGH_BYTES: Final = bytes(12)


def decode_paid(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read ``Paid`` of a Checkout contract; None for any other log.

    The emitting address and the chain are compared: a topic alone proves nothing, anybody can emit it. The number of
    topics and the length of the data are part of an event's shape (ERC-20 and ERC-721 ``Transfer`` share topic0).
    """
    topics, data = log.topics, log.data
    if log.address != contract.address or log.chain_id != contract.chain_id:
        return None
    if len(topics) != _PAID_TOPICS or topics[0] != PAID or len(data) != _PAID_DATA:
        return None
    words = (topics[3], data[:32], data[64:96], data[128:160])
    if any(word[:12] != _NO_HIGH_BYTES for word in words):
        return None
    payer, beneficiary, token, treasury = (_address(word) for word in words)
    return Observation(
        kind="payment",
        contract=log.address,
        reference=topics[1],
        subscription=int.from_bytes(topics[2], "big"),
        payer=payer,
        beneficiary=beneficiary,
        token=token,
        amount=int.from_bytes(data[96:128], "big"),
        treasury=treasury,
        log=log,
    )


@lru_cache(maxsize=4096)
def _address(word: bytes) -> str:
    return checksum(word[12:])
