"""Hosts for tests of the HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from http_hosts import HOSTS, Host, lending


@pytest.fixture(params=sorted(HOSTS))
def mount(request) -> Iterator[Callable[..., Host]]:
    """Mount an engine on one of the hosts."""
    with lending(request.param) as mount:
        yield mount
