"""The checkout page in a real browser, before a real chain, behind both hosts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect
from shops import LANGUAGES, SHORT_TTL

from evmbilling.contracts import artifact
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS
from evmbilling.integrations.pages.rendering import qr as code_of
from evmbilling.presets import preset
from evmbilling.testing.deploy import Deployed, deploy, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, plan_fields, wallet_of

PAID = "Paid. Thank you!"
WAITING = "Waiting for your payment."
SENT = "Sent. Waiting until the network has seen it…"
SAME_SECOND = 2
"""Seconds after which money without a reference cannot be older than the offer: blocks count whole seconds."""
ALLOW = "Allow the contract to take the token"


def plan_of(shop, slug, **bound):
    """A plan for the token alone, paid through a contract that is bound for it once."""
    admin = shop.engine.admin(ADMIN)
    if slug not in {plan.slug for plan in admin.plans()}:
        admin.create_contract(slug=slug, network="local", **bound)
        fields = plan_fields(shop.merchant, slug, name=slug, product=slug, contract_slug=slug)
        admin.create_plan(**fields | {"prices": fields["prices"][:1]})
    return slug


def plan_of_transfers(shop):
    return plan_of(shop, "direct", address=shop.merchant.token.token, kind="erc20")


def plan_with_permits(shop):
    """Through a contract of somebody else that takes a signed permission with the payment."""
    club = deploy(shop.node, "ClubPass", shop.merchant.token.token, 0)
    where = {"vault": "{treasury}", "until": "{period_end}"}
    approve = {"spender": "{contract}", "amount": "{amount}"}
    permit = ["{permit_v}", "{permit_r}", "{permit_s}"]
    member = [{"member": "{beneficiary}", "units": "{quantity}", "note": "{plan}"}]
    join = "join((address,uint96,string)[],(address,uint64),uint256,string)"
    return plan_of(
        shop,
        "club",
        address=club.address,
        kind="mapped",
        abi=list(artifact("ClubPass").abi),
        start_block=club.block,
        mint_method={"method": join, "args": [member, where, "{amount}", "monthly"], "approve": approve},
        permit_method={
            "method": "joinWithPermit",
            "args": [where, "{amount}", "{deadline}", *permit],
            "approve": approve,
        },
        events=[{"event": "Joined", "means": "paid", "payer": "buyer", "match": "payer", "money": "transfer"}],
    )


def approve(visit, shop):
    visit.press(ALLOW)
    visit.sees("Waiting until the network has seen the permission…")
    shop.node.mine()
    visit.look()


def test_wallet_connects_approves_pays_and_sees_access_open(visit, shop, user, tmp_path):
    offer, token = shop.sell(user)
    visit.open(token)
    visit.sees(WAITING)
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Pro")
    expect(visit.page.locator("#amount")).to_have_text("19.99 tUSD")
    expect(visit.page.locator(".per")).to_have_text("every month")
    expect(visit.page.locator("dl")).to_contain_text(f"local ({shop.node.chain_id})")
    expect(visit.page.locator("#words")).to_contain_text("It pays 19.99 tUSD and nothing else; a token may need")
    visit.has_no_barriers()
    visit.keeps(tmp_path, "first")
    visit.connect()
    expect(visit.page.locator("#authorize")).to_be_hidden()
    approve(visit, shop)
    visit.keeps(tmp_path, "ready")
    visit.press("Pay")
    visit.sees(SENT)
    visit.keeps(tmp_path, "sent")
    for have in range(1, CREDIT_DEPTH):
        shop.settle()
        visit.look()
        visit.sees(f"Payment seen. Confirmations: {have} of {CREDIT_DEPTH}.")
        expect(visit.page.locator("#confirmations")).to_have_js_property("value", have)
    visit.keeps(tmp_path, "confirming")
    assert not shop.engine.access(user).allowed
    shop.settle()
    visit.look()
    visit.sees(PAID)
    visit.is_quiet()
    visit.keeps(tmp_path, "done")
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
    visit.keeps(tmp_path, "declined")
    visit.wallet.refuses.clear()
    visit.press("Pay")
    visit.sees(SENT)
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
    visit.keeps(tmp_path, "address")
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


def test_what_comes_to_the_address_in_parts_is_not_asked_for_again(visit, shop):
    sell_by_address(shop)
    buyer = shop.somebody()
    offer = shop.engine.checkout(plan="sent", user_id=buyer, idempotency_key="parts")
    visit.open(shop.engine.issue_pay_link(offer.ledger_id).token)
    visit.sees(WAITING)
    sender = shop.node.accounts[2].address
    token = Deployed(name="TestToken", address=shop.merchant.token.token, block=0)
    transact(shop.node, token, "mint", sender, offer.amount, sender=sender)
    transact(shop.node, token, "transfer", offer.address, 1_000_000, sender=sender)
    shop.clock.by += timedelta(seconds=30)
    shop.settle()
    shop.settle(CREDIT_DEPTH)
    shop.clock.by += timedelta(seconds=60)
    shop.settle()
    visit.look()
    visit.sees("1 tUSD of 19.99 tUSD has arrived.")
    expect(visit.page.locator("#words")).to_contain_text("send the remaining 18.99 tUSD to this address too")
    expect(visit.page.locator("#address")).to_have_text(offer.address)
    expect(visit.page.locator("#code")).to_be_hidden()
    expect(visit.page.get_by_role("button")).to_have_count(0)
    transact(shop.node, token, "transfer", offer.address, 18_990_000, sender=sender)
    shop.clock.by += timedelta(seconds=60)
    assert shop.engine.look_at_deposits().held == 1
    visit.look()
    visit.sees("Your payment has arrived. It is on its way to the merchant.")
    expect(visit.page.locator("#steps")).to_be_hidden()


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
    visit.keeps(tmp_path, "unknown-network")
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


def test_an_account_that_was_not_asked_cannot_pay(visit, shop, user, tmp_path):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.wallet.accounts = [wallet_of("somebody else")]
    visit.connect()
    visit.reads(f"Please choose the account {wallet_of(user)}")
    visit.keeps(tmp_path, "another-account")
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
    visit.keeps(tmp_path, "over")
    visit.press("Ask for a new offer")
    visit.sees(WAITING)
    assert not visit.page.url.endswith(token)
    visit.press("Pay")  # the wallet is still connected
    visit.sees(SENT)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert shop.engine.order(offer.ledger_id).status == "expired"


def test_reload_and_a_second_window_do_not_pay_twice(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.connect()
    visit.press("Pay")
    visit.sees(SENT)
    for again in (visit.page.reload, lambda: visit.open(token)):
        again()
        visit.sees(SENT)
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
    visit.keeps(tmp_path, "asked-before")
    visit.press("It was not sent. Pay now")
    visit.sees(SENT)
    assert len(visit.wallet.sent) == 1


def test_a_transaction_that_fails_on_chain_is_told_and_can_be_sent_again(visit, shop, user):
    _, token = shop.sell(user, asset="ETH")
    visit.open(token)
    visit.connect()
    visit.wallet.gas = 60_000  # too little to get through
    visit.press("Pay")
    visit.sees(SENT)
    shop.settle()
    visit.look()
    visit.reads("The network has refused the transaction.")
    visit.wallet.gas = None
    visit.press("Pay")
    visit.sees(SENT)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert len(visit.wallet.sent) == 2


def test_a_reorganisation_while_watching_takes_the_payment_back_and_brings_it_again(visit, shop, user, tmp_path):
    account = shop.node.accounts[4].address  # its key is known: the same bytes can be sent again
    visit.wallet.accounts = [account]
    _, token = shop.sell(user, asset="ETH", wallet=account)
    visit.open(token)
    visit.connect()
    visit.press("Pay")
    visit.sees(SENT)
    (sent,) = visit.wallet.sent
    raw = shop.node.raw_transaction(sent)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    shop.node.reorg(CREDIT_DEPTH)
    drain(shop.engine)
    visit.look()
    visit.sees("The network has taken the payment back. We wait until it returns.")
    visit.keeps(tmp_path, "taken-back")
    assert not shop.engine.access(user).allowed
    shop.node.send_raw(raw)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert shop.engine.access(user).allowed
    assert visit.wallet.sent == [sent]


@pytest.mark.sampled(strength=1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_page_without_a_wallet_in_each_language_and_scheme(windows, shop, language, scheme, tmp_path):
    user = shop.somebody(tokens=0)
    _, token = shop.sell(user)
    words = {"en": ("Payment", "No wallet was found"), "ru": ("Оплата", "кошелёк не найден")}
    with windows(user, language=language, scheme=scheme, injected="none") as visit:
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
        drawn = visit.page.request.get(visit.origin + qr.get_attribute("src")).body()
        assert drawn == code_of(f"{visit.origin}/billing/pay/{token}").value
        visit.has_no_barriers()
        visit.keeps(tmp_path, f"{language}-{scheme}")


def test_an_older_wallet_pays_and_a_closed_tab_goes_on_where_it_was(windows, shop, tmp_path):
    """EIP-1193 alone, without being announced."""
    user = shop.somebody()
    _, token = shop.sell(user, asset="ETH")
    with windows(user, injected="older") as visit:
        visit.open(token)
        visit.press("Connect the wallet of this browser")
        visit.press("Pay")
        visit.sees(SENT)
        visit.open_another()
        visit.open(token)
        visit.sees(SENT)
        expect(visit.page.locator("#steps")).to_be_hidden()
        shop.settle(CREDIT_DEPTH)
        visit.look()
        visit.sees(PAID)
        assert len(visit.wallet.sent) == 1


def test_a_permission_is_signed_instead_of_an_approval(visit, shop, user, tmp_path):
    payer = shop.proved(user)
    visit.wallet.hold(payer)
    offer, token = shop.sell(user, plan=plan_with_permits(shop), wallet=payer.address)
    visit.open(token)
    visit.connect()
    expect(visit.page.locator("#words")).to_contain_text("sign a permission for 19.99 tUSD and exactly this contract")
    visit.keeps(tmp_path, "permission")
    visit.wallet.refuses["eth_signTypedData_v4"] = 4001
    visit.press("Sign the permission and pay")
    visit.reads("You declined in the wallet.")
    visit.wallet.refuses.clear()
    shop.pass_time(SAME_SECOND)
    visit.press("Sign the permission and pay")
    visit.sees(SENT)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert len(visit.wallet.sent) == 1
    assert shop.engine.order(offer.ledger_id).status == "confirmed"


def test_a_contract_that_takes_signatures_alone_is_approved_once_then_signed_for(visit, shop, user):
    """Paying with Permit2: there is no transaction to send until the wallet has signed."""
    shop.node.set_code(PERMIT2_ADDRESS, "0x" + artifact("TransferPermit2").deployed_bytecode.hex())
    till = deploy(shop.node, "Till", shop.merchant.treasury)
    plan = plan_of(shop, "signed", address=till.address, start_block=till.block, **preset("permit2"))
    payer = shop.proved(user)
    visit.wallet.hold(payer)
    offer, token = shop.sell(user, plan=plan, wallet=payer.address)
    assert offer.payload is None
    visit.open(token)
    visit.connect()
    expect(visit.page.locator("#authorize")).to_be_hidden()
    approve(visit, shop)
    visit.press("Sign the permission and pay")
    visit.sees(SENT)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)
    assert len(visit.wallet.sent) == 2
    assert shop.engine.order(offer.ledger_id).status == "confirmed"


def test_a_plain_transfer_from_another_device_is_seen_here(visit, shop, user, tmp_path):
    payer = shop.proved(user)
    offer, token = shop.sell(user, plan=plan_of_transfers(shop), wallet=payer.address)
    visit.open(token)
    visit.page.locator("summary").click()
    link = visit.page.get_by_role("link", name="Open in a wallet")
    assert link.get_attribute("href") == offer.uri
    assert offer.uri.startswith(f"ethereum:{shop.merchant.token.token}@{shop.node.chain_id}/transfer?")
    drawn = visit.page.request.get(f"{visit.origin}/billing/pay/{token}/transfer.svg").body()
    assert drawn == code_of(offer.uri).value
    expect(visit.page.locator("#words")).to_contain_text("send 19.99 tUSD to the merchant's treasury")
    visit.keeps(tmp_path, "transfer")
    shop.pass_time(SAME_SECOND)
    coin = Deployed(name="TestToken", address=shop.merchant.token.token, block=0)
    transact(shop.node, coin, "transfer", shop.merchant.treasury, 1_000_000, sender=payer.address)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees("1 tUSD of 19.99 tUSD has arrived.")
    rest = f"Please send the remaining 18.99 tUSD to {shop.merchant.treasury}"
    expect(visit.page.locator("#words")).to_contain_text(rest)
    expect(link).to_be_hidden()
    expect(visit.page.get_by_role("button")).to_have_count(0)
    visit.keeps(tmp_path, "part")
    transact(shop.node, coin, "transfer", shop.merchant.treasury, 18_990_000, sender=payer.address)
    shop.settle(CREDIT_DEPTH)
    visit.look()
    visit.sees(PAID)


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
    visit.sees(SENT)


def test_a_link_that_is_over_says_so(visit):
    visit.expected = ["404"]
    visit.open("x" * 26)
    expect(visit.page.get_by_role("heading")).to_have_text("This link is over")
    visit.page.goto(f"{visit.page.url}?lang=ru")
    expect(visit.page.get_by_role("heading")).to_have_text("Ссылка больше не действует")
