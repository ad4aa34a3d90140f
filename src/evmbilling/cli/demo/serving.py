"""``evmbilling demo --serve``: the example shop on a local chain, until somebody stops it."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from pathlib import Path

import typer

from evmbilling.errors import MissingExtra, NotFound

_HERE = Path(__file__).parent
_PLACES = (_HERE.parents[3], _HERE / "packed")
"""Where the examples are: in a source tree, and in an installed package."""


def serve_shop(port: int) -> None:
    """Serve the shop and say where it is; comes back after Ctrl-C.

    Raises:
        MissingExtra: what the shop is made of is not installed.

    """
    home = str(find_examples())
    if home not in sys.path:
        sys.path.insert(0, home)
    try:
        local = import_module("examples.shop.local")
        serving = import_module("examples.fastapi_app.serving")
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] == "examples":
            raise
        raise MissingExtra("the shop needs its extra: pip install 'evmbilling[shop]'") from absent
    with local.running(serving.serve, port=port) as running:
        typer.echo(local.told(running))
        with contextlib.suppress(KeyboardInterrupt):
            running.wait()


def find_examples() -> Path:
    """Return the folder that holds ``examples``.

    Raises:
        NotFound: it is neither beside the package nor in it.

    """
    for place in _PLACES:
        if (place / "examples" / "fastapi_app").is_dir():
            return place
    raise NotFound("the examples are not there; install the package again", field="serve")
