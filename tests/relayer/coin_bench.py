"""Refunds in the chain's own coin on a real chain: what a treasury's wallet and a person of finance do about them."""

from __future__ import annotations

from typing import Any

import attrs
from relay_bench import RELAYER, Relay
from test_relayed_refunds import OPS, paid_order, proved_refund

from evmbilling.domain.payments.receipts import Refund
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH, IRREVERSIBLE_DEPTH
from evmbilling.testing.wallet import Wallet

UNKNOWN = "0x" + "ab" * 32
"""The hash of no transaction."""


def prepared(relay: Relay) -> Refund:
    refund_id = proved_refund(relay, paid_order(relay))
    relay.engine.refunds(OPS).prepare(refund_id)
    return now(relay, refund_id)


def now(relay: Relay, refund: Refund | str) -> Refund:
    return relay.engine.refunds(OPS).refund(refund if isinstance(refund, str) else refund.refund_id)


def pay(relay: Relay, refund: Refund, *, key: str = RELAYER.key, mine: int = 1, **changes: Any) -> str:
    """Send what was prepared, as a wallet does; return the hash."""
    payload = relay.engine.refunds(OPS).prepare(refund.refund_id)
    tx_hash: str = Wallet(key, relay.node.url).send(attrs.evolve(payload, **changes)).hash
    if mine:
        relay.node.mine(mine)
    return tx_hash


def name(relay: Relay, refund: Refund, tx_hash: str) -> Any:
    return relay.engine.refunds(OPS).name_transaction(refund.refund_id, tx_hash=tx_hash)


def name_before_it_is_mined(relay: Relay, refund: Refund, tx_hash: str) -> str:
    """Name a transaction whose block the chain took back; return it as it was signed."""
    raw: str = relay.node.raw_transaction(tx_hash)
    relay.node.reorg(1)
    assert name(relay, refund, tx_hash).state == "open"
    return raw


def rule_out(relay: Relay, raw: str) -> None:
    """Send what was signed, and read on until nobody doubts what became of it."""
    relay.node.send_raw(raw)
    settle(relay)
    settle(relay, IRREVERSIBLE_DEPTH + 1)


def settle(relay: Relay, blocks: int = CREDIT_DEPTH, seconds: int = 700) -> None:
    relay.node.mine(blocks)
    relay.pass_time(seconds)
    relay.shop.drain()


def told(relay: Relay) -> list[str]:
    events = sorted(relay.engine.admin(ADMIN).events(limit=1000), key=lambda e: e.event_id)
    return [e.type.removeprefix("billing.").removesuffix(".v1") for e in events if "refund" in e.type]


def differences(relay: Relay) -> list[tuple[str, str]]:
    return [(d.code, d.reason) for d in relay.engine.verify().differences]
