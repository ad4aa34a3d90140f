"""Every alert is quiet while all is well, and true when that is wrong which it is there for; alone, where it can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
import pytest
import yaml
from promql import Prometheus, Scrape

from evmbilling.adapters.prometheus import PrometheusTelemetry, render, write_verified
from evmbilling.cli.demo.runner import run_steps
from evmbilling.cli.demo.steps import STEPS
from evmbilling.cli.demo.world import World
from evmbilling.domain.catalogue.catalogue import Finality
from evmbilling.domain.reading.evidence import Lease
from evmbilling.domain.reading.watching import SIGN_OF_LIFE, Business, Depth, Figures, NetworkFigures
from evmbilling.factory import BillingEngine
from evmbilling.integrations.metrics import metrics_page
from evmbilling.working import STEPS as WORK

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERY, SCRAPES = 5, 13
"""Minutes between two scrapes, and how many there are: an hour of them."""


def lease(step, **ends):
    return Lease(name=SIGN_OF_LIFE + step, owner="x", fence=1, until=NOW + timedelta(**ends))


NETWORK = NetworkFigures(
    network="main",
    chain_id=1,
    head=1000,
    block=999,
    block_time=NOW - timedelta(seconds=12),
    finalized=940,
    irreversible_after=Finality("finalized"),
    halted=None,
)
WELL = Figures(
    now=NOW,
    clock=NOW + timedelta(seconds=1),
    orders={"confirmed": 3},
    outbox=Depth(2, NOW - timedelta(seconds=3)),
    deliveries={("notifier:log", "waiting"): Depth(1, NOW - timedelta(minutes=1))},
    queue={"suspense": Depth(1, NOW - timedelta(hours=5))},
    deposits={("main", "waiting"): Depth(2, NOW - timedelta(days=9))},
    unsealed=0,
    networks=(NETWORK,),
    leases=tuple(lease(step.name, seconds=50) for step in WORK),
    business=Business(complete_at=NOW - timedelta(minutes=1)),
)


def node(**changes):
    return {"networks": (attrs.evolve(NETWORK, **changes),)}


def waits(sink, state, **age):
    return {"deliveries": {(sink, state): Depth(1, NOW - timedelta(**age))}}


def decides(kind, **age):
    return {"queue": {kind: Depth(1, NOW - timedelta(**age))}}


NODE = {"network": "main", "node": "node 1 of 2"}
ANSWERED = [("rpc_milliseconds", 40, NODE), ("rpc_calls", 3, NODE)]
SILENT = [*ANSWERED, ("rpc_errors", 2, NODE)]
WRONG = {
    "BillingNoWorker": {"figures": {"leases": ()}},
    "BillingWorkerGone": {"figures": {"leases": (*WELL.leases[1:], lease("readers", seconds=-1))}},
    "BillingReaderLags": {"figures": node(block_time=NOW - timedelta(seconds=301))},
    "BillingReadsFail": {"minutely": [("reads_failed", 1, {"network": "main", "reason": "rpc_unknown"})]},
    "BillingNodeFails": {"minutely": SILENT},
    "BillingNetworkHalted": {"figures": node(halted="deep_reorg")},
    "BillingPaymentsDisputed": {"figures": decides("disputed", seconds=1)},
    "BillingReorgs": {"minutely": [("reorgs", 1, {"network": "main", "depth": "2"})]},
    "BillingFinalityLags": {"figures": node(finalized=499)},
    "BillingEvidenceParked": {"minutely": [("evidence_parked", 2, {"reason": "no_agreement"})]},
    "BillingChargesWait": {"minutely": [("charge_attempts", 2, {"outcome": "left", "reason": "no_key"})]},
    "BillingDepositsStuck": {"figures": {"deposits": {("main", "stuck"): Depth(1, NOW - timedelta(hours=1))}}},
    "BillingDepositsPutOff": {"minutely": [("deposits_put_off", 1, {"network": "main", "reason": "configuration"})]},
    "BillingOutboxOld": {"figures": {"outbox": Depth(1, NOW - timedelta(seconds=301))}},
    "BillingDeliveriesOld": {"figures": waits("webhook:a", "waiting", minutes=61)},
    "BillingDeadLetters": {"figures": waits("webhook:a", "dead", minutes=1)},
    "BillingSealsLag": {"figures": {"unsealed": 1}},
    "BillingClockSkewed": {"figures": {"clock": NOW - timedelta(seconds=31)}},
    "BillingSchedulerHalted": {"minutely": [("scheduler_halted", 1, {"reason": "clock_ahead"})]},
    "BillingContractHalted": {"figures": decides("contract_halted", seconds=1)},
    "BillingQueueOld": {"figures": decides("held", days=3, seconds=1)},
    "BillingWebhooksRefused": {"minutely": [("webhooks_rejected", 13, {"reason": "bad_signature"})]},
    "BillingFiguresOld": {"figures": {"business": Business(complete_at=NOW - timedelta(seconds=3601))}},
    "BillingBooksDiffer": {"differences": ["balance_differs"]},
    "BillingBooksUnproved": {"differences": ["unproved"]},
    "BillingNotVerified": {"verified": NOW - timedelta(days=2, seconds=1)},
}
WELL_ENOUGH = [
    *ANSWERED,
    ("charge_attempts", 1, {"outcome": "failed", "reason": "allowance"}),
    ("webhooks_rejected", 2, {"reason": "bad_signature"}),
]


@pytest.fixture(scope="module")
def rules(project):
    (group,) = yaml.safe_load((project / "docs/operations/alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def server(folder, *, figures=None, minutely=(), differences=(), verified=NOW):
    """What a server has after an hour; the figures are the same in every scrape."""
    told, kept = PrometheusTelemetry(), Prometheus()
    write_verified(folder / "billing.prom", differences, verified.timestamp())
    for number in range(SCRAPES):
        for name, value, labels in (*WELL_ENOUGH, *minutely) * EVERY:
            told.count(name, value, **labels)
        page = render(partial(attrs.evolve, WELL, **(figures or {})), told).decode()
        at = NOW - timedelta(minutes=EVERY * (SCRAPES - 1 - number))
        kept.scrape(at.timestamp(), page, (folder / "billing.prom").read_text())
    return kept


def firing(rules, kept):
    return {name for name, expression in rules.items() if kept.fires(expression)}


def test_no_alert_fires_while_all_is_well(rules, tmp_path):
    assert firing(rules, server(tmp_path)) == set()


@pytest.mark.parametrize("alert", WRONG)
def test_an_alert_fires_for_what_it_is_there_for_and_no_other_does(rules, tmp_path, alert):
    assert firing(rules, server(tmp_path, **WRONG[alert])) == {alert}


def test_no_process_that_shows_metrics_is_an_alert_and_no_other(rules):
    assert firing(rules, Prometheus([Scrape.of(NOW.timestamp(), "")])) == {"BillingNotScraped"}


def test_every_alert_is_among_these(rules):
    assert rules.keys() == {*WRONG, "BillingNotScraped"}


def test_the_alerts_on_a_scrape_of_the_demo(rules, tmp_path, monkeypatch):
    """The demo lets months pass on its own clock and starts no worker: two alerts say so, and nothing else is wrong."""
    telemetry = PrometheusTelemetry()
    monkeypatch.setattr(BillingEngine, "from_settings", partial(BillingEngine.from_settings, telemetry=telemetry))
    world, kept = World(folder=tmp_path), Prometheus()
    try:
        for outcome in run_steps(STEPS, world, lambda _: None):
            assert outcome.ok, outcome
            if "engine" in vars(world):
                page = metrics_page(world.engine)
                assert page.status == 200
                kept.scrape(float(len(kept.scrapes)), page.body.decode())
    finally:
        world.close()
    assert len(kept.scrapes) > 20
    last = {name for name, _ in kept.scrapes[-1].series}
    assert {"evmbilling_reorgs_total", "evmbilling_rpc_seconds_count", "evmbilling_orders"} <= last
    assert firing(rules, kept) == {"BillingNoWorker", "BillingClockSkewed"}
    ((_, behind),) = [(k, v) for k, v in kept.scrapes[-1].series.items() if k[0] == "evmbilling_clock_skew_seconds"]
    assert behind > timedelta(days=30).total_seconds()
