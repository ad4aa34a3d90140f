"""The finance desk in a real browser, and what it refuses, behind both hosts."""

from __future__ import annotations

from typing import ClassVar

import pytest
import urllib3
from playwright.sync_api import expect
from shops import InjectedWallet, open_shop, visiting

from evmbilling.ports.notifier import PermanentFailure
from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, IRREVERSIBLE_DEPTH, wallet_of
from sampling import EVERYTHING

FINANCE = {"X-User": "ops-1", "X-Roles": "finance_ops"}
BOTH = {"X-User": "admin-1", "X-Roles": "finance_ops,billing_admin"}
PLACES = ("", "/figures", "/orders", "/queue", "/refunds", "/deposits", "/health")
BY_DAY = ("", "/figures", "/orders")
"""Places at which other tests look for barriers, in the light; the whole run looks for them in the dark too."""
STRAY = 1_230_000
LIMIT = 1_000_000
"""Base units above which a second person has to agree."""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Post:
    """Tells nobody whose address is not known."""

    unknown: ClassVar[set[str]] = set()

    def notify(self, event):
        if event.data.get("user_id") in self.unknown:
            raise PermanentFailure("no address")


@pytest.fixture(scope="module")
def shop(databases):
    """A shop whose network counts in the figures, and whose finance people need each other."""
    with open_shop(databases, {"post": Post()}) as shop:
        admin = shop.engine.admin(ADMIN)
        network, gateway = admin.networks()[0], next(g for g in admin.gateways() if g.slug == "main")
        admin.update_network(network.name, version=network.version, testnet=False)
        admin.update_gateway("main", version=gateway.version, misfits={"approval_above": {"tUSD": LIMIT}})
        yield shop


@pytest.fixture
def offices(browser, origin, shop):
    """Opens windows of people in finance."""

    def open_window(headers=FINANCE, **how):
        wallet = InjectedWallet(shop.node, wallet_of("x"))
        return visiting(browser, origin, wallet, headers=headers, **({"width": 1100} | how))

    return open_window


@pytest.fixture
def desk(offices):
    """The browser of somebody in finance."""
    with offices() as visit:
        yield visit


@pytest.fixture
def paid(shop, user):
    """An order that was paid."""
    offer, _ = shop.sell(user)
    pay(shop, offer, wallet_of(user))
    return offer


def pay(shop, offer, wallet):
    for call in (shop.engine.pay_instructions(offer.ledger_id).approval, offer.payload):
        shop.node.send(call.as_rpc(wallet))
        shop.node.mine()
    shop.settle(CREDIT_DEPTH)


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


def go(visit, path=""):
    visit.page.goto(f"{visit.origin}/billing/desk{path}")


def is_told(visit, text):
    expect(visit.page.get_by_role("status")).to_have_text(text)


def ask(method, origin, path, headers=None, body=None):
    """Send a request as no browser would."""
    with urllib3.PoolManager(retries=False) as http:
        return http.request(method, f"{origin}/billing/desk{path}", headers=headers or {}, body=body, redirect=False)


