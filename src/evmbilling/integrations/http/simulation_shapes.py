"""The shapes of dry runs."""

from __future__ import annotations

from typing_extensions import TypedDict

from evmbilling.integrations.http.shapes import PayloadView


class SimulatedEventView(TypedDict):
    """A log that a call would emit, and what the binding says that it means."""

    address: str
    event: str
    means: str | None
    fields: dict[str, str]


class AllowedView(TypedDict):
    """What has to be allowed first: base units of the token, to whom."""

    spender: str
    base_units: str


class MappedEventView(TypedDict):
    """An event that means something to the binding."""

    event: str
    means: str


class SimulationView(TypedDict):
    """What a dry run found; ``offered_gas`` is what to save as the binding's ``gas``.

    ``succeeds`` is null where the call could not be tried. ``pays`` says whether the payment would be recognised; null
    where the node cannot show what a call would emit. ``stand_in`` is the throw-away wallet that signed and paid, where
    the call takes a signature. ``unchecked`` lists what could not be checked, as words and in words.
    """

    payload: PayloadView
    approval: AllowedView | None
    succeeds: bool | None
    refusal: str | None
    gas: int | None
    offered_gas: dict[str, int]
    stand_in: str | None
    pays: bool | None
    unchecked: dict[str, str]
    events: list[SimulatedEventView]
    mapped: list[MappedEventView]
