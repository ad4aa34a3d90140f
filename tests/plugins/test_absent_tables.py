"""An engine whose tables are not there says so when it is made."""

from __future__ import annotations

import pytest

from evmbilling import BillingEngine, BillingSettings
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.errors import SchemaError


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.db"
    with pytest.raises(SchemaError, match=r"none\.db"):
        BillingEngine.from_settings(BillingSettings(database_url=f"sqlite:///{path}"))
    assert not path.exists()


def test_tables_under_another_prefix_are_absent(tmp_path):
    url = f"sqlite:///{tmp_path}/shop.db"
    upgrade(url, prefix="other_")
    with pytest.raises(SchemaError):
        BillingEngine.from_settings(BillingSettings(database_url=url))
    BillingEngine.from_settings(BillingSettings(database_url=url, table_prefix="other_")).close()
