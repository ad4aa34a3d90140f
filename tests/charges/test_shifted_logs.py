"""A first charge under a mandate says so in a log of its own: one that becomes the first has its other logs moved."""

from __future__ import annotations

from typing import Any

import pytest
from charge_bench import PAYER, PRICE, USER, OnFake

from evmbilling.domain.states import SUPPORTING_RECEIPTS


def given_and_charged(bench: OnFake, *, first: str) -> None:
    """A mandate that its payer gives on chain and a charge under it, each in a block of its own."""
    bench.subscribe()
    mandate = bench.give()
    bench.requested()
    bench.engine.run_charges()
    provider: Any = bench.engine._ports.provider("evm")
    consent = provider.give_payload(mandate)
    if first == "consent":
        bench.chain.call(consent, sender=PAYER.address)
        bench.mine()
    bench.engine.relay()
    bench.mine()
    if first == "charge":
        bench.chain.call(consent, sender=PAYER.address)
    bench.mine()


@pytest.mark.parametrize("deep", [1, 3, 9])
@pytest.mark.parametrize("first", ["consent", "charge"])
def test_a_charge_whose_logs_move_within_their_transaction_counts_once(simple: OnFake, first: str, deep: int) -> None:
    bench = simple
    before = bench.balance(bench.merchant.treasury)
    given_and_charged(bench, first=first)
    bench.mine(deep)
    bench.read()
    known = {r.identity.ordinal for r in bench.engine.receipts(bench.renewals()[0].ledger_id)}
    swap(bench)
    bench.settle()
    bench.settle()
    receipts = bench.engine.receipts(bench.renewals()[0].ledger_id)
    assert {r.identity.ordinal for r in receipts} > known, "its log is at another place now"
    assert [r.amount for r in receipts if r.status in SUPPORTING_RECEIPTS] == [PRICE]
    assert bench.balance(bench.merchant.treasury) - before == 2 * PRICE
    assert bench.held(USER).paid_periods == 2
    assert bench.differences() == []


def swap(bench: OnFake) -> None:
    depth = bench.chain.head.number - min(
        block.number
        for tx in bench.chain._ledger.receipts
        if (block := bench.chain.block_of(tx)) is not None and block.timestamp >= bench.charges()[0].requested_at
    )
    bench.chain.reorganise(depth + 1, mode="reorder")
    bench.mine(depth + 2)
    bench.read()
