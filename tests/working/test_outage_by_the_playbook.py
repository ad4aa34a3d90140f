"""A night shift: a network stops, its alert is true on the worker's own page, the playbook is followed, it is over."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from promql import Prometheus
from typer.testing import CliRunner
from worker_bench import Shop, Worker, eventually, open_shop

from evmbilling.cli.app import app
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.rpc_proxy import RpcProxy

ALERT = "BillingReaderLags"
AN_HOUR, NEARLY = 3600, 290
"""Seconds: how old the chain is when it starts, and how old its blocks are until it stops."""
PAUSE = 0.5
"""Seconds between two looks: each reads the whole page and every rule."""


@pytest.fixture
def old_shop(tmp_path: Path, databases) -> Iterator[Shop]:
    """A shop on a chain of its own that began an hour ago, so that a block can be as old as a test wants."""
    with (
        AnvilNode(chain_id=31341, timestamp=int(time.time()) - AN_HOUR) as node,
        open_shop(tmp_path, databases.sqlite_template, node) as shop,
    ):
        yield shop


class Shift:
    """What somebody on call has: the worker's page on a Prometheus, the rules, the playbook, a shell."""

    def __init__(self, shop: Shop, worker: Worker, docs: Path) -> None:
        self.shop, self.worker, self.server = shop, worker, Prometheus()
        (group,) = yaml.safe_load((docs / "alerts.yml").read_text())["groups"]
        self.rules = {rule["alert"]: rule for rule in group["rules"]}
        self.playbooks = (docs / "playbooks.md").read_text()

    def firing(self) -> set[str]:
        status, page = self.worker.get("/metrics")
        assert status == 200, page
        self.server.scrape(time.time(), page)
        return {name for name, rule in self.rules.items() if self.server.fires(rule["expr"])}

    def playbook(self, alert: str) -> dict[str, str]:
        """The parts of the alert's playbook, by their bold words."""
        anchor = self.rules[alert]["annotations"]["playbook"].partition("#")[2]
        sections = self.playbooks.split("\n## ")
        (section,) = (s for s in sections if s.partition("\n")[0].lower().replace(" ", "-") == anchor)
        return dict(re.findall(r"\* \*\*([\w ]+)\*\*:? (.+?)(?=\n\* \*\*|\Z)", section, re.DOTALL))

    def run(self, command: str) -> tuple[int, str]:
        told = CliRunner(env=self.shop.environment()).invoke(app, command.split()[1:])
        return told.exit_code, told.stdout


def _goes_on(node: AnvilNode) -> bool:
    """Mine a block a second, each nearly as old as a block may be."""
    instant = int(time.time()) - NEARLY
    block = node.block()
    assert block is not None
    if instant > int(block["timestamp"], 16):
        node.mine(timestamp=instant)
    return True


def test_a_network_that_stops_is_an_alert_and_its_playbook_ends_it(old_shop: Shop, project: Path) -> None:
    shop = old_shop
    admin = shop.engine.admin(ADMIN)
    with (
        RpcProxy(shop.node.url) as provider,
        RpcProxy(shop.node.url) as another,
        shop.working("--json", "--health-port", "0") as worker,
    ):
        network = admin.update_network("local", version=1, rpc_urls=[provider.url])
        shift = Shift(shop, worker, project / "docs/operations")
        eventually(lambda: _goes_on(shop.node) and shift.firing() == set(), worker.err, pause=PAUSE)

        provider.stop()
        eventually(lambda: ALERT in shift.firing(), worker.err, pause=PAUSE)
        assert shift.firing() <= {ALERT, "BillingReadsFail", "BillingNodeFails"}

        steps = shift.playbook(ALERT)
        commands = [c for c in re.findall(r"`([^`]+)`", steps["Look at"]) if c.startswith("evmbilling ")]
        assert commands == ["evmbilling doctor", "evmbilling reader status"]
        code, told = shift.run(commands[0] + " --json")
        failed = {f["check"]: f for f in json.loads(told)["findings"] if f["verdict"] == "fail"}
        assert code == 1
        assert "the playbook RPC outage" in failed["nodes"]["advice"]
        code, told = shift.run(commands[1])
        assert (code, "local" in told) == (0, True)
        assert "evmbilling_node_events_total" in steps["Look at"]
        page = worker.get("/metrics")[1]
        assert 'event="rpc_failed",network="local",reason="no_connection"' in page
        assert 'evmbilling_rpc_errors_total{network="local",node="node 1 of 1"}' in page
        assert 'evmbilling_rpc_seconds_count{network="local",node="node 1 of 1"}' in page

        assert "add a node to the network's `rpc_urls`" in steps["Do"]
        admin.update_network("local", version=network.version, rpc_urls=[provider.url, another.url])
        shop.node.mine(timestamp=int(time.time()))

        assert "evmbilling_reader_lag_seconds" in steps["It is over"]
        eventually(lambda: ALERT not in shift.firing(), worker.err, seconds=90, pause=PAUSE)
        shop.pay("user-1")
        eventually(lambda: shop.engine.access("user-1").allowed, worker.err)
        assert worker.end() == 0
