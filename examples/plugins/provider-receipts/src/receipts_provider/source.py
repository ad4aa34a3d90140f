"""The source: blocks, and the receipts of all their transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, Literal, TypeVar

from attrs import evolve

from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction, ScannedRange, Tip, WatchSet
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.chain import Ready
from receipts_provider.rpc import Rpc
from receipts_provider.watching import watches

Read = TypeVar("Read")
BALANCE_OF = "0x70a08231"


class ReceiptsSource:
    """One chain by its receipts (port :class:`evmbilling.ports.chain.ChainSource`).

    A block's receipts are asked for by its hash and counted against its transactions: an answer that leaves some out,
    or that is of another block, is a ChainMismatch, so the reader asks again.
    """

    def __init__(self, chain_id: int, urls: Sequence[str], *, timeout: float, blocks: int = 50) -> None:
        self._chain_id = chain_id
        self._rpc = Rpc(urls, timeout=timeout)
        self._blocks = blocks

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        return self._chain_id

    def check_chain(self) -> None:
        """Ask the node for its chain id."""
        served = self._ask(_number, "eth_chainId")
        if served != self._chain_id:
            raise WrongChain(f"the node serves chain {served} instead of {self._chain_id}")

    def tip(self, height: int) -> Tip:
        """Return the head, the tagged blocks and the block at a height; the head must still be there afterwards."""
        self.check_chain()
        head = self.header("latest")
        if head is None:
            raise ChainMismatch("the node has no head", chain_id=self._chain_id)
        safe, finalized, there = self.header("safe"), self.header("finalized"), self.header(height)
        self._still(head)
        if there is not None and there.number > head.number:
            there = None  # mined meanwhile: this tip is of an earlier moment
        return Tip(head=head, safe=safe, finalized=finalized, there=there)

    def header(self, block: int | Literal["latest", "safe", "finalized"]) -> BlockHeader | None:
        """Return a header by number or tag; None when the node has no such block or tag."""
        try:
            found = self._ask(_block, "eth_getBlockByNumber", block if isinstance(block, str) else hex(block), False)
        except RpcRefused:
            if block in ("safe", "finalized"):
                return None
            raise
        return None if found is None else found[0]

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last`` in order, as far as the node has them."""
        found: list[BlockHeader] = []
        for number in range(first, last + 1):
            header = self.header(number)
            if header is None:
                break
            if found and header.parent_hash != found[-1].hash:
                raise ChainMismatch(f"block {number} is no child of the one below", chain_id=self._chain_id)
            found.append(header)
        return found

    def common_ancestor(self, headers: Sequence[BlockHeader], head: BlockHeader) -> BlockHeader | None:
        """Return the highest of these headers that is on the chain that ends in ``head``."""
        self._still(head)
        ours = sorted(headers, key=lambda header: header.number, reverse=True)
        found = next((header for header in ours if self.header(header.number) == header), None)
        self._still(head)
        return found

    def logs(self, headers: Sequence[BlockHeader], watch: WatchSet) -> Sequence[ChainLog]:
        """Return every watched log of exactly these blocks, in chain order."""
        return [log for header in headers for log in self._logs_of(header) if watches(watch, log)]

    @contextmanager
    def scan(
        self, first: int, last: int, watch: WatchSet, *, ready: Ready | None = None
    ) -> Iterator[Iterator[ScannedRange]]:
        """Read the blocks ``first`` to ``last``, some at a time."""
        ranges = self._ranges(first, last, watch)
        yield ranges if ready is None else (evolve(found, logs=ready(found.logs)) for found in ranges)

    def balance(self, token: str, holder: str, block: int) -> int:
        """Return what an address held of a token, or of the native coin, after a block."""
        if token == NATIVE_COIN:
            return self._ask(_number, "eth_getBalance", holder, hex(block))
        data = BALANCE_OF + holder[2:].lower().rjust(64, "0")
        return self._ask(_number, "eth_call", {"to": token, "data": data}, hex(block))

    def transactions(self, hashes: Collection[bytes]) -> Mapping[bytes, KnownTransaction]:
        """Return these transactions; a block counts when it still holds the transaction and has its receipt."""
        found = {}
        for tx_hash in hashes:
            raw = self._ask(_anything, "eth_getTransactionByHash", "0x" + tx_hash.hex())
            if raw is not None:
                found[tx_hash] = self._placed(_sent(self._chain_id, tx_hash, raw), raw)
        return found

    def close(self) -> None:
        """Let go of connections: none is kept."""

    def _ranges(self, first: int, last: int, watch: WatchSet) -> Iterator[ScannedRange]:
        for start in range(first, last + 1, self._blocks):
            end = min(start + self._blocks - 1, last)
            headers = self.headers(start, end)
            if len(headers) != end - start + 1:
                raise ChainMismatch(f"the node does not have blocks {start} to {end}", chain_id=self._chain_id)
            yield ScannedRange(first=headers[0], last=headers[-1], logs=tuple(self.logs(headers, watch)))

    def _logs_of(self, header: BlockHeader) -> Iterator[ChainLog]:
        name = "0x" + header.hash.hex()
        block = self._ask(_block, "eth_getBlockByHash", name, False)
        if block is None or self.header(header.number) != header:
            raise ChainMismatch(f"block {header.number} is no longer there", chain_id=self._chain_id)
        receipts = self._ask(list, "eth_getBlockReceipts", name)
        if [_bytes(one["transactionHash"]) for one in receipts] != block[1]:
            raise ChainMismatch(f"the receipts of block {header.number} are not all there", chain_id=self._chain_id)
        for receipt in receipts:
            if _bytes(receipt["blockHash"]) != header.hash:
                raise ChainMismatch(f"a receipt is not of block {header.number}", chain_id=self._chain_id)
            if _number(receipt["status"]) == 1:
                for ordinal, log in enumerate(receipt["logs"]):
                    yield _log(self._chain_id, header, ordinal, log)

    def _placed(self, sent: KnownTransaction, raw: Any) -> KnownTransaction:
        """Say which canonical block holds a transaction; the receipt has to name the same one."""
        if raw["blockHash"] is None:
            return sent
        header = self.header(_number(raw["blockNumber"]))
        receipt = self._ask(_anything, "eth_getTransactionReceipt", raw["hash"])
        if (
            header is None
            or receipt is None
            or {_bytes(raw["blockHash"]), _bytes(receipt["blockHash"])} != {header.hash}
        ):
            return sent
        index, succeeded = _number(raw["transactionIndex"]), _number(receipt["status"]) == 1
        return evolve(sent, block=header, index=index, succeeded=succeeded)

    def _still(self, head: BlockHeader) -> None:
        if self.header(head.number) != head:
            raise ChainMismatch("the chain changed meanwhile", chain_id=self._chain_id)

    def _ask(self, read: Callable[[Any], Read], method: str, *params: Any) -> Read:
        """Ask, and read the answer; one that is not what the method answers is no answer."""
        try:
            return read(self._rpc.call(method, *params))
        except (HTTPException, KeyError, TypeError, ValueError) as error:
            raise RpcUnavailable(f"the answer to {method} cannot be read ({type(error).__name__})") from None


def _anything(raw: Any) -> Any:
    return raw


def _sent(chain_id: int, tx_hash: bytes, raw: Any) -> KnownTransaction:
    if _bytes(raw["hash"]) != tx_hash or _number(raw.get("chainId") or hex(chain_id)) != chain_id:
        raise ChainMismatch("the node answered another transaction", chain_id=chain_id)
    return KnownTransaction(
        tx_hash=tx_hash,
        sender=checksum(_bytes(raw["from"])),
        to=None if raw["to"] is None else checksum(_bytes(raw["to"])),
        value=_number(raw["value"]),
        data=_bytes(raw["input"]),
    )


def _number(text: str) -> int:
    return int(text, 16)


def _block(raw: Any) -> tuple[BlockHeader, list[bytes]] | None:
    """Read a block: its header and the hashes of its transactions."""
    if raw is None:
        return None
    header = BlockHeader(
        number=_number(raw["number"]),
        hash=_bytes(raw["hash"]),
        parent_hash=_bytes(raw["parentHash"]),
        timestamp=datetime.fromtimestamp(_number(raw["timestamp"]), UTC),
    )
    return header, [_bytes(one) for one in raw["transactions"]]


def _log(chain_id: int, header: BlockHeader, ordinal: int, raw: Any) -> ChainLog:
    return ChainLog(
        chain_id=chain_id,
        block_number=header.number,
        block_hash=header.hash,
        block_time=header.timestamp,
        tx_hash=_bytes(raw["transactionHash"]),
        log_index=_number(raw["logIndex"]),
        ordinal=ordinal,
        address=checksum(_bytes(raw["address"])),
        topics=tuple(_bytes(topic) for topic in raw["topics"]),
        data=_bytes(raw["data"]),
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
