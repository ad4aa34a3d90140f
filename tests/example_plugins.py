"""The example plugins, installed by pip: their own tests run against what a user of them would have.

They are installed once into the cache folder, without what they stand on, and again when anything of them or of what
installs them is another. Nothing sees them but a process that puts :func:`installed` where Python looks.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from evmbilling.testing.tools import cache_dir

FOLDER = Path(__file__).resolve().parents[1] / "examples/plugins"
_PIP = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile")
_AS_IT_STANDS = ("--no-deps", "--no-index", "--no-build-isolation")


def projects() -> list[Path]:
    """Return the folders of the plugins."""
    return sorted(path.parent for path in FOLDER.glob("*/pyproject.toml"))


def described(project: Path) -> dict[str, Any]:
    """Return what a plugin's pyproject says of the distribution."""
    return dict(tomllib.loads((project / "pyproject.toml").read_text())["project"])


def installed() -> Path:
    """Return the folder that pip has installed the plugins into; processes that ask at once wait for the first."""
    target = cache_dir() / f"example-plugins-{_digest()}"
    with FileLock(target.with_name(f"{target.name}.lock")):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as scratch:
                whole = Path(scratch, "install")
                subprocess.run([*_PIP, *_AS_IT_STANDS, "--target", whole, *projects()], check=True)
                whole.rename(target)
    return target


def _digest() -> str:
    """Return what is another when something else would be installed."""
    found = hashlib.sha256(f"{platform.python_version()} {version('pip')} {version('hatchling')}".encode())
    for project in projects():
        for path in (project / "pyproject.toml", *sorted((project / "src").rglob("*.py"))):
            found.update(f"\n{path.relative_to(FOLDER)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def load_own_tests(project: Path) -> ModuleType:
    """Load a plugin's own tests against the installed plugin, by a name under which another process finds them too."""
    (path,) = (project / "tests").glob("test_*.py")
    for folder in (path.parent, installed()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return import_module(path.stem)


if __name__ == "__main__":
    sys.stdout.write(f"{installed()}\n")
