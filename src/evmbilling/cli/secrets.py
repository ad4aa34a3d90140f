"""``evmbilling secrets``: what is stored under ``BILLING_SECRET_KEY``."""

from __future__ import annotations

from typing import Annotated

import typer

from evmbilling.cli.output import reporting, say, say_json

secrets = typer.Typer(
    no_args_is_help=True, help="Secrets that are stored under BILLING_SECRET_KEY, and the key of the seals."
)


@secrets.command()
def reseal(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Seal what a former key has sealed under the newest one, all or nothing; then the former can be taken away."""
    with reporting(as_json=as_json):
        from evmbilling.domain.actors import SYSTEM
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            done = engine.admin(SYSTEM).reseal_secrets()
        finally:
            engine.close()
        if as_json:
            say_json({"resealed": done})
        elif done:
            say("\n".join(f"{name}: {count} sealed again" for name, count in done.items()))
        else:
            say("every stored secret is sealed under the newest key")


@secrets.command("seal-anew")
def seal_anew(
    by: Annotated[str, typer.Option("--by", metavar="USER", help="Who decides; written to the audit log.")] = "cli",
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Let the chain of seals go on with BILLING_SEAL_KEY where the key before it is lost for good.

    What that key has sealed cannot be proved any more.
    """
    with reporting(as_json=as_json):
        from evmbilling.domain.actors import Actor, Role
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            number = engine.admin(Actor(by, frozenset({Role.BILLING_ADMIN}))).seal_anew()
        finally:
            engine.close()
        say_json({"seal": number}) if as_json else say(f"link {number} is of this key")
