"""What the tests of the demo share: one healthy run of it, and the broken ones that branch off."""

from __future__ import annotations

import pytest
from demo_branches import run_branching_demo
from demo_breaks import breaks
from demo_runs import run_forked_demo

from sampling import EVERYTHING


class Demos:
    """Runs of the demo: one, and what branches off; in the whole run each begins from nothing."""

    def __init__(self, request, breaks):
        self._request = request
        self._breaks = breaks

    @property
    def healthy(self):
        """The run in which nothing is broken."""
        return self._request.getfixturevalue("branching_demo")[0]

    def broken(self, name):
        """The run in which this is broken."""
        if EVERYTHING:
            return run_forked_demo("--json", sabotage=self._breaks[name].code)
        return self._request.getfixturevalue("branching_demo")[1][name]


@pytest.fixture(scope="session")
def demo_breaks(tmp_path_factory):
    return breaks(tmp_path_factory.mktemp("breaks"))


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory):
    """Where the healthy run keeps its database."""
    return tmp_path_factory.mktemp("kept") / "kept.sqlite3"


@pytest.fixture(scope="session")
def branching_demo(demo_breaks, kept_demo, tmp_path_factory):
    return run_branching_demo(
        tmp_path_factory.mktemp("demos"),
        {} if EVERYTHING else demo_breaks,
        *("--keep", str(kept_demo)),
        BILLING_DATABASE_URL="sqlite:////no/such/folder/x.db",
        BILLING_RPC_CONFIG="not json",
    )


@pytest.fixture(scope="session")
def demos(request, demo_breaks):
    return Demos(request, demo_breaks)
