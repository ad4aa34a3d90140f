"""Fixtures for the tests of hosts and plugins; pytest loads this module by itself.

Importing it costs nothing: the chain, the database driver and the rest are imported when a fixture is used.

==================  ========================================================================
``anvil``           a local chain; what a test does to it is undone afterwards
``anvil_pair``      two of them, with different chain ids
``anvil_node``      the chain behind ``anvil`` for fixtures of the session, e.g. deployments
``rpc_proxy``       a proxy before ``anvil`` whose faults a test decides
``make_rpc_proxy``  makes more of them: ``make_rpc_proxy(seed=…)``, also before another node's url
``postgres_url``    the SQLAlchemy URL of an empty PostgreSQL database of the test's own
``postgres_server`` the server behind it
==================  ========================================================================

Each pytest-xdist worker has a chain and a server of its own.

A standard test of a conformance kit (:mod:`evmbilling.testing.conformance`) that fails says which clause of the port's
contract it is about; standard tests that a plugin replaces are listed with their reasons at the end.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from evmbilling.testing.anvil import AnvilNode
    from evmbilling.testing.postgres import PostgresServer
    from evmbilling.testing.rpc_proxy import RpcProxy

pytest.register_assert_rewrite("evmbilling.testing.conformance")

_CONFORMANCE = "evmbilling.testing.conformance.base"
_DEVIATIONS = pytest.StashKey[dict[str, str]]()
_FIRST_CHAIN_ID = 31337
_SECOND_CHAIN_ID = 31338


@pytest.fixture(scope="session")
def anvil_node() -> Iterator[AnvilNode]:
    """The chain behind ``anvil``, for session fixtures that deploy what many tests use."""
    from evmbilling.testing.anvil import AnvilNode

    with AnvilNode(chain_id=_FIRST_CHAIN_ID) as node:
        yield node


@pytest.fixture(scope="session")
def _second_anvil_node() -> Iterator[AnvilNode]:
    from evmbilling.testing.anvil import AnvilNode

    with AnvilNode(chain_id=_SECOND_CHAIN_ID) as node:
        yield node


@contextlib.contextmanager
def _undone(node: AnvilNode) -> Iterator[AnvilNode]:
    """Put the chain back as it was. A test that ends or reconfigures a node starts one of its own."""
    snapshot = node.start().snapshot()
    recipient = node.rpc("eth_coinbase")
    try:
        yield node
    finally:
        try:
            node.revert(snapshot)
            # These are settings of the node, which a snapshot does not hold.
            node.set_chain_id(node.chain_id)
            node.rpc("evm_setAutomine", False)
            node.rpc("anvil_setCoinbase", recipient)
        except BaseException:
            node.stop()  # the next test gets a new chain instead of what is left of this one
            raise


@pytest.fixture
def anvil(anvil_node: AnvilNode) -> Iterator[AnvilNode]:
    """A local EVM chain that mines when it is told to; what the test does to it is undone afterwards."""
    with _undone(anvil_node):
        yield anvil_node


@pytest.fixture
def anvil_pair(anvil: AnvilNode, _second_anvil_node: AnvilNode) -> Iterator[tuple[AnvilNode, AnvilNode]]:
    """Two local chains with the same accounts and different chain ids."""
    with _undone(_second_anvil_node):
        yield anvil, _second_anvil_node


@pytest.fixture
def make_rpc_proxy(anvil: AnvilNode) -> Iterator[Callable[..., RpcProxy]]:
    """Makes proxies before ``anvil`` (or before ``url``) whose faults a test decides; they end with the test."""
    from evmbilling.testing.rpc_proxy import RpcProxy

    with contextlib.ExitStack() as stack:

        def make(url: str | None = None, *, seed: int = 0) -> RpcProxy:
            return stack.enter_context(RpcProxy(anvil.url if url is None else url, seed=seed))

        yield make


@pytest.fixture
def rpc_proxy(make_rpc_proxy: Callable[..., RpcProxy]) -> RpcProxy:
    """A proxy before ``anvil`` whose faults a test decides."""
    return make_rpc_proxy()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the session of this worker."""
    from evmbilling.testing.postgres import PostgresServer

    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database, dropped after the test."""
    with postgres_server.database() as url:
        yield url


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks that standard tests carry."""
    config.addinivalue_line("markers", "fault(row): the row of evmbilling's fault catalogue that a test demonstrates")
    config.addinivalue_line("markers", "sampled(strength): a product of parameters of which evmbilling takes a sample")
    config.stash[_DEVIATIONS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Say of a failed standard test what the contract asks, and what the test would have shown.

    What fails before the test begins, such as a plugin that does not load, broke no clause.
    """
    report = yield
    base, kit = sys.modules.get(_CONFORMANCE), getattr(item, "cls", None)
    if report.failed and report.when != "setup" and base is not None and kit is not None:
        told = base.breach(kit, getattr(item, "originalname", item.name))
        if told:
            report.sections.append(("what to fix", told))
            if hasattr(report.longrepr, "reprcrash") and report.longrepr.reprcrash is not None:
                report.longrepr.reprcrash.message = f"{told} | {report.longrepr.reprcrash.message}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Collect what plugins do otherwise than their kit."""
    base = sys.modules.get(_CONFORMANCE)
    if base is None:
        return
    for kit in {item.cls for item in items if isinstance(item, pytest.Function) and item.cls is not None}:
        for name, reason in base.deviations(kit).items():
            config.stash[_DEVIATIONS][f"{kit.__module__}.{kit.__qualname__}.{name}"] = reason


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """List the deviations."""
    found = config.stash[_DEVIATIONS]
    if found:
        terminalreporter.section("standard tests that were replaced")
        for name, reason in sorted(found.items()):
            terminalreporter.write_line(f"{name}: {reason}")
