"""One manager an engine: loads plugins, lets their hooks register, refuses what is wrong by name."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from evmbilling.errors import PluginError
from evmbilling.plugins import hookspecs
from evmbilling.plugins.registry import Owner, Registry
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.signer import Signer
from evmbilling.ports.storage import Storage

ENTRY_POINTS = "evmbilling"
_PREFIX = f"{hookspecs.PROJECT}_"


class _Hooks(pluggy.PluginManager):
    """Takes every function whose name begins with ``evmbilling_`` for a hook, so that none is left out silently."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if not name.startswith(_PREFIX) and _is_no_function(plugin, name):
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and not name.startswith(_PREFIX):
            return None
        held = inspect.getattr_static(plugin, name)
        function = held.__func__ if isinstance(held, staticmethod | classmethod) else held
        if not callable(function):
            return None
        if not inspect.isfunction(function) and not inspect.ismethod(function):
            raise PluginError(f"{name} is not a plain function")
        if inspect.iscoroutinefunction(function):
            raise PluginError(f"{name} is async; hooks are called without await")
        return options if options is not None else {}

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return None if _is_no_function(module_or_class, name) else super().parse_hookspec_opts(module_or_class, name)


def _is_no_function(plugin: Any, name: str) -> bool:
    """Whether a module plainly has something else under a name; looking closely costs more, and each engine pays it."""
    return inspect.ismodule(plugin) and isinstance(vars(plugin).get(name), type | ModuleType | str | dict | None)


class PluginManager:
    """The plugins of one engine and what they registered.

    Attributes:
        storages, providers, notifiers, quotas, signers: the registries, by role.

    """

    def __init__(self) -> None:
        # A Protocol stands for its own role here; nothing instantiates it.
        self.storages = Registry[Storage]("storage", Storage)  # type: ignore[type-abstract]  # checked against, not built
        self.providers = Registry[Provider]("provider", Provider)  # type: ignore[type-abstract]  # checked against, not built
        self.notifiers = Registry[Notifier]("notifier", Notifier)  # type: ignore[type-abstract]  # checked against, not built
        self.quotas = Registry[QuotaBackend]("quota", QuotaBackend)  # type: ignore[type-abstract]  # checked against, not built
        self.signers = Registry[Signer]("signer", Signer)  # type: ignore[type-abstract]  # checked against, not built
        self._registries: dict[str, Registry[Any]] = {
            f"{_PREFIX}register_{registry.role}s": registry
            for registry in (self.storages, self.providers, self.notifiers, self.quotas, self.signers)
        }
        self._hooks = _Hooks(hookspecs.PROJECT)
        self._hooks.add_hookspecs(hookspecs)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the registered plugins, in order of registration."""
        return tuple(name for name, _ in self._hooks.list_name_plugin())

    def register(self, plugin: object, name: str | None = None, *, distribution: str = "") -> str:
        """Register a plugin (a module, a class or an object with hooks) and call its hooks; return its name.

        A plugin that is refused leaves nothing behind.

        Raises:
            PluginError: it is registered already, has a hook that does not exist or cannot be called, or registers
                something that does not conform.

        """
        chosen = name or self._hooks.get_canonical_name(plugin)
        owner = Owner(chosen, _module_of(plugin), distribution)
        if self._hooks.has_plugin(chosen):
            raise PluginError(f"{owner} is registered already", plugin=chosen)
        try:
            self._hooks.register(plugin, chosen)
        except (pluggy.PluginValidationError, ValueError, PluginError) as error:
            raise PluginError(f"{owner}: {_first_line(error)}", plugin=chosen) from error
        try:
            self._hooks.check_pending()
            self._call_hooks(plugin, owner)
        except BaseException as error:
            self._hooks.unregister(plugin)
            for registry in self._registries.values():
                registry.forget(chosen)
            if isinstance(error, pluggy.PluginValidationError):
                known = ", ".join(sorted(self._registries))
                raise PluginError(f"{owner}: {error}; the hooks are: {known}", plugin=chosen) from error
            raise
        return chosen

    def load(self, names: Iterable[str] = (), *, autoload: bool = False) -> tuple[str, ...]:
        """Load plugins of installed distributions from entry points of the group ``evmbilling``.

        Args:
            names: the entry points to load.
            autoload: load all others that are installed too.

        Returns:
            The names that were loaded now; what was registered before is left alone.

        Raises:
            PluginError: a name that nobody installed or that two distributions claim, or a plugin that cannot be
                imported or does not conform.

        """
        names = tuple(names)
        if not names and not autoload:
            return ()  # looking through everything that is installed takes longer than making an engine
        found: dict[str, list[metadata.EntryPoint]] = defaultdict(list)
        for entry_point in metadata.entry_points(group=ENTRY_POINTS):
            if entry_point not in found[entry_point.name]:
                found[entry_point.name].append(entry_point)
        wanted = list(dict.fromkeys([*names, *(sorted(found) if autoload else ())]))
        unknown = [name for name in wanted if name not in found and not self._hooks.has_plugin(name)]
        if unknown:
            raise PluginError(
                f"no installed distribution has the plugin {', '.join(map(repr, unknown))}; installed: "
                f"{', '.join(sorted(found)) or 'none'}. Install the distribution that provides it with pip",
                field="plugins",
                names=tuple(sorted(found)),
            )
        fresh = [name for name in wanted if not self._hooks.has_plugin(name)]
        for name in fresh:
            self._load_one(name, found[name])
        return tuple(fresh)

    def _load_one(self, name: str, claims: list[metadata.EntryPoint]) -> None:
        distributions = sorted({_distribution(claim) for claim in claims})
        if len(claims) > 1:
            raise PluginError(f"plugin {name!r} is claimed by {' and '.join(distributions)}", plugin=name)
        try:
            plugin = claims[0].load()
        except Exception as error:
            text = f"plugin {name!r} of {distributions[0]} cannot be imported ({type(error).__name__}: {error})"
            raise PluginError(text, plugin=name) from error
        self.register(plugin, name, distribution=distributions[0])

    def _call_hooks(self, plugin: object, owner: Owner) -> None:
        others = [other for _, other in self._hooks.list_name_plugin() if other is not plugin]
        for hook_name, registry in self._registries.items():
            with registry.opened_for(owner):
                try:
                    self._hooks.subset_hook_caller(hook_name, others)(registry=registry)
                except PluginError:
                    raise
                except Exception as error:
                    text = f"{owner}: {hook_name} raised {type(error).__name__}: {error}"
                    raise PluginError(text, plugin=owner.plugin) from error


def _module_of(plugin: object) -> str:
    if inspect.ismodule(plugin):
        return plugin.__name__
    return plugin.__module__ if inspect.isclass(plugin) else type(plugin).__module__


def _distribution(entry_point: metadata.EntryPoint) -> str:
    return f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else entry_point.value


def _first_line(error: Exception) -> str:
    # pluggy ends a message with a dump of all plugins, whose reprs are none of ours to print.
    return str(error).strip().split("\n", 1)[0] if isinstance(error, ValueError) else str(error)
