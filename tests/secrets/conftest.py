"""What the tests of secrets share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def canary() -> str:
    return "canary-0d4c1b7e9a"
