"""Our own transactions for tests of storage."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.sending.transmissions import MinedIn, SignedTransaction, Transmission
from evmbilling.testing.conformance.storage.chain_records import CHAIN, OTHER_WALLET, WALLET, at, ident

SENDER, RECEIVER = WALLET, OTHER_WALLET


def sending(number: int = 1, **changes: Any) -> Transmission:
    values: dict[str, Any] = {
        "transmission_id": ident(number),
        "purpose": "charge",
        "subject": f"order:{number}",
        "network": "main",
        "chain_id": CHAIN,
        "signer": SecretRef("env", "KEY"),
        "sender": SENDER,
        "to": RECEIVER,
        "data": b"\1\2",
        "gas": 21_000,
        "gas_ceiling": 10**16,
        "not_after": at(50),
        "next_at": at(1),
        "waiting_since": at(1),
        "created_at": at(1.000001),
    }
    return Transmission(**(values | changes))


def signed_version(number: int = 1, seq: int = 1, **changes: Any) -> SignedTransaction:
    values: dict[str, Any] = {
        "transmission_id": ident(number),
        "seq": seq,
        "kind": "send",
        "tx_hash": bytes([number, seq]) * 16,
        "raw": b"\2raw",
        "max_fee": 2**200,
        "priority_fee": 1,
        "signed_at": at(2),
    }
    return SignedTransaction(**(values | changes))


def deposit(number: int = 1, **changes: Any) -> Deposit:
    values: dict[str, Any] = {
        "ledger_id": ident(number),
        "chain_id": CHAIN,
        "address": WALLET,
        "watched_until": at(90),
        "next_at": at(2),
        "held": 2**256 - 1,
        "seen_at": at(1.000001),
        "sweeps": 2,
        "failures": 1,
    }
    return Deposit(**(values | changes))


def proof(number: int = 1, **changes: Any) -> RefundProof:
    values: dict[str, Any] = {
        "chain_id": CHAIN,
        "tx_hash": bytes([number]) * 32,
        "refund_id": ident(1),
        "state": "open",
        "reason": "not_mined",
        "looks": 3,
        "next_at": at(2),
        "named_by": "ops",
        "named_at": at(1.000001),
    }
    return RefundProof(**(values | changes))


MINED = MinedIn(
    tx_hash=b"\1" * 32, block_number=5, block_hash=b"\2" * 32, block_time=at(4), succeeded=False, gas_paid=2**256 - 1
)
