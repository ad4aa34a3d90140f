"""Ranges that more follows at once need not wait for the disk; what ends a look does."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from reader_books import cursor, evidence, sell

from evmbilling.errors import RpcUnavailable
from evmbilling.testing.merchant import IRREVERSIBLE_DEPTH


def watch(monkeypatch, shop):
    """Note each unit that moved the cursor: whether its commit waited for the disk, and where the cursor is then."""
    storage, moves = shop.engine._ports.storage, []
    real = storage.unit

    @contextmanager
    def unit(*, write=True, durable=True):
        with real(write=write, durable=durable) as opened:
            yield opened
        if write:
            with real(write=False) as looking:
                found = looking.cursor(shop.chain.chain_id)
            if found is not None and found.block.number != (moves[-1][1] if moves else 0):
                moves.append((durable, found.block.number))

    monkeypatch.setattr(storage, "unit", unit)
    return moves


@pytest.mark.parametrize("name", ["memory", "sqlite", "postgresql"])
def test_of_several_far_ranges_only_the_last_waits_for_the_disk(monkeypatch, open_shop, name):
    shop = open_shop(name)
    sell(shop, 4)
    shop.chain.mine(300)
    shop.chain.scan_blocks = 100
    moves = watch(monkeypatch, shop)
    final, head = shop.chain.head.number - IRREVERSIBLE_DEPTH + 1, shop.chain.head.number
    shop.engine.read_chain("local", to_block=250)
    assert moves == [(False, 100), (False, 200), (True, 250)]
    moves.clear()
    moves.append((True, 250))
    shop.engine.read_chain("local")
    assert moves[1:] == [(False, 350), (True, final), (True, head)]
    assert cursor(shop).block == shop.chain.head
    assert len(evidence(shop)) == 8


def test_one_far_range_waits_for_the_disk(monkeypatch, shop):
    sell(shop, 1)
    shop.chain.mine(300)
    moves = watch(monkeypatch, shop)
    shop.engine.read_chain("local", to_block=200)
    assert moves == [(True, 200)]


def test_a_look_that_ends_early_goes_on_behind_what_it_wrote(monkeypatch, shop):
    """What did not wait for the disk is there for everybody, as long as the machine has power."""
    sell(shop, 2)
    shop.chain.mine(300)
    shop.chain.scan_blocks = 100
    moves = watch(monkeypatch, shop)

    def stop(block, _end):
        if block == 200:
            raise RpcUnavailable("gone")

    with pytest.raises(RpcUnavailable):
        shop.engine.read_chain("local", progress=stop)
    assert moves == [(False, 100), (False, 200)]
    assert cursor(shop).block.number == 200
    shop.engine.read_chain("local", to_block=300)
    assert moves[2:] == [(True, 300)]
