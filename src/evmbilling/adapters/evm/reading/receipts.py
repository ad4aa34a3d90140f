"""Judging logs by the receipts of their transactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.answers import LogAnswer, LogReader, ReceiptAnswer, SeenHeader, SeenLog
from evmbilling.adapters.evm.rpc.hexes import read_hash, read_quantity, to_hex
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog
from evmbilling.errors import ChainMismatch

_SUCCESS: Final = "0x1"
_NO_INDEX: Final = 1 << 32
"""No block has so many logs; what such an index says is read with care."""


def match_receipt(
    chain_id: int,
    header: BlockHeader,
    logs: Sequence[SeenLog],
    receipt: ReceiptAnswer | None,
    *,
    watched: Filter,
    reader: LogReader | None = None,
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
    if not succeeded(receipt):
        raise _mismatch(chain_id, tx_hash, "has logs and did not succeed")
    known = {log.told.log_index: log for log in logs}
    ours = _ours(chain_id, tx_hash, receipt, watched=watched, reader=reader or LogReader(), known=known)
    if len(ours) != len(logs) or not all(own.says(log) for (_, own), log in zip(ours, logs, strict=True)):
        raise _mismatch(chain_id, tx_hash, "has other logs in its receipt")
    return [_chain_log(chain_id, header, log, ordinal) for ordinal, log in ours]


def read_block(
    chain_id: int,
    block: SeenHeader,
    receipts: Sequence[ReceiptAnswer] | None,
    *,
    watched: Filter,
    reader: LogReader | None = None,
) -> list[ChainLog]:
    """Return the watched logs of a block, from the receipts of all its transactions.

    Raises:
        ChainMismatch: receipts are missing or doubled, of another block, of a transaction that failed and has logs, or
            two logs are at one index.

    """
    header, reader = block.header, reader or LogReader()
    if receipts is None or len(receipts) < block.transactions:
        raise ChainMismatch(f"block {header.number} has fewer receipts than transactions", chain_id=chain_id)
    found = read_receipts(chain_id, header, receipts, watched=watched, reader=reader)
    if found and block.bloom is not None and not watched.admits(block.bloom):
        raise ChainMismatch(f"block {header.number} has logs that its bloom denies", chain_id=chain_id)
    return found


def read_receipts(
    chain_id: int, header: BlockHeader, receipts: Sequence[ReceiptAnswer], *, watched: Filter, reader: LogReader
) -> list[ChainLog]:
    """Return the watched logs of some transactions of a block, from their receipts.

    Raises:
        ChainMismatch: receipts are doubled, of another block, of a transaction that failed and has logs, or two logs
            are at one index.

    """
    found: list[ChainLog] = []
    for receipt in receipts:
        found += _of_receipt(chain_id, header, receipt, watched, reader)
    if len({receipt.transaction_hash for receipt in receipts}) != len(receipts):
        raise ChainMismatch(f"block {header.number} has two receipts of one transaction", chain_id=chain_id)
    if len({log.log_index for log in found}) != len(found):
        raise ChainMismatch(f"block {header.number} has two logs at one index", chain_id=chain_id)
    return sorted(found, key=_place)


def _of_receipt(
    chain_id: int, header: BlockHeader, receipt: ReceiptAnswer, watched: Filter, reader: LogReader
) -> list[ChainLog]:
    """Return the watched logs of a receipt of a block, when one of them matters."""
    tx_hash = _hash_of(chain_id, receipt)
    if not _names(receipt, tx_hash, header):
        raise _mismatch(chain_id, tx_hash, "has a receipt of another block")
    if receipt.logs and not succeeded(receipt):
        raise _mismatch(chain_id, tx_hash, "has logs and did not succeed")
    found = _plain(chain_id, header, receipt, tx_hash, watched=watched, reader=reader)
    if found is None:
        ours = _ours(chain_id, tx_hash, receipt, watched=watched, reader=reader, known={})
        if any(log.tx_hash != tx_hash or log.block_hash != header.hash for _, log in ours):
            raise _mismatch(chain_id, tx_hash, "has a log of another transaction in its receipt")
        found = [_chain_log(chain_id, header, log, ordinal) for ordinal, log in ours]
    return found if any(map(watched.matters, found)) else []


def _plain(
    chain_id: int,
    header: BlockHeader,
    receipt: ReceiptAnswer,
    tx_hash: bytes,
    *,
    watched: Filter,
    reader: LogReader,
) -> list[ChainLog] | None:
    """Return the watched logs of a receipt that writes all in one way, as nodes do; None of any other.

    Then the indexes count on, and each log names block and transaction in the words of its receipt: nothing of that is
    read again for each.
    """
    first = _first_index(receipt.logs)
    if first is None:
        return None
    place = (receipt.block_number, receipt.block_hash, receipt.transaction_hash)
    found: list[ChainLog] = []
    emitters, said, watches = watched.emitters, reader.said, watched.watches
    for ordinal, answer in enumerate(receipt.logs):
        if answer.address not in emitters and answer.address.lower() not in emitters:
            continue
        if (answer.block_number, answer.block_hash, answer.transaction_hash) != place:
            return None
        try:
            address, topics, data = said(answer)
        except ValueError:
            return None
        if watches(address, topics, data):
            log = ChainLog(
                chain_id=chain_id,
                block_number=header.number,
                block_hash=header.hash,
                block_time=header.timestamp,
                tx_hash=tx_hash,
                log_index=first + ordinal,
                ordinal=ordinal,
                address=address,
                topics=topics,
                data=data,
            )
            found.append(log)
    return found


def by_transaction(logs: Iterable[SeenLog]) -> dict[bytes, list[SeenLog]]:
    """Group logs by their transactions, in order."""
    groups: dict[bytes, list[SeenLog]] = {}
    for log in logs:
        groups.setdefault(log.tx_hash, []).append(log)
    return groups


def _ours(
    chain_id: int,
    tx_hash: bytes,
    receipt: ReceiptAnswer,
    *,
    watched: Filter,
    reader: LogReader,
    known: Mapping[str | None, SeenLog],
) -> list[tuple[int, SeenLog]]:
    """Return the watched logs of a receipt with their ordinals, in order.

    Nodes list logs in their order and write an index in one way. Then only logs of watched addresses are read, and not
    those that were read before (``known``, by index as it is written) and are told in the same words.
    """
    first = _first_index(receipt.logs)
    if first is None:
        held = sorted(map(reader.read, receipt.logs), key=_index)
        if len({log.log_index for log in held}) != len(held):
            raise _mismatch(chain_id, tx_hash, "has a receipt with two logs at one index")
        return [(ordinal, log) for ordinal, log in enumerate(held) if watched.holds(log)]
    found: list[tuple[int, SeenLog]] = []
    emitters, read, holds = watched.emitters, reader.read, watched.holds
    for ordinal, answer in enumerate(receipt.logs):
        before = known.get(answer.log_index) if known else None
        if before is not None and before.told == answer:
            found.append((ordinal, before))
        elif answer.address in emitters or answer.address.lower() in emitters:
            log = read(answer, first + ordinal)
            if holds(log):
                found.append((ordinal, log))
    return found


def _first_index(logs: Sequence[LogAnswer]) -> int | None:
    """Return the index of the first log when the others count on by one, as they do within a transaction."""
    try:
        first = int(logs[0].log_index or "", 16) if logs else 0
    except ValueError:
        return None
    told = [log.log_index for log in logs]
    plain = 0 <= first < _NO_INDEX and told == [hex(index) for index in range(first, first + len(told))]
    return first if plain else None


def _index(log: SeenLog) -> int:
    return log.log_index


def _place(log: ChainLog) -> int:
    return log.log_index


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


def _hash_of(chain_id: int, receipt: ReceiptAnswer) -> bytes:
    try:
        return read_hash(receipt.transaction_hash)
    except ValueError:
        pass
    raise ChainMismatch("a receipt names no transaction", chain_id=chain_id)


def _names(receipt: ReceiptAnswer, tx_hash: bytes, header: BlockHeader) -> bool:
    if (receipt.block_hash, receipt.block_number) == (to_hex(header.hash), hex(header.number)):
        return receipt.transaction_hash == "0x" + tx_hash.hex()
    try:
        block = (read_hash(receipt.block_hash), read_quantity(receipt.block_number))
        return read_hash(receipt.transaction_hash) == tx_hash and block == (header.hash, header.number)
    except ValueError:
        return False


def succeeded(receipt: ReceiptAnswer) -> bool:
    """Whether a receipt says that its transaction did what it was to do."""
    try:
        return receipt.status == _SUCCESS or read_quantity(receipt.status) == 1
    except ValueError:
        return False


def _mismatch(chain_id: int, tx_hash: bytes, what: str) -> ChainMismatch:
    return ChainMismatch(f"transaction 0x{tx_hash.hex()} {what}", chain_id=chain_id)
