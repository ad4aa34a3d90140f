# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``.env.example`` from the settings, so that the two cannot drift apart.

::

    python tools/env_example.py            write it
    python tools/env_example.py --check    exit 1 when it is not what would be written
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from evmbilling.settings import BillingSettings, variable_of

TARGET = Path(__file__).resolve().parent.parent / ".env.example"
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
    return f"\n{comment}\n" + "".join(f"#{variable_of(name)}={_quoted(example)}\n" for example in examples)


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if any(c in text for c in ' "') else text


def main(arguments: list[str]) -> int:
    """Write, or compare with what is there."""
    if "--check" not in arguments:
        TARGET.write_text(render(), encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == render():
        return 0
    print(f"{TARGET.name} is not what the settings say; run: python tools/env_example.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
