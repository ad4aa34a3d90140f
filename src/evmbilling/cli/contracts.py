"""``evmbilling contracts``: contracts that are bound by configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import FAILED, one_line, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.catalogue.simulations import UNCHECKED

if TYPE_CHECKING:
    from evmbilling.domain.catalogue.simulations import SimulatedEvent, Simulation

contracts = typer.Typer(no_args_is_help=True, help="Contracts that are bound by configuration.")


@contracts.callback()
def _contracts() -> None:
    """Contracts that are bound by configuration."""


@contracts.command()
def simulate(
    *,
    slug: Annotated[str, typer.Argument(help="The binding, by its slug.")],
    network: Annotated[str, typer.Argument(help="The network, by name.")],
    wallet: Annotated[str, typer.Option("--wallet", metavar="ADDRESS", help="Who would pay; it needs the money.")],
    amount: Annotated[str, typer.Option("--amount", metavar="UNITS", help="Base units to pay.")],
    token: Annotated[str, typer.Option("--token", metavar="ADDRESS", help="The token's address, or native.")],
    treasury: Annotated[
        str | None, typer.Option("--treasury", metavar="ADDRESS", help="Who receives; a gateway's when left out.")
    ] = None,
    beneficiary: Annotated[
        str | None, typer.Option("--beneficiary", metavar="ADDRESS", help="Who gets the membership.")
    ] = None,
    quantity: Annotated[int, typer.Option("--quantity", min=1, help="Pieces.")] = 1,
    renewal: Annotated[bool, typer.Option("--renewal", help="Try the call of a later period.")] = False,
    signed: Annotated[
        bool, typer.Option("--signed", help="Try the call that takes the payer's signature; a throw-away key signs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Try the call that would pay an order, on the chain as it stands. Nothing is sent and nothing is stored.

    Ends with 1 when the contract refuses the call, when it could not be tried, or what it would emit pays no order.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = engine.contracts(Actor("cli", frozenset({Role.BILLING_ADMIN}))).simulate(
                slug,
                network,
                wallet=wallet,
                token=token,
                amount=amount,
                treasury=treasury,
                beneficiary=beneficiary,
                quantity=quantity,
                renewal=renewal,
                signed=signed,
            )
        finally:
            engine.close()
        say_json(as_document(found, wallet)) if as_json else say("\n".join(_lines(found)))
        if not found.succeeds or found.pays is False:
            raise typer.Exit(FAILED)


def as_document(found: Simulation, wallet: str) -> dict[str, Any]:
    """Return a dry run as JSON values; amounts as digits."""
    spender = found.approval
    return {
        "succeeds": found.succeeds,
        "refusal": found.refusal,
        "pays": found.pays,
        "stand_in": found.stand_in,
        "unchecked": {word: UNCHECKED[word] for word in found.unchecked},
        "gas": found.gas,
        "offered_gas": dict(found.offered_gas),
        "payload": found.payload.as_rpc(found.stand_in or wallet),
        "approval": None if spender is None else {"spender": spender[0], "amount": str(spender[1])},
        "events": [_event(event) for event in found.events],
        "mapped": [{"event": event, "means": means} for event, means in found.mapped],
    }


def _event(event: SimulatedEvent) -> dict[str, Any]:
    fields = dict(event.fields)
    return {"address": event.address, "event": event.event or None, "means": event.means, "fields": fields}


def _lines(found: Simulation) -> list[str]:
    unknown = [f"not checked: {UNCHECKED[word]}" for word in found.unchecked]
    if not found.succeeds:
        refused = f"the contract refuses the call: {one_line(found.refusal or '')}"
        return ["the call could not be tried" if found.succeeds is None else refused, *unknown]
    pays = {True: "it pays the order", False: "it pays NO order", None: "the node cannot show what it emits"}
    lines = [f"the call goes through; {pays[found.pays]}"]
    lines += [f"gas {found.gas}: save {kind}={units} for the binding" for kind, units in found.offered_gas]
    lines += [
        f"  {event.event or 'a log of another contract'} at {event.address}: {event.means or 'means nothing'}"
        for event in found.events
    ]
    return [*lines, *unknown]
