"""The rules of asking for a mandate and of choosing one, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from mandate_records import DAY, NOW, PRICE, mandate
from pulls_bench import Pulls

from evmbilling.domain.decisions import StoreMandate
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.mandates import MAX_UINT160, MandateStatus, Permit
from evmbilling.domain.mandates.offers import MandateRequest, end_mandates, same_offer, wanted_allowance
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.orders import OrderLine
from evmbilling.errors import InputError
from evmbilling.testing.merchant import simulated_merchant

M = MandateStatus


def numbered(number: int, **changes: Any) -> Any:
    return mandate(mandate_id=f"0192a3b4-c5d6-7e8f-9a0b-{number:012x}", salt=number, **changes)


def journal() -> Journal:
    ids = iter(range(100))
    return Journal(Customer(user_id="alice", created_at=NOW), NOW, lambda: f"id-{next(ids)}")


def test_what_is_over_is_not_ended_again_and_what_was_never_given_goes_without_a_word() -> None:
    told = journal()
    given, prepared = numbered(1), numbered(2, given_at=None, status=M.PREPARED)
    over = [numbered(3, cancelled_at=NOW, status=M.CANCELLED), numbered(4, expires_at=NOW - DAY)]
    decisions = end_mandates([given, prepared, *over], "by_us", told, NOW)
    ended = [d.mandate for d in decisions if isinstance(d, StoreMandate)]
    assert [(m.mandate_id, m.status, m.end_reason, m.version) for m in ended] == [
        (given.mandate_id, M.CANCELLED, "by_us", 2),
        (prepared.mandate_id, M.CANCELLED, "by_us", 2),
    ]
    events = [d.event for d in told.decisions() if hasattr(d, "event")]
    assert [(e.type, e.data["mandate_id"], e.data["reason"]) for e in events] == [
        ("billing.mandate.cancelled.v1", given.mandate_id, "by_us")
    ]


def test_two_offers_are_the_same_whenever_they_were_made() -> None:
    permit = Permit(amount=1, nonce=0, expiration=NOW, deadline=NOW)
    assert same_offer(numbered(1), numbered(2, start=NOW + DAY, created_at=NOW + DAY, permit=permit))
    for changes in ({"cap": 5}, {"via": "permit2"}, {"payer": "0x" + "11" * 20}, {"operator": "0x" + "22" * 20}):
        assert not same_offer(numbered(1), numbered(2, **changes))


@pytest.mark.parametrize(
    ("allowance", "charge_cap", "wanted"),
    [(None, PRICE, 12 * PRICE), (5, PRICE, 5), (None, MAX_UINT160, MAX_UINT160), (MAX_UINT160, 1, MAX_UINT160)],
)
def test_what_the_payer_is_asked_to_allow(allowance: int | None, charge_cap: int, wanted: int) -> None:
    request = MandateRequest(user_id="alice", subscription_id="s", wallet="0x", allowance=allowance)
    assert wanted_allowance(request, mandate(charge_cap=charge_cap)) == wanted


def test_a_period_that_costs_nothing_needs_a_cap_that_somebody_names() -> None:
    """A host's discount may make a period free; a cap of nothing would be no mandate."""
    free: list[OrderLine] = []
    shop = simulated_merchant(seed=5)
    pulls = Pulls(shop)
    subscription = pulls.subscribe()
    ports = shop.engine._ports
    object.__setattr__(ports, "extra_lines", lambda *_: tuple(free))
    free.append(OrderLine(kind="discount", text="free", amount=-19_990_000))
    with pytest.raises(InputError) as caught:
        pulls.prepare(subscription)
    assert caught.value.field == "charge_cap"
    assert pulls.prepare(subscription, charge_cap=7).mandate.cap == 7
    free[:] = [OrderLine(kind="tax", text="VAT", amount=10)]
    assert pulls.prepare(subscription).mandate.charge_cap == 19_990_010
