# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/testing.md`` from the fixtures and the tools that hosts and plugins test with.

::

    python tools/testing_docs.py             write it
    python tools/testing_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from api_docs import thing
from written import keep

from evmbilling.testing import (
    anvil,
    browser,
    clock,
    deploy,
    drain,
    fake_chain,
    keys,
    merchant,
    postgres,
    pytest_plugin,
    rpc_proxy,
    time_machine,
    wallet,
)

HEAD = """\
# Testing tools

Written by `tools/testing_docs.py` from `evmbilling.testing`. How they are used stands in
[Test my host](../how-to/test-my-host.md), [Test on a local chain](../how-to/test-on-a-local-chain.md) and
[Test against bad nodes](../how-to/test-against-bad-nodes.md).

What simulates needs a bare install only; what starts a program needs `evmbilling[testing]`.

## Fixtures

pytest loads them by itself. Each pytest-xdist worker has a chain and a server of its own.
"""
THINGS: dict[str, tuple[Any, ...]] = {
    "A merchant": (
        merchant.simulated_merchant,
        merchant.SimulatedMerchant,
        merchant.open_merchant,
        merchant.anvil_merchant,
        merchant.plan_fields,
        merchant.wallet_of,
    ),
    "Time": (clock.FrozenClock, time_machine.TimeMachine, drain.drain, drain.NotSettled),
    "A chain in memory": (fake_chain.FakeChain,),
    "A real chain": (
        anvil.AnvilNode,
        deploy.deploy_token,
        deploy.deploy_checkout,
        deploy.deploy_mandates,
        deploy.transact,
        wallet.Wallet,
        keys.new_key,
        keys.sign_typed_data,
        keys.sign_text,
    ),
    "Nodes that misbehave": (rpc_proxy.RpcProxy, rpc_proxy.Rule),
    "Databases and browsers": (postgres.PostgresServer, browser.open_browser),
}
"""What is shown, by what it is for."""


def render() -> str:
    """The whole page."""
    lines = [HEAD, *_fixtures()]
    for title, values in THINGS.items():
        lines.append(f"## {title}\n")
        for value in values:
            lines += [f"### `{value.__name__}`\n", f"`{value.__module__}.{value.__name__}`\n"]
            lines += thing(value, value.__name__)
    return "\n".join(lines).rstrip() + "\n"


def _fixtures() -> Iterator[str]:
    yield "| fixture | lives for | what |"
    yield "|---|---|---|"
    for name, value in vars(pytest_plugin).items():
        function = getattr(value, "_get_wrapped_function", None)
        if function is None or name.startswith("_"):
            continue
        scope = value._fixture_function_marker.scope  # noqa: SLF001  - pytest says it nowhere else
        text = " ".join((inspect.getdoc(function()) or "").split()).replace("``", "`")
        yield f"| `{name}` | a {scope if scope == 'session' else 'test'} | {text} |"
    yield ""


if __name__ == "__main__":
    keep("testing.md", render(), tool="testing_docs.py")
