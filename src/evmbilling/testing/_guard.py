"""What this process started ends with it, however it ends.

A context manager or an exit handler does not run when a test run is killed, and a chain or a database would stay
behind. A guard is a shell that waits on a pipe whose other end only this process holds: the pipe closes when this
process is gone.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# $1 is the signal, $2 the process, $3 a folder to remove once that process has ended.
_SCRIPT = """
read -r _
kill -s "$1" "$2" 2>/dev/null
tries=0
while kill -0 "$2" 2>/dev/null && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
[ -z "$3" ] || rm -rf "$3"
"""


class Guard:
    """Ends a process when this one is gone; does nothing on Windows, which has no such shell.

    Args:
        pid: the process to end.
        signal: how, as ``kill -s`` calls it.
        folder: what to remove afterwards.

    """

    def __init__(self, pid: int, *, signal: str = "TERM", folder: Path | None = None) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if os.name == "posix":
            self._shell = subprocess.Popen(  # noqa: S603  - a fixed script; its arguments are data
                ["/bin/sh", "-c", _SCRIPT, "guard", signal, str(pid), str(folder or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt from the terminal must not end the guard first
            )

    def release(self) -> None:
        """End the guard: the process that it watched has been ended in the usual way."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
            self._shell = None
