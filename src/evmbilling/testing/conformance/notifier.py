"""The kit for notifiers."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID

import attrs
import pytest

from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.event_catalogue import CATALOGUE
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.ports.notifier import Notifier, PermanentFailure, profile_of
from evmbilling.testing.conformance.base import Kit, needs, not_given, of_clause
from evmbilling.testing.conformance.crowds import hurried

NOON = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
USER = "user-1"
MOST = str(2**256 - 1)
HOSTILE = (
    "\r\nBcc: everybody@example.com\r\n\r\nhello",
    "line\n.\nQUIT\n",
    "\x1b[2J\x1b]0;title\x07",
    '"},"type":"forged"',
    "\x00\x7f\x85\u2028\u202e",
    "%s%n{0}${x}",
    "größer 😀",
    "a long text, " * 1000,
)


class Outlet(Protocol):
    """The other end of a notifier: what came out of it, read as its receiver would.

    ``refuse_next``, ``refuse_for_good``, ``lose_next_reply`` and ``data`` are only asked for where the kit says
    what they are for.
    """

    def names(self) -> list[str]:
        """Return, for each message in order of arrival, the name by which a receiver knows its event again."""
        ...

    def data(self) -> list[dict[str, Any]]:
        """Return the events' data that the messages carry, in the same order."""
        ...

    def refuse_next(self, number: int) -> None:
        """Let the n-th attempt from now fail as a passing fault would: 1 is the next one."""
        ...

    def lose_next_reply(self) -> None:
        """Take the next message and go away without an answer."""
        ...

    def refuse_for_good(self) -> None:
        """Answer every attempt from now on so that no later one can succeed."""
        ...


def an_event(number: int = 1, type_: EventType = EventType.PAYMENT_CONFIRMED, **data: Any) -> Event:
    """Return an event about one user, with the data that its type has."""
    told: dict[str, Any] = {name: f"{name} of {number}" for name in CATALOGUE[type_].fields}
    told |= {"user_id": USER, "amount": MOST, "decimals": 6, "symbol": "USDC"}
    return Event(
        event_id=str(UUID(int=(0x019C << 112) | (0x7 << 76) | (0b10 << 62) | number)),
        type=type_,
        aggregate=f"customer:{USER}",
        seq=number,
        occurred_at=NOON,
        recorded_at=NOON,
        data=told | data,
    )


