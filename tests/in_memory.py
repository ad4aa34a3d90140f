"""Files of tests live in memory where there is enough of it: a commit waits for a disk longer than most tests take.

SQLite asks the disk to keep every commit, as it must; what is asked here is that it is asked, and that a process may be
killed at any time, for which memory is as good. A ``TMPDIR`` that somebody has set, and ``--basetemp``, are left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ENOUGH = 4 * 1024**3
"""Bytes that have to be free: a run needs a few hundred MiB; containers often have 64."""


def pytest_configure() -> None:
    """Also for the workers of xdist and all processes of tests, which inherit it."""
    if "TMPDIR" not in os.environ and usable(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def usable(folder: Path) -> bool:
    """Whether files can be kept there, and run: some tests write programs."""
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free >= ENOUGH
