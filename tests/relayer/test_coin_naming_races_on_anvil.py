"""Two who see to one refund in the coin at the same moment: whoever names its transaction, and the relayer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from coin_bench import UNKNOWN, name, now, settle
from relay_bench import Relay
from test_relayed_refunds import ALICE, OPS

from evmbilling.domain import decisions as d
from evmbilling.domain.refunds.refunds import move
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.refunds.naming import NamedTransactions
from evmbilling.testing.wallet import Wallet
from refund_wallets import prove

postgres = pytest.mark.parametrize("url", ["postgres"], indirect=True)
"""SQLite lets one write at a time."""


def refund_of_nobody(relay: Relay, url: str) -> str:
    """A refund of coin that came for an order which the host's transaction did not keep."""
    engine = sa.create_engine(url)
    with engine.connect() as connection, connection.begin() as kept, relay.engine.within(connection) as billing:
        asked: dict[str, Any] = {"plan": relay.shop.plan, "asset": "ETH", "wallet": ALICE.address}
        offer = billing.checkout(user_id="nobody", idempotency_key="gone", **asked)
        kept.rollback()
    engine.dispose()
    Wallet(ALICE.key, relay.node.url).send(offer.payload)
    settle(relay)
    with relay.engine._ports.storage.unit(write=False) as unit:
        (receipt,) = unit.unmatched_receipts()
    assert receipt.user_id is None
    refund = relay.engine.refunds(OPS).request(receipt_id=receipt.receipt_id, reason="of nobody")
    prove(relay.engine, refund.refund_id, ALICE, user_id="whoever")
    return refund.refund_id


@contextmanager
def named_and_not_committed(relay: Relay, refund_id: str) -> Iterator[None]:
    """Be between the last statement of naming a transaction and its commit."""
    desk = NamedTransactions(relay.engine._ports, relay.engine._runner, OPS)
    with relay.engine._ports.storage.unit() as unit:
        desk._name(unit, name=refund_id, digest=bytes.fromhex(UNKNOWN[2:]), sent=None)
        yield


@postgres
def test_what_is_named_while_the_relayer_signs_is_not_sent_as_well(open_relay: Any, url: str) -> None:
    relay, beside = open_relay(), open_relay()
    refund_id = refund_of_nobody(relay, url)
    sent = relay.engine.sending(OPS).send_refund(refund_id)
    before = relay.chain_nonce()
    relay.pass_time(60)
    worker = threading.Thread(target=beside.engine.relay)
    with named_and_not_committed(relay, refund_id):
        worker.start()
        worker.join(2)
    worker.join()
    relay.node.mine(1)
    for _ in range(2):
        relay.relay(seconds=700)
        relay.node.mine(1)
    assert relay.chain_nonce() == before
    after = relay.engine.sending(OPS).transmission(sent.transmission_id)
    assert (after.nonce, after.status, after.failure_reason) == (None, T.FAILED, "paid_meanwhile")
    assert [p.named_by for p in relay.engine.refunds(OPS).transactions(refund_id)] == ["ops"]
    assert now(relay, refund_id).status is RefundStatus.PREPARED


@postgres
def test_who_names_one_while_the_relayer_signs_is_not_turned_away(open_relay: Any, url: str) -> None:
    """The row has moved on by then: naming looks once more, and is told of beside what the relayer has named."""
    relay, beside = open_relay(), open_relay()
    refund_id = refund_of_nobody(relay, url)
    prepared = relay.engine.refunds(OPS).prepare(refund_id) and now(relay, refund_id)
    named: list[Any] = []
    person = threading.Thread(target=lambda: named.append(name(beside, prepared, UNKNOWN)))
    with relay.engine._ports.storage.unit() as unit:  # as the relayer does with its first signature
        unit.apply([d.StoreRefund(move(prepared, RefundStatus.SUBMITTED))])
        person.start()
        person.join(2)
    person.join()
    assert [proof.tx_hash.hex() for proof in named] == [UNKNOWN[2:]]
    assert (now(relay, refund_id).status, now(relay, refund_id).version) == (
        RefundStatus.SUBMITTED,
        prepared.version + 1,
    )
