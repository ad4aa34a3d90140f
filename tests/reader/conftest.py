from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant


@pytest.fixture
def shop() -> SimulatedMerchant:
    return simulated_merchant()


@pytest.fixture
def open_shop(request, tmp_path) -> Iterator[Callable[[str], SimulatedMerchant]]:
    """Open a merchant on a storage by name."""
    opened = []

    def open_(name: str) -> SimulatedMerchant:
        if name == "memory":
            return simulated_merchant()
        url = f"sqlite:///{tmp_path}/shop.db"
        if name == "postgresql":
            url = request.getfixturevalue("postgres_url")
        upgrade(url)
        opened.append(SqlAlchemyStorage.open(url))
        return simulated_merchant(storage=opened[-1])

    yield open_
    for storage in opened:
        storage.close()
