"""``evmbilling demo``."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evmbilling.cli.output import FAILED, reporting, say_json
from evmbilling.errors import ConfigurationError, InputError, MissingExtra

if TYPE_CHECKING:
    from evmbilling.cli.demo.checks import Outcome

_NEEDED = {"rich", "filelock", "platformdirs"}


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="Copy the SQLite file here afterwards.", dir_okay=False)
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Leave a shop running instead: a local chain, and a wallet in the page.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the shop; 0 takes a free one.")] = 8000,
) -> None:
    """Sell a plan on a local chain, end to end: paid, taken away, paid again, and three forgeries refused.

    An order that somebody changes in the database is found, and one that a thief of our key signs for another treasury
    buys nothing. Plain transfers follow: too little, too much, too late, and from a stranger. Then months pass: a
    mandate that somebody else signed is refused, one month is pulled under the right one, the next charge fails with
    its reason, the debt is paid. The books are verified at the end.

    Every step is looked up in the chain and in the database afterwards. Ends with 0 only when all were verified.
    """
    with reporting(as_json=as_json):
        if keep is not None and not keep.parent.is_dir():
            raise InputError(f"there is no folder {keep.parent}", field="keep")
        if serve:
            from evmbilling.cli.demo.serving import serve_shop

            serve_shop(port)
            return
        verified = _run(as_json=as_json, keep=keep)
    if not verified:
        raise typer.Exit(FAILED)


def _run(*, as_json: bool, keep: Path | None) -> bool:
    try:
        from rich.console import Console

        from evmbilling.cli.demo import showing
        from evmbilling.cli.demo.runner import run_steps
        from evmbilling.cli.demo.steps import STEPS
        from evmbilling.cli.demo.world import World
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise MissingExtra("the demo needs its extra: pip install 'evmbilling[demo]'") from None
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    console = Console(quiet=as_json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="evmbilling-demo-") as folder:
        world = World(folder=Path(folder))
        try:
            with showing.Board(console, STEPS) as board:
                for outcome in run_steps(STEPS, world, board.started):
                    outcomes.append(outcome)
                    board.ended(outcome)
        finally:
            world.close()
        if keep is not None and world.database_path.exists():
            try:
                shutil.copyfile(world.database_path, keep)
            except OSError as error:
                raise ConfigurationError(f"cannot be written: {error.strerror}", field="keep") from None
    seconds = time.monotonic() - begun
    showing.show_end(console, outcomes, len(STEPS), seconds)
    told = showing.as_json(outcomes, STEPS, seconds)
    if as_json:
        say_json(told)
    return bool(told["ok"])
