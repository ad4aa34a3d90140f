# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write every page of the reference that is written from the code, and ``.env.example``.

::

    python tools/write_references.py

What takes minutes, because it runs the conformance kits, is written by its own tool alone: ``conformance_docs.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run every tool that is done in seconds; return 1 when one of them failed."""
    folder = Path(__file__).parent
    quick = sorted(tool for tool in folder.glob("*_docs.py") if tool.name != "conformance_docs.py")
    tools = [*quick, folder / "env_example.py"]
    failed = [tool.name for tool in tools if subprocess.run([sys.executable, tool], check=False).returncode]  # noqa: S603  - our own
    print(f"{len(tools) - len(failed)} of {len(tools)} wrote; {', '.join(failed) or 'none'} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
