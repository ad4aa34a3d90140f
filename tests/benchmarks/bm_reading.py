"""Our reader against the peer: the same node, the same rows, turn by turn.

``python bm_reading.py NODE_URL DATABASE_URL`` reads a chain into a database and prints the memory that it took.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa
from attrs import frozen
from bm_chain import Full, open_source
from bm_web3 import LOGS_AT_ONCE, TABLES, TRANSFER, Row

from evmbilling.adapters.evm.abi.decoders import EventDecoders
from evmbilling.adapters.evm.reading.node_reader import NodeReader
from evmbilling.adapters.evm.reading.watching import Filter
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.emitter import AS_CONTRACT, AS_TOKEN, EMITTER, RECEIVER
from evmbilling.testing.merchant import SIGNER_KEY, open_merchant, repeatable_secrets

DECODERS = EventDecoders.of([TRANSFER])
EVERYTHING = 1_000_000


def decoded(url: str, first: int, last: int) -> list[Row]:
    """Fetch, prove and decode; return the same rows as the peer."""
    rows: list[Row] = []
    source = open_source(url)
    with source.scan(first, last, AS_TOKEN) as ranges:
        for found in ranges:
            for log in found.logs:
                said = DECODERS.decode(log.topics, log.data)
                if said is not None:
                    rows.append((log.block_number, log.tx_hash, log.log_index, *said.values))
    source.close()
    return rows


def fetched(full: Full) -> list[Row]:
    """Fetch and decode as the peer does, nothing proved: ranges of the same size, two of them on their way."""
    blocks = max(1, LOGS_AT_ONCE // full.shape.a_block)
    starts = range(full.first, full.last + 1, blocks)
    rpc = JsonRpc(chain_id=31337, urls=[full.node.url], timeout=60)

    def part(at: int) -> list[Row]:
        with rpc.session(head_at_least=full.last) as node:
            watched = Filter.of(AS_CONTRACT)
            reader = NodeReader(31337, node, watched, without=set(), pass_over=lambda _: None)
            _, _, found = reader.between(at, min(full.last, at + blocks - 1))
        rows = []
        for log in found.logs:
            said = DECODERS.decode(log.topics, log.data)
            if said is not None:
                rows.append((log.block_number, log.tx_hash, log.log_index, *said.values))
        return rows

    with ThreadPoolExecutor(2) as threads:
        rows = [row for some in threads.map(part, starts) for row in some]
    rpc.close()
    return rows


def open_shop(node_url: str, database_url: str) -> BillingEngine:
    """An engine whose treasury gets the transfers of the chain."""
    upgrade(database_url)
    storage = SqlAlchemyStorage.open(database_url)
    engine = BillingEngine(storage=storage, secrets=repeatable_secrets())
    open_merchant(
        engine,
        chain_id=31337,
        rpc_url=node_url,
        signer=SIGNER_KEY,
        contract="0x" + "11" * 20,
        token=EMITTER,
        treasury=RECEIVER,
        irreversible_after="finalized",
        credit_after="depth 1",
    )
    return engine


def close(engine: BillingEngine) -> None:
    engine.close()
    engine._ports.storage.close()


def rows_of(database: sa.Engine) -> Mapping[str, list[Any]]:
    """The evidence in a database; of the cursor only where it stands."""
    with database.connect() as connection:
        found = {name: sorted(map(tuple, connection.execute(sa.select(TABLES[name])))) for name in ("chain_logs",)}
        items = TABLES["intake_items"]
        found["items"] = sorted(
            map(tuple, connection.execute(sa.select(items.c.tx_hash, items.c.ordinal, items.c.wait)))
        )
        found["cursor"] = [tuple(row) for row in connection.execute(sa.select(TABLES["cursors"].c.block_number))]
    return found


@frozen
class Took:
    """Seconds of a turn: by the clock, of this process's processor time, and of the node's."""

    clock: float
    own: float
    node: float


@frozen(kw_only=True)
class Standing:
    """How the two did: rates, ratios within a round, and processor time, which other work on the machine bends less.

    Attributes:
        ours, theirs: logs per second; ratios of them.
        spent: microseconds of processor time for a log: of this process and of the node, ours and theirs.
        by_processor: the ratio of the sums of these, within a round.
        without_node: the same without the node, whose work both ask for.

    """

    ours: float
    theirs: float
    ratios: Sequence[float]
    spent: tuple[float, float, float, float]
    by_processor: Sequence[float]
    without_node: Sequence[float]

    def __str__(self) -> str:
        ratio = f"{median(self.ratios):.1f} x ({min(self.ratios):.1f} to {max(self.ratios):.1f})"
        in_all, alone = median(self.by_processor), median(self.without_node)
        most = (self.spent[2] + self.spent[3]) / self.spent[1] if self.spent[1] else float("inf")
        own, node, their_own, their_node = self.spent
        processor = f"{own:.0f} + {node:.0f} of the node, web3.py {their_own:.0f} + {their_node:.0f}"
        return (
            f"{self.ours:,.0f} logs/s, web3.py {self.theirs:,.0f}: {ratio}\n"
            f"  processor time of a log in us: {processor}; {in_all:.1f} x in all, {alone:.1f} x without the node's;"
            f" {most:.1f} x if ours were nothing"
        )


def compare(full: Full, rounds: int, ours: Callable[[], Took], theirs: Callable[[], Took]) -> Standing:
    """Let both take a turn in each round, beginning with another one each time."""
    turns: dict[bool, list[Took]] = {True: [], False: []}
    for number in range(rounds):
        for mine in (True, False) if number % 2 else (False, True):
            turns[mine].append(ours() if mine else theirs())
    logs = full.logs
    spent = [median(t.own for t in turns[True]), median(t.node for t in turns[True])]
    spent += [median(t.own for t in turns[False]), median(t.node for t in turns[False])]
    return Standing(
        ours=logs / median(t.clock for t in turns[True]),
        theirs=logs / median(t.clock for t in turns[False]),
        ratios=[b.clock / a.clock for a, b in zip(turns[True], turns[False], strict=True)],
        spent=tuple(seconds / logs * 1e6 for seconds in spent),
        by_processor=[(b.own + b.node) / (a.own + a.node) for a, b in zip(turns[True], turns[False], strict=True)],
        without_node=[b.own / a.own for a, b in zip(turns[True], turns[False], strict=True)],
    )


def took(full: Full, work: Callable[[], Any]) -> Took:
    """Do some work and say what it took; what was left by preparing it is collected before."""
    gc.collect()
    node, own, clock = _processor(full.node.pid), time.process_time(), time.perf_counter()
    work()
    return Took(time.perf_counter() - clock, time.process_time() - own, _processor(full.node.pid) - node)


def _processor(pid: int) -> float:
    """Return the processor time of another process in seconds; 0 where that cannot be seen."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_memory(node_url: str, database_url: str) -> dict[str, Any]:
    """Read everything in this process, which has done nothing else."""
    engine = open_shop(node_url, database_url)
    idle = _peak_kib()
    began = time.perf_counter()
    report = engine.read_chain("local", max_blocks=EVERYTHING)
    took = time.perf_counter() - began
    close(engine)
    return {"logs": report.logs, "seconds": took, "idle_kib": idle, "peak_kib": _peak_kib()}


def _peak_kib() -> int:
    """Return the most memory that this process held; getrusage would count its parent's until the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(measure_memory(*sys.argv[1:])))
