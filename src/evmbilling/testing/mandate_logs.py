"""The logs that the Mandates contract leaves on chain, encoded as it encodes them; for ``FakeChain.send``."""

from __future__ import annotations

from typing import Final

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.mandates.mandates import encode_mandate
from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.domain.mandates.mandate_charges import Charge
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.testing.paid_logs import FakeLog, transfer_log

_STRUCT: Final = "(address,address,address,uint256,bytes32,uint160,uint160,uint64,uint64,uint64,address,bool,uint256)"
CHARGED_TOPIC: Final = keccak(b"Charged(bytes32,bytes32,address,uint256,address,uint256,address,uint256)")
GIVEN_TOPIC: Final = keccak(f"MandateGiven(bytes32,address,uint256,{_STRUCT})".encode())
REVOKED_TOPIC: Final = keccak(b"MandateRevoked(bytes32,address)")
_PAYER, _TOKEN, _TREASURY, _SUBSCRIPTION = range(4)
_WORD: Final = 32


def charge_logs(mandate: Mandate, charge: Charge, *, first: bool = False) -> tuple[FakeLog, ...]:
    """Return what a charge emits: the consent when it is the first, the token's ``Transfer``, then ``Charged``."""
    struct = encode_mandate(mandate)
    return pulled_logs(mandate.contract, mandate.digest, struct, charge.reference, charge.amount, first=first)


def pulled_logs(
    contract: str, digest: bytes, struct: bytes, reference: bytes, amount: int, *, first: bool
) -> tuple[FakeLog, ...]:
    """Return what a charge emits, of an encoded mandate and its id."""
    payer, token, treasury = (address_in(struct, place) for place in (_PAYER, _TOKEN, _TREASURY))
    topics = (CHARGED_TOPIC, reference, digest, _word(payer))
    words = (word_in(struct, _SUBSCRIPTION), _word(token), amount.to_bytes(_WORD), _word(treasury))
    given = (consent_log(contract, digest, struct),) if first else ()
    moved = transfer_log(token, payer, treasury, amount)
    return (*given, moved, FakeLog(contract, topics, b"".join((*words, amount.to_bytes(_WORD)))))


def given_log(mandate: Mandate) -> FakeLog:
    """Return ``MandateGiven``."""
    return consent_log(mandate.contract, mandate.digest, encode_mandate(mandate))


def consent_log(contract: str, digest: bytes, struct: bytes) -> FakeLog:
    """Return ``MandateGiven`` of an encoded mandate and its id; the whole struct is its data."""
    topics = (GIVEN_TOPIC, digest, word_in(struct, _PAYER), word_in(struct, _SUBSCRIPTION))
    return FakeLog(contract, topics, struct)


def revoked_log(mandate: Mandate, *, payer: str | None = None) -> FakeLog:
    """Return ``MandateRevoked``; by another than the payer, who can revoke nothing but has the event emitted."""
    return withdrawal_log(mandate.contract, mandate.digest, payer or mandate.payer)


def withdrawal_log(contract: str, digest: bytes, payer: str) -> FakeLog:
    """Return ``MandateRevoked`` of an id."""
    return FakeLog(contract, (REVOKED_TOPIC, digest, _word(payer)))


def word_in(words: bytes, place: int) -> bytes:
    """Return the 32 bytes at a place."""
    return words[place * _WORD : (place + 1) * _WORD]


def address_in(words: bytes, place: int) -> str:
    """Return the address in the word at a place."""
    return checksum(word_in(words, place)[12:])


def _word(address: str) -> bytes:
    return address_bytes(address).rjust(_WORD, b"\0")
