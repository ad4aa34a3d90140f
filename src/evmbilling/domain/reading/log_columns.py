"""Many logs at once, as columns: thousands of them come, are compared and go to the database without a record of each.

A record costs its making, and more than that: the garbage collector follows it, and after some ten thousand new ones
looks at everything that the program holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, repeat
from typing import Any, Final, Self, overload

from attrs import field, fields_dict, frozen

from evmbilling.domain.reading.evidence import ChainLog

_WORD: Final = 32


@frozen(kw_only=True, eq=False)
class LogColumns(Sequence[ChainLog]):
    """Logs of one chain: each column has a value for each log, and a log's record is made when it is asked for.

    Attributes:
        topics: those of a log are one run of 32-byte words.

    """

    chain_id: int
    block_number: Sequence[int]
    block_hash: Sequence[bytes]
    block_time: Sequence[Any]
    tx_hash: Sequence[bytes]
    log_index: Sequence[int]
    ordinal: Sequence[int]
    address: Sequence[str]
    topics: Sequence[bytes] = field(repr=False)
    data: Sequence[bytes] = field(repr=False)

    @classmethod
    def of(cls, chain_id: int, logs: Sequence[ChainLog]) -> Self:
        """Write logs of a chain as columns."""
        own = {name: [getattr(log, name) for log in logs] for name in _PLAIN}
        return cls(chain_id=chain_id, topics=[b"".join(log.topics) for log in logs], **own)

    @classmethod
    def joined(cls, chain_id: int, parts: Iterable[LogColumns]) -> Self:
        """Put the logs of several together, in this order."""
        held = list(parts)
        return cls(chain_id=chain_id, **{n: list(chain.from_iterable(getattr(p, n) for p in held)) for n in _COLUMNS})

    def chosen(self, wanted: Sequence[bool]) -> LogColumns:
        """Return the logs that are wanted, each of which is told."""
        if all(wanted):
            return self
        return LogColumns(
            chain_id=self.chain_id, **{name: list(compress(getattr(self, name), wanted)) for name in _COLUMNS}
        )

    def __len__(self) -> int:
        return len(self.log_index)

    @overload
    def __getitem__(self, place: int) -> ChainLog: ...

    @overload
    def __getitem__(self, place: slice) -> LogColumns: ...

    def __getitem__(self, place: int | slice) -> ChainLog | LogColumns:
        columns = {name: getattr(self, name)[place] for name in _COLUMNS}
        if isinstance(place, slice):
            return LogColumns(chain_id=self.chain_id, **columns)
        return _record(self.chain_id, *columns.values())

    def __iter__(self) -> Iterator[ChainLog]:
        return map(_record, repeat(self.chain_id), *(getattr(self, name) for name in _COLUMNS))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LogColumns):
            return self.chain_id == other.chain_id and all(getattr(self, n) == getattr(other, n) for n in _COLUMNS)
        if isinstance(other, list | tuple):
            return len(self) == len(other) and all(own == its for own, its in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))


def _record(chain_id: int, *values: Any) -> ChainLog:
    told = dict(zip(_COLUMNS, values, strict=True))
    topics = told.pop("topics")
    words = tuple(topics[at : at + _WORD] for at in range(0, len(topics), _WORD))
    return ChainLog(chain_id=chain_id, topics=words, **told)


_COLUMNS: Final = tuple(name for name in fields_dict(LogColumns) if name != "chain_id")
_PLAIN: Final = tuple(name for name in _COLUMNS if name != "topics")
