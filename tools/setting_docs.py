# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/settings.md`` from the settings, so that the two cannot drift apart.

::

    python tools/setting_docs.py             write it
    python tools/setting_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from written import keep, quoted

from evmbilling.settings import BillingSettings, variable_of

WIDTH = 118
_FILE = "_file"
HEAD = """\
# Settings

Written by `tools/setting_docs.py` from `evmbilling.settings.BillingSettings`. `.env.example` holds the same, to copy.

A setting comes from its variable in the environment, or from the keyword of the second column in `BillingSettings(…)`,
which goes before the environment. A variable that is empty counts as absent. A wrong value is one `ConfigurationError`
that names the variable and never repeats the value.

Networks and gateways are **added** to the database when they are not there yet; a row that is there is never
overwritten. `evmbilling doctor` (`drift`) says where the two differ.
"""


def render() -> str:
    """The whole file."""
    values = [name for name in BillingSettings.model_fields if not name.endswith(_FILE)]
    files = [name for name in BillingSettings.model_fields if name.endswith(_FILE)]
    return "\n".join([HEAD, *_overview(values), *(line for name in values for line in _entry(name)), *_in_files(files)])


def _overview(names: list[str]) -> Iterator[str]:
    yield "| variable | keyword | without it |"
    yield "|---|---|---|"
    for name in names:
        variable, default = str(variable_of(name)), _default(BillingSettings.model_fields[name])
        yield f"| [`{variable}`](#{variable.lower()}) | `{name}` | {default} |"
    yield ""


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    hidden = getattr(value, "get_secret_value", None)
    plain = hidden() if hidden is not None else value
    if plain in (None, "", (), {}):
        return ""
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _entry(name: str) -> Iterator[str]:
    field = BillingSettings.model_fields[name]
    yield f"## `{variable_of(name)}`\n"
    told = (field.description or "").split("\n")
    yield from _wrapped(told)
    yield ""
    examples = [value for value in field.examples or () if value != ""]
    if examples:
        yield "```sh"
        yield from (f"{variable_of(name)}={quoted(example)}" for example in examples)
        yield "```\n"


def _wrapped(lines: list[str]) -> Iterator[str]:
    """Wrap sentences; a command stands apart, as it is."""
    for line in lines:
        yield f"\n    {line}" if line.startswith("python ") else textwrap.fill(line, WIDTH, break_on_hyphens=False)


def _in_files(names: list[str]) -> Iterator[str]:
    yield "## Secrets in files\n"
    yield "A file may hold what is secret; its variable then names the file. Both at once is an error.\n"
    yield "White space and a byte-order mark around what the file holds are no part of it.\n"
    yield "| variable | it names a file that holds |"
    yield "|---|---|"
    for name in names:
        yield f"| `{variable_of(name)}` | `{variable_of(name.removesuffix(_FILE))}` |"
    yield ""


if __name__ == "__main__":
    keep("settings.md", render(), tool="setting_docs.py")
