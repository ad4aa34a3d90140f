"""The example shops, as somebody uses them who starts them with one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import time
from importlib import import_module
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
import urllib3
from playwright.sync_api import expect
from shops import PATIENCE_MS

import forks
from evmbilling.cli import main
from evmbilling.cli.demo.serving import find_examples

APPS = ("fastapi_app", "flask_app")
PAGES_OF_THE_PLAN = 5
SECONDS = 60


def each_in_the_whole_run(app):
    """Return both applications, of which the usual run takes this one: what is asked is about what they share."""
    return [pytest.param(each, marks=[] if each == app else pytest.mark.exhaustive) for each in APPS]


@pytest.fixture(scope="module", params=APPS)
def local(request, project):
    """A shop that is being served on its own chain."""
    sys.path.insert(0, str(project))
    try:
        running = import_module("examples.shop.local").running
        serve = import_module(f"examples.{request.param}.serving").serve
        with running(serve, block_seconds=0.25) as local:
            yield local
    finally:
        sys.path.remove(str(project))


@pytest.fixture
def page(browser, local):
    context = browser.new_context(viewport={"width": 360, "height": 740})
    context.set_default_timeout(PATIENCE_MS)
    complaints = []
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith(local.origin) else None)
    yield page
    context.close()
    assert [text for text in complaints if "429" not in text and "402" not in text] == []


def ask(method, address, **sent):
    with urllib3.PoolManager(retries=False) as http:
        return http.request(method, address, redirect=False, **sent)


def sign_in(page, local, name):
    page.goto(local.origin)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name=f"Hello, {name}")).to_be_visible()


@pytest.mark.parametrize("local", each_in_the_whole_run("fastapi_app"), indirect=True)
def test_somebody_signs_in_buys_pays_and_reads_as_much_as_the_plan_holds(page, local):
    sign_in(page, local, "ann")
    assert page.goto(f"{local.origin}/library").status == 402
    page.goto(local.origin)
    page.get_by_role("button", name="Take it from my wallet").click()
    expect(page.locator("#wallet")).not_to_have_value("")
    page.get_by_role("button", name="Buy").click()
    page.get_by_role("button", name="Connect the local test wallet").click()
    page.get_by_role("button", name="Allow the contract to take the token").click()
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#status")).to_have_text("Paid. Thank you!", timeout=2 * PATIENCE_MS)
    page.goto(local.origin)
    expect(page.get_by_text("reader: confirmed")).to_be_visible()
    for left in reversed(range(PAGES_OF_THE_PLAN)):
        page.goto(f"{local.origin}/library")
        expect(page.locator("#left")).to_have_text(f"{left} page(s) left this month.")
    assert page.goto(f"{local.origin}/library").status == 429


def test_a_row_of_the_shop_and_an_order_are_there_together_or_not_at_all(local):
    from examples.shop.accounts import Refused
    from examples.shop.tables import Purchase

    wallet = "0x" + "52" * 20
    first, again = (local.shop.buy("bob", wallet, "form-1") for _ in range(2))
    assert first != again  # two links,
    with local.shop.sessions() as session:
        (kept,) = session.query(Purchase).filter_by(user="bob")
    assert [order.ledger_id for order in local.shop.billing.orders("bob")] == [kept.ledger_id]  # to one order
    with pytest.raises(Refused, match="cannot be sold"):
        local.shop.buy("carol", "no wallet", "form-2")
    with local.shop.sessions() as session:
        assert session.get(Purchase, "form-2") is None
    assert list(local.shop.billing.orders("carol")) == []


def test_migrations_of_the_shop_leave_billing_alone(local):
    """Alembic's own check raises when the models and the tables differ, and knows nothing of billing's tables."""
    from examples.shop.migrating import check

    with contextlib.redirect_stdout(io.StringIO()) as said:
        check(local.shop.sessions.kw["bind"])
    assert said.getvalue().strip(), "it speaks to the stream of now, not of when Alembic was imported"
    tables = sa.inspect(local.shop.sessions.kw["bind"]).get_table_names()
    assert {"users", "purchases", "evmbilling_payment_transactions"} < set(tables)


def test_forms_of_others_and_wrong_passwords_are_refused(local):
    def post(path, cookie, **fields):
        sent = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        address = local.origin + path
        return ask("POST", address, body=urlencode(fields), headers=sent)

    page = ask("GET", local.origin)
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    token = re.search(r'name="form" value="([^"]+)"', page.data.decode())[1]
    assert "httponly" in page.headers["Set-Cookie"].lower()
    assert "samesite=lax" in page.headers["Set-Cookie"].lower()
    assert post("/login", cookie, name="eve", password="one").status == 422
    assert post("/login", cookie, form="x", name="eve", password="one").status == 422
    for guessed in ("", "-", token):  # another site's form comes without the cookie: it signs nobody in
        refused = post("/login", "", form=guessed, name="eve", password="one")
        assert refused.status == 422
        assert b"Hello, eve" not in refused.data
    assert post("/login", cookie, form=token, name="eve", password="one").status == 303
    assert post("/login", cookie, form=token, name="eve", password="two").status == 422
    assert post("/buy", cookie, form=token, wallet="0x" + "52" * 20, once="x").status == 422  # nobody is signed in


@pytest.mark.parametrize("local", each_in_the_whole_run("flask_app"), indirect=True)
def test_end_to_end_against_a_running_shop(local, project):
    done = forks.program(project / "examples" / "e2e.py", local.origin, "--rpc", local.node.url, seconds=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok: access is open" in done.stdout


def serve_the_demo():
    sys.argv = ["evmbilling", "demo", "--serve", "--port", "0"]
    main()


def test_demo_leaves_the_shop_running(project, tmp_path):
    words = tmp_path / "words"
    process = forks.begin(serve_the_demo, folder=project, out=words)
    try:
        patience = time.monotonic() + SECONDS
        while not (words.exists() and "Ctrl-C" in words.read_text()) and time.monotonic() < patience:
            time.sleep(0.05)
        origin = words.read_text().splitlines()[0].split()[-1]
        page = ask("GET", f"{origin}billing/pay/none")
        assert page.status == 404
        assert b"/dev-wallet.js" in page.data
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.join(SECONDS)
        process.kill()
    assert process.exitcode == 0


def test_examples_are_found(project):
    assert find_examples() == project
