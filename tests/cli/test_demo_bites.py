"""The demo verifies: break what it shows, and it says which step does not hold.

The usual run breaks each step once.
"""

from __future__ import annotations

import re

import pytest
from demo_runs import broken_artefact, run_forked_demo

from evmbilling.testing.paid_logs import PAID_TOPIC

UNKNOWN_SIGNER = "d7e8a2c2"
OTHER_TOPIC = "aa" * 32


@pytest.fixture
def artefacts(tmp_path):
    folder = tmp_path / "artifacts"
    folder.mkdir()
    return folder


def in_both_codes(record, change):
    for key in ("bytecode", "deployedBytecode"):
        record[key] = change(record[key])


def rewrite_once(record, pattern, instead):
    """Change the one place of each code that looks like this."""

    def change(code):
        changed, count = re.subn(pattern, instead, code)
        assert count == 1
        return changed

    in_both_codes(record, change)


def emits_another_event(record):
    """The contract emits another first topic."""
    in_both_codes(record, lambda code: code.replace(PAID_TOPIC.hex(), OTHER_TOPIC))


def describes_another_event(record):
    """The ABI says another type of the amount."""
    event = next(entry for entry in record["abi"] if entry["type"] == "event" and entry["name"] == "Paid")
    next(part for part in event["inputs"] if part["name"] == "amount")["type"] = "uint128"


def takes_any_signature(record):
    """``if (!isSigner(signer)) revert UnknownSigner(signer)`` goes on where it would revert."""
    # … JUMPDEST PUSH2 dest JUMPI PUSH1 0x40 MLOAD PUSH32 selector …: the revert begins with a jump to dest instead.
    rewrite_once(record, rf"(90565b61)(....)(57)6040517f({UNKNOWN_SIGNER})", r"\1\2\g<3>61\g<2>56\4")


def takes_anybodys_mandate(record):
    """``recovered == signer`` holds for any signature that recovers."""
    # … AND EQ, the end of ``&&``, ISZERO, jump: with OR in the place of EQ it is never zero.
    rewrite_once(record, r"(866001600160a01b0316826001600160a01b0316)14(5b15)", r"\g<1>17\2")


AGAIN = pytest.mark.exhaustive
"""A step that something else breaks in every run."""


@pytest.mark.parametrize("change", [emits_another_event, pytest.param(describes_another_event, marks=AGAIN)])
def test_a_broken_event_of_the_artefact_fails_the_payment(artefacts, change):
    done = run_forked_demo("--json", sabotage=broken_artefact(artefacts, "Checkout", change))
    assert done.code == 1
    assert done.failed == ("payment", {"Paid events": 0})


DEEP_AT_ONCE = "from evmbilling.domain.catalogue.catalogue import Finality\nFinality.reached = lambda *args: True\n"


@pytest.fixture(scope="module")
def deep_at_once():
    """The demo with a depth rule that holds for any block."""
    return run_forked_demo("--json", sabotage=DEEP_AT_ONCE)


def test_a_depth_rule_that_always_holds_fails_what_waits(deep_at_once):
    assert deep_at_once.code == 1
    key, found = deep_at_once.failed
    assert key == "waiting"
    assert {"order": "final", "receipt": "final"}.items() <= found.items()


def test_steps_after_a_failed_one_are_not_begun(deep_at_once):
    told = deep_at_once.told
    assert told["ok"] is False
    states = [step["ok"] for step in told["steps"]]
    assert states == [True] * states.index(False) + [False] + [None] * (len(states) - states.index(False) - 1)


@pytest.mark.parametrize(
    ("rule", "step", "wrong"),
    [
        pytest.param(
            "lambda self, number, heights: heights.head - number + 2 >= self.blocks",
            "waiting",
            {"order": "confirmed"},
            marks=AGAIN,
        ),
        ("lambda self, number, heights: heights.head - number >= self.blocks", "order", {}),
    ],
)
def test_a_broken_depth_rule_fails_a_confirmation(rule, step, wrong):
    sabotage = f"from evmbilling.domain.catalogue.catalogue import Finality\nFinality.reached = {rule}\n"
    done = run_forked_demo("--json", sabotage=sabotage)
    assert done.code == 1
    key, found = done.failed
    assert key == step
    assert wrong.items() <= found.items()


def test_a_contract_without_its_signature_check_fails_the_forgery(artefacts):
    done = run_forked_demo("--json", sabotage=broken_artefact(artefacts, "Checkout", takes_any_signature))
    assert done.code == 1
    key, found = done.failed
    assert key == "forged_order"
    assert found["status"] == "0x1"
    assert found["reference used"] == 1


def test_a_contract_that_takes_anybodys_mandate_fails_the_forged_one(artefacts):
    done = run_forked_demo("--json", sabotage=broken_artefact(artefacts, "Mandates", takes_anybodys_mandate))
    assert done.code == 1
    key, found = done.failed
    assert (key, found["status"]) == ("forged_mandate", "0x1")


BLIND_READER = """
from evmbilling.engine.reading import reader
reader._Reader._diverged = lambda self, cursor, tip: "no"
"""
WRONG_DIGEST = """
from evmbilling.adapters.evm import provider
right = provider.order_digest
provider.order_digest = lambda order: right(order)[::-1]
"""
BROKEN_REVERSAL = """
from evmbilling.domain.subscriptions import access
from evmbilling.domain.states import SubscriptionStatus
fold = access.entitle_subscription
from evmbilling.domain.payments import draft as payment_draft
kept = {}
def sticky(subscription, plan, **rest):
    made = fold(subscription, plan, **rest)
    if made.basis == "paid":
        kept[subscription.subscription_id] = made
    return kept.get(subscription.subscription_id, made)
payment_draft.entitle_subscription = sticky
"""
BLIND_PROVER = """
from evmbilling.adapters.evm import provider
provider.EvmProvider.is_signed = lambda self, order: True
"""
BLIND_JUDGE = """
from evmbilling.domain.payments import draft as payment_draft
payment_draft.mismatch = lambda observation, order: None
"""
LOST_EVENT = """
from evmbilling.domain.payments import draft as payment_draft
payment_draft.plan_change = lambda journal, before, after, **rest: after
"""
LOST_POSTING = """
from evmbilling.domain.books import bookkeeping
book = bookkeeping.book_receipt
bookkeeping.book_receipt = lambda old, new, clerk: () if new.allocation == "suspense" else book(old, new, clerk)
"""


def test_a_lost_posting_fails_the_last_step():
    done = run_forked_demo("--json", sabotage=LOST_POSTING)
    key, found = done.failed
    assert (done.code, key) == (1, "books")
    assert found["suspense"] == 0
    assert any(line.startswith("receipt_not_booked") for line in found["verify: differences"])


@pytest.mark.parametrize(
    ("sabotage", "step"),
    [
        (WRONG_DIGEST, "checkout"),
        (LOST_EVENT, "event"),
        (BLIND_READER, "reorg"),
        (BLIND_PROVER, "changed_order"),
        (BLIND_JUDGE, "stolen_key"),
        pytest.param(BROKEN_REVERSAL, "reorg", marks=AGAIN),
    ],
)
def test_other_broken_parts_fail_their_step(sabotage, step):
    done = run_forked_demo("--json", sabotage=sabotage)
    assert (done.code, done.failed[0]) == (1, step)


def test_people_see_expected_and_found():
    done = run_forked_demo(sabotage=DEEP_AT_ONCE)
    assert done.code == 1
    assert "not verified: waiting" in done.stdout
    assert re.search(r"database: order\n\s+expected  confirming\n\s+found     final\n", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
