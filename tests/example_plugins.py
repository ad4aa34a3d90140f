"""The example plugins, where importlib.metadata finds them as it would find installed distributions."""

from __future__ import annotations

import atexit
import sys
import tempfile
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "examples/plugins"


def projects() -> list[Path]:
    """Return the folders of the plugins."""
    return sorted(path.parent for path in FOLDER.glob("*/pyproject.toml"))


def described(project: Path) -> dict[str, Any]:
    """Return what a plugin's pyproject says of the distribution."""
    return dict(tomllib.loads((project / "pyproject.toml").read_text())["project"])


def installed(project: Path, folder: Path) -> None:
    """Describe a plugin in a folder as an editable installation would, and put both where Python looks."""
    about = described(project)
    name = about["name"].replace("-", "_")
    info = folder / f"{name}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = "\n".join(f"{point} = {module}" for point, module in about["entry-points"]["evmbilling"].items())
    (info / "entry_points.txt").write_text(f"[evmbilling]\n{points}\n")
    for path in (project / "src", folder):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))


def load_own_tests(project: Path, *, install: bool = False) -> ModuleType:
    """Load a plugin's own tests, by a name under which another process finds them too."""
    if install:
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        installed(project, Path(folder.name))
    (path,) = (project / "tests").glob("test_*.py")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    return import_module(path.stem)
