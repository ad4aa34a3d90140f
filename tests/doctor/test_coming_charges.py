"""Charges under mandates that will fail are told a week before, each with its reason."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "charges"))

from charge_bench import CONTRACT, PAYER, PRICE, OnFake

from evmbilling.doctor.mandates import check_mandates
from evmbilling.doctor.patient import Patient
from evmbilling.settings import BillingSettings


@pytest.fixture
def bench():
    made = OnFake()
    made.subscribe()
    made.give()
    yield made
    made.engine.close()


def coming(bench):
    return [(f.verdict, f.text) for f in check_mandates(Patient(BillingSettings(), bench.engine))]


def week_before(bench):
    at = bench.held().next_charge_at
    bench.until(at - timedelta(days=6))
    return bench.held().subscription_id


def test_what_is_due_within_a_week_is_asked_about_and_nothing_later(bench):
    assert coming(bench) == [("pass", "local: 0 charges under mandates fall due within 7 days, and can be made")]
    week_before(bench)
    assert coming(bench) == [("pass", "local: 1 charges under mandates fall due within 7 days, and can be made")]


def will_fail(reason, name):
    return [("warn", f"local: 1 of the next 1 charges under mandates will fail ({reason}: {name})")]


def test_each_reason_is_named_before_anything_is_charged(bench):
    name = week_before(bench)
    bench.allow(PRICE - 1)
    assert coming(bench) == will_fail("allowance", name)
    bench.fund(PAYER.address, 1 - bench.balance(PAYER.address))
    bench.mine()
    assert coming(bench) == will_fail("balance", name)
    bench.chain.rules.paused.add(CONTRACT)
    assert coming(bench) == will_fail("paused", name)
    before = bench.sent()
    bench.chain.fail()
    ((verdict, text),) = coming(bench)
    assert (verdict, text) == ("warn", "local: charges that fall due could not be asked about")
    bench.chain.heal()
    assert bench.sent() == before


def test_a_mandate_that_ends_before_its_next_charge_is_told():
    bench = OnFake()
    bench.subscribe()
    due = bench.held().next_charge_at
    bench.give(expires_at=due - timedelta(days=1))
    name = week_before(bench)
    assert coming(bench) == will_fail("expired", name)
    bench.engine.close()
