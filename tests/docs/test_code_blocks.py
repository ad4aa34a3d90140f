"""The Python in the documentation runs, as a reader would run it.

The blocks of a page are one program, top to bottom, in a process of its own, in an empty folder, with warnings
as errors. A traceback shows the page's own line numbers. Pages begin from nothing under ``nox -s everything``, else as
forks of a process that has imported the library. What a reader runs first, the README, begins from nothing under
``nox -s build``, where nothing but the wheel is installed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from page_program import be, tables_script

import forks
from sampling import EVERYTHING

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)$")
SECONDS = 120


def program(page: str) -> str:
    """The Python blocks of a page, each at its own lines, everything else blank."""
    lines, language, indent = [], None, ""
    for line in page.splitlines():
        fence = FENCE.match(line)
        if fence and language is None:
            language, indent = fence["info"].strip() or "text", fence["indent"]
        elif fence and not fence["info"].strip():
            language = None
        elif language == "python":
            lines.append(line.removeprefix(indent))
            continue
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def run(page: Path, folder: Path, *, warm: bool) -> subprocess.CompletedProcess[str]:
    script = folder / f"{page.stem}.py"
    script.write_text(program(page.read_text()))
    home = {key: value for key, value in os.environ.items() if not key.startswith("BILLING_")}
    if warm:
        made = folder / "tables.sql"
        made.write_text(tables_script())
        return forks.run(be, str(script), str(made), folder=folder, env=home, seconds=SECONDS)
    return subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=folder,
        env=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if program(page.read_text()).strip()],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_page_runs(page, tmp_path):
    done = run(page, tmp_path, warm=not EVERYTHING)
    assert done.returncode == 0, f"{page.relative_to(ROOT)}\n{done.stdout}{done.stderr}"


def test_links_between_pages_lead_somewhere():
    link = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert dead == []


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks that run our own command, as they are typed."""
    lines, language = [], None
    for line in page.splitlines():
        fence = FENCE.match(line)
        if fence:
            language = (fence["info"].split() or ["text"])[0] if language is None else None
        elif language in ("sh", "console"):
            typed = line.strip().removeprefix("$ ").partition(" > ")[0]
            lines += [part.strip() for part in typed.split("&&") if re.match(r"\s*(\S*/)?evmbilling ", part)]
    return lines


def test_the_commands_of_the_pages_are_commands_with_these_options():
    from typer.main import get_command

    from evmbilling.cli.app import app

    found = [(page, line) for page in PAGES for line in commands(page.read_text())]
    assert found
    whole = get_command(app)
    for page, line in found:
        words, command = shlex.split(line, comments=True)[1:], whole
        context = command.make_context("evmbilling", words)
        while hasattr(context.command, "resolve_command"):
            words = [*context._protected_args, *context.args]
            name, command, words = context.command.resolve_command(context, words)
            assert command is not None, f"{page}: {line}"
            context = command.make_context(name, words, parent=context)


def test_every_block_that_does_not_run_is_a_signature_that_was_written_from_the_code():
    written = {"docs/reference/api.md", "docs/reference/ports.md", "docs/reference/testing.md"}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES if "```python no-run" in page.read_text()} == written


def test_blocks_are_one_program_at_the_lines_of_the_page():
    page = "# Title\n```python\na = 1\n```\ntext\n```sh\nrm a\n```\n1. item\n   ```python\n   b = a\n   ```\n"
    assert program(page).split("\n") == [*[""] * 2, "a = 1", *[""] * 7, "b = a", ""]


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("assert 1 == 2", "line 2"),
        ("import warnings\nwarnings.warn('old', DeprecationWarning)", "DeprecationWarning"),
        ("this is no Python", "SyntaxError"),
    ],
)
def test_page_that_does_not_work_fails(tmp_path, code, why, warm):
    page = tmp_path / "page.md"
    page.write_text(f"```python\n{code}\n```\n")
    done = run(page, tmp_path, warm=warm)
    assert done.returncode != 0
    assert why in done.stderr
