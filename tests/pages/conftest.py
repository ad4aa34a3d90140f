"""One chain, one browser and both servers for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from shops import SERVERS, InjectedWallet, Shop, Visit, open_shop, serving, visiting

from evmbilling.testing.browser import open_browser
from evmbilling.testing.merchant import wallet_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Only while a module needs it: Playwright's loop stands in the way of other loops in this thread."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(databases) -> Iterator[Shop]:
    with open_shop(databases) as shop:
        yield shop


@pytest.fixture(scope="module", params=sorted(SERVERS))
def origin(request, shop) -> Iterator[str]:
    """Where a host serves the shop."""
    with serving(request.param, shop.engine) as origin:
        yield origin


@pytest.fixture
def user(shop) -> str:
    """A new user with money."""
    return shop.somebody()


@pytest.fixture
def visit(browser, origin, shop, user) -> Iterator[Visit]:
    """The user's browser with the user's wallet, small and in English."""
    with visiting(browser, origin, InjectedWallet(shop.node, wallet_of(user))) as visit:
        yield visit


@pytest.fixture
def windows(browser, origin, shop) -> Any:
    """Opens windows of other kinds."""

    def open_window(user_id: str, **how: Any) -> Any:
        return visiting(browser, origin, InjectedWallet(shop.node, wallet_of(user_id)), **how)

    return open_window
