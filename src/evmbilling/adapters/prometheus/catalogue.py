"""Every metric by name: what it counts and which labels it has. Nothing else becomes a series."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

PREFIX: Final = "evmbilling_"
LIMIT: Final = 64
"""Different values of one label; what comes later is ``other``."""

SERIES: Final = 256
"""Different series of one metric; what comes later is added to one whose labels are all ``other``."""


@frozen
class Counter:
    """What an engine counts in this process.

    Attributes:
        text: what it means.
        labels: those that are kept; others are dropped.

    """

    text: str
    labels: tuple[str, ...] = ()


@frozen
class Histogram:
    """What is measured in this process: every count of a name is one value.

    Attributes:
        counted: the name of the count.
        text, labels: as of a counter.
        buckets: upper bounds, in the unit of the metric.
        divisor: of what is counted, so that milliseconds are shown as seconds.

    """

    counted: str
    text: str
    buckets: tuple[float, ...]
    labels: tuple[str, ...] = ()
    divisor: int = 1


@frozen
class Gauge:
    """What is read from the database when somebody asks, the same in every process."""

    text: str
    labels: tuple[str, ...] = ()


_BY_NETWORK: Final = ("network",)
_BY_ASSET: Final = ("network", "token")
_BY_NODE: Final = ("network", "node")
COUNTERS: Final[Mapping[str, Counter]] = MappingProxyType(
    {
        "agreement": Counter("Large payments that other nodes were asked about.", ("network", "outcome")),
        "blocks_read": Counter("Blocks that were read.", _BY_NETWORK),
        "charge_attempts": Counter("Charges that were queued, refused or left, and why.", ("outcome", "reason")),
        "checkouts": Counter("Checkouts that were answered.", ("network", "replayed")),
        "contract_check_failed": Counter("Contracts that could not be compared with their chain.", _BY_NETWORK),
        "contract_events": Counter("Events of contracts and tokens that concern us, as read.", _BY_NETWORK),
        "contracts_halted": Counter("Contracts that were halted because their code changed.", _BY_NETWORK),
        "deliveries": Counter("Attempts to deliver an event; webhook is all endpoints.", ("sink", "outcome")),
        "deposits_put_off": Counter("Deposit addresses about which nothing could be done.", ("network", "reason")),
        "evidence_ignored": Counter("Logs that concern nobody here.", ("reason",)),
        "evidence_parked": Counter("Movements that wait for a person or another try.", ("reason",)),
        "figures_folded": Counter("Facts that were taken into the figures of the overview."),
        "hint_reads_failed": Counter("Hints whose transaction could not be looked for.", ("network", "reason")),
        "hints_found": Counter("Hints whose transaction was found."),
        "logs_rescanned": Counter("Logs that a second reading added or altered."),
        "network_failed": Counter("Work that failed for one network.", ("reason",)),
        "networks_resumed": Counter("Halted networks that a person let go on.", _BY_NETWORK),
        "payments": Counter("Movements of money that came to stand somewhere, by where.", ("network", "status")),
        "reads_failed": Counter("Looks at a chain that failed.", ("network", "reason")),
        "renewals_held": Counter("Renewals that had to wait.", ("reason",)),
        "reorgs": Counter("Reorganisations, by depth as a power of two.", ("network", "depth")),
        "rpc_calls": Counter("Calls to a node, by its place in the configuration.", _BY_NODE),
        "rpc_errors": Counter("Exchanges with a node that gave no usable answer.", _BY_NODE),
        "rows_sealed": Counter("Append-only rows that were sealed."),
        "scheduler_halted": Counter("Times that nothing fell due because of the clock.", ("reason",)),
        "screen_busy": Counter("Batches in which the host's screen still hung in earlier questions."),
        "screen_failed": Counter("Times that the host's screen raised."),
        "screen_overdue": Counter("Times that the host's screen did not answer in time."),
        "sweeps_ordered": Counter("Sweeps of deposit addresses that the relayer was given.", _BY_NETWORK),
        "token_check_failed": Counter("Tokens that could not be compared with their chain.", _BY_NETWORK),
        "tokens_halted": Counter("Tokens that were halted because they changed.", ("symbol",)),
        "transactions_sent": Counter("Transactions of ours that were sent.", ("network", "outcome")),
        "trial_rule_failed": Counter("Times that the host's rule for trials raised."),
        "verify_unmarked": Counter("Verifications that left no watermark."),
        "webhook_conflicts_repeated": Counter("Webhooks whose id came again with another body."),
        "webhook_secrets_unusable": Counter("Webhook secrets that could not be read."),
        "webhooks_accepted": Counter("Webhooks from relays that were accepted.", ("replayed",)),
        "webhooks_rejected": Counter("Webhooks from relays that were refused.", ("reason",)),
        "node_events": Counter("What happened to nodes: what, and why.", ("network", "event", "reason")),
        "other": Counter("Counts whose name is not in this list."),
    }
)
"""Runtime counters; add them up over processes. Their names end with ``_total``."""

HISTOGRAMS: Final[Mapping[str, Histogram]] = MappingProxyType(
    {
        "rpc_seconds": Histogram(
            "rpc_milliseconds",
            "How long an exchange with a node took, answered or not.",
            (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            _BY_NODE,
            divisor=1000,
        ),
        "confirmations_waited": Histogram(
            "confirmations_waited",
            "Blocks from a payment's own to the head when it was credited, both counted.",
            (1, 2, 3, 6, 12, 20, 32, 64, 128, 256, 1024),
            _BY_NETWORK,
        ),
    }
)
"""Runtime histograms; add them up over processes."""

NOT_COUNTED: Final = frozenset({"seal_lag_rows"})
"""What an engine tells that a gauge says better."""

VERIFIED: Final[Mapping[str, Gauge]] = MappingProxyType(
    {
        "verify_differences": Gauge("Differences that the last verification named, by their code.", ("code",)),
        "verify_time_seconds": Gauge("When it ended, in seconds since 1970."),
    }
)
"""Gauges of the file that ``evmbilling verify --metrics`` writes."""

GAUGES: Final[Mapping[str, Gauge]] = MappingProxyType(
    {
        "subscriptions": Gauge("Subscriptions.", ("plan", "status")),
        "orders": Gauge("Orders.", ("status",)),
        "outbox_depth": Gauge("Events that no sink was given yet."),
        "outbox_age_seconds": Gauge("How long the oldest of them waits."),
        "deliveries_depth": Gauge("Deliveries that wait or are dead.", ("sink", "state")),
        "deliveries_age_seconds": Gauge("How old the event of the oldest of them is.", ("sink", "state")),
        "queue_items": Gauge("Items of the finance queue that wait for a person.", ("kind",)),
        "queue_age_seconds": Gauge("How long the oldest of them waits.", ("kind",)),
        "deposits_held": Gauge(
            "Deposit addresses that hold something: waiting for a sweep, or stuck.", ("network", "state")
        ),
        "deposits_age_seconds": Gauge("How long the oldest of them holds it.", ("network", "state")),
        "unsealed_rows": Gauge("Rows of ledger and audit without a seal after five minutes; absent without a key."),
        "reader_block": Gauge("The last block that was read.", _BY_NETWORK),
        "reader_lag_blocks": Gauge("Blocks between it and the head, when it was read.", _BY_NETWORK),
        "reader_lag_seconds": Gauge("How old it is.", _BY_NETWORK),
        "finality_lag_blocks": Gauge("Blocks between the chain's finalized block and its head.", _BY_NETWORK),
        "network_halted": Gauge("1 while a network stands still until a person resumes it.", _BY_NETWORK),
        "leases_held": Gauge("Leases that somebody holds, by kind of work.", ("work",)),
        "mrr": Gauge("Monthly recurring revenue, in whole tokens.", _BY_ASSET),
        "arpu": Gauge("MRR for each paying customer, in whole tokens; absent without one.", _BY_ASSET),
        "paying_customers": Gauge("Customers who pay a subscription in any asset."),
        "payers": Gauge("Customers who pay a subscription in this asset.", _BY_ASSET),
        "received": Gauge("What came to treasuries since the beginning, in whole tokens.", _BY_ASSET),
        "received_payments": Gauge("How many payments that were.", _BY_ASSET),
        "refunded": Gauge("What went back since the beginning, in whole tokens.", _BY_ASSET),
        "revenue": Gauge("What was earned since the beginning, less what was given back, in whole tokens.", _BY_ASSET),
        "debt": Gauge("What is due and not paid, in whole tokens.", _BY_ASSET),
        "figures_age_seconds": Gauge("How old the figures of money are; absent before the first."),
        "worker_alive": Gauge("1 while somebody does this step of a worker.", ("step",)),
        "clock_skew_seconds": Gauge("How far this process's clock is ahead of the database's."),
    }
)
"""Gauges of the database; take the maximum over processes."""