def test_a_payment_is_found_with_its_evidence_its_receipt_and_in_the_figures(desk, shop, paid, user, tmp_path):
    shop.settle(IRREVERSIBLE_DEPTH)
    while shop.engine.number_receipts().events:
        pass
    while shop.engine.fold().folded:
        pass
    go(desk)
    expect(desk.page.get_by_role("link", name="Today")).to_have_attribute("aria-current", "page")
    expect(desk.page.locator(".tile", has_text="MRR")).to_contain_text("tUSD")
    desk.has_no_barriers()
    desk.keeps(tmp_path, "today")

    desk.page.get_by_role("link", name="Figures", exact=True).click()
    for name in ("MRR, tUSD", "What moved MRR, tUSD"):
        expect(desk.page.get_by_role("img", name=name, exact=True)).to_be_visible()
    sheet = desk.page.request.get(desk.origin + desk.page.get_by_role("link", name="MRR").get_attribute("href"))
    assert sheet.text().startswith("from,until,label,chain_id,token,symbol,start,new,")
    moves = desk.page.locator("figure.moves").first
    moves.locator("summary").click()
    expect(moves.locator("thead")).to_have_text("Periodstartnewexpansionreactivationcontractionchurnend")
    last = moves.locator("tbody tr").last.locator("td").all_inner_texts()
    assert last[1] == last[6] != "0"
    desk.has_no_barriers()
    desk.keeps(tmp_path, "figures")

    desk.page.get_by_role("link", name="Transactions").click()
    desk.page.get_by_label("Search").fill(user)
    desk.page.get_by_label("Status").select_option("final")
    desk.page.get_by_label("Token").select_option("tUSD")
    desk.page.keyboard.press("Enter")
    desk.page.get_by_role("button", name="Find").click()
    rows = desk.page.locator("tbody tr")
    expect(rows).to_have_count(1)
    (receipt,) = shop.engine.receipts(paid.ledger_id)
    explorer = f"https://explorer.example/tx/0x{receipt.identity.tx_hash.hex()}"
    assert rows.get_by_role("link", name="opens the network's explorer").get_attribute("href") == explorer
    desk.has_no_barriers()
    desk.keeps(tmp_path, "found")

    rows.get_by_role("link").last.click()
    expect(desk.page.locator("h1")).to_have_text("19.99 tUSD · pro")
    expect(desk.page.locator(f"a[href='{explorer}']")).to_have_count(1)
    desk.has_no_barriers()
    desk.keeps(tmp_path, "order")
    paper = desk.page.get_by_role("link", name="Receipt R-")
    number = paper.inner_text().removeprefix("Receipt ")
    with desk.page.expect_popup() as opened:
        paper.click()
    expect(opened.value.locator("h1")).to_have_text(f"Receipt {number}")
    printed = opened.value
    if EVERYTHING:
        printed.screenshot(path=tmp_path / "receipt.png")
    printed.set_viewport_size({"width": 360, "height": 740})
    printed.goto(f"{printed.url}?lang=ru")
    expect(printed.locator("h1")).to_have_text(f"Чек {number}")
    if EVERYTHING:
        printed.screenshot(path=tmp_path / "receipt-on-a-phone.png")
    assert printed.evaluate("document.documentElement.scrollWidth") <= 360
    label = printed.get_by_role("rowheader", name="Заказ")
    assert label.evaluate("cell => cell.getClientRects().length === 1 && cell.clientHeight") < 80
    for text in (f"0x{receipt.identity.tx_hash.hex()}", wallet_of(user)):
        assert paid.ledger_id in ask("GET", desk.origin, f"/orders?q={text}", FINANCE).data.decode()
    for text in (f"0x{bytes(32).hex()}", "nobody-at-all"):
        assert b"No orders here." in ask("GET", desk.origin, f"/orders?q={text}", FINANCE).data
    for text in (number, paid.ledger_id):
        go(desk, f"/orders?q={text}")
        assert desk.page.url.endswith(f"/orders/{paid.ledger_id}")


def test_money_without_an_order_is_given_to_a_customer(desk, shop, stray, user, tmp_path):
    shop.sell(user)
    go(desk, "/queue")
    desk.keeps(tmp_path, "queue")
    go(desk, f"/queue/{stray.item_id}")
    expect(desk.page.locator("h1")).to_have_text("Money without an order: 1.23 tUSD")
    form = desk.page.locator("form[action$='/credit']")
    desk.expected = ["404"]
    form.get_by_label("User").fill("nobody-at-all")
    form.get_by_role("button").click()
    expect(desk.page.get_by_role("alert")).to_have_text("User: Billing has not seen this user.")
    expect(form.get_by_label("User")).to_have_value("nobody-at-all")
    desk.has_no_barriers()
    desk.keeps(tmp_path, "decide")
    form.get_by_label("User").fill(user)
    form.get_by_label("Note").fill("wrote to us")
    form.get_by_role("button").click()
    is_told(desk, "Decided.")
    expect(desk.page.locator("#standing")).to_contain_text("decided: given to a customer, ops-1")
    done = shop.engine.finance(ADMIN).item(stray.item_id)
    assert (done.state, done.ruling, done.note, done.decided_by) == ("decided", "credit", "wrote to us", "ops-1")


