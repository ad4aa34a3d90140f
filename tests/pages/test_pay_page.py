"""The checkout page in a real browser, before a real chain, behind both hosts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect
from shops import LANGUAGES, SHORT_TTL

from evmbilling.testing.deploy import Deployed, deploy, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, plan_fields, wallet_of

PAID = "Paid. Thank you!"
WAITING = "Waiting for your payment."
ALLOW = "Allow the contract to take the token"


def shot(visit, folder, name):
    """Keep what is seen, for people to look at."""
    visit.page.screenshot(path=folder / f"{name}.png", full_page=True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= visit.page.viewport_size["width"]


def approve(visit, shop):
    visit.press(ALLOW)
    visit.sees("Waiting until the network has seen the permission…")
    shop.node.mine()
    visit.look()


def test_wallet_connects_approves_pays_and_sees_access_open(visit, shop, user, tmp_path):
    offer, token = shop.sell(user)
    visit.open(token)
    visit.sees(WAITING)
    shot(visit, tmp_path, "first")
    visit.connect()
    approve(visit, shop)
    shot(visit, tmp_path, "ready")
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    shot(visit, tmp_path, "sent")
    for have in range(1, CREDIT_DEPTH):
        shop.settle()
        visit.look()
        visit.sees(f"Payment seen. Confirmations: {have} of {CREDIT_DEPTH}.")
        expect(visit.page.locator("#confirmations")).to_have_js_property("value", have)
    shot(visit, tmp_path, "confirming")
    assert not shop.engine.access(user).allowed
    shop.settle()
    visit.look()
    visit.sees(PAID)
    visit.is_quiet()
    shot(visit, tmp_path, "done")
    assert shop.engine.access(user).allowed
    assert len(visit.wallet.sent) == 2
    link = visit.page.get_by_role("link", name="See the payment on the network")
    assert link.get_attribute("href") == f"https://explorer.example/tx/{visit.wallet.sent[-1]}"
    assert shop.engine.order(offer.ledger_id).status == "confirmed"


def test_what_the_wallet_declines_is_not_sent_and_can_be_tried_again(visit, shop, user, tmp_path):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.wallet.refuses["eth_requestAccounts"] = 4001
    visit.connect()
    visit.reads("You declined in the wallet.")
    visit.wallet.refuses.clear()
    visit.connect()
    visit.wallet.refuses["eth_sendTransaction"] = 4001
    visit.press("Pay")
    visit.reads("You declined in the wallet.")
    shot(visit, tmp_path, "declined")
    visit.wallet.refuses.clear()
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    visit.is_quiet()
    assert len(visit.wallet.sent) == 1


def sell_by_address(shop):
    """Sell the plan ``sent`` at deposit addresses; once is enough for this shop."""
    admin = shop.engine.admin(ADMIN)
    if any(plan.slug == "sent" for plan in shop.engine.plans()):
        return
    gateway = next(g for g in admin.gateways() if g.slug == "main")
    admin.update_gateway("main", version=gateway.version, relayer=shop.node.accounts[1].key)
    deposits = deploy(shop.node, "Deposits")
    place = {"slug": "sweeper", "network": "local", "address": deposits.address, "start_block": deposits.block}
    admin.create_contract(**place, kind="deposit")
    fields = plan_fields(shop.merchant, "sent", name="Sent", product="sent", contract_slug="sweeper")
    admin.create_plan(**fields | {"prices": fields["prices"][:1]})


def test_an_order_with_an_address_of_its_own_is_paid_from_anywhere(visit, shop, tmp_path):
    sell_by_address(shop)
    buyer = shop.somebody()
    offer = shop.engine.checkout(plan="sent", user_id=buyer, idempotency_key="sent")
    visit.open(shop.engine.issue_pay_link(offer.ledger_id).token)
    visit.sees(WAITING)
    expect(visit.page.locator("#address")).to_have_text(offer.address)
    expect(visit.page.locator("#words")).to_contain_text("Send 19.99 tUSD to this address")
    expect(visit.page.locator("#wallet")).to_have_count(0)
    shot(visit, tmp_path, "address")
    shop.pass_time(15)
    sender = shop.node.accounts[2].address
    token = Deployed(name="TestToken", address=shop.merchant.token.token, block=0)
    transact(shop.node, token, "mint", sender, offer.amount, sender=sender)
    transact(shop.node, token, "transfer", offer.address, offer.amount, sender=sender)
    shop.clock.by += timedelta(seconds=30)
    assert shop.engine.look_at_deposits().held == 1
    visit.look()
    visit.sees("Your payment has arrived. It is on its way to the merchant.")
    assert not shop.engine.access(buyer).allowed
    shop.settle()
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    visit.is_quiet()
    assert shop.engine.access(buyer).allowed


def test_any_wallet_pays_an_order_with_an_address_of_its_own(visit, shop):
    sell_by_address(shop)
    buyer = shop.somebody()
    offer = shop.engine.checkout(plan="sent", user_id=buyer, idempotency_key="wallet")
    visit.open(shop.engine.issue_pay_link(offer.ledger_id).token)
    visit.connect()
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    shop.settle()
    assert len(visit.wallet.sent) == 1
    assert shop.engine.deposits(ADMIN).deposit(offer.ledger_id).address == offer.address


def test_wallet_on_another_network_is_asked_to_switch(visit, shop, user, tmp_path):
    _, token = shop.sell(user, asset="ETH")
    visit.wallet.chain_id, visit.wallet.knows = 1, {1}
    visit.open(token)
    visit.connect()
    expect(visit.page.get_by_role("button", name="Pay", exact=True)).to_be_hidden()
    visit.press("Switch the wallet to the right network")
    visit.reads("Your wallet does not know the network local (31337).")
    shot(visit, tmp_path, "unknown-network")
    visit.wallet.knows = {1, shop.node.chain_id}
    visit.press("Switch the wallet to the right network")
    expect(visit.page.get_by_role("button", name="Pay", exact=True)).to_be_visible()
    visit.wallet.chain_id = 1
    visit.wallet.tell("chainChanged", "0x1")
    expect(visit.page.get_by_role("button", name="Pay", exact=True)).to_be_hidden()


def test_too_little_in_the_wallet_is_said_before_anything_is_sent(windows, shop):
    user = shop.somebody(tokens=1)
    _, token = shop.sell(user)
    with windows(user) as visit:
        visit.open(token)
        visit.connect()
        visit.reads("There is not enough in this wallet.")
        expect(visit.page.locator("#send")).to_be_hidden()
        assert visit.wallet.sent == []


def test_an_account_that_was_not_asked_cannot_pay(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.wallet.accounts = [wallet_of("somebody else")]
    visit.connect()
    visit.reads(f"Please choose the account {wallet_of(user)}")
    expect(visit.page.locator("#send")).to_be_hidden()
    visit.wallet.choose(wallet_of(user))
    expect(visit.page.locator("#send")).to_be_visible()
    visit.is_quiet()
    visit.wallet.choose()
    expect(visit.page.get_by_role("button", name="Connect Test Wallet")).to_be_visible()


def test_an_offer_that_is_over_is_asked_for_again(visit, shop, user, tmp_path):
    offer, token = shop.sell(user, plan="brief", asset="ETH")
    visit.open(token)
    visit.connect()
    expect(visit.page.locator("#countdown")).to_contain_text("Still 0:")
    shop.pass_time(SHORT_TTL + 1)
    visit.look()
    visit.sees("This offer is over. Nothing was paid.")
    shot(visit, tmp_path, "over")
    visit.press("Ask for a new offer")
    visit.sees(WAITING)
    assert not visit.page.url.endswith(token)
    visit.press("Pay")  # the wallet is still connected
    visit.sees("Sent. Waiting until the network has seen it…")
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert shop.engine.order(offer.ledger_id).status == "expired"


def test_reload_and_a_second_window_do_not_pay_twice(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.connect()
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    for again in (visit.page.reload, lambda: visit.open(token)):
        again()
        visit.sees("Sent. Waiting until the network has seen it…")
        expect(visit.page.locator("#steps")).to_be_hidden()
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert len(visit.wallet.sent) == 1


def test_a_wallet_that_was_asked_before_a_reload_is_looked_at_first(visit, shop, user, tmp_path):
    """Nobody but the wallet knows whether it sent anything after the page was gone."""
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.connect()
    visit.wallet.refuses["eth_sendTransaction"] = -32603  # internal error: sent or not
    visit.press("Pay")
    visit.reads("The wallet says: no eth_sendTransaction")
    visit.wallet.refuses.clear()
    visit.page.reload()
    visit.reads("Your wallet was asked for this payment before.")
    expect(visit.page.locator("#send")).to_be_hidden()
    shot(visit, tmp_path, "asked-before")
    visit.press("It was not sent. Pay now")
    visit.sees("Sent. Waiting until the network has seen it…")
    assert len(visit.wallet.sent) == 1


def test_a_transaction_that_fails_on_chain_is_told_and_can_be_sent_again(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.connect()
    visit.wallet.gas = 60_000  # too little to get through
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    shop.settle()
    visit.look()
    visit.reads("The network has refused the transaction.")
    visit.wallet.gas = None
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)


def test_a_reorganisation_while_watching_takes_the_payment_back_and_brings_it_again(visit, shop, user, tmp_path):
    account = shop.node.accounts[4].address  # its key is known: the same bytes can be sent again
    visit.wallet.accounts = [account]
    _, token = shop.sell(user, asset="ETH", wallet=account)
    visit.open(token)
    visit.connect()
    visit.press("Pay")
    visit.sees("Sent. Waiting until the network has seen it…")
    (sent,) = visit.wallet.sent
    raw = shop.node.raw_transaction(sent)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    shop.node.reorg(CREDIT_DEPTH)
    drain(shop.engine)
    visit.look()
    visit.sees("The network has taken the payment back. We wait until it returns.")
    shot(visit, tmp_path, "taken-back")
    assert not shop.engine.access(user).allowed
    shop.node.send_raw(raw)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert shop.engine.access(user).allowed
    assert visit.wallet.sent == [sent]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_page_without_a_wallet_in_each_language_and_scheme(windows, shop, language, scheme, tmp_path):
    user = shop.somebody(tokens=0)
    _, token = shop.sell(user)
    words = {"en": ("Payment", "No wallet was found"), "ru": ("Оплата", "кошелёк не найден")}
    with windows(user, language=language, scheme=scheme, injected=False) as visit:
        visit.open(token)
        assert visit.page.title() == words[language][0]
        expect(visit.page.locator("#words")).to_contain_text(words[language][1])
        assert visit.page.locator("html").get_attribute("lang") == language
        visit.page.locator("summary").click()
        qr = visit.page.locator("img.qr").first
        expect(qr).to_be_visible()
        assert qr.evaluate("image => image.naturalWidth") > 0
        ground = visit.page.locator("html").evaluate("it => getComputedStyle(it).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 384) is (scheme == "dark")
        shot(visit, tmp_path, f"{language}-{scheme}")


def test_everything_can_be_done_with_the_keyboard(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    expect(visit.page.get_by_role("button", name="Connect Test Wallet")).to_be_visible()
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#send")).to_be_visible()
    for _ in range(3):
        if visit.page.evaluate("document.activeElement.id") == "send":
            break
        visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    visit.sees("Sent. Waiting until the network has seen it…")


def test_a_link_that_is_over_says_so(visit):
    visit.expected = ["404"]
    visit.open("x" * 26)
    expect(visit.page.get_by_role("heading")).to_have_text("This link is over")
