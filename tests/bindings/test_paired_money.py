"""Which transfer is the money of which event: clear, or left to a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.payments.paired_money import pair_money, told_again
from evmbilling.domain.reading.evidence import ChainLog, Observation

CONTRACT, PAYER, VAULT, TOKEN, OTHER, SECOND = (checksum(bytes([n]) * 20) for n in range(1, 7))


def log(ordinal: int) -> ChainLog:
    return ChainLog(
        chain_id=1,
        block_number=1,
        block_hash=bytes(32),
        block_time=datetime(2026, 1, 1, tzinfo=UTC),
        tx_hash=bytes(32),
        log_index=ordinal,
        ordinal=ordinal,
        address=CONTRACT,
        topics=(),
        data=b"",
    )


def event(ordinal: int, amount: int = 0, **changes: Any) -> Observation:
    values: dict[str, Any] = {"token": "", "treasury": "", "payer": "", "beneficiary": "", "kind": "payment"}
    values |= {"contract": CONTRACT, "reference": b""}
    return Observation(
        rail="call",
        subscription=0,
        amount=amount,
        found_by="payer",
        money="transfer",
        log=log(ordinal),
        **(values | changes),
    )


def transfer(ordinal: int, amount: int = 5, **changes: Any) -> Observation:
    values: dict[str, Any] = {"token": TOKEN, "treasury": VAULT, "payer": PAYER}
    made = event(ordinal, amount, kind="transfer", **(values | changes))
    return attrs.evolve(made, rail="erc20", money="event", found_by="reference")


def paired(*seen: Observation, received: Any = ()) -> dict[int, int]:
    """By event, the transfer that is its money."""
    found = pair_money(seen, treasuries={VAULT, SECOND}, received=received)
    for transfer_id, paid in found.pairs.items():
        moved = next(s for s in seen if s.log.identity == transfer_id)
        assert (paid.amount, paid.token, paid.treasury) == (moved.amount, moved.token, moved.treasury)
        assert paid in found.seen
    return {paid.log.ordinal: moved.ordinal for moved, paid in found.pairs.items()}


def unclear(*seen: Observation, received: Any = ()) -> set[str]:
    found = pair_money(seen, treasuries={VAULT, SECOND}, received=received)
    assert not found.pairs
    return set(found.unclear.values())


def test_one_event_and_one_transfer_belong_together_in_either_order():
    assert paired(transfer(0), event(1)) == {1: 0}
    assert paired(event(0), transfer(1)) == {0: 1}


def test_the_payer_is_the_events_word_before_the_transfers():
    passed_on = transfer(1, payer=CONTRACT)
    (seen, _) = pair_money([event(0, payer=OTHER), passed_on], treasuries={VAULT}).seen
    assert (seen.payer, seen.beneficiary) == (OTHER, OTHER)
    (seen, _) = pair_money([event(0), transfer(1)], treasuries={VAULT}).seen
    assert (seen.payer, seen.beneficiary) == (PAYER, PAYER)


def test_events_that_name_their_amount_find_it_among_several():
    assert paired(transfer(0, 5), event(1, 5), transfer(2, 7), event(3, 7)) == {1: 0, 3: 2}
    assert paired(event(0, 7), transfer(1, 7), event(2, 5), transfer(3, 5)) == {0: 1, 2: 3}
    assert paired(transfer(0, 5), event(1, 5), transfer(2, 5), event(3, 5)) == {1: 0, 3: 2}


def test_what_came_counts_where_the_event_says_more():
    assert paired(transfer(0, 4), event(1, 5)) == {1: 0}


def test_what_somebody_else_sends_in_the_same_transaction_is_not_the_payers():
    assert unclear(event(0, payer=OTHER), transfer(1)) == {"no_transfer"}
    assert unclear(event(1, 5, payer=OTHER), transfer(0)) == {"no_transfer"}
    assert paired(event(0, payer=OTHER), event(1, payer=PAYER), transfer(2)) == {1: 2}
    assert paired(event(0, 5, payer=OTHER), transfer(1, 5), event(2, 5, payer=PAYER)) == {2: 1}


def test_one_transfer_is_not_given_to_the_first_of_two_that_name_its_amount():
    passed_on = transfer(1, 5, payer=CONTRACT)
    assert unclear(event(0, 5, payer=OTHER), passed_on, event(2, 5, payer=PAYER)) == {"ambiguous_money"}


def test_a_token_that_tells_of_somebody_elses_purpose_leaves_the_transfer_as_any_other():
    foreign = event(0, contract=TOKEN, token=TOKEN, reference=b"x" * 32, payer=PAYER)
    ours = attrs.evolve(event(2, contract=TOKEN, token=TOKEN, payer=PAYER), reference=b"shop" + bytes(28))
    found = pair_money([foreign, transfer(1)], treasuries={VAULT}, instance_id=b"shop")
    assert (found.pairs, set(found.unclear.values()), set(found.doubtful)) == ({}, {"foreign_reference"}, set())
    assert [seen.kind for seen in found.seen] == ["transfer"]
    both = pair_money([foreign, transfer(1), ours], treasuries={VAULT}, instance_id=b"shop")
    assert [paid.log.ordinal for paid in both.pairs.values()] == [2]


def test_the_rest_is_not_guessed():
    assert unclear(transfer(0), event(1), event(2)) == {"ambiguous_money"}
    assert unclear(transfer(0), transfer(1), event(2)) == {"ambiguous_money"}
    assert unclear(event(0)) == {"no_transfer"}
    assert unclear(event(0), transfer(1, treasury=OTHER)) == {"no_transfer"}
    assert unclear(event(0, token=OTHER), transfer(1)) == {"no_transfer"}
    assert unclear(event(0, treasury=SECOND), transfer(1)) == {"no_transfer"}


def test_what_the_event_says_of_token_and_treasury_decides():
    both = (transfer(0, token=TOKEN), transfer(1, token=OTHER))
    assert paired(*both, event(2, token=OTHER)) == {2: 1}
    assert paired(transfer(0), transfer(1, treasury=SECOND), event(2, treasury=SECOND)) == {2: 1}


def test_money_that_went_back_in_the_same_transaction_is_no_payment():
    back = transfer(2, payer=VAULT, treasury=PAYER)
    assert unclear(transfer(0), event(1), back) == {"money_went_back"}


def test_a_transfer_that_was_taken_in_by_itself_is_not_credited_twice():
    moved = transfer(0)
    assert unclear(moved, event(1), received={moved.log.identity}) == {"already_received"}


def test_money_of_an_unclear_event_is_left_to_a_person():
    found = pair_money([transfer(0), event(1), event(2)], treasuries={VAULT})
    assert {identity.ordinal for identity in found.doubtful} == {0}
    assert [seen.kind for seen in found.seen] == ["transfer"]


def summed(*seen: Observation, received: Any = ()) -> tuple[int, set[int]] | str:
    """What one event that is paid by all transfers together brought, and which they are; else why that is unclear."""
    found = pair_money(seen, treasuries={VAULT, SECOND}, received=received)
    (paid,) = [s for s in seen if s.money == "transfers"]
    if paid.log.identity in found.unclear:
        assert not [s for s in found.pairs.values() if s.log.identity == paid.log.identity]
        return found.unclear[paid.log.identity]
    (after,) = [s for s in found.seen if s.log.identity == paid.log.identity]
    parts = {i.ordinal for i, event_ in found.pairs.items() if event_.log.identity == paid.log.identity}
    return after.amount, parts


def together(ordinal: int, **changes: Any) -> Observation:
    return attrs.evolve(event(ordinal, **changes), money="transfers")


def back(ordinal: int, amount: int, **changes: Any) -> Observation:
    return transfer(ordinal, amount, **({"payer": VAULT, "treasury": PAYER} | changes))


def test_all_transfers_together_are_the_money_of_one_event():
    assert summed(transfer(0, 5), transfer(1, 7), together(2)) == (12, {0, 1})
    assert summed(together(0), transfer(1, 5), transfer(2, 7)) == (12, {1, 2})
    assert summed(transfer(0, 5), together(1)) == (5, {0})
    # What left again is not what came: a fee to somebody, or a rebate.
    assert summed(transfer(0, 12), back(1, 2), together(2)) == (10, {0, 1})
    assert summed(transfer(0, 12), together(1), back(2, 2, treasury=OTHER)) == (10, {0, 2})
    # Another token, or money to somebody else, is another matter.
    assert summed(transfer(0, 5, token=OTHER), transfer(1, 7), together(2, token=TOKEN)) == (7, {1})
    assert summed(transfer(0, 5, treasury=OTHER), transfer(1, 7), together(2)) == (7, {1})
    # Who pays is the event's to say; then a third party may add to it.
    assert summed(transfer(0, 5), transfer(1, 7, payer=OTHER), together(2, payer=PAYER)) == (5, {0})


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ([together(0)], "no_transfer"),
        ([transfer(0, 5, token=OTHER), transfer(1, 7), together(2)], "ambiguous_money"),
        ([transfer(0, 5), transfer(1, 7, treasury=SECOND), together(2)], "ambiguous_money"),
        ([transfer(0, 5), transfer(1, 7, payer=OTHER), together(2)], "ambiguous_money"),
        ([transfer(0, 5), together(1), event(2)], "ambiguous_money"),
        ([transfer(0, 5), together(1), back(2, 1, treasury=SECOND)], "ambiguous_money"),
        ([transfer(0, 5), back(1, 5), together(2)], "money_went_back"),
        ([transfer(0, 5), back(1, 6), together(2)], "money_went_back"),
    ],
)
def test_a_sum_that_is_not_clear_is_nobodys(seen, why):
    assert summed(*seen) == why


def test_a_part_that_was_taken_in_before_is_not_summed_again():
    part = transfer(0, 5)
    assert summed(part, transfer(1, 7), together(2), received={part.log.identity}) == "already_received"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from([VAULT, SECOND, OTHER])), max_size=8))
def test_no_transfer_is_the_money_of_two_events_and_nothing_is_made_up(shapes):
    seen = [
        event(at, amount) if is_event else transfer(at, amount + 1, treasury=treasury)
        for at, (is_event, amount, treasury) in enumerate(shapes)
    ]
    found = pair_money(seen, treasuries={VAULT, SECOND})
    transfers = {s.log.identity: s for s in seen if s.kind == "transfer"}
    paid = [s for s in found.seen if s.kind == "payment"]
    assert len({p.log.identity for p in found.pairs.values()}) == len(found.pairs) == len(paid)
    assert sum(p.amount for p in paid) == sum(transfers[i].amount for i in found.pairs)
    events = {s.log.identity for s in seen if s.kind == "payment"}
    assert {p.log.identity for p in paid} | set(found.unclear) == events
    assert all(transfers[i].treasury in {VAULT, SECOND} for i in found.pairs)


@pytest.mark.parametrize("native", [True, False])
def test_an_event_that_says_its_money_itself_needs_no_transfer(native: bool):
    said = attrs.evolve(event(0, 5, token=TOKEN, treasury=VAULT, payer=PAYER), money="event")
    beside = [] if native else [transfer(1, 9)]
    found = pair_money([said, *beside], treasuries={VAULT})
    assert said in found.seen
    assert not found.unclear


def test_a_transfer_of_nothing_is_nobodys_money_and_nobodys_obstacle():
    """Anybody can have a token say that nothing moved from anybody to anybody."""
    spoofed = [
        transfer(2, 0),
        transfer(3, 0, payer=OTHER),
        transfer(4, 0, payer=VAULT, treasury=OTHER),
        transfer(5, 0, payer=VAULT, treasury=SECOND),
        transfer(6, 0, treasury=SECOND),
    ]
    assert paired(transfer(0), event(1, payer=PAYER), *spoofed) == {1: 0}
    assert summed(transfer(0, 5), together(1), *spoofed) == (5, {0})
    assert unclear(event(1), *spoofed) == {"no_transfer"}


@pytest.mark.parametrize("anybody", [event(2, 5), event(2, 5, payer=OTHER)])
def test_who_could_take_several_leaves_each_other_what_only_that_could_be(anybody):
    """Else money of the first would pay for the second, whose own is then taken as one more payment of theirs."""
    own = transfer(1, 5, payer=CONTRACT if anybody.payer else PAYER)
    assert paired(own, anybody, transfer(3, 5, payer=OTHER), event(4, 5, payer=PAYER)) == {2: 3, 4: 1}


def test_where_one_of_those_that_name_an_amount_is_left_without_none_is_given_any():
    claims = [event(1, 5, payer=PAYER), event(3, 5, payer=PAYER), event(5, 5)]
    assert unclear(transfer(0), *claims, transfer(4, 5, payer=OTHER)) == {"ambiguous_money"}


ONE, TWO = b"\1" * 32, b"\2" * 32


def coin(ordinal: int, **changes: Any) -> Observation:
    """An event about the chain's coin."""
    named = {"reference": ONE, "found_by": "reference", "payer": PAYER, "subscription": None} | changes
    made = event(ordinal, named.pop("amount", 5), token=NATIVE_COIN, treasury=VAULT)
    return attrs.evolve(made, money="event", **named)


