"""A contract that we have never seen sells a plan, by configuration alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, MALLORY, PRICE, Club

from evmbilling.contracts import artifact
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.errors import AlreadyExists, InputError, NetworkUnavailable
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import calldata, deploy
from evmbilling.testing.merchant import ADMIN
from refund_wallets import prove

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
SHARES = [(ALICE.address, 1, "")]


def unwatched(club: Club, function: str, *arguments: object) -> WalletPayload:
    """A call that no order asked for."""
    data = calldata("ClubPass", function, *arguments)
    return WalletPayload(chain_id=club.node.chain_id, to=club.passes.address, value=0, data=data, gas=600_000)


def allow(club: Club, account, amount: int = 20 * PRICE) -> None:
    club.act(club.token, "approve", club.passes.address, amount, sender=account.address)


def test_a_plan_is_sold_reorganised_and_sold_again(club: Club):
    club.start()
    offer = club.checkout()
    assert (offer.order.rail, offer.challenge, offer.uri) == ("call", None, None)
    assert club.engine.order(offer.ledger_id).payload == offer.payload
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert club.engine.access("alice").allowed
    assert club.balance(club.treasury) == PRICE
    assert club.ask(club.passes, "memberUntil", ALICE.address) == int(offer.order.member_until.timestamp())
    assert club.movements() == ["receipt"]
    assert club.differences() == []
    assert not club.engine.check_contracts()

    club.node.reorg(3)
    club.node.mine()
    club.settle()
    assert not club.engine.access("alice").allowed
    assert club.engine.order(offer.ledger_id).status == "reversed"
    assert (club.movements(), club.differences()) == ([], [])

    again = club.engine.pay_instructions(offer.ledger_id)
    assert (again.approval, again.problems, again.payload) == (None, (), offer.payload)
    club.send(again.payload)
    assert club.engine.access("alice").allowed
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert (club.movements(), club.differences()) == (["receipt"], [])


def test_a_refund_goes_back_and_the_second_period_is_paid(club: Club):
    club.start()
    first = club.checkout()
    club.pay(first)
    second = club.checkout()
    assert (second.order.period, second.order.subscription_id) == (1, first.order.subscription_id)
    club.pay(second)
    assert club.engine.order(second.ledger_id).status == "confirmed"

    desk = club.engine.refunds(OPS)
    refund = desk.request(ledger_id=second.ledger_id, reason="asked")
    prove(club.engine, refund.refund_id, ALICE)
    club.send(desk.prepare(refund.refund_id), club.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"
    assert club.balance(club.treasury) == PRICE
    assert club.movements() == ["receipt", "receipt", "refund"]
    assert club.differences() == []


def test_two_customers_who_pay_in_one_block_are_told_apart_by_their_wallets(club: Club):
    club.start()
    offers = {ALICE: club.checkout(), BOB: club.checkout("bob", BOB)}
    for account in offers:
        allow(club, account)
    for account, offer in offers.items():
        club.node.send(offer.payload.as_rpc(account.address))
    club.settle()
    assert [club.engine.order(o.ledger_id).status for o in offers.values()] == ["confirmed", "confirmed"]
    assert club.differences() == []


def test_a_wallet_that_nobody_has_confirmed_buys_nothing_and_its_money_waits(club: Club):
    club.start()
    with pytest.raises(InputError, match="confirmed") as caught:
        club.checkout("mallory", MALLORY)
    assert caught.value.field == "wallet"
    club.fund(MALLORY)
    allow(club, MALLORY)
    club.send(
        unwatched(club, "tagText", "x", club.treasury, PRICE), MALLORY
    )  # an event without meaning: the money is a plain transfer
    (receipt,) = club.receipts()
    assert (receipt.allocation, receipt.reason, receipt.amount) == ("suspense", "unknown_payer", PRICE)
    assert (club.movements(), club.differences()) == (["suspense"], [])


def test_two_purchases_in_one_transaction_are_not_guessed(club: Club):
    club.start()
    club.checkout()
    allow(club, ALICE)
    until = (club.treasury, 2**40)
    club.send(unwatched(club, "joinTwice", SHARES, until, PRICE, "two"))
    assert not club.engine.access("alice").allowed
    # Each transfer by itself is money; which purchase it was for, a person has to say.
    assert [(r.allocation, r.reason) for r in club.receipts()] == [("suspense", "ambiguous_money")] * 2
    assert club.movements() == ["suspense", "suspense"]
    with club.engine._ports.storage.unit(write=False) as unit:
        logs = unit.logs_between(club.node.chain_id, 0, 10**6)
    assert len(logs) == 4
    assert club.differences() == []


def test_what_stays_in_the_contract_is_not_credited(anvil: AnvilNode):
    club = Club(anvil, fee_bps=100)
    try:
        club.start()
        offer = club.checkout()
        club.pay(offer)
        (receipt,) = club.receipts()
        assert receipt.amount == PRICE - PRICE // 100
        assert club.engine.order(offer.ledger_id).status == "partially_paid"
        assert not club.engine.access("alice").allowed
        assert club.differences() == []
    finally:
        club.close()


def test_other_code_at_the_address_halts_the_binding(club: Club):
    club.start()
    pinned = club.admin.contracts()[0]
    assert {address for address, _ in pinned.pins} == {club.passes.address, club.token.address}
    both = club.engine.contracts(ADMIN).pin("theirs", "local", version=pinned.version)
    assert {address for address, _ in both.pins} == {club.passes.address, club.token.address}
    club.node.set_code(club.token.address, "0x" + artifact("FeeToken").deployed_bytecode.hex())
    (halted,) = club.engine.check_contracts()
    assert halted.kind == "contract_halted"
    assert club.token.address in halted.note
    with pytest.raises(NetworkUnavailable) as caught:
        club.checkout()
    assert caught.value.details["reason"] == "contract_halted"


def test_a_contract_is_bound_once_and_its_events_keep_their_meaning(club: Club):
    club.start()
    (bound,) = club.admin.contracts()
    with pytest.raises(AlreadyExists) as taken:
        club.bind(club.passes, slug="twice", mint_method=JOIN, events=[JOINED])
    assert taken.value.field == "address"
    left = {"event": "Left", "means": "membership_ended", "token_id": "member"}
    with pytest.raises(InputError) as misfit:
        club.admin.update_contract("theirs", "local", version=bound.version, events=[JOINED, left])
    assert misfit.value.field == "events[1].token_id"
    other = JOINED | {"means": "renewed"}
    with pytest.raises(InputError) as changed:
        club.admin.update_contract("theirs", "local", version=bound.version, events=[other])
    assert changed.value.field == "events"
    tagged = {"event": "Tagged(bytes32,uint256,address)", "means": "paid", "reference": "tag", "money": "transfer"}
    after = club.admin.update_contract("theirs", "local", version=bound.version, events=[JOINED, tagged])
    assert after.version == bound.version + 1


BY_NAME = {
    "mint_method": {
        "method": "tag",
        "args": ["{reference}", "{treasury}", "{amount}"],
        "approve": {"spender": "{contract}"},
    },
    "events": [
        {
            "event": "Tagged(bytes32,uint256,address)",
            "means": "paid",
            "reference": "tag",
            "amount": "amount",
            "treasury": "vault",
            "token": {"const": "0x" + "11" * 20},
        }
    ],
}


def test_an_order_is_named_by_its_reference_even_before_the_money_moves(club: Club):
    named = BY_NAME["events"][0] | {"token": {"const": club.token.address}}
    club.bind(club.passes, mint_method=BY_NAME["mint_method"], events=[named])
    club.sell()
    club.fund(ALICE)
    with pytest.raises(InputError, match="confirmed"):
        club.checkout()  # the event names the order, and nobody who paid it
    club.confirm("alice", ALICE)
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert (club.movements(), club.differences()) == (["receipt"], [])
    # Somebody else's name is somebody else's business.
    allow(club, ALICE)
    club.send(unwatched(club, "tag", b"\7" * 32, club.treasury, PRICE))
    assert [r.ledger_id for r in club.receipts()] == [offer.ledger_id]
    assert club.movements() == ["external", "receipt"]
    # Another wallet that pays a named order: nobody says that it is a gift.
    second = club.checkout()
    club.fund(BOB)
    allow(club, BOB)
    club.send(second.payload, BOB)
    assert [r.reason for r in club.receipts() if r.allocation == "suspense"] == ["wrong_payer"]
    assert club.differences() == []


def test_an_order_is_named_by_the_hash_of_its_reference(club: Club):
    call = {"method": "tagText", "args": ["{reference}", "{treasury}", "{amount}"], "approve": {}}
    event = {"event": "Tagged(string,address,address)", "means": "paid", "reference": "tag", "payer": "buyer"}
    club.bind(club.passes, mint_method=call, events=[event | {"treasury": "vault", "money": "transfer"}])
    club.sell()
    club.fund(ALICE)
    offer = club.checkout()
    assert len(offer.order.call.mark) == 32
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    club.node.reorg(3)
    club.node.mine()
    club.settle()
    assert club.engine.order(offer.ledger_id).status == "reversed"
    club.send(offer.payload)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert club.differences() == []


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_it_is_all_in_the_database(anvil: AnvilNode, open_database, database: str):
    from evmbilling.testing.clock import FrozenClock

    head = anvil.block()
    assert head is not None
    clock = FrozenClock(Club.when(head))
    club = Club(anvil, storage=open_database(database, clock), clock=clock)
    try:
        club.start()
        offer = club.checkout()
        club.pay(offer)
        assert club.engine.order(offer.ledger_id).order.call == offer.order.call
        assert club.engine.access("alice").allowed
        assert club.differences() == []
    finally:
        club.close()


def test_two_contracts_of_one_code_are_two_bindings(club: Club):
    club.start()
    other = deploy(club.node, "ClubPass", club.token.address, 0)
    club.bind(other, slug="other", mint_method=JOIN, events=[JOINED])
    offer = club.checkout()
    allow(club, ALICE)
    payload = WalletPayload(
        chain_id=offer.payload.chain_id, to=other.address, value=0, data=offer.payload.data, gas=600_000
    )
    club.act(club.token, "approve", other.address, PRICE, sender=ALICE.address)
    club.send(payload)
    assert club.engine.order(offer.ledger_id).status == "pending"
    (receipt,) = club.receipts()
    assert (receipt.allocation, receipt.reason) == ("credit", "no_order")


class OtherAmount:
    """A node that shows a token's transfers with another amount."""

    def __init__(self, token: str) -> None:
        self._token = token.lower()

    def instead(self, method: str, params: Any) -> None:
        """Ask the node."""

    def change(self, method: str, params: Any, reply: dict[str, Any], ask: Any) -> dict[str, Any]:
        receipt = reply.get("result")
        if method == "eth_getTransactionReceipt" and receipt is not None:
            for log in receipt["logs"]:
                log["data"] = "0x" + "00" * 31 + "01" if log["address"] == self._token else log["data"]
        return reply


