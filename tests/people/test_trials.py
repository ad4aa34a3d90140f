"""Trials: one for each user and product; for new users and wallets the host's rule decides, and fails closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from evmbilling.engine.core import Engine
from evmbilling.testing.merchant import ADMIN, plan_fields, wallet_of


def with_trials(shop, rule=None):
    """The shop's engine with a plan that has a week of trial, and a rule of the host's."""
    shop.engine.admin(ADMIN).create_plan(**plan_fields(shop, "try", product="lab", trial_days=7))
    return Engine(attrs.evolve(shop.engine._ports, allow_trial=rule))


def start(engine, user="user-1", key="k", plan="try", wallet=None):
    return engine.checkout(plan=plan, user_id=user, wallet=wallet or wallet_of(user), idempotency_key=key)


def given(shop):
    """What the audit says of trials: who asked, and the answer."""
    entries = shop.engine.admin(ADMIN).audit(limit=1000)
    return [(e.changes["user_id"], e.action) for e in entries if e.action.startswith("trial.")]


@pytest.mark.fault("B19")
def test_b19_the_host_decides_about_trials_of_new_users_and_wallets(shop):
    first: dict[str, str] = {}

    def once_a_wallet(plan, user_id, wallet):
        assert (plan.slug, plan.trial_days) == ("try", 7)
        return first.setdefault(wallet, user_id) == user_id

    engine = with_trials(shop, once_a_wallet)
    same = wallet_of("one-person")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: start(engine, f"user-{n}", wallet=same), range(6)))
    allowed = [f"user-{n}" for n in range(6) if engine.access(f"user-{n}", product="lab").allowed]
    assert len(allowed) == 1
    assert given(shop).count((allowed[0], "trial.give")) == 1
    assert sorted(action for _, action in given(shop)) == ["trial.give"] + ["trial.refuse"] * 5
    refused = next(f"user-{n}" for n in range(6) if f"user-{n}" not in allowed)
    shop.chain.pay(engine.order(start(engine, refused, wallet=same).ledger_id).order)
    shop.settle()
    assert engine.access(refused, product="lab").reason == "paid"  # who gets no trial may buy
    assert [d for d in engine.verify().differences if d.code != "unproved"] == []


@pytest.mark.fault("B19")
@pytest.mark.parametrize("answer", [None, "yes", 1, RuntimeError("down")])
def test_b19_a_rule_that_does_not_say_yes_says_no(shop, answer):
    def rule(plan, user_id, wallet):
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine = with_trials(shop, rule)
    assert start(engine).next == "pay"
    assert not engine.access("user-1", product="lab").allowed
    assert given(shop) == [("user-1", "trial.refuse")]


@pytest.mark.fault("B19")
def test_b19_nobody_tries_one_product_twice(shop):
    engine = with_trials(shop)
    start(engine)
    assert engine.access("user-1", product="lab").reason == "trial"
    shop.settle(1, seconds=8 * 86_400)
    shop.chain.pay(start(engine, key="bought").order)
    shop.settle()
    shop.settle(1, seconds=100 * 86_400)
    again = start(engine, key="a-season-later")
    assert again.order.period == 0  # the first subscription lapsed, a new one begins
    assert not engine.access("user-1", product="lab").allowed
    assert given(shop) == [("user-1", "trial.give"), ("user-1", "trial.refuse")]


def test_the_rule_is_asked_only_where_there_is_a_trial_to_give(shop):
    asked = []
    engine = with_trials(shop, lambda *about: asked.append(about) or True)
    start(engine, plan="pro", key="pro")
    start(engine)
    start(engine, key="k2")
    assert len(asked) == 1
