"""`evmbilling overview`: words, JSON and CSV, and what cannot be asked."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from typer.testing import CliRunner

from evmbilling.cli.app import app
from evmbilling.testing.merchant import _NO_SECRET

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def run(open_shop):
    shop = open_shop("sqlite")
    shop.shop.buy("user-1")
    shop.shop.buy("user-2", plan="yearly")
    url = shop.engine._ports.storage._engine.url.render_as_string(hide_password=False)
    keys = {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode()}
    stretch = ("--since", "2026-01-01", "--until", "2026-02-28")
    return lambda *arguments: CliRunner(env=WIDE | keys).invoke(app, ["overview", *stretch, *arguments])


def test_in_words_in_json_and_as_csv(run):
    assert "0 paying customers" in run().stdout, "figures are as new as the last folding"
    words = run("--fold", "--zone", "Europe/Berlin").stdout
    assert "2 paying customers" in words
    assert "tUSD on chain 31337: received 39.98 in 2, refunded 0 in 0, revenue 0" in words
    assert "MRR in tUSD on chain 31337: 0 + 21.655833 new" in words
    told = json.loads(run("--json").stdout)
    assert told["customers"] == 2
    assert told["mrr"][0]["end"] == {"base_units": "21655833", "display": "21.655833", "exact": "64967500/3"}
    assert [row["span"]["label"] for row in told["by"]["mrr"]] == ["2026-01-01", "2026-02-01"]
    rows = list(csv.DictReader(io.StringIO(run("--csv", "mrr", "--by", "week").stdout)))
    assert rows[0]["new"] == "21.655833"
    assert run("--json", "--as-of", "2026-01-31T12:00:00").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--csv", "secrets"), "csv"),
        (("--zone", "Mars"), "zone"),
        (("--as-of", "then"), "as_of"),
        (("--by", "hour"), "by"),
    ],
)
def test_what_cannot_be_asked_is_named(run, arguments, field):
    answer = run("--json", *arguments)
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == field
