# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/database.md`` from the tables of the present version.

::

    python tools/database_docs.py             write it
    python tools/database_docs.py --check     exit 1 when it is not what would be written

What a column means is said by the record that the table keeps, or by ``tools/database_words.py``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import sqlalchemy as sa
from database_words import COLUMNS, OWN, RECORDS, TABLES
from docstrings import entries, plain
from written import cell, keep

from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.types import Word

PREFIX = "evmbilling_"
KINDS = {
    "PlainText": "text",
    "Uint256": "amount",
    "Digits": "digits",
    "Whole": "integer",
    "Flag": "flag",
    "UtcInstant": "instant",
    "Day": "day",
    "Octets": "bytes",
    "Word": "word",
    "Address": "address",
    "StrictJson": "JSON",
    "ExactDecimal": "decimal",
}
HEAD = f"""\
# Database

Written by `tools/database_docs.py` from the tables of this version. `evmbilling db upgrade` makes them,
`evmbilling db sql` prints the statements for a person who runs them by hand, `evmbilling db check` compares.

Reading these tables is fine, for reports and joins; names may change with a major version only. **Writing is not**: an
effect is an order, a receipt, postings and events in one transaction, and `evmbilling verify` finds what does not fit.
Names begin with `{PREFIX}`, or with the prefix of `BILLING_TABLE_PREFIX`, in the schema of `BILLING_SCHEMA`.

| kind | SQLite | PostgreSQL |
|---|---|---|
| text, word, address, digits, decimal | `TEXT` | `text COLLATE "C"` |
| amount | `TEXT`, 78 digits with leading zeros, so that order is right | `numeric(78, 0)` |
| integer | `INTEGER` | `bigint` |
| flag | `INTEGER`, 0 or 1 | `boolean` |
| instant | `TEXT`, ISO 8601 in UTC with microseconds | `timestamptz` |
| day | `TEXT` | `date` |
| bytes | `BLOB` | `bytea` |
| JSON | `TEXT`, canonical | `text`, canonical |

A word is one of a closed set, held by a `CHECK`. *?* marks what may be null, *key* the primary key.
"""


def render() -> str:
    """The whole page."""
    tables = build_tables(Names())
    lines = [HEAD]
    for table in sorted(tables.metadata.tables.values(), key=lambda table: table.name):
        lines += _table(table, table.name.removeprefix(PREFIX))
    return "\n".join(lines).rstrip() + "\n"


def _table(table: sa.Table, short: str) -> Iterator[str]:
    record = RECORDS.get(short)
    meaning = TABLES[short] if record is None else (inspect.getdoc(record) or "").partition("\n\n")[0]
    yield f"## `{short}`\n"
    yield f"{plain(' '.join(re.sub(r' ?[(]row E[0-9][)]', '', meaning).split()))}\n"
    yield "| column | kind | meaning |"
    yield "|---|---|---|"
    key = {column.name for column in table.primary_key}
    said = attributes(record)
    for column in table.columns:
        marks = (" *key*" if column.name in key else "") + (" ?" if column.nullable else "")
        kind = KINDS.get(type(column.type).__name__, type(column.type).__name__)
        yield f"| `{column.name}` | {kind}{marks} | {cell(meaning_of(short, column, said))} |"
    around = list(_around(table))
    yield from ("", *around, "") if around else ("",)


def meaning_of(short: str, column: sa.Column[object], said: dict[str, str]) -> str:
    """What a column means.

    Raises:
        LookupError: nobody says it.

    """
    place = f"{short}.{column.name}"
    text = OWN.get(place) or said.get(column.name) or COLUMNS.get(column.name)
    if text is None:
        raise LookupError(f"say in tools/database_words.py what {place} means")
    if isinstance(column.type, Word):
        words = ", ".join(f"`{word}`" for word in column.type.words)
        text = f"{text.removesuffix(': one of the words below.').rstrip('.')}: {words}."
    return text[0].upper() + text[1:]


def attributes(record: type | None) -> dict[str, str]:
    """What the docstring of a record says about its attributes, by name."""
    found = re.search(
        r"^Attributes:\n((?:    .*\n?|\n)*)", inspect.getdoc(record) or "" if record else "", re.MULTILINE
    )
    if found is None:
        return {}
    return {name: plain(meaning) for names, meaning in entries(found[1]) for name in names}


def _around(table: sa.Table) -> Iterator[str]:
    """Foreign keys and unique indexes."""
    for constraint in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
        target = constraint.referred_table.name.removeprefix(PREFIX)
        yield f"* {_names(constraint.columns)} refers to [`{target}`](#{target})"
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        if index.unique:
            where = index.dialect_options["postgresql"]["where"]
            yield f"* unique: {_names(index.columns)}" + ("" if where is None else f", where `{where}`")


def _names(columns: object) -> str:
    return ", ".join(f"`{column.name}`" for column in columns)  # type: ignore[attr-defined]  # a collection of columns


if __name__ == "__main__":
    keep("database.md", render(), tool="database_docs.py")
