"""What is logged is held to the list: loggers, fields, one line for a payment, no floods, no forged lines."""

from __future__ import annotations

import ast
import json
import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "http"))

from http_hosts import CORRELATION, HOSTS

from evmbilling import BillingEngine
from evmbilling.cli.logs import JsonLines, PlainLines, fields_of
from evmbilling.domain.log_fields import FIELDS, LOGGERS
from evmbilling.engine.sampling import Sampler
from evmbilling.errors import WebhookRejected
from evmbilling.testing.merchant import simulated_merchant


def trees(project):
    for path in (project / "src/evmbilling").rglob("*.py"):
        text = path.read_text()
        if "import logging" in text:
            yield path, ast.parse(text)


def strings_of_calls(tree, name):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == name:
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def fields_logged(tree):
    """The keys of every dictionary that is given as ``extra``, or that a function has under a name given so."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        inside = list(ast.walk(function))
        given = [k.value for node in inside if isinstance(node, ast.Call) for k in node.keywords if k.arg == "extra"]
        names = {node.id for value in given for node in ast.walk(value) if isinstance(node, ast.Name)}
        for node in inside:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets += [node.target] if isinstance(node, ast.AnnAssign) else []
            given += [node.value for t in targets if getattr(t, "id", "") in names]
            keys = [t.slice for t in targets if isinstance(t, ast.Subscript) and getattr(t.value, "id", "") in names]
            yield from (key.value for key in keys)
        if function.name == "fields":
            given += [node.value for node in inside if isinstance(node, ast.Return)]
        for dictionary in (part for value in given for part in ast.walk(value) if isinstance(part, ast.Dict)):
            yield from (key.value for key in dictionary.keys if key is not None)  # None: what is merged in


def test_every_logger_and_field_of_the_source_is_in_the_list_and_no_other(project):
    loggers, fields = set(), set()
    for path, tree in trees(project):
        if "cli" in path.parts or "testing" in path.parts:
            continue
        loggers |= {name for name in strings_of_calls(tree, "getLogger") if name.startswith("evmbilling")}
        fields |= set(fields_logged(tree))
    loggers -= {"evmbilling"}  # the parent of all, which has a handler for hosts without any, and logs nothing itself
    assert loggers | {"evmbilling.events"} == set(LOGGERS)
    assert fields == set(FIELDS)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "evmbilling")

    def told(logger):
        return [(record.getMessage(), fields_of(record)) for record in caplog.records if record.name == logger]

    return told


def test_a_payment_is_a_line_each_time_it_comes_to_stand_somewhere_else(lines):
    shop = simulated_merchant(seed=6)
    offer = shop.checkout()
    shop.chain.pay(offer.order)
    shop.settle(1)
    shop.settle(3)
    with shop.engine._ports.storage.unit(write=False) as unit:
        (receipt,) = unit.receipts_of_orders([offer.ledger_id])
    told = lines("evmbilling.intake")
    assert [message for message, _ in told] == ["payment seen", "payment credited"]
    for _, fields in told:
        assert fields["ledger_id"] == offer.ledger_id
        assert fields["user_id"] == "user-1"
        assert fields["tx_hash"] == "0x" + receipt.identity.tx_hash.hex()
        assert (fields["contract_slug"], fields["network"]) == ("checkout", "local")
        assert fields.keys() <= FIELDS.keys()
    shop.chain.reorganise(4)
    shop.settle(6)
    assert lines("evmbilling.intake")[-1][0] == "payment reversed"
    assert [fields["depth"] for _, fields in lines("evmbilling.reader")] == [4]


def test_nothing_is_logged_of_what_was_not_committed(lines, monkeypatch):
    shop = simulated_merchant(seed=6)
    shop.chain.pay(shop.checkout().order)
    shop.chain.mine(3)
    shop.engine.read_chain("local")

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(type(shop.engine._ports.storage.unit().__enter__()), "apply", fails)
    with pytest.raises(MemoryError):
        shop.engine.run_intake()
    assert lines("evmbilling.intake") == []


@pytest.mark.fault("G10")
def test_g10_strangers_cannot_fill_the_log(lines):
    shop = simulated_merchant()
    engine = BillingEngine(
        storage=shop.engine._ports.storage, relay_keys=(bytes(range(32)),), secrets=shop.engine._ports.secrets
    )
    for number in range(1000):
        with pytest.raises(WebhookRejected):
            engine.handle_webhook("relay", b"{}", {"webhook-id": f"{number}\r\nFORGED"})
    told = lines("evmbilling.webhooks")
    assert [fields["times"] for _, fields in told] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert "FORGED" not in repr(told)


@pytest.mark.fault("G10")
def test_g10_kinds_that_strangers_invent_are_bounded():
    sampler = Sampler()
    told = [sampler.times(f"kind {number}") for number in range(100_000)]
    assert sum(times is not None for times in told) < 300
    assert sampler.times("kind 0") == 2


@pytest.mark.fault("H19")
def test_h19_no_field_and_no_sentence_can_forge_a_line():
    evil = 'x\r\n\x1b[2J\u2028{"level": "ERROR"}\x00'
    record = logging.makeLogRecord({"name": "evmbilling.http", "msg": evil} | dict.fromkeys(FIELDS, evil))
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["user_id"] == evil
    assert PlainLines().format(record).isprintable()


@pytest.mark.parametrize("name", sorted(HOSTS))
def test_what_is_logged_within_a_request_has_the_id_that_its_caller_was_told(name, lines):
    shop = simulated_merchant()
    engine = BillingEngine(
        storage=shop.engine._ports.storage, relay_keys=(bytes(range(32)),), secrets=shop.engine._ports.secrets
    )
    reply = HOSTS[name](engine).ask("POST", "/contracts/webhook", json={"chain_id": 1})
    ((_, fields),) = lines("evmbilling.webhooks")
    assert reply.status >= 400
    assert fields["correlation_id"] == reply.headers["x-correlation-id"] == CORRELATION
    with pytest.raises(WebhookRejected):
        engine.handle_webhook("relay", b"{}", {})
    assert "correlation_id" not in lines("evmbilling.webhooks")[-1][1]
