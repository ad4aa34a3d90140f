"""The rules of our own transactions, as tables and properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.addresses import checksum
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import (
    BUMP_AFTER,
    TRANSMISSION_MOVES,
    FeeMarket,
    Look,
    MinedIn,
    SignedTransaction,
    Transmission,
    follow,
    give_up,
    offer_fees,
    sent,
    signed,
    wait,
    wants_bump,
    wants_cancel,
    withdraw,
)
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.errors import IllegalTransition

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = b"\1" * 32, b"\2" * 32
WEI = st.integers(1, 10**13)


def transmission(**changes: Any) -> Transmission:
    values: dict[str, Any] = {
        "transmission_id": "t",
        "purpose": "charge",
        "subject": "order:1",
        "network": "local",
        "chain_id": 1,
        "signer": SecretRef("env", "KEY"),
        "sender": checksum(b"\5" * 20),
        "to": checksum(b"\6" * 20),
        "gas": 100_000,
        "gas_ceiling": 10**18,
        "not_after": NOW,
        "next_at": NOW,
        "waiting_since": NOW,
        "created_at": NOW,
    }
    return Transmission(**(values | changes))


def version(
    seq: int = 1, kind: Any = "send", tx_hash: bytes = ONE, max_fee: int = 100, tip: int = 10
) -> SignedTransaction:
    return SignedTransaction(
        transmission_id="t",
        seq=seq,
        kind=kind,
        tx_hash=tx_hash,
        raw=b"",
        max_fee=max_fee,
        priority_fee=tip,
        signed_at=NOW,
    )


def mined(number: int = 10, *, succeeded: bool = True, tx_hash: bytes = ONE) -> MinedIn:
    return MinedIn(
        tx_hash=tx_hash, block_number=number, block_hash=TWO, block_time=NOW, succeeded=succeeded, gas_paid=5
    )


def look(
    place: MinedIn | None = None, *, irreversible: int | None = 9, used: bool = False, pending: bool = False
) -> Look:
    return Look(mined=place, irreversible=irreversible, used_for_ever=used, pending=pending)


FLYING = (T.SIGNED, T.SUBMITTED, T.UNKNOWN, T.MINED, T.REVERTED)
SENT, CANCELLING = [version()], [version(), version(2, "cancel", TWO)]
OUTCOMES = [
    (look(pending=True), SENT, T.SUBMITTED, None),
    (look(), SENT, T.UNKNOWN, None),
    (look(used=True), SENT, T.FAILED, "nonce_taken"),
    (look(mined(10)), SENT, T.MINED, None),
    (look(mined(9)), SENT, T.DONE, None),
    (look(mined(9), irreversible=None), SENT, T.MINED, None),
    (look(mined(10, succeeded=False)), SENT, T.REVERTED, "reverted"),
    (look(mined(9, succeeded=False)), SENT, T.FAILED, "reverted"),
    (look(mined(10, tx_hash=TWO)), CANCELLING, T.REVERTED, "withdrawn"),
    (look(mined(9, tx_hash=TWO)), CANCELLING, T.FAILED, "withdrawn"),
    (look(mined(9)), CANCELLING, T.DONE, None),
]


@pytest.mark.parametrize("before", FLYING)
@pytest.mark.parametrize(("seen", "versions", "after", "reason"), OUTCOMES)
def test_what_the_chain_says_decides_whatever_was_known(before, seen, versions, after, reason) -> None:
    got = follow(transmission(status=before, nonce=3, versions=len(versions)), seen, versions, NOW)
    assert got.status is after
    if reason or after in {T.MINED, T.DONE}:
        assert got.failure_reason == reason
    assert got.mined == seen.mined
    assert got.nonce == 3


@pytest.mark.parametrize("before", [T.QUEUED, T.DONE, T.FAILED, T.CANCELLED])
def test_the_chain_says_nothing_about_what_has_no_nonce_or_is_over(before) -> None:
    with pytest.raises(IllegalTransition):
        follow(transmission(status=before), look(mined(10)), SENT, NOW)


def test_every_status_is_in_the_table_and_what_is_over_stays_over() -> None:
    assert set(TRANSMISSION_MOVES) == set(T)
    assert [s for s in T if not TRANSMISSION_MOVES[s]] == [T.DONE, T.FAILED, T.CANCELLED]


@pytest.mark.parametrize(
    ("outcome", "after"),
    [
        ("accepted", T.SUBMITTED),
        ("known", T.SUBMITTED),
        ("nonce_used", T.UNKNOWN),
        ("underpriced", T.UNKNOWN),
        ("refused", T.UNKNOWN),
        ("no_answer", T.UNKNOWN),
    ],
)
def test_sending_never_ends_anything(outcome, after) -> None:
    assert sent(transmission(status=T.SIGNED, nonce=1), outcome, NOW).status is after


def test_a_nonce_is_kept_for_ever() -> None:
    first = signed(transmission(), version(), 7, NOW)
    assert (first.status, first.nonce) == (T.SIGNED, 7)
    again = signed(attrs.evolve(first, status=T.SUBMITTED), version(2), 99, NOW)
    assert (again.status, again.nonce, again.versions) == (T.SUBMITTED, 7, 2)


def test_giving_up_is_for_what_has_no_nonce() -> None:
    assert give_up(transmission(), "expired", NOW).failure_reason == "expired"
    with pytest.raises(IllegalTransition):
        give_up(transmission(status=T.SIGNED, nonce=1), "expired", NOW)


@pytest.mark.parametrize("status", FLYING)
def test_what_holds_a_nonce_is_withdrawn_on_chain(status) -> None:
    asked = withdraw(transmission(status=status, nonce=1), NOW)
    assert (asked.status, asked.withdrawn) == (status, True)
    assert wants_cancel(asked, version()) is (status in {T.SIGNED, T.SUBMITTED, T.UNKNOWN})
    assert not wants_cancel(asked, version(kind="cancel"))


def test_a_version_waits_before_the_next_one() -> None:
    one = transmission(status=T.SUBMITTED, nonce=1)
    assert not wants_bump(one, NOW + BUMP_AFTER - timedelta(microseconds=1))
    assert wants_bump(one, NOW + BUMP_AFTER)
    assert not wants_bump(attrs.evolve(one, status=T.MINED), NOW + BUMP_AFTER)


def test_waiting_in_vain_becomes_rarer_and_ends_nowhere() -> None:
    one = transmission()
    pauses = []
    for _ in range(20):
        one = wait(one, NOW)
        pauses.append(one.next_at - NOW)
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(minutes=10)


MARKETS = st.builds(FeeMarket, base_fee=st.none() | WEI, priority_fee=WEI, gas_price=WEI)


@given(market=MARKETS, gas=st.integers(21_000, 10**6), ceiling=st.integers(1, 10**20), cap=st.none() | WEI)
def test_no_offer_costs_more_than_it_may_or_less_than_the_market(market, gas, ceiling, cap) -> None:
    fees = offer_fees(market, None, gas=gas, ceiling=ceiling, cap=cap)
    needed = market.gas_price if market.base_fee is None else market.base_fee + market.priority_fee
    if fees is None:
        assert needed * gas > ceiling or (cap is not None and needed > cap)
        return
    assert fees.max_fee * gas <= ceiling
    assert cap is None or fees.max_fee <= cap
    assert fees.legacy is (market.base_fee is None)
    assert 0 < fees.priority_fee <= fees.max_fee
    assert fees.max_fee >= needed


@given(market=MARKETS, old=WEI, old_tip=WEI)
def test_a_replacement_pays_a_tenth_more_in_both_parts(market, old, old_tip) -> None:
    before = version(max_fee=max(old, old_tip), tip=old_tip)
    fees = offer_fees(market, before, gas=21_000, ceiling=10**30, cap=None)
    assert fees is not None
    assert fees.max_fee * 10 >= before.max_fee * 11
    assert fees.priority_fee * 10 >= before.priority_fee * 11
