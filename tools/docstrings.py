# ruff: noqa: INP001  - a folder of scripts, not a package
"""Docstrings of this project as Markdown: prose, code, and the sections Args, Attributes and Raises as lists."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

SECTIONS = {"Args:": "Arguments", "Attributes:": "Attributes", "Raises:": "Raises"}
_ROLE = re.compile(r":(?:py:)?[a-z]+:`~?\.?([^`]+)`")


def plain(text: str) -> str:
    """Inline marks of a docstring as Markdown's."""
    named = _ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text)
    return named.replace("``", "`")


def markdown(docstring: str | None) -> Iterator[str]:
    """Lines of Markdown, paragraph by paragraph, each followed by an empty one."""
    code = False
    for block in re.split(r"\n\n+", inspect.cleandoc(docstring or "")):
        first, _, rest = block.partition("\n")
        if code and block.startswith(" "):
            yield from ("```python no-run", inspect.cleandoc(block), "```", "")
            continue
        if first in SECTIONS:
            yield f"{SECTIONS[first]}:\n"
            yield from _listed(rest)
        elif first == "Returns:":
            yield plain(f"Returns: {' '.join(rest.split())}")
        elif re.match(r"[*-] ", first):
            yield from (plain(line) for line in block.splitlines())
        else:
            yield plain(" ".join(block.removesuffix("::").split()) + (":" if block.endswith("::") else "")).lstrip(":")
        code = block.endswith("::")
        yield ""


def entries(text: str) -> Iterator[tuple[list[str], str]]:
    """The entries of a section: their names, and what is said about them in one line."""
    for entry in re.split(r"\n(?=\S)|(?<=\.) (?=[a-z_]+(?:, [a-z_]+)*: )", textwrap.dedent(text).strip()):
        names, _, meaning = entry.partition(":")
        yield [name.strip() for name in names.split(",")], " ".join(meaning.split())


def _listed(text: str) -> Iterator[str]:
    for names, meaning in entries(text):
        yield f"* {', '.join(f'`{name}`' for name in names)}: {plain(meaning)}"
