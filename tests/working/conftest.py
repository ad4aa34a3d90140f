from __future__ import annotations

import pytest
from worker_bench import open_shop


@pytest.fixture
def shop(anvil, tmp_path, databases):
    with open_shop(tmp_path, databases.sqlite_template, anvil) as made:
        yield made
