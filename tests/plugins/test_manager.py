"""Loading plugins: hooks register, wrong ones are refused by name, and two managers are strangers."""

from __future__ import annotations

import sys
import types

import pytest
from pydantic import BaseModel, SecretStr

from evmbilling.errors import ConfigurationError, PluginError
from evmbilling.plugins import PluginManager, hookimpl


class Printer:
    def __init__(self, prefix=""):
        self.prefix = prefix

    def notify(self, event):
        return self.prefix


class PrinterOptions(BaseModel):
    prefix: str = ""
    copies: int = 1
    token: SecretStr = SecretStr("")


def printing(name="printer", **changes):
    """A plugin object with one notifier."""
    added = {
        "factory": lambda options: Printer(options.prefix),
        "implements": Printer,
        "options": PrinterOptions,
    } | changes

    class Plugin:
        @hookimpl
        def evmbilling_register_notifiers(self, registry):
            registry.add(name, **added)

    return Plugin()


def refusal(call, *args, **kwargs) -> PluginError:
    with pytest.raises(PluginError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_registered_classes_are_built_by_name(manager):
    manager.register(printing(), "stationery")
    assert manager.notifiers.names() == ("printer",)
    assert manager.notifiers.owner("printer").plugin == "stationery"
    built = manager.notifiers.build("printer", {"prefix": "> "})
    assert built.notify(None) == "> "
    assert manager.notifiers.build("printer", PrinterOptions(prefix="# ")).notify(None) == "# "
    assert manager.notifiers.build("printer").notify(None) == ""


def test_every_role_has_a_registry_with_its_hook(manager):
    seen = {}

    class Plugin:
        def evmbilling_register_storages(self, registry):
            seen["storages"] = registry

        def evmbilling_register_providers(self, registry):
            seen["providers"] = registry

        def evmbilling_register_notifiers(self, registry):
            seen["notifiers"] = registry

        def evmbilling_register_quotas(self, registry):
            seen["quotas"] = registry

        def evmbilling_register_signers(self, registry):
            seen["signers"] = registry

    manager.register(Plugin())
    assert seen == {
        role: getattr(manager, role) for role in ("storages", "providers", "notifiers", "quotas", "signers")
    }


def test_modules_and_classes_can_be_plugins(manager):
    module = types.ModuleType("evmbilling_stationery")
    module.evmbilling_register_notifiers = lambda registry: registry.add("from-module", Printer, implements=Printer)

    class Plugin:
        @staticmethod
        def evmbilling_register_notifiers(registry):
            registry.add("from-class", Printer, implements=Printer)

    assert manager.register(module) == "evmbilling_stationery"
    manager.register(Plugin, "cls")
    assert manager.notifiers.names() == ("from-class", "from-module")
    assert manager.plugins == ("evmbilling_stationery", "cls")


@pytest.mark.fault("H27")
def test_h27_two_managers_in_one_process_do_not_see_each_other():
    one, other = PluginManager(), PluginManager()
    plugin = printing()
    one.register(plugin, "stationery")
    assert one.notifiers.names() == ("printer",)
    assert other.notifiers.names() == ()
    assert other.plugins == ()
    other.register(plugin, "stationery")
    one_built, other_built = (m.notifiers.build("printer", {"prefix": p}) for m, p in ((one, "1"), (other, "2")))
    assert (one_built.prefix, other_built.prefix) == ("1", "2")


def test_a_class_that_does_not_conform_is_refused_with_everything_that_is_missing(manager):
    class Half:
        async def check(self, user_id, limit, amount=1): ...

        def consume(self, limit, user_id, amount=1): ...

    class Plugin:
        def evmbilling_register_quotas(self, registry):
            registry.add("half", Half, implements=Half)

    error = refusal(manager.register, Plugin(), "acme", distribution="acme-billing 1.2")
    assert error.message == (
        "quota 'half' of plugin 'acme' of acme-billing 1.2: Half is not a QuotaBackend:\n"
        "  check: async def; the engine calls it without await\n"
        "  consume: parameter 1 is called 'limit', the port calls it 'user_id'\n"
        "  consume: parameter 2 is called 'user_id', the port calls it 'limit'\n"
        "  plan_changed: missing"
    )
    assert (error.details["plugin"], error.details["name"], len(error.details["problems"])) == ("acme", "half", 4)


def test_a_taken_name_is_refused_and_both_owners_are_named(manager):
    manager.register(printing(), "first")
    error = refusal(manager.register, printing(), "second")
    assert "'printer'" in error.message
    assert "plugin 'first'" in error.message
    assert "plugin 'second'" in error.message
    assert manager.notifiers.owner("printer").plugin == "first"
    assert manager.plugins == ("first",)


def test_the_same_plugin_is_refused_twice(manager):
    plugin = printing()
    manager.register(plugin, "first")
    assert "registered already" in refusal(manager.register, plugin, "first").message
    assert "plugin 'again'" in refusal(manager.register, plugin, "again").message
    assert manager.plugins == ("first",)


@pytest.mark.parametrize("marked", [True, False])
def test_a_misspelt_hook_is_refused(manager, marked):
    class Plugin:
        def evmbilling_register_notifier(self, registry): ...

    if marked:
        Plugin.evmbilling_register_notifier = hookimpl(Plugin.evmbilling_register_notifier)
    error = refusal(manager.register, Plugin(), "typo")
    assert "plugin 'typo'" in error.message
    assert "evmbilling_register_notifier'" in error.message
    assert "evmbilling_register_notifiers" in error.message
    assert manager.plugins == ()
    manager.register(printing(), "next")
    assert manager.notifiers.names() == ("printer",)


def test_a_marked_hook_of_another_name_is_refused(manager):
    class Plugin:
        @hookimpl
        def register_notifiers(self, registry): ...

    assert "register_notifiers" in refusal(manager.register, Plugin(), "typo").message


def test_a_hook_with_another_parameter_is_refused(manager):
    class Plugin:
        def evmbilling_register_notifiers(self, registri): ...

    error = refusal(manager.register, Plugin(), "typo")
    assert error.message.startswith("plugin 'typo'")
    assert manager.plugins == ()


async def _async_hook(registry): ...


@pytest.mark.parametrize(("hook", "said"), [(_async_hook, "is async"), (Printer, "is not a plain function")])
def test_a_hook_that_is_no_plain_function_is_refused(manager, hook, said):
    plugin = type("Plugin", (), {"evmbilling_register_notifiers": staticmethod(hook)})()
    assert said in refusal(manager.register, plugin, "odd").message


def test_names_that_are_no_functions_are_left_alone(manager):
    module = types.ModuleType("with_imports")
    module.evmbilling_version = "1"
    module.evmbilling_extras = sys
    assert manager.register(module) == "with_imports"


def test_a_hook_that_raises_leaves_nothing_behind(manager):
    class Plugin:
        def evmbilling_register_notifiers(self, registry):
            registry.add("half-way", Printer, implements=Printer)

        def evmbilling_register_signers(self, registry):
            raise RuntimeError("no such device")

    error = refusal(manager.register, Plugin(), "hsm")
    assert error.message.startswith("plugin 'hsm'")
    assert error.message.endswith(": evmbilling_register_signers raised RuntimeError: no such device")
    assert manager.plugins == ()
    assert manager.notifiers.names() == ()


def test_interrupts_pass_through_and_leave_nothing_behind(manager):
    class Plugin:
        def evmbilling_register_notifiers(self, registry):
            registry.add("half-way", Printer, implements=Printer)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.register(Plugin(), "stopped")
    assert manager.notifiers.names() == ()
    assert manager.plugins == ()


def test_adding_outside_a_hook_is_refused(manager):
    kept = []

    class Plugin:
        def evmbilling_register_notifiers(self, registry):
            kept.append(registry)

    manager.register(Plugin(), "hoarder")
    assert "within evmbilling_register_notifiers" in refusal(kept[0].add, "x", Printer, implements=Printer).message


async def _async_factory(options): ...


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"factory": "Printer"}, "first parameter is the options"),
        ({"factory": _async_factory}, "first parameter is the options"),
        ({"factory": lambda: None}, "first parameter is the options"),
        ({"options": dict}, "not a pydantic model class"),
        ({"implements": Printer()}, "implements must be a class, not Printer"),
    ],
)
def test_unusable_registrations_are_refused(manager, changes, said):
    assert said in refusal(manager.register, printing(**changes), "odd").message


