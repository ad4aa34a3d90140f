"""A worker within the test's own process, which leaves logging as it was: its handler's stream closes."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from typer.testing import CliRunner, Result

from evmbilling.cli.app import app


def work_once(environment: Mapping[str, str], *arguments: str) -> Result:
    """Run ``evmbilling worker --once``."""
    root, own = logging.getLogger(), logging.getLogger("evmbilling")
    before = root.handlers, root.level, own.level
    try:
        return CliRunner(env=environment).invoke(app, ["worker", "--once", *arguments])
    finally:
        root.handlers, root.level, own.level = before
