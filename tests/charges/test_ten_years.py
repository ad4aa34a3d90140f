"""Ten years of a monthly subscription in seconds: every period pulled, no date moved, every unit accounted for.

The usual run lives through the first three.
"""

from __future__ import annotations

import time
from datetime import timedelta

from charge_bench import PAYER, PRICE, OnFake

from sampling import EVERYTHING

YEARS = 10 if EVERYTHING else 3
PERIODS = 12 * YEARS


def test_ten_years_are_pulled_month_by_month(simple: OnFake, capsys) -> None:
    bench = simple
    first = bench.subscribe()
    bench.give(expires_at=bench.clock.now() + timedelta(days=3660), allowance=PERIODS * PRICE)
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(1, PERIODS):
        bench.due()
        bench.settle()
    took, worked = time.perf_counter() - begun, time.process_time() - worked
    held, table = bench.held(), bench.held().table
    assert table is not None
    assert (held.status, held.anchor, held.paid_until) == ("active", first.anchor, table.end(PERIODS - 1))
    assert (table.end(PERIODS - 1).year - table.start(0).year, table.end(PERIODS - 1).day) == (YEARS, 31)
    assert {o.attempts for o in bench.renewals()} == {1}
    assert bench.balance(bench.merchant.treasury) == PERIODS * PRICE
    assert bench.balance(PAYER.address) == (1000 - PERIODS) * PRICE
    assert bench.differences() == []
    with capsys.disabled():
        print(f"\n{YEARS} years, {PERIODS - 1} pulls, in {took:.1f} s ({worked:.1f} s of CPU)")  # noqa: T201  - a figure
