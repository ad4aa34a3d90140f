"""Reading again from any block ends in the same receipts, balances, periods and standings."""

from __future__ import annotations

import random

import attrs
import pytest
from campaign_digest import differing, digest
from campaign_seed import campaign_seed, is_long

from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.decisions import RecordEvidence, Rewind
from evmbilling.testing.conformance.provider.fields import FakeField
from evmbilling.testing.merchant import ADMIN
from sampling import EVERYTHING

IRREVERSIBLE = 12
BUYERS = 8
BLOCKS = 40


def history(seed, *, away=False):
    """Live through payments, stray money and reorganisations; whoever is away reads at the end only."""
    drawn = random.Random(seed)
    field = FakeField(seed, IRREVERSIBLE)
    offers = [field.checkout(number) for number in range(BUYERS)]
    todo = list(enumerate(offers))
    for _ in range(BLOCKS):
        for _ in range(drawn.choice((0, 0, 1, 2))):
            if todo:
                field.pay(*todo.pop())
        if drawn.random() < 0.15:
            field.stray()
        field.mine()
        if drawn.random() < 0.3:
            field.reorganise(min(drawn.randint(1, 6), field.shop.chain.head.number), "drop")
            if drawn.random() < 0.7:
                field.resend()
        looks = drawn.random() < 0.6
        if looks and not away:
            field.settle()
    field.mine(drawn.choice((1, 4, IRREVERSIBLE + 2)))
    field.settle()
    return field


def read_again(field, block, *, take_in_first):
    """Take the cursor back to a block, as an operator does under a lease, and let everything be read and taken in."""
    engine = field.shop.engine
    storage = engine._ports.storage
    (cursor,) = engine.admin(ADMIN).cursors()
    lease = storage.acquire_lease(f"reader:{cursor.chain_id}", "somebody", 30)
    header = field.shop.chain.header(block)
    back = attrs.evolve(cursor, block=header, heights=Heights(head=block), irreversible=header, fence=lease.fence)
    with storage.unit() as unit:
        unit.apply([Rewind(cursor=back), RecordEvidence(cursor=back, headers=(header,), logs=(), keep_from=block)])
    storage.release_lease(lease)
    if take_in_first:
        # Before a single block has been read again, and after every few.
        while engine.run_intake(limit=3).taken:
            pass
        while engine.read_chain("local", max_blocks=3).blocks:
            engine.run_intake(limit=3)
    field.settle()


SEEDS = range(1, 4)


def ask_again(field, block, *, take_in_first):
    """Have blocks read again without taking anything back, a few at a time."""
    engine = field.shop.engine
    engine.rescan("local", block)
    while engine.read_chain("local", max_blocks=7).rescanned:
        if take_in_first:
            engine.run_intake(limit=3)
    field.settle()


@pytest.mark.parametrize("again", [read_again, ask_again])
@pytest.mark.parametrize("take_in_first", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.sampled(strength=1)
def test_from_any_block_it_ends_in_the_same(seed, take_in_first, again):
    seed = campaign_seed(seed)
    field = history(seed)
    before = digest(field.shop.engine)
    assert field.shop.engine.verify().differences == ()
    head = field.shop.chain.head.number
    some = 8 if EVERYTHING else 3
    blocks = range(head + 1) if is_long() else [*sorted(random.Random(seed).sample(range(head), some)), 0, head]
    for block in blocks:
        again(field, block, take_in_first=take_in_first)
        assert (block, differing(before, digest(field.shop.engine))) == (block, {})
    assert field.shop.engine.verify().differences == ()
    assert field.shop.engine.admin(ADMIN).cursors()[0].block == field.shop.chain.head
    assert "final" in repr(before["orders"])


@pytest.mark.parametrize("seed", [*SEEDS, *((range(100, 200)) if is_long() else ())])
def test_a_fresh_database_that_reads_the_same_chain_ends_in_the_same(seed):
    watched, away = history(seed), history(seed, away=True)
    assert watched.shop.chain.head == away.shop.chain.head
    assert differing(digest(watched.shop.engine), digest(away.shop.engine)) == {}


def test_money_that_was_final_stays_where_it_is_while_it_is_read_again():
    field = FakeField(5, IRREVERSIBLE)
    offer = field.checkout(1)
    field.mine(5)
    field.pay(1, offer)
    field.mine(IRREVERSIBLE + 2)
    field.settle()
    engine = field.shop.engine
    events = len(engine.admin(ADMIN).events(limit=10_000))
    (receipt,) = engine.receipts(offer.ledger_id)
    read_again(field, 0, take_in_first=True)
    assert [r.entries for r in engine.receipts(offer.ledger_id)] == [receipt.entries]
    assert engine.access("user-1").allowed
    assert str(engine.order(offer.ledger_id).status) == "final"
    assert len(engine.admin(ADMIN).events(limit=10_000)) == events