def test_a_refund_needs_a_second_person_above_the_limit(desk, offices, shop, paid, tmp_path):
    desk.expected = ["422"]
    go(desk, f"/orders/{paid.ledger_id}")
    form = desk.page.locator("form[action$='/refund']")
    form.get_by_label("Amount").fill("20")
    form.get_by_label("Reason").fill("does not like it")
    form.get_by_role("button").click()
    expect(desk.page.get_by_role("alert")).to_have_text("Amount: That is more than can be given back.")
    form.get_by_label("Amount").fill("1.5")
    expect(form.get_by_label("Reason")).to_have_value("does not like it")
    form.get_by_role("button").click()
    is_told(desk, "The refund was asked for. A second person has to agree.")
    expect(desk.page.locator("h1")).to_have_text("Refund: 1.5 tUSD")
    expect(desk.page.get_by_text("You asked for this yourself")).to_be_visible()
    expect(desk.page.get_by_role("button", name="Agree to the refund")).to_have_count(0)
    desk.has_no_barriers()
    desk.keeps(tmp_path, "asked")
    path = desk.page.url.partition("/billing/desk")[2].partition("?")[0]
    refused = ask("POST", desk.origin, f"{path}/approve", FINANCE | FORM, "")
    assert (refused.status, b"role" in refused.data) == (403, True)

    with offices(BOTH) as second:
        go(second, "/queue")
        second.page.get_by_role("link", name="Refund to agree to").last.click()
        second.page.locator("#h-waits + p a").click()
        assert path in second.page.url
        second.page.get_by_role("button", name="Agree to the refund").click()
        is_told(second, "You have agreed to the refund.")
        second.expected = ["409"]
        second.page.get_by_role("button", name="Prepare the transaction").click()
        expect(second.page.get_by_role("alert")).to_have_text("Address: Nobody has proved yet where this refund goes.")
        second.keeps(tmp_path, "agreed")
        form = second.page.locator("form[action$='/cancel']")
        form.get_by_label("Reason").fill("changed their mind")
        form.get_by_role("button").click()
        is_told(second, "The refund was given up.")
    refund = shop.engine.refunds(ADMIN).refund(path.rpartition("/")[2])
    assert (refund.status, refund.approved_by, refund.amount) == ("cancelled", "admin-1", 1_500_000)


def test_a_write_off_needs_a_second_person_above_the_limit(desk, offices, shop, stray):
    go(desk, f"/queue/{stray.item_id}")
    desk.page.get_by_role("button", name="Write it off").click()
    is_told(desk, "Noted. A second person has to agree.")
    desk.page.get_by_role("link", name="To the approval").click()
    expect(desk.page.get_by_text("You asked for this yourself")).to_be_visible()
    path = desk.page.url.partition("/billing/desk")[2]
    with offices(BOTH, language="ru") as second:
        go(second, path)
        second.page.get_by_role("button", name="Согласиться на списание").click()
        is_told(second, "Решено.")
    done = shop.engine.finance(ADMIN).item(stray.item_id)
    assert (done.state, done.ruling) == ("decided", "write_off")


