"""The canonical blocks of a fake chain, and what they rule out: mined nonces and used references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from evmbilling.domain.reading.evidence import BlockHeader
from evmbilling.testing.fake_balances import Gift
from evmbilling.testing.fake_blocks import Executed, FakeBlock, FakeTransaction, build_block, make_transaction
from evmbilling.testing.fake_calls import FakeContracts
from evmbilling.testing.fake_state import FakeState

ReorgMode = Literal["drop", "reinclude", "reorder", "double_spend"]


class FakeLedger:
    """Blocks from 0 to the head; not safe among threads by itself.

    Args:
        salt: goes into every hash.
        start: the time of block 0.
        block_time: between blocks, where nothing else is said.
        contracts: execute calls.

    Attributes:
        gifts: balances that change without a log, by the block from which on they do.
        state: what the contracts know after the newest block.

    """

    def __init__(self, salt: str, start: datetime, block_time: timedelta, contracts: FakeContracts) -> None:
        self.salt = salt
        self.gifts: dict[int, list[Gift]] = {}
        self.state = FakeState()
        self._contracts = contracts
        self.block_time = block_time
        self.blocks = [build_block(salt=salt, parent=None, timestamp=start, transactions=())]
        self.receipts: dict[bytes, tuple[Executed, BlockHeader]] = {}
        self._nonces: set[tuple[str, int]] = set()
        self._counts: Counter[str] = Counter()
        self._used: set[bytes] = set()
        self._branch = 0

    @property
    def head(self) -> BlockHeader:
        """The newest header."""
        return self.blocks[-1].header

    def header(self, number: int | None) -> BlockHeader | None:
        """Return the header of a block; None when there is none of that number."""
        there = number is not None and 0 <= number < len(self.blocks)
        return self.blocks[number].header if there and number is not None else None

    def append(self, timestamp: datetime, candidates: Iterable[FakeTransaction] = ()) -> None:
        """Add a block with those candidates whose nonce is not mined yet."""
        fresh: dict[tuple[str, int], FakeTransaction] = {}
        for candidate in candidates:
            key = (candidate.sender, candidate.nonce)
            if key not in self._nonces:
                fresh.setdefault(key, candidate)
        self.state.receive(self.gifts.get(self.head.number + 1, ()))
        block = build_block(
            salt=f"{self.salt}/{self._branch}",
            parent=self.head,
            timestamp=timestamp,
            transactions=fresh.values(),
            used=self._used,
            state=self.state,
            contracts=self._contracts,
        )
        self.blocks.append(block)
        self._counts.update(sender for sender, _ in fresh)
        self._nonces |= fresh.keys()
        self._used |= block.used
        self.receipts |= {e.transaction.hash: (e, block.header) for e in block.executed}

    def fork(
        self, depth: int, *, mode: ReorgMode, keep: Collection[bytes], length: int, delay: timedelta
    ) -> list[FakeBlock]:
        """Replace the last ``depth`` blocks by ``length`` others and return the old ones."""
        orphans = self.blocks[-depth:]
        del self.blocks[-depth:]
        self._branch += 1
        for block in orphans:
            for executed in block.executed:
                del self.receipts[executed.transaction.hash]
                self._nonces.discard((executed.transaction.sender, executed.transaction.nonce))
                self._counts[executed.transaction.sender] -= 1
        self.state = self._folded()
        self._used = {reference for block in self.blocks for reference in block.used}
        content = _new_content(orphans, mode, keep, length, self.salt)
        for index in range(length):
            same = orphans[index].header.timestamp + delay if index < depth else None
            self.append(same or self.head.timestamp + self.block_time, content[index])
        return orphans

    def count(self, sender: str, block: int | None = None) -> int:
        """Return how many transactions of a sender are mined, up to a block."""
        above = () if block is None else self.blocks[block + 1 :]
        later = sum(e.transaction.sender == sender for b in above for e in b.executed)
        return self._counts[sender] - later

    def _folded(self) -> FakeState:
        """Return the state after the blocks that there are."""
        state = FakeState()
        for block in self.blocks:
            state.receive(self.gifts.get(block.header.number, ()) if block.header.number else ())
            for executed in block.executed:
                state.apply(executed.logs)
        return state


def _new_content(
    orphans: Sequence[FakeBlock], mode: ReorgMode, keep: Collection[bytes], length: int, salt: str
) -> list[list[FakeTransaction]]:
    """Return what each of the new blocks holds; what has no block of its own any more goes to the last."""
    content: list[list[FakeTransaction]] = [[] for _ in range(length)]
    for index, block in enumerate(orphans):
        target = content[-1] if mode == "reorder" else content[min(index, length - 1)]
        for executed in block.executed:
            old = executed.transaction
            if mode == "double_spend":
                target.append(make_transaction(salt=salt, sender=old.sender, nonce=old.nonce))
            elif mode != "drop" or old.hash in keep:
                target.append(old)
    if mode == "reorder":
        content[-1].reverse()
    return content
