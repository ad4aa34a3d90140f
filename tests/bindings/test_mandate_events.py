"""Events about mandates of a contract that is bound by configuration: of whose it speaks, and of whose not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, Club

from evmbilling.domain.decisions import StoreMandate
from evmbilling.domain.mandates import Mandate, Seen
from evmbilling.domain.receipts import Evidence
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.deploy import deploy_mandates

DIGEST = bytes(range(32))


def start(club: Club, means: str) -> None:
    """Sell a month to Alice through a contract one of whose events is about mandates."""
    spoken = {"event": "GivenBack", "means": means, "mandate": "name", "payer": "to"}
    club.bind(club.passes, mint_method=JOIN, events=[JOINED, spoken])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    club.pay(club.checkout())


def keep(club: Club, **changes: Any) -> Mandate:
    """Keep a mandate of Alice's that nobody has signed, as it stands."""
    (subscription,) = club.engine.subscriptions("alice")
    now = club.clock.now().replace(microsecond=0)
    offer = club.checkout()
    fields: dict[str, Any] = {
        "digest": DIGEST,
        "user_id": "alice",
        "subscription_id": subscription.subscription_id,
        "network": "local",
        "asset": offer.order.asset,
        "contract": club.passes.address,
        "payer": ALICE.address,
        "start": now,
        "expires_at": now + timedelta(days=300),
        "status": "prepared",
        "signature": b"",
        "permit": None,
        "given_at": None,
        "cancelled_at": None,
        "end_reason": None,
        "on_chain": None,
        "revocation": None,
    }
    made = records.mandate(1, **(fields | changes))
    with club.engine._ports.storage.unit() as unit:
        unit.apply([StoreMandate(made)])
    return made


def kept(club: Club) -> Mandate:
    with club.engine._ports.storage.unit(write=False) as unit:
        return unit.mandates_by_digest([DIGEST])[DIGEST]


def say(club: Club, payer: str) -> None:
    """Let the contract say something about the mandate; anybody may call it."""
    club.act(club.passes, "pretend", DIGEST, payer, 1, sender=BOB.address)
    club.settle()


@pytest.mark.parametrize(
    ("means", "before", "after", "told"),
    [
        ("mandate_given", "prepared", "active", "billing.mandate.given.v1"),
        ("mandate_revoked", "active", "revoked", "billing.mandate.revoked.v1"),
    ],
)
def test_what_a_contract_says_about_its_own_mandates_holds_and_goes_with_its_block(
    club: Club, means: str, before: str, after: str, told: str
):
    start(club, means)
    given = None
    if before == "active":
        block = club.node.block()
        assert block is not None
        evidence = Evidence(block_number=1, block_hash=b"\1" * 32, block_time=club.when(block), log_index=0)
        given = Seen(identity=records.identity(1), evidence=evidence)
    keep(club, status=before, on_chain=given)
    # Somebody else's word about it is nobody's.
    say(club, BOB.address)
    assert kept(club).status == before
    say(club, ALICE.address)
    assert kept(club).status == after
    with club.engine._ports.storage.unit(write=False) as unit:
        assert len(unit.events(type_=told)) == 1
    club.node.reorg(4)
    club.node.mine()
    club.settle()
    assert kept(club).status == before


@pytest.mark.parametrize("means", ["mandate_given", "mandate_revoked"])
def test_a_contract_says_nothing_about_the_mandates_of_the_one_that_pulls(anvil: AnvilNode, means: str):
    """Only the contract that charges can say that it may, or may not any more."""
    club = Club(anvil)
    try:
        pulls = deploy_mandates(anvil, operators=(BOB.address,))
        club.admin.create_contract(
            slug="pulls", network="local", address=pulls.address, kind="mandates", start_block=pulls.block
        )
        start(club, means)
        before = keep(club, contract=pulls.address)
        say(club, ALICE.address)
        assert kept(club) == before
    finally:
        club.close()
