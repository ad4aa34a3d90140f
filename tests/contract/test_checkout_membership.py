"""The membership token: who holds it, until when, and that nobody moves, extends or ends it who may not."""

from __future__ import annotations

from functools import reduce

import pytest
from contract_bench import ALICE, BOB, DAY, OPERATOR, OWNER, START, Bench, Order, Reverted
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import examples

MONTH = 30 * DAY
ERC5643 = (
    "renewSubscription(uint256,uint64)",
    "cancelSubscription(uint256)",
    "expiresAt(uint256)",
    "isRenewable(uint256)",
)


@pytest.fixture
def member(bench: Bench) -> Bench:
    """Alice holds token 7 until START + 30 days."""
    bench.fund(ALICE, Order().amount * 10)
    bench.pay(bench.order())
    return bench


def extend(bench: Bench, until: int, **changes: object) -> list[str]:
    bench.pay(bench.order(reference=keccak(text=f"{until}{changes}"), memberUntil=until, **changes))
    return [log.name for log in bench.logs]


@pytest.mark.parametrize(
    ("interface", "known"),
    [
        ("0x8c65f84d", True),  # ERC-5643, all four functions
        ("0x80ac58cd", True),  # ERC-721
        ("0x5b5e139f", True),  # ERC-721 metadata
        ("0x01ffc9a7", True),  # ERC-165
        ("0xda2a40a6", False),  # the two views of ERC-5643 alone are not the interface
        ("0x780e9d63", False),  # ERC-721 enumerable
        ("0xffffffff", False),
    ],
)
def test_interfaces_are_claimed_as_they_are(bench: Bench, interface: str, known: bool) -> None:
    assert bench.checkout.call("supportsInterface", bytes.fromhex(interface[2:])) is known


def test_the_subscription_interface_id_is_the_xor_of_its_functions() -> None:
    selectors = [int.from_bytes(keccak(text=signature)[:4], "big") for signature in ERC5643]
    assert reduce(int.__xor__, selectors) == 0x8C65F84D


def test_the_subscription_event_is_the_one_of_the_standard(member: Bench) -> None:
    extend(member, START + 2 * MONTH)
    topics = [log.data[0] for log in member.evm.result.logs]
    expected = bytes.fromhex("2ec2be2c4b90c2cf13ecb6751a24daed6bb741ae5ed3f7371aabf9402f6d62e8")
    assert [expected, (7).to_bytes(32, "big")] in topics


def test_a_later_order_extends_and_an_earlier_one_changes_nothing(member: Bench) -> None:
    assert extend(member, START + 2 * MONTH) == ["SubscriptionUpdate", "Transfer", "Paid"]
    assert extend(member, START + MONTH) == ["Transfer", "Paid"]
    assert extend(member, START + 2 * MONTH, plan=keccak(text="x")) == ["Transfer", "Paid"]
    assert member.checkout.call("expiresAt", 7) == START + 2 * MONTH


def test_an_order_for_another_beneficiary_extends_the_token_where_it_is(member: Bench) -> None:
    extend(member, START + 2 * MONTH, beneficiary=BOB)
    assert member.checkout.call("ownerOf", 7) == ALICE
    assert member.checkout.call("expiresAt", 7) == START + 2 * MONTH
    assert member.checkout.call("balanceOf", BOB) == 0


def test_a_burned_membership_can_be_minted_anew_elsewhere(member: Bench) -> None:
    member.checkout.call("burn", 7, sender=OPERATOR)
    assert extend(member, START + MONTH, beneficiary=BOB)[0] == "Transfer"
    assert member.checkout.call("ownerOf", 7) == BOB
    assert member.checkout.call("expiresAt", 7) == START + MONTH


@pytest.mark.parametrize("sender", [ALICE, OPERATOR, OWNER])
@pytest.mark.parametrize("function", ["burn", "cancelSubscription"])
def test_holder_operator_and_owner_end_a_membership(member: Bench, function: str, sender: str) -> None:
    member.checkout.call(function, 7, sender=sender)
    assert [(log.name, log.args.get("expiration")) for log in member.logs] == [
        ("Transfer", None),
        ("SubscriptionUpdate", 0),
    ]
    assert member.checkout.call("expiresAt", 7) == 0
    assert member.checkout.call("isRenewable", 7) is False
    assert member.checkout.call("balanceOf", ALICE) == 0
    with pytest.raises(Reverted, match="ERC721NonexistentToken"):
        member.checkout.call("ownerOf", 7)


@pytest.mark.parametrize("sender", [OPERATOR, OWNER])
@pytest.mark.parametrize(
    ("now", "expected"),
    [(START, START + MONTH + DAY), (START + MONTH, START + MONTH + DAY), (START + 2 * MONTH, START + 2 * MONTH + DAY)],
)
def test_the_operator_grants_time_from_the_expiry_or_from_now(
    member: Bench, sender: str, now: int, expected: int
) -> None:
    member.at(now)
    member.checkout.call("renewSubscription", 7, DAY, sender=sender)
    assert member.checkout.call("expiresAt", 7) == expected


def test_an_ended_membership_is_renewable_while_its_token_lives(member: Bench) -> None:
    member.at(START + 10 * MONTH)
    assert member.checkout.call("isRenewable", 7) is True
    assert member.checkout.call("expiresAt", 7) == START + MONTH


def test_a_contract_without_a_receive_hook_can_hold_a_membership(bench: Bench) -> None:
    wallet = bench.deploy("Forwarder", ALICE)
    bench.fund(ALICE, Order().amount)
    bench.pay(bench.order(beneficiary=wallet.address))
    assert bench.checkout.call("ownerOf", 7) == wallet.address


def test_names_are_those_of_the_deployment(member: Bench) -> None:
    assert member.checkout.call("name") == "Member"
    assert member.checkout.call("symbol") == "MBR"
    assert member.checkout.call("tokenURI", 7) == ""
    assert member.checkout.call("getApproved", 7) == "0x" + "00" * 20
    assert member.checkout.call("isApprovedForAll", ALICE, BOB) is False


@settings(max_examples=examples(60), deadline=None)
@given(offers=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8))
def test_the_expiry_is_the_greatest_that_was_paid_for(offers: list[int]) -> None:
    bench = Bench()
    bench.fund(ALICE, len(offers))
    for number, until in enumerate(offers):
        bench.pay(bench.order(reference=keccak(text=str(number)), memberUntil=until, amount=1))
        assert bench.checkout.call("expiresAt", 7) == max(offers[: number + 1])
