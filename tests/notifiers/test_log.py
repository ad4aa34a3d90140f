"""The log notifier."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.adapters.notifiers.log import LogNotifier, one_line
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.plugins.conformance import problems
from evmbilling.ports.notifier import Notifier

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**data):
    return Event(
        event_id="018f0000-0000-7000-8000-000000000001",
        type=EventType.PLAN_CHANGED,
        aggregate="customer:ann",
        seq=3,
        occurred_at=NOON,
        recorded_at=NOON,
        data=data,
    )


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG, logger="evmbilling.events")
    return caplog


def test_it_conforms():
    assert problems(LogNotifier, Notifier) == ()
    assert problems(LogNotifier(), Notifier) == ()


def test_an_event_is_one_line_of_json(lines):
    LogNotifier().notify(event(new_plan="pro", amount="19990000"))
    (record,) = lines.records
    assert record.levelno == logging.INFO
    assert json.loads(record.getMessage()) == {
        "id": "018f0000-0000-7000-8000-000000000001",
        "type": "billing.plan.changed.v1",
        "subject": "customer:ann",
        "seq": 3,
        "time": "2026-03-01T12:00:00+00:00",
        "recorded": "2026-03-01T12:00:00+00:00",
        "data": {"new_plan": "pro", "amount": "19990000"},
    }
    assert record.billing_event["data"] == {"new_plan": "pro", "amount": "19990000"}


def test_logger_and_level_can_be_chosen(caplog):
    caplog.set_level(logging.DEBUG, logger="shop.billing")
    LogNotifier(logger="shop.billing", level=logging.WARNING).notify(event())
    assert [(r.name, r.levelname) for r in caplog.records] == [("shop.billing", "WARNING")]


HOSTILE = [
    "\r\nINFO forged line",
    "\x1b[2J\x1b]0;title\x07",
    '"},"type":"forged"',
    "\ud800",
    "\x00\x7f\x85\u2028\u202e",
    "%s%n",
]


@pytest.mark.fault("H19")
@pytest.mark.parametrize("text", HOSTILE)
def test_h19_control_characters_cannot_break_a_log_line(lines, text):
    LogNotifier().notify(event(plan=text))
    message = lines.records[0].getMessage()
    assert message.isascii()
    assert message.isprintable()
    assert json.loads(message)["data"] == {"plan": text}


@given(text=st.text(max_size=40), key=st.text(max_size=10))
def test_any_text_comes_back_from_its_line(text, key):
    line = one_line({key: text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {key: text}


def test_a_value_that_is_no_json_is_shown_as_text(lines):
    LogNotifier().notify(event(at=NOON))
    assert json.loads(lines.records[0].getMessage())["data"] == {"at": "2026-03-01 12:00:00+00:00"}
