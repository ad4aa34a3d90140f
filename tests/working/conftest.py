from __future__ import annotations

import sys
from pathlib import Path

import pytest
from worker_bench import open_shop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "operations"))


@pytest.fixture
def shop(anvil, tmp_path, databases):
    with open_shop(tmp_path, databases.sqlite_template, anvil) as made:
        yield made
