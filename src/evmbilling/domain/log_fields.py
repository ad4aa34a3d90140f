"""Every logger of this package and every field that its lines have. Nothing else is logged beside the sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LOGGERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "evmbilling.charges": "Charges under mandates that were refused before anything was sent.",
        "evmbilling.checks": "Contracts and tokens that are not what they were.",
        "evmbilling.clock": "A clock that cannot be believed.",
        "evmbilling.dispatch": "Messages that were given up.",
        "evmbilling.events": "The `log` notifier: every event, as JSON in the sentence.",
        "evmbilling.host": "Callables of the host that raised.",
        "evmbilling.http": "Requests that failed inside.",
        "evmbilling.intake": "Payments as they come to stand, and logs that were put aside.",
        "evmbilling.reader": "Reorganisations, networks that stand still or go on, block times that nobody confirms.",
        "evmbilling.receipts": "Buyers about whom the host could not say what stands on receipts.",
        "evmbilling.relayer": "Our own transactions.",
        "evmbilling.seal": "Seals, with the head of their chain.",
        "evmbilling.settings": "Variables that look like settings and are none.",
        "evmbilling.signers": "How orders are signed.",
        "evmbilling.webhooks": "Webhooks of relays that were refused.",
        "evmbilling.worker": "Steps of a worker that fail, are off, or end.",
    }
)
"""What each logger says."""

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "actor": "who decided, by the host's opaque id",
        "allocation": "what a payment counts for: `order`, `credit` or `suspense`",
        "attempts": "how often it was tried",
        "billing_event": "the event, as it is delivered",
        "block": "height of a block: the payment's, the last of both branches, the one accepted or doubted",
        "block_time": "the time that a node told of a block",
        "callable": "which callable of the host: `allow_trial`, `screen`",
        "chain_id": "EIP-155 chain id",
        "contract_slug": "the contract that the order is paid through",
        "correlation_id": "of the request; its answer has it in `X-Correlation-Id`",
        "depth": "how many blocks a reorganisation took back",
        "event_id": "of the event that was to be delivered",
        "failing": "how many tries failed in a row",
        "lag": "rows of ledger and audit older than five minutes without a seal",
        "ledger_id": "the order",
        "method": "of the request",
        "network": "its name",
        "nonce": "of a transaction of ours: the highest one says after a restore what was sent",
        "outcome": "what the node said: `accepted`, `known`, or why not",
        "purpose": "what a transaction of ours is for: `charge`, `refund`, `burn`, `sweep`",
        "reason": "a stable word on why",
        "receipt_id": "the movement of money",
        "rows": "how many rows were sealed",
        "seal": "number of the newest link",
        "seal_head": "its MAC: keep it, `evmbilling verify --head` compares it",
        "sink": "who was to be told: `notifier:NAME`, `webhook:ENDPOINT`, `quota:NAME`",
        "step": "of a worker",
        "subject": "what one of our transactions is about: `order:ID`, `refund:ID`, `subscription:ID`, `deposit:ID:N`",
        "times": "how often this happened in this process; it is said at every power of two",
        "token": "address of the token",
        "trace": "where it was raised: file, line and function of each frame; no values, and no words of others",
        "tx_hash": "the transaction on chain",
        "user_id": "whose it is, by the host's opaque id",
    }
)
"""What each field means."""