@pytest.mark.parametrize("name", ["", "Printer", "a b", "x" * 65, "ünicode"])
def test_names_are_slugs(manager, name):
    assert refusal(manager.register, printing(name), "odd").details["plugin"] == "odd"


def test_an_unknown_name_lists_what_exists_and_how_to_get_more(manager):
    manager.register(printing(), "stationery")
    error = refusal(manager.notifiers.build, "pigeon")
    assert error.field == "notifier"
    assert error.details["names"] == ("printer",)
    assert "there is no notifier 'pigeon'; there is: printer." in error.message
    assert "pip" in error.message
    assert "BILLING_PLUGINS" in error.message
    assert "there is: none" in refusal(manager.storages.build, "pigeon").message


@pytest.mark.parametrize(
    ("raw", "field"),
    [({"copies": "many"}, "copies"), ({"copeis": 1}, "copeis"), ({"prefix": 3}, "prefix"), ([1], "options")],
)
def test_wrong_options_are_a_configuration_error_naming_plugin_and_field(manager, raw, field):
    manager.register(printing(), "stationery")
    with pytest.raises(ConfigurationError) as caught:
        manager.notifiers.build("printer", raw)
    assert caught.value.field == field
    assert "plugin 'stationery'" in caught.value.message
    assert field in caught.value.message


