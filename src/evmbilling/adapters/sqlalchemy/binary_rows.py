"""Rows in the binary form of PostgreSQL's COPY, made of whole columns: for thousands of rows at once.

The driver asks for each value of each row what kind it is and how that is written. Among many rows most columns have
few different values: each of those is written once here, and a row is put together from what is written already.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice, repeat
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from evmbilling.adapters.sqlalchemy.columnwise import Same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_ROWS: Final = 512
"""Rows of a message: the server writes the first ones while the next are put together."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = _EPOCH.toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_COUNT = Struct(">h").pack
_LENGTH = Struct(">i").pack
_LONG = Struct(">iq").pack
_SHORT = Struct(">ii").pack


def can_write(kinds: Sequence[str]) -> bool:
    """Whether rows of columns of these types can be written here."""
    return all(kind in _FIELDS for kind in kinds)


def binary_rows(kinds: Sequence[str], columns: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Yield what COPY is sent for rows that are given as columns of checked values.

    Args:
        kinds: the type of each column, as PostgreSQL names it.
        columns: of one length; what is the same in all rows is written before the next value, once for all.

    """
    yield _SIGNATURE
    before, written = _COUNT(len(kinds)), []
    for kind, column in zip(kinds, columns, strict=True):
        write = _FIELDS[kind]
        if isinstance(column, Same):
            before += _NULL if column.value is None else write(column.value)
            continue
        written.append(_written(before, write, column))
        before = b""
    if before:
        written.append(repeat(before, len(columns[0])))
    rows = zip(*written, strict=True)
    while part := b"".join(chain.from_iterable(islice(rows, _ROWS))):
        yield part
    yield _END


def _written(before: bytes, write: Callable[[Any], bytes], column: Sequence[Any]) -> Iterable[bytes]:
    """Return the values of a column as they are written, behind what stands before them in every row."""
    if write is _octets and None not in column and len(set(map(len, column))) == 1:
        # Hashes, amounts: their length is written once.
        return map((before + _LENGTH(len(column[0]))).__add__, column)
    known = {value: before + (_NULL if value is None else write(value)) for value in set(column)}
    return map(known.__getitem__, column)


def _octets(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


def _text(value: str) -> bytes:
    return _octets(value.encode())


def _whole(value: int) -> bytes:
    return _LONG(8, value)


def _flag(value: bool) -> bytes:
    return _octets(b"\1" if value else b"\0")


def _instant(value: datetime) -> bytes:
    return _LONG(8, (value - _EPOCH) // _MICROSECOND)


def _day(value: date) -> bytes:
    return _SHORT(4, value.toordinal() - _FIRST_DAY)


_FIELDS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "text": _text,
    "int8": _whole,
    "bool": _flag,
    "bytea": _octets,
    "timestamptz": _instant,
    "date": _day,
}
"""Each value with its length before it. Amounts (``numeric``) are left to the driver."""
