# ruff: noqa: INP001  - a folder of scripts, not a package
"""Ask an installed evmbilling questions, inside an environment that has nothing but it and what it brings.

``tools/try_wheel.py`` runs this. It needs the standard library only. The argument is one JSON object:

* ``absent``: the modules that are not here, by the extra that brings them;
* ``under``: the folder of all environments, where the package must come from;
* ``bare``: whether no extra is here;
* ``readme``: whose Python is run in the bare environment;
* ``lacking``: the file that says which modules the bare environment could not import;
* ``beside``: extras that have a folder of packages instead of an environment: its path, ``packages``, and ``absent``.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAVY = {"web3", "sqlalchemy", "alembic", "eth_account", "pydantic"}
IMPORT = (
    "import sys, time; before = time.perf_counter(); import evmbilling; spent = time.perf_counter() - before;"
    "print(spent * 1000, *{name.partition('.')[0] for name in sys.modules})"
)


def must(holds: object, otherwise: str) -> None:
    """End with what is wrong, unless it holds."""
    if not holds:
        sys.exit(otherwise)


def place(folder: str) -> None:
    """The package is the installed one, and says that it is typed."""
    home = Path(importlib.import_module("evmbilling").__file__ or "").parent
    must(home.is_relative_to(folder), f"imported from {home}")
    must((home / "py.typed").is_file(), "py.typed is missing")


def cost() -> None:
    """``import evmbilling`` loads nothing heavy; what it costs is printed."""
    spent = []
    for _ in range(5):
        words = _python(IMPORT).stdout.split()
        loaded = HEAVY & set(words[1:])
        must(not loaded, f"import evmbilling loads {loaded}")
        spent.append(float(words[0]))
    print(f"  import evmbilling: {min(spent):.1f} ms, and none of {', '.join(sorted(HEAVY))}")


def modules(absent: dict[str, list[str]], names: list[str]) -> list[str]:
    """Every module imports, or says which absent extra it needs, or lacks a module that only an absent extra brings.

    Return those that do not import.
    """
    known = {module for brought in absent.values() for module in brought} | set(absent)
    lacking = {name: _lacking(name) for name in names}
    for name, missing in lacking.items():
        must(missing is None or missing in known, f"{name} needs {missing}, which no absent extra brings")
    left = [name for name, missing in lacking.items() if missing is not None]
    print(f"  of {len(names)} modules {len(names) - len(left)} import, {len(left)} need another extra")
    return left


def _names() -> list[str]:
    package = importlib.import_module("evmbilling")
    return [
        found.name
        for found in pkgutil.walk_packages(package.__path__, "evmbilling.", onerror=lambda _: None)
        if not re.search(r"\.(migrations|packed)\.|__main__$", found.name)
    ]


def _lacking(name: str) -> str | None:
    """The module or the extra that an import lacks; None when it works."""
    errors = importlib.import_module("evmbilling.errors")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return (error.name or "").partition(".")[0]
    except errors.MissingExtra as error:
        return str(error.field)
    return None


def hints(absent: dict[str, list[str]]) -> None:
    """In a bare environment, what is used without its extra says which one to install; each use in a copy of us."""
    told = set()
    for extra, use in USES:
        said = _told_by(use)
        must(f"evmbilling[{extra}]" in said, f"without {extra}: {said!r}")
        told.add(extra)
    print(f"  named where it is missing: {', '.join(sorted(told))}")
    must(absent.keys() <= told, f"nothing says how to get {absent.keys() - told}")


def _told_by(use: str) -> str:
    with tempfile.TemporaryFile("w+") as file:

        def work() -> None:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())
            try:
                exec(TELL.replace("{use}", use), {})  # noqa: S102  - a line of ours
            except SystemExit as ended:
                print(ended)

        _in_a_copy(work)
        file.seek(0)
        return file.read()


def _in_a_copy(work: Callable[[], object]) -> bool:
    """Work in a copy of this process; whether that came to its end."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            sys.stdout.flush()
            status = 0
        except BaseException:  # noqa: BLE001  - a copy must not go on with the work of its parent
            traceback.print_exc()
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


#: An extra, and a use of it that in the bare environment prints how to get it.
USES = (
    (
        "postgres",
        "from evmbilling.adapters.sqlalchemy.engines import open_engine; open_engine('postgresql://127.0.0.1/x')",
    ),
    ("fastapi", "import evmbilling.integrations.fastapi"),
    ("flask", "import evmbilling.integrations.flask"),
    ("pages", "import evmbilling.integrations.pages"),
    ("metrics", "import evmbilling.adapters.prometheus"),
    ("celery", "import evmbilling.integrations.celery"),
    ("otel", "import evmbilling.adapters.opentelemetry"),
    ("cli", "from evmbilling.cli import main; main()"),
    ("demo", "sys.argv[1:] = ['demo']; from evmbilling.cli import main; main()"),
    ("shop", "sys.argv[1:] = ['demo', '--serve']; from evmbilling.cli import main; main()"),
    ("demo", "from evmbilling.testing.tools import npm_install; npm_install([], name='none')"),
    ("testing", "from evmbilling.testing.tools import npm_install; npm_install([], name='none')"),
)
TELL = """
import sys
from evmbilling.errors import MissingExtra
sys.stderr = sys.stdout
try:
    {use}
except MissingExtra as error:
    print(error)
"""


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  - ourselves


def first_payment(readme: Path) -> None:
    """The Python of the README runs: a payment on a chain in memory, in SQLite."""
    blocks = re.findall(r"^```python\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    must(blocks, "the README has no Python")
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "error", "-c", "".join(blocks)], check=False)  # noqa: S603
    must(done.returncode == 0, "the Python of the README fails")
    print(f"  the README's payment on SQLite: {time.perf_counter() - begun:.1f} s")


def beside(extras: dict[str, Any], names: list[str]) -> None:
    """Try modules with what each extra brings added to this environment; each in a copy of this process."""
    for extra, given in extras.items():
        print(f"\n{extra}:", flush=True)

        def work(given: dict[str, Any] = given) -> None:
            sys.path.append(given["packages"])
            importlib.invalidate_caches()
            modules(given["absent"], names)

        must(_in_a_copy(work), f"the modules of {extra} do not import")


def main(given: dict[str, Any]) -> None:
    """Ask."""
    place(given["under"])
    lacking = Path(given["lacking"])
    if not given["bare"]:
        modules(given["absent"], json.loads(lacking.read_text()))
        return
    cost()
    first_payment(Path(given["readme"]))
    left = modules(given["absent"], _names())
    lacking.write_text(json.dumps(left))
    hints(given["absent"])
    beside(given["beside"], left)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
