"""The tutorial for authors: what it shows is what happens, from the template to a plugin that passes."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from inner_runs import run_pytest

import forks
from example_plugins import FOLDER, installed
from sampling import EVERYTHING

BLOCK = re.compile(r"^```(\w+)(?: title=\"([\w./]+)\")?(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def blocks(project):
    """The marked blocks of the page: by mark, the file that it is of, and the text."""
    page = (project / "docs/tutorials/a-plugin.md").read_text()
    return {mark: (title, text) for _, title, mark, text in BLOCK.findall(page) if mark}


@pytest.fixture
def plugin(tmp_path):
    """A copy of the template; what pip wrote about the template is found, and the modules are those of the copy."""
    folder = tmp_path / "pigeon"
    shutil.copytree(FOLDER / "template", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def write(plugin, block):
    title, text = block
    (plugin / title).write_text(text)


def run(plugin, *arguments):
    return run_pytest(plugin, *arguments, paths=(plugin / "src", installed()))


def program(path, paths):
    sys.path[:0] = paths
    exec(compile(Path(path).read_text(), path, "exec"), {"__name__": "__main__"})


@pytest.mark.exhaustive  # its standard tests run in tests/plugins, and below is a run as an author's
def test_the_template_passes_as_it_is(plugin):
    done = run(plugin)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_the_wrong_plugin_is_refused_with_what_to_fix_and_the_right_one_passes(plugin, blocks):
    write(plugin, blocks["wrong"])
    done = run(plugin, "-k", "fail")
    assert done.returncode == 1, done.stdout
    (said,) = blocks["said"][1].splitlines()
    assert f"what to fix {'-' * 10}" in done.stdout
    assert said in done.stdout.splitlines()
    write(plugin, blocks["right"])
    done = run(plugin, *(() if EVERYTHING else ("-k", "fail")))
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_method_with_another_parameter_does_not_load(plugin, blocks):
    title, text = blocks["right"]
    (plugin / title).write_text(text.replace("event: Event", "message: Event").replace("event.", "message."))
    done = run(plugin, "-k", "profile")
    assert done.returncode == 1
    for line in blocks["refused"][1].splitlines():
        assert line in done.stdout


def test_a_standard_test_is_not_switched_off(plugin, blocks):
    own = plugin / "tests/test_my_plugin.py"
    own.write_text(own.read_text() + "\n    def test_a_repeated_event_is_known_again(self): ...\n")
    done = run(plugin)
    assert done.returncode != 0
    assert blocks["replaced"][1].strip() in done.stdout


def test_a_host_loads_it_by_name(plugin, blocks):
    title, _ = blocks["run"]
    write(plugin, blocks["run"])
    paths = [str(plugin / "src"), str(installed())]
    done = forks.run(program, title, paths, folder=plugin)
    assert done.returncode == 0, done.stderr
    assert done.stdout == blocks["printed"][1]
