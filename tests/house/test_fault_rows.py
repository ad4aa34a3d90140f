"""The list of fault rows that have tests."""

from __future__ import annotations

import importlib.util
import re

import pytest


@pytest.fixture(scope="session")
def fault_rows(project):
    spec = importlib.util.spec_from_file_location("fault_rows", project / "tools/fault_rows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_are_found_wherever_a_mark_may_stand(fault_rows, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_x.py").write_text(
        "import pytest\n"
        'pytestmark = [pytest.mark.fault("Z01")]\n'
        '@pytest.mark.fault("Z02")\n'
        '@pytest.mark.fault("Z03")\n'
        "def test_a(): ...\n"
        '@pytest.mark.fault("Z04", "Z05")\n'
        "class TestB:\n"
        "    async def test_c(self): ...\n"
        "    def helper(self): ...\n"
    )
    a, c = "tests/test_x.py::test_a", "tests/test_x.py::test_c"
    assert fault_rows.marked_tests(tmp_path / "tests") == {
        "Z01": [a, c],
        "Z02": [a],
        "Z03": [a],
        "Z04": [c],
        "Z05": [c],
    }


def test_missing_row_is_reported(fault_rows, capsys):
    assert fault_rows.main(["S25"]) == 0
    assert fault_rows.main(["S25", "Z99"]) == 1
    assert "missing: Z99" in capsys.readouterr().out


def test_names_of_tests_say_the_rows_they_demonstrate(fault_rows):
    found = fault_rows.marked_tests(*fault_rows.FOLDERS)
    strange = [row for row in found if not re.fullmatch(r"[A-Z]\d\d", row)]
    unnamed = [test for row, tests in found.items() for test in tests if row.lower() not in test.split("::")[1]]
    assert strange == []
    assert unnamed == []
