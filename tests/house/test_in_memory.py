"""Files of tests are in memory only where there is room, and where nobody has said otherwise."""

from __future__ import annotations

import os
import tempfile
from types import SimpleNamespace

import pytest

import in_memory


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    monkeypatch.delenv("TMPDIR", raising=False)


@pytest.mark.parametrize(("free", "there"), [(in_memory.ENOUGH, True), (in_memory.ENOUGH - 1, False)])
def test_memory_is_taken_where_there_is_enough(free, there, tmp_path, monkeypatch):
    monkeypatch.setattr(in_memory, "MEMORY", tmp_path)
    monkeypatch.setattr(in_memory.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    in_memory.pytest_configure()
    assert (os.environ.get("TMPDIR") == str(tmp_path)) is there
    assert (tempfile.gettempdir() == str(tmp_path)) is there


def test_a_folder_that_is_not_there_is_not_taken(tmp_path):
    assert not in_memory.usable(tmp_path / "nowhere")


def test_what_somebody_has_set_stays(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    before = tempfile.gettempdir()
    in_memory.pytest_configure()
    assert (os.environ["TMPDIR"], tempfile.gettempdir()) == ("/elsewhere", before)
