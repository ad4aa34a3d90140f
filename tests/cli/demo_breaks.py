"""What the demo is broken by, and where: contracts and events that are not the packaged ones, rules that do not hold.

What ``breaks`` returns branches off the healthy run; the others, and in the whole run all, run from the beginning.
"""

from __future__ import annotations

import re
from functools import partial

from demo_branches import Break
from demo_runs import broken_artefact

from evmbilling.testing.paid_logs import PAID_TOPIC

UNKNOWN_SIGNER = "d7e8a2c2"
OTHER_TOPIC = "aa" * 32


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
ANOTHER_CHAIN = """
from evmbilling.cli.demo import setting_up
setting_up.CHAIN_ID = 1
"""


def finality(rule):
    """Another rule of what is deep enough."""
    return f"from evmbilling.domain.catalogue.catalogue import Finality\nFinality.reached = {rule}\n"


DEEP_AT_ONCE = finality("lambda *args: True")
NEVER_AS_DEEP = finality("lambda self, number, heights: heights.head - number >= self.blocks")
DEEP_TOO_EARLY = finality("lambda self, number, heights: heights.head - number + 2 >= self.blocks")

ARTEFACTS = {
    "any signature": ("forged_order", "checkout", "Checkout", takes_any_signature),
    "anybody's mandate": ("forged_mandate", "mandates", "Mandates", takes_anybodys_mandate),
}
CODE = {
    "wrong digest": Break("checkout", WRONG_DIGEST),
    "blind reader": Break("payment", BLIND_READER),  # the chain goes back as far as that
    "deep at once": Break("waiting", DEEP_AT_ONCE),
    "never as deep": Break("order", NEVER_AS_DEEP),
    "lost event": Break("order", LOST_EVENT),
    "blind prover": Break("changed_order", BLIND_PROVER),
    "blind judge": Break("stolen_key", BLIND_JUDGE),
    "lost posting": Break("unknown_payer", LOST_POSTING),
}


def replace_code(which, change, world):
    """Put the changed code of a contract in the place of the code that was deployed."""
    address = getattr(world, which).address
    code = world.node.rpc("eth_getCode", address, "latest")
    record = {"bytecode": code, "deployedBytecode": code}
    change(record)
    world.node.set_code(address, record["deployedBytecode"])


def breaks(folder):
    """Everything that the usual run breaks, by name; the folder takes the artefacts that are not the packaged ones."""
    made = dict(CODE)
    for name, (before, which, contract, change) in ARTEFACTS.items():
        artefacts = folder / name
        artefacts.mkdir()
        code = broken_artefact(artefacts, contract, change)
        made[name] = Break(before, code, partial(replace_code, which, change))
    return made