def test_wrong_options_are_not_repeated_in_the_error(manager, canary):
    manager.register(printing(), "stationery")
    with pytest.raises(ConfigurationError) as caught:
        manager.notifiers.build("printer", {"token": {"nested": canary}, "copies": canary})
    assert canary not in str(caught.value)
    assert canary not in repr(caught.value.__dict__)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_factories_get_the_ports_that_they_ask_for(manager):
    seen = {}

    def some(options, clock, *, ids=None):
        seen["some"] = (clock, ids)
        return Printer()

    def everything(options, **ports):
        seen["everything"] = ports
        return Printer()

    manager.register(printing("some", factory=some), "one")
    manager.register(printing("everything", factory=everything), "two")
    manager.notifiers.build("some", clock="tick", secrets="hush")
    manager.notifiers.build("everything", clock="tick", secrets="hush")
    assert seen == {"some": ("tick", None), "everything": {"clock": "tick", "secrets": "hush"}}
    error = refusal(manager.notifiers.build, "some", secrets="hush")
    assert "asks for clock; lent here: secrets" in error.message


async def _returns_coroutine(): ...


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda options: None, "the built NoneType is not a Notifier"),
        (lambda options: _returns_coroutine(), "returned a coroutine"),
        (lambda options: type("Mute", (), {"notify": None})(), "notify: missing"),
        (lambda options: 1 // 0, "building it raised ZeroDivisionError"),
    ],
)
def test_what_the_factory_builds_is_checked_too(manager, factory, said):
    manager.register(printing(factory=factory), "stationery")
    error = refusal(manager.notifiers.build, "printer")
    assert said in error.message
    assert "plugin 'stationery'" in error.message


def test_our_own_errors_pass_through_the_build_unchanged(manager):
    ours = ConfigurationError("the key is not there", field="key")

    def factory(options):
        raise ours

    manager.register(printing(factory=factory), "stationery")
    with pytest.raises(ConfigurationError) as caught:
        manager.notifiers.build("printer")
    assert caught.value is ours


def test_a_class_named_by_its_path_is_imported_and_checked_when_it_is_built(manager, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "heavy_printer.py").write_text("class Heavy:\n    def notify(self, event): ...\nclass Mute: ...\n")
    monkeypatch.delitem(sys.modules, "heavy_printer", raising=False)

    def factory(options):
        from heavy_printer import Heavy

        return Heavy()

    for name in ("Heavy", "Mute", "Gone"):
        manager.register(printing(name.lower(), factory=factory, implements=f"heavy_printer:{name}"), name)
    assert "heavy_printer" not in sys.modules
    assert type(manager.notifiers.build("heavy")).__name__ == "Heavy"
    assert "notify: missing" in refusal(manager.notifiers.build, "mute").message
    assert "heavy_printer:Gone cannot be imported" in refusal(manager.notifiers.build, "gone").message
