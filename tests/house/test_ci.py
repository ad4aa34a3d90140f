"""The set-up lines of the README are what runs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

BLOCK = re.compile(r"^<!-- (\w+) -->\n```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def lines(project):
    return dict(BLOCK.findall((project / "README.md").read_text()))


def test_readme_has_one_line_for_the_demo_and_one_for_the_tests(lines):
    assert set(lines) == {"demo", "tests"}
    for line in lines.values():
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert lines["demo"].endswith(" && .venv/bin/evmbilling demo")
    assert " && .venv/bin/pytest " in lines["tests"]


def test_ci_runs_the_readme_line_of_the_tests(lines, project):
    printed = subprocess.run([project / ".ci/run", "--print"], capture_output=True, text=True, check=True)
    assert printed.stdout == lines["tests"] + "\n"


def test_ci_fails_when_the_readme_has_no_line(tmp_path, project):
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_bytes((project / ".ci/run").read_bytes())
    (tmp_path / "README.md").write_text("# nothing\n")
    done = subprocess.run(["bash", tmp_path / ".ci/run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "README.md" in done.stderr


def test_each_check_of_ci_is_a_nox_session(project):
    names = re.search(r"^ *for session in (.*); do$", (project / ".ci/run").read_text(), re.MULTILINE)[1].split()
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "-l", "-f", project / "noxfile.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sessions = set(re.findall(r"^[*-] (\w+)", listed, re.MULTILINE))
    assert set(names) <= sessions
    assert {"tests", "contracts", "docs", "bench", "audit"} <= sessions


@pytest.mark.parametrize(("named", "workers"), [(None, 8), ("4", 4)])
def test_a_worker_that_waits_leaves_its_core_to_another(request, project, monkeypatch, named, workers):
    variable = "PYTEST_XDIST_AUTO_NUM_WORKERS"
    monkeypatch.delenv(variable, raising=False)
    if named:
        monkeypatch.setenv(variable, named)
    ours = request.config.pluginmanager.get_plugin(str(project / "tests/conftest.py"))
    asked = ours.pytest_xdist_auto_num_workers()
    next(asked)
    with pytest.raises(StopIteration) as answered:
        asked.send(4)
    assert answered.value.value == workers
