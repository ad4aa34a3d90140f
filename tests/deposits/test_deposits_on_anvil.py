"""Orders that are paid by sending to an address, on a real chain."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from deposit_bench import COIN_PRICE, CREDIT_DEPTH, EXCHANGE, IRREVERSIBLE_DEPTH, PRICE, RELAYER, STRANGER, DepositShop

from databases import open_sql
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.errors import Conflict, InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import deploy, deploy_token
from evmbilling.testing.merchant import ADMIN

both = pytest.mark.parametrize("database", ["sqlite", "postgres"])


def test_tokens_from_anywhere_pay_the_order_when_they_are_swept(shop: DepositShop):
    offer = shop.offer()
    assert (offer.order.rail, offer.order.wallet, offer.challenge) == ("deposit", ZERO_ADDRESS, None)
    assert offer.address is not None
    assert shop.node.rpc("eth_getCode", offer.address, "latest") == "0x"
    assert shop.ask(shop.deposits, "addressOf", offer.reference, shop.treasury) == int(offer.address, 16)
    link = f"ethereum:{shop.token.address}@{shop.node.chain_id}/transfer?address={offer.address}&uint256={PRICE}"
    assert offer.uri == link
    shop.send_token(offer.address)
    shop.work(1)
    assert shop.status(offer) == "confirming"
    assert not shop.engine.access("alice").allowed
    shop.settle(CREDIT_DEPTH - 1)
    assert shop.status(offer) == "confirmed"
    assert shop.engine.access("alice").allowed
    assert (shop.balance(shop.treasury), shop.balance(offer.address)) == (PRICE, 0)
    assert shop.movements() == ["receipt"]
    shop.work(IRREVERSIBLE_DEPTH, seconds=3600)
    shop.work(1, seconds=700)
    assert (shop.status(offer), [t.status for t in shop.sweeps()]) == ("final", [T.DONE])
    assert shop.differences() == []
    with shop.engine._ports.storage.unit(write=False) as unit:
        assert [e.kind for e in unit.ledger_entries()].count("gas") == 1
    assert not shop.engine.check_contracts()


def test_coins_pay_too_and_a_wallet_is_handed_the_transfer(shop: DepositShop):
    offer = shop.offer(plan="coin")
    assert offer.uri == f"ethereum:{offer.address}@{shop.node.chain_id}?value={COIN_PRICE}"
    assert (offer.payload.to, offer.payload.value, offer.payload.data) == (offer.address, COIN_PRICE, b"")
    before = int(shop.node.rpc("eth_getBalance", shop.treasury, "latest"), 16)
    shop.node.send(offer.payload.as_rpc(STRANGER.address))
    shop.node.mine()
    shop.work()
    assert shop.status(offer) == "confirmed"
    assert int(shop.node.rpc("eth_getBalance", shop.treasury, "latest"), 16) == before + COIN_PRICE
    assert shop.placed() == [("order", None, COIN_PRICE, "credited")]
    assert shop.differences() == []


def test_what_a_wallet_sends_by_the_payload_is_the_same(shop: DepositShop):
    offer = shop.offer()
    assert shop.engine.order(offer.ledger_id).payload == offer.payload
    told = shop.engine.pay_instructions(offer.ledger_id)
    assert (told.payload, told.approval, told.problems) == (offer.payload, None, ())
    shop.act(shop.token, "mint", STRANGER.address, PRICE)
    shop.node.send(offer.payload.as_rpc(STRANGER.address))
    shop.node.mine()
    shop.work()
    assert shop.status(offer) == "confirmed"


def test_parts_add_up_and_what_is_too_much_or_comes_twice_is_credit(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address, PRICE - 5)
    shop.work()
    assert shop.status(offer) == "partially_paid"
    shop.send_token(offer.address, 7)
    shop.work(0)  # now it is known that the first sweep is mined, and long before it is irreversible
    shop.work()
    assert shop.status(offer) == "confirmed"
    shop.send_token(offer.address, PRICE // 50)
    shop.work(0)
    shop.work()
    assert sorted(shop.placed()) == [
        ("credit", "duplicate", PRICE // 50, "credited"),
        ("order", None, 7, "credited"),
        ("order", None, PRICE - 5, "credited"),
    ]
    assert len(shop.sweeps()) == 3
    assert shop.balance(shop.treasury) == PRICE + 2 + PRICE // 50
    assert shop.differences() == []


def test_what_arrives_in_the_last_second_is_in_time_and_what_comes_a_day_later_is_credit(shop: DepositShop):
    offer, other = shop.offer(), shop.offer("bob")
    shop.node.increase_time(1790)
    shop.send_token(offer.address)
    assert shop.time() <= offer.deadline
    shop.node.increase_time(600)
    shop.settle(1)
    assert shop.status(other) == "pending"  # what was sent to it in time may still be swept
    shop.work()
    assert shop.status(offer) == "confirmed"
    shop.node.increase_time(86_400)
    shop.settle(1)
    assert shop.status(other) == "expired"
    assert shop.engine.order(other.ledger_id).address is None
    shop.send_token(other.address)
    shop.work(seconds=3700)
    assert shop.status(other) == "expired"
    assert sorted(r[:3] for r in shop.placed()) == [("credit", "late", PRICE), ("order", None, PRICE)]
    assert shop.differences() == []


def test_a_sweep_that_a_reorganisation_takes_back_is_reversed_and_mined_again(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address)
    shop.work()
    assert shop.engine.access("alice").allowed
    shop.node.reorg(CREDIT_DEPTH)
    shop.node.mine()
    shop.settle(0)
    assert shop.status(offer) == "reversed"
    assert not shop.engine.access("alice").allowed
    assert (shop.movements(), shop.differences()) == ([], [])
    shop.work()
    assert shop.status(offer) == "confirmed"
    assert shop.engine.access("alice").allowed
    (sweep,) = shop.sweeps()
    assert sweep.versions == 1  # the same bytes again
    assert shop.differences() == []


def test_a_deposit_that_a_reorganisation_takes_back_reverses_the_order_until_it_comes_again(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address)
    shop.work()
    assert shop.status(offer) == "confirmed"
    shop.node.reorg(CREDIT_DEPTH + 2)  # the tokens of the exchange, too, are gone
    shop.node.drop_all()
    shop.node.mine()
    shop.settle(0)
    assert shop.status(offer) == "reversed"
    shop.work(1)
    assert shop.balance(shop.treasury) == 0
    assert shop.differences() == []
    shop.node.mine(IRREVERSIBLE_DEPTH)
    shop.work(1, seconds=3600)
    shop.send_token(offer.address)
    for _ in range(3):
        shop.work(seconds=700)
    assert shop.status(offer) == "confirmed"
    assert shop.balance(shop.treasury) == PRICE
    assert shop.differences() == []


def test_a_deposit_that_is_gone_before_it_was_swept_costs_nothing(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address)
    shop.clock.advance(timedelta(seconds=60))
    report = shop.engine.look_at_deposits()
    assert (report.looked, report.held, report.ordered) == (1, 1, 1)
    place = shop.place(offer)
    assert (place.held, place.sweeps, place.seen_at) == (PRICE, 1, shop.clock.now())
    shop.node.reorg(1)
    shop.node.drop_all()
    shop.node.mine()
    shop.clock.advance(timedelta(seconds=60))
    shop.engine.relay()
    assert [(t.status, t.failure_reason, t.nonce) for t in shop.sweeps()] == [(T.FAILED, "reverts", None)]
    shop.engine.look_at_deposits()
    place = shop.place(offer)
    assert (place.held, place.seen_at, place.failures) == (0, None, 0)


def test_who_sweeps_before_us_pays_the_gas_and_the_order_is_paid_all_the_same(shop: DepositShop):
    offer = shop.offer()
    shop.send_token(offer.address)
    sweep = ("sweep", offer.reference, shop.treasury, shop.token.address, PRICE)
    shop.act(shop.deposits, *sweep, sender=STRANGER.address)
    shop.work()
    assert (shop.status(offer), shop.sweeps()) == ("confirmed", [])
    assert shop.differences() == []


def test_what_anybody_has_the_contract_say_of_their_own_is_nothing_to_us(shop: DepositShop):
    offer = shop.offer()
    own = deploy_token(shop.node)
    theirs = shop.ask(shop.deposits, "addressOf", offer.reference, STRANGER.address)
    shop.send_token(f"0x{theirs:040x}")
    sweep = (shop.deposits, "sweep", offer.reference)
    shop.act(*sweep, STRANGER.address, shop.token.address, PRICE, sender=STRANGER.address)
    shop.act(own, "mint", offer.address, 10**30)
    shop.act(*sweep, shop.treasury, own.address, 10**30, sender=STRANGER.address)
    shop.work()
    assert (shop.status(offer), shop.placed(), shop.movements()) == ("pending", [], [])
    assert shop.differences() == []


def test_small_change_is_not_swept(anvil: AnvilNode):
    shop = DepositShop(anvil, misfits={"dust_below": {"tUSD": 1_000_000}})
    try:
        offer = shop.offer()
        shop.send_token(offer.address, 999_999)
        shop.work()
        assert (shop.sweeps(), shop.place(offer).held) == ([], 999_999)
        shop.send_token(offer.address, PRICE - 999_999)
        shop.work()
        assert shop.status(offer) == "confirmed"
    finally:
        shop.close()


def test_the_last_unit_of_an_order_is_swept_whatever_is_dust(anvil: AnvilNode):
    shop = DepositShop(anvil, misfits={"dust_below": {"tUSD": 1_000_000}})
    try:
        offer = shop.offer()
        shop.send_token(offer.address, PRICE - 1)
        shop.work()
        assert (len(shop.sweeps()), shop.status(offer)) == (1, "partially_paid")
        shop.send_token(offer.address, 1)
        shop.work(0)
        shop.work()
        assert (len(shop.sweeps()), shop.status(offer)) == (2, "confirmed")
        shop.send_token(offer.address, 1)  # the order is complete: what comes now is dust again
        shop.work(0)
        shop.work()
        assert len(shop.sweeps()) == 2
        assert shop.differences() == []
    finally:
        shop.close()


def test_what_is_not_worth_the_gas_of_a_sweep_is_not_swept_and_completes_an_order_later(shop: DepositShop):
    """Anybody can send next to nothing as often as they like; it is we who would pay for sweeping it."""
    offer = shop.offer()
    shop.send_token(offer.address, PRICE // 100 - 1)
    shop.work()
    assert (shop.sweeps(), shop.status(offer)) == ([], "pending")
    shop.send_token(offer.address, 2)
    shop.work()
    assert (len(shop.sweeps()), shop.status(offer)) == (1, "partially_paid")
    shop.send_token(offer.address, PRICE - PRICE // 100 - 2)
    shop.work(0)
    shop.work()
    assert (len(shop.sweeps()), shop.status(offer)) == (2, "partially_paid")
    shop.send_token(offer.address, 1)
    shop.work(0)
    shop.work()
    assert (len(shop.sweeps()), shop.status(offer)) == (3, "confirmed")
    shop.send_token(offer.address, 1)
    shop.work(0)
    shop.work()
    assert len(shop.sweeps()) == 3
    assert shop.engine.progress(offer.ledger_id).seen == 1
    assert shop.differences() == []


@pytest.mark.parametrize("token", ["NoReturnToken", "FeeToken"])
def test_odd_tokens_are_credited_with_what_arrived(anvil: AnvilNode, token: str):
    shop = DepositShop(anvil, token=token)
    try:
        offer = shop.offer()
        if token == "FeeToken":
            shop.act(shop.token, "setFee", 100)
        shop.send_token(offer.address)
        shop.work()
        kept = 0 if token == "NoReturnToken" else PRICE // 100
        # A token that keeps a fee keeps it twice: on the way to the address, and from there to the treasury.
        arrived = PRICE if not kept else (PRICE - kept) - (PRICE - kept) // 100
        assert shop.balance(shop.treasury) == arrived
        assert shop.placed() == [("order", None, arrived, "credited")]
        assert shop.status(offer) == ("partially_paid" if kept else "confirmed")
        # The token's own log says more than what arrived: verification names that.
        codes = {d.code for d in shop.differences()}
        assert codes == ({"movement_class_differs", "receipt_without_movement", "unexplained_delta"} if kept else set())
    finally:
        shop.close()


def test_plans_and_checkouts_that_cannot_be_paid_so_are_refused(shop: DepositShop):
    checkout = deploy(shop.node, "Checkout", EXCHANGE.address, EXCHANGE.address, [], "Member", "MBR")
    shop.admin.create_contract(slug="signed", network="local", address=checkout.address, start_block=checkout.block)
    shop.sell("signed", contract_slug="signed", product="other")
    with pytest.raises(InputError) as caught:
        shop.offer(plan="signed")
    assert caught.value.field == "wallet"
    with pytest.raises(InputError) as quoted:
        shop.engine.quote(plan="signed", user_id="alice")
    assert quoted.value.field == "wallet"
    shop.take_relayer()
    with pytest.raises(InputError) as unswept:
        shop.sell("third", product="third")
    assert unswept.value.field == "gateway_slug"


def test_only_the_contract_itself_is_bound_because_money_at_another_ones_addresses_is_lost(shop: DepositShop):
    fields = {"slug": "other", "network": "local", "kind": "deposit", "start_block": 1}
    for address in (shop.token.address, STRANGER.address):
        with pytest.raises(InputError) as caught:
            shop.admin.create_contract(**fields, address=address)
        assert caught.value.field == "address"
    assert [c.slug for c in shop.admin.contracts()] == ["theirs"]


def test_a_binding_in_the_hosts_transaction_is_refused(anvil: AnvilNode, databases):
    with databases.lend("sqlite") as url:
        clock = FrozenClock(DepositShop.when(anvil.block()))
        shop = DepositShop(anvil, storage=open_sql(url, clock), clock=clock)
        try:
            host = sa.create_engine(url)
            fields = {"slug": "x", "network": "local", "address": shop.deposits.address, "kind": "deposit"}
            with (
                host.connect() as connection,
                shop.engine.within(connection) as billing,
                pytest.raises(Conflict) as caught,
            ):
                billing.admin(ADMIN).create_contract(**fields)
            assert caught.value.field == "kind"
            host.dispose()
        finally:
            shop.close()


def test_without_the_relayers_key_money_waits_and_is_swept_when_it_is_there(shop: DepositShop):
    offer = shop.offer()
    version = shop.take_relayer()
    shop.send_token(offer.address)
    shop.clock.advance(timedelta(seconds=60))
    report = shop.engine.look_at_deposits()
    assert (report.held, report.ordered, dict(report.failed)) == (1, 0, {"configuration": 1})
    assert (shop.place(offer).held, shop.place(offer).failures) == (PRICE, 1)
    shop.admin.update_gateway("main", version=version, relayer=RELAYER.key)
    shop.work()
    assert shop.status(offer) == "confirmed"


def test_a_worker_without_the_key_does_not_hold_up_the_one_that_has_it(shop: DepositShop):
    offer = shop.offer()
    version = next(g.version for g in shop.admin.gateways())
    shop.admin.update_gateway("main", version=version, relayer="env:KEPT_ELSEWHERE")
    shop.send_token(offer.address)
    for _ in range(12):
        shop.clock.advance(timedelta(seconds=60))
        report = shop.engine.look_at_deposits()
        assert (report.held, report.ordered, dict(report.failed)) == (1, 0, {"configuration": 1})
    place = shop.place(offer)
    assert (place.held, place.failures, place.next_at) == (PRICE, 0, shop.clock.now() + timedelta(seconds=30))
    shop.admin.update_gateway("main", version=version + 1, relayer=RELAYER.key)
    shop.work()
    assert shop.status(offer) == "confirmed"


@both
def test_workers_at_once_order_one_sweep(anvil: AnvilNode, databases, database: str):
    with databases.lend(database) as url:
        clock = FrozenClock(DepositShop.when(anvil.block()))
        shop = DepositShop(anvil, storage=open_sql(url, clock), clock=clock)
        others = [
            type(shop.engine)(storage=open_sql(url, clock), clock=clock, secrets=shop.engine._ports.secrets)
            for _ in range(3)
        ]
        try:
            offers = [shop.offer(f"user-{n}") for n in range(6)]
            for offer in offers:
                shop.send_token(offer.address)
            clock.advance(timedelta(seconds=60))
            start = threading.Barrier(4)

            def work(engine: object) -> None:
                start.wait()
                for _ in range(4):
                    engine.look_at_deposits(limit=4)
                    engine.relay()

            threads = [threading.Thread(target=work, args=(engine,)) for engine in (shop.engine, *others)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            shop.work()
            assert len(shop.sweeps()) == 6
            assert {shop.status(offer) for offer in offers} == {"confirmed"}
            assert shop.balance(shop.treasury) == 6 * PRICE
            assert shop.differences() == []
        finally:
            for engine in (shop.engine, *others):
                engine.close()
