"""Decoding the events about money and the right to it, by slicing: no ABI decoder between a log and its meaning."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.reading.evidence import ChainLog, Observation, ObservationKind

TRANSFER: Final = keccak(b"Transfer(address,address,uint256)")
PAID: Final = keccak(b"Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)")
REFUNDED: Final = keccak(b"Refunded(bytes32,bytes32,address,address,uint256)")
CHARGED: Final = keccak(b"Charged(bytes32,bytes32,address,uint256,address,uint256,address,uint256)")
MANDATE_GIVEN: Final = bytes(
    keccak(
        b"MandateGiven(bytes32,address,uint256,"
        b"(address,address,address,uint256,bytes32,uint160,uint160,uint64,uint64,uint64,address,bool,uint256))"
    )
)
MANDATE_REVOKED: Final = keccak(b"MandateRevoked(bytes32,address)")
_PAID_TOPICS: Final = 4
_CHARGED_DATA: Final = 5 * 32
_GIVEN_DATA: Final = 13 * 32
_REVOKED_TOPICS: Final = 3
_REFUNDED_DATA: Final = 2 * 32
_PAID_DATA: Final = 6 * 32
_TRANSFER_TOPICS: Final = 3
_WORD: Final = 32
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


def decode_refunded(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read ``Refunded`` of a Checkout contract; None for any other log.

    ``beneficiary`` is who got the money. The event does not say who sent it: ``treasury`` and ``payer`` are empty, and
    the token's own transfer in the same transaction tells.
    """
    topics, data = log.topics, log.data
    if log.address != contract.address or log.chain_id != contract.chain_id:
        return None
    if len(topics) != _PAID_TOPICS or topics[0] != REFUNDED or len(data) != _REFUNDED_DATA:
        return None
    if topics[3][:12] != _NO_HIGH_BYTES or data[:12] != _NO_HIGH_BYTES:
        return None
    return Observation(
        kind="refund",
        contract=log.address,
        reference=topics[1],
        subscription=0,
        payer="",
        beneficiary=_address(topics[3]),
        token=_address(data[:32]),
        amount=int.from_bytes(data[32:], "big"),
        treasury="",
        refund_id=topics[2],
        log=log,
    )


def decode_mandates(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read an event of a Mandates contract: a charge, a consent, or its end; None for any other log.

    A charge's ``beneficiary`` is its payer, and its amount what was asked for: the contract lets nothing less arrive.
    """
    if log.address != contract.address or log.chain_id != contract.chain_id or not log.topics:
        return None
    shapes = {
        CHARGED: (_PAID_TOPICS, _CHARGED_DATA, _read_charged),
        MANDATE_GIVEN: (_PAID_TOPICS, _GIVEN_DATA, _read_given),
        MANDATE_REVOKED: (_REVOKED_TOPICS, 0, _read_revoked),
    }
    topics, size, read = shapes.get(log.topics[0], (0, 0, None))
    return read(log) if read is not None and (len(log.topics), len(log.data)) == (topics, size) else None


def _read_charged(log: ChainLog) -> Observation | None:
    words = (log.topics[3], log.data[32:64], log.data[96:128])
    if not all(map(_is_address, words)):
        return None
    payer, token, treasury = (_address(word) for word in words)
    return Observation(
        kind="payment",
        rail="mandate",
        contract=log.address,
        reference=log.topics[1],
        mandate=log.topics[2],
        subscription=int.from_bytes(log.data[:32], "big"),
        payer=payer,
        beneficiary=payer,
        token=token,
        amount=int.from_bytes(log.data[64:96], "big"),
        treasury=treasury,
        log=log,
    )


def _read_given(log: ChainLog) -> Observation | None:
    words = (log.topics[2], log.data[32:64], log.data[64:96])
    if not all(map(_is_address, words)):
        return None
    payer, token, treasury = (_address(word) for word in words)
    return _about_mandate(log, "mandate_given", payer, token=token, treasury=treasury)


def _read_revoked(log: ChainLog) -> Observation | None:
    return _about_mandate(log, "mandate_revoked", _address(log.topics[2])) if _is_address(log.topics[2]) else None


def _about_mandate(
    log: ChainLog, kind: ObservationKind, payer: str, *, token: str = "", treasury: str = ""
) -> Observation:
    given = kind == "mandate_given"
    return Observation(
        kind=kind,
        rail="mandate",
        contract=log.address,
        reference=b"",
        mandate=log.topics[1],
        subscription=int.from_bytes(log.topics[3], "big") if given else 0,
        payer=payer,
        beneficiary=payer,
        token=token,
        amount=0,
        treasury=treasury,
        log=log,
    )


def is_burn(topics: tuple[bytes, ...]) -> bool:
    """Whether topics are those of an ERC-721 ``Transfer`` to nobody."""
    return len(topics) == _PAID_TOPICS and topics[0] == TRANSFER and topics[2] == bytes(_WORD)


def decode_burned(log: ChainLog, contract: PaymentContract) -> Observation | None:
    """Read the ERC-721 ``Transfer`` to nobody by which a Checkout contract burns a membership; None for any other log.

    ``payer`` held the token, ``subscription`` is its id. No money moves.
    """
    topics = log.topics
    if log.address != contract.address or log.chain_id != contract.chain_id:
        return None
    if not is_burn(topics) or log.data or topics[1][:12] != _NO_HIGH_BYTES:
        return None
    return Observation(
        kind="burn",
        contract=log.address,
        reference=b"",
        subscription=int.from_bytes(topics[3], "big"),
        payer=_address(topics[1]),
        beneficiary="",
        token="",
        amount=0,
        treasury="",
        log=log,
    )


def _is_address(word: bytes) -> bool:
    return word[:12] == _NO_HIGH_BYTES


def decode_transfer(log: ChainLog) -> Observation | None:
    """Read an ERC-20 ``Transfer``: ``payer`` sent, ``treasury`` got; None for any other log.

    ERC-721 has the same topic0 with a fourth topic and no data. Whether the emitting address is a token that we allow
    is for the caller to say.
    """
    topics, data = log.topics, log.data
    if len(topics) != _TRANSFER_TOPICS or topics[0] != TRANSFER or len(data) != _WORD:
        return None
    if any(topic[:12] != _NO_HIGH_BYTES for topic in topics[1:]):
        return None
    sender, receiver = _address(topics[1]), _address(topics[2])
    return Observation(
        kind="transfer",
        rail="erc20",
        contract=log.address,
        reference=b"",
        subscription=0,
        payer=sender,
        beneficiary=receiver,
        token=log.address,
        amount=int.from_bytes(data, "big"),
        treasury=receiver,
        log=log,
    )


@lru_cache(maxsize=4096)
def _address(word: bytes) -> str:
    return checksum(word[12:])
