"""The pure rules: where a mandate stands, how much it allows, and why a charge would not go through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

import attrs
import pytest
from contract_bench import START as BENCH_START
from contract_bench import ZERO
from hypothesis import given, settings
from hypothesis import strategies as st
from mandate_records import (
    CHECKOUT,
    DAY,
    NOW,
    OPERATOR,
    PRICE,
    TOKEN,
    chain,
    facts,
    mandate,
    order,
    seen,
)
from mandates_bench import REASONS, MandatesBench

from evmbilling.domain.mandates.mandate_charges import (
    REASK,
    REFUSALS,
    ChargeProblem,
    charge_of,
    charge_problem,
    terms_fit,
)
from evmbilling.domain.mandates.mandates import (
    MANDATE_MOVES,
    START_SLACK,
    MandateStatus,
    Permit,
    accept,
    allowed_by,
    at,
    mandate_standing,
    refold,
    remaining,
    shortest_period,
)
from evmbilling.domain.states import check_move
from evmbilling.domain.subscriptions.calendar import Interval, boundary
from evmbilling.errors import IllegalTransition, InputError
from sampling import examples

M = MandateStatus
PROBLEMS = ChargeProblem.__args__  # type: ignore[attr-defined]  # a Literal's own words


# -- where it stands

PREPARED = {"given_at": None, "status": M.PREPARED, "signature": b""}


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        (PREPARED, M.PREPARED),
        ({}, M.GIVEN),
        ({"on_chain": seen()}, M.ACTIVE),
        (PREPARED | {"on_chain": seen()}, M.ACTIVE),
        ({"expires_at": NOW - DAY}, M.EXPIRED),
        ({"expires_at": NOW}, M.GIVEN),
        ({"expires_at": NOW - DAY, "on_chain": seen()}, M.EXPIRED),
        ({"revocation": seen()}, M.REVOKED),
        ({"revocation": seen(), "expires_at": NOW - DAY}, M.REVOKED),
        ({"revocation": seen(), "cancelled_at": NOW}, M.CANCELLED),
        ({"cancelled_at": NOW, "on_chain": seen()}, M.CANCELLED),
    ],
)
def test_where_a_mandate_stands_is_a_fold_over_its_facts(changes: dict[str, Any], standing: MandateStatus) -> None:
    assert mandate_standing(mandate(**changes), NOW) is standing


FACT = st.fixed_dictionaries(
    {
        "given_at": st.sampled_from((None, NOW)),
        "cancelled_at": st.sampled_from((None, None, NOW)),
        "on_chain": st.sampled_from((None, seen(1))),
        "revocation": st.sampled_from((None, seen(2))),
    }
)


@given(before=FACT, after=FACT, days=st.integers(0, 2000))
def test_every_change_of_the_facts_is_a_move_of_the_table(
    before: dict[str, Any], after: dict[str, Any], days: int
) -> None:
    """Facts come and go with the chain, and time passes; only a cancellation and a signature stay."""
    kept = {name: before[name] for name in ("cancelled_at", "given_at") if before[name] is not None}
    first = attrs.evolve(mandate(**before), status=mandate_standing(mandate(**before), NOW))
    second = refold(attrs.evolve(first, **(after | kept)), NOW + days * DAY)
    assert second.status is mandate_standing(second, NOW + days * DAY)
    assert second.version == first.version + 1


def test_the_table_names_every_state_and_leads_out_of_all_but_one() -> None:
    assert set(MANDATE_MOVES) == set(M)
    assert [state for state, moves in MANDATE_MOVES.items() if not moves] == [M.CANCELLED]
    with pytest.raises(IllegalTransition):
        check_move(MANDATE_MOVES, M.CANCELLED, M.GIVEN)
    with pytest.raises(IllegalTransition):
        check_move(MANDATE_MOVES, M.EXPIRED, M.ACTIVE)


def test_time_ends_a_mandate_without_a_write() -> None:
    given_ = mandate()
    assert at(given_, given_.expires_at).status is M.GIVEN
    assert at(given_, given_.expires_at + timedelta(seconds=1)).status is M.EXPIRED
    assert at(given_, NOW).version == given_.version


def test_a_permit_that_was_not_signed_is_dropped() -> None:
    permit = Permit(amount=PRICE, nonce=0, expiration=NOW, deadline=NOW)
    waiting = mandate(**PREPARED, permit=permit, via="permit2")
    assert accept(waiting, b"sig", b"", NOW).permit is None
    assert accept(waiting, b"sig", b"permit", NOW).permit == attrs.evolve(permit, signature=b"permit")
    assert accept(waiting, b"sig", b"", NOW).status is M.GIVEN


# -- how much it allows


@settings(max_examples=examples(60), deadline=None)
@given(
    caps=st.tuples(st.integers(1, 2**160 - 1), st.integers(1, 2**160 - 1)),
    spacing=st.one_of(st.integers(1, 10**8), st.just(2**62)),
    life=st.tuples(st.integers(-50, 10**7), st.integers(0, 10**8)),
    elapsed=st.integers(0, 2 * 10**8),
    spent=st.integers(0, 3),
)
def test_the_rule_is_the_contracts_to_the_unit(
    caps: tuple[int, int], spacing: int, life: tuple[int, int], elapsed: int, spent: int
) -> None:
    """The view of the deployed contract, after some charges, against the pure rule."""
    pulls = MandatesBench()
    (cap, charge_cap), (lead, lasts) = caps, life
    start = BENCH_START + lead
    terms = pulls.mandate(cap=cap, chargeCap=charge_cap, spacing=spacing, start=start, expiry=start + lasts)
    pulls.endow(terms.payer, 2**200)
    ours = mandate(
        cap=cap,
        charge_cap=charge_cap,
        spacing=spacing,
        start=datetime.fromtimestamp(start, UTC),
        expires_at=datetime.fromtimestamp(start + lasts, UTC),
    )
    charged = 0
    for step in range(spent + 1):
        time = max(BENCH_START, start) + elapsed * step // (spent + 1)
        pulls.at(time)
        when = datetime.fromtimestamp(time, UTC)
        left = remaining(ours, charged, when)
        assert pulls.remaining(terms) == left
        if left:
            assert charged + left <= allowed_by(ours, when)
            pulls.charge(terms, reference=step.to_bytes(32), amount=left, deadline=2**63)
            charged += left
            assert pulls.remaining(terms) == remaining(ours, charged, when)


def test_nothing_is_allowed_before_the_start() -> None:
    assert allowed_by(mandate(), NOW - timedelta(seconds=1)) == 0
    assert remaining(mandate(), 0, NOW - timedelta(seconds=1)) == 0
    assert remaining(mandate(), 0, NOW) == PRICE


@pytest.mark.parametrize(
    ("interval", "days"),
    [
        (Interval("day"), 1),
        (Interval("week", 2), 14),
        (Interval("month"), 28),
        (Interval("month", 2), 59),
        (Interval("month", 3), 89),
        (Interval("month", 12), 365),
        (Interval("year"), 365),
        (Interval("year", 4), 1460),
    ],
    ids=str,
)
def test_the_shortest_period_is_known_by_hand(interval: Interval, days: int) -> None:
    assert shortest_period(interval) == days * 86_400


def test_what_is_sold_once_has_no_period() -> None:
    with pytest.raises(InputError):
        shortest_period(Interval("none"))


ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("posix", "right")))


@settings(max_examples=examples(300), deadline=None)
@given(
    anchor=st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  - made aware below
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from([Interval(u, n) for u in ("day", "week", "month", "year") for n in (1, 2, 3)]),
    late=st.integers(0, 86_400),
)
def test_one_charge_a_period_always_fits_whatever_the_calendar_does(
    anchor: datetime, zone: str, interval: Interval, late: int
) -> None:
    """A mandate made just before its first charge lets the n-th period be charged at its boundary, and later."""
    anchor = anchor.replace(tzinfo=UTC, microsecond=0)
    terms = mandate(
        spacing=shortest_period(interval), start=anchor - START_SLACK, expires_at=anchor + timedelta(days=365 * 100)
    )
    charged = 0
    for index in range(25):
        when = boundary(anchor, interval, zone, index) + timedelta(seconds=late if index % 3 else 0)
        assert remaining(terms, charged, when) == PRICE
        charged += PRICE


# -- why a charge would not go through

TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("nothing in the way", {}, ""),
    ("not given", {"mandate": mandate(**PREPARED)}, "not_given"),
    ("cancelled by us", {"mandate": mandate(cancelled_at=NOW)}, "cancelled"),
    ("revoked, as we know", {"mandate": mandate(revocation=seen())}, "revoked"),
    ("over, by our clock", {"now": NOW + 2000 * DAY}, "expired"),
    ("another plan", {"order": order(plan_slug="max")}, "terms_changed"),
    ("another version of it", {"order": order(plan_version=2)}, "terms_changed"),
    ("another treasury", {"order": order(treasury=CHECKOUT)}, "terms_changed"),
    ("another token", {"order": order(asset=attrs.evolve(order().asset, token=OPERATOR))}, "terms_changed"),
    ("another chain", {"order": order(asset=attrs.evolve(order().asset, chain_id=1))}, "terms_changed"),
    ("another subscription", {"order": order(subscription_id=order().ledger_id)}, "terms_changed"),
    ("another user", {"order": order(user_id="bob")}, "terms_changed"),
    ("a higher price", {"order": order(amount=PRICE + 1)}, "terms_changed"),
    ("nobody answered", {"chain": None}, "rpc_unknown"),
    ("no contract there", {"chain": chain(contract_known=False)}, "contract_missing"),
    ("no token there", {"chain": chain(token_answers=False)}, "contract_missing"),
    ("no Permit2 there", {"chain": chain(refusal="no_permit2")}, "contract_missing"),
    ("revoked, as the chain knows", {"chain": chain(stage="revoked")}, "revoked"),
    ("over, by the chain's clock", {"chain": chain(time=NOW + 2000 * DAY)}, "expired"),
    ("not begun", {"chain": chain(time=NOW - DAY)}, "not_started"),
    ("charged before", {"chain": chain(used=True)}, "reference_used"),
    ("the cap is used up", {"chain": chain(charged=1)}, "cap_reached"),
    ("the contract is paused", {"chain": chain(paused=True)}, "paused"),
    ("too little money", {"chain": chain(balance=PRICE - 1)}, "balance"),
    ("too little allowed", {"chain": chain(allowance=PRICE - 1)}, "allowance"),
    ("both", {"chain": chain(balance=0, allowance=0)}, "balance"),
    ("the wallet's owner changed", {"chain": chain(stage="unknown", refusal="bad_signature")}, "bad_signature"),
    ("our key was removed", {"chain": chain(refusal="not_operator")}, "operator_refused"),
    ("another operator", {"chain": chain(refusal="wrong_operator")}, "operator_refused"),
    ("the charge is late", {"chain": chain(refusal="charge_late")}, "expired"),
    ("the token says no", {"chain": chain(simulated="reverted")}, "deny_listed"),
    ("the token is paused", {"chain": chain(simulated="reverted", token_paused=True)}, "paused"),
    ("the token keeps a fee", {"chain": chain(simulated="short")}, "short_receipt"),
    ("nobody tried", {"chain": chain(refusal=None, simulated=None)}, ""),
    # A permit that comes along makes the allowance good when the charge is made.
    ("a permit comes along", {"chain": chain(refusal="allowance_too_low")}, ""),
    # What only the payer can mend goes before what time or money mends.
    ("over and poor", {"chain": chain(stage="revoked", balance=0)}, "revoked"),
]


@pytest.mark.parametrize(("changes", "problem"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_why_a_charge_would_not_go_through(changes: dict[str, Any], problem: str) -> None:
    assert (charge_problem(facts(**changes)) or "") == problem


def test_every_code_has_a_row_and_every_refusal_of_the_contract_a_code() -> None:
    assert {row[2] for row in TABLE} - {""} == set(PROBLEMS)
    assert set(PROBLEMS) >= REASK
    ignored = {"none", "allowance_too_low"}
    for refusal in set(REFUSALS) - ignored:
        assert charge_problem(facts(chain=chain(refusal=refusal))) in PROBLEMS
    assert [name.replace("_", "") for name in REFUSALS] == [name.lower() for name in REASONS]


@given(
    chain=st.builds(
        chain,
        time=st.sampled_from((NOW - DAY, NOW, NOW + 2000 * DAY)),
        contract_known=st.booleans(),
        stage=st.sampled_from(("unknown", "given", "revoked")),
        charged=st.sampled_from((0, 1, PRICE)),
        balance=st.sampled_from((0, PRICE)),
        allowance=st.sampled_from((0, PRICE)),
        used=st.booleans(),
        paused=st.booleans(),
        refusal=st.sampled_from((None, *REFUSALS)),
        simulated=st.sampled_from((None, "ok", "short", "reverted")),
    )
)
def test_a_charge_is_tried_only_when_everything_is_well(chain: Any) -> None:
    problem = charge_problem(facts(chain=chain))
    well = (
        chain.contract_known
        and chain.stage != "revoked"
        and chain.time == NOW
        and not chain.used
        and not chain.paused
        and chain.charged == 0
        and min(chain.balance, chain.allowance) >= PRICE
        and chain.refusal in (None, "none", "allowance_too_low")
        and chain.simulated in (None, "ok")
    )
    assert (problem is None) is well


def test_the_charge_of_an_order_says_what_it_says() -> None:
    asked = order()
    assert charge_of(asked).checkout == CHECKOUT
    assert charge_of(asked, 5).amount == 5
    assert (charge_of(asked).reference, charge_of(asked).deadline) == (asked.reference, asked.deadline)
    plain = order(rail="erc20", contract=TOKEN)
    assert charge_of(plain).checkout == ZERO
    assert terms_fit(mandate(), asked, 5)
    assert not terms_fit(mandate(), asked, 0)