class NotifierConformance(Kit):
    """Standard tests of :class:`evmbilling.ports.notifier.Notifier`.

    Give ``notifier`` and ``outlet``, the other end of it; ``secrets`` where it has some.
    """

    port = Notifier
    known: ClassVar[Mapping[str, str]] = {
        "breakable": "a test can make an attempt fail (`outlet.refuse_next`)",
        "permanent_failure": "the receiver can refuse for good (`outlet.refuse_for_good`)",
        "lost_replies": "the receiver can take a message and not answer (`outlet.lose_next_reply`)",
        "carries_data": "messages carry the event's data (`outlet.data`)",
    }

    @pytest.fixture
    def outlet(self) -> Outlet:
        """The other end of the notifier under test."""
        not_given("the fixture outlet: an Outlet")

    @pytest.fixture
    def notifier(self, outlet: Outlet) -> Notifier:
        """The notifier under test, which takes ``billing.payment.confirmed.v1`` about ``user-1``."""
        not_given("the fixture notifier")

    @pytest.fixture
    def secrets(self) -> Collection[str]:
        """Texts that must never be seen: a password, a token, a key."""
        return ()

    @of_clause(1)
    def test_a_call_that_returns_has_delivered(self, notifier: Notifier, outlet: Outlet) -> None:
        assert outlet.names() == []
        for number in (1, 2, 3):
            notifier.notify(an_event(number))
            assert len(outlet.names()) == number, "nothing had come out when the call returned"

    @needs("lost_replies")
    @of_clause(1)
    def test_a_message_without_an_answer_is_sent_once_and_is_a_failure(
        self, notifier: Notifier, outlet: Outlet
    ) -> None:
        outlet.lose_next_reply()
        with pytest.raises(Exception) as caught:  # noqa: PT011  - any that is tried again is right
            notifier.notify(an_event())
        assert not isinstance(caught.value, PermanentFailure), "nobody knows whether it arrived: it is tried again"
        assert len(outlet.names()) == 1, "one call sends once: trying again is the engine's, by its schedule"

    @of_clause(1)
    def test_nothing_is_answered(self, notifier: Notifier) -> None:
        answer: Any = notifier.notify(an_event())  # type: ignore[func-returns-value]  # that is what is looked at
        assert answer is None, "a coroutine or a generator has done nothing yet"

    @needs("breakable")
    @of_clause(2)
    @pytest.mark.parametrize("place", range(1, 6))
    def test_the_delivery_that_fails_raises_and_no_other(self, notifier: Notifier, outlet: Outlet, place: int) -> None:
        outlet.refuse_next(place)
        raised = []
        for number in range(1, 6):
            try:
                notifier.notify(an_event(number))
            except PermanentFailure:
                pytest.fail("a passing fault is no PermanentFailure: it is never tried again")
            except Exception:  # noqa: BLE001  - any is right
                raised.append(number)
        assert raised == [place], "the delivery that failed must raise, and only that one"
        assert len(outlet.names()) == 4

    @needs("breakable")
    @of_clause(2)
    def test_what_failed_passes_at_the_next_attempt(self, notifier: Notifier, outlet: Outlet) -> None:
        for _ in range(3):
            outlet.refuse_next(1)
            with pytest.raises(Exception):  # noqa: B017, PT011  - any is right
                notifier.notify(an_event())
        assert outlet.names() == []
        notifier.notify(an_event())
        assert len(outlet.names()) == 1

    @of_clause(3)
    def test_a_repeated_event_is_known_again(self, notifier: Notifier, outlet: Outlet) -> None:
        for number in (1, 2, 1):
            notifier.notify(an_event(number))
        first, second, again = outlet.names()
        assert (first == again, first == second) == (True, False)

    @of_clause(3)
    def test_events_that_differ_in_their_id_alone_are_told_apart(self, notifier: Notifier, outlet: Outlet) -> None:
        notifier.notify(an_event(1, ledger_id="same"))
        notifier.notify(attrs.evolve(an_event(1, ledger_id="same"), event_id=an_event(2).event_id))
        assert len(set(outlet.names())) == 2

    @needs("permanent_failure")
    @of_clause(4)
    def test_what_is_refused_for_good_is_a_permanent_failure(
        self, notifier: Notifier, outlet: Outlet, secrets: Collection[str]
    ) -> None:
        outlet.refuse_for_good()
        with pytest.raises(PermanentFailure) as caught:
            notifier.notify(an_event())
        assert not [secret for secret in secrets if secret in str(caught.value)], "its text is kept: no secret in it"
        assert outlet.names() == []

    @of_clause(5)
    def test_an_event_is_not_changed(self, notifier: Notifier) -> None:
        event = an_event(nested={"list": [1, {"deep": None}], "at": NOON.isoformat()}, totals={"due": MOST})
        before = copy.deepcopy(event)
        notifier.notify(event)
        assert event == before

    @of_clause(6)
    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_hostile_text_breaks_no_message(self, notifier: Notifier, outlet: Outlet, text: str) -> None:
        told = an_event(1, plan=text, network=text, ledger_id=text)
        notifier.notify(told)
        notifier.notify(an_event(2))
        assert len(set(outlet.names())) == 2
        if "carries_data" in self.capabilities:
            assert outlet.data()[0] == told.data

    @needs("carries_data")
    @of_clause(6)
    def test_amounts_come_out_to_the_last_digit(self, notifier: Notifier, outlet: Outlet) -> None:
        event = an_event(amount=MOST, count=2**53 + 1, nested=[{"amount": str(2**255 + 1)}], old_plan=None)
        notifier.notify(event)
        assert outlet.data() == [event.data]

    @of_clause(6)
    @pytest.mark.parametrize("type_", EventType)
    def test_every_type_of_the_catalogue_passes(self, notifier: Notifier, type_: EventType) -> None:
        if profile_of(notifier).takes(type_):
            notifier.notify(an_event(1, type_))

    @of_clause(6)
    def test_data_that_a_later_version_adds_passes(self, notifier: Notifier, outlet: Outlet) -> None:
        notifier.notify(an_event(brand_new={"list": [None, True, "x"]}))
        assert len(outlet.names()) == 1

    @of_clause(7)
    def test_many_threads_lose_and_mix_nothing(self, notifier: Notifier, outlet: Outlet) -> None:
        events = [an_event(number, ledger_id=f"order-{number}") for number in range(1, 41)]
        with hurried(notifier), ThreadPoolExecutor(8) as pool:
            list(pool.map(notifier.notify, events))
        assert len(outlet.names()) == len(set(outlet.names())) == len(events)
        if "carries_data" in self.capabilities:
            assert sorted(map(repr, outlet.data())) == sorted(repr(event.data) for event in events)

    @of_clause(8)
    def test_no_secret_is_seen(self, notifier: Notifier, secrets: Collection[str]) -> None:
        seen = repr(notifier) + str(notifier)
        assert not [secret for secret in secrets if secret in seen]

    @needs("breakable")
    @of_clause(8)
    def test_no_secret_is_in_what_it_raises(self, notifier: Notifier, outlet: Outlet, secrets: Collection[str]) -> None:
        outlet.refuse_next(1)
        with pytest.raises(Exception) as caught:  # noqa: PT011  - any is right
            notifier.notify(an_event())
        # With its cause and its context, as a host's log would have it.
        told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
        assert not [secret for secret in secrets if secret in told]

    @of_clause(9)
    def test_its_profile_is_one(self, notifier: Notifier) -> None:
        said = getattr(notifier, "profile", None)
        assert said is None or isinstance(said, SinkProfile), "another object is ignored, with all that it says"
        assert profile_of(notifier).takes(EventType.PAYMENT_CONFIRMED)
