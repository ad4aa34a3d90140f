"""The gas that the documentation states is what the calls cost."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest


def test_the_gas_tables_of_the_documentation_are_measured(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project / "tools"))
    tool = importlib.import_module("gas_table")
    try:
        tables = tool.measure_all()
        assert {name: tool.written(name) for name in tables} == tables
        assert all(text.count("\n") > 9 for text in tables.values())
    finally:
        for name in ("gas_table", "gas_deposits", "gas_mandates"):
            sys.modules.pop(name, None)
