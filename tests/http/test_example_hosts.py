"""The example shops as somebody copies them: no secret that is known, and nothing of the inside in what fails."""

from __future__ import annotations

import secrets
import sys
import threading
from importlib import import_module
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from evmbilling import BillingSettings
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import simulated_merchant

APPS = ("fastapi_app", "flask_app")
INSIDE = "postgresql://shop:hunter2@db/shop"


@pytest.fixture
def examples(project, monkeypatch):
    """Import a module of the examples."""
    monkeypatch.syspath_prepend(str(project))
    yield lambda name: import_module(f"examples.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "examples"]:
        del sys.modules[name]


def shop(examples, secret):
    return examples("shop.selling").Shop(
        billing=simulated_merchant().engine,
        sessions=None,
        settings=BillingSettings(),
        secret=secret,
        origin="https://shop.example",
    )


@pytest.mark.fault("G07")
@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("secret", ["", "secret", "changeme", "dev", "x" * 64, "change me " * 5, "0123456789abcdef"])
def test_g07_the_example_hosts_refuse_a_secret_that_is_no_secret(examples, app, secret):
    create = examples(f"{app}.app").create_app
    with pytest.raises(ValueError, match="secret of its own"):
        create(shop(examples, secret))


@pytest.mark.fault("G07")
@pytest.mark.parametrize("app", APPS)
def test_g07_a_fresh_secret_opens_them_and_is_not_shown(examples, app):
    secret = secrets.token_urlsafe(32)
    opened = shop(examples, secret)
    assert secret not in repr(opened)
    assert examples(f"{app}.app").create_app(opened) is not None


@pytest.mark.fault("G09")
@pytest.mark.parametrize("app", APPS)
def test_g09_nothing_is_debugged_before_the_public(examples, app, monkeypatch):
    """A page that breaks says so, and nothing else; not even where the machine is set up for development."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    monkeypatch.setenv("FLASK_ENV", "development")
    made = examples(f"{app}.app").create_app(shop(examples, secrets.token_urlsafe(32)))
    pages = examples("shop.pages")

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError(INSIDE)

    monkeypatch.setattr(pages, "front", broken)
    assert made.debug is False
    if app == "flask_app":
        answer = made.test_client().get("/")
        told = SimpleNamespace(status_code=answer.status_code, content=answer.data)
    else:
        told = TestClient(made, raise_server_exceptions=False).get("/")
    assert told.status_code == 500
    for inside in (b"hunter2", b"RuntimeError", b"Traceback", b"selling.py"):
        assert inside not in told.content


def test_the_worker_of_the_local_shop_folds_the_figures(examples):
    """The desk of the demo shows what was sold: its worker does that step as well."""
    merchant = simulated_merchant()
    merchant.buy()
    over = threading.Event()
    opened = SimpleNamespace(billing=merchant.engine)
    examples("shop.local")._work(opened, SimpleNamespace(mine=over.set), over, 0)
    assert drain(merchant.engine, fold=True).folded == 0  # nothing was left
