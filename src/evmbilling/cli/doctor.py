"""``evmbilling doctor``: looks at an installation and says what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from evmbilling.cli.output import FAILED, one_line, reporting, say, say_json


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Check database, configuration, keys, nodes, contracts and workers; say what to do about what is wrong.

    Ends with 0 when nothing failed (there may be warnings), and with 1 when a check failed.
    """
    with reporting(as_json=as_json):
        from evmbilling.doctor import examine
        from evmbilling.settings import BillingSettings

        found = examine(BillingSettings())
        if as_json:
            say_json(found.as_document())
        else:
            for finding in found.findings:
                advice = f" -> {finding.advice}" if finding.advice else ""
                say(one_line(f"{finding.verdict.upper():4} {finding.check}: {finding.text}{advice}"))
        if found.verdict == "fail":
            raise typer.Exit(FAILED)
