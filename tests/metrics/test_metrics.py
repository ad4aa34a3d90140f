"""Metrics: gauges equal the database, counters are counted, and series are bounded whatever is counted."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evmbilling import BillingEngine
from evmbilling.adapters.prometheus import COUNTERS, GAUGES, HISTOGRAMS, LIMIT, PrometheusTelemetry, render
from evmbilling.adapters.prometheus.catalogue import NOT_COUNTED, SERIES
from evmbilling.domain.reading.watching import Depth, Figures
from evmbilling.integrations.metrics import make_telemetry, metrics_page
from evmbilling.testing.merchant import ADMIN, simulated_merchant


def read(body: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                name = sample.name.removeprefix("evmbilling_")
                found.setdefault(name, {})[tuple(sample.labels.values())] = sample.value
    return found


def scrape(engine: BillingEngine) -> dict[str, dict[tuple[str, ...], float]]:
    page = metrics_page(engine)
    assert page.status == 200
    assert page.content_type.startswith("text/plain")
    return read(page.body)


@pytest.mark.fault("G06")
def test_g06_gauges_equal_the_database():
    shop = simulated_merchant(seed=3)
    for number in range(4):
        shop.buy(f"user-{number}")
    shop.checkout("late")
    shop.engine.cancel_subscription(shop.engine.subscriptions("user-1")[0].subscription_id, when="now")
    shop.engine.watch.beat(["readers", "intake"])
    shop.engine._ports.storage.acquire_lease("reader:31337", "x", 60)
    shop.chain.mine(2)
    told = scrape(shop.engine)
    tables = shop.engine._ports.storage._committed
    orders = [order.status for order in tables.orders.values()]
    assert told["orders"] == {(str(status),): orders.count(status) for status in set(orders)}
    kept = [(s.plan_slug, str(s.status)) for s in tables.subscriptions.values()]
    assert told["subscriptions"] == {key: kept.count(key) for key in set(kept)}
    assert len(told["subscriptions"]) > 1
    unsent = tables.unsent.values()
    assert told["outbox_depth"] == {(): len(unsent)}
    oldest = shop.clock.now() - min(event.recorded_at for event in unsent)
    assert told["outbox_age_seconds"] == {(): oldest.total_seconds()}
    (status,) = shop.engine.reader(ADMIN).status()
    assert told["reader_block"] == {("local",): status.cursor.block.number}
    assert told["reader_lag_seconds"] == {("local",): status.lag.total_seconds()}
    heights = status.cursor.heights
    assert told["finality_lag_blocks"] == {("local",): heights.head - heights.finalized}
    assert told["network_halted"] == {("local",): 0}
    assert told["worker_alive"] == {("intake",): 1, ("readers",): 1}
    assert told["leases_held"] == {("reader",): 1}
    assert "unsealed_rows" not in told
    shop.clock.advance(seconds=61)
    assert scrape(shop.engine)["worker_alive"] == {("intake",): 0, ("readers",): 0}


def test_sinks_are_counted_by_name_and_endpoints_together():
    now = simulated_merchant().clock.now()
    lanes = {
        ("notifier:log", "waiting"): Depth(2, now - timedelta(seconds=5)),
        ("webhook:a", "dead"): Depth(1, now - timedelta(seconds=9)),
        ("webhook:b", "dead"): Depth(3, now - timedelta(seconds=7)),
    }
    told = read(render(lambda: Figures(now=now, clock=now, deliveries=lanes, unsealed=4), None))
    assert told["deliveries_depth"] == {("log", "waiting"): 2, ("webhook", "dead"): 4}
    assert told["deliveries_age_seconds"] == {("log", "waiting"): 5, ("webhook", "dead"): 9}
    assert told["unsealed_rows"] == {(): 4}
    assert told.keys() <= GAUGES.keys()


def test_what_an_engine_counts_is_on_its_own_page_only():
    telemetry = PrometheusTelemetry()
    shop, other = simulated_merchant(), simulated_merchant()
    engine = BillingEngine(storage=shop.engine._ports.storage, telemetry=telemetry)
    telemetry.count("blocks_read", 7, network="local")
    telemetry.count("rpc_switched", network="local", node="node 1 of 2", reason="timeout")
    telemetry.count("never_heard_of", colour="red")
    telemetry.count("seal_lag_rows", 3)
    told = scrape(engine)
    assert told["blocks_read_total"] == {("local",): 7}
    assert told["node_events_total"] == {("rpc_switched", "local", "timeout"): 1}
    assert told["other_total"] == {(): 1}
    assert "blocks_read_total" not in scrape(other.engine)
    assert "blocks_read_total" not in read(render(shop.engine.watch.figures, PrometheusTelemetry()))


@pytest.mark.fault("H21")
def test_h21_ten_thousand_labels_make_a_bounded_number_of_series():
    telemetry = PrometheusTelemetry()
    for number in range(10_000):
        wild = f"v{number}"
        telemetry.count("deliveries", sink=wild, outcome="done")
        telemetry.count("reorgs", network=f"/v1/{number}?wallet=0x{number:040x}", depth=str(number))
        telemetry.count(f"made_up_{number}", path=wild)
        telemetry.count(f"rpc_{number}", network=wild, node=wild, reason="timeout")
        telemetry.count("webhooks_rejected", reason=f"0x{number:064x}")
    figures = Figures(
        now=simulated_merchant().clock.now(),
        clock=simulated_merchant().clock.now(),
        subscriptions={(f"plan-{number}", "active"): 1 for number in range(10_000)},
    )
    for first in range(100):
        for second in range(100):
            telemetry.count("reads_failed", network=f"n{first}", reason=f"r{second}")
    told = read(render(lambda: figures, telemetry))
    assert {name for name, series in told.items() if len(series) > SERIES + 1} == set()
    assert sum(map(len, told.values())) < 2000
    assert sum(told["reads_failed_total"].values()) == 10_000
    assert len(told["reads_failed_total"]) == SERIES + 1
    assert len(told["node_events_total"]) == LIMIT + 1
    assert len(told["deliveries_total"]) == LIMIT + 1
    assert told["deliveries_total"]["done", "other"] == 10_000 - LIMIT
    assert {network for _, network in told["reorgs_total"]} == {"other"}
    assert len(told["reorgs_total"]) == 15
    assert told["webhooks_rejected_total"] == {("other",): 10_000}
    assert sum(told["subscriptions"].values()) == 10_000


def test_what_is_measured_has_buckets_and_nodes_have_their_names():
    telemetry = PrometheusTelemetry()
    for milliseconds in (4, 40, 40_000):
        telemetry.count("rpc_milliseconds", milliseconds, network="local", node="node 1 of 2")
    telemetry.count("rpc_milliseconds", 7, network="local", node=" a url? https://x.example/v2/0123456789abcdef01 ")
    shop = simulated_merchant()
    engine = BillingEngine(storage=shop.engine._ports.storage, telemetry=telemetry)
    told = scrape(engine)
    assert told["rpc_seconds_count"] == {("local", "node 1 of 2"): 3, ("local", "other"): 1}
    assert told["rpc_seconds_sum"]["local", "node 1 of 2"] == 40.044
    edges = {edge: n for (edge, _, node), n in told["rpc_seconds_bucket"].items() if node == "node 1 of 2"}
    assert (edges["0.01"], edges["0.05"], edges["30.0"], edges["+Inf"]) == (1, 2, 2, 3)


def test_what_the_intake_counts_is_what_it_stored():
    telemetry = PrometheusTelemetry()
    shop = simulated_merchant(seed=4, telemetry=telemetry)
    shop.buy("user-1")
    shop.chain.mine(20)
    shop.settle()
    told = scrape(shop.engine)
    assert told["payments_total"] == {("local", "credited"): 1, ("local", "final"): 1}
    assert told["confirmations_waited_count"] == {("local",): 1}
    assert told["confirmations_waited_sum"] == {("local",): 3}
    assert told["contract_events_total"] == {("local",): 2}  # the payment, and the transfer of its token


def test_every_count_of_the_source_is_in_the_list(project):
    core = [*(project / "src/evmbilling").glob("[dep]*/**/*.py"), project / "src/evmbilling/adapters/evm/nodes.py"]
    named = {name for path in core for name in re.findall(r'telemetry\.count\(\s*"([a-z_]+)"', path.read_text())}
    assert len(named) > 20
    measured = {known.counted for known in HISTOGRAMS.values()}
    assert measured <= named
    assert named - COUNTERS.keys() - NOT_COUNTED - measured == set()
    assert COUNTERS.keys() - named == {"node_events", "other"}


ADAPTERS = ("evmbilling.adapters.prometheus", "evmbilling.adapters.opentelemetry")


def test_without_the_extra_the_reason_is_said(monkeypatch):
    real = importlib.util.find_spec

    def absent(name, package=None):
        return None if name in {"prometheus_client", "opentelemetry"} else real(name, package)

    for name in [name for name in sys.modules if name.startswith(ADAPTERS)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    page = metrics_page(simulated_merchant().engine)
    assert page.status == 503
    assert json.loads(page.body)["code"] == "missing_extra"
    assert "evmbilling[metrics]" in json.loads(page.body)["reason"]
    assert make_telemetry() is None
