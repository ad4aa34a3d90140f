from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from databases import open_sql
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant


@pytest.fixture
def shop() -> SimulatedMerchant:
    return simulated_merchant()


@pytest.fixture
def open_shop(databases, tmp_path) -> Iterator[Callable[[str], SimulatedMerchant]]:
    """Open a merchant on a storage by name; SQLite's is the file ``shop.db``."""
    with ExitStack() as stack:

        def open_(name: str) -> SimulatedMerchant:
            if name == "memory":
                return simulated_merchant()
            if name == "sqlite":
                url = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'shop.db')}"
            else:
                url = stack.enter_context(databases.lend("postgres"))
            storage = open_sql(url)
            stack.callback(storage.close)
            return simulated_merchant(storage=storage)

        yield open_
