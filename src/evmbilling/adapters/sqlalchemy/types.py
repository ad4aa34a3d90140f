"""Column types that hold the same value on SQLite and on PostgreSQL, or refuse it before the database sees it.

On SQLite every type is TEXT, INTEGER or BLOB, so that tables can be STRICT. Text compares byte by byte on both
databases (``COLLATE "C"`` on PostgreSQL), so equality and order are the same.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from evmbilling.adapters.sqlalchemy.canonical import decode_json, encode_json
from evmbilling.adapters.sqlalchemy.values import (
    LARGEST,
    instant_or_none,
    instant_text,
    read_instant,
    text_or_none,
    whole_or_none,
    write_address,
    write_instant,
    write_text,
    write_uint256,
    write_whole,
)
from evmbilling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect

DIGITS = 78
"""2**256 - 1 has 78 decimal digits."""


_ONE_STEP: dict[Any, Any] = {
    write_text: text_or_none,
    write_whole: whole_or_none,
    write_instant: instant_or_none,
}
"""Writers that let ``None`` through by themselves: they run for every value of every hot statement."""


def _is_postgresql(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"


class PlainText(TypeDecorator[Any]):
    """Text that both databases hold and compare alike; the base of the other types.

    Subclasses give one writer and one reader function, and a storage type per database.
    """

    impl = sa.Text
    cache_ok = True
    on_postgresql: ClassVar[TypeEngine[Any]] = sa.Text(collation="C")
    on_sqlite: ClassVar[TypeEngine[Any]] = sa.Text()

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the storage type of this database."""
        return self.on_postgresql if _is_postgresql(dialect) else self.on_sqlite

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002  - some types look at the dialect
        """Return the function that checks a value and turns it into what the driver is given."""
        return write_text

    def reader(self, dialect: Dialect) -> Callable[[Any], Any] | None:  # noqa: ARG002  - some types look at the dialect
        """Return the function that turns the driver's answer into our value; ``None`` when they are the same."""
        return None

    def check(self, column: str, *, on_postgresql: bool) -> str | None:  # noqa: ARG002  - each type looks at its own
        """Return the CHECK that refuses what somebody writes around us; ``None`` when the column type does."""
        return None

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Let ``None`` through and check the rest."""
        write = self.writer(dialect)
        return _ONE_STEP.get(write) or (lambda value: None if value is None else write(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:  # noqa: ARG002
        """Let ``None`` through and convert the rest."""
        read = self.reader(dialect)
        return None if read is None else lambda value: None if value is None else read(value)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:  # noqa: ARG002  - SQLAlchemy's signature
        """Check what a column is compared with by the same rules."""
        return self


class Uint256(PlainText):
    """An exact amount: ``numeric(78, 0)`` on PostgreSQL, 78 zero-padded digits on SQLite; an ``int`` in Python."""

    cache_ok = True
    on_postgresql = sa.Numeric(DIGITS, 0)

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Check, and pad on SQLite: text order is then the order of the numbers."""
        if _is_postgresql(dialect):
            return write_uint256
        return lambda value: f"{write_uint256(value):0{DIGITS}d}"

    def check(self, column: str, *, on_postgresql: bool) -> str:
        """NaN passes ``>= 0`` on PostgreSQL and poisons a sum; on SQLite only 78 digits compare as numbers do."""
        if on_postgresql:
            return f"{column} >= 0 AND {column} < {LARGEST + 1} AND {column} <> 'NaN'::numeric"
        return f"length({column}) = {DIGITS} AND {column} NOT GLOB '*[^0-9]*' AND {column} <= '{LARGEST}'"

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return an ``int`` from digits or from a whole ``Decimal``; both conversions are exact."""
        return int


class Digits(PlainText):
    """A whole number of any size and sign, as plain digits on both databases: sums, which Python makes."""

    cache_ok = True

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Accept an ``int`` only."""

        def write(value: object) -> str:
            if type(value) is not int:
                raise InputError("a whole number was expected")
            return str(value)

        return write

    def check(self, column: str, *, on_postgresql: bool) -> str:
        """Refuse what is not the one way to write a number."""
        if on_postgresql:
            return f"{column} ~ '^(0|-?[1-9][0-9]*)$'"
        bare = f"ltrim({column}, '-')"
        return (
            f"{column} = '0' OR ({bare} GLOB '[1-9]*' AND {bare} NOT GLOB '*[^0-9]*'"
            f" AND length({column}) - length({bare}) <= 1)"
        )

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return an ``int``."""
        return int


class Whole(PlainText):
    """A whole number of at most 64 bits."""

    cache_ok = True
    on_postgresql = sa.BigInteger()
    on_sqlite = sa.Integer()

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """PostgreSQL would round 1.5 to 2: refuse it here."""
        return write_whole


class Flag(PlainText):
    """True or false; 1 or 0 on SQLite."""

    cache_ok = True
    on_postgresql = sa.Boolean()
    on_sqlite = sa.Integer()

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Accept ``True`` and ``False`` only."""
        convert = bool if _is_postgresql(dialect) else int

        def write(value: object) -> bool | int:
            if not isinstance(value, bool):
                raise InputError("true or false was expected")
            return convert(value)

        return write

    def check(self, column: str, *, on_postgresql: bool) -> str | None:
        """SQLite has no boolean."""
        return None if on_postgresql else f"{column} IN (0, 1)"

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return a ``bool``."""
        return bool


class UtcInstant(PlainText):
    """An instant in UTC with microseconds: ``timestamptz`` on PostgreSQL, sortable ISO 8601 text on SQLite."""

    cache_ok = True
    on_postgresql = postgresql.TIMESTAMP(timezone=True)

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Refuse a naive datetime; keep the microseconds."""
        return write_instant if _is_postgresql(dialect) else instant_text

    def check(self, column: str, *, on_postgresql: bool) -> str | None:
        """Another form would sort elsewhere."""
        pattern = "[0-9]" * 4 + "-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]." + "[0-9]" * 6 + "Z"
        return None if on_postgresql else f"{column} GLOB '{pattern}'"

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Return an aware datetime in UTC."""
        return read_instant if _is_postgresql(dialect) else datetime.fromisoformat


class Day(PlainText):
    """A calendar day: ``date`` on PostgreSQL, ``YYYY-MM-DD`` on SQLite."""

    cache_ok = True
    on_postgresql = sa.Date()

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:
        """Refuse a datetime: it is a moment, not a day."""
        convert: Callable[[date], object] = (lambda day: day) if _is_postgresql(dialect) else date.isoformat

        def write(value: object) -> object:
            if type(value) is not date:
                raise InputError("a day was expected")
            return convert(value)

        return write

    def check(self, column: str, *, on_postgresql: bool) -> str | None:
        """Another form would sort elsewhere."""
        return None if on_postgresql else f"{column} GLOB '{'[0-9]' * 4}-[0-1][0-9]-[0-3][0-9]'"

    def reader(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Return a ``date``."""
        return None if _is_postgresql(dialect) else date.fromisoformat


