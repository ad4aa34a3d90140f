"""Rounds in which all contenders take their turn, and the ratios within a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from attrs import asdict, frozen
from bm_contenders import Contender, Work


@frozen
class Size:
    """How much is measured.

    Attributes:
        rounds: in each of them everybody takes a turn.
        checkouts: of one turn, shared by the clients.

    """

    rounds: int
    checkouts: int

    @property
    def users(self) -> int:
        """How many checkouts a contender makes in all; the first turn is for warming up."""
        return (self.rounds + 1) * self.checkouts


@frozen
class Standing:
    """How a contender did.

    Attributes:
        per_second: the median of its rounds.
        cpu: milliseconds of this process's processor time for one checkout, the server's not counted: steadier than
            the clock on a machine that does other work.
        to_raw, to_orm: the medians of the ratios within a round; more is faster.
        raw_range, orm_range: the least and the greatest of these ratios.

    """

    database: str
    clients: int
    contender: str
    per_second: float
    cpu: float
    to_raw: float
    raw_range: tuple[float, float]
    to_orm: float
    orm_range: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def turn(work: Work, checkouts: int, clients: int) -> tuple[float, float]:
    """Return the checkouts per second of one turn, and the milliseconds of processor time for each."""
    share, failures = checkouts // clients, []
    start = threading.Barrier(clients + 1)

    def client() -> None:
        start.wait()
        try:
            for _ in range(share):
                work()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    begun, spent = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    took, spent = time.perf_counter() - begun, time.process_time() - spent
    if failures:
        raise failures[0]
    return share * clients / took, spent / (share * clients) * 1000


def measure(database: str, found: Sequence[Contender], size: Size, clients: int) -> list[Standing]:
    """Let everybody take a turn in each round, beginning with another one each time."""
    rates: dict[str, list[float]] = {one.name: [] for one in found}
    spent: dict[str, list[float]] = {one.name: [] for one in found}
    for round_ in range(size.rounds + 1):
        first = round_ % len(found)
        for one in (*found[first:], *found[:first]):
            rate, cpu = turn(one.work, size.checkouts, clients)
            if round_:  # everything is compiled, prepared and connected in the first one
                rates[one.name].append(rate)
                spent[one.name].append(cpu)
    return [_standing(database, clients, name, rates, median(spent[name])) for name in rates]


def _standing(database: str, clients: int, name: str, rates: dict[str, list[float]], cpu: float) -> Standing:
    raw = _ratios(rates[name], rates["raw driver, joined" if "joined" in name else "raw driver"])
    orm = _ratios(rates[name], rates["ORM"])
    return Standing(
        database=database,
        clients=clients,
        contender=name,
        per_second=median(rates[name]),
        cpu=cpu,
        to_raw=median(raw),
        raw_range=(min(raw), max(raw)),
        to_orm=median(orm),
        orm_range=(min(orm), max(orm)),
    )


def _ratios(own: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(own, other, strict=True)]


def table(standings: Sequence[Standing], size: Size) -> str:
    """Write standings of one database and number of clients as a table."""
    first = standings[0]
    lines = [
        f"{first.database}, {first.clients} client(s): medians of {size.rounds} rounds of {size.checkouts} checkouts",
        f"  {'':<20}{'per second':>11}{'CPU ms':>8}   {'x raw driver':<22}{'x ORM':<22}",
    ]
    for one in standings:
        raw = f"{one.to_raw:5.2f} ({one.raw_range[0]:.2f} to {one.raw_range[1]:.2f})"
        orm = f"{one.to_orm:5.2f} ({one.orm_range[0]:.2f} to {one.orm_range[1]:.2f})"
        lines.append(f"  {one.contender:<20}{one.per_second:>11.0f}{one.cpu:>8.2f}   {raw:<22}{orm:<22}")
    return "\n".join(lines)
