"""The checks of this project: ``nox -l`` lists them.

With ``--no-venv`` the sessions use the environment that nox runs in, which must have the ``dev`` extra; without
it each session makes its own.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "layers", "tests", "contracts", "build"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *packages: str) -> None:
    """Install into the session's own environment, when it has one."""
    if session.venv_backend != "none":
        session.install(*packages)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that asserts; arguments after -- go to pytest."""
    install(session, "-e", ".[dev]")
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session
def everything(session: nox.Session) -> None:
    """Every combination of parameters and all examples of the properties; the usual run takes samples."""
    install(session, "-e", ".[dev]")
    session.env["EVMBILLING_EVERYTHING"] = "1"
    # The whole hunt of mutants is one test, of a quarter of an hour on two cores.
    session.run("pytest", "-q", "-n", "auto", "-m", "", "-o", "longest_test=3600", *session.posargs)


@nox.session
def cpu(session: nox.Session) -> None:
    """The CPU seconds that the tests cost, by folder; after -- a folder, or ``--cpu=tests`` for single tests too."""
    install(session, "-e", ".[dev]")
    session.env["PYTHONDONTWRITEBYTECODE"] = ""  # as in .ci/run: else each process rewrites and compiles everything
    session.run("pytest", "-q", "-n", "auto", "--cpu", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site of the documentation, into site/; warnings are errors. That its code runs is asked by the tests."""
    install(session, "-e", ".[docs]")
    session.run("properdocs", "build", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and layout."""
    install(session, "ruff>=0.14")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly; the public API also as its users see it."""
    install(session, "-e", ".[dev]")
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """Dependencies between packages point down only."""
    install(session, "-e", ".[dev]")
    session.run("lint-imports")


@nox.session
def contracts(session: nox.Session) -> None:
    """The artefacts in the package are what the Solidity sources compile to, byte for byte."""
    install(session, "-e", ".[dev]")
    session.run("python", "tools/compile_contracts.py", "--check")


@nox.session
def bench(session: nox.Session) -> None:
    """Measurements, printed as ratios within one run; nothing else should run meanwhile."""
    install(session, "-e", ".[dev]")
    # The files of tests live in memory where that is possible; what is measured waits for a disk, as a host's does.
    session.env["TMPDIR"] = tempfile.gettempdir()
    session.run(
        *("pytest", "-q", "-s", "-p", "no:randomly", "-p", "no:xdist"),
        *("-o", "python_files=bench_*.py", "-o", "longest_test=0"),
        *([] if any(given.startswith("tests/") for given in session.posargs) else ["tests/benchmarks"]),
        *session.posargs,
    )


@nox.session
def crash(session: nox.Session) -> None:
    """SIGKILL at every single place, around every statement and every call of a node too; takes a while."""
    install(session, "-e", ".[dev]")
    session.env["EVMBILLING_CRASH_EVERY"] = "1"
    session.run("pytest", "-q", "-o", "longest_test=0", "tests/crash", *session.posargs)


@nox.session
def campaign(session: nox.Session) -> None:
    """Reorganisations, killed and paused workers, reading again: long, by a seed of their own, which is printed.

    EVMBILLING_CAMPAIGN_SEED repeats one.
    """
    install(session, "-e", ".[dev]")
    session.env["EVMBILLING_CAMPAIGN"] = "1"
    session.run("pytest", "-q", "-s", "-o", "longest_test=0", "tests/campaigns", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Requests made from the OpenAPI document (schemathesis), 400 a route, by a seed that is printed.

    EVMBILLING_FUZZ says how many; EVMBILLING_FUZZ_SEED repeats a run.
    """
    install(session, "-e", ".[dev]")
    session.env["EVMBILLING_FUZZ"] = os.environ.get("EVMBILLING_FUZZ", "400")
    seed = os.environ.get("EVMBILLING_FUZZ_SEED") or str(secrets.randbelow(2**32))
    session.log(f"EVMBILLING_FUZZ_SEED={seed}")
    session.run("pytest", "-q", "-n", "auto", "tests/http/test_fuzz.py", f"--hypothesis-seed={seed}", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities in what gets installed; asks the advisory service of the package index."""
    install(session, "-e", ".[dev]")
    session.run("pip-audit", "--strict", "--skip-editable", "--progress-spinner", "off")


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and sdist hold everything; a bare install works, and extras add what they say. Nothing is fetched."""
    install(session, "-e", ".[dev]")
    session.run("python", "tools/try_wheel.py", "--quick")


@nox.session
def wheel(session: nox.Session) -> None:
    """The same in clean environments made by pip, then types and tests against the wheel; after -- which tests."""
    install(session, "-e", ".[dev]")
    session.run("python", "tools/try_wheel.py", "--", *session.posargs)


@nox.session
def plugins(session: nox.Session) -> None:
    """Every case of the example plugins' own tests, which the usual run takes samples of, as their authors run them.

    Arguments after -- go to pytest.
    """
    install(session, "-e", ".[dev]")
    folder = session.run("python", "tests/example_plugins.py", silent=True)
    tests = sorted(str(path) for path in Path("examples/plugins").glob("*/tests"))
    session.run("pytest", "-q", "-n", "auto", *tests, *session.posargs, env={"PYTHONPATH": str(folder).strip()})
