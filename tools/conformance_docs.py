# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/conformance.md``: clauses, capabilities, and which standard test refuses which mutant.

::

    python tools/conformance_docs.py           runs every mutant through its kit (minutes) and writes the page
    python tools/conformance_docs.py Signer    only those of one port; the other tables stay
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from inspect import getdoc, getmodule, isfunction, unwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/conformance.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| `(test_\w+)`(?:, `test_\w+`)* \|$")
_ROLE = re.compile(r":\w+:(`[\w.]+`)")
KITS = (
    *("Storage", "Provider", "MandateProvider", "BindingProvider", "DepositProvider"),
    *("Notifier", "QuotaBackend", "Signer"),
)

HEAD = """# Conformance kits

<!-- written by tools/conformance_docs.py -->

A kit is the contract of a port as tests: subclass it, give its fixtures, run pytest. [A plugin from the
template](../tutorials/a-plugin.md) shows how; [the hooks](hooks.md) say how a plugin is registered. Tests
whose fixture was not given fail and name it.

```text
from evmbilling.testing.conformance import (
    BindingConformance, DepositConformance, MandateConformance, NotifierConformance, ProviderConformance,
    QuotaConformance, SignerConformance, StorageConformance, deviates
)
```

* What a plugin can do beyond the contract is declared in `capabilities`, by name. Tests of what is not declared are not
  collected; a name that the kit does not know is refused.
* A standard test that fails says which clause of the contract it is about, under "what to fix".
* A standard test cannot be replaced in silence: a class that does is refused. `@deviates("why")` marks a test of your
  own that stands in for one, and the end of each run lists it with its reason.
* `examples(number)` can be overridden: how many examples a property takes.

* A provider passes `ProviderConformance`. One that also pulls by mandate, sells through contracts that are bound by
  configuration, or sells through deposit addresses passes the kit of that as well: `MandateConformance`,
  `BindingConformance`, `DepositConformance`. The engine asks a provider for what it can do by its methods, so these are
  kits of their own and no capabilities; your subclass of `ProviderConformance` names the others in `faces`.
  [Packaging](../explanation/packaging.md) says which ports have no kit, and why.

evmbilling's own adapters pass the same kits, and so do the plugins in `examples/plugins`. Each kit is tried against
mutants: implementations that are right but for one thing. The tables say what is wrong with each, the clause that it
breaks, and the standard tests that refuse it (at most two are looked for).
"""


def kit_of(port: str) -> Any:
    """Return the kit of a port, by the port's name."""
    from evmbilling.testing import conformance

    kits = [getattr(conformance, name) for name in conformance.__all__ if name.endswith("Conformance")]
    return next(kit for kit in kits if kit.port.__name__ == port)


def page(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the page.

    Args:
        found: by port, what was found out about each mutant; what is not there stays as the page has it.

    """
    tables = {port: table(found[port]) if port in found else _stays(port) for port in KITS}
    return HEAD + "".join(section(port, text) for port, text in tables.items())


def section(port: str, text: str) -> str:
    """Return what the page says of one kit, with the table of its mutants."""
    return f"\n## `{kit_of(port).__name__}`\n\n{promises(port)}\n{text}"


def part_of(port: str) -> str:
    """Return the section of the page about one kit."""
    _, _, after = PAGE.read_text().partition(f"\n## `{kit_of(port).__name__}`\n")
    return after.partition("\n## ")[0]


def _stays(port: str) -> str:
    return "| clause |" + part_of(port).rpartition("| clause |")[2] if part_of(port) else table({})


def promises(port: str) -> str:
    """Return the fixtures, capabilities and clauses of a kit: what does not come from mutants."""
    from evmbilling.testing.conformance.base import contract

    kit = kit_of(port)
    clauses = "\n".join(f"{number}. {_code(words)}" for number, words in sorted(contract(kit.port).items()))
    known = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in sorted(kit.known.items()))
    capabilities = f"\n| capability | promise |\n|---|---|\n{known}\n" if known else ""
    given = "\n".join(f"| `{name}` | {what} | {when} |" for name, what, when in asked_of_authors(kit))
    fixtures = f"\n| you give | what | when |\n|---|---|---|\n{given}\n"
    return f"Port: `{kit.port.__module__}.{kit.port.__name__}`\n\n{clauses}\n{capabilities}{fixtures}"


def asked_of_authors(kit: Any) -> list[tuple[str, str, str]]:
    """Return the fixtures and methods that a kit leaves to its subclass: name, what it is, and when it is needed."""
    found: dict[str, str] = {}
    for base in reversed(kit.__mro__):
        for name, held in vars(base).items():
            made = unwrap(held) if callable(held) else held
            if isfunction(made) and (name == "secrets" or "not_given" in made.__code__.co_names):
                found[name] = getdoc(made) or ""
                wanted = next(iter(made.__annotations__.get("return", "").split("[")[:1]), "")
                shape = vars(getmodule(base)).get(wanted)
                if getattr(shape, "_is_protocol", False) and getmodule(shape) is getmodule(base):
                    members = {f"{name}.{each}": one for each, one in vars(shape).items() if each[0] != "_"}
                    found |= {each: getdoc(one) or "" for each, one in members.items()}
    return [(name, _code(" ".join(_ROLE.sub(r"\1", what).split())), _when(kit, name)) for name, what in found.items()]


def _when(kit: Any, name: str) -> str:
    if name == "secrets":
        return "where there are any"
    by = [f"`{capability}`" for capability, meaning in sorted(kit.known.items()) if f"`{name}`" in meaning]
    return f"with {', '.join(by)}" if by else "always"


def table(mutants: dict[str, dict[str, Any]]) -> str:
    """Return the mutants of a kit and what refused them, by clause."""
    rows = [
        (about["of"], about["words"], about["killers"])
        for about in mutants.values()
        if about["of"] and about["killers"]
    ]
    lines = [
        f"| {clause} | {words} | {', '.join(f'`{killer}`' for killer in killers)} |"
        for clause, words, killers in sorted(rows)
    ]
    return "\n".join(["| clause | what is wrong | refused by |", "|---|---|---|", *lines]) + "\n"


def killers_on(text: str) -> dict[str, tuple[int, str]]:
    """Read a page, or a part: what is wrong with each mutant, its clause, and the first test that refuses it."""
    rows = filter(None, map(ROW.match, text.splitlines()))
    return {row[2]: (int(row[1]), row[3]) for row in rows}


def survivors(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the mutants that nothing refused, and the controls that something did."""
    return [name for name, about in found.items() if bool(about["killers"]) != bool(about["of"])]


def _code(words: str) -> str:
    return words.replace("``", "`")


def main(ports: Sequence[str]) -> int:
    """Hunt, and write the page; exit 1 when a mutant survives."""
    sys.path[:0] = [str(ROOT / "tests/conformance"), str(ROOT / "tests")]
    from mutant_hunt import hunt

    with tempfile.TemporaryDirectory() as folder:
        found = {port: hunt(port, folder) for port in ports or KITS}
    alive = [f"{port}: {name}" for port in found for name in survivors(found[port])]
    PAGE.write_text(page(found))
    print(
        f"{sum(map(len, found.values()))} classes; "
        + (f"wrong: {', '.join(alive)}" if alive else "all as they should be")
    )
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
