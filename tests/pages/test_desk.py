"""The finance desk in a real browser, and what it refuses, behind both hosts."""

from __future__ import annotations

import pytest
import urllib3
from playwright.sync_api import expect
from shops import InjectedWallet, visiting

from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, wallet_of

FINANCE = {"X-User": "ops-1", "X-Roles": "finance_ops"}
BOTH = {"X-User": "admin-1", "X-Roles": "finance_ops,billing_admin"}
PLACES = ("", "/orders", "/queue", "/health")
STRAY = 1_230_000
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def desk(browser, origin, shop):
    """The browser of somebody in finance."""
    with visiting(browser, origin, InjectedWallet(shop.node, wallet_of("x")), headers=FINANCE, width=1100) as visit:
        yield visit


@pytest.fixture
def paid(shop, user):
    """An order that was paid."""
    offer, _ = shop.sell(user, asset="ETH")
    shop.node.send(shop_call(offer, user))
    shop.settle(CREDIT_DEPTH)
    return offer


def shop_call(offer, user):
    return {key: value for key, value in offer.payload.as_rpc(wallet_of(user)).items() if key != "chainId"}


@pytest.fixture
def stray(shop):
    """Money from nobody that is known: what the queue asks about it."""
    sender = wallet_of(shop.somebody())
    known = {item.item_id for item in shop.engine.finance(ADMIN).queue()}
    token = Deployed(name="TestToken", address=shop.merchant.token.token, block=0)
    transact(shop.node, token, "transfer", shop.merchant.treasury, STRAY, sender=sender)
    shop.settle(CREDIT_DEPTH)
    (item,) = [item for item in shop.engine.finance(ADMIN).queue() if item.item_id not in known]
    return item


