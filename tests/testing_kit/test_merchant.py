"""Merchants for tests: one in memory that a seed decides, one on Anvil; and the drain that settles them."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import make_sqlite
from evmbilling.adapters.memory.storage import MemoryStorage
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.addresses import parse_address
from evmbilling.engine.reading.base import ReadReport
from evmbilling.errors import RpcUnavailable
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import Drained, NotSettled, drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import (
    ADMIN,
    CREDIT_DEPTH,
    IRREVERSIBLE_DEPTH,
    anvil_merchant,
    plan_fields,
    repeatable_secrets,
    simulated_merchant,
    wallet_of,
)
from evmbilling.testing.wallet import Wallet
from sampling import examples


@pytest.fixture
def shop():
    made = simulated_merchant(seed=1)
    yield made
    made.engine.close()


def test_a_simulated_merchant_sells_the_monthly_plan(shop):
    bought = shop.buy()
    assert (bought.status, bought.amount, bought.asset) == ("confirmed", 19_990_000, shop.token)
    assert shop.engine.access("user-1").plan_slug == "pro"
    assert shop.engine.access("user-1", feature="export").allowed
    assert not shop.engine.access("user-2").allowed


def test_it_sells_a_thing_once_and_for_the_native_coin(shop):
    bought = shop.buy(plan=shop.pack, asset="ETH")
    assert (bought.status, bought.asset, bought.amount) == ("confirmed", shop.native, 10**16)
    assert shop.engine.subscriptions("user-1") == []
    assert shop.engine.access("user-1", product="pack").allowed


def test_each_purchase_is_an_order_of_its_own(shop):
    first, second = shop.buy(), shop.buy()
    assert first.ledger_id != second.ledger_id
    assert shop.engine.subscriptions("user-1")[0].paid_periods == 2


def test_checkouts_of_a_user_share_a_key_by_default(shop):
    assert shop.checkout().ledger_id == shop.checkout().ledger_id
    assert shop.checkout("user-2").ledger_id != shop.checkout().ledger_id


def test_access_needs_the_depth_and_settles_at_it(shop):
    offer = shop.checkout()
    shop.chain.pay(offer.order)
    shop.settle(CREDIT_DEPTH - 1)
    assert shop.engine.order(offer.ledger_id).status == "confirming"
    shop.settle(1)
    assert shop.engine.order(offer.ledger_id).status == "confirmed"
    shop.settle(IRREVERSIBLE_DEPTH - CREDIT_DEPTH)
    assert shop.engine.order(offer.ledger_id).status == "final"


@pytest.mark.parametrize("mode", ["drop", "reinclude", "reorder", "double_spend"])
def test_reorganisations_reach_the_engine(shop, mode):
    offer = shop.buy()
    shop.chain.reorganise(CREDIT_DEPTH, mode=mode)
    shop.settle()
    kept = mode in {"reinclude", "reorder"}
    assert shop.engine.access("user-1").allowed is kept
    assert shop.engine.order(offer.ledger_id).status == ("confirmed" if kept else "reversed")
    assert len(shop.engine.receipts(offer.ledger_id)) == 1


def history(shop):
    events = shop.engine.admin(ADMIN).events(limit=1000)
    return [attrs.astuple(event) for event in events], shop.chain.head.hash


def story(seed):
    shop = simulated_merchant(seed=seed)
    shop.buy()
    shop.chain.reorganise(2, mode="reorder")
    shop.settle(seconds=86_400)
    shop.buy("user-2", plan="pack")
    made = history(shop)
    shop.engine.close()
    return made


def test_one_seed_gives_one_history():
    assert story(5) == story(5)
    assert story(5) != story(6)


@settings(max_examples=examples(5))
@given(st.integers(0, 2**32))
def test_any_seed_sells(seed):
    shop = simulated_merchant(seed=seed)
    assert shop.buy().status == "confirmed"
    shop.engine.close()


def test_a_merchant_on_sqlite(tmp_path):
    url = make_sqlite(tmp_path / "billing.sqlite3")
    shop = simulated_merchant(storage=SqlAlchemyStorage.open(url))
    assert shop.buy().status == "confirmed"
    shop.engine.close()


@pytest.mark.fault("H27")
def test_h27_two_merchants_in_one_process_do_not_see_each_other():
    one, two = simulated_merchant(seed=1), simulated_merchant(seed=2)
    paid = one.buy()
    two.settle()
    assert not two.engine.access("user-1").allowed
    assert one.engine.access("user-1").allowed
    assert two.engine.orders("user-1") == []
    assert paid.reference != two.checkout().reference
    for shop in (one, two):
        shop.engine.close()


def test_wallets_of_users_are_addresses_and_differ():
    made = {wallet_of(f"user-{n}") for n in range(100)}
    assert len(made) == 100
    assert all(parse_address(address, field="wallet") == address for address in made)


def test_more_plans_are_easily_made(shop):
    fields = plan_fields(shop, "team", name="Team", limits={"seats": 5})
    assert shop.engine.admin(ADMIN).create_plan(**fields).limits == (("seats", 5),)
    assert shop.buy(plan="team").status == "confirmed"


def test_a_merchant_on_anvil(anvil, clock):
    storage = MemoryStorage(FrozenClock())
    engine = BillingEngine(storage=storage, secrets=repeatable_secrets(), clock_tolerance=None)
    shop = anvil_merchant(engine, anvil)
    wallet = Wallet(anvil.accounts[1].key, anvil.url)
    offer = shop.checkout(wallet=wallet.address, asset="ETH")
    wallet.pay(engine.pay_instructions(offer.ledger_id))
    anvil.mine(CREDIT_DEPTH)
    assert drain(engine).logs == 1
    assert engine.order(offer.ledger_id).status == "confirmed"
    engine.close()


# -- drain


def test_draining_a_settled_merchant_does_nothing(shop):
    shop.drain()
    assert shop.drain() == Drained()


def test_drain_counts_what_it_did(shop):
    shop.chain.pay(shop.checkout().order)
    done = shop.settle()
    assert (done.blocks, done.logs, done.rewound, done.expired, done.parked) == (3, 2, 0, 0, 0)
    assert done.taken >= 1
    shop.chain.reorganise(2)
    assert shop.drain().rewound == 2


def test_drain_expires_what_the_chain_has_passed(shop):
    offer = shop.checkout()
    shop.settle(seconds=1801)
    assert shop.engine.order(offer.ledger_id).status == "expired"


class Restless:
    """An engine that always has something to do."""

    def __init__(self, engine, outcome):
        self.engine = engine
        self.outcome = outcome
        self.rounds = 0

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def read_chain(self, network, *, max_blocks=1000):
        self.rounds += 1
        return ReadReport(network=network, outcome=self.outcome, blocks=int(self.outcome == "read"))


@pytest.mark.parametrize("outcome", ["read", "busy"])
def test_drain_raises_when_it_does_not_settle(shop, outcome):
    restless = Restless(shop.engine, outcome)
    with pytest.raises(NotSettled) as failed:
        drain(restless, rounds=7)
    assert (restless.rounds, failed.value.code) == (7, "not_settled")


class Watched:
    """An engine whose first step does something once."""

    def __init__(self, engine):
        self.engine = engine
        self.called = []

    def __getattr__(self, name):
        if name != "admin":
            self.called.append(name)
        return getattr(self.engine, name)

    def read_chain(self, network):
        self.called.append("read_chain")
        return ReadReport(network=network, outcome="read", blocks=int(self.called == ["read_chain"]))


def test_drain_ends_when_every_step_has_found_nothing_since_the_last_change(shop):
    shop.drain()
    watched = Watched(shop.engine)
    assert drain(watched).rounds == 1
    once = ["read_chain", "run_intake", "expire_orders", "run_renewals", "run_charges", "look_at_deposits", "relay"]
    assert watched.called == [*once, "read_chain"]


def test_drain_says_when_a_network_cannot_be_read(shop):
    shop.chain.fail()
    with pytest.raises(RpcUnavailable):
        shop.drain()
    shop.chain.heal()
    shop.drain()


def test_a_chain_of_ones_own_is_used(clock):
    chain = FakeChain(4242, start=clock.now())
    shop = simulated_merchant(chain=chain)
    assert shop.chain is chain
    assert shop.token.chain_id == 4242
    assert shop.buy().status == "confirmed"
    shop.engine.close()
