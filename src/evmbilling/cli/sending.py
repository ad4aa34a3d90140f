"""``evmbilling sending``: our own transactions."""

from __future__ import annotations

from typing import Annotated

import typer

from evmbilling.cli.output import counted, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.sending.fences import MOST_IN_FLIGHT

sending = typer.Typer(no_args_is_help=True, help="Our own transactions, which the relayer sends.")


@sending.callback()
def _group() -> None:
    """Our own transactions, which the relayer sends."""


@sending.command()
def fence(
    gateway: Annotated[str, typer.Argument(help="The gateway whose relayer it is, by slug.")],
    network: Annotated[str, typer.Argument(help="Where, by the network's name.")],
    count: Annotated[
        int,
        typer.Option(
            "--count", help="How many nonces, 1 to 1000: no fewer than were signed since the backup and are not mined."
        ),
    ] = MOST_IN_FLIGHT,
    by: Annotated[str, typer.Option("--by", metavar="USER", help="Who asks; written to the audit log.")] = "cli",
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """After a restore: use up the next nonces of a relayer's wallet, so that nothing it signed before is ever mined.

    The relayer sends a transaction that does nothing for each, and nothing else until all of them are irreversible.
    Each costs the gas of a transfer. The key of the relayer has to be here.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            posts = engine.sending(Actor(by, frozenset({Role.BILLING_ADMIN}))).fence(gateway, network, count=count)
        finally:
            engine.close()
        if as_json:
            facts = {"network": network, "sender": posts[0].sender, "nonces": len(posts)}
            say_json(facts | {"transmissions": [one.transmission_id for one in posts]})
        else:
            say(f"{counted(len(posts), 'nonce')} of {posts[0].sender} on {network} will be used up")
