# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/ports.md`` from the protocols that plugins implement.

::

    python tools/port_docs.py             write it
    python tools/port_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from api_docs import methods
from docstrings import markdown
from written import keep

from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.notifier import Contacts, Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.signer import Signer
from evmbilling.ports.storage import Storage, Unit

HEAD = """\
# Ports

Written by `tools/port_docs.py` from `evmbilling.ports`.

A port is what the engine asks of the world: a role, with operations in the words of the domain. A plugin registers a
class that has exactly these operations ([Hooks and registries](hooks.md)). The class is held against the port when it
is registered, and what it does by the conformance kits of `evmbilling.testing`.

None of these is called with `await`. Records and errors are those of `evmbilling.domain` and [Errors](errors.md).
"""
PORTS = {
    "Signer": Signer,
    "QuotaBackend": QuotaBackend,
    "Notifier": Notifier,
    "Contacts": Contacts,
    "Provider": Provider,
    "MandateProvider": MandateProvider,
    "Storage": Storage,
    "Unit": Unit,
}
"""The ports, from the smallest to the largest."""


def render() -> str:
    """The whole page."""
    lines = [HEAD]
    for name, port in PORTS.items():
        lines += [f"## `{name}`\n", f"`{port.__module__}.{name}`\n", *markdown(port.__doc__)]
        lines += methods(port, inherited=True)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    keep("ports.md", render(), tool="port_docs.py")
