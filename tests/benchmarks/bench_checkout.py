"""Checkouts per second, against the driver that sends the same statements and against an ORM unit of work.

No figure is asserted but those that do not depend on the machine: statements and rows.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import pytest
from bm_contenders import contenders
from bm_limits import MOST_STATEMENTS
from bm_recording import WRITTEN, count_rows, record
from bm_rounds import measure, table
from bm_shops import CLIENTS, postgres_copies, sqlite_files


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request, sqlite_folder):
    if request.param == "sqlite":
        yield sqlite_files(sqlite_folder)
    else:
        with postgres_copies(request.getfixturevalue("postgres_server")) as copies:
            yield copies


@pytest.fixture(scope="module")
def recordings(database, plan):
    return {kind: record(database, plan.size.users, joined=kind == "joined") for kind in ("own connection", "joined")}


def test_statements_of_a_checkout(database, recordings, report):
    for kind, recording in recordings.items():
        statements = recording.statements()
        print(f"\n{database.name}, {kind}: {len(statements)} statements, {len(WRITTEN)} rows written")
        print("\n".join(f"  {number:>2} {text}" for number, text in enumerate(statements, 1)))
        report["statements"][f"{database.name}, {kind}"] = statements
        assert len(statements) <= MOST_STATEMENTS[database.name, kind]
        assert all(set(rows) == set(WRITTEN) for rows in recording.rows)


@pytest.mark.parametrize("clients", [1, CLIENTS])
def test_checkouts_per_second(database, recordings, clients, plan, report):
    with contenders(database, recordings["own connection"], recordings["joined"]) as found:
        standings = measure(database.name, found, plan.size, clients)
        counts = [count_rows(one.url) for one in found]
    print("\n" + table(standings, plan.size))
    report["checkouts"] += [standing.as_json() for standing in standings]
    assert counts == [dict.fromkeys(WRITTEN, plan.size.users)] * len(found)
