"""The commands and their options."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from evmbilling._version import __version__
from evmbilling.cli.audit import audit
from evmbilling.cli.contracts import contracts
from evmbilling.cli.database import db
from evmbilling.cli.deadletters import deadletters
from evmbilling.cli.demo.command import demo
from evmbilling.cli.deposits import deposits
from evmbilling.cli.doctor import doctor
from evmbilling.cli.output import one_line, say, say_error
from evmbilling.cli.overview import overview
from evmbilling.cli.plugins import plugins
from evmbilling.cli.prune import prune
from evmbilling.cli.reader import reader
from evmbilling.cli.secrets import secrets
from evmbilling.cli.sending import sending
from evmbilling.cli.verify import verify
from evmbilling.cli.worker import worker

_TELL_THEMSELVES = frozenset({"doctor", "worker"})
"""Commands that tell of variables that are no settings: as findings, and in the log."""
_JSON: Final = "evmbilling.json"
_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]
"""Every kind of words that cannot be understood: typer itself names this one only."""


class _Commands(TyperGroup):
    """Says in JSON too what was given wrongly, where a program asked for JSON."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep whether JSON was asked for: words that cannot be understood are not kept anywhere else."""
        ctx.meta[_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            if ctx.meta[_JSON]:
                given = getattr(error, "param", None)
                say_error("usage", getattr(given, "name", None), getattr(error, "format_message", error.__str__)())
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Billing for applications that are paid on EVM chains.",
)
app.add_typer(contracts, name="contracts")
app.add_typer(db, name="db")
app.add_typer(reader, name="reader")
app.command()(demo)
app.add_typer(deadletters, name="deadletters")
app.add_typer(deposits, name="deposits")
app.add_typer(plugins, name="plugins")
app.add_typer(secrets, name="secrets")
app.add_typer(sending, name="sending")
app.command()(audit)
app.command()(doctor)
app.command()(overview)
app.command()(prune)
app.command()(verify)
app.command()(worker)


def _show_version(asked: bool) -> None:
    if asked:
        say(__version__)
        raise typer.Exit


@app.callback()
def _every_command(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Billing for applications that are paid on EVM chains."""
    if context.invoked_subcommand not in _TELL_THEMSELVES:
        _warn_of_slips()


def _warn_of_slips() -> None:
    """Write a line for each variable whose name is nearly a setting's; others may be what a stored row refers to."""
    if not any(name.upper().startswith("BILLING_") for name in os.environ):
        return
    from evmbilling.errors import ConfigurationError
    from evmbilling.settings import BillingSettings, strange_variables

    try:
        settings = BillingSettings()
    except ConfigurationError:
        return  # the command says so itself, where it needs them
    for strange in strange_variables(os.environ, settings):
        if strange.near is not None:
            sys.stderr.write(f"warning: {one_line(str(strange))}\n")
