# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``.env.example`` from the settings, so that the two cannot drift apart.

::

    python tools/env_example.py            write it
    python tools/env_example.py --check    exit 1 when it is not what would be written
"""

from __future__ import annotations

import textwrap

from written import keep, quoted

from evmbilling.settings import BillingSettings, variable_of

HEAD = """\
# Configuration of evmbilling. Copy to .env, take the # away from what you need, and fill in your own values.
# Nothing reads .env by itself: load it with `set -a; . ./.env; set +a`, or name it as EnvironmentFile= to systemd.
# Written by tools/env_example.py from evmbilling.settings.
"""


def render() -> str:
    """The whole file."""
    return HEAD + "".join(_entry(name) for name in BillingSettings.model_fields)


def _entry(name: str) -> str:
    field = BillingSettings.model_fields[name]
    lines = (field.description or "").split("\n")
    comment = "\n".join(
        textwrap.fill(line, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False) for line in lines
    )
    examples = field.examples or ["/run/secrets/" + name.removesuffix("_file")]
    return f"\n{comment}\n" + "".join(f"#{variable_of(name)}={quoted(example)}\n" for example in examples)


if __name__ == "__main__":
    keep("../../.env.example", render(), tool="env_example.py")
