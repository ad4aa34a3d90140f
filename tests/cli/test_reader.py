"""``evmbilling reader``: the status of networks, and letting a halted one go on, over a real chain."""

from __future__ import annotations

import base64
import json
import shutil

import pytest
from typer.testing import CliRunner

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import _NO_SECRET, ADMIN, anvil_merchant, repeatable_secrets

WIDE = {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def place(tmp_path, databases):
    """A database of a merchant on a chain of its own, and that chain."""
    url = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'shop.db')}"
    with AnvilNode(chain_id=31337) as node:
        storage = SqlAlchemyStorage.open(url)
        engine = BillingEngine(storage=storage, secrets=repeatable_secrets())
        anvil_merchant(engine, node, irreversible_after="depth 3")
        yield url, node, engine
        engine.close()


def run(url, *arguments):
    keys = {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode()}
    return CliRunner(env=WIDE | keys).invoke(app, ["reader", *arguments])


def test_from_nothing_read_to_halted_and_on(place):
    url, node, engine = place
    assert run(url, "status").stdout == "local: nothing has been read\n"
    (told,) = json.loads(run(url, "status", "--json").stdout)["networks"]
    assert (told["network"], told["chain_id"], told["block"], told["halt"]) == ("local", 31337, None, None)

    node.mine(8)
    engine.read_chain("local")
    (told,) = json.loads(run(url, "status", "--json").stdout)["networks"]
    head = node.block_number
    assert told["block"]["number"] == told["head"] == head
    assert told["block"]["hash"] == node.block_hash(head)
    assert (told["irreversible"]["number"], told["unavailable"], told["parked"]) == (head - 2, None, {})
    assert told["lag_seconds"] >= 0
    assert run(url, "status").stdout.startswith(f"local: block {head}, ")
    refused = run(url, "resume", "local", "--accept", node.block_hash(head))
    assert (refused.exit_code, refused.stderr) == (1, "error: network: this network is not halted\n")

    node.reorg(5)
    node.mine()
    assert engine.read_chain("local").outcome == "halted"
    words = run(url, "status").stdout
    (told,) = json.loads(run(url, "status", "--json").stdout)["networks"]
    contested = told["contested"]["number"]
    assert "HALTED since " in words
    assert f"contested block {contested} {told['contested']['hash']}" in words
    assert (told["unavailable"], told["halt"]["reason"]) == ("halted", "reorg_below_irreversible")

    wrong = run(url, "resume", "local", "--accept", told["contested"]["hash"], "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.stdout)["error"]["field"] == "accept"
    assert run(url, "resume", "local", "--accept", "0x12").exit_code == 2
    assert run(url, "resume", "nowhere", "--accept", "0x" + "12" * 32).exit_code == 2
    accept = node.block_hash(contested)
    done = run(url, "resume", "local", "--accept", accept, "--by", "anna", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["network"], told["accepted"]["hash"]) == ("local", accept)
    assert told["ancestor"]["hash"] == node.block_hash(told["ancestor"]["number"])
    assert engine.admin(ADMIN).audit(object_="network:local")[-1].actor == "anna"
    assert engine.read_chain("local").outcome == "read"
    assert run(url, "status").stdout.startswith(f"local: block {node.block_number}, ")


def test_in_words_it_says_where_reading_goes_on(place):
    url, node, engine = place
    node.mine(8)
    engine.read_chain("local")
    node.reorg(5)
    node.mine()
    assert engine.read_chain("local").outcome == "halted"
    (told,) = json.loads(run(url, "status", "--json").stdout)["networks"]
    done = run(url, "resume", "local", "--accept", node.block_hash(told["contested"]["number"]))
    assert done.exit_code == 0
    assert done.stdout.startswith("local goes on above block ")
