"""An upgrade only adds, so workers of the version before go on while it runs and after it, until they are restarted."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.engines import open_engine
from evmbilling.adapters.sqlalchemy.migrating import upgrade
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


def schema_of(url):
    """Columns, and what has to be unique, by table; all tables are asked for at once."""
    engine = open_engine(url)
    try:
        found = sa.inspect(engine)
        columns, indexes = found.get_multi_columns(), found.get_multi_indexes()
        constraints = found.get_multi_unique_constraints()
    finally:
        engine.dispose()
    return {
        table: (
            {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in listed},
            {tuple(u["column_names"]) for u in constraints[schema, table]}
            | {tuple(i["column_names"]) for i in indexes[schema, table] if i["unique"]},
        )
        for (schema, table), listed in columns.items()
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
    upgrade(url, to=REVISIONS[0])
    before = schema_of(url)
    found = {}
    for revision in REVISIONS[1:]:
        upgrade(url, to=revision)
        after = schema_of(url)
        found[revision] = list(broken(before, after))
        before = after
    assert {revision: texts for revision, texts in found.items() if texts} == ON_PURPOSE


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
