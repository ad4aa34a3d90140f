"""How far a network has come: tags that never step back, and what cannot change any more. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.catalogue.catalogue import Finality, Heights
from evmbilling.domain.reading.evidence import BlockHeader, Cursor, Tip
from evmbilling.errors import ChainMismatch


def heights_at(block: BlockHeader, cursor: Cursor, tip: Tip, headers: Sequence[BlockHeader] = ()) -> Heights:
    """Return the heights when everything up to ``block`` was read. They count only that; a tag never steps back.

    Raises:
        ChainMismatch: the node gives a name to a block that is not among the headers that it gave.

    """
    return Heights(
        head=block.number,
        safe=_tagged("safe", tip.safe, cursor.heights.safe, block, headers),
        finalized=_tagged("finalized", tip.finalized, cursor.heights.finalized, block, headers),
    )


def deepest(rule: Finality, cursor: Cursor, tip: Tip) -> int:
    """Return the highest block that cannot change any more, as the node tells its head and tags; -1 for none."""
    known = cursor.heights
    heights = Heights(
        head=tip.head.number,
        safe=known.safe if tip.safe is None else tip.safe.number,
        finalized=known.finalized if tip.finalized is None else tip.finalized.number,
    )
    found = rule.deepest(heights)
    return -1 if found is None else min(found, tip.head.number)


def irreversible_among(
    known: Sequence[BlockHeader], rule: Finality, cursor: Cursor, heights: Heights
) -> BlockHeader | None:
    """Return the newest of these headers that cannot change any more; never one below the one that is known."""
    reached = [header for header in known if rule.reached(header.number, heights)]
    newest = max(reached, key=lambda header: header.number, default=None)
    if newest is None or (cursor.irreversible and newest.number < cursor.irreversible.number):
        return cursor.irreversible
    return newest


def _tagged(
    name: str, header: BlockHeader | None, before: int | None, block: BlockHeader, headers: Sequence[BlockHeader]
) -> int | None:
    if header is None:
        return before
    if any(h.number == header.number and h.hash != header.hash for h in (*headers, block)):
        raise ChainMismatch(f"the node calls a block {name} that is not on the chain that it gave")
    reached = min(header.number, block.number)
    return reached if before is None else max(reached, before)
