"""A database that was restored while its wallet's transactions waited to be mined: nothing leaves twice."""

from __future__ import annotations

import pytest
from forgetful_bench import OPS, REFUNDS, Forgetful

from evmbilling.domain.states import RefundStatus
from evmbilling.testing.fake_sending import FakeTransmitter
from sampling import EVERYTHING

SEEDS = range(48) if EVERYTHING else (8, 9, 0, 1)
"""The first two are those that would show what leaves twice, as the last test says."""


@pytest.mark.parametrize("seed", SEEDS)
def test_what_nodes_hold_is_waited_for(seed):
    """Whatever the backup knows, the pool shows what it has forgotten; and in the end nothing stands still."""
    world = Forgetful(seed, hidden=False)
    world.walk()
    assert max(world.payouts) <= 1
    assert (world.open_ones, world.payouts) == ([], [1] * REFUNDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_no_node_shows_is_fenced_off(seed):
    """The node has forgotten everything; others hand it on at any time. The nonces are used up first."""
    world = Forgetful(seed, hidden=True)
    world.walk(fence=20)
    assert max(world.payouts) <= 1
    left = [refund_id for refund_id, times in zip(world.refunds, world.payouts, strict=True) if times == 0]
    # Only what was in a block once, and was overtaken by the fence after that block was gone, is for a person to judge.
    assert {world.engine.refunds(OPS).refund(refund_id).status for refund_id in left} <= {RefundStatus.CONFIRMING}
    assert world.open_ones == []


def test_the_walks_would_show_what_leaves_twice(monkeypatch):
    """Without a fence what is hidden leaves twice; and so does what is shown where nobody asks for it."""
    seeds = (8, 9, *range(40))  # the first two do so as the code stands
    assert any(_twice(seed, hidden=True) for seed in seeds)
    monkeypatch.setattr(FakeTransmitter, "pooled", lambda self, address: None)
    assert any(_twice(seed, hidden=False) for seed in seeds)


def _twice(seed: int, *, hidden: bool) -> bool:
    world = Forgetful(seed, hidden=hidden)
    world.walk()
    return max(world.payouts) > 1
