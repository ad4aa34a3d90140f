"""Ways around the bounds of refunds, each of which ends in a refusal, or in the open."""

from __future__ import annotations

import attrs
import pytest
from refunds_bench import ALICE, BOB, BOSS, OPS, Desk
from test_refunds import credit_receipt, stranger_money

from evmbilling.domain.actors import Actor
from evmbilling.domain.addresses import checksum
from evmbilling.domain.decisions import ConfirmWallet, StoreRefund
from evmbilling.domain.payments.receipts import Receipt, Refund, chain_position
from evmbilling.domain.people.customers import Wallet
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import Transmission, TransmissionStatus
from evmbilling.engine.core import Engine
from evmbilling.engine.sending.relayed import effects_of
from evmbilling.errors import ChallengeRefused, Conflict, IllegalTransition, InputError, PermissionDenied
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import ADMIN

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000

MALLORY = DEV_ACCOUNTS[5]


def found(desk: Desk) -> list[tuple[str, str]]:
    """What verification finds, without what a chain in memory cannot say."""
    differences = [d for d in desk.engine.verify().differences if d.code != "unproved"]
    return [(d.code, d.subject.partition(":")[0]) for d in differences]


@pytest.mark.both_databases
def test_the_same_money_does_not_go_back_as_credit_and_as_a_receipt(desk: Desk):
    double = credit_receipt(desk)
    credit = desk.ops.request_credit("user-1", amount=1, reason="a little")
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=double.receipt_id, reason="all of it")
    desk.ops.cancel(credit.refund_id, reason="mistake")
    whole = desk.ops.request(receipt_id=double.receipt_id, reason="all of it")
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-1", reason="once more")
    desk.ops.cancel(whole.refund_id, reason="mistake")
    assert desk.ops.request_credit("user-1", reason="after all").amount == PRICE
    assert desk.balanced()


@pytest.mark.both_databases
def test_the_same_money_does_not_go_back_as_credit_and_through_the_order(desk: Desk):
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-1", reason="an order took it")
    credit_receipt(desk)
    parts = [
        desk.ops.request(ledger_id=desk.paid.ledger_id, reason="the order"),
        desk.ops.request_credit("user-1", reason="the second payment"),
    ]
    assert [p.amount for p in parts] == [PRICE, PRICE]  # 39.98 came in
    for again in (
        lambda: desk.ops.request(ledger_id=desk.paid.ledger_id, reason="again"),
        lambda: desk.ops.request_credit("user-1", reason="again"),
        *(
            lambda r=r: desk.ops.request(receipt_id=r.receipt_id, reason="again")
            for r in desk.engine.receipts(desk.paid.ledger_id)
        ),
    ):
        with pytest.raises(Conflict):
            again()
    assert desk.balanced()


@pytest.mark.both_databases
def test_money_that_a_person_gave_to_an_order_goes_back_through_it_only(desk: Desk):
    item = stranger_money(desk)
    offer = desk.shop.checkout("user-3", idempotency_key="k")
    desk.engine.finance(OPS).assign(item.item_id, offer.ledger_id)
    assert desk.engine.order(offer.ledger_id).status == "confirmed"
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=item.receipt_id, reason="round the side")
    assert desk.ops.request(ledger_id=offer.ledger_id, amount=1, reason="part").amount == 1
    assert desk.ops.request(ledger_id=offer.ledger_id, reason="the rest").amount == PRICE - 1


@pytest.mark.both_databases
def test_money_that_a_person_credited_goes_back_once(desk: Desk):
    item = stranger_money(desk)
    desk.engine.finance(OPS).credit(item.item_id, "user-1")
    refund = desk.ops.request_credit("user-1", amount=PRICE - 1, reason="most of it")
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=item.receipt_id, reason="as it came")
    desk.ops.cancel(refund.refund_id, reason="mistake")
    assert desk.ops.request(receipt_id=item.receipt_id, reason="as it came").amount == PRICE
    assert desk.balanced()


@pytest.mark.both_databases
def test_a_part_and_then_the_whole_is_the_rest(desk: Desk):
    first = desk.ready(amount=PRICE - 5, via="transfer")
    desk.send(first)
    desk.settle()
    assert desk.ops.request(ledger_id=desk.paid.ledger_id, reason="the whole").amount == 5
    with pytest.raises(InputError):
        desk.ops.request(receipt_id=credit_receipt(desk).receipt_id, amount=PRICE - 1, reason="a part of a whole")


