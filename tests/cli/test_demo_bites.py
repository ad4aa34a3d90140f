"""The demo verifies: break what it shows, and it says which step does not hold.

The usual run breaks each step once, and just before it; the whole run breaks everything from the beginning.
"""

from __future__ import annotations

import re

import pytest
from demo_breaks import (
    ANOTHER_CHAIN,
    BROKEN_REVERSAL,
    DEEP_AT_ONCE,
    DEEP_TOO_EARLY,
    describes_another_event,
    emits_another_event,
)
from demo_runs import broken_artefact, run_forked_demo


@pytest.mark.parametrize(
    "change", [emits_another_event, pytest.param(describes_another_event, marks=pytest.mark.exhaustive)]
)
def test_a_broken_event_of_the_artefact_fails_the_payment(tmp_path, change):
    """From the beginning, always: what is deployed is the broken artefact."""
    done = run_forked_demo("--json", sabotage=broken_artefact(tmp_path, "Checkout", change))
    assert done.code == 1
    assert done.failed == ("payment", {"Paid events": 0})


def test_a_depth_rule_that_always_holds_fails_what_waits(demos):
    done = demos.broken("deep at once")
    assert done.code == 1
    key, found = done.failed
    assert key == "waiting"
    assert {"order": "final", "receipt": "final"}.items() <= found.items()


def test_steps_after_a_failed_one_are_not_begun(demos):
    told = demos.broken("deep at once").told
    assert told["ok"] is False
    states = [step["ok"] for step in told["steps"]]
    assert states == [True] * states.index(False) + [False] + [None] * (len(states) - states.index(False) - 1)


def test_a_depth_rule_that_holds_too_late_fails_the_order(demos):
    done = demos.broken("never as deep")
    assert (done.code, done.failed[0]) == (1, "order")


@pytest.mark.exhaustive
def test_a_depth_rule_that_holds_too_early_fails_what_waits():
    done = run_forked_demo("--json", sabotage=DEEP_TOO_EARLY)
    assert done.code == 1
    key, found = done.failed
    assert key == "waiting"
    assert {"order": "confirmed"}.items() <= found.items()


def test_a_contract_without_its_signature_check_fails_the_forgery(demos):
    done = demos.broken("any signature")
    assert done.code == 1
    key, found = done.failed
    assert key == "forged_order"
    assert found["status"] == "0x1"
    assert found["reference used"] == 1


def test_a_contract_that_takes_anybodys_mandate_fails_the_forged_one(demos):
    done = demos.broken("anybody's mandate")
    assert done.code == 1
    key, found = done.failed
    assert (key, found["status"]) == ("forged_mandate", "0x1")


def test_a_lost_posting_fails_the_last_step(demos):
    done = demos.broken("lost posting")
    key, found = done.failed
    assert (done.code, key) == (1, "books")
    assert found["suspense"] == 0
    assert any(line.startswith("receipt_not_booked") for line in found["verify: differences"])


@pytest.mark.parametrize(
    ("broken", "step"),
    [
        ("wrong digest", "checkout"),
        ("lost event", "event"),
        ("blind reader", "reorg"),
        ("blind prover", "changed_order"),
        ("blind judge", "stolen_key"),
    ],
)
def test_other_broken_parts_fail_their_step(demos, broken, step):
    done = demos.broken(broken)
    assert (done.code, done.failed[0]) == (1, step)


@pytest.mark.exhaustive
def test_a_broken_reversal_fails_the_reorganisation():
    done = run_forked_demo("--json", sabotage=BROKEN_REVERSAL)
    assert (done.code, done.failed[0]) == (1, "reorg")


@pytest.mark.parametrize(
    ("sabotage", "step", "check", "expected", "found"),
    [
        (ANOTHER_CHAIN, "chain", "chain: chain id", "1", "31337"),
        pytest.param(DEEP_AT_ONCE, "waiting", "database: order", "confirming", "final", marks=pytest.mark.exhaustive),
    ],
    ids=["at once", "later"],
)
def test_people_see_expected_and_found(sabotage, step, check, expected, found):
    done = run_forked_demo(sabotage=sabotage)
    assert done.code == 1
    assert f"not verified: {step}" in done.stdout
    assert re.search(rf"{check}\n\s+expected  {expected}\n\s+found     {found}\n", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr


def test_programs_see_what_was_found():
    done = run_forked_demo("--json", sabotage=ANOTHER_CHAIN)
    assert (done.code, done.failed) == (1, ("chain", {"chain id": 31337}))
