"""Our own notifiers pass the kit that authors of notifiers use."""

from __future__ import annotations

import email
import email.policy
import json
import logging

import pytest

from evmbilling.adapters.notifiers.email import EmailNotifier
from evmbilling.adapters.notifiers.log import LogNotifier
from evmbilling.testing.conformance import NotifierConformance


class Lines(logging.Handler):
    """What a host's log file would hold."""

    def __init__(self):
        super().__init__()
        self.told = []

    def emit(self, record):
        (line,) = self.format(record).splitlines()
        self.told.append(json.loads(line))

    def names(self):
        return [one["id"] for one in self.told]

    def data(self):
        return [one["data"] for one in self.told]


class TestLog(NotifierConformance):
    capabilities = frozenset({"carries_data"})

    @pytest.fixture
    def outlet(self):
        lines, logger = Lines(), logging.getLogger("evmbilling.conformance")
        logger.setLevel(logging.INFO)
        logger.addHandler(lines)
        yield lines
        logger.removeHandler(lines)

    @pytest.fixture
    def notifier(self, outlet):
        return LogNotifier(logger="evmbilling.conformance")


class Post:
    """A mail server, and the host's contacts."""

    def __init__(self):
        self.sent, self.fails_at, self.address = [], 0, "ann@shop.example"

    def send(self, message):
        self.fails_at -= 1
        if self.fails_at == 0:
            raise ConnectionResetError("the mail server went away")
        self.sent.append(email.message_from_bytes(message.as_bytes(), policy=email.policy.default))

    def email(self, _):
        return self.address

    def names(self):
        assert {message["to"] for message in self.sent} <= {"ann@shop.example"}
        assert all(message["bcc"] is None and not message.defects for message in self.sent)
        return [message["message-id"] for message in self.sent]

    def refuse_next(self, number):
        self.fails_at = number

    def refuse_for_good(self):
        self.address = "nobody\r\nBcc: everybody@example.com"


class TestEmail(NotifierConformance):
    capabilities = frozenset({"breakable", "permanent_failure"})

    @pytest.fixture
    def outlet(self):
        return Post()

    @pytest.fixture
    def notifier(self, outlet):
        return EmailNotifier(transport=outlet, sender="billing@shop.example", contacts=outlet)
