"""``evmbilling reader``: how far every network has been read, and how a halted one goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.backfill import backfill
from evmbilling.cli.output import counted, one_line, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role

if TYPE_CHECKING:
    from evmbilling.domain.reading.evidence import BlockHeader
    from evmbilling.engine.reading.halts import NetworkStatus, Resumed

reader = typer.Typer(no_args_is_help=True, help="Reading of the networks.")
reader.command()(backfill)
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


@reader.command()
def status(as_json: AsJson = False) -> None:
    """Show how far each network has been read, what it lacks, and why it stands still. No node is asked."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = engine.reader(Actor("cli", frozenset({Role.BILLING_ADMIN}))).status()
        finally:
            engine.close()
        if as_json:
            say_json({"networks": [as_document(network) for network in found]})
        else:
            say("\n".join(_line(network) for network in found) or "there is no network")


@reader.command()
def resume(
    network: Annotated[str, typer.Argument(help="The halted network, by name.")],
    accept: Annotated[
        str, typer.Option("--accept", metavar="HASH", help="Hash of the block that is now at the contested height.")
    ],
    by: Annotated[str, typer.Option("--by", metavar="USER", help="Who decides; written to the audit log.")] = "cli",
    as_json: AsJson = False,
) -> None:
    """Let a halted network go on upon the branch that you have looked at.

    What was disputed is judged from the chain as it is read again. The contested height stands in `reader status`;
    take the hash from a source that you trust, not from the node that you read.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            done = engine.reader(Actor(by, frozenset({Role.BILLING_ADMIN}))).resume(network, accept=accept)
        finally:
            engine.close()
        if as_json:
            say_json(_resumed(done))
        else:
            again = counted(done.rewound, "block")
            say(f"{done.network} goes on above block {done.ancestor.number}; read again: {again}")


def as_document(status: NetworkStatus) -> dict[str, Any]:
    """Return a network's status as JSON values."""
    cursor = status.cursor
    halt = cursor.halt if cursor is not None else None
    return {
        "network": status.network.name,
        "chain_id": status.network.chain_id,
        "block": _block(cursor.block) if cursor is not None else None,
        "head": cursor.heights.head if cursor is not None else None,
        "safe": cursor.heights.safe if cursor is not None else None,
        "finalized": cursor.heights.finalized if cursor is not None else None,
        "irreversible": _block(cursor.irreversible) if cursor is not None and cursor.irreversible else None,
        "read_at": cursor.updated_at.isoformat() if cursor is not None else None,
        "lag_seconds": int(status.lag.total_seconds()) if status.lag is not None else None,
        "max_lag_seconds": status.network.max_lag,
        "unavailable": status.unavailable,
        "halt": {"reason": halt.reason, "at_block": halt.at_block, "since": halt.since.isoformat()} if halt else None,
        "contested": _block(status.contested) if status.contested is not None else None,
        "parked": dict(status.parked),
    }


def _resumed(done: Resumed) -> dict[str, Any]:
    return {
        "network": done.network,
        "accepted": _block(done.accepted),
        "ancestor": _block(done.ancestor),
        "rewound": done.rewound,
    }


def _block(header: BlockHeader) -> dict[str, Any]:
    return {"number": header.number, "hash": "0x" + header.hash.hex(), "time": header.timestamp.isoformat()}


def _line(status: NetworkStatus) -> str:
    cursor, name = status.cursor, status.network.name
    if cursor is None or status.lag is None:
        return f"{name}: nothing has been read"
    words = [f"{name}: block {cursor.block.number}, {int(status.lag.total_seconds())} s old"]
    words.append("finalized " + ("unknown" if cursor.heights.finalized is None else str(cursor.heights.finalized)))
    if cursor.halt is not None and status.contested is not None:
        words.append(
            f"HALTED since {cursor.halt.since.isoformat()} ({cursor.halt.reason}): doubt above block "
            f"{cursor.halt.at_block}, contested block {status.contested.number} 0x{status.contested.hash.hex()}"
        )
    elif status.unavailable:
        words.append(f"LAGGING beyond {status.network.max_lag} s")
    parked = ", ".join(f"{count} {reason}" for reason, count in status.parked.items())
    return one_line("; ".join([*words, *([f"parked: {parked}"] if parked else [])]))
