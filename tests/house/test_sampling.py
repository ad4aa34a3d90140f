"""What the usual run leaves to ``nox -s everything``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import combinations, product

import pytest

from sampling import pytest_collection_modifyitems, sample


def a_product(*sizes: int) -> dict[str, list[str]]:
    whole = [list(map(str, values)) for values in product(*map(range, sizes))]
    return {"-".join(values): values for values in whole}


@pytest.mark.parametrize("strength", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", [(1,), (3, 5), (8, 2, 4), (3, 3, 3, 3)])
def test_any_values_meet_in_a_sample(sizes, strength):
    whole = a_product(*sizes)
    chosen = sample(whole, strength)
    assert chosen == sample(dict(reversed(whole.items())), strength)
    for names in combinations(range(len(sizes)), min(strength, len(sizes))):
        met = {tuple(whole[one][name] for name in names) for one in chosen}
        assert met == {tuple(one[name] for name in names) for one in whole.values()}


def test_a_sample_is_small():
    assert len(sample(a_product(3, 20), 1)) == 20
    assert len(sample(a_product(8, 2, 4), 2)) <= 40


WRITTEN = """
import pytest

@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("a", range(3))
@pytest.mark.parametrize("b", range(4))
def test_product(a, b): ...

@pytest.mark.fault("Z01")
@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("a", range(3))
@pytest.mark.parametrize("b", range(4))
def test_z01(a, b): ...

@pytest.mark.exhaustive
def test_long(): ...

@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("host", ["fastapi", "flask"])
def test_twins(case, host): ...

@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgres"])
def test_storages(storage): ...

@pytest.mark.both_databases
@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgres"])
def test_both_databases(case, storage): ...

@pytest.mark.fault("D02")
@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgres"])
def test_d02(storage): ...

@pytest.mark.fault("Z02")
@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgres"])
def test_z02(storage): ...

@pytest.mark.fault("Z02")
@pytest.mark.parametrize("host", ["fastapi", "flask"])
def test_z02_on_hosts(host): ...

@pytest.mark.fault("Z03")
@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("host", ["fastapi", "flask"])
def test_z03_with_many_cases(case, host): ...
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["-p", "xdist.plugin", "-n", "1"], ["24 deselected: nox -s everything runs them too", "38 passed"]),
        pytest.param(
            [],
            ["24 deselected: nox -s everything runs them too", "38 passed, 24 deselected"],
            marks=pytest.mark.exhaustive,  # the summary of a worker says the same and more
        ),
        (["-m", ""], ["62 passed"]),
    ],
)
def test_the_summary_says_how_many_were_left_out(how, said, project, tmp_path):
    shutil.copy(project / "pyproject.toml", tmp_path)
    shutil.copy(project / "tests/sampling.py", tmp_path)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sampling"]\n')
    (tmp_path / "test_written.py").write_text(WRITTEN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_written.py", *how]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others cost more than all that runs here
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in said:
        assert words in done.stdout


IN_THE_SUITE = """
import pytest

def test_whole(case): ...

@pytest.mark.in_turn
def test_long(case): ...

def pytest_generate_tests(metafunc):
    metafunc.parametrize("case", range(12))

class TestMemory:
    test_whole, test_long = staticmethod(test_whole), staticmethod(test_long)

class TestSqlite(TestMemory):
    database = "sqlite"

class TestPostgres(TestMemory):
    database = "postgres"

del test_whole, test_long
"""


def test_in_the_suite_of_storages_each_value_of_a_long_list_has_one_database(project, tmp_path):
    folder = tmp_path / "tests/storage/suite"
    folder.mkdir(parents=True)
    shutil.copy(project / "pyproject.toml", tmp_path)
    shutil.copy(project / "tests/sampling.py", tmp_path)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sampling"]\n')
    (folder / "test_written.py").write_text(IN_THE_SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--collect-only"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    on = {
        name: {n.partition("[")[2] for n in names if n.startswith(name)}
        for name in (
            "TestMemory::test_long",
            "TestSqlite::test_long",
            "TestPostgres::test_long",
            "TestSqlite::test_whole",
        )
    }
    assert len(names) == 3 * 12 + 12 + 12
    memory, sqlite, postgres, whole = on.values()
    assert memory == whole == sqlite | postgres
    assert not sqlite & postgres
    assert len(sqlite) == len(postgres) == 6


def test_a_test_of_a_fault_row_is_not_left_out(request):
    request.node.add_marker(pytest.mark.fault("Z01"))
    pytest_collection_modifyitems([request.node])
    request.node.add_marker(pytest.mark.exhaustive)
    with pytest.raises(pytest.UsageError, match="left_out"):
        pytest_collection_modifyitems([request.node])
