"""Asking for a mandate, taking it, using it and ending it, in the engine."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from pulls_bench import ALICE, BOB, CONTRACT, PRICE, USER, Pulls

from evmbilling.domain.mandates.mandate_charges import Charge, charge_of
from evmbilling.domain.mandates.mandates import MandateStatus
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import ChallengeRefused, Conflict, InputError, NotFound
from evmbilling.testing.keys import sign_text, sign_typed_data
from evmbilling.testing.mandate_logs import charge_logs, given_log, revoked_log
from evmbilling.testing.merchant import plan_fields

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

STRANGER = "0x" + "ab" * 20
MISSING = "0190a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"


def test_a_mandate_is_prepared_given_used_and_cancelled(pulls: Pulls) -> None:
    subscription = pulls.subscribe()
    prepared = pulls.prepare(subscription)
    terms = prepared.mandate
    assert (terms.payer, terms.contract, terms.treasury) == (ALICE.address, CONTRACT, pulls.shop.treasury)
    assert (terms.charge_cap, terms.cap, terms.spacing) == (PRICE, PRICE, 28 * 86_400)
    assert terms.status is MandateStatus.PREPARED
    assert prepared.typed_data["message"]["payer"] == ALICE.address
    # This chain is no node that could be asked: everything has to be allowed, as far as we know.
    assert [problem.code for problem in prepared.problems] == ["rpc_unknown"]
    assert [approval.to for approval in prepared.approvals] == [pulls.shop.token.token]
    given = pulls.engine.mandates.give(USER, terms.mandate_id, signature=pulls.sign(prepared))
    assert given.status is MandateStatus.GIVEN
    assert pulls.only() == given

    offer = pulls.renewal()
    pulls.charge(given, offer)
    pulls.shop.settle()
    assert pulls.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    assert pulls.only().status is MandateStatus.ACTIVE

    cancelled = pulls.engine.mandates.cancel(USER, terms.mandate_id)
    assert cancelled.mandate.status is MandateStatus.CANCELLED
    assert cancelled.mandate.end_reason == "by_user"
    assert cancelled.revoke is not None
    assert cancelled.revoke.to == CONTRACT
    assert pulls.engine.mandates.cancel(USER, terms.mandate_id).mandate == cancelled.mandate
    assert pulls.told() == ["given", "cancelled"]
    assert pulls.audited() == ["mandate.prepare", "mandate.give", "mandate.cancel"]
    assert pulls.engine.verify().ok


def test_the_same_question_has_the_same_answer_until_it_is_given(pulls: Pulls) -> None:
    subscription = pulls.subscribe()
    first = pulls.prepare(subscription)
    pulls.shop.clock.advance(timedelta(hours=5))
    assert pulls.prepare(subscription).mandate == first.mandate
    other = pulls.prepare(subscription, charge_cap=2 * PRICE)
    assert other.mandate.mandate_id != first.mandate.mandate_id
    with pytest.raises(Conflict):
        pulls.engine.mandates.give(USER, first.mandate.mandate_id, signature=pulls.sign(first))
    # What nobody had signed went without a word.
    assert pulls.told() == []
    given = pulls.engine.mandates.give(USER, other.mandate.mandate_id, signature=pulls.sign(other))
    assert pulls.engine.mandates.give(USER, other.mandate.mandate_id, signature=pulls.sign(other)) == given
    assert pulls.prepare(subscription, charge_cap=2 * PRICE).mandate.mandate_id != given.mandate_id


def test_a_new_mandate_takes_the_place_of_the_one_before(pulls: Pulls) -> None:
    subscription = pulls.subscribe()
    first = pulls.give(subscription)
    second = pulls.give(subscription)
    ended, live = pulls.engine.mandates.list(USER, subscription=subscription)
    assert (ended.mandate_id, ended.status, ended.end_reason) == (
        first.mandate_id,
        MandateStatus.CANCELLED,
        "replaced",
    )
    assert live == second
    assert sorted(pulls.told()) == ["cancelled", "given", "given"]
    assert pulls.engine.mandates.list(USER, subscription=MISSING) == []


def test_a_mandate_ends_by_itself(simple: Pulls) -> None:
    subscription = simple.subscribe()
    ends = simple.shop.clock.now() + timedelta(days=30)
    given = simple.give(subscription, expires_at=ends)
    simple.shop.clock.set(given.expires_at + timedelta(seconds=1))
    assert simple.only().status is MandateStatus.EXPIRED
    prepared = simple.prepare(subscription)
    assert prepared.mandate.mandate_id != given.mandate_id
    with pytest.raises(Conflict, match="expired"):
        simple.engine.mandates.give(USER, given.mandate_id, signature=b"any")
    assert simple.engine.mandates.cancel(USER, given.mandate_id).mandate.status is MandateStatus.EXPIRED


# -- what the chain says


def test_a_payer_gives_it_on_chain_in_place_of_signing(pulls: Pulls) -> None:
    prepared = pulls.prepare(pulls.subscribe())
    pulls.shop.chain.send(given_log(prepared.mandate))
    pulls.shop.settle(1)
    seen = pulls.only()
    assert (seen.status, seen.given_at, seen.signature) == (MandateStatus.ACTIVE, None, b"")
    assert pulls.told() == ["given"]
    # Signing it afterwards is no harm, and nobody is told twice.
    pulls.engine.mandates.give(USER, seen.mandate_id, signature=pulls.sign(prepared))
    assert pulls.told() == ["given"]


def test_a_revocation_is_noticed_and_a_reorganisation_takes_it_back(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    sent = pulls.shop.chain.send(revoked_log(given))
    pulls.shop.settle(1)
    assert pulls.only().status is MandateStatus.REVOKED
    assert pulls.only().revocation is not None
    assert pulls.engine.mandates.cancel(USER, given.mandate_id).revoke is None
    assert pulls.told() == ["given", "revoked"]
    pulls.shop.chain.reorganise(1)
    pulls.shop.settle(1)
    assert pulls.only().status is MandateStatus.GIVEN
    assert pulls.told() == ["given", "revoked", "given"]
    pulls.shop.chain.resend(sent)
    pulls.shop.settle(1)
    assert pulls.only().status is MandateStatus.REVOKED


def test_a_revocation_after_our_cancellation_is_noted_and_nothing_else(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    pulls.engine.mandates.cancel(USER, given.mandate_id)
    pulls.shop.chain.send(revoked_log(given))
    pulls.shop.settle(1)
    assert pulls.only().status is MandateStatus.CANCELLED
    assert pulls.only().revocation is not None
    assert pulls.told() == ["given", "cancelled"]
    assert pulls.engine.mandates.cancel(USER, given.mandate_id).revoke is None


def test_a_charge_and_the_consent_in_one_transaction_are_one_customers_events(pulls: Pulls) -> None:
    """Both are taken in by one batch: their numbers follow each other, and none is used twice."""
    given = pulls.give(pulls.subscribe())
    offer = pulls.renewal()
    pulls.shop.chain.send(*charge_logs(given, charge_of(offer.order), first=True), revoked_log(given))
    pulls.shop.settle()
    events = [e for e in pulls.admin.events(limit=10_000) if e.aggregate == f"customer:{USER}"]
    assert sorted(e.seq for e in events) == list(range(1, len(events) + 1))
    assert pulls.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    assert pulls.only().status is MandateStatus.REVOKED


@pytest.mark.fault("C05")
def test_c05_a_charge_that_a_reorganisation_drops_is_undone_with_what_made_the_mandate_active(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    offer = pulls.renewal()
    sent = pulls.charge(given, offer)
    pulls.shop.settle(4)
    assert pulls.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    pulls.shop.chain.reorganise(4)
    pulls.shop.settle(1)
    assert pulls.engine.order(offer.ledger_id).status is not OrderStatus.CONFIRMED
    assert pulls.only().status is MandateStatus.GIVEN
    pulls.shop.chain.resend(sent)
    pulls.shop.settle(4)
    assert pulls.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    assert pulls.only().status is MandateStatus.ACTIVE
    assert pulls.told() == ["given"]
    assert pulls.engine.verify().ok


@pytest.mark.fault("B05")
def test_b05_a_reference_that_is_paid_and_charged_counts_once(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    offer = pulls.renewal()
    pulls.shop.chain.pay(offer.order)
    pulls.shop.settle(1)
    pulls.charge(given, offer)
    pulls.shop.settle()
    order, charged = pulls.engine.receipts(offer.ledger_id)
    assert sorted((order.allocation, charged.allocation)) == ["credit", "order"]
    assert pulls.engine.verify().ok


def test_words_of_strangers_change_nothing(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    chain = pulls.shop.chain
    other = pulls.admin.create_contract(
        slug="other", network=pulls.shop.network, address=STRANGER, kind="mandates", start_block=1
    )
    # In their own name, from another contract, about a mandate that nobody knows.
    chain.send(revoked_log(given, payer=BOB.address))
    from_elsewhere = revoked_log(given)
    chain.send(type(from_elsewhere)(other.address, from_elsewhere.topics, from_elsewhere.data))
    unknown = (from_elsewhere.topics[0], bytes(32), from_elsewhere.topics[2])
    chain.send(type(from_elsewhere)(CONTRACT, unknown, b""))
    pulls.shop.settle(1)
    assert pulls.only() == given
    assert pulls.told() == ["given"]
    assert pulls.engine.verify().ok


def test_a_charge_for_an_order_to_another_treasury_is_suspense(pulls: Pulls) -> None:
    given = pulls.give(pulls.subscribe())
    offer = pulls.renewal()
    elsewhere = attrs.evolve(given, treasury=BOB.address)
    pulls.shop.chain.send(*charge_logs(elsewhere, charge_of(offer.order)))
    pulls.shop.settle()
    (receipt,) = pulls.engine.receipts(offer.ledger_id)
    assert (receipt.allocation, receipt.reason) == ("suspense", "wrong_treasury")


def test_a_charge_with_a_strange_reference_is_left_alone(simple: Pulls) -> None:
    given = simple.give(simple.subscribe())
    charge = Charge(reference=b"\xee" * 32, amount=5, deadline=given.expires_at)
    simple.shop.chain.send(*charge_logs(given, charge))
    simple.shop.settle()
    assert simple.engine.verify().ok


# -- what cannot be asked for, or is not taken


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"via": "magic"}, InputError, "via"),
        ({"via": None}, InputError, "via"),
        ({"network": "nowhere"}, InputError, "network"),
        ({"network": "local", "asset": "EUR"}, InputError, "asset"),
        ({"network": "local", "asset": "ETH"}, InputError, "asset"),
        ({"charge_cap": PRICE - 1}, InputError, "charge_cap"),
        ({"charge_cap": 2**160}, InputError, "charge_cap"),
        ({"charge_cap": 1.5}, InputError, "charge_cap"),
        ({"cap": PRICE - 1}, InputError, "cap"),
        ({"allowance": 0}, InputError, "allowance"),
        ({"allowance": True}, InputError, "allowance"),
        ({"operator": "0x12"}, InputError, "operator"),
        ({"expires_at": "tomorrow"}, InputError, "expires_at"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_by_name(simple: Pulls, changes: dict, error: type, field: str) -> None:
    subscription = simple.subscribe()
    with pytest.raises(error) as caught:
        simple.prepare(subscription, **changes)
    assert caught.value.field == field
    assert simple.engine.mandates.list(USER) == []


@pytest.mark.parametrize("days", [-1, 0, 3661])
def test_an_end_that_is_no_use_is_refused(simple: Pulls, days: int) -> None:
    subscription = simple.subscribe()
    with pytest.raises(InputError) as caught:
        simple.prepare(subscription, expires_at=simple.shop.clock.now() + timedelta(days=days))
    assert caught.value.field == "expires_at"


def test_whose_subscription_and_whose_wallet_it_is_matters(simple: Pulls) -> None:
    subscription = simple.subscribe()
    for wanted in (MISSING, "no id", None):
        with pytest.raises(NotFound):
            simple.prepare(wanted)
    with pytest.raises(NotFound):
        simple.prepare(subscription, "user-2")
    with pytest.raises(ChallengeRefused) as caught:
        simple.prepare(subscription, wallet=BOB.address)
    assert caught.value.field == "wallet"
    challenge = simple.engine.wallet_challenge(
        user_id=USER,
        wallet=BOB.address,
        network=simple.shop.network,
        domain="shop.example",
        uri="https://shop.example/",
    )
    simple.engine.confirm_wallet(user_id=USER, nonce=challenge.nonce, signature=sign_text(BOB.key, challenge.message))
    assert simple.prepare(subscription, wallet=BOB.address).mandate.payer == BOB.address


def test_only_the_payers_own_word_is_taken(simple: Pulls) -> None:
    prepared = simple.prepare(simple.subscribe())
    mandate_id = prepared.mandate.mandate_id
    for wrong in (simple.sign(prepared, BOB.key), b"\x00" * 65, b"x" * 20_000, b""):
        with pytest.raises(ChallengeRefused) as caught:
            simple.engine.mandates.give(USER, mandate_id, signature=wrong)
        assert caught.value.field == "signature"
    with pytest.raises(ChallengeRefused) as caught:
        simple.engine.mandates.give(USER, mandate_id, signature=simple.sign(prepared), permit_signature=b"\x01" * 65)
    assert caught.value.field == "permit_signature"
    for user, wanted in (("user-2", mandate_id), (USER, MISSING), (USER, "x"), (USER, None)):
        with pytest.raises((NotFound, InputError)):
            simple.engine.mandates.give(user, wanted, signature=simple.sign(prepared))
        with pytest.raises((NotFound, InputError)):
            simple.engine.mandates.cancel(user, wanted)
    assert simple.only().status is MandateStatus.PREPARED
    assert simple.told() == []


def test_a_signature_of_other_terms_is_not_taken(simple: Pulls) -> None:
    prepared = simple.prepare(simple.subscribe())
    message = prepared.typed_data | {"message": prepared.typed_data["message"] | {"chargeCap": "1"}}
    with pytest.raises(ChallengeRefused):
        simple.engine.mandates.give(USER, prepared.mandate.mandate_id, signature=sign_typed_data(ALICE.key, message))


def test_what_is_sold_once_is_over_or_has_no_contract_cannot_be_pulled(simple: Pulls) -> None:
    subscription = simple.subscribe()
    bound = simple.contract
    with pytest.raises(InputError, match="orders are not offered through it"):
        simple.admin.create_plan(**plan_fields(simple.shop, "odd", contract_slug="pulls"))
    simple.admin.archive_contract(bound.slug, bound.network, version=bound.version)
    with pytest.raises(InputError, match="no Mandates contract") as caught:
        simple.prepare(subscription)
    assert caught.value.field == "network"
    with pytest.raises(InputError, match="is archived"):
        simple.admin.create_plan(**plan_fields(simple.shop, "odd", contract_slug="pulls"))
