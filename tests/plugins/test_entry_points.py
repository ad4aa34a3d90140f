"""Entry points: loaded by name, or all of them when asked to; never by themselves."""

from __future__ import annotations

import sys

import pytest

from evmbilling.errors import PluginError

SOURCE = """
class Pigeon:
    def notify(self, event): ...

def evmbilling_register_notifiers(registry):
    registry.add("{name}", lambda options: Pigeon(), implements=Pigeon)
"""


def test_nothing_is_loaded_unasked(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon"))
    assert manager.load() == ()
    assert manager.notifiers.names() == ()
    assert "module_of_pigeon_post" not in sys.modules


def test_a_named_entry_point_is_loaded_alone(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon"))
    install("raven-post", "raven", SOURCE.format(name="raven"))
    assert manager.load(["pigeon"]) == ("pigeon",)
    assert manager.notifiers.names() == ("pigeon",)
    assert str(manager.notifiers.owner("pigeon")) == "plugin 'pigeon' of pigeon-post 1.2"
    assert "module_of_raven_post" not in sys.modules


def test_autoload_takes_all_once(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon"))
    install("raven-post", "raven", SOURCE.format(name="raven"))
    assert manager.load(["raven"], autoload=True) == ("raven", "pigeon")
    assert manager.load(["raven"], autoload=True) == ()
    assert manager.notifiers.names() == ("pigeon", "raven")


def test_an_unknown_plugin_lists_what_is_installed(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon"))
    with pytest.raises(PluginError) as caught:
        manager.load(["pidgeon"])
    assert caught.value.field == "plugins"
    assert "'pidgeon'; installed: pigeon. Install" in caught.value.message


def test_one_name_of_two_distributions_is_refused(manager, install):
    install("pigeon-post", "bird", SOURCE.format(name="pigeon"))
    install("raven-post", "bird", SOURCE.format(name="raven"))
    with pytest.raises(PluginError, match=r"'bird' is claimed by pigeon-post 1\.2 and raven-post 1\.2"):
        manager.load(["bird"])


def test_a_plugin_that_cannot_be_imported_is_named_with_its_distribution(manager, install):
    install("pigeon-post", "pigeon", "import no_such_module_anywhere\n")
    with pytest.raises(PluginError, match=r"plugin 'pigeon' of pigeon-post 1\.2 cannot be imported \(ModuleNotFound"):
        manager.load(["pigeon"])


def test_a_class_that_does_not_conform_is_refused_with_its_distribution(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon").replace("def notify", "async def notify"))
    with pytest.raises(PluginError) as caught:
        manager.load(["pigeon"])
    assert "plugin 'pigeon' of pigeon-post 1.2" in caught.value.message
    assert "notify: async def" in caught.value.message


def test_a_plugin_registered_by_hand_is_traced_to_its_distribution(manager, install):
    install("pigeon-post", "pigeon", SOURCE.format(name="pigeon"))
    import module_of_pigeon_post

    manager.register(module_of_pigeon_post)
    assert str(manager.notifiers.owner("pigeon")) == "plugin 'module_of_pigeon_post' of pigeon-post"
