"""Decoders for the events of any contract, compiled once from its ABI (Solidity ABI specification, "Events").

Static values are sliced, dynamic ones are followed by their offsets; nothing is copied twice and no text is parsed at
run time::

    events = EventDecoders.of(abi)
    found = events.decode(log.topics, log.data)
    if found is not None and found.event.name == "Paid":
        print(found.values, found.named())

A log is an event only when topic0, the number of topics and the length of its data fit; ERC-20 and ERC-721
``Transfer`` share topic0 and differ in the number of topics. Whose log it is, is for the caller to compare: anybody can
emit anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.values import WORD, Malformed, Value, leaf, tuple_of, value_of
from evmbilling.errors import ConfigurationError

_MOST_INDEXED: Final = 3
Values = tuple[Any, ...]


@frozen(eq=False)
class EventDecoder:
    """One event. Values are ``int``, ``bool``, ``str`` (text and EIP-55 addresses), ``bytes`` and tuples of them.

    An indexed value that does not fit in a word (text, bytes, an array, a struct) is there as its 32-byte hash only.

    Attributes:
        name, signature: ``Transfer`` and ``Transfer(address,address,uint256)``.
        topic0: keccak of the signature.
        names: of its values, in the order of the ABI; one without a name is called by its place.
        indexed: how many of them are topics.

    """

    name: str
    signature: str
    topic0: bytes
    names: tuple[str, ...]
    indexed: int
    _topics: tuple[tuple[int, Value], ...] = field(repr=False)
    _data: Value = field(repr=False)
    _places: tuple[int, ...] | None = field(repr=False)

    def decode(self, topics: Sequence[bytes], data: bytes) -> Values | None:
        """Return the values in the order of the ABI; None when the log is not this event, exactly encoded.

        Static data has exactly its length. Dynamic values lie in order and share no bytes, so reading them costs no
        more than the log is long; what follows them is not looked at, as other decoders do.
        """
        if len(topics) != self.indexed + 1 or topics[0] != self.topic0:
            return None
        size = len(data)
        if size < self._data.size or (size != self._data.size and not self._data.dynamic):
            return None
        try:
            values: Values = self._data.read(data, 0)[0] if self._data.dynamic else self._data.read(data, 0)
            if self.indexed:
                values = (*[value.read(topics[at], 0) for at, value in self._topics], *values)
        except (Malformed, UnicodeDecodeError):
            return None
        return values if self._places is None else tuple([values[place] for place in self._places])

    def named(self, values: Values) -> dict[str, Any]:
        """Return decoded values by name."""
        return dict(zip(self.names, values, strict=True))


@frozen
class DecodedEvent:
    """What a log says."""

    event: EventDecoder
    values: Values

    def named(self) -> dict[str, Any]:
        """Return the values by name."""
        return self.event.named(self.values)


class EventDecoders:
    """The events of a contract, by topic0 and number of topics."""

    def __init__(self, events: Iterable[EventDecoder]) -> None:
        self._known = {(event.topic0, event.indexed + 1): event for event in events}

    @classmethod
    def of(cls, abi: Iterable[Mapping[str, Any]]) -> EventDecoders:
        """Compile the events of a contract's ABI; anonymous ones, which no topic tells apart, are left out.

        Raises:
            ConfigurationError: an event is malformed.

        """
        return cls(compile_event(item) for item in abi if item.get("type") == "event" and not item.get("anonymous"))

    def __iter__(self) -> Any:
        return iter(self._known.values())

    @property
    def topics(self) -> tuple[bytes, ...]:
        """Every topic0, for a watch set."""
        return tuple(sorted({topic for topic, _ in self._known}))

    def decode(self, topics: Sequence[bytes], data: bytes) -> DecodedEvent | None:
        """Return the event that a log is; None when it is none of these."""
        event = self._known.get((topics[0], len(topics))) if topics else None
        values = None if event is None else event.decode(topics, data)
        return None if event is None or values is None else DecodedEvent(event, values)


def compile_event(item: Mapping[str, Any]) -> EventDecoder:
    """Compile an event of a JSON ABI.

    Raises:
        ConfigurationError: no event, an anonymous one, an unknown type, more than three indexed values.

    """
    name, inputs = item.get("name"), item.get("inputs")
    if item.get("type") != "event" or item.get("anonymous") or not isinstance(name, str) or not name:
        raise ConfigurationError("a decoder is made from an event with a name", field="abi")
    if not isinstance(inputs, Sequence) or not all(isinstance(given, Mapping) for given in inputs):
        raise ConfigurationError(f"event {name}: the inputs are a list", field="abi")
    values = [value_of(given) for given in inputs]
    in_topics = [place for place, given in enumerate(inputs) if given.get("indexed")]
    in_data = [place for place in range(len(inputs)) if place not in in_topics]
    if len(in_topics) > _MOST_INDEXED:
        raise ConfigurationError(f"event {name}: at most three values are indexed", field="abi")
    signature = f"{name}({','.join(value.type for value in values)})"
    order = [*in_topics, *in_data]
    return EventDecoder(
        name=name,
        signature=signature,
        topic0=keccak(signature.encode()),
        names=tuple(str(given.get("name") or place) for place, given in enumerate(inputs)),
        indexed=len(in_topics),
        topics=tuple((at, _in_topic(values[place])) for at, place in enumerate(in_topics, 1)),
        data=tuple_of([values[place] for place in in_data]),
        places=None if order == sorted(order) else tuple(order.index(place) for place in range(len(order))),
    )


def _in_topic(value: Value) -> Value:
    """An indexed value stands in its topic when its type is elementary and static; else its hash does."""
    return value if value.elementary and value.size == WORD and not value.dynamic else leaf("bytes32")
