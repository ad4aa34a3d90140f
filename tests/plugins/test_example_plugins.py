"""The example plugins pass their own tests: the standard tests of their kit, found through entry points."""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path

import pytest

import forks  # noqa: F401  - other processes begin warm
from evmbilling import BillingEngine
from evmbilling.plugins import PluginManager
from evmbilling.ports.bindings import BindingProvider
from evmbilling.ports.deposits import DepositProvider
from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Storage
from evmbilling.settings import BillingSettings
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.base import Kit
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant
from example_plugins import FOLDER, described, installed, load_own_tests, projects
from sampling import examples

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
INSTALLED = installed()
KITS = {}
for _project in projects():
    for _name, _kit in vars(load_own_tests(_project)).items():
        if isinstance(_kit, type) and issubclass(_kit, Kit) and _name.startswith("Test"):
            # A class of this module, so that pytest collects it; the plugin's own is its base.
            about = {"examples": lambda _, number: examples(number), "few_cases": _kit.port in (Storage, Provider)}
            KITS[_project.name] = type(_name, (_kit,), about)
sys.path.remove(str(INSTALLED))  # other tests see nothing installed
globals().update({kit.__name__: kit for kit in KITS.values()})


@pytest.fixture(autouse=True, scope="module")
def installed_here():
    """For the tests of this module, the example plugins are installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(INSTALLED))
        yield


def test_every_role_has_an_example():
    roles = {kit.port.__name__ for name, kit in KITS.items() if name != "template"}
    assert roles == {"Storage", "Provider", "Notifier", "QuotaBackend", "Signer"}
    assert "template" in KITS


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_a_plugin_is_a_distribution_with_one_entry_point(project):
    about = described(project)
    (point,) = about["entry-points"]["evmbilling"]
    manager = PluginManager()
    assert manager.load([point]) == (point,)
    registries = (manager.storages, manager.providers, manager.notifiers, manager.quotas, manager.signers)
    ((name, owner),) = [(name, registry.owner(name)) for registry in registries for name in registry.names()]
    assert str(owner) == f"plugin {point!r} of {about['name']} {about['version']}"
    assert re.fullmatch(r"[a-z]+", name)
    assert about["dependencies"] == ["evmbilling"], "an example needs nothing else"


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_what_is_tested_is_what_pip_has_installed(project):
    about = described(project)
    found = distribution(about["name"])
    assert found.read_text("INSTALLER") == "pip\n"
    ((point, module),) = about["entry-points"]["evmbilling"].items()
    PluginManager().load([point])
    mine = {path.relative_to(project / "src").as_posix() for path in (project / "src").rglob("*.py")}
    assert mine == {str(path) for path in found.files if path.suffix == ".py"}
    loaded = [Path(other.__file__) for name, other in sys.modules.items() if name.partition(".")[0] == module]
    assert all(path.is_relative_to(INSTALLED / module) for path in loaded)


def test_the_types_of_all_of_them_are_checked():
    about = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["tool"]["mypy"]
    assert "examples/plugins" in about["files"]
    assert set(about["mypy_path"]) == {"src", *(f"examples/plugins/{path.name}/src" for path in projects())}


def test_a_host_selects_them_by_their_names(tmp_path):
    settings = BillingSettings(
        storage="journal",
        plugins=["journal_storage", "receipts_provider", "file_quota", "my_plugin"],
        quota="file",
        notifiers=["lines"],
        plugin_options={
            "storage.journal": {"path": str(tmp_path / "billing.db")},
            "provider.receipts": {"blocks": 10},
            "quota.file": {"path": str(tmp_path / "quota.db")},
            "notifier.lines": {"path": str(tmp_path / "events.jsonl")},
        },
    )
    engine = BillingEngine.from_settings(settings)
    ports = engine._ports
    assert list(ports.providers) == ["evm", "receipts"]
    assert repr(ports.provider("receipts")) == "<ReceiptsProvider>"
    assert (list(ports.quotas), list(ports.notifiers)) == (["file"], ["lines"])
    assert type(ports.storage).__name__ == "JournalStorage"
    engine.close()


def test_a_shop_on_the_journal_is_there_when_it_is_opened_again(tmp_path):
    manager, clock = PluginManager(), FrozenClock(NOON)
    manager.load(["journal_storage"])

    def opened():
        return manager.storages.build("journal", {"path": str(tmp_path / "billing.db")}, clock=clock)

    shop = simulated_merchant(storage=opened(), chain=FakeChain(31337, start=NOON, safe_lag=8, finalized_lag=16))
    paid = shop.buy()
    assert shop.engine.access("user-1").allowed
    assert shop.engine.verify().differences == ()
    again = BillingEngine(storage=opened(), clock=shop.clock, clock_tolerance=None)
    assert again.access("user-1").allowed
    assert again.order(paid.ledger_id) == shop.engine.order(paid.ledger_id)
    assert again._ports.storage.instance_id() == shop.engine._ports.storage.instance_id()


@pytest.mark.parametrize("face", [MandateProvider, BindingProvider, DepositProvider])
def test_a_provider_of_receipts_has_no_face_that_asks_a_node(face):
    manager = PluginManager()
    manager.load(["receipts_provider"])
    lent = {"signer_for": None, "reveal": None}
    assert not isinstance(manager.providers.build("receipts", None, **lent), face)
    built_in = BillingEngine.from_settings(BillingSettings(storage="memory"))
    assert isinstance(built_in._ports.provider("evm"), face)
    built_in.close()
