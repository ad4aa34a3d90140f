"""What is looked for on a chain: as filters for ``eth_getLogs``, and for looking at a log that came."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

from attrs import field, frozen

from evmbilling.adapters.evm.abi.events import TRANSFER, is_burn
from evmbilling.adapters.evm.reading.bloom import admits
from evmbilling.adapters.evm.rpc.answers import SeenLog
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.reading.evidence import ChainLog, WatchSet

ADDRESSES_A_QUERY: Final = 500
_TRANSFER_TOPICS: Final = 3  # ERC-721 has a fourth
_WORD: Final = 32
_NOTHING: Final = bytes(_WORD)


@frozen
class Filter:
    """A watch set for looking up.

    Attributes:
        emitters: the addresses that may emit a watched log, in small letters as nodes write them.
        queries: the filters that together find what is watched, without their blocks. None has an empty list: that
            means "nothing" to some nodes and "everything" to others.

    """

    watch: WatchSet
    addresses: frozenset[str]
    topics: frozenset[bytes]
    tokens: frozenset[str]
    parties: frozenset[bytes]
    burning: frozenset[str]
    emitters: frozenset[str] = field(repr=False, eq=False)
    queries: tuple[dict[str, Any], ...] = field(repr=False, eq=False)

    @classmethod
    def of(cls, watch: WatchSet) -> Filter:
        """Make the filter of a watch set."""
        return cls(
            watch=watch,
            addresses=frozenset(watch.addresses),
            topics=frozenset(watch.topics),
            tokens=frozenset(watch.tokens),
            parties=frozenset(bytes(12) + address_bytes(party) for party in watch.parties),
            burning=frozenset(watch.burning),
            emitters=frozenset(address.lower() for address in (*watch.addresses, *watch.tokens)),
            queries=tuple(_queries(watch)),
        )

    @property
    def shape(self) -> Hashable:
        """What decides how many logs a node finds in a block: two filters of one shape find about as many."""
        return (self.addresses, self.topics, self.tokens, self.parties, self.burning)

    def admits(self, bloom: bytes) -> bool:
        """Whether a block with this bloom may hold a watched log."""
        return admits(bloom, self.watch)

    def holds(self, log: SeenLog) -> bool:
        """Whether a log is watched: its address and first topic, a burn, or a token's transfer from or to a party."""
        return self.watches(log.address, log.topics, log.data)

    def watches(self, address: str, topics: tuple[bytes, ...], data: bytes) -> bool:
        """Whether a log that says this is watched."""
        if address in self.addresses and topics and topics[0] in self.topics:
            return True
        if address in self.burning and is_burn(topics):
            return True
        is_transfer = len(topics) == _TRANSFER_TOPICS and topics[0] == TRANSFER and len(data) == _WORD
        return is_transfer and address in self.tokens and (topics[1] in self.parties or topics[2] in self.parties)

    @staticmethod
    def kind_of(data: bytes) -> int:
        """Return what :meth:`watches` and :meth:`tells` look at in data: whether it is a zero, else its length."""
        return -1 if data == _NOTHING else len(data)

    def matters(self, log: SeenLog | ChainLog) -> bool:
        """Whether a watched log makes its transaction worth a look.

        A transfer of nothing costs its sender only gas: such logs are sent in thousands. An event that names an order
        of somebody else's is theirs to look at, and one whose money is a transfer says nothing without it.
        """
        return self.tells(log.address, log.topics, log.data)

    def tells(self, address: str, topics: tuple[bytes, ...], data: bytes) -> bool:
        """Whether a watched log that says this makes its transaction worth a look."""
        if address in self.addresses and topics[0] in self.topics:
            prefix = self.watch.reference_prefix
            if topics[0] in self.watch.beside:
                return False
            if topics[0] in self.watch.unnamed:
                return True
            return not prefix or len(topics) < 2 or topics[1].startswith(prefix)  # noqa: PLR2004  - it has none
        return data != _NOTHING  # a burn has no data at all


def _queries(watch: WatchSet) -> Iterable[dict[str, Any]]:
    if watch.topics:
        # Burns are asked for with the events of their contracts, at the price of the mints beside them.
        topics = [to_hex(topic) for topic in (*watch.topics, *((TRANSFER,) if watch.burning else ()))]
        yield from ({"address": part, "topics": [topics]} for part in _slices(watch.addresses))
    parties = ["0x" + "00" * 12 + party[2:].lower() for party in watch.parties]
    for tokens in _slices(watch.tokens):
        for some in _slices(parties):
            for place in ([some], [None, some]):
                yield {"address": tokens, "topics": [to_hex(TRANSFER), *place]}


def _slices(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[at : at + ADDRESSES_A_QUERY] for at in range(0, len(values), ADDRESSES_A_QUERY))
