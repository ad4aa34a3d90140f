"""Decimals that were mistyped while no node answered are corrected, as long as nothing was ordered in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bindings_bench import ALICE, PRICE, Club
from test_hopeless_bindings import joined, no_node

from evmbilling.errors import InputError, UnknownAsset
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import deploy_token
from evmbilling.testing.merchant import ADMIN

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

MISTYPED = {"network": "local", "symbol": "tUSD", "display": "19.99"}


def mistype(club: Club, decimals: int = 18) -> dict[str, Any]:
    """Save a plan with wrong decimals, while no node could be asked; return the price as it should be."""
    club.admin.create_contract(slug="theirs", network="local", kind="erc20", address=club.token.address)
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    price = MISTYPED | {"chain_id": club.node.chain_id, "token": club.token.address}
    with no_node(club):
        club.sell(prices=[price | {"decimals": decimals}])
    return price | {"decimals": 6}


@pytest.mark.parametrize("checked", [False, True], ids=["unread", "halted"])
@pytest.mark.parametrize("decimals", [2, 18])
@pytest.mark.parametrize("kept", ["memory", "sqlite", "postgres"])
def test_mistyped_decimals_are_corrected_before_anything_is_ordered(
    anvil: AnvilNode, open_database, checked: bool, decimals: int, kept: str
):
    clock = FrozenClock(Club.when(anvil.block() or {}))
    club = Club(anvil, storage=None if kept == "memory" else open_database(kept, clock), clock=clock)
    try:
        right = mistype(club, decimals)
        assert len(club.engine.check_tokens() if checked else ()) == checked
        # What somebody sent meanwhile is there in base units, whatever a plan says of decimals.
        club.act(club.token, "transfer", club.treasury, 5, sender=ALICE.address)
        club.settle()
        with pytest.raises(InputError) as wrong:
            club.admin.revise_plan("pro", version=1, prices=[right | {"decimals": 8}])
        assert wrong.value.field == "prices[0]"
        revised = club.admin.revise_plan("pro", version=1, prices=[right])
        assert [price.amount for price in revised.prices] == [PRICE]
        assert club.engine.check_tokens() == []
        assert [i for i in club.engine.finance(ADMIN).queue() if i.kind == "token_halted"] == []
        offer = club.checkout()
        assert (offer.amount, offer.order.asset.decimals) == (PRICE, 6)
        club.pay(offer)
        assert club.engine.order(offer.ledger_id).status == "confirmed"
        assert club.differences() == []
        # From now on the decimals are pinned by an order.
        with pytest.raises(InputError) as pinned:
            club.admin.revise_plan("pro", version=2, prices=[right | {"decimals": decimals}])
        assert pinned.value.field == "prices[0]"
        # A change that comes later halts the token.
        longer = deploy_token(club.node, decimals=18)
        club.node.set_code(club.token.address, club.node.rpc("eth_getCode", longer.address, "latest"))
        (halted,) = club.engine.check_tokens()
        assert (halted.reason, halted.asset and halted.asset.decimals) == ("decimals_changed", 6)
    finally:
        club.close()


def test_what_was_mistyped_is_sold_by_nobody_after_the_correction(club: Club):
    """Another plan says it still, and an older version is asked for by name."""
    right = mistype(club)
    with no_node(club):
        club.sell("other", prices=[right | {"decimals": 18}])
    club.admin.revise_plan("pro", version=1, prices=[right])
    with pytest.raises(UnknownAsset):
        club.checkout(plan="other")
    with pytest.raises(UnknownAsset):
        club.admin.adopt(
            external_id="a-1",
            user_id="alice",
            plan="pro",
            plan_version=1,
            wallet=ALICE.address,
            paid_until=club.clock.now() + timedelta(days=9),
        )
    with pytest.raises(InputError, match="6 decimals") as still:
        club.admin.revise_plan("other", version=1, name="Other")
    assert still.value.field == "prices[0]"
    club.admin.revise_plan("other", version=1, prices=[right])
    assert club.checkout(plan="other").amount == PRICE


def test_decimals_are_corrected_only_by_the_word_of_a_node(stored_club: Club):
    club, right = stored_club, mistype(stored_club)
    with no_node(club), pytest.raises(InputError) as unheard:
        club.admin.revise_plan("pro", version=1, prices=[right])
    assert unheard.value.field == "prices[0]"
    with pytest.raises(InputError, match="no node"), joined(club):
        club.admin.revise_plan("pro", version=1, prices=[right])
    assert club.admin.revise_plan("pro", version=1, prices=[right]).version == 2


def test_decimals_in_which_something_was_ordered_stay(club: Club):
    """A person may have let the token go; then its base units were asked for."""
    right = mistype(club)
    (halted,) = club.engine.check_tokens()
    club.engine.finance(ADMIN).acknowledge(halted.item_id)
    offer = club.checkout()
    with pytest.raises(InputError, match="18 decimals") as pinned:
        club.admin.revise_plan("pro", version=1, prices=[right])
    assert pinned.value.field == "prices[0]"
    assert club.engine.order(offer.ledger_id).status == "pending"
