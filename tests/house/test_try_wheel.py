"""Which tests run against the wheel, and what is said when none did."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = str(Path(__file__).resolve().parents[2] / "tools")


@pytest.fixture
def try_wheel(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    import try_wheel

    yield try_wheel
    for name in ("try_wheel", "check_wheel"):
        sys.modules.pop(name, None)


def test_the_suite_is_there_and_stands_in_where_nothing_is_named(try_wheel):
    assert try_wheel.chosen([]) == [*try_wheel.SUITE]
    assert try_wheel.chosen(["-k", "refund"]) == ["-k", "refund", *try_wheel.SUITE]
    assert try_wheel.chosen(try_wheel.SUITE) == [*try_wheel.SUITE]
    assert try_wheel.chosen(["-x", "tests/domain"]) == ["-x", "tests/domain"]
    assert try_wheel.chosen(["tests/house/test_rules.py::test_x"]) == ["tests/house/test_rules.py::test_x"]


def test_a_path_that_is_not_there_is_told_before_anything_is_built(try_wheel, monkeypatch):
    monkeypatch.setattr(try_wheel, "built_twice", lambda _folder: pytest.fail("it was built"))
    with pytest.raises(SystemExit, match=r"there is no tests/unit, tests/gone.py::test_x in .*: name folders or files"):
        try_wheel.main(["--", "tests/unit", "tests/domain", "tests/gone.py::test_x"])


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (1, "the tests fail against the wheel"),
        (4, "no tests ran, so nothing is known of the wheel: what was chosen has none (tests/domain -k nothing)"),
        (5, "no tests ran, so nothing is known of the wheel: what was chosen has none (tests/domain -k nothing)"),
    ],
)
def test_no_tests_is_another_word_than_failing_tests(try_wheel, ended, said):
    assert try_wheel.judgement(ended, ["tests/domain", "-k", "nothing"]) == said