def test_large_money_is_credited_when_enough_nodes_show_its_transfer(anvil: AnvilNode, make_rpc_proxy):
    """The event alone, which all of them show, says nothing about how much came."""
    first, second = make_rpc_proxy(), make_rpc_proxy()
    club = Club(anvil, rpc_urls=[first.url, second.url], agreement_above={"tUSD": PRICE - 1})
    try:
        club.start()
        lie = OtherAmount(club.token.address)
        offer = club.checkout()
        allow(club, ALICE)
        rule = second.add(lie)
        club.send(offer.payload)
        assert club.receipts() == []
        second.remove(rule)
        club.clock.advance(timedelta(hours=7))
        club.settle(1)
        assert club.engine.order(offer.ledger_id).status == "confirmed"
    finally:
        club.close()


@pytest.mark.fault("T29")
def test_t29_an_allowance_that_a_token_wants_reset_is_reset_before_a_configured_call(anvil: AnvilNode):
    club = Club(anvil, token="NoReturnToken")
    try:
        club.start()
        allow(club, ALICE, 5)
        offer = club.checkout()
        told = club.engine.pay_instructions(offer.ledger_id)
        assert [problem.code for problem in told.problems] == ["allowance"]
        club.send(told.approval, blocks=1)
        assert club.ask(club.token, "allowance", ALICE.address, club.passes.address) == 0
        club.pay(offer)
        assert club.engine.order(offer.ledger_id).status == "confirmed"
        assert club.differences() == []
    finally:
        club.close()