@pytest.mark.parametrize("kind", ["order", "receipt", "credit", "nobody"])
def test_what_was_prepared_and_given_up_counts_for_the_limit_of_one_person(desk: Desk, kind):
    desk.limit(PRICE)
    if kind in ("receipt", "credit"):
        credit_receipt(desk)
    double = next((r.receipt_id for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit"), None)
    money = stranger_money(desk).receipt_id if kind == "nobody" else double

    def asked() -> Refund:
        if kind == "credit":
            return desk.ops.request_credit("user-1", amount=PRICE - 1, reason="asked")
        if kind == "order":
            return desk.ops.request(ledger_id=desk.paid.ledger_id, amount=PRICE - 1, reason="asked")
        return desk.ops.request(receipt_id=money, reason="asked")

    untouched = asked()
    desk.ops.cancel(untouched.refund_id, reason="nobody has seen it")
    first = asked()
    assert (untouched.status, first.status) == ("approved", "approved")
    desk.prove(first, BOB if kind == "nobody" else ALICE)
    desk.ops.prepare(first.refund_id)
    desk.ops.cancel(first.refund_id, reason="its payload is out")
    assert asked().status == "requested"
    assert desk.balanced()


def test_what_failed_for_ever_leaves_the_limit_of_one_person_as_it_was(memory_desk: Desk):
    """Nothing left. What is asked for again counts like any."""
    desk = memory_desk
    third = PRICE // 3
    desk.limit(2 * third - 1)
    part = {"ledger_id": desk.paid.ledger_id, "amount": third, "reason": "asked", "via": "transfer"}
    failed = desk.ready(**part)
    relayed(desk, failed, TransmissionStatus.SUBMITTED)
    waits = desk.ops.request(**part)
    assert waits.status == "requested"
    desk.ops.cancel(waits.refund_id, reason="the first one is on its way")
    relayed(desk, failed, TransmissionStatus.FAILED)
    again = desk.ready(**part)
    assert again.approved_by is None
    assert desk.ops.request(**part).status == "requested"
    assert desk.balanced()


def test_what_had_failed_and_is_on_chain_counts_for_the_limit(memory_desk: Desk):
    desk = memory_desk
    desk.limit(PRICE)
    half = {"ledger_id": desk.paid.ledger_id, "amount": PRICE // 2 + 1, "reason": "asked", "via": "transfer"}
    failed = desk.ready(**half)
    relayed(desk, failed, TransmissionStatus.SUBMITTED)
    relayed(desk, failed, TransmissionStatus.FAILED)
    sent = desk.send(failed)
    desk.settle()
    assert desk.ops.refund(failed.refund_id).status == "done"
    money = credit_receipt(desk).receipt_id
    asked = desk.ops.request(receipt_id=money, reason="asked")
    assert asked.status == "requested"
    desk.ops.cancel(asked.refund_id, reason="as before")
    desk.lose(sent)
    desk.ops.cancel(failed.refund_id, reason="the chain took it back")
    assert desk.ops.refund(failed.refund_id).status == "failed"
    # It left once: whoever has it may send it again.
    assert desk.ops.request(receipt_id=money, reason="asked").status == "requested"


@pytest.mark.parametrize("kind", ["order", "receipt", "credit", "nobody"])
def test_what_the_chain_took_back_is_neither_agreed_to_nor_prepared(desk: Desk, kind):
    asked = {
        "order": lambda: desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked"),
        "receipt": lambda: desk.ops.request(receipt_id=credit_receipt(desk).receipt_id, reason="asked"),
        "credit": lambda: [desk.pay_again(), desk.ops.request_credit("user-1", reason="asked")][1],
        "nobody": lambda: desk.ops.request(receipt_id=stranger_money(desk).receipt_id, reason="asked"),
    }
    desk.limit(1)
    refund = asked[kind]()
    assert refund.status == "requested"
    desk.prove(refund, BOB if kind == "nobody" else ALICE)
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    with pytest.raises(Conflict) as refused:
        desk.engine.refunds(BOSS).approve(refund.refund_id)
    assert refused.value.field == "refund_id"
    desk.settle(1)
    desk.ops.cancel(refund.refund_id, reason="it is gone")
    assert found(desk) == []
    assert desk.books().get("customer_credit", 0) == 0
    assert desk.books().get("suspense", 0) == 0


@pytest.mark.both_databases
def test_a_payment_that_the_chain_took_back_is_not_given_back(desk: Desk):
    double = credit_receipt(desk)
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=double.receipt_id, reason="asked")
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-1", reason="asked")


@pytest.mark.both_databases
def test_a_halted_network_promises_nothing(desk: Desk):
    double = credit_receipt(desk)
    refund = desk.ops.request_credit("user-1", amount=1, reason="asked")
    desk.prove(refund)
    desk.settle(25)
    desk.shop.chain.reorganise(30)
    desk.settle(1)
    assert desk.engine.admin(ADMIN).cursors()[0].halt is not None
    for ask in (
        lambda: desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked"),
        lambda: desk.ops.request(receipt_id=double.receipt_id, reason="asked"),
        lambda: desk.ops.request_credit("user-1", reason="asked"),
    ):
        with pytest.raises(Conflict) as refused:
            ask()
        assert refused.value.field == "network"
    with pytest.raises(Conflict):
        desk.ops.prepare(refund.refund_id)


@pytest.mark.sampled(strength=1)
@pytest.mark.both_databases
@pytest.mark.parametrize("via", ["contract", "transfer"])
def test_one_that_was_given_up_and_sent_all_the_same_is_told(desk: Desk, via):
    first = desk.ready(via=via)
    desk.ops.cancel(first.refund_id, reason="mistake")
    second = desk.ready(via=via)
    for refund in (first, second):
        desk.send(refund)
    desk.settle()
    assert [desk.ops.refund(r.refund_id).status for r in (first, second)] == ["done", "done"]
    assert desk.kinds() == ["refund", "refund"]
    assert found(desk) == [
        ("refund_exceeds_order", "order"),
        ("refund_exceeds_credit", "customer"),
        ("refunds_exceed_receipts", "asset"),
    ]
    with pytest.raises(Conflict):
        desk.ops.request(ledger_id=desk.paid.ledger_id, reason="a third time")
    with pytest.raises(IllegalTransition):
        desk.ops.cancel(first.refund_id, reason="it is gone")


def test_one_that_was_given_up_before_it_was_prepared_is_the_owners_own(memory_desk: Desk):
    desk = memory_desk
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, via="transfer", reason="asked")
    addressed = desk.prove(refund)
    desk.ops.cancel(refund.refund_id, reason="mistake")
    desk.send(addressed)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "cancelled"
    assert desk.kinds() == ["external"]
    assert desk.balanced()


@pytest.mark.both_databases
def test_one_that_the_chain_lost_for_good_can_be_given_up(desk: Desk):
    desk.pay_again()
    refund = desk.ready_credit()
    tx = desk.send(refund)
    desk.settle()
    with pytest.raises(IllegalTransition):
        desk.ops.cancel(refund.refund_id, reason="it is there")
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    assert desk.ops.cancel(refund.refund_id, reason="replaced by another").status == "failed"
    assert [c.free for c in desk.ops.credit("user-1")] == [PRICE]
    assert desk.balanced()
    desk.shop.chain.resend(tx)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.ops.credit("user-1") == []
    assert desk.balanced()


def test_look_alike_addresses_are_not_the_address(memory_desk: Desk):
    """First and last digits are what people compare."""
    desk = memory_desk
    digits = ALICE.address[2:].lower()
    like = checksum(bytes.fromhex(digits[:6] + "0" * 28 + digits[-6:]))
    for via in ("transfer", "contract"):
        refund = desk.ready(amount=5, via=via)
        desk.send(refund, address=like)
        desk.settle()
        assert desk.ops.refund(refund.refund_id).status == "prepared"
        assert bytes.fromhex(digits) in desk.ops.prepare(refund.refund_id).data
    assert desk.kinds() == ["external", "external"]
    with pytest.raises(ChallengeRefused):
        desk.engine.use_refund_wallet(
            desk.ops.request(ledger_id=desk.paid.ledger_id, reason="rest").refund_id, user_id="user-1", wallet=like
        )


def test_an_address_is_proved_on_the_refunds_own_chain(memory_desk: Desk):
    """A contract's address belongs to its owner where the contract is, and to anybody elsewhere."""
    desk = memory_desk
    desk.engine.admin(ADMIN).create_network(
        name="elsewhere", chain_id=77, rpc_urls=["http://127.0.0.1:9"], testnet=True
    )
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    with pytest.raises(ChallengeRefused) as refused:
        desk.prove(refund, network="elsewhere")
    assert refused.value.field == "network"
    assert desk.ops.refund(refund.refund_id).address is None


def confirm(desk: Desk, key, network: str):
    challenge = desk.engine.wallet_challenge(
        user_id="user-1", wallet=key.address, network=network, domain="shop.example", uri="https://shop.example/me"
    )
    desk.engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=desk.sign(challenge.message, key))


def test_a_wallet_that_was_confirmed_elsewhere_is_proved_on_the_refunds_own_chain(memory_desk: Desk):
    desk = memory_desk
    desk.engine.admin(ADMIN).create_network(
        name="elsewhere", chain_id=77, rpc_urls=["http://127.0.0.1:9"], testnet=True
    )
    confirm(desk, BOB, "elsewhere")
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    with pytest.raises(ChallengeRefused) as refused:
        desk.engine.use_refund_wallet(refund.refund_id, user_id="user-1", wallet=BOB.address)
    assert refused.value.field == "network"
    assert desk.ops.refund(refund.refund_id).address is None


def test_what_was_signed_for_one_purpose_serves_no_other(memory_desk: Desk):
    desk = memory_desk
    who = {"user_id": "user-1", "wallet": BOB.address, "network": desk.shop.network}
    page = {"domain": "shop.example", "uri": "https://shop.example/me"}
    first, second = (desk.ops.request(ledger_id=desk.paid.ledger_id, amount=5, reason="asked") for _ in range(2))
    of_refund = desk.engine.refund_challenge(first.refund_id, **who, **page)
    with pytest.raises(ChallengeRefused):
        desk.engine.confirm_wallet(user_id="user-1", nonce=of_refund.nonce, signature=desk.sign(of_refund.message, BOB))
    for challenge in (
        desk.engine.wallet_challenge(**who, **page),
        desk.engine.refund_challenge(first.refund_id, **who, **page),
    ):
        with pytest.raises(ChallengeRefused):
            desk.engine.confirm_refund_address(
                second.refund_id,
                user_id="user-1",
                nonce=challenge.nonce,
                signature=desk.sign(challenge.message, BOB),
            )
    assert desk.ops.refund(second.refund_id).address is None
    assert list(desk.engine.profile("user-1").wallets) == []


