"""Hosts for tests of the HTTP API."""

from __future__ import annotations

import pytest
from http_hosts import HOSTS


@pytest.fixture(params=sorted(HOSTS))
def mount(request):
    """Mount an engine on one of the hosts."""
    return HOSTS[request.param]
