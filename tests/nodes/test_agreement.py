"""Large amounts are never credited by the word of one node."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from stall import PRICE, Stall

from evmbilling.domain.selling.orders import Order
from evmbilling.errors import InputError
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.paid_logs import PAID_TOPIC, pay_call
from evmbilling.testing.rpc_breaks import Hang
from evmbilling.testing.rpc_lies import Censor, InventLog, Lag, Null, RpcError

MakeStall = Callable[..., Stall]
ABOVE = {"tUSD": PRICE - 1}


def invented(order: Order, block: int) -> InventLog:
    """Return the lie of a payment for an order that nobody made."""
    log = pay_call(order).paid_log()
    topics = tuple("0x" + topic.hex() for topic in log.topics)
    return InventLog(block, log.address, topics, "0x" + log.data.hex())


@pytest.mark.fault("R15")
def test_r15_without_the_rule_one_lying_node_can_invent_a_payment(make_stall: MakeStall) -> None:
    """Why the rule is there: nothing in one node's answers contradicts this."""
    stall = make_stall(0, 1)
    offer = stall.checkout()
    stall.anvil.mine()
    stall.nodes[0].add(invented(offer.order, stall.anvil.block_number))
    stall.settle()
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("R15")
def test_r15_a_payment_that_one_node_invents_is_held_and_never_credited(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, agreement_above=ABOVE)
    offer = stall.checkout()
    stall.anvil.mine()
    stall.nodes[0].add(invented(offer.order, stall.anvil.block_number))
    stall.settle()
    for _ in range(4):
        stall.clock.advance(timedelta(hours=7))
        stall.settle(1)
    assert stall.receipts() == []
    assert not stall.engine.access("user-1").allowed
    assert stall.counts.total["evidence_parked"] >= 4
    assert "no_agreement" in stall.counts.labels


@pytest.mark.fault("R15")
def test_r15_a_payment_that_all_nodes_show_is_credited_at_once(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, agreement_above=ABOVE)
    offer = stall.checkout()
    stall.pay(offer)
    stall.settle(2)
    assert stall.status(offer) == "confirmed"
    assert stall.counts.total["evidence_parked"] == 0


@pytest.mark.fault("R15")
@pytest.mark.parametrize(
    "trouble",
    [
        Hang(),
        Null(),
        Lag(30),
        RpcError(-32000, "transaction indexing is in progress"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_r15_money_waits_while_the_second_node_cannot_say_and_is_credited_when_it_can(
    make_stall: MakeStall, trouble: Any
) -> None:
    stall = make_stall(0, 1, agreement_above=ABOVE, rpc_timeout=1)
    offer = stall.checkout()
    stall.pay(offer)
    methods = ["eth_getTransactionReceipt"] if isinstance(trouble, Null | RpcError) else []
    stall.nodes[1].add(trouble, methods=methods)
    stall.settle(passes=2)
    assert stall.status(offer) == "pending"
    stall.nodes[1].heal()
    stall.clock.advance(timedelta(minutes=1))
    stall.settle(0, passes=2)
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("R15")
def test_r15_two_of_three_are_enough_and_the_one_in_use_may_be_the_liar(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, 2, agreement_above=ABOVE)
    offer, other = stall.checkout("user-1"), stall.checkout("user-2")
    stall.pay(offer)
    stall.anvil.mine()
    stall.nodes[0].add(invented(other.order, stall.anvil.block_number))
    stall.nodes[2].add(Censor(stall.merchant.treasury), methods=["eth_getTransactionReceipt"])
    stall.settle()
    assert stall.status(offer) == "confirmed"
    assert stall.status(other) == "pending"


@pytest.mark.fault("R15")
def test_r15_smaller_amounts_are_credited_by_one_node(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, agreement_above={"tUSD": PRICE})
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[1].add(Hang())
    stall.settle()
    assert stall.status(offer) == "confirmed"
    assert stall.nodes[1].asked == ()


@pytest.mark.fault("R15")
def test_r15_what_was_seen_is_asked_again_before_it_is_credited(make_stall: MakeStall) -> None:
    """Two nodes saw it; then the second one's chain goes on without it. The first one alone credits nothing."""
    stall = make_stall(0, 1, agreement_above=ABOVE)
    offer = stall.checkout()
    stall.pay(offer)
    stall.settle(0, passes=2)
    assert stall.status(offer) == "confirming"
    stall.nodes[1].add(Null(), methods=["eth_getTransactionReceipt"])
    stall.settle()
    assert stall.status(offer) == "confirming"
    assert not stall.engine.access("user-1").allowed
    stall.nodes[1].heal()
    stall.clock.advance(timedelta(minutes=1))
    stall.settle(0, passes=2)
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("R15")
def test_r15_one_held_payment_delays_no_other(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, agreement_above=ABOVE)
    held, small = stall.checkout("user-1"), stall.checkout("user-2", asset="ETH")
    stall.pay(held)
    stall.pay(small)
    stall.nodes[1].add(Null(), methods=["eth_getTransactionReceipt"])
    stall.settle()
    assert (stall.status(held), stall.status(small)) == ("pending", "confirmed")


@pytest.mark.fault("D27")
@pytest.mark.fault("R15")
def test_d27_r15_no_node_is_asked_while_a_transaction_is_open(make_stall: MakeStall) -> None:
    """The guard raises when a transport is used inside a transaction: agreement is asked on a real one here."""
    stall = make_stall(0, 1, agreement_above=ABOVE)
    stall.pay(stall.checkout())
    stall.settle()
    assert "eth_getTransactionReceipt" in stall.nodes[1].methods()


def test_a_rule_that_cannot_be_kept_is_refused_when_it_is_saved(make_stall: MakeStall) -> None:
    stall = make_stall(0)
    with pytest.raises(InputError) as refused:
        stall.change(agreement_above=ABOVE)
    assert refused.value.field == "agreement_above"
    other = {"name": "other", "chain_id": 5, "rpc_urls": ["http://one.example", "http://two.example"]}
    admin = stall.engine.admin(ADMIN)
    with pytest.raises(InputError) as refused:
        admin.create_network(**other, agreement_above=ABOVE, quorum=3)
    assert refused.value.field == "agreement_above"
    made = admin.create_network(**other, agreement_above=ABOVE)
    with pytest.raises(InputError) as refused:
        admin.update_network("other", version=made.version, rpc_urls=["http://one.example"])
    assert refused.value.field == "agreement_above"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quorum", 1),
        ("quorum", 10),
        ("quorum", "2"),
        ("agreement_above", {"tUSD": -1}),
        ("agreement_above", {"tUSD": 1.5}),
        ("agreement_above", {"": 1}),
        ("agreement_above", [("tUSD", 1), ("tUSD", 2)]),
        ("agreement_above", 7),
    ],
)
def test_bad_rules_name_their_field(make_stall: MakeStall, field: str, value: Any) -> None:
    stall = make_stall(0, 1)
    with pytest.raises(InputError) as refused:
        stall.change(**{field: value})
    assert refused.value.field == field


def test_the_invented_log_is_a_payment_to_the_letter(make_stall: MakeStall) -> None:
    """The lie of these tests is a good one: it is what the contract would have emitted."""
    stall = make_stall(0)
    offer = stall.checkout()
    tx_hash = stall.pay(offer)
    receipt = stall.anvil.receipt(tx_hash)
    assert receipt is not None
    real = receipt["logs"][-1]
    lie = invented(offer.order, 1)
    assert (real["topics"], real["data"]) == (list(lie.topics), lie.data)
    assert real["topics"][0] == "0x" + PAID_TOPIC.hex()
