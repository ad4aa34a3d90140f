"""The site of the documentation: every page is on it, every link leads somewhere, warnings are errors."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys

import pytest


def build(folder, target):
    return subprocess.run(
        [sys.executable, "-m", "properdocs", "build", "-d", target],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(project, tmp_path):
    """The documentation, to be spoilt: every page in its place, of which only the headings are left."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("docs", "tools"):
        shutil.copytree(project / name, folder / name)
    for path in (*project.glob("*.md"), project / "properdocs.yml"):
        shutil.copy(path, folder)
    for page in folder.rglob("*.md"):  # to render the rest again takes as long as the whole site
        page.write_text("\n\n".join(line for line in page.read_text().splitlines() if line.startswith("#")))
    return folder


def test_every_page_is_on_the_site(project, tmp_path):
    done = build(project, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = [page.relative_to(project / "docs").with_suffix("") for page in (project / "docs").rglob("*.md")]
    assert [page for page in pages if not (tmp_path / "site" / page / "index.html").is_file()] == []
    home = (tmp_path / "site/index.html").read_text()
    assert [page for page in pages if f'href="{page.as_posix()}/"' not in home] == []
    assert 'href="project/changelog/"' in home


def test_page_without_place_and_links_that_lead_nowhere_stop_the_site(copy, tmp_path):
    with (copy / "docs/how-to/dunning.md").open("a") as page:
        page.write("\n[there](nowhere.md) and [there](plain-transfers.md#no-such-heading)\n")
    (copy / "docs/other").mkdir()
    (copy / "docs/other/lost.md").write_text("# Lost\n")
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert "3 warnings" in done.stdout
    for why in ("nowhere.md", "no-such-heading", "other/lost.md"):
        assert why in done.stderr


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ("README.md", "[a](docs/how-to/go-live.md#keys)", "[a](how-to/go-live.md#keys)"),
        ("README.md", "[a](CHANGELOG.md) [b](#try-it)", "[a](project/changelog.md) [b](#try-it)"),
        ("README.md", "[examples](examples/README.md) in [docs](docs/how-to)", "examples in docs"),
        ("CONTRIBUTING.md", "[a](README.md)", "[a](../index.md)"),
        (
            "docs/how-to/pages.md",
            "[a](../../SECURITY.md), [b](refunds.md)",
            "[a](../project/security.md), [b](refunds.md)",
        ),
        ("docs/how-to/pages.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
    ],
)
def test_links_lead_to_where_the_site_has_the_page(project, monkeypatch, source, text, shown):
    monkeypatch.syspath_prepend(project / "tools")
    assert importlib.import_module("site_pages").links_on_site(text, source) == shown
