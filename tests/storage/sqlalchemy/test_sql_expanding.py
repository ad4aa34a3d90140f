"""An upgrade only adds, so workers of the version before go on while it runs and after it, until they are restarted."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict

import pytest

from evmbilling.adapters.sqlalchemy.engines import open_engine
from evmbilling.adapters.sqlalchemy.migrating import check, upgrade
from evmbilling.adapters.sqlalchemy.migrations import versions

REVISIONS = [
    importlib.import_module(f"{versions.__name__}.{module.name}").revision
    for module in sorted(pkgutil.iter_modules(versions.__path__), key=lambda module: module.name)
]

ON_PURPOSE = {"0006": ["evmbilling_wallets is newly unique by address"]}
"""A wallet has one owner from then on: whoever gives it to a second one is refused, which is what is wanted."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/growing.db"
    return request.getfixturevalue("postgres_url")


COLUMNS = {
    "sqlite": """
        SELECT t.name, c.name, c.type, c."notnull", c.dflt_value
        FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'
    """,
    "postgresql": """
        SELECT t.relname, c.attname, format_type(c.atttypid, c.atttypmod), c.attnotnull, pg_get_expr(e.adbin, t.oid)
        FROM pg_class t JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
        LEFT JOIN pg_attrdef e ON (e.adrelid, e.adnum) = (t.oid, c.attnum)
        WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
    """,
}
UNIQUE = {
    "sqlite": """
        SELECT t.name, i.name, c.name
        FROM sqlite_schema t, pragma_index_list(t.name) i, pragma_index_info(i.name) c
        WHERE t.type = 'table' AND i."unique" AND i.origin <> 'pk' ORDER BY i.name, c.seqno
    """,
    "postgresql": """
        SELECT t.relname, i.indexrelid, c.attname
        FROM pg_class t JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique AND NOT i.indisprimary
        JOIN pg_attribute c ON c.attrelid = i.indexrelid
        WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace ORDER BY i.indexrelid, c.attnum
    """,
}
"""SQLAlchemy would ask about each table by itself, and the tables are looked at after each revision."""


def schema_of(connection):
    """Columns (type, whether they may be NULL, default) and what has to be unique, by table."""
    columns = defaultdict(dict)
    for table, name, *kind in connection.exec_driver_sql(COLUMNS[connection.dialect.name]):
        columns[table][name] = (kind[0], not kind[1], kind[2])
    unique = defaultdict(list)
    for table, index, name in connection.exec_driver_sql(UNIQUE[connection.dialect.name]):
        unique[table, index].append(name)
    return {
        table: (found, {tuple(names) for (of, _), names in unique.items() if of == table})
        for table, found in columns.items()
        if table.startswith("evmbilling_")
    }


def broken(before, after):
    """What somebody who knows the earlier tables can no longer do."""
    for table, (columns, unique) in before.items():
        if table not in after:
            yield f"{table} is gone"
            continue
        later, still = after[table]
        for name, kind in columns.items():
            if later.get(name) != kind:
                yield f"{table}.{name} was {kind} and is {later.get(name)}"
        for name in later.keys() - columns.keys():
            _, nullable, default = later[name]
            if not nullable and default is None:
                yield f"{table}.{name} has to be written by those who do not know it"
        for held in still - unique:
            if set(held) <= columns.keys():
                yield f"{table} is newly unique by {', '.join(map(str, held))}"


@pytest.mark.fault("D20")
def test_d20_an_upgrade_takes_nothing_from_workers_of_the_version_before(url):
    engine = open_engine(url)
    before, found = {}, {}
    try:
        for revision in REVISIONS:
            with engine.begin() as connection:
                upgrade(connection, to=revision)
                after = schema_of(connection)
            found[revision] = list(broken(before, after))
            before = after
    finally:
        engine.dispose()
    assert {revision: texts for revision, texts in found.items() if texts} == ON_PURPOSE
    assert check(url) == []  # one revision after another, every guard and index is there as well


@pytest.mark.fault("D20")
def test_d20_what_takes_something_is_found():
    a = {"t": ({"x": ("TEXT", False, None), "y": ("TEXT", True, None)}, set())}
    assert list(broken(a, a)) == []
    assert list(broken(a, {})) == ["t is gone"]
    wider = {"t": (a["t"][0] | {"z": ("TEXT", True, None), "w": ("TEXT", False, "''")}, set())}
    assert list(broken(a, wider)) == []
    asked = {"t": (a["t"][0] | {"z": ("TEXT", False, None)}, set())}
    assert list(broken(a, asked)) == ["t.z has to be written by those who do not know it"]
    narrow = {"t": ({"x": ("TEXT", False, None), "y": ("TEXT", False, None)}, {("x",)})}
    assert list(broken(a, narrow)) == [
        "t.y was ('TEXT', True, None) and is ('TEXT', False, None)",
        "t is newly unique by x",
    ]
