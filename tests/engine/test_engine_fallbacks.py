"""Where a checkout is quoted while the network of its plan halts or is read too slowly."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from engine_shop import CONTRACT, START, TREASURY, address, build_shop, make_plan

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.catalogue.catalogue import Heights, Price
from evmbilling.domain.reading.evidence import Cursor, Halt
from evmbilling.domain.selling.availability import fallback_prices, lag_of, unavailable
from evmbilling.errors import ConfigurationError, InputError, NetworkUnavailable, UnknownAsset, UnknownNetwork
from evmbilling.testing.fake_chain import FakeChain

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

MAX_LAG = 600
ADMIN = Actor("anna", frozenset({Role.BILLING_ADMIN}))


def stop(shop, *names):
    """Let the reader of these networks fall behind by more than is allowed; the others are read."""
    for chain in shop.chains.values():
        chain.mine(2)
    shop.clock.set(shop.chain.head.timestamp)
    shop.settle()
    shop.clock.advance(seconds=MAX_LAG + 1)
    for number, (network, chain) in enumerate(zip(shop.admin.networks(), shop.chains.values(), strict=True)):
        if network.name not in names:
            chain.mine(timestamp=shop.clock.now() - timedelta(seconds=number))
            shop.engine.read_chain(network.name)


def halt(shop, chain, name):
    """Halt a network."""
    chain.mine(8)
    shop.catch_up()
    shop.engine.read_chain(name)
    chain.reorganise(8)
    chain.mine()
    assert shop.engine.read_chain(name).outcome == "halted"


@pytest.fixture
def three(any_shop):
    """A shop on three networks: the first falls back to the third, then to the second."""
    chains = [FakeChain(chain_id, start=START) for chain_id in (31337, 10, 8453)]
    shop = any_shop(chains=chains, max_lag=MAX_LAG, irreversible_after="depth 5")
    shop.admin.update_network("fake", version=1, fallback_networks=["unknown", "fake3", "fake2"])
    return shop


def buy(shop, key="k", **over):
    return shop.checkout(key, user_id=key, **over)


def test_a_checkout_that_named_no_network_goes_to_the_first_fallback_that_can_be_read(three):
    assert buy(three, "before").order.network == "fake"
    stop(three, "fake")
    made = buy(three, "lagging")
    assert (made.order.network, made.order.chain_id, made.order.contract) == ("fake3", 8453, CONTRACT)
    assert made.payload.chain_id == 8453
    quote = three.engine.quote(plan="pro", user_id="u", wallet=address("w"))
    assert quote.network == "fake3"
    three.pay(made)
    assert (three.status(made), three.allowed("lagging")) == ("confirmed", True)


def test_the_next_fallback_is_taken_when_the_first_is_no_better(three):
    stop(three, "fake", "fake3")
    assert buy(three).order.network == "fake2"


def test_a_halt_counts_as_well_and_ends_when_it_is_resumed(three):
    halt(three, three.chain, "fake")
    assert buy(three, "one").order.network == "fake3"
    with pytest.raises(NetworkUnavailable) as caught:
        buy(three, "two", network="fake")
    assert caught.value.details == {"network": "fake", "reason": "halted", "instead": ["fake3", "fake2"]}
    contested = three.engine.reader(ADMIN).status()[0].contested
    accept = "0x" + three.chain.header(contested.number).hash.hex()
    three.engine.reader(ADMIN).resume("fake", accept=accept)
    three.settle()
    assert buy(three, "two", network="fake").order.network == "fake"


def test_who_named_the_network_is_told_and_may_try_again(three):
    before = three.dump()
    stop(three, "fake", "fake3")
    with pytest.raises(NetworkUnavailable) as caught:
        buy(three, network="fake")
    error = caught.value
    assert (error.code, error.field, error.retry_safe) == ("network_unavailable", "network", True)
    assert error.details == {"network": "fake", "reason": "lagging", "instead": ["fake2"]}
    with pytest.raises(NetworkUnavailable):
        three.engine.quote(plan="pro", user_id="u", wallet=address("w"), network="fake3")
    assert (three.dump()["orders"], three.dump()["events"]) == (before["orders"], before["events"])
    assert buy(three, "other", network="fake2").order.network == "fake2"
    # The reader has caught up: the very same call is served now.
    three.chain.mine(timestamp=three.clock.now())
    three.settle()
    assert buy(three, network="fake").order.network == "fake"


def test_with_no_fallback_left_nothing_is_sold(three):
    stop(three, "fake", "fake2", "fake3")
    with pytest.raises(NetworkUnavailable) as caught:
        buy(three)
    assert caught.value.details == {"network": "fake", "reason": "lagging", "instead": []}


def test_orders_of_before_stay_payable_and_replay(three):
    made = buy(three, "old")
    for order_chain in three.chains.values():
        order_chain.mine()
    three.settle()
    three.clock.advance(seconds=MAX_LAG + 100)
    again = buy(three, "old")
    assert (again.ledger_id, again.payload, again.next, again.replayed) == (made.ledger_id, made.payload, "pay", True)
    assert three.engine.order(made.ledger_id).payload == made.payload
    with pytest.raises(NetworkUnavailable):  # a new offer for the same would be a new checkout there
        three.engine.requote(made.ledger_id)
    assert three.engine.order(made.ledger_id).next == "pay"
    three.pay(made)
    assert three.status(made) == "confirmed"


@pytest.mark.parametrize("spoil", ["archived", "no gateway", "no contract"])
def test_a_fallback_where_nothing_can_be_sold_is_passed_over(three, spoil):
    if spoil == "archived":
        three.admin.archive_network("fake3", version=1)
    elif spoil == "no gateway":
        three.admin.update_gateway(
            "gw", version=1, networks=["fake", "fake2"], treasuries={"fake": TREASURY, "fake2": TREASURY}
        )
    else:
        three.admin.archive_contract("co", "fake3", version=1)
    stop(three, "fake")
    assert buy(three).order.network == "fake2"


def leave(shop, name):
    (gateway,) = shop.admin.gateways()
    kept = [network for network in gateway.networks if network != name]
    treasuries = dict.fromkeys(kept, TREASURY)
    shop.admin.update_gateway("gw", version=gateway.version, networks=kept, treasuries=treasuries)


def archive(shop, name):
    version = next(network.version for network in shop.admin.networks() if network.name == name)
    shop.admin.archive_network(name, version=version)


def unbind(shop, name):
    shop.admin.archive_contract("co", name, version=1)


GONE = {"archived": archive, "no contract": unbind, "not the gateway's": leave}
"""What takes a network away for good."""


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
@pytest.mark.parametrize(
    ("away", "lagging", "sold_on"),
    [
        (["fake"], [], "fake2"),
        (["fake", "fake2"], [], "fake3"),
        (["fake2"], [], "fake"),
        (["fake3"], ["fake"], "fake2"),  # the first one falls back as ever
        (["fake"], ["fake2"], None),  # which has no fallback
    ],
)
@pytest.mark.sampled(strength=1)
def test_without_a_name_a_network_that_is_gone_is_passed_over(three, gone, away, lagging, sold_on):
    for name in away:
        gone(three, name)
    if lagging:
        stop(three, *lagging)
    if sold_on is None:
        with pytest.raises(NetworkUnavailable):
            buy(three)
        return
    for number, asked in enumerate(({}, {"asset": "USDC"})):
        assert buy(three, f"k{number}", **asked).order.network == sold_on
        assert three.engine.quote(plan="pro", user_id="u", wallet=address("w"), **asked).network == sold_on
    with pytest.raises(UnknownAsset):
        buy(three, "other", asset="WETH")


@pytest.mark.parametrize(("gone", "error"), [(archive, UnknownNetwork), (unbind, ConfigurationError)])
def test_a_network_that_is_gone_is_refused_where_it_is_named_and_where_no_other_is_left(three, gone, error):
    gone(three, "fake")
    with pytest.raises(error):
        buy(three, network="fake")
    gone(three, "fake2")
    gone(three, "fake3")
    with pytest.raises(error):
        buy(three)


def test_the_asset_that_was_asked_for_is_kept(three):
    stop(three, "fake")
    assert buy(three, "symbol", asset="USDC").order.asset.symbol == "USDC"
    with pytest.raises(UnknownAsset):
        buy(three, "none", asset="WETH")
    make_plan(three, "narrow", names=["fake"], product="narrow", interval="month")
    with pytest.raises(NetworkUnavailable) as caught:
        buy(three, "narrow", plan="narrow")
    assert caught.value.details["instead"] == []


def test_without_a_limit_a_dead_reader_stops_no_sale(make_shop):
    chains = [FakeChain(chain_id, start=START) for chain_id in (31337, 10)]
    shop = make_shop(chains=chains)
    shop.mine(2)
    shop.clock.advance(days=30)
    assert buy(shop).order.network == "fake"
    (first, _) = shop.engine.reader(ADMIN).status()
    assert (first.lag.days, first.unavailable, first.network.max_lag) == (30, None, None)


@pytest.mark.fault("D27")
def test_d27_a_checkout_that_falls_back_asks_no_node(three):
    stop(three, "fake")
    for chain in three.chains.values():
        chain.calls.clear()
        chain.fail()
    assert buy(three).order.network == "fake3"
    with pytest.raises(NetworkUnavailable):
        buy(three, "named", network="fake")
    assert [chain.calls for chain in three.chains.values()] == [[], [], []]


@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_joined_it_falls_back_and_a_refusal_leaves_the_hosts_transaction_usable(make_shop, storage):
    chains = [FakeChain(chain_id, start=START) for chain_id in (31337, 10)]
    shop = make_shop(storage, chains=chains, max_lag=MAX_LAG)
    shop.admin.update_network("fake", version=1, fallback_networks=["fake2"])
    stop(shop, "fake")
    database = shop.storage._inner._engine
    with database.begin() as connection, shop.engine.within(connection) as billing:
        with pytest.raises(NetworkUnavailable):
            billing.checkout(plan="pro", user_id="u", wallet=address("w"), idempotency_key="k", network="fake")
        made = billing.checkout(plan="pro", user_id="u", wallet=address("w"), idempotency_key="k")
    assert shop.engine.order(made.ledger_id).order.network == "fake2"


def test_an_idle_host_stops_no_reader_and_a_reader_in_the_middle_stops_no_host(make_shop):
    shop = make_shop("postgres", max_lag=MAX_LAG)
    shop.mine(2)
    reader = build_shop(shop.storage, shop.clock, chains=list(shop.chains.values()), seed=5)
    with shop.storage._inner._engine.begin() as connection, shop.engine.within(connection) as billing:
        billing.checkout(plan="pro", user_id="u", wallet=address("w"), idempotency_key="k")
        shop.chain.mine()
        assert reader.engine.read_chain("fake").outcome == "read"
        answers = []

        def meanwhile(name, args, proceed):
            found = proceed()
            if name == "apply" and type(args[0][0]).__name__ == "RecordEvidence" and not answers:
                answers.append(billing.quote(plan="pro", user_id="u", wallet=address("w")).network)
            return found

        shop.chain.mine()
        shop.storage.hook = meanwhile
        assert reader.engine.read_chain("fake").outcome == "read"
        shop.storage.hook = None
    assert answers == ["fake"]


@pytest.mark.parametrize("value", [0, -1, 1.5, "10", True, 30 * 86_400 + 1])
def test_a_limit_that_cannot_be_used_is_refused(make_shop, value):
    shop = make_shop()
    with pytest.raises(InputError) as caught:
        shop.admin.update_network("fake", version=1, max_lag=value)
    assert caught.value.field == "max_lag"


class TestRule:
    @pytest.fixture
    def network(self, memory_shop):
        return attrs.evolve(memory_shop.admin.networks()[0], max_lag=60, fallback_networks=("b", "a"))

    @pytest.fixture
    def cursor(self, memory_shop):
        header = memory_shop.chain.header(0)
        return Cursor(chain_id=31337, block=header, heights=Heights(head=0), updated_at=header.timestamp)

    @pytest.mark.parametrize(("seconds", "reason"), [(-30, None), (0, None), (60, None), (60.000001, "lagging")])
    def test_the_limit_itself_is_still_good(self, network, cursor, seconds, reason):
        now = cursor.block.timestamp + timedelta(seconds=seconds)
        assert unavailable(network, cursor, now) == reason
        assert lag_of(cursor, now) == max(timedelta(0), timedelta(seconds=seconds))

    def test_what_was_never_read_is_sold_on_and_a_halt_comes_first(self, network, cursor):
        far = cursor.block.timestamp + timedelta(days=1)
        assert unavailable(network, None, far) is None
        halted = attrs.evolve(cursor, halt=Halt(reason="x", at_block=0, since=far))
        assert unavailable(network, halted, far) == "halted"
        assert unavailable(attrs.evolve(network, max_lag=None), halted, far) == "halted"
        assert unavailable(attrs.evolve(network, max_lag=None), cursor, far) is None

    def test_a_token_is_looked_for_by_its_symbol_on_other_networks(self, memory_shop, network):
        plan = memory_shop.engine.plans()[0]
        usdc = plan.prices[0]
        there = attrs.evolve(usdc.asset, token=address("usdc elsewhere"), chain_id=10)
        dai = attrs.evolve(usdc.asset, token=address("dai"), symbol="DAI", chain_id=10)
        prices = (
            usdc,
            Price(network="a", asset=dai, amount=1),
            Price(network="a", asset=there, amount=2),
            Price(network="b", asset=dai, amount=3),
        )
        wide = attrs.evolve(plan, prices=prices)
        names = [(p.network, p.amount) for p in fallback_prices(wide, network, None)]
        assert names == [("b", 3), ("a", 1)]
        for asset in (usdc.asset.token, usdc.asset.token.lower(), "USDC"):
            assert [(p.network, p.amount) for p in fallback_prices(wide, network, asset)] == [("a", 2)]
