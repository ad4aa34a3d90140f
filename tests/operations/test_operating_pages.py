"""What the pages for operators say is held to the code: commands, metrics, alerts, steps, playbooks."""

from __future__ import annotations

import re
from functools import cache

import promql_parser
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from evmbilling.adapters.prometheus.catalogue import COUNTERS, GAUGES, HISTOGRAMS, PREFIX, VERIFIED
from evmbilling.cli.app import app
from evmbilling.doctor.checks import BEFORE, CHECKS
from evmbilling.engine.admin.admin import Admin
from evmbilling.engine.books.finance import Finance
from evmbilling.engine.messages.deliveries import Deliveries
from evmbilling.engine.messages.endpoints import Endpoints
from evmbilling.engine.refunds.refunds import Refunds
from evmbilling.engine.sending.sending import Sending
from evmbilling.factory import BillingEngine
from evmbilling.working import STEPS

METRICS = (
    {PREFIX + name for name in GAUGES}
    | {PREFIX + name for name in VERIFIED}
    | {f"{PREFIX}{name}_total" for name in COUNTERS}
    | {f"{PREFIX}{name}{part}" for name in HISTOGRAMS for part in ("_bucket", "_sum", "_count")}
)


@pytest.fixture(scope="module")
def pages(project):
    folder = project / "docs/operations"
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def rules(pages):
    (group,) = yaml.safe_load(pages["alerts.yml"])["groups"]
    return group["rules"]


@cache
def commands():
    return below(get_command(app))


def below(command, name=()):
    found = getattr(command, "commands", {})
    return {name: command} if not found else {k: v for n in found for k, v in below(found[n], (*name, n)).items()}


@pytest.mark.parametrize("name", list(commands()), ids=" ".join)
def test_every_command_has_help_and_answers_in_json(name):
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*name, "--help"])
    assert shown.exit_code == 0
    command = commands()[name]
    assert command.help
    assert all(given.help for given in command.params)
    options = {option for given in command.params for option in given.opts}
    assert "--json" in options or name in {("demo",), ("db", "sql"), ("db", "upgrade")}


def test_every_metric_of_a_rule_exists_and_its_expression_can_be_read(rules):
    for rule in rules:
        promql_parser.parse(rule["expr"])
        named = set(re.findall(r"\bevmbilling_\w+", rule["expr"]))
        assert named, rule
        assert named - METRICS == set(), rule
        for gauge in named & {PREFIX + name for name in GAUGES}:
            assert re.search(rf"(max|absent)[^=]*{gauge}", rule["expr"]), "a gauge is the same in every process"


LABELS = (
    {PREFIX + name: known.labels for name, known in (GAUGES | VERIFIED).items()}
    | {f"{PREFIX}{name}_total": known.labels for name, known in COUNTERS.items()}
    | {f"{PREFIX}{name}_count": known.labels for name, known in HISTOGRAMS.items()}
)


def test_every_label_of_a_rule_is_one_of_its_metrics(rules):
    for rule in rules:
        expression, summary = rule["expr"], rule["annotations"]["summary"]
        asked = set(re.findall(r"[{,](\w+)!?=", expression))
        kept = {name.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for name in group.split(",")}
        for metric in set(re.findall(r"\bevmbilling_\w+", expression)):
            assert asked | kept <= set(LABELS[metric]), rule
        assert set(re.findall(r"\$labels\.(\w+)", summary)) <= kept, rule


def test_every_metric_that_a_page_names_exists(pages):
    for name, text in pages.items():
        named = set(re.findall(r"\bevmbilling_[a-z_]+", text))
        assert named - METRICS == set(), name


def anchors(page):
    return {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", page, re.MULTILINE)
    }


def test_every_alert_has_a_playbook_with_all_it_needs(pages, rules):
    known = anchors(pages["playbooks.md"])
    for rule in rules:
        place, _, anchor = rule["annotations"]["playbook"].partition("#")
        assert place == "docs/operations/playbooks.md"
        assert anchor in known, rule["alert"]
        (section,) = (
            part for part in pages["playbooks.md"].split("\n## ") if anchor in anchors("## " + part.split("\n")[0])
        )
        for word in ("**It means**", "**Look at**", "**Do**", "**It is over**"):
            assert word in section, (anchor, word)


def test_links_between_the_pages_lead_somewhere(pages):
    known = anchors(pages["playbooks.md"])
    assert set(re.findall(r"playbooks\.md#([a-z-]+)", "".join(pages.values()))) <= known


def test_commands_and_options_of_the_pages_exist(pages):
    known = commands()
    for name, text in pages.items():
        for line in re.findall(r"evmbilling ((?:[a-z]+)(?: [^`\n#]*)?)", re.sub(r"(?m)^#.*$", "", text)):
            words = line.split()
            path = next((p for p in known if tuple(words[: len(p)]) == p), None)
            if path is None:
                assert words[0] not in {p[0] for p in known} or words[:1] == ["db"], (name, line)
                continue
            options = {option for given in known[path].params for option in given.opts}
            assert {word for word in words if word.startswith("--")} <= options, (name, line)


FACES = {
    "admin": Admin,
    "deliveries": Deliveries,
    "endpoints": Endpoints,
    "finance": Finance,
    "refunds": Refunds,
    "sending": Sending,
}


def test_calls_that_a_page_names_exist(pages):
    for name, text in pages.items():
        for face, method in re.findall(r"engine\.(\w+)\(actor\)\.(\w+)", text):
            assert hasattr(FACES[face], method), (name, face, method)
        for method in re.findall(r"engine\.(\w+)\(", text):
            assert hasattr(BillingEngine, method), (name, method)


def test_the_playbooks_of_an_installation_are_there(pages):
    wanted = {
        *("deep-reorganisation", "rpc-outage", "rotate-the-order-signing-key", "rotate-the-relayer-key"),
        *("rotate-a-webhook-secret", "backup-and-restore", "changed-contract-or-token", "upgrade"),
    }
    assert wanted <= anchors(pages["playbooks.md"])


def test_the_checks_of_the_page_are_the_table(pages):
    section = pages["running.md"].partition("## Is everything well")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*BEFORE, *CHECKS]


def test_the_steps_of_the_page_are_the_table(pages):
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d+ \w+) \| (\d+ \w+) \|$", pages["running.md"], re.MULTILINE)
    seconds = {"s": 1, "min": 60, "h": 3600}

    def read(text):
        number, unit = text.split()
        return int(number) * seconds[unit]

    assert {(name, read(pause), read(overdue)) for name, pause, overdue in rows} == {
        (step.name, step.pause, step.overdue) for step in STEPS
    }