def test_the_desk_on_a_phone_at_night_in_russian_and_with_the_keyboard(offices, shop, paid, tmp_path):
    with offices(BOTH, scheme="dark", width=360, language="ru") as visit:
        for place in (*PLACES, f"/orders/{paid.ledger_id}"):
            go(visit, place)
            expect(visit.page.locator("html")).to_have_attribute("lang", "ru")
            if EVERYTHING or place not in BY_DAY:
                visit.has_no_barriers()
            visit.keeps(tmp_path, place.strip("/").partition("/")[2] or place.strip("/") or "today")
        go(visit, "/health")
        expect(visit.page.get_by_text("читается")).to_be_visible()
        expect(visit.page.get_by_text("dispatcher: никто не делает")).to_be_visible()
        visit.page.keyboard.press("Tab")
        expect(visit.page.get_by_role("link", name="содержанию")).to_be_focused()
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("main")).to_be_focused()
        visit.page.get_by_role("link", name="English").click()
        expect(visit.page.locator("html")).to_have_attribute("lang", "en")
        visit.page.get_by_role("link", name="Transactions").click()
        expect(visit.page.locator("h1")).to_have_text("Transactions")
        visit.page.get_by_label("Search").fill("pro")
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("tbody tr").first).to_be_visible()
        expect(visit.page.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("place", PLACES)
def test_only_finance_sees_the_desk(origin, place):
    assert ask("GET", origin, place).status == 401
    assert ask("GET", origin, place, {"X-User": "user-1"}).status == 403
    assert ask("GET", origin, place, FINANCE).status == 200
    page = ask("GET", origin, place, {"X-User": "user-1", "Accept": "text/html", "Accept-Language": "ru"})
    assert (page.status, page.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "Нет доступа" in page.data.decode()


def test_who_only_configures_sees_no_figures_and_decides_nothing(origin, stray):
    alone = {"X-User": "admin-2", "X-Roles": "billing_admin"}
    assert [ask("GET", origin, place, alone).status for place in PLACES] == [200, 403, 200, 200, 200, 200, 200]
    today = ask("GET", origin, "", alone).data
    assert b"MRR" not in today
    assert b"/desk/figures" not in today
    shown = ask("GET", origin, f"/queue/{stray.item_id}", alone).data
    assert b"Somebody with the role finance_ops decides this." in shown
    assert b"<form" not in shown
    refused = ask("POST", origin, f"/queue/{stray.item_id}/write_off", alone | FORM, "")
    assert (refused.status, b"This needs the role finance_ops." in refused.data) == (403, True)


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
    sent = FINANCE | FORM | {"Cookie": "session=1"} | headers
    refund = f"/queue/{stray.item_id}/refund"
    assert ask("POST", origin, f"/queue/{stray.item_id}/write_off", sent, "note=theirs").status == status
    assert shop.engine.finance(ADMIN).item(stray.item_id).ruling == (None if status == 403 else "write_off")
    assert ask("POST", origin, refund, sent, "reason=theirs").status == (403 if status == 403 else 303)


def test_money_goes_back_from_the_queue_and_from_a_customers_credit(origin, shop, stray, user):
    taken = ask("POST", origin, f"/queue/{stray.item_id}/refund", FINANCE | FORM, "reason=not+ours")
    assert taken.headers["Location"].endswith("?done=refund_requested")
    shop.sell(user)
    desk = shop.engine.refunds(ADMIN)
    desk.cancel(taken.headers["Location"].partition("/refunds/")[2].partition("?")[0], reason="they are known")
    shop.engine.finance(ADMIN).credit(stray.item_id, user)
    assert "1.23 tUSD" in ask("GET", origin, f"/refunds?user={user}", FINANCE).data.decode()
    body = f"user_id={user}&network=local&asset={shop.merchant.token.token}&amount=0.5&reason=moved"
    asked = ask("POST", origin, "/refunds/credit", FINANCE | FORM, body)
    refund = desk.refund(asked.headers["Location"].partition("/refunds/")[2].partition("?")[0])
    assert (refund.user_id, refund.amount, refund.reason) == (user, 500_000, "moved")
    again = ask("POST", origin, "/refunds/credit", FINANCE | FORM, body.replace("amount=0.5", "amount=9"))
    assert (again.status, b"That is more than can be given back." in again.data) == (422, True)


def test_a_refund_is_prepared_for_the_treasury_and_found_on_chain(origin, shop, user):
    payer = shop.proved(user)
    offer, _ = shop.sell(user, wallet=payer.address)
    pay(shop, offer, payer.address)
    body = "amount=0.75&reason=too+slow&via=transfer&end=no"
    asked = ask("POST", origin, f"/orders/{offer.ledger_id}/refund", FINANCE | FORM, body)
    path = asked.headers["Location"].partition("/billing/desk")[2].partition("?")[0]
    refund_id = path.rpartition("/")[2]
    assert asked.headers["Location"].endswith("?done=refund_approved")
    shop.engine.use_refund_wallet(refund_id, user_id=user, wallet=payer.address)
    assert ask("POST", origin, f"{path}/prepare", FINANCE | FORM, "").headers["Location"].endswith("?done=prepare")
    shown = ask("GET", origin, path, FINANCE).data.decode()
    payload = shop.engine.refunds(ADMIN).prepare(refund_id)
    for part in (shop.merchant.treasury, payload.to, f"0x{payload.data.hex()}", payer.address):
        assert part in shown
    sent = shop.node.send(payload.as_rpc(shop.merchant.treasury))
    shop.settle(CREDIT_DEPTH)
    done = ask("GET", origin, path, FINANCE).data.decode()
    assert f"https://explorer.example/tx/{sent}" in done
    assert "The chain says so." in done
    assert "0.75 tUSD" in ask("GET", origin, f"/orders/{offer.ledger_id}", FINANCE).data.decode()


def test_a_refund_in_the_coin_is_found_by_the_transaction_that_is_named(origin, shop, user):
    payer = shop.proved(user)
    offer, _ = shop.sell(user, wallet=payer.address, asset="ETH")
    shop.node.send(offer.payload.as_rpc(payer.address))
    shop.settle(CREDIT_DEPTH)
    body = "reason=too+slow&via=transfer&end=no"
    asked = ask("POST", origin, f"/orders/{offer.ledger_id}/refund", FINANCE | FORM, body)
    path = asked.headers["Location"].partition("/billing/desk")[2].partition("?")[0]
    refund_id = path.rpartition("/")[2]
    shop.engine.use_refund_wallet(refund_id, user_id=user, wallet=payer.address)
    ask("POST", origin, f"{path}/prepare", FINANCE | FORM, "")
    shown = ask("GET", origin, path, FINANCE).data.decode()
    assert "It leaves no log: say its hash below." in shown
    assert "Say which transaction paid it" in shown
    wrong = ask("POST", origin, f"{path}/name", FINANCE | FORM, "tx_hash=0x12")
    assert "Hash of the transaction: A hash is 0x and 64 hex digits." in wrong.data.decode()
    payload = shop.engine.refunds(ADMIN).prepare(refund_id)
    other = shop.node.send(payload.as_rpc(shop.merchant.treasury) | {"value": "0x1"})
    shop.node.mine(1)
    refused = ask("POST", origin, f"{path}/name", FINANCE | FORM, f"tx_hash={other}")
    told = "Hash of the transaction: This transaction pays another amount than the refund&#39;s."
    assert (refused.status, told in refused.data.decode()) == (409, True)
    unknown = "0x" + "ab" * 32
    assert ask("POST", origin, f"{path}/name", FINANCE | FORM, f"tx_hash={unknown}").status == 303
    shown = ask("GET", origin, path, FINANCE).data.decode()
    assert "not in a block that was read yet" in shown
    back = ask("POST", origin, f"{path}/unname", FINANCE | FORM, f"tx_hash={unknown}")
    assert back.headers["Location"].endswith("?done=unname")
    sent = shop.node.send(payload.as_rpc(shop.merchant.treasury))
    named = ask("POST", origin, f"{path}/name", FINANCE | FORM, f"tx_hash={sent}")
    assert named.headers["Location"].endswith("?done=name")
    shop.settle(CREDIT_DEPTH)
    done = ask("GET", origin, path, FINANCE).data.decode()
    assert f"https://explorer.example/tx/{sent}" in done
    assert "The chain says so." in done
    assert "Say which transaction paid it" not in done


def test_a_message_that_failed_is_sent_again(desk, shop, user, tmp_path):
    Post.unknown.add(user)
    shop.sell(user)
    drain(shop.engine, dispatch=True)
    shop.engine.watch.beat(["readers"])
    go(desk, "/health")
    expect(desk.page.get_by_text("readers: alive")).to_be_visible()
    failed = desk.page.locator("section[aria-labelledby=h-dead]")
    expect(failed).to_contain_text("no address")
    desk.has_no_barriers()
    desk.keeps(tmp_path, "failed")
    Post.unknown.discard(user)
    failed.get_by_role("button", name="Send again").click()
    is_told(desk, "It goes out once more.")
    drain(shop.engine, dispatch=True)
    desk.page.reload()
    expect(failed).to_contain_text("There are none.")
    lost = ask("POST", desk.origin, "/deliveries/nothing/redeliver", FINANCE | FORM, "sink=notifier:post")
    assert (lost.status, b"There is no such delivery." in lost.data) == (404, True)


def test_an_order_is_marked_as_paid_by_an_administrator(origin, shop, user):
    offer, _ = shop.sell(user)
    path = f"/orders/{offer.ledger_id}/mark-paid"
    assert b"mark-paid" not in ask("GET", origin, f"/orders/{offer.ledger_id}", FINANCE).data
    refused = ask("POST", origin, path, FINANCE | FORM, "reason=in+cash")
    assert (refused.status, b"This needs the role billing_admin." in refused.data) == (403, True)
    assert ask("POST", origin, path, BOTH | FORM, "reason=in+cash").headers["Location"].endswith("?done=mark_paid")
    assert shop.engine.access(user).allowed
    assert (
        "Заказ отмечен оплаченным."
        in ask("GET", origin, f"/orders/{offer.ledger_id}?lang=ru&done=mark_paid", BOTH).data.decode()
    )


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
    assert ask("POST", origin, "/refunds/nothing/explode", FINANCE | FORM, "").status == 404
    for path in ("/queue/nothing", "/orders/nothing", "/refunds/nothing", "/receipts/R-999999"):
        assert ask("GET", origin, path, FINANCE).status == 404


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/orders?since=yesterday&status=", "Since: A day is written 2030-01-31."),
        ("/orders?status=paid&lang=ru", "Статус: Это значение использовать нельзя."),
        ("/figures?zone=Berlin", "Time zone: An IANA time zone name is expected"),
        ("/figures?since=2030-01-02&until=2029-01-01&lang=ru", "По: Отчёт заканчивается позже, чем начинается."),
        ("/figures?by=day&since=2029-01-01&until=2029-12-31", "By: These are too many columns to draw"),
        ("/refunds?state=lost", "State: "),
    ],
)
def test_what_cannot_be_read_is_said_in_words(origin, path, words):
    reply = ask("GET", origin, path, FINANCE)
    assert reply.status == 422
    assert words in reply.data.decode()


def test_what_users_are_called_is_text(origin, shop):
    name = "<script>alert(1)</script>"
    shop.sell(name, wallet=wallet_of("script"))
    shown = ask("GET", origin, "/orders", FINANCE).data.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown
