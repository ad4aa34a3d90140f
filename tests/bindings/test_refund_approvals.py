"""A treasury allows a contract just what a refund takes, before it: by its own wallet, and by the relayer's lane."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bindings_bench import ALICE, JOIN, JOINED, PRICE, Club
from fastapi import FastAPI
from fastapi.testclient import TestClient

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import Checkout
from evmbilling.engine.refunds.requests import Via
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.http.options import Options
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import calldata
from evmbilling.testing.merchant import ADMIN
from refund_wallets import prove
from sampling import EVERYTHING

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
BACK = {
    "method": "giveBack",
    "args": ["{refund_id}", "{receiver}", "{amount}"],
    "approve": {"spender": "{contract}", "amount": "{amount}"},
}
RELAYER = DEV_ACCOUNTS[7]


def start(club: Club) -> Checkout:
    """Sell a month to Alice; the treasury has allowed nothing."""
    token = {"const": club.token.address}
    event = {"event": "GivenBack", "means": "refunded", "beneficiary": "to", "amount": "price", "token": token}
    club.bind(club.passes, mint_method=JOIN, refund_method=BACK, events=[JOINED, event | {"refund_id": "name"}])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    offer = club.checkout()
    club.pay(offer)
    return offer


def asked(club: Club, offer: Checkout, amount: int | None = None, via: Via | None = None) -> Refund:
    """A refund whose address Alice has proved."""
    refund = club.engine.refunds(OPS).request(ledger_id=offer.ledger_id, amount=amount, reason="asked", via=via)
    return prove(club.engine, refund.refund_id, ALICE)


def allowance(club: Club) -> int:
    return club.ask(club.token, "allowance", club.treasury, club.passes.address)


def test_a_prepared_refund_carries_what_the_treasury_allows_first(club: Club):
    offer = start(club)
    desk, refund = club.engine.refunds(OPS), asked(club, offer, PRICE - 1)
    prepared = desk.prepare(refund.refund_id)
    assert desk.prepare(refund.refund_id) == prepared
    assert prepared.approval is not None
    approve = calldata("TestToken", "approve", club.passes.address, PRICE - 1)
    assert (prepared.approval.to, prepared.approval.data) == (club.token.address, approve)
    treasury = club.node.accounts[-1]
    club.send(prepared.approval, treasury)
    # What is allowed is no refund, and moves nothing.
    assert desk.refund(refund.refund_id).status == "prepared"
    assert (allowance(club), club.movements()) == (PRICE - 1, ["receipt"])
    club.send(prepared, treasury)
    assert desk.refund(refund.refund_id).status == "done"
    assert (allowance(club), club.movements(), club.differences()) == (0, ["receipt", "refund"], [])
    club.node.reorg(6)
    club.node.mine()
    club.settle()
    assert desk.refund(refund.refund_id).status == "confirming"
    assert club.differences() == []


def test_a_transfer_needs_no_approval(club: Club):
    offer = start(club)
    desk = club.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, amount=5, reason="part", via="transfer")
    prove(club.engine, refund.refund_id, ALICE)
    assert desk.prepare(refund.refund_id).approval is None


class Lane:
    """A club whose treasury is the relayer's own wallet."""

    def __init__(self, node: AnvilNode, token: str = "TestToken") -> None:
        self.club = Club(node, treasury=RELAYER.address, token=token)
        self.club.engine.admin(ADMIN).update_gateway("main", version=1, relayer=RELAYER.key)
        self.desk, self.sending = self.club.engine.refunds(OPS), self.club.engine.sending(OPS)

    def relay(self, blocks: int = 1) -> None:
        """Let the relayer work when everything is due, and mine."""
        self.club.clock.set(self.club.clock.now() + timedelta(minutes=11))
        report = self.club.engine.relay()
        assert not report.failed
        self.club.node.mine(blocks)
        self.club.settle(0)

    def work(self, rounds: int) -> None:
        """Let the relayer work until nothing waits to be sent or mined, and then until it is irreversible."""
        for _ in range(rounds):
            self.relay()
            if not {"queued", "signed", "submitted", "unknown"} & set(self.states().values()):
                break
        self.relay(25)
        self.relay(25)

    def states(self) -> dict[str, str]:
        """Where everything of the lane stands, by what it is for."""
        return {one.subject: str(one.status) for one in self.sending.transmissions()}


@pytest.fixture
def lane(anvil: AnvilNode):
    made = Lane(anvil)
    yield made
    made.club.close()


def test_the_relayer_allows_first_and_serves_one_refund_after_another(lane: Lane):
    club = lane.club
    offer = start(club)
    half = PRICE // 2
    refunds = [asked(club, offer, half), asked(club, offer, PRICE - half)]
    sent = [lane.sending.send_refund(refund.refund_id) for refund in refunds]
    approvals = [f"approval:{one.subject}:1" for one in sent]
    lane.relay()
    states = lane.states()
    assert states[approvals[0]] == "submitted"
    assert [states[one] for one in (sent[0].subject, approvals[1], sent[1].subject)] == ["queued"] * 3
    held = club.balance(ALICE.address)
    for _ in range(12 if EVERYTHING else 6):
        lane.relay()
        assert allowance(club) in {0, half, PRICE - half}
    lane.relay(25)
    lane.relay(25)
    assert set(lane.states().values()) == {"done"}
    assert [lane.desk.refund(refund.refund_id).status for refund in refunds] == ["done", "done"]
    nonces = {one.subject: one.nonce for one in lane.sending.transmissions()}
    order = [approvals[0], sent[0].subject, approvals[1], sent[1].subject]
    assert [nonces[subject] for subject in order] == list(range(4))
    assert (club.balance(ALICE.address), allowance(club)) == (held + PRICE, 0)
    assert (club.movements(), club.differences()) == (["receipt", "refund", "refund"], [])


def test_a_refund_whose_approval_was_taken_back_is_not_sent(lane: Lane):
    club = lane.club
    refund = asked(club, start(club))
    sent = lane.sending.send_refund(refund.refund_id)
    (approval,) = [one for one in lane.sending.transmissions() if one.subject.startswith("approval:")]
    lane.sending.withdraw(approval.transmission_id)
    lane.relay()
    assert lane.states() == {approval.subject: "cancelled", sent.subject: "failed"}
    over = lane.desk.refund(refund.refund_id)
    assert (over.status, over.failure_reason) == ("failed", "approval_failed")
    assert (allowance(club), club.differences()) == (0, [])


def test_an_approval_whose_refund_was_taken_back_is_not_sent(lane: Lane):
    club = lane.club
    refund = asked(club, start(club))
    sent = lane.sending.send_refund(refund.refund_id)
    lane.sending.withdraw(sent.transmission_id)
    lane.relay()
    assert lane.states() == {f"approval:{sent.subject}:1": "failed", sent.subject: "cancelled"}
    assert allowance(club) == 0
    # Another attempt has an approval of its own.
    again = lane.sending.send_refund(refund.refund_id)
    lane.work(6)
    assert lane.states()[f"approval:{again.subject}:2"] == "done"
    assert lane.desk.refund(refund.refund_id).status == "done"
    assert club.differences() == []


def test_an_approval_that_a_reorganisation_took_back_is_mined_before_its_refund(lane: Lane):
    club = lane.club
    refund = asked(club, start(club))
    sent = lane.sending.send_refund(refund.refund_id)
    lane.relay()
    assert allowance(club) == PRICE
    club.node.reorg(1)
    lane.work(8)
    assert set(lane.states().values()) == {"done"}
    assert lane.sending.transmission(sent.transmission_id).nonce == 1
    assert lane.desk.refund(refund.refund_id).status == "done"
    assert club.differences() == []


def test_people_see_what_the_treasury_allows_first(club: Club):
    """Over HTTP and on the finance desk, in both languages."""
    refund = asked(club, start(club))
    prepared = club.engine.refunds(OPS).prepare(refund.refund_id)
    options = Options(public_url="https://shop.example", roles=lambda _: OPS.roles)
    billing = FastApiBilling(club.engine, identity=lambda _: OPS, options=options, pages=True, close=False)
    app = FastAPI()
    app.include_router(billing.router)
    app.include_router(billing.pages)
    client = TestClient(app, base_url="https://shop.example")
    answer = client.post(f"/v1/billing/admin/refunds/{refund.refund_id}/prepare", json={})
    assert answer.status_code == 200
    approval = prepared.approval
    assert approval is not None
    assert answer.json() == prepared.as_rpc() | {"approval": approval.as_rpc()}
    for language, words in (("en", "First, to be allowed by the treasury"), ("ru", "Сначала разрешает казна")):
        shown = client.get(f"/billing/desk/refunds/{refund.refund_id}", headers={"Accept-Language": language}).text
        assert words in shown
        assert shown.index(f"0x{approval.data.hex()}") < shown.index(f"0x{prepared.data.hex()}")


@pytest.mark.parametrize("via", ["transfer", "contract"])
def test_what_was_cancelled_in_the_queue_is_not_sent_beside_its_successor(lane: Lane, via: Via):
    club = lane.club
    offer = start(club)
    club.fund(RELAYER)
    held = club.balance(ALICE.address)
    first = asked(club, offer, via=via)
    lane.sending.send_refund(first.refund_id)
    if via == "contract":
        lane.relay()  # what the contract may take is allowed, and the call waits for that
    lane.desk.cancel(first.refund_id, reason="asked for twice")
    second = asked(club, offer, via=via)
    lane.sending.send_refund(second.refund_id)
    lane.work(10)
    assert [lane.desk.refund(one.refund_id).status for one in (first, second)] == ["cancelled", "done"]
    assert (club.balance(ALICE.address), club.movements().count("refund")) == (held + PRICE, 1)
    assert club.differences() == []


def test_what_the_treasury_paid_by_hand_is_not_sent_again(lane: Lane):
    club = lane.club
    offer = start(club)
    club.fund(RELAYER)
    held = club.balance(ALICE.address)
    refund = asked(club, offer, via="transfer")
    sent = lane.sending.send_refund(refund.refund_id)
    club.node.send({"from": RELAYER.address, "to": sent.to, "data": "0x" + sent.data.hex()})
    club.node.mine(30)
    club.settle()
    for _ in range(4):
        lane.relay()
    assert lane.desk.refund(refund.refund_id).status == "done"
    assert lane.states() == {sent.subject: "failed"}
    assert (club.balance(ALICE.address), club.differences()) == (held + PRICE, [])


@pytest.mark.parametrize("via", ["transfer", "contract"])
def test_money_that_the_chain_took_back_is_not_refunded_from_the_queue(lane: Lane, via: Via):
    club = lane.club
    club.fund(RELAYER)
    offer = start(club)
    lane.sending.send_refund(asked(club, offer, via=via).refund_id)
    (receipt,) = [one for one in club.receipts() if one.ledger_id == offer.ledger_id]
    club.node.reorg(club.node.block_number - receipt.evidence.block_number + 1)
    club.node.mine(2)
    club.settle()
    assert club.engine.order(offer.ledger_id).status == "reversed"
    held = club.balance(ALICE.address)
    for _ in range(8):
        lane.relay()
    assert "done" not in lane.states().values()
    assert (club.balance(ALICE.address), club.differences()) == (held, [])


@pytest.fixture(params=["TestToken", "NoReturnToken"])
def any_lane(anvil: AnvilNode, request: pytest.FixtureRequest):
    """In a token where the next approval replaces what stands, and in one like USDT, which refuses it."""
    made = Lane(anvil, token=request.param)
    yield made
    made.club.close()


def carried_out(lane: Lane, refund: Refund) -> Refund:
    """Let the relayer work until a refund is on chain for good, or over."""
    lane.work(10)
    return lane.desk.refund(refund.refund_id)


def test_what_was_allowed_to_a_refund_that_ended_is_taken_back(any_lane: Lane):
    lane, club = any_lane, any_lane.club
    offer = start(club)
    held = club.balance(ALICE.address)
    first = asked(club, offer, PRICE // 2)
    sent = lane.sending.send_refund(first.refund_id)
    lane.relay()
    assert allowance(club) == PRICE // 2
    lane.desk.cancel(first.refund_id, reason="asked for twice")
    for _ in range(4):
        lane.relay()
    assert allowance(club) == 0
    approval = f"approval:{sent.subject}:1"
    assert lane.states() == {approval: "mined", f"reset:{approval}": "mined", sent.subject: "cancelled"}
    second = asked(club, offer)
    lane.sending.send_refund(second.refund_id)
    assert carried_out(lane, second).status == "done"
    assert lane.desk.refund(first.refund_id).status == "cancelled"
    assert (club.balance(ALICE.address), allowance(club)) == (held + PRICE, 0)
    assert club.differences() == []


def test_a_refund_that_is_next_keeps_what_is_allowed_to_it(any_lane: Lane):
    """The allowance of the one before is not taken back between its approval and itself."""
    lane, club = any_lane, any_lane.club
    offer = start(club)
    half = PRICE // 2
    first, second = asked(club, offer, half), asked(club, offer, PRICE - half)
    sent = lane.sending.send_refund(first.refund_id)
    lane.sending.send_refund(second.refund_id)
    lane.relay()
    lane.sending.withdraw(sent.transmission_id)
    assert carried_out(lane, second).status == "done"
    assert lane.states()[f"reset:approval:{sent.subject}:1"] == "done"
    assert (allowance(club), club.movements().count("refund")) == (0, 1)
    assert club.differences() == []


def test_what_the_treasury_had_allowed_itself_is_no_obstacle(any_lane: Lane):
    lane, club = any_lane, any_lane.club
    offer = start(club)
    club.act(club.token, "approve", club.passes.address, 5, sender=RELAYER.address)
    refund = asked(club, offer)
    lane.sending.send_refund(refund.refund_id)
    assert carried_out(lane, refund).status == "done"
    assert (allowance(club), club.differences()) == (0, [])