class Octets(PlainText):
    """Bytes, of one length when one is given: hashes, references, digests."""

    cache_ok = True
    on_postgresql = postgresql.BYTEA()
    on_sqlite = sa.LargeBinary()

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Refuse text and another length."""
        length = self.length

        def write(value: object) -> bytes:
            if not isinstance(value, bytes) or (length is not None and len(value) != length):
                raise InputError(f"{length or 'some'} bytes were expected")
            return bytes(value)

        return write

    def check(self, column: str, *, on_postgresql: bool) -> str | None:
        """A hash of another length is no hash."""
        measure = "octet_length" if on_postgresql else "length"
        return None if self.length is None else f"{measure}({column}) = {self.length}"

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return ``bytes``: a driver may answer with a memoryview."""
        return bytes


class Word(PlainText):
    """One of a closed set of words. The words are spelt out, so that a migration does not change with the code."""

    cache_ok = True

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Accept these words only; a member of a ``StrEnum`` is stored as its plain word."""
        words = frozenset(self.words)

        def write(value: object) -> str:
            if value not in words:
                raise InputError(f"one of {', '.join(sorted(words))} was expected")
            return str(value)

        return write

    def check(self, column: str, *, on_postgresql: bool) -> str:  # noqa: ARG002
        """An unknown word in a row would be a state that no rule knows."""
        return f"{column} IN ({', '.join(repr(word) for word in self.words)})"


class Address(PlainText):
    """An EVM address: ``0x`` and 40 hex digits, in the EIP-55 form that the domain writes.

    The database looks at each letter, unless told otherwise: where rows are many and our decoder alone writes them,
    from 20 bytes, length and beginning have to do. Those are checked here as well, because the database would not say
    which of the many it refuses.
    """

    cache_ok = True

    def __init__(self, *, letters: bool = True) -> None:
        super().__init__()
        self.letters = letters

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Refuse what has not the form, where the database looks at no more than that."""
        return write_text if self.letters else write_address

    def check(self, column: str, *, on_postgresql: bool) -> str:
        """Look-alikes (full-width digits, ``0X``) are refused by the database too."""
        if on_postgresql:
            rough = f"octet_length({column}) = 42 AND substr({column}, 1, 2) = '0x'"
            return f"{column} ~ '^0x[0-9a-fA-F]{{40}}$'" if self.letters else rough
        rough = f"length({column}) = 42 AND {column} GLOB '0x*'"
        return f"{rough} AND substr({column}, 3) NOT GLOB '*[^0-9a-fA-F]*'" if self.letters else rough


class StrictJson(PlainText):
    """Canonical JSON as text on both databases: an answer that is stored comes back byte for byte."""

    cache_ok = True

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Refuse floats."""
        return encode_json

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Refuse fractions, NaN and Infinity that somebody wrote around us."""
        return decode_json


class ExactDecimal(PlainText):
    """A finite decimal as plain digits: fiat estimates, which no database ever computes with."""

    cache_ok = True

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Refuse floats, NaN and Infinity."""

        def write(value: object) -> str:
            if not isinstance(value, Decimal) or not value.is_finite():
                raise InputError("a finite decimal was expected")
            return format(value, "f")

        return write

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return a ``Decimal``."""
        return Decimal
