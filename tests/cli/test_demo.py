"""`evmbilling demo`: the whole job on a real chain."""

from __future__ import annotations

import io
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from demo_runs import run_demo, run_forked_demo
from rich.console import Console

from evmbilling.cli.demo.checks import Check, Outcome
from evmbilling.cli.demo.showing import Board
from evmbilling.cli.demo.steps import STEPS
from sampling import EVERYTHING


@pytest.fixture(scope="module")
def told(demos):
    done = demos.healthy
    assert (done.code, done.stderr) == (0, "")
    return done.told


def test_every_step_is_verified(told):
    assert told["ok"] is True
    assert [(step["key"], step["ok"]) for step in told["steps"]] == [(step.key, True) for step in STEPS]


def test_it_is_quick(told):
    assert told["seconds"] < 60  # six on a machine that does nothing else


def test_every_step_looks_at_the_chain_or_the_database(told):
    for step in told["steps"]:
        assert {check["source"] for check in step["checks"]} & {"chain", "database"}, step["key"]


def test_the_story_has_its_parts(told):
    story = """
        chain token contract database catalogue checkout payment waiting
        order receipt subscription access event
        reorg again
        fake_token used_reference forged_order
        changed_order stolen_key undone
        transfers underpaid completed overpaid late unknown_payer
        mandate forged_mandate pulled pull_refused debt books
    """
    assert [step["key"] for step in told["steps"]] == re.split(r"\s+", story.strip())


@pytest.mark.parametrize(
    ("step", "facts"),
    [
        ("order", {"status": "confirmed", "amount": "19990000"}),
        ("receipt", {"status": "credited", "journal": "seen, credited"}),
        ("subscription", {"status": "active", "plan_slug": "pro"}),
        ("access", {"basis": "paid", "user_id": "user-1"}),
        ("event", {"type": "billing.plan.changed.v1", "new_plan": "pro", "cause": "payment"}),
        ("completed", {"order": "confirmed", "price": "5000000", "transfer 1": "3750000", "transfer 2": "1250000"}),
        ("books", {"verify": "balanced", "suspense": "333333", "customer_credit": "5750000"}),
    ],
)
def test_what_people_want_to_see_is_shown(told, step, facts):
    shown = next(item["shown"] for item in told["steps"] if item["key"] == step)
    assert facts.items() <= shown.items()


def test_the_refusals_have_their_reasons(told):
    reasons = {
        step["key"]: check["found"] for step in told["steps"] for check in step["checks"] if check["what"] == "reason"
    }
    assert reasons == {"used_reference": "ReferenceUsed", "forged_order": "UnknownSigner", "forged_mandate": "Refused"}


@pytest.mark.parametrize(
    ("step", "order", "credit", "access"),
    [
        ("underpaid", "partially_paid", 3_750_000, False),
        ("completed", "confirmed", 0, True),
        ("overpaid", "confirmed", 750_000, True),
        ("late", "expired", 5_000_000, False),
    ],
)
def test_what_does_not_fit_goes_where_it_belongs(told, step, order, credit, access):
    (checks,) = ({c["what"]: c["found"] for c in item["checks"]} for item in told["steps"] if item["key"] == step)
    assert (checks["order"], checks["customer's credit"], checks["access"]) == (order, credit, access)


def test_it_ends_with_verify_balanced_and_suspense_explained(told):
    last = told["steps"][-1]
    found = {check["what"]: check["found"] for check in last["checks"]}
    assert (found["verify: differences"], found["verify: seals"]) == ([], "proved")
    assert (found["suspense"], found["credits less debits"]) == (333_333, 0)
    # One plan through the contract, two by transfer, a surplus, a late payment, what nobody can explain; three months.
    before = 19_990_000 + 2 * 5_000_000 + 750_000 + 5_000_000 + 333_333
    assert found["balance of the treasury"] == before + 3 * 19_990_000


def test_it_runs_from_nothing_and_answers_in_json():
    done = run_demo("--json")
    assert (done.code, done.stderr) == (0, "")
    assert [(step["key"], step["ok"]) for step in done.told["steps"]] == [(step.key, True) for step in STEPS]


def test_the_table_is_readable_and_the_environment_is_left_out(demos, kept_demo):
    done = demos.healthy
    assert (done.code, done.stderr) == (0, "")
    for step in STEPS:
        assert f"✓ {step.title}" in done.stdout
    assert f"{len(STEPS)} steps verified" in done.stdout
    connection = sqlite3.connect(kept_demo)
    receipts = connection.execute("SELECT status FROM evmbilling_payment_receipts ORDER BY receipt_id").fetchall()
    # The second is the thief's. Those of the months before are deep enough by then to be final.
    assert receipts == [("final",), ("reversed",)] + [("final",)] * 5 + [("credited",)] * 3
    connection.close()


def test_a_terminal_without_unicode_gets_a_readable_table():
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding="ascii", write_through=True) as terminal:
        console = Console(file=terminal, width=100)
        with Board(console, STEPS) as board:
            for step in STEPS:
                check = Check(source="chain", what="number", expected=1, found=1)
                board.ended(Outcome(key=step.key, title=step.title, seconds=0.1, checks=(check,)))
        table = written.getvalue().decode("ascii")
    for step in STEPS:
        assert f"+ {step.title}" in table


def test_an_output_that_is_full_is_said_in_a_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from evmbilling.cli import main; main()", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: standard output cannot be written: No space left on device\n")


def test_a_missing_anvil_says_what_to_do():
    done = (run_demo if EVERYTHING else run_forked_demo)("--json", ANVIL="/no/such/anvil")
    assert done.code == 2
    assert done.told["error"]["code"] == "missing_tool"
    assert "Traceback" not in done.stderr


def test_a_missing_extra_answers_with_the_install_hint():
    done = run_demo("--json", sabotage="import sys\nsys.modules['rich'] = None\n")
    assert done.code == 1
    assert "pip install 'evmbilling[demo]'" in done.told["error"]["message"]
