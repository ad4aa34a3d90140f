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

    ``pays`` says whether the payment would be recognised; null where the node cannot show what a call would emit.
    """

    payload: PayloadView
    approval: AllowedView | None
    succeeds: bool
    refusal: str | None
    gas: int | None
    offered_gas: dict[str, int]
    pays: bool | None
    events: list[SimulatedEventView]
    mapped: list[MappedEventView]
