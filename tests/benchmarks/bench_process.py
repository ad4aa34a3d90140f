"""What a process of its own shows: the share of the signature, and whether memory grows with checkouts."""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import pytest
from bm_limits import MOST_GROWTH
from bm_program import MIB, run_program
from bm_shops import stock


@pytest.mark.parametrize("backend", ["coincurve", "python"])
def test_share_of_the_signature(backend, plan, report):
    found = run_program("signing", plan.signed, *(["--without-coincurve"] if backend == "python" else []))
    print(f"\nsigning with {found['backend']}: {found['share']:.1%} of a checkout, {found['milliseconds']:.2f} ms")
    print("\n".join(f"  said: {text}" for text in found["warnings"]))
    report["signing"].append(found)
    assert found["backend"] == backend
    assert [text for text in found["warnings"] if "coincurve" in text] == found["warnings"]
    assert len(found["warnings"]) == (backend == "python")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_memory_does_not_grow_with_checkouts(database, request, plan, report):
    if database == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('sqlite_folder')}/memory.db"
    else:
        url = request.getfixturevalue("postgres_url")
    stock(url)
    first, last = plan.remembered
    found = run_program("memory", url, first, last)
    growth = found["last"] - found["first"]
    print(
        f"\n{database}: {found['first'] / MIB:.1f} MiB resident after {first} checkouts, "
        f"{found['last'] / MIB:.1f} MiB after {last}: {growth / MIB:+.1f} MiB ({found['per_second']:.0f} per second)"
    )
    report["memory"][database] = found | {"checkouts": [first, last]}
    assert growth <= MOST_GROWTH
