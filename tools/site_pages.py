# ruff: noqa: INP001  - a folder of scripts, not a package
"""What the site of the documentation has beyond the files in ``docs/``: the order of its pages, and the project's own.

ProperDocs calls the ``on_…`` functions (``properdocs.yml``). A page that is added to a folder of ``docs/`` appears by
itself, by its title; :data:`FIRST` names those that come before the others.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from properdocs.structure.files import File
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: The folders of ``docs/``, in the order of the site.
SECTIONS = {
    "tutorials": "Tutorials",
    "how-to": "How to",
    "reference": "Reference",
    "explanation": "Explanation",
    "operations": "Operations",
}
#: What begins a section; the rest follows by title.
FIRST = {
    "tutorials": ("first-payment", "billing-in-fastapi", "billing-in-flask"),
    "how-to": ("test-my-host", "go-live"),
    "reference": ("api", "settings", "errors", "http", "events", "hooks", "ports", "testing"),
    "explanation": ("architecture", "judging-a-payment", "finality", "threat-model"),
    "operations": ("running", "alerts", "playbooks"),
}
#: Pages of the project that stand beside ``docs/``, by where the site has them.
PROJECT = {
    "index.md": "README.md",
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
}
COLOURS = "css/code.css"
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def title_of(page: Path) -> str:
    """The first heading of a page."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip().replace("`", "")
    raise ValueError(f"{page} has no heading")


def navigation() -> list[dict[str, Any]]:
    """The tree of the site: every page of ``docs/`` and of the project, each once."""
    made: list[dict[str, Any]] = [{"evmbilling": "index.md"}]
    for folder, name in SECTIONS.items():
        order = {slug: place for place, slug in enumerate(FIRST.get(folder, ()))}
        pages = sorted(
            (DOCS / folder).rglob("*.md"), key=lambda page: (order.get(page.stem, len(order)), title_of(page).lower())
        )
        made.append({name: [{title_of(page): page.relative_to(DOCS).as_posix()} for page in pages]})
    project = [{title_of(ROOT / source): place} for place, source in PROJECT.items() if place != "index.md"]
    return [*made, {"Project": project}]


def links_on_site(markdown: str, source: str) -> str:
    """The text of a page of this tree (``source``, by its path in it) with links that lead somewhere on the site.

    A link to what the site has not, an example or a folder, becomes its text.
    """
    places = {where: place for place, where in PROJECT.items()}
    here = posixpath.dirname(_place(source, places))

    def moved(link: re.Match[str]) -> str:
        target, hash_, anchor = link["target"].partition("#")
        if not target or ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in places and not (path.startswith("docs/") and posixpath.splitext(path)[1]):
            return link["text"]
        return f"[{link['text']}]({posixpath.relpath(_place(path, places), here or '.')}{hash_}{anchor})"

    return LINK.sub(moved, markdown)


def _place(path: str, places: dict[str, str]) -> str:
    return places.get(path, path.removeprefix("docs/"))


def on_config(config: Any) -> Any:
    """Give the site its navigation."""
    config.nav = navigation()
    config.extra_css = [*config.extra_css, COLOURS]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that stand beside ``docs/``, and the colours of code."""
    colours = HtmlFormatter().get_style_defs(".highlight")
    files.append(File.generated(config, COLOURS, content=colours))
    for place, source in PROJECT.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links to where the site has their pages, and let code blocks that are not run look like the others."""
    source = PROJECT.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return links_on_site(markdown, source).replace("```python no-run", "```python")