def test_what_stands_in_the_way_of_a_configured_call_is_named(club: Club):
    club.start()
    offer = club.checkout()
    assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == ["allowance"]
    allow(club, ALICE)
    assert club.engine.pay_instructions(offer.ledger_id).problems == ()
    club.act(club.token, "transfer", BOB.address, 20 * PRICE, sender=ALICE.address)
    assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == ["balance"]
    club.fund(ALICE)
    # Who has looked at the new code and lets it go on is told what it does.
    for code, problem in (("0x60006000fd", "contract_refuses"), ("0x", "contract_missing")):
        club.node.set_code(club.passes.address, code)
        assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == ["contract_changed"]
        (halted,) = club.engine.check_contracts()
        club.engine.finance(OPS).acknowledge(halted.item_id)
        assert [p.code for p in club.engine.pay_instructions(offer.ledger_id).problems] == [problem]


def test_the_biller_asks_for_the_next_period_by_the_call_for_renewals(club: Club):
    again = {"method": "join(address,uint256)", "args": ["{beneficiary}", "{amount}"], "approve": {}}
    renew = JOIN | {"args": [*JOIN["args"][:3], "again"]}
    with pytest.raises(InputError) as unnamed:
        club.bind(club.passes, mint_method=JOIN, renew_method=again | {"args": [1]}, events=[JOINED])
    assert unnamed.value.field == "renew_method.args"
    club.bind(club.passes, mint_method=JOIN, renew_method=renew, events=[JOINED])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    first = club.checkout()
    club.pay(first)
    club.node.increase_time(31 * 86_400)
    club.settle()
    (renewal,) = [o for o in club.engine.orders("alice") if o.origin == "renewal"]
    assert (renewal.rail, renewal.period, renewal.status) == ("call", 1, "pending")
    assert b"again" in renewal.call.data
    assert b"monthly" in first.order.call.data
    told = club.engine.pay_instructions(renewal.ledger_id)
    club.send(told.approval, blocks=1)
    club.send(told.payload)
    assert club.engine.order(renewal.ledger_id).status == "confirmed"
    assert club.engine.subscriptions("alice")[0].paid_periods == 2
    assert club.differences() == []


def test_a_dearer_plan_is_taken_at_once_by_a_call_of_its_own(club: Club):
    club.start()
    club.sell("max", limits={"calls": 9000})
    club.pay(club.checkout())
    (held,) = club.engine.subscriptions("alice")
    changed = club.engine.change_subscription(held.subscription_id, plan="max", quantity=3, timing="now")
    assert changed.order is not None
    assert changed.order.payload == club.engine.order(changed.order.ledger_id).payload
    club.pay(changed.order)
    assert club.engine.order(changed.order.ledger_id).status == "confirmed"
    assert club.engine.subscriptions("alice")[0].plan_slug == "max"
    assert club.differences() == []
