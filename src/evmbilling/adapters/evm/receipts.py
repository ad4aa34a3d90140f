"""Judging logs by the receipt of their transaction."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from evmbilling.adapters.evm.answers import ReceiptAnswer, SeenLog, read_log
from evmbilling.adapters.evm.events import TRANSFER, is_burn
from evmbilling.adapters.evm.hexes import read_hash, read_quantity
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.evidence import BlockHeader, ChainLog, WatchSet
from evmbilling.errors import ChainMismatch

_TRANSFER_TOPICS = 3  # ERC-721 has a fourth


@frozen
class Filter:
    """A watch set for looking up."""

    addresses: frozenset[str]
    topics: frozenset[bytes]
    tokens: frozenset[str] = frozenset()
    parties: frozenset[bytes] = frozenset()
    burning: frozenset[str] = frozenset()

    @classmethod
    def of(cls, watch: WatchSet) -> Filter:
        """Make the filter of a watch set."""
        parties = frozenset(bytes(12) + address_bytes(party) for party in watch.parties)
        topics, burning = frozenset(watch.topics), frozenset(watch.burning)
        return cls(frozenset(watch.addresses), topics, frozenset(watch.tokens), parties, burning)

    def holds(self, log: SeenLog) -> bool:
        """Whether a log is watched: its address and first topic, a burn, or a token's transfer from or to a party."""
        if log.address in self.addresses and bool(log.topics) and log.topics[0] in self.topics:
            return True
        if log.address in self.burning and is_burn(log.topics):
            return True
        is_transfer = len(log.topics) == _TRANSFER_TOPICS and log.topics[0] == TRANSFER
        return is_transfer and log.address in self.tokens and not self.parties.isdisjoint(log.topics[1:])


def match_receipt(
    chain_id: int,
    header: BlockHeader,
    logs: Sequence[SeenLog],
    receipt: ReceiptAnswer | None,
    watched: Filter,
) -> list[ChainLog]:
    """Return the logs of one transaction, each with its ordinal, when its receipt confirms every one of them.

    The ordinal counts the logs of the receipt with a lower index, whatever order the node lists them in.

    Raises:
        ChainMismatch: the receipt is not there, is of another block, did not succeed, differs in a log, or holds a
            watched log that the query for the block left out.

    """
    tx_hash = logs[0].tx_hash
    if receipt is None:
        raise _mismatch(chain_id, tx_hash, "has no receipt")
    if not _names(receipt, tx_hash, header):
        raise _mismatch(chain_id, tx_hash, "has a receipt of another block")
    if not _succeeded(receipt):
        raise _mismatch(chain_id, tx_hash, "has logs and did not succeed")
    held = sorted((read_log(answer) for answer in receipt.logs), key=lambda log: log.log_index)
    if len({log.log_index for log in held}) != len(held):
        raise _mismatch(chain_id, tx_hash, "has a receipt with two logs at one index")
    if [log for log in held if watched.holds(log)] != list(logs):
        raise _mismatch(chain_id, tx_hash, "has other logs in its receipt")
    ordinals = {log.log_index: ordinal for ordinal, log in enumerate(held)}
    return [_chain_log(chain_id, header, log, ordinals[log.log_index]) for log in logs]


def _chain_log(chain_id: int, header: BlockHeader, log: SeenLog, ordinal: int) -> ChainLog:
    return ChainLog(
        chain_id=chain_id,
        block_number=header.number,
        block_hash=header.hash,
        block_time=header.timestamp,
        tx_hash=log.tx_hash,
        log_index=log.log_index,
        ordinal=ordinal,
        address=log.address,
        topics=log.topics,
        data=log.data,
    )


def _names(receipt: ReceiptAnswer, tx_hash: bytes, header: BlockHeader) -> bool:
    try:
        block = (read_hash(receipt.block_hash), read_quantity(receipt.block_number))
        return read_hash(receipt.transaction_hash) == tx_hash and block == (header.hash, header.number)
    except ValueError:
        return False


def _succeeded(receipt: ReceiptAnswer) -> bool:
    try:
        return read_quantity(receipt.status) == 1
    except ValueError:
        return False


def _mismatch(chain_id: int, tx_hash: bytes, what: str) -> ChainMismatch:
    return ChainMismatch(f"transaction 0x{tx_hash.hex()} {what}", chain_id=chain_id)
