"""How much is measured, where, and what becomes of the figures.

``nox -s bench -- [--quick] [--json FILE] [--folder FOLDER]``
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from attrs import frozen
from bm_rounds import Size

Report = dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("measurements")
    group.addoption("--quick", action="store_true", help="a rough picture in half a minute")
    group.addoption("--million", action="store_true", help="reports over a million orders too: minutes")
    group.addoption("--json", metavar="FILE", help="also write the figures to a file")
    group.addoption("--folder", help="where SQLite keeps its files; the temporary folder when left out")


@frozen
class Plan:
    """How much is measured: of the rounds, of signing, and of memory (checkouts before the first and last look)."""

    quick: bool

    @property
    def size(self) -> Size:
        return Size(rounds=5, checkouts=12) if self.quick else Size(rounds=15, checkouts=24)

    @property
    def signed(self) -> int:
        return 60 if self.quick else 400

    @property
    def remembered(self) -> tuple[int, int]:
        return (300, 900) if self.quick else (1_000, 10_000)


@pytest.fixture(scope="session")
def plan(request) -> Plan:
    return Plan(request.config.getoption("quick"))


@pytest.fixture(scope="session")
def sqlite_folder(request) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=request.config.getoption("folder")) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def report(request, plan) -> Iterator[Report]:
    """The figures, written at the end."""
    figures: Report = {
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "sqlalchemy": sa.__version__,
            "quick": plan.quick,
        },
        "checkouts": [],
        "statements": {},
        "signing": [],
        "memory": {},
    }
    yield figures
    path = request.config.getoption("json")
    if path:
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")
