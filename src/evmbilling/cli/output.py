"""What a command says, to people and to programs, and the exit code that goes with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from evmbilling.errors import BillingError, ConfigurationError, InputError, PluginError, StorageError

FAILED: Final = 1
USAGE: Final = 2


def say(text: str) -> None:
    """Write a line for people to standard output."""
    sys.stdout.write(f"{text}\n")


def say_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    say(json.dumps(value, indent=2))


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing, which bears the plural's s from two on and for none."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def say_error(code: str, field: str | None, message: str) -> None:
    """Write an error as the JSON document that a program expects on standard output."""
    say_json({"error": {"code": code, "field": field, "message": one_line(message)}})


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Turn an error of ours into one line on standard error, and into JSON on standard output when asked.

    What was given wrongly (an input, a named setting) ends with 2, everything else with 1.
    """
    try:
        yield
    except BillingError as error:
        because = _driver_words(error)
        sys.stderr.write(f"error: {one_line(f'{error}{because}')}\n")
        if as_json:
            say_error(error.code, error.field, f"{error.message}{because}")
        named = isinstance(error, ConfigurationError | PluginError) and error.field
        given_wrongly = isinstance(error, InputError) or named
        raise typer.Exit(USAGE if given_wrongly else FAILED) from None


def _driver_words(error: BillingError) -> str:
    """Return why the driver could not connect: whoever typed the url may read it. It never holds the password.

    A file that is no SQLite database is a plain ``DatabaseError``; what is below it may quote values of a row.
    """
    driver_error = getattr(error.__cause__, "orig", None)
    told = isinstance(error, StorageError) and type(driver_error).__name__ in {"OperationalError", "DatabaseError"}
    return f" ({str(driver_error).splitlines()[0]})" if told and str(driver_error) else ""


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
