"""Shops that are stocked once for many tests: what stocking writes is put under a fresh storage, and nobody notices.

Stocking costs more than most tests do with the shop. What comes afterwards is what it would be: ids, seals, counts and
what the chain was asked go on from where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from engine_shop import START, Shop, Watched, build_shop, stock

from evmbilling.testing.clock import FrozenClock

_stocked: dict[Any, _Stocked] = {}


@frozen
class _Stocked:
    """What a shop consists of right after stocking: the ground of its storage, and the state of all that counts."""

    ground: Any
    chance: tuple[Any, Any]
    last_id: int
    counted: tuple[Any, Any]
    asked: list[str]


def stocked_shop(
    storage: str, open_storage: Callable[[str, FrozenClock], Any], *, seed: int, extra_lines: Any, **stocking: Any
) -> Shop:
    """Return a stocked shop on one chain, in memory or in SQLite."""
    clock = FrozenClock(START)
    inner = open_storage(storage, clock)
    shop = build_shop(Watched(inner), clock, seed=seed, extra_lines=extra_lines)
    key = storage, seed, tuple(sorted(stocking.items()))
    if key not in _stocked:
        _stocked[key] = _look(stock(shop, **stocking), inner)
        _put(_stocked[key], inner)
        return shop
    made = _stocked[key]
    _put(made, inner)
    for chance, state in zip(_chances(shop), made.chance, strict=True):
        chance.setstate(state)
    shop.engine._ports.ids._stamps._last = made.last_id
    for counter, counted in zip((shop.telemetry.total, shop.telemetry.labels), made.counted, strict=True):
        counter.update(counted)
    shop.chain.calls[:] = made.asked
    return shop


def _look(shop: Shop, inner: Any) -> _Stocked:
    return _Stocked(
        ground=inner._committed if hasattr(inner, "_committed") else _file(inner).read_bytes(),
        chance=tuple(chance.getstate() for chance in _chances(shop)),
        last_id=shop.engine._ports.ids._stamps._last,
        counted=(shop.telemetry.total.copy(), shop.telemetry.labels.copy()),
        asked=list(shop.chain.calls),
    )


def _put(made: _Stocked, inner: Any) -> None:
    if hasattr(inner, "_committed"):
        inner._committed = made.ground.over()  # what is written from now on stays in a layer of this shop's own
    else:
        _file(inner).write_bytes(made.ground)


def _file(inner: Any) -> Path:
    """The file of a database, to which nobody is connected any more."""
    inner._engine.dispose()
    return Path(inner._engine.url.database)


def _chances(shop: Shop) -> tuple[Any, Any]:
    return shop.engine._ports.ids._random, shop.engine._ports.secrets._random_bytes.__self__
