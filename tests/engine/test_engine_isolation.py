"""Two engines do not see each other, and one engine does the same thing twice in the same way."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing

import pytest
from engine_shop import START, Watched, address, build_shop, stock

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain


def assert_both_live(one, two, chain):
    """Let two shops on one chain sell and be paid; assert that neither notices the other."""
    mine, theirs = one.checkout("same"), two.checkout("same", plan="team")
    assert mine.reference[:8] != theirs.reference[:8]
    chain.pay(mine.order, theirs.order)
    chain.mine(3)
    for shop in (one, two):
        shop.catch_up()
        shop.settle()
    assert (one.engine.access("u1").plan_slug, two.engine.access("u1").plan_slug) == ("pro", "team")
    for shop, order, other in ((one, mine, theirs), (two, theirs, mine)):
        assert [o.ledger_id for o in shop.engine.orders("u1")] == [order.ledger_id]
        assert shop.admin.unmatched_receipts() == []
        assert shop.telemetry.labels[("evidence_ignored", "foreign_reference")] == 1
        assert other.ledger_id not in repr(shop.dump())
    two.checkout("more", user_id="u2")
    assert [c.user_id for c in one.admin.customers()] == ["u1"]


@pytest.mark.fault("H27")
def test_h27_two_engines_in_one_process(make_shop):
    chain = FakeChain(31337, start=START)
    clock = FrozenClock(START)
    shops = [
        stock(build_shop(Watched(MemoryStorage(clock, instance_id=bytes([n]) * 8)), clock, seed=n, chains=[chain]))
        for n in (1, 2)
    ]
    assert_both_live(*shops, chain)


@pytest.mark.fault("H27")
@pytest.mark.both_databases
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_h27_two_engines_in_one_database(backend, databases):
    chain, clock, shops = FakeChain(31337, start=START), FrozenClock(START), []
    with databases.lend(backend) as url, ExitStack() as stack:
        upgrade(url, prefix="two_")
        for n, prefix in enumerate((DEFAULT_PREFIX, "two_")):
            storage = stack.enter_context(closing(SqlAlchemyStorage.open(url, prefix=prefix, clock=clock)))
            shops.append(stock(build_shop(Watched(storage), clock, seed=n, chains=[chain])))
        assert_both_live(*shops, chain)


@pytest.mark.fault("D30")
def test_d30_two_instances_on_one_contract_tell_their_references_apart(make_shop):
    references = set()
    for n in range(3):
        clock = FrozenClock(START)
        shop = stock(build_shop(Watched(MemoryStorage(clock)), clock, seed=7))
        references.add(shop.checkout().reference)
        assert n + 1 == len(references)


def merchant(shop):
    """A day of a merchant: sales, payments, reorgs, expiry, administration."""
    orders = [shop.checkout(f"k{i}", user_id=f"u{i % 3}", plan=("pro", "once", "trial")[i % 3]) for i in range(9)]
    sent = [shop.chain.pay(order.order, payer=address("wallet")) for order in orders[:6]]
    shop.mine(4)
    shop.reorganise(4)
    shop.chain.resend(sent[0])
    shop.mine(3)
    shop.admin.revise_plan("pro", version=1, name="Pro+")
    shop.checkout("again", user_id="u0")
    shop.mine(25, seconds=600)
    shop.mine(2, seconds=4000)
    return shop.dump()


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_one_seed_gives_the_same_bytes(make_shop, backend):
    dumps = [repr(merchant(make_shop(backend, seed="day"))) for _ in range(2)]
    if backend == "sqlite":
        assert "final" in dumps[0]
    assert dumps[0] == dumps[1]


def test_another_seed_gives_other_ids(make_shop):
    first, second = (make_shop(seed=seed).checkout() for seed in (1, 2))
    assert first.ledger_id != second.ledger_id
    assert first.amount == second.amount


def test_every_storage_ends_in_the_same_state(make_shop):
    ends = []
    for backend in ("memory", "sqlite", "postgres"):
        shop = make_shop(backend)
        merchant(shop)
        standing = shop.standing()
        for order in standing["orders"]:
            # The reference begins with the instance's id, and what is signed and sent holds the reference.
            order["reference"] = order["reference"][8:]
            order["completion"] = order["completion"] and order["completion"]["block_number"]
            del order["signature"]
        types = {u: shop.types(f"customer:{u}") for u in ("u0", "u1", "u2")}
        ends.append((standing["orders"], standing["subscriptions"], standing["entitlements"], types))
    assert ends[0] == ends[1] == ends[2]


def test_a_copied_database_goes_on_where_the_first_one_was(make_shop, tmp_path):
    shop = make_shop("sqlite")
    order = shop.checkout()
    shop.pay(order, depth=1)
    source, target = (
        sqlite3.connect(path) for path in (shop.storage._inner._engine.url.database, tmp_path / "copy.db")
    )
    with closing(source), closing(target):
        source.backup(target)
    copy = SqlAlchemyStorage.open(f"sqlite:///{tmp_path / 'copy.db'}", clock=shop.clock)
    try:
        other = build_shop(copy, shop.clock, seed=9, chains=[shop.chain])
        shop.chain.mine(2)
        other.settle()
        assert other.status(order) == "confirmed"
        assert shop.status(order) == "confirming"
    finally:
        copy.close()