def shot(visit, folder, name):
    visit.page.screenshot(path=folder / f"{name}.png", full_page=True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= visit.page.viewport_size["width"]


def ask(method, origin, path, headers=None, body=None):
    """Send a request as no browser would."""
    with urllib3.PoolManager(retries=False) as http:
        return http.request(method, f"{origin}/billing/desk{path}", headers=headers or {}, body=body, redirect=False)


def test_a_payment_is_seen_with_its_evidence(desk, shop, paid, user, tmp_path):
    desk.page.goto(f"{desk.origin}/billing/desk")
    expect(desk.page.get_by_role("link", name="Today")).to_have_attribute("aria-current", "page")
    expect(desk.page.locator(".tile").first).to_contain_text("ETH")
    shot(desk, tmp_path, "today")
    desk.page.get_by_role("link", name="Transactions").click()
    desk.page.get_by_label("User").fill(user)
    desk.page.get_by_label("Status").select_option("confirmed")
    desk.page.get_by_role("button", name="Search").click()
    rows = desk.page.locator("tbody tr")
    expect(rows).to_have_count(1)
    shot(desk, tmp_path, "found")
    rows.first.get_by_role("link").last.click()
    expect(desk.page.locator("h1")).to_have_text("0.01 ETH · pro")
    (receipt,) = shop.engine.receipts(paid.ledger_id)
    link = desk.page.locator("a[href^='https://explorer.example/tx/']")
    assert link.get_attribute("href").endswith(receipt.identity.tx_hash.hex())
    shot(desk, tmp_path, "order")


def test_money_without_an_order_is_given_to_a_customer(desk, shop, stray, user, tmp_path):
    shop.sell(user)
    desk.page.goto(f"{desk.origin}/billing/desk/queue")
    shot(desk, tmp_path, "queue")
    desk.page.goto(f"{desk.origin}/billing/desk/queue/{stray.item_id}")
    expect(desk.page.locator("h1")).to_have_text("suspense: 1.23 tUSD")
    form = desk.page.locator("form[action$='/credit']")
    desk.expected = ["404"]
    form.get_by_label("User").fill("nobody-at-all")
    form.get_by_role("button").click()
    expect(desk.page.get_by_role("alert")).to_contain_text("user_id")
    shot(desk, tmp_path, "decide")
    form.get_by_label("User").fill(user)
    form.get_by_label("Note").fill("wrote to us")
    form.get_by_role("button").click()
    expect(desk.page.locator("header")).to_contain_text("decided: credit, by ops-1")
    assert desk.page.url.endswith(f"/queue/{stray.item_id}")
    done = shop.engine.finance(ADMIN).item(stray.item_id)
    assert (done.state, done.ruling, done.note, done.decided_by) == ("decided", "credit", "wrote to us", "ops-1")


def test_a_conflict_is_told_where_the_decision_is_made(desk, shop, stray):
    desk.expected = ["409"]
    desk.page.goto(f"{desk.origin}/billing/desk/queue/{stray.item_id}")
    shop.engine.finance(ADMIN).write_off(stray.item_id)
    desk.page.locator("form[action$='/credit']").get_by_label("User").fill("user-1")
    desk.page.locator("form[action$='/credit']").get_by_role("button").click()
    expect(desk.page.get_by_role("alert")).to_be_visible()


def test_health_on_a_phone_at_night(browser, origin, shop, paid, tmp_path):
    wallet = InjectedWallet(shop.node, wallet_of("x"))
    with visiting(browser, origin, wallet, headers=BOTH, scheme="dark", width=360) as visit:
        for place in PLACES:
            visit.page.goto(f"{origin}/billing/desk{place}")
            shot(visit, tmp_path, place.strip("/") or "today")
        expect(visit.page.get_by_text("reads")).to_be_visible()


@pytest.mark.parametrize("place", PLACES)
def test_only_finance_sees_the_desk(origin, place):
    assert ask("GET", origin, place).status == 401
    assert ask("GET", origin, place, {"X-User": "user-1"}).status == 403
    assert ask("GET", origin, place, FINANCE).status == 200
    page = ask("GET", origin, place, {"X-User": "user-1", "Accept": "text/html"})
    assert (page.status, page.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert b"Not for you" in page.data


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
    ],
)
def test_a_form_of_another_site_decides_nothing(origin, shop, stray, headers, status):
    path = f"/queue/{stray.item_id}/write_off"
    sent = FINANCE | FORM | {"Cookie": "session=1"} | headers
    assert ask("POST", origin, path, sent, "note=theirs").status == status
    assert shop.engine.finance(ADMIN).item(stray.item_id).ruling == (None if status == 403 else "write_off")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("user_id=", 422),
        ("user_id=a&user_id=b", 400),
        ("other=1", 400),
        ("&".join(f"a{n}=1" for n in range(50)), 400),
        ("\xff", 400),
    ],
)
def test_forms_that_no_page_sends_are_refused(origin, shop, stray, body, status):
    assert ask("POST", origin, f"/queue/{stray.item_id}/credit", FINANCE | FORM, body).status == status
    assert shop.engine.finance(ADMIN).item(stray.item_id).state == "open"


def test_forms_are_sent_as_forms(origin, stray):
    sent = FINANCE | {"Content-Type": "application/json"}
    assert ask("POST", origin, f"/queue/{stray.item_id}/credit", sent, '{"user_id": "user-1"}').status == 415


def test_unknown_decisions_items_and_orders_are_not_there(origin, stray):
    assert ask("POST", origin, f"/queue/{stray.item_id}/explode", FINANCE | FORM, "").status == 404
    assert ask("GET", origin, "/queue/nothing", FINANCE).status == 404
    assert ask("GET", origin, "/orders/nothing", FINANCE).status == 404


def test_a_search_that_cannot_be_read_says_what_is_wrong(origin):
    reply = ask("GET", origin, "/orders?wallet=me&status=", FINANCE)
    assert reply.status == 422
    assert b"wallet: " in reply.data


def test_what_users_are_called_is_text(origin, shop):
    name = "<script>alert(1)</script>"
    shop.sell(name, wallet=wallet_of("script"))
    shown = ask("GET", origin, "/orders", FINANCE).data.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown
