"""The gas that the documentation states is what the calls cost."""

from __future__ import annotations

import importlib.util
from typing import Any

from evmbilling.testing.anvil import AnvilNode


def test_the_gas_table_of_the_documentation_is_measured(project: Any) -> None:
    spec = importlib.util.spec_from_file_location("gas_table", project / "tools/gas_table.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with AnvilNode() as node:
        rows = tool.measure(node)
    assert len(rows) > 10
    assert tool.table(rows) == tool.written()
