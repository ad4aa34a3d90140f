"""A clock for pools of nodes."""

from __future__ import annotations

from collections.abc import Callable

from evmbilling.adapters.evm.rpc.rpc import JsonRpc

Open = Callable[..., JsonRpc]


class Time:
    """A clock that moves when somebody sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