def test_a_confirmed_wallet_that_paid_there_is_taken_as_it_is(desk: Desk):
    offer = desk.shop.checkout("user-1", wallet=BOB.address, plan="pack", idempotency_key="bob")
    desk.shop.chain.pay(offer.order, payer=BOB.address)
    desk.settle()
    confirm(desk, BOB, desk.shop.network)
    refund = desk.ops.request(ledger_id=offer.ledger_id, reason="asked")
    taken = desk.engine.use_refund_wallet(refund.refund_id, user_id="user-1", wallet=BOB.address)
    assert taken.address == BOB.address


def test_asking_and_giving_up_is_no_way_out_of_a_hold(open_held_desk):
    desk, item = open_held_desk
    refund = desk.ops.request(receipt_id=item.receipt_id, reason="asked")
    desk.ops.cancel(refund.refund_id, reason="mistake")
    (again,) = desk.engine.finance(OPS).queue()
    assert (again.item_id, again.kind, again.state) == (item.item_id, "held", "open")
    assert desk.ops.credit("user-2") == []
    assert desk.books()["suspense"] == PRICE


@pytest.fixture
def open_held_desk(memory_desk: Desk):
    """A desk whose screen holds what user-2 pays."""
    shop = memory_desk.shop
    held = Engine(attrs.evolve(shop.engine._ports, screen=lambda payer, tx: "hold"))
    offer = shop.checkout("user-2", idempotency_key="k")
    shop.chain.pay(offer.order)
    shop.chain.mine(3)
    shop.clock.set(shop.chain.head.timestamp)
    held.read_chain(shop.network)
    while held.run_intake().taken:
        pass
    (item,) = held.finance(OPS).queue()
    assert item.kind == "held"
    return memory_desk, item


@pytest.mark.both_databases
def test_who_agrees_is_another_person_each_time(desk: Desk):
    desk.limit(1)
    both = Actor("ops", BOSS.roles)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(both).approve(refund.refund_id)
    desk.ops.cancel(refund.refund_id, reason="mistake")
    with pytest.raises(IllegalTransition):
        desk.engine.refunds(BOSS).approve(refund.refund_id)
    again = desk.engine.refunds(BOSS).request(ledger_id=desk.paid.ledger_id, reason="asked")
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(BOSS).approve(again.refund_id)
    assert desk.engine.refunds(both).approve(again.refund_id).approved_by == "ops"


