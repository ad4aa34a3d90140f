"""The example plugins pass their own tests: the standard tests of their kit, found through entry points."""

from __future__ import annotations

import atexit
import re
import tempfile
from pathlib import Path

import pytest
from example_plugins import described, installed, load_own_tests, projects

import forks  # noqa: F401  - other processes begin warm
from evmbilling.plugins import PluginManager
from evmbilling.ports.storage import Storage
from evmbilling.testing.conformance.base import Kit
from sampling import examples

_folder = tempfile.TemporaryDirectory()
atexit.register(_folder.cleanup)
KITS = {}
for _project in projects():
    installed(_project, Path(_folder.name))
    for _name, _kit in vars(load_own_tests(_project)).items():
        if isinstance(_kit, type) and issubclass(_kit, Kit) and _name.startswith("Test"):
            # A class of this module, so that pytest collects it; the plugin's own is its base.
            about = {"examples": lambda _, number: examples(number), "few_cases": _kit.port is Storage}
            KITS[_project.name] = type(_name, (_kit,), about)
globals().update({kit.__name__: kit for kit in KITS.values()})


def test_every_role_has_an_example():
    roles = {kit.port.__name__ for name, kit in KITS.items() if name != "template"}
    assert roles == {"Storage", "Provider", "Notifier", "QuotaBackend", "Signer"}
    assert "template" in KITS


@pytest.mark.parametrize("project", projects(), ids=lambda path: path.name)
def test_a_plugin_is_a_distribution_with_one_entry_point(project):
    about = described(project)
    ((point, module),) = about["entry-points"]["evmbilling"].items()
    manager = PluginManager()
    assert manager.load([point]) == (point,)
    registries = (manager.storages, manager.providers, manager.notifiers, manager.quotas, manager.signers)
    ((name, owner),) = [(name, registry.owner(name)) for registry in registries for name in registry.names()]
    assert str(owner) == f"plugin {point!r} of {about['name']} {about['version']}"
    assert re.fullmatch(r"[a-z]+", name)
    assert (project / "src" / module / "__init__.py").is_file()
    assert about["dependencies"] == ["evmbilling"], "an example needs nothing else"