MEMBER = {"reference": b"", "found_by": "token_id", "subscription": 7}
NAMELESS = {"reference": b"", "found_by": "payer"}


@pytest.mark.parametrize(
    ("one", "other", "again"),
    [
        ({}, {}, True),
        ({}, {"amount": 4}, True),
        ({}, {"payer": OTHER}, True),
        ({}, {"treasury": SECOND}, True),
        ({}, {"subscription": 7}, True),
        ({}, {"reference": TWO}, False),
        ({}, {"contract": OTHER}, False),
        ({}, {"token": TOKEN}, False),
        ({}, MEMBER, True),
        ({}, NAMELESS, True),
        (MEMBER, {"reference": TWO}, True),
        (MEMBER, MEMBER | {"amount": 4}, True),
        (MEMBER, MEMBER | {"subscription": 8}, False),
        (MEMBER, NAMELESS, True),
        (NAMELESS, NAMELESS | {"amount": 4}, True),
        (NAMELESS, NAMELESS | {"payer": OTHER}, False),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_coin_that_is_told_in_other_words_counts_once(one, other, again, turned):
    """The first word counts, and a person looks at the other."""
    first, second = (other, one) if turned else (one, other)
    told = [coin(1, **first), coin(2, **second)]
    assert told_again(told) == ({told[1].log.identity} if again else set())
    assert told_again(reversed(told)) == told_again(told)
