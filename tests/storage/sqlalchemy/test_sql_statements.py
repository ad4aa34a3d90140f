"""What migrations write of a table is what SQLAlchemy would write of it, to the byte."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy.migrations.statements import Making, Statement
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import DEFINITIONS, build_tables, maker

DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}
NAMES = [Names(), Names(prefix=""), Names(prefix="p_", schema="money"), Names(schema="order")]


class Defined:
    """The definitions as they come, of which no table was made."""

    def __init__(self, names):
        self.names = names
        self.items = {}

    def __call__(self, short, *items):
        maker.give_names(self.names, short, items)
        self.items[short] = items


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("names", NAMES, ids=lambda names: f"{names.schema}-{names.prefix}")
@pytest.mark.sampled(strength=1)
def test_each_table_and_index_is_written_as_sqlalchemy_writes_it(names, dialect):
    defined, tables = Defined(names), build_tables(names)
    for define in DEFINITIONS:
        define(defined)
    assert len(defined.items) == len(tables.metadata.tables) > 40
    for short, items in defined.items.items():
        table, *indexes = Making(names, short, items, dialect).statements()
        made = tables[short]
        assert table == str(sa.schema.CreateTable(made).compile(dialect=dialect))
        assert sorted(indexes) == sorted(
            str(sa.schema.CreateIndex(one).compile(dialect=dialect)) for one in made.indexes
        )


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_statement_is_its_text(dialect):
    text = "CREATE TRIGGER x BEFORE DELETE ON y BEGIN SELECT RAISE(ABORT, ':no %'); END"
    assert str(Statement(text).compile(dialect=dialect)) == text
