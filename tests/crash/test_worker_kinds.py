"""SIGKILL at every place of every step of a worker, plain and under Celery: started again, the books are the same."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_crash_points import EVERY, LONGEST

import forks
from evmbilling.working.steps import STEPS

DRIVER = Path(__file__).with_name("kinds_driver.py")
LONG = EVERY in os.environ
"""Whether ``nox -s crash`` runs: all places, and on PostgreSQL, where the usual run dies in test_crash_points.py."""
SEED = 1
CELERY = "celery"
ELSEWHERE = {
    "copy.page": "tests/moving/test_copying.py",
    "copy.before_commit": "tests/moving/test_copying.py",
}
"""Places of what is no worker, and the test that kills it there."""
WHOLE = {"charges": 1, "transmissions": 2, "deposits": 1, "documents": 4, "hint": 1, "figures": 8, "queue": 1}
"""What the steps leave behind the last scene but one, so that equal books are not empty ones."""


def play(database: str, folder: Path, share: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Play the scenes, and let processes die in them; return what was rehearsed, and what came of each death."""
    done = forks.program(DRIVER, database, folder, share, SEED, seconds=LONGEST)
    assert done.returncode == 0, done.stderr
    rehearsed, *lives = map(json.loads, done.stdout.splitlines())
    return rehearsed, lives


def places_in_the_code(root: Path) -> set[str]:
    """Return the names of all crash points of the library."""
    calls = (
        node
        for file in sorted((root / "src").rglob("*.py"))
        if "crash_point(" in (text := file.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point"
    )
    return {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}


@pytest.mark.fault("D16")
@pytest.mark.parametrize("database", ["sqlite", "postgres"] if LONG else ["sqlite"])
def test_d16_each_kind_of_worker_is_killed_and_started_again_without_hand_work(place, project, tmp_path):
    rehearsed, lives = play(place, tmp_path, os.environ[EVERY] if LONG else "few")

    passed = {kind: {p for places in scenes.values() for p in places} for kind, scenes in rehearsed["passed"].items()}
    assert set(passed) == {step.name for step in STEPS} | {CELERY}
    assert [kind for kind, places in passed.items() if not places] == []
    assert places_in_the_code(project) - set().union(*passed.values()) == set(ELSEWHERE)
    assert {place for place, file in ELSEWHERE.items() if place not in (project / file).read_text()} == set()

    calm = rehearsed["books"]
    assert {scene: (b["wrong"], b["told wrongly"]) for scene, b in calm.items()} == dict.fromkeys(calm, ([], []))
    assert [scene for scene, b in calm.items() if b["failing"]] == ["another_chain"]
    assert {name: len(calm["overdue"][name]) for name in WHOLE} == WHOLE

    assert [life["death"] for life in lives if not (life["killed"] or _is_fine(life))] == []
    found = [(life["death"], _changed(calm[life["death"]["scene"]], life["books"])) for life in lives]
    assert [(death, changed) for death, changed in found if changed] == []
    if os.environ.get(EVERY, "1") != "1":
        return  # a part of all places need not hold every one
    died = {(life["death"]["kind"], life["death"]["place"]) for life in lives if life["killed"]}
    assert {kind for kind, _ in died} == set(passed)
    assert {place for _, place in died} >= places_in_the_code(project) - set(ELSEWHERE)


def _is_fine(life: dict[str, Any]) -> bool:
    """Whether it should have died around a statement, and there were not so many in its scene."""
    return life["death"]["place"].partition(".")[0] in {"statement", "node"}


def _changed(calm: dict[str, Any], books: dict[str, Any]) -> dict[str, Any]:
    return {name: {"found": rows, "expected": calm[name]} for name, rows in books.items() if calm[name] != rows}
