"""``evmbilling deadletters``: messages that were given up, and trying them once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import counted, one_line, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role

if TYPE_CHECKING:
    from evmbilling.domain.messages.messages import Delivery
    from evmbilling.engine.messages.deliveries import Deliveries

deadletters = typer.Typer(no_args_is_help=True, help="Messages that were given up.")
Sink = Annotated[
    str | None, typer.Option("--sink", help="Of one sink only: notifier:NAME, webhook:ENDPOINT or quota:NAME.")
]
By = Annotated[str, typer.Option("--by", metavar="USER", help="Who decides; written to the audit log.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]
_PAGE = 500


@deadletters.command("list")
def list_(sink: Sink = None, as_json: AsJson = False) -> None:
    """Show the deliveries that were given up, by the id of their event."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = _dead(engine.deliveries(_actor("cli")), sink)
        finally:
            engine.close()
        if as_json:
            say_json({"deadletters": [_as_document(delivery) for delivery in found]})
        else:
            say("\n".join(_line(delivery) for delivery in found) or "there are none")


@deadletters.command()
def replay(
    event: Annotated[str | None, typer.Argument(help="The event's id; all that are listed when left out.")] = None,
    sink: Sink = None,
    by: By = "cli",
    as_json: AsJson = False,
) -> None:
    """Try dead deliveries once more: the dispatcher takes them next. One that fails again is dead again."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            desk = engine.deliveries(_actor(by))
            if sink is not None:
                desk.sink(sink)  # a slip in the name is not a queue that is empty
            wanted = [delivery for delivery in _dead(desk, sink) if event in {None, delivery.event_id}]
            again = [desk.redeliver(delivery.event_id, delivery.sink) for delivery in wanted]
        finally:
            engine.close()
        if as_json:
            say_json({"replayed": [_as_document(delivery) for delivery in again]})
        else:
            say(f"{len(again)} will be tried again")


def _actor(name: str) -> Actor:
    return Actor(name, frozenset({Role.FINANCE_OPS}))


def _dead(desk: Deliveries, sink: str | None) -> list[Delivery]:
    found: list[Delivery] = []
    after = ""
    while page := desk.list(sink=sink, state="dead", after=after, limit=_PAGE):
        found += page
        after = page[-1].event_id
    return found


def _as_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "event_id": delivery.event_id,
        "sink": delivery.sink,
        "subject": delivery.aggregate,
        "seq": delivery.seq,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "status_code": delivery.status_code,
        "error": delivery.error,
    }


def _line(delivery: Delivery) -> str:
    last = delivery.error or delivery.status_code or ""
    tried = counted(delivery.attempts, "attempt")
    return one_line(f"{delivery.event_id} {delivery.sink} {delivery.aggregate} {tried} {last}")
