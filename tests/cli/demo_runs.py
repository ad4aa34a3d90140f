"""Running the demo in a process of its own, healthy or sabotaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs

import forks

PROGRAM = """
import sys
exec(sys.argv.pop(1))
from evmbilling.cli import main
sys.argv[0:1] = ['evmbilling', 'demo']
main()
"""


@attrs.frozen
class Run:
    code: int
    stdout: str
    stderr: str
    answer: str | None = None
    """The answer in JSON, where it is not what was printed."""

    @property
    def told(self):
        return json.loads(self.stdout if self.answer is None else self.answer)

    @property
    def failed(self):
        """The key of the step that was not verified, and its checks that did not hold, by name."""
        step = next(step for step in self.told["steps"] if step["ok"] is False)
        return step["key"], {check["what"]: check["found"] for check in step["checks"] if not check["ok"]}


def run_demo(*arguments, sabotage="", **environment):
    """Run the demo from nothing, as a person would."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, sabotage, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=surroundings() | environment,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def run_forked_demo(*arguments, sabotage="", **environment):
    """Run the demo, with something broken where that is said, in a fork: its imports were made before."""
    done = forks.run(demo, sabotage, *arguments, env=surroundings() | environment)
    return Run(done.returncode, done.stdout, done.stderr)


def demo(sabotage, *arguments):
    """Break something, and be the command."""
    from evmbilling.cli import main

    exec(sabotage, {})  # written in these tests
    sys.argv = ["evmbilling", "demo", *arguments]
    main()


def surroundings():
    return {"COLUMNS": "100", "NO_COLOR": "1"} | {k: v for k, v in os.environ.items() if not k.startswith("BILLING_")}


def broken_artefact(folder, name, change):
    """Copy the packaged artefacts, one of them changed, and return the code that makes a process use the copies."""
    import evmbilling.contracts

    for path in (Path(evmbilling.contracts.__file__).parent / "artifacts").iterdir():
        record = json.loads(path.read_text())
        if record["name"] == name:
            before = json.dumps(record)
            change(record)
            assert json.dumps(record) != before
        (folder / path.name).write_text(json.dumps(record))
    return (
        "import pathlib\nimport evmbilling.contracts as contracts\n"
        f"contracts._folder = lambda: pathlib.Path({str(folder)!r})\n"
        "contracts.artifact.cache_clear()\n"
    )
