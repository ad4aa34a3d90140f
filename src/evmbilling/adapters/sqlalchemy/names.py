"""Names of tables: a prefix and a schema that the host chooses."""

from __future__ import annotations

import re

from attrs import field, frozen

from evmbilling.errors import ConfigurationError

DEFAULT_PREFIX = "evmbilling_"
LONGEST_PREFIX = 20
_PREFIX = re.compile(rf"(?:[a-z][a-z0-9_]{{0,{LONGEST_PREFIX - 1}}})?", re.ASCII)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


def _check_prefix(_: object, __: object, value: str) -> None:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ConfigurationError(
            f"a table prefix is up to {LONGEST_PREFIX} of a-z 0-9 _ and starts with a letter", field="prefix"
        )
    if value.startswith("sqlite_"):
        raise ConfigurationError("SQLite keeps names that begin with sqlite_ for itself", field="prefix")


def _check_schema(_: object, __: object, value: str | None) -> None:
    if value is not None and (not isinstance(value, str) or not _SCHEMA.fullmatch(value)):
        raise ConfigurationError("a schema is up to 63 of a-z 0-9 _", field="schema")


@frozen(kw_only=True)
class Names:
    """Where the tables of one engine live; two engines with other names do not see each other.

    Attributes:
        prefix: stands before every table, index, constraint, trigger and function of ours.
        schema: a PostgreSQL schema, or an attached database of SQLite; ``None`` is the connection's own.

    """

    prefix: str = field(default=DEFAULT_PREFIX, validator=_check_prefix)
    schema: str | None = field(default=None, validator=_check_schema)

    def table(self, short: str) -> str:
        """Return the table's name with its prefix."""
        return self.prefix + short

    def qualified(self, short: str) -> str:
        """Return the name as SQL writes it; the patterns above leave nothing to quote."""
        return f"{self.schema}.{self.prefix}{short}" if self.schema else self.prefix + short

    @property
    def version_table(self) -> str:
        """The table in which Alembic keeps our revision, apart from the host's own."""
        return self.prefix + "alembic_version"

    def owns(self, table: str) -> bool:
        """Whether a table's name begins like ours."""
        return table.startswith(self.prefix)
