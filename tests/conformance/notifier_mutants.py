"""Notifiers that are subtly wrong, one way each: the kit has to refuse every one of them."""

from __future__ import annotations

import json
import threading

import pytest

from evmbilling.domain.messages.events import EventType
from evmbilling.ports.notifier import PermanentFailure
from evmbilling.testing.conformance import NotifierConformance

TOKEN = "canary-77a1"


class Post:
    """The other end."""

    def __init__(self):
        self.taken, self.fails_at, self.closed, self.lock = [], 0, False, threading.Lock()

    def take(self, line):
        with self.lock:
            if self.closed:
                raise LookupError("no such room")
            self.fails_at -= 1
            if self.fails_at == 0:
                raise ConnectionError("try again")
            self.taken.append(json.loads(line))

    def names(self):
        return [message["id"] for message in self.taken]

    def data(self):
        return [message["data"] for message in self.taken]

    def refuse_next(self, number):
        self.fails_at = number

    def refuse_for_good(self):
        self.closed = True


class Reference:
    """A notifier that keeps to its contract."""

    def __init__(self, post):
        self.post, self.token = post, TOKEN

    def __repr__(self):
        return "<Reference>"

    def message(self, event):
        return {"id": event.event_id, "data": event.data}

    def send(self, message):
        try:
            self.post.take(json.dumps(message))
        except LookupError as error:
            raise PermanentFailure(str(error)) from error

    def notify(self, event):
        self.send(self.message(event))


class OverReference(NotifierConformance):
    """A mutant of the reference."""

    capabilities = frozenset({"breakable", "carries_data", "permanent_failure"})
    kind = Reference

    @pytest.fixture
    def secrets(self):
        return (TOKEN,)

    @pytest.fixture
    def outlet(self):
        return Post()

    @pytest.fixture
    def notifier(self, outlet):
        return type(self).kind(outlet)


class TestControl(OverReference):
    """Nothing is wrong."""

    of = 0


class TestLater(OverReference):
    """An event waits until the next one comes."""

    of = 1

    class kind(Reference):  # noqa: N801  - an attribute of the kit
        waiting = ()

        def send(self, message):
            for one in self.waiting:
                super().send(one)
            self.waiting = (message,)


class TestTwice(OverReference):
    """Each event is delivered twice."""

    of = 1

    class kind(Reference):  # noqa: N801
        def send(self, message):
            super().send(message)
            super().send(message)


class TestAsync(OverReference):
    """The call answers with a coroutine that nobody awaits."""

    of = 1

    class kind(Reference):  # noqa: N801
        def notify(self, event):
            super().notify(event)
            return self

        def __await__(self):
            yield


class TestSwallows(OverReference):
    """A delivery that failed is logged and forgotten."""

    of = 2

    class kind(Reference):  # noqa: N801
        def send(self, message):
            try:
                super().send(message)
            except ConnectionError:
                return


class TestStaysBroken(OverReference):
    """After one failure every delivery fails."""

    of = 2

    class kind(Reference):  # noqa: N801
        broken = False

        def send(self, message):
            if self.broken:
                raise ConnectionError("closed")
            try:
                super().send(message)
            except ConnectionError:
                self.broken = True
                raise


class TestKeepsWhatFailed(OverReference):
    """What failed is delivered with the next one, and once more when it is tried again."""

    of = 2

    class kind(Reference):  # noqa: N801
        kept = ()

        def send(self, message):
            for one in self.kept:
                super().send(one)
            self.kept = ()
            try:
                super().send(message)
            except ConnectionError:
                self.kept = (message,)
                raise


class TestNewName(OverReference):
    """A message is named at each attempt anew."""

    of = 3

    class kind(Reference):  # noqa: N801
        count = 0

        def message(self, event):
            self.count += 1
            return super().message(event) | {"id": f"{event.event_id}-{self.count}"}


class TestNamedBySeq(OverReference):
    """A message is named by its place in its aggregate, as if there were one aggregate."""

    of = 3

    class kind(Reference):  # noqa: N801
        def message(self, event):
            return super().message(event) | {"id": str(event.seq)}


class TestTriedForEver(OverReference):
    """What is refused for good is tried again and again."""

    of = 4

    class kind(Reference):  # noqa: N801
        def send(self, message):
            self.post.take(json.dumps(message))


class TestGivesUp(OverReference):
    """A passing fault is taken for the end."""

    of = 4

    class kind(Reference):  # noqa: N801
        def send(self, message):
            try:
                super().send(message)
            except ConnectionError as error:
                raise PermanentFailure("gone") from error


class TestChangesTheEvent(OverReference):
    """The event is marked as told."""

    of = 5

    class kind(Reference):  # noqa: N801
        def notify(self, event):
            super().notify(event)
            event.data["told"] = True


class TestRounds(OverReference):
    """Amounts go through a float."""

    of = 6

    class kind(Reference):  # noqa: N801
        def message(self, event):
            made = super().message(event)
            amount = made["data"].get("amount")
            return made | {"data": made["data"] | {"amount": f"{float(amount):.0f}" if amount else amount}}


class TestOnlyAscii(OverReference):
    """Text that is not ASCII fails."""

    of = 6

    class kind(Reference):  # noqa: N801
        def send(self, message):
            json.dumps(message, ensure_ascii=False).encode("ascii")
            super().send(message)


class TestKnownTypes(OverReference):
    """A type that was added later fails."""

    of = 6

    class kind(Reference):  # noqa: N801
        def notify(self, event):
            if event.type is EventType.ENDPOINT_TESTED:
                raise KeyError(event.type)
            super().notify(event)


class TestSharedBuffer(OverReference):
    """The message waits in an attribute until it is sent."""

    of = 7

    class kind(Reference):  # noqa: N801
        def send(self, message):
            self.buffer = message
            threading.Event().wait(0.002)
            super().send(self.buffer)


class TestTellsItsToken(OverReference):
    """The error holds the token."""

    of = 8

    class kind(Reference):  # noqa: N801
        def send(self, message):
            try:
                super().send(message)
            except ConnectionError as error:
                raise ConnectionError(f"{error} (token {self.token})") from error


class TestShowsItsToken(OverReference):
    """The representation has the token."""

    of = 8

    class kind(Reference):  # noqa: N801
        def __repr__(self):
            return f"<Reference {self.token}>"


class TestLooseProfile(OverReference):
    """The profile is a mapping, which nobody reads."""

    of = 9

    class kind(Reference):  # noqa: N801
        profile = {"events": ["billing.payment.confirmed.v1"]}  # noqa: RUF012  - the mutant itself
