"""What every test of this project has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["cpu_seconds", "databases"]

# Two shared cores make a deadline a measurement of the neighbours.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent
