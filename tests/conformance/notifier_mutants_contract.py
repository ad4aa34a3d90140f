"""Notifiers that tell nearly everything."""

from __future__ import annotations

import json
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import attrs
import pytest
import test_our_notifiers
from contract_mutants import refused_by
from notifier_mutants import OverReference, Reference

from evmbilling.adapters.notifiers.email import EmailNotifier
from evmbilling.adapters.notifiers.log import LogNotifier, event_facts
from evmbilling.ports.notifier import PermanentFailure
from example_plugins import FOLDER, load_own_tests

own = load_own_tests(FOLDER / "notifier-chat")
from chat_notifier.notifier import ChatFailure, ChatNotifier  # noqa: E402  - found once its tests are


class OverChat(own.TestChatNotifier):
    """A mutant of the example notifier."""

    kind = ChatNotifier

    @pytest.fixture
    def notifier(self, outlet):
        return type(self).kind(outlet.url, own.TOKEN)


class OverLog(test_our_notifiers.TestLog):
    """A mutant of the notifier that writes to a log."""

    kind = LogNotifier

    @pytest.fixture
    def notifier(self, outlet):
        return type(self).kind(logger="evmbilling.conformance")


class OverMail(test_our_notifiers.TestEmail):
    """A mutant of the notifier that writes e-mail."""

    kind = EmailNotifier

    @pytest.fixture
    def notifier(self, outlet):
        return type(self).kind(transport=outlet, sender="billing@shop.example", contacts=outlet)


posting, logging_it, mailing = map(refused_by, (OverChat, OverLog, OverMail))


class Posts(ChatNotifier):
    """Posts by itself, so that a mutant may change one step."""

    def message(self, event):
        return {
            "id": event.event_id,
            "seq": event.seq,
            "type": str(event.type),
            "subject": event.aggregate,
            "text": f"{event.type}: {event.aggregate}",
            "data": event.data,
        }

    def post(self, message):
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        request = Request(self._url, data=json.dumps(message).encode(), headers=headers, method="POST")
        try:
            with urlopen(request, timeout=self._timeout) as answer:
                return int(answer.status)
        except HTTPError as refused:
            with refused:
                return refused.code
        except OSError as error:
            raise ChatFailure(f"the room was not reached ({type(error).__name__})") from None


@posting(2, "Any answer of the server counts as delivered.")
class TestAnyAnswer(Posts):
    def notify(self, event):
        self.post(self.message(event))


@posting(1, "Hands over to a thread and returns.")
class TestHandsOver(ChatNotifier):
    def notify(self, event):
        threading.Thread(target=super().notify, args=(event,), daemon=True).start()


@posting(3, "A message is known by its subject, type and second.")
class TestIdOfSecond(Posts):
    def notify(self, event):
        name = f"{event.aggregate}/{event.type}/{event.occurred_at:%Y%m%d%H%M%S}"
        super().notify(attrs.evolve(event, event_id=name))


@posting(3, "A message has a fresh id at each attempt.")
class TestFreshId(ChatNotifier):
    count = 0

    def notify(self, event):
        type(self).count += 1
        super().notify(attrs.evolve(event, event_id=f"{event.event_id}/{self.count}"))


@posting(4, "Every refusal is for good.")
class TestAlwaysForGood(ChatNotifier):
    def notify(self, event):
        try:
            super().notify(event)
        except ChatFailure as failure:
            if "answered" in str(failure):
                raise PermanentFailure("refused") from None
            raise


@posting(4, "No refusal is for good.")
class TestNeverForGood(ChatNotifier):
    def notify(self, event):
        try:
            super().notify(event)
        except PermanentFailure as failure:
            raise ChatFailure(str(failure)) from None


@posting(1, "Tries again by itself when no answer came.")
class TestTriesAgain(ChatNotifier):
    def notify(self, event):
        try:
            super().notify(event)
        except ChatFailure as failure:
            if "reached" not in str(failure):
                raise
            super().notify(event)


@posting(7, "The message under way is kept on the notifier.")
class TestSharesMessage(Posts):
    def notify(self, event):
        self.current = self.message(event)
        self.current["text"] = f"{event.type}: {event.aggregate}"
        status = self.post(self.current)
        if status == 410:
            raise PermanentFailure(f"HTTP {status}")
        if status >= 400:
            raise ChatFailure(f"the room answered {status}")


@posting(8, "The cause of its error holds the request with its token.")
class TestTokenInCause(ChatNotifier):
    def notify(self, event):
        try:
            super().notify(event)
        except ChatFailure as failure:
            raise failure from RuntimeError(f"POST {self._url} with authorization: Bearer {self._token}")


@logging_it(6, "Log lines are written in UTF-8.")
class TestRawLines(LogNotifier):
    def notify(self, event):
        facts = event_facts(event)
        line = json.dumps(facts, ensure_ascii=False, default=str)
        self._logger.log(self._level, "%s", line, extra={"billing_event": facts})


@posting(6, "Data that is not in the catalogue is left out.")
class TestKnownDataOnly(ChatNotifier):
    KNOWN = frozenset(
        {
            "user_id",
            "ledger_id",
            "status",
            "plan",
            "amount",
            "asset",
            "product",
            "subscription_id",
            "paid_until",
            "before",
            "after",
            "network",
            "tx_hash",
            "limits",
            "new_plan",
            "old_plan",
        }
    )

    def notify(self, event):
        known = {name: value for name, value in event.data.items() if name in self.KNOWN}
        super().notify(attrs.evolve(event, data=known or event.data))


@posting(2, "After a failure the next event is passed over in silence.")
class TestRests(ChatNotifier):
    resting = False

    def notify(self, event):
        if self.resting:
            self.resting = False
            return
        try:
            super().notify(event)
        except ChatFailure:
            self.resting = True
            raise


@posting(2, "Remembers what it has tried, and drops a repetition.")
class TestRemembersTried(ChatNotifier):
    def notify(self, event):
        tried = self.__dict__.setdefault("tried", set())
        if event.event_id in tried:
            return
        tried.add(event.event_id)
        super().notify(event)


@posting(5, "Turns amounts into numbers in the event's own data.")
class TestChangesData(ChatNotifier):
    def notify(self, event):
        for value in event.data.values():
            if isinstance(value, dict):
                for name, one in value.items():
                    if isinstance(one, str) and one.isdigit():
                        value[name] = int(one)
        super().notify(event)


@mailing(2, "Mail to a customer that the server refuses is forgotten.")
class TestSwallowsRefused(EmailNotifier):
    def notify(self, event):
        try:
            super().notify(event)
        except PermanentFailure:
            return


def told(change):
    """Return a notifier that tells each value of an event's data as this says; None leaves it out."""

    class Told(Reference):
        def message(self, event):
            kept = {name: change(value) for name, value in event.data.items()}
            return {"id": event.event_id, "data": {name: value for name, value in kept.items() if value is not None}}

    return Told


class TestShortText(OverReference):
    """Text is cut after 4000 characters."""

    of = 6
    kind = told(lambda value: value[:4000] if isinstance(value, str) else value)


class TestNothingLeftOut(OverReference):
    """What an event says is nothing is left out."""

    of = 6
    kind = told(lambda value: value)


class TestGivesUp(OverReference):
    """An event that failed twice is dropped in silence."""

    of = 2

    class kind(Reference):  # noqa: N801  - an attribute of the kit
        def __init__(self, post):
            super().__init__(post)
            self.failed = set()

        def notify(self, event):
            try:
                super().notify(event)
            except ConnectionError:
                if event.event_id in self.failed:
                    return
                self.failed.add(event.event_id)
                raise
