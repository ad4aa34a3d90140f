"""External programs that tests and the demo need: found on this machine, or fetched once into a cache folder.

Nothing here is skipped in silence. What cannot be had is a :class:`~evmbilling.errors.MissingTool` that says
what is missing and how to get it.

The cache folder is the user's cache directory for ``evmbilling``; ``EVMBILLING_CACHE`` names another one.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evmbilling.errors import MissingExtra, MissingTool

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The version that is fetched when no Anvil is on this machine.
ANVIL_VERSION = "1.7.1"

_NPM_TIMEOUT_SECONDS = 300
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "win32"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def cache_dir() -> Path:
    """The folder that keeps fetched programs; it is created when it is not there."""
    named = os.environ.get("EVMBILLING_CACHE")
    if named:
        folder = Path(named).expanduser().resolve()
    else:
        try:
            import platformdirs
        except ModuleNotFoundError as error:
            raise MissingExtra("install evmbilling[testing], or name a folder in EVMBILLING_CACHE") from error
        folder = platformdirs.user_cache_path("evmbilling")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_anvil() -> Path:
    """The Anvil executable itself: from ``ANVIL``, from ``PATH``, from the cache, or fetched from npm.

    The program is the one that serves, never npm's Node wrapper around it: whoever starts it owns the
    process that holds the port.

    Raises:
        MissingTool: it is nowhere, and it could not be fetched.

    """
    named = os.environ.get("ANVIL")
    if named:
        path = shutil.which(named)
        if path is None:
            raise MissingTool(f"ANVIL names {named!r}, which is not an executable file", field="ANVIL")
        return _unwrapped(Path(path))
    on_path = shutil.which("anvil")
    if on_path is not None:
        return _unwrapped(Path(on_path))
    package = f"@foundry-rs/anvil-{_platform_name()}"
    folder = npm_install([f"{package}@{ANVIL_VERSION}"], name=f"anvil-{ANVIL_VERSION}-{_platform_name()}")
    return _binary_in(folder / "node_modules" / package)


def npm_install(packages: Sequence[str], *, name: str) -> Path:
    """Install npm packages into the folder ``name`` of the cache, once per machine; answers that folder.

    Processes that ask at the same time wait for the first. An interrupted install leaves nothing behind:
    it happens in a temporary folder that gets its name only when it is complete. Install scripts of the
    packages are not run.

    Raises:
        MissingTool: npm is not installed, or it could not fetch the packages; its words are in the message.

    """
    try:
        from filelock import FileLock
    except ModuleNotFoundError as error:
        raise MissingExtra("install evmbilling[testing] or evmbilling[demo]") from error
    target = cache_dir() / name
    with FileLock(target.with_name(f"{name}.lock")):
        if not target.is_dir():
            _install(packages, target)
    return target


def _install(packages: Sequence[str], target: Path) -> None:
    wanted = " ".join(packages)
    npm = shutil.which("npm")
    if npm is None:
        raise MissingTool(f"npm is not on PATH, so {wanted} cannot be fetched: install Node.js with npm")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as scratch:
        partial = Path(scratch) / "install"
        partial.mkdir()
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        command = [npm, "install", "--prefix", str(partial), *options, *packages]
        try:
            done = subprocess.run(  # noqa: S603  - npm itself, with packages that this project names
                command, capture_output=True, text=True, timeout=_NPM_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingTool(f"npm could not fetch {wanted}: {error}") from error
        if done.returncode != 0:
            raise MissingTool(f"npm could not fetch {wanted}: {(done.stderr or done.stdout).strip()[-800:]}")
        partial.rename(target)


def _platform_name() -> str:
    system = _SYSTEMS.get(sys.platform)
    machine = _MACHINES.get(platform.machine().lower())
    if system is None or machine is None or (system, machine) == ("win32", "arm64"):
        raise MissingTool(
            f"Anvil is not published for {sys.platform} on {platform.machine()}: "
            "build it from Foundry and name it in the ANVIL environment variable"
        )
    return f"{system}-{machine}"


def _binary_in(package: Path) -> Path:
    binary = package / "bin" / ("anvil.exe" if sys.platform == "win32" else "anvil")
    if not binary.is_file():
        raise MissingTool(f"{package} does not hold Anvil: remove that folder and try again")
    return binary


def _unwrapped(path: Path) -> Path:
    """The platform's binary when ``path`` is npm's wrapper script, else ``path`` itself."""
    script = path.resolve()
    if script.suffix != ".mjs":
        return path
    return _binary_in(script.parent.parent / f"anvil-{_platform_name()}")
