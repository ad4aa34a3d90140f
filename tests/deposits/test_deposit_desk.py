"""What people do about deposit addresses, and what becomes of what was sent there by mistake."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import attrs
import pytest
from deposit_bench import COIN_PRICE, OPS, PRICE, RELAYER, STRANGER, DepositShop
from typer.testing import CliRunner

from databases import open_sql
from evmbilling.adapters.prometheus.gauges import series_of
from evmbilling.cli.app import app
from evmbilling.domain.actors import Actor
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.decisions import StoreDeposit
from evmbilling.errors import ConfigurationError, Conflict, InputError, NotFound, PermissionDenied
from evmbilling.integrations.http.messages import Request, Response
from evmbilling.integrations.http.options import Options
from evmbilling.integrations.pages.mounting import Pages
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import deploy_token
from evmbilling.testing.merchant import _NO_SECRET
from refund_wallets import prove

NO_ORDER = "019c13ec-9e00-7d90-aa6b-0c8a58f2ad56"


def test_the_order_says_what_was_seen_before_it_counts(shop: DepositShop):
    offer = shop.offer()
    assert shop.engine.progress(offer.ledger_id).seen == 0
    shop.send_token(offer.address)
    shop.clock.advance(timedelta(seconds=60))
    shop.engine.look_at_deposits()
    progress = shop.engine.progress(offer.ledger_id)
    assert (progress.seen, progress.received, shop.status(offer)) == (PRICE, 0, "pending")
    shop.work()
    shop.work(0)
    progress = shop.engine.progress(offer.ledger_id)
    assert (progress.seen, progress.received, shop.status(offer)) == (0, PRICE, "confirmed")


def test_the_desk_shows_the_address_what_is_there_and_no_wallet(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address)
    shop.clock.advance(timedelta(seconds=60))
    shop.engine.look_at_deposits()
    pages, path = Pages(shop.engine, Options()), f"/desk/orders/{offer.ledger_id}"
    found = pages.match("GET", path)
    assert found is not None
    shown = pages.respond(found[0], Request(method="GET", path=path, params=found[1]), OPS)
    body = shown.body.decode()
    assert (shown.status, ">None<" in body) == (200, False)
    assert f"<code>{offer.address}</code> (19.99 tUSD is there and not swept yet)" in body


def test_addresses_are_listed_by_what_is_the_matter_with_them(shop: DepositShop):
    quiet, paid, stuck = shop.offer("ann"), shop.offer("bob"), shop.offer("eve")
    shop.send_token(paid.address)
    shop.send_token(stuck.address)
    shop.clock.advance(timedelta(seconds=60))
    assert shop.engine.look_at_deposits().ordered == 2
    held = shop.place(stuck)
    with shop.engine._ports.storage.unit() as unit:
        unit.apply([StoreDeposit(attrs.evolve(held, failures=3, version=held.version + 1))])
    desk = shop.engine.deposits(OPS)

    def of(*states: str) -> list[str]:
        return [one.order.ledger_id for one in desk.deposits(states=states)]

    assert (of("empty"), of("waiting"), of("stuck")) == ([quiet.ledger_id], [paid.ledger_id], [stuck.ledger_id])
    assert of() == [quiet.ledger_id, paid.ledger_id, stuck.ledger_id]
    assert [one.order.ledger_id for one in desk.deposits(after=quiet.ledger_id, limit=1)] == [paid.ledger_id]
    figures = shop.engine.watch.figures()
    assert {place: depth.count for place, depth in figures.deposits.items()} == {
        ("local", "stuck"): 1,
        ("local", "waiting"): 1,
    }
    assert series_of(figures)["deposits_held"] == {("local", "stuck"): 1, ("local", "waiting"): 1}
    with pytest.raises(InputError) as unknown:
        desk.deposits(states=("gone",))
    assert unknown.value.field == "states"
    shop.work(seconds=1200)
    shop.work(0, seconds=1200)
    assert (of("waiting"), of("stuck")) == ([], [])


def drawn(shop: DepositShop, method: str, path: str, form: str = "") -> Response:
    """What the desk answers, to somebody in finance."""
    pages = Pages(shop.engine, Options())
    found = pages.match(method, path)
    assert found is not None
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    request = Request(method=method, path=path, params=found[1], headers=headers, body=form.encode())
    return pages.respond(found[0], request, OPS)


def test_people_at_the_desk_look_again_and_sweep(shop: DepositShop):
    other = deploy_token(shop.node, symbol="oUSD", decimals=8)
    offer = shop.offer()
    shop.send_token(offer.address, 1000)  # too little to be swept by itself
    shop.act(other, "mint", offer.address, 777)
    shop.work(0)
    listed = drawn(shop, "GET", "/desk/deposits").body.decode()
    assert offer.ledger_id in listed
    assert "0.001 tUSD" in listed
    path = f"/desk/orders/{offer.ledger_id}"
    looked = drawn(shop, "POST", f"{path}/deposit-look")
    assert (looked.status, dict(looked.headers)["Location"]) == (303, f"/billing{path}?done=deposit_look")
    assert shop.place(offer).next_at == shop.clock.now()
    swept = drawn(shop, "POST", f"{path}/deposit-sweep", f"token={other.address}")
    assert (swept.status, len(shop.sweeps())) == (303, 1)
    again = drawn(shop, "POST", f"{path}/deposit-sweep", f"token={other.address}")
    assert again.status == 409
    assert "A sweep of this address is on its way" in again.body.decode()
    assert [e.action for e in shop.audit(offer)] == ["deposit.look", "deposit.sweep"]


def test_a_process_without_the_relayers_key_says_where_it_is(shop: DepositShop, monkeypatch):
    offer = shop.offer()
    shop.send_token(offer.address, 1000)
    (gateway,) = shop.admin.gateways()
    shop.admin.update_gateway("main", version=gateway.version, relayer="env:RELAYER_ELSEWHERE")
    refused = drawn(shop, "POST", f"/desk/orders/{offer.ledger_id}/deposit-sweep")
    assert (refused.status, shop.sweeps()) == (409, [])
    assert "evmbilling deposits sweep" in refused.body.decode()


def test_the_relayer_stays_while_something_is_sold_at_addresses(shop: DepositShop):
    (gateway,) = shop.admin.gateways()
    with pytest.raises(InputError, match="deposit addresses") as refused:
        shop.admin.update_gateway("main", version=gateway.version, relayer=None)
    assert refused.value.field == "relayer"
    for plan in shop.admin.plans():
        shop.admin.archive_plan(plan.slug)
    assert shop.admin.update_gateway("main", version=gateway.version, relayer=None).relayer is None


def test_the_relayer_stays_while_it_is_needed_for_what_was_sold(shop: DepositShop):
    """An archived plan has customers: an order to pay, money to sweep, periods to come."""
    (gateway,) = shop.admin.gateways()
    offer = shop.offer()
    for plan in shop.admin.plans():
        shop.admin.archive_plan(plan.slug)

    def refusal() -> str:
        with pytest.raises(InputError) as refused:
            shop.admin.update_gateway("main", version=gateway.version, relayer=None)
        assert refused.value.field == "relayer"
        return refused.value.message

    assert "can be paid" in refusal() or "subscriptions to" in refusal()
    shop.send_token(offer.address)
    shop.work()
    assert shop.status(offer) == "confirmed"
    assert "subscriptions to pro" in refusal()
    (subscription,) = shop.engine.subscriptions("alice")
    shop.engine.cancel_subscription(subscription.subscription_id, when="now")
    shop.work()
    # Something comes to the address afterwards, and waits.
    shop.send_token(offer.address, 5)
    shop.clock.advance(timedelta(seconds=60))
    shop.engine.deposits(OPS).look_again(offer.ledger_id)
    shop.engine.look_at_deposits()
    assert shop.place(offer).held == 5
    assert "waits at" in refusal()


def test_a_process_that_cannot_sweep_says_why(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address, 1000)
    shop.take_relayer()
    refused = drawn(shop, "POST", f"/desk/orders/{offer.ledger_id}/deposit-sweep")
    assert (refused.status, shop.sweeps()) == (409, [])
    assert "Gateway main has no relayer" in refused.body.decode()
    assert "key is not here" not in refused.body.decode()


def test_another_token_that_is_sold_in_waits_for_a_person_with_its_own_name(shop: DepositShop):
    other = deploy_token(shop.node, symbol="oUSD", decimals=8)
    shop.sell("other", product="other", prices=[shop.price(other, 8, "oUSD")])
    offer = shop.offer()
    shop.act(other, "mint", offer.address, 777)
    shop.work()
    assert shop.sweeps() == []
    desk = shop.engine.deposits(OPS)
    desk.sweep(offer.ledger_id, other.address)
    shop.work()
    (receipt,) = shop.receipts()
    assert (receipt.allocation, receipt.reason, receipt.amount) == ("suspense", "wrong_token", 777)
    assert (receipt.asset.token, receipt.asset.symbol, receipt.asset.decimals) == (other.address, "oUSD", 8)
    assert (shop.status(offer), shop.movements(), shop.differences()) == ("pending", ["suspense"], [])
    (item,) = shop.engine.finance(OPS).queue()
    assert (item.kind, item.reason) == ("suspense", "wrong_token")
    shop.engine.finance(OPS).credit(item.item_id, "alice", note="she chose the wrong token")
    assert shop.differences() == []


def test_coins_that_were_sent_in_place_of_tokens_are_recovered(shop: DepositShop):
    offer = shop.offer()
    shop.send_coins(offer.address)
    shop.work()
    assert shop.sweeps() == []
    shop.engine.deposits(OPS).sweep(offer.ledger_id, NATIVE_COIN)
    shop.work()
    (receipt,) = shop.receipts()
    assert (receipt.reason, receipt.amount, receipt.asset.symbol) == ("wrong_token", COIN_PRICE, "ETH")
    assert shop.differences() == []


def test_a_token_that_nobody_sells_in_reaches_the_treasury_and_no_book(shop: DepositShop):
    unknown = deploy_token(shop.node, symbol="X")
    offer = shop.offer()
    shop.act(unknown, "mint", offer.address, 5)
    shop.engine.deposits(OPS).sweep(offer.ledger_id, unknown.address)
    shop.work()
    assert shop.ask(unknown, "balanceOf", shop.treasury) == 5
    assert (shop.receipts(), shop.movements(), shop.differences()) == ([], [], [])


def test_money_after_the_last_look_is_found_when_somebody_asks(anvil: AnvilNode):
    shop = DepositShop(anvil, misfits={"late_watch": 0})
    try:
        offer = shop.offer()
        shop.node.increase_time(2 * 86_400)
        shop.settle(1)
        assert (shop.status(offer), shop.place(offer).next_at) == ("expired", None)
        shop.send_token(offer.address)
        shop.work()
        assert shop.receipts() == []
        again = shop.engine.deposits(OPS).look_again(offer.ledger_id)
        assert again.next_at == shop.clock.now()
        shop.work()
        assert [(r.allocation, r.reason) for r in shop.receipts()] == [("credit", "late")]
        shop.work(0)
        assert shop.place(offer).next_at is None
        actions = [(e.actor, e.action) for e in shop.audit(offer)]
        assert actions == [("ops", "deposit.look")]
    finally:
        shop.close()


def test_too_little_is_swept_when_somebody_says_so(anvil: AnvilNode):
    shop = DepositShop(anvil, misfits={"dust_below": {"tUSD": 1_000_000}})
    try:
        offer = shop.offer()
        shop.send_token(offer.address, 999_999)
        shop.work()
        sent = shop.engine.deposits(OPS).sweep(offer.ledger_id)
        assert (sent.sender, sent.to, sent.purpose) == (RELAYER.address, shop.deposits.address, "sweep")
        with pytest.raises(Conflict) as twice:
            shop.engine.deposits(OPS).sweep(offer.ledger_id)
        assert twice.value.field == "ledger_id"
        shop.work()
        assert shop.status(offer) == "partially_paid"
        assert [(e.actor, e.action) for e in shop.audit(offer)] == [("ops", "deposit.sweep")]
    finally:
        shop.close()


def test_who_may_and_what_is_not_there(shop: DepositShop):
    offer = shop.offer()
    nobody = shop.engine.deposits(Actor("alice", frozenset()))
    for call in (nobody.deposit, nobody.look_again, nobody.sweep):
        with pytest.raises(PermissionDenied):
            call(offer.ledger_id)
    desk = shop.engine.deposits(OPS)
    for call in (desk.deposit, desk.look_again, desk.sweep):
        with pytest.raises(NotFound) as absent:
            call(NO_ORDER)
        assert absent.value.field == "ledger_id"
    with pytest.raises(InputError) as bad:
        desk.sweep(offer.ledger_id, "0x12")
    assert bad.value.field == "token"
    assert desk.deposit(offer.ledger_id).address == offer.address
    for token in (None, NATIVE_COIN, STRANGER.address):
        with pytest.raises(Conflict) as empty:
            desk.sweep(offer.ledger_id, token)
        assert empty.value.field == "token"
    shop.send_token(offer.address)
    shop.take_relayer()
    with pytest.raises(ConfigurationError):
        desk.sweep(offer.ledger_id)
    assert shop.place(offer).sweeps == 0


def test_the_next_period_has_an_address_of_its_own_and_needs_no_wallet(shop: DepositShop):
    first = shop.offer()
    shop.send_token(first.address)
    shop.work()
    shop.node.increase_time(31 * 86_400)
    shop.settle(1)
    (renewal,) = [o for o in shop.engine.orders("alice") if o.origin == "renewal"]
    asked = shop.engine.order(renewal.ledger_id)
    assert (renewal.rail, renewal.period, asked.next) == ("deposit", 1, "pay")
    assert asked.address not in (None, first.address)
    shop.send_token(asked.address)
    shop.work()
    assert shop.engine.subscriptions("alice")[0].paid_periods == 2
    assert shop.differences() == []


def test_a_dearer_plan_is_paid_at_an_address_and_one_that_needs_a_wallet_asks_for_it(shop: DepositShop):
    from evmbilling.testing.deploy import deploy

    first = shop.offer()
    shop.send_token(first.address)
    shop.work()
    (held,) = shop.engine.subscriptions("alice")
    changed = shop.engine.change_subscription(held.subscription_id, quantity=3, timing="now")
    assert changed.order is not None
    shop.send_token(changed.order.address, changed.order.amount)
    shop.work()
    assert shop.engine.subscriptions("alice")[0].quantity == 3
    signed = deploy(shop.node, "Checkout", STRANGER.address, STRANGER.address, [], "Member", "MBR")
    shop.admin.create_contract(slug="signed", network="local", address=signed.address, start_block=signed.block)
    shop.sell("max", contract_slug="signed")
    with pytest.raises(InputError) as caught:
        shop.engine.change_subscription(held.subscription_id, plan="max", timing="next_period")
    assert caught.value.field == "wallet"
    shop.engine.change_subscription(held.subscription_id, plan="max", timing="next_period", wallet=STRANGER.address)
    assert shop.differences() == []


def test_a_refund_goes_where_its_owner_proves_and_never_to_the_deposit_address(shop: DepositShop):

    offer = shop.offer()
    shop.send_token(offer.address)
    shop.work()
    desk = shop.engine.refunds(Actor("ops", OPS.roles))
    refund = desk.request(ledger_id=offer.ledger_id, reason="asked")
    assert (refund.via, refund.address) == ("transfer", None)
    prove(shop.engine, refund.refund_id, STRANGER)
    shop.send(desk.prepare(refund.refund_id), shop.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert shop.balance(STRANGER.address) == PRICE
    assert shop.differences() == []


def test_a_shell_has_an_address_swept(databases):
    """The command goes by the machine's clock, so the chain is a new one: its blocks are of today."""
    with databases.lend("sqlite") as url:
        node = AnvilNode(chain_id=31337).start()
        clock = FrozenClock(DepositShop.when(node.block()))
        shop = DepositShop(node, storage=open_sql(url, clock), clock=clock)
        try:
            offer = shop.offer()
            shop.send_coins(offer.address)
            keys = {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode()}
            asked = ["deposits", "sweep", offer.ledger_id, "--token", NATIVE_COIN, "--by", "anna"]
            told = CliRunner(env=keys).invoke(app, asked)
            (sent,) = shop.sweeps()
            assert told.stdout == f"{sent.transmission_id} will be sent by {RELAYER.address}\n"
            again = CliRunner(env=keys).invoke(app, [*asked, "--json"])
            assert (again.exit_code, json.loads(again.stdout)["error"]["code"]) == (1, "conflict")
            assert [(e.actor, e.changes["amount"]) for e in shop.audit(offer)] == [("anna", str(COIN_PRICE))]
            shop.work()
            assert [r.reason for r in shop.receipts()] == ["wrong_token"]
        finally:
            shop.close()
            node.stop()
