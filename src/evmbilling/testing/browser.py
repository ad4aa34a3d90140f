"""A headless Chromium for tests of pages: found on this machine, or fetched once into the cache folder.

::

    with open_browser() as browser:
        page = browser.new_page()
        page.goto("http://127.0.0.1:8000/billing/pay/…")

Playwright drives it; its own download of browsers is not needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evmbilling.errors import MissingExtra, MissingTool
from evmbilling.testing.tools import cache_dir, npm_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

#: The version that is fetched when no Chromium is on this machine.
CHROMIUM_VERSION = "147.0.0"

_PACKAGE = "@sparticuz/chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_UNPACK_SECONDS = 120
# The package holds the program as Brotli, which Node reads and Python does not.
_UNPACK = (
    "const fs=require('fs'),zlib=require('zlib'),{pipeline}=require('stream');"
    "const [from,to]=process.argv.slice(1);"
    "pipeline(fs.createReadStream(from),zlib.createBrotliDecompress(),fs.createWriteStream(to),"
    "(error)=>{if(error){console.error(error.message);process.exit(1)}})"
)
# One process tree that shares nothing with a desktop: containers have no sandbox for it, little /dev/shm and no GPU.
_ARGUMENTS = ("--no-sandbox", "--no-zygote", "--headless=shell", "--disable-gpu", "--disable-dev-shm-usage")


def find_chromium() -> Path:
    """Return the Chromium executable: from ``CHROMIUM``, from ``PATH``, from the cache, or fetched from npm.

    Raises:
        MissingTool: it is nowhere, and it could not be fetched.

    """
    named = os.environ.get("CHROMIUM")
    if named:
        path = shutil.which(named)
        if path is None:
            raise MissingTool(f"CHROMIUM names {named!r}, which is not an executable file", field="CHROMIUM")
        return Path(path)
    for name in _NAMES:
        on_path = shutil.which(name)
        if on_path is not None:
            return Path(on_path)
    return _fetched()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a headless browser, and end it with the block.

    Playwright runs an event loop in the calling thread until then: nothing else can run one there meanwhile.

    Raises:
        MissingTool: there is no Chromium, or it does not run on this machine.
        MissingExtra: Playwright is not installed.

    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError as error:
        raise MissingExtra("driving a browser needs Playwright: pip install playwright") from error
    program = find_chromium()
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        except Error as error:
            raise MissingTool(f"{program} does not run on this machine: {error.message[-800:]}") from error
        try:
            yield browser
        finally:
            browser.close()


def _fetched() -> Path:
    if sys.platform != "linux":
        raise MissingTool("no Chromium is on PATH: install one, or name it in the CHROMIUM environment variable")
    name = f"chromium-{CHROMIUM_VERSION}"
    target = cache_dir() / f"{name}-unpacked"
    if not target.is_file():
        folder = npm_install([f"{_PACKAGE}@{CHROMIUM_VERSION}"], name=name)
        _unpack(folder / "node_modules" / _PACKAGE / "bin" / "chromium.br", target)
    return target


def _unpack(packed: Path, target: Path) -> None:
    """Unpack beside the target and give it its name at the end: who comes meanwhile finds all of it or nothing."""
    node = shutil.which("node")
    if node is None:
        raise MissingTool("node is not on PATH, so Chromium cannot be unpacked: install Node.js")
    if not packed.is_file():
        raise MissingTool(f"{packed} is not there: remove its folder and try again")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as scratch:
        partial = Path(scratch) / "chromium"
        try:
            done = subprocess.run(  # noqa: S603  - Node, with a script of ours
                [node, "-e", _UNPACK, packed, partial],
                capture_output=True,
                text=True,
                timeout=_UNPACK_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingTool(f"Chromium could not be unpacked: {error}") from error
        if done.returncode != 0:
            raise MissingTool(f"Chromium could not be unpacked: {done.stderr.strip()[-800:]}")
        partial.chmod(0o755)
        partial.rename(target)