def relayed(desk: Desk, refund, status: TransmissionStatus) -> None:
    """Let the relayer say how far it has come with a refund."""
    sent = Transmission(
        transmission_id=refund.refund_id,
        purpose="refund",
        subject=f"refund:{refund.refund_id}",
        user_id=refund.user_id,
        network=refund.network,
        chain_id=refund.asset.chain_id,
        signer=SecretRef("env", "K"),
        sender=refund.treasury,
        to=refund.asset.token,
        gas=1,
        gas_ceiling=1,
        status=status,
        failure_reason="nonce_used" if status is TransmissionStatus.FAILED else None,
        not_after=desk.shop.clock.now(),
        next_at=desk.shop.clock.now(),
        waiting_since=desk.shop.clock.now(),
        created_at=desk.shop.clock.now(),
    )
    with desk.engine._ports.storage.unit() as unit:
        unit.apply(effects_of(desk.engine._ports, unit, sent))


@pytest.mark.parametrize("kind", ["credit", "receipt", "nobody", "order"])
def test_one_that_the_relayer_could_not_send_sets_its_money_free(memory_desk: Desk, kind):
    desk = memory_desk
    before = {
        "credit": desk.pay_again,
        "receipt": desk.pay_again,
        "nobody": lambda: stranger_money(desk),
        "order": lambda: None,
    }[kind]()
    books = desk.books()
    asked = {
        "credit": lambda: desk.ops.request_credit("user-1", reason="asked"),
        "receipt": lambda: desk.ops.request(receipt_id=desk.double().receipt_id, reason="asked"),
        "nobody": lambda: desk.ops.request(receipt_id=before.receipt_id, reason="asked"),
        "order": lambda: desk.ops.request(ledger_id=desk.paid.ledger_id, via="transfer", reason="asked"),
    }
    refund = asked[kind]()
    desk.prove(refund, BOB if kind == "nobody" else ALICE)
    desk.ops.prepare(refund.refund_id)
    relayed(desk, refund, TransmissionStatus.SUBMITTED)
    relayed(desk, refund, TransmissionStatus.FAILED)
    assert desk.ops.refund(refund.refund_id).status == "failed"
    assert desk.books() == books
    assert desk.balanced()
    again = asked[kind]()
    assert again.amount == refund.amount
    assert desk.balanced()


def test_one_whose_sending_nobody_knows_of_is_found_all_the_same(memory_desk: Desk):
    desk = memory_desk
    desk.pay_again()
    refund = desk.ready_credit()
    relayed(desk, refund, TransmissionStatus.SUBMITTED)
    relayed(desk, refund, TransmissionStatus.UNKNOWN)
    desk.send(refund)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.balanced()


def asked_of(desk: Desk, kind: str) -> Refund:
    if kind == "order":
        return desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked", via="transfer")
    desk.pay_again()
    if kind == "credit":
        return desk.ops.request_credit("user-1", reason="asked")
    return desk.ops.request(receipt_id=desk.double().receipt_id, reason="asked")


@pytest.mark.parametrize("kind", ["order", "receipt", "credit"])
@pytest.mark.parametrize("part", ["token", "treasury", "network", "source", "via"])
def test_what_a_refund_gives_back_is_what_was_asked_for(memory_desk: Desk, kind, part):
    """Whoever can write to the database could have a treasury pay in something worth more, or on another chain."""
    desk = memory_desk
    refund = asked_of(desk, kind)
    desk.prove(refund)
    now = desk.ops.refund(refund.refund_id)
    forged = {
        "token": {"asset": attrs.evolve(now.asset, token=checksum(b"\5" * 20))},
        "treasury": {"treasury": checksum(b"\5" * 20)},
        "network": {"network": "elsewhere"},
        "source": {"ledger_id": None, "receipt_id": None} if kind != "credit" else {"ledger_id": desk.paid.ledger_id},
        "via": {"via": "contract"},
    }[part]
    with desk.engine._ports.storage.unit() as unit:
        unit.apply([StoreRefund(attrs.evolve(now, **forged, version=now.version + 1))])
    with pytest.raises(Conflict) as refused:
        desk.ops.prepare(refund.refund_id)
    assert refused.value.field == "refund_id"
    assert "refund_record_differs" in {code for code, _ in found(desk)}


@pytest.mark.both_databases
def test_nobody_agrees_to_an_amount_that_was_changed_since_it_was_asked_for(desk: Desk):
    desk.limit(1)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=PRICE - 5, reason="asked")
    with desk.engine._ports.storage.unit() as unit:
        unit.apply([StoreRefund(attrs.evolve(refund, amount=PRICE, version=refund.version + 1))])
    with pytest.raises(Conflict) as refused:
        desk.engine.refunds(BOSS).approve(refund.refund_id)
    assert refused.value.details["reason"] == "amount"
    assert desk.ops.refund(refund.refund_id).status == "requested"


