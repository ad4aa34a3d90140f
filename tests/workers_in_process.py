"""A worker within the test's own process."""

from __future__ import annotations

from collections.abc import Mapping

from typer.testing import CliRunner, Result

from evmbilling.cli.app import app


def work_once(environment: Mapping[str, str], *arguments: str) -> Result:
    """Run ``evmbilling worker --once``."""
    return CliRunner(env=environment).invoke(app, ["worker", "--once", *arguments])
