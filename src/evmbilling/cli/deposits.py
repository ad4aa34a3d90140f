"""``evmbilling deposits``: the addresses at which orders are paid by whoever can only send to an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import counted, one_line, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role

if TYPE_CHECKING:
    from evmbilling.domain.selling.deposits import Deposit

deposits = typer.Typer(no_args_is_help=True, help="Addresses at which orders are paid, and what was sent there.")
Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order, by its ledger id.")]
By = Annotated[str, typer.Option("--by", metavar="USER", help="Who asks; written to the audit log.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


@deposits.command()
def show(order: Order, as_json: AsJson = False) -> None:
    """Show an order's address, and what was there when it was looked at last. No node is asked."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = engine.deposits(_actor("cli")).deposit(order)
        finally:
            engine.close()
        _tell(found, as_json=as_json)


@deposits.command()
def look(order: Order, by: By = "cli", as_json: AsJson = False) -> None:
    """Have an order's address looked at again, however old it is; the next worker does it and sweeps what is there."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = engine.deposits(_actor(by)).look_again(order)
        finally:
            engine.close()
        _tell(found, as_json=as_json)


@deposits.command()
def sweep(
    order: Order,
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="ADDRESS", help="What was sent there; the order's own asset when left out."),
    ] = None,
    by: By = "cli",
    as_json: AsJson = False,
) -> None:
    """Have something that was sent to an order's address by mistake sent on to its treasury; the relayer does it.

    The key of the gateway's relayer has to be here.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            sent = engine.deposits(_actor(by)).sweep(order, token)
        finally:
            engine.close()
        if as_json:
            say_json({"transmission_id": sent.transmission_id, "status": str(sent.status), "sender": sent.sender})
        else:
            say(f"{sent.transmission_id} will be sent by {sent.sender}")


def _actor(name: str) -> Actor:
    return Actor(name, frozenset({Role.FINANCE_OPS}))


def _tell(deposit: Deposit, *, as_json: bool) -> None:
    if as_json:
        say_json(_as_document(deposit))
        return
    when = "never by itself" if deposit.next_at is None else f"at {deposit.next_at:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        f"{deposit.address} on chain {deposit.chain_id}",
        f"held {deposit.held} base units; ordered: {counted(deposit.sweeps, 'sweep')}",
        f"looked at next {when}",
    ]
    say("\n".join(map(one_line, lines)))


def _as_document(deposit: Deposit) -> dict[str, Any]:
    return {
        "ledger_id": deposit.ledger_id,
        "chain_id": deposit.chain_id,
        "address": deposit.address,
        "held": str(deposit.held),
        "seen_at": None if deposit.seen_at is None else deposit.seen_at.isoformat(),
        "sweeps": deposit.sweeps,
        "failures": deposit.failures,
        "next_at": None if deposit.next_at is None else deposit.next_at.isoformat(),
        "watched_until": deposit.watched_until.isoformat(),
    }