def test_a_contract_that_vouched_elsewhere_does_not_say_where_a_refund_goes(memory_desk: Desk):
    """At the same address on the refund's chain it may be somebody else's, though it has paid there."""
    desk = memory_desk
    offer = desk.shop.checkout("user-1", wallet=BOB.address, plan="pack", idempotency_key="bob")
    desk.shop.chain.pay(offer.order, payer=BOB.address)
    desk.settle()
    elsewhere = Wallet(user_id="user-1", address=BOB.address, confirmed_at=desk.shop.clock.now(), chains=(77,))
    with desk.engine._ports.storage.unit() as unit:
        unit.apply([ConfirmWallet(elsewhere)])
    refund = desk.ops.request(ledger_id=offer.ledger_id, reason="asked")
    with pytest.raises(ChallengeRefused) as refused:
        desk.engine.use_refund_wallet(refund.refund_id, user_id="user-1", wallet=BOB.address)
    assert refused.value.field == "wallet"
    assert desk.ops.refund(refund.refund_id).address is None


def stranger_parts(desk: Desk, *senders, amount: int) -> list[Receipt]:
    """Transfers of wallets that nobody confirmed, in the order in which they came."""
    for sender in senders:
        desk.shop.chain.transfer(desk.shop.token.token, sender.address, desk.shop.treasury, amount)
        desk.settle()
    with desk.engine._ports.storage.unit(write=False) as unit:
        return sorted(unit.unmatched_receipts(), key=chain_position)


@pytest.mark.sampled(strength=1)
@pytest.mark.both_databases
@pytest.mark.parametrize("proved", [True, False])
def test_money_of_nobody_in_parts_is_one_sum_for_the_wallet_that_sent_it(desk: Desk, proved):
    """Whether the first parts are addressed already or not."""
    desk.limit(10)
    parts = stranger_parts(desk, BOB, BOB, BOB, MALLORY, amount=4)
    theirs = parts.pop()
    asked = []
    for part in parts:
        refund = desk.ops.request(receipt_id=part.receipt_id, reason="asked")
        asked.append(refund)
        if proved and refund.status == "approved":
            desk.prove(refund, BOB)
            desk.ops.prepare(refund.refund_id)
    assert [refund.status for refund in asked] == ["approved", "approved", "requested"]
    assert desk.ops.request(receipt_id=theirs.receipt_id, reason="another wallet's").status == "approved"
    agreed = desk.engine.refunds(BOSS).approve(asked[2].refund_id)
    desk.prove(agreed, BOB)
    desk.ops.prepare(agreed.refund_id)
    assert desk.balanced()


@pytest.mark.both_databases
def test_parts_of_nobodys_money_that_were_asked_for_at_once_are_not_prepared_by_one_person(desk: Desk):
    """Nothing made the two requests wait for each other."""
    desk.limit(100)
    parts = stranger_parts(desk, BOB, BOB, amount=60)
    desk.limit(1000)
    first, second = (desk.ops.request(receipt_id=part.receipt_id, reason="asked") for part in parts)
    desk.limit(100)
    for refund in (first, second):
        desk.prove(refund, BOB)
        with pytest.raises(Conflict) as refused:
            desk.ops.prepare(refund.refund_id)
        assert refused.value.details["reason"] == "above_limit"
    desk.ops.cancel(second.refund_id, reason="asked for anew, with a second person")
    desk.ops.prepare(first.refund_id)
    anew = desk.ops.request(receipt_id=parts[1].receipt_id, reason="asked again")
    assert anew.status == "requested"
    desk.engine.refunds(BOSS).approve(anew.refund_id)
    desk.prove(anew, BOB)
    desk.ops.prepare(anew.refund_id)
    assert desk.balanced()


@pytest.mark.both_databases
def test_what_goes_to_a_wallet_that_a_customer_proved_counts_for_money_of_nobody_that_it_sent(desk: Desk):
    """Else the limit holds twice for one wallet: once as a customer's, once as nobody's."""
    desk.limit(10)
    (part,) = stranger_parts(desk, BOB, amount=4)
    own = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=8, reason="asked", via="transfer")
    assert own.status == "approved"
    desk.prove(own, BOB)
    desk.ops.prepare(own.refund_id)
    assert desk.ops.request(receipt_id=part.receipt_id, reason="asked").status == "requested"
