"""A subscription that is pulled: given, charged, refused, dunned, paid another way, and in order again."""

from __future__ import annotations

from charge_bench import DAY, PRICE, ChargeBench

from evmbilling.domain.mandates.mandates import MandateStatus


def test_three_periods_are_pulled_the_fourth_is_refused_and_the_debt_is_paid_another_way(bench: ChargeBench) -> None:
    first = bench.subscribe()
    bench.give()
    treasury = bench.balance(bench.merchant.treasury)
    for period in (1, 2, 3):
        bench.due()
        assert bench.renewals()[-1].status == "submitted"
        bench.settle()
        assert [o.status for o in bench.renewals()] == ["confirmed"] * period
        assert bench.balance(bench.merchant.treasury) - treasury == period * PRICE
    assert bench.engine.mandates.list("alice")[0].status is MandateStatus.ACTIVE

    bench.allow(0)
    paid_until = bench.held().paid_until
    bench.due()
    refused = bench.renewals()[-1]
    assert (refused.period, refused.failure_reason) == (4, "allowance")
    assert [t["reason"] for t in bench.told("payment.failed")] == ["allowance"]
    bench.go(15, every=DAY)
    charges = [(c.attempt, c.state, c.reason) for c in bench.charges() if c.ledger_id == refused.ledger_id]
    assert charges == [(n, "failed", "allowance") for n in (1, 2, 3, 4)]
    assert (bench.held().status, bench.engine.access("alice", product="life").allowed) == ("suspended", False)
    assert len([s for s in bench.sent() if s.purpose == "charge"]) == 3

    bench.pay(refused)
    bench.settle()
    held = bench.held()
    assert (held.status, bench.engine.access("alice", product="life").allowed) == ("active", True)
    table = held.table
    assert table is not None
    assert (held.anchor, held.paid_until) == (first.anchor, table.end(4))
    assert table.start(4) == paid_until
    assert bench.differences() == []
