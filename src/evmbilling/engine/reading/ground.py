"""Common ground: the highest block that we know by its hash and that a node still has."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.reading.evidence import BlockHeader, Cursor
from evmbilling.engine.context import Runner
from evmbilling.ports.chain import ChainSource

_PAGE = 500
Mark = tuple[int, bytes]
"""Number and hash of a block that we know."""


def common_ground(runner: Runner, source: ChainSource, cursor: Cursor) -> BlockHeader | None:
    """Return the highest block of ours that the node has too; None when it has none of them.

    First of the window of headers, then of the blocks that hold evidence, however far back: a block that is still there
    has all blocks below it still there, so few of them are asked for.
    """
    page = _window(runner, cursor)
    while page:
        found = _highest(source, page)
        if found is not None:
            return found
        page = _log_blocks(runner, cursor.chain_id, below=page[0][0])
    return None


def _window(runner: Runner, cursor: Cursor) -> list[Mark]:
    """Return what is known without evidence; never empty."""
    known = [cursor.block, *([cursor.irreversible] if cursor.irreversible else [])]
    known += runner.read(lambda unit: unit.window(cursor.chain_id))
    return sorted({(header.number, header.hash) for header in known if header.number <= cursor.block.number})


def _log_blocks(runner: Runner, chain_id: int, *, below: int) -> list[Mark]:
    found: Sequence[Mark] = runner.read(lambda unit: unit.log_blocks(chain_id, below=below, limit=_PAGE))
    return sorted(found)


def _highest(source: ChainSource, marks: Sequence[Mark]) -> BlockHeader | None:
    """Return the highest of these blocks that the node has, by bisection; None when even the lowest is another."""
    best = _there(source, marks[0])
    low, high = 0, len(marks)
    while best is not None and high - low > 1:
        middle = (low + high) // 2
        header = _there(source, marks[middle])
        if header is None:
            high = middle
        else:
            low, best = middle, header
    return best


def _there(source: ChainSource, mark: Mark) -> BlockHeader | None:
    header = source.header(mark[0])
    return header if header is not None and header.hash == mark[1] else None
