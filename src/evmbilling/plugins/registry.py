"""The typed registry that a hook is given, and from which objects are built by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from typing import Any, Generic, TypeVar

from attrs import frozen
from pydantic import BaseModel, ConfigDict, ValidationError

from evmbilling.domain.identity import parse_slug
from evmbilling.errors import BillingError, ConfigurationError, PluginError
from evmbilling.plugins.conformance import problems

T = TypeVar("T")
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_INSTALL_HINT = (
    "install the distribution that provides it with pip, then name its entry point (group evmbilling) in plugins=[…] "
    "or BILLING_PLUGINS"
)


class NoOptions(BaseModel):
    """The options of what has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@frozen
class Owner:
    """Who registered something: the plugin's name and, where it came from an entry point, its distribution."""

    plugin: str
    module: str = ""
    distribution: str = ""

    def __str__(self) -> str:
        """Name both; the distribution is looked up only here, because it is slow."""
        distribution = self.distribution or _distribution_of(self.module)
        return f"plugin {self.plugin!r} of {distribution}" if distribution else f"plugin {self.plugin!r}"


@frozen(kw_only=True)
class Registration(Generic[T]):
    """One name in a registry."""

    name: str
    factory: Callable[..., T]
    implements: type[T] | str
    options: type[BaseModel]
    owner: Owner


class Registry(Generic[T]):
    """What is registered for one role.

    Attributes:
        role: the word used in messages: ``storage``, ``provider``, …
        port: the Protocol that everything here conforms to.

    """

    def __init__(self, role: str, port: type[T]) -> None:
        self.role = role
        self.port = port
        self._entries: dict[str, Registration[T]] = {}
        self._owner: Owner | None = None

    def add(
        self,
        name: str,
        factory: Callable[..., T],
        *,
        implements: type[T] | str,
        options: type[BaseModel] = NoOptions,
    ) -> None:
        """Register a class under a name. Called within the hook of this role.

        Args:
            name: a slug, unique in this registry.
            factory: called with the validated options, and by keyword with those ports that it has parameters for.
            implements: the class that the factory builds, or ``"package.module:Class"`` to import it when it is first
                built; the check moves there with it.
            options: the model of its options; unknown options are refused.

        Raises:
            PluginError: the name is taken, the class does not conform, or this is not called by a hook.

        """
        owner = self._owner
        if owner is None:
            raise PluginError(f"a {self.role} is registered within evmbilling_register_{self.role}s", plugin=name)
        parse_slug(name, field="name")
        taken = self._entries.get(name)
        if taken is not None:
            raise self._error(owner, name, f"{taken.owner} has that name already", other=taken.owner.plugin)
        if not isinstance(implements, str):
            self._check(owner, name, implements, as_class=True)
        if not _takes_options(factory):
            raise self._error(owner, name, "its factory must be a plain callable whose first parameter is the options")
        if not inspect.isclass(options) or not issubclass(options, BaseModel):
            raise self._error(owner, name, "its options are not a pydantic model class")
        self._entries[name] = Registration(
            name=name, factory=factory, implements=implements, options=options, owner=owner
        )

    def names(self) -> tuple[str, ...]:
        """Return what is registered, sorted."""
        return tuple(sorted(self._entries))

    def owner(self, name: str) -> Owner:
        """Return who registered a name.

        Raises:
            PluginError: nothing has that name.

        """
        return self._entry(name).owner

    def build(self, name: str, raw_options: Mapping[str, Any] | BaseModel | None = None, /, **ports: object) -> T:
        """Build what is registered under a name.

        Args:
            name: as it was registered.
            raw_options: untrusted options, or an instance of the options model.
            ports: what the engine can lend (clock, secrets, …); the factory gets those that it has parameters for.

        Raises:
            PluginError: unknown name, a port that is not lent here, or an object that does not conform.
            ConfigurationError: options that the model refuses; names the plugin and the field, never a value.

        """
        entry = self._entry(name)
        if isinstance(entry.implements, str):
            self._check(entry.owner, name, self._import(entry, entry.implements), as_class=True)
        options = self._options(entry, raw_options or {})
        lent = self._lend(entry, ports)
        try:
            built = entry.factory(options, **lent)
        except BillingError:
            raise
        except Exception as error:
            # The text of a foreign error may quote an option; its type does not.
            raise self._error(entry.owner, name, f"building it raised {type(error).__name__}") from error
        self._check(entry.owner, name, built, as_class=False)
        return built

    @contextmanager
    def opened_for(self, owner: Owner) -> Iterator[None]:
        """Let a plugin's hook add; what it added is taken back when the hook raises."""
        before = dict(self._entries)
        self._owner = owner
        try:
            yield
        except BaseException:
            self._entries = before
            raise
        finally:
            self._owner = None

    def forget(self, plugin: str) -> None:
        """Remove what a plugin registered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.owner.plugin != plugin}

    def _entry(self, name: str) -> Registration[T]:
        try:
            return self._entries[name]
        except KeyError:
            there = ", ".join(self.names()) or "none"
            raise PluginError(
                f"there is no {self.role} {name!r}; there is: {there}. For another one, {_INSTALL_HINT}",
                field=self.role,
                names=self.names(),
            ) from None

    def _error(self, owner: Owner, name: str, text: str, **details: Any) -> PluginError:
        return PluginError(f"{self.role} {name!r} of {owner}: {text}", plugin=owner.plugin, name=name, **details)

    def _check(self, owner: Owner, name: str, target: object, *, as_class: bool) -> None:
        if as_class and not inspect.isclass(target):
            raise self._error(owner, name, f"implements must be a class, not {type(target).__name__}")
        if inspect.iscoroutine(target):
            target.close()
            raise self._error(owner, name, "its factory returned a coroutine instead of an object")
        found = problems(target, self.port)
        if found:
            label = target.__name__ if inspect.isclass(target) else f"the built {type(target).__name__}"
            text = f"{label} is not a {self.port.__name__}:" + "".join(f"\n  {problem}" for problem in found)
            raise self._error(owner, name, text, problems=found)

    def _import(self, entry: Registration[T], path: str) -> object:
        module, _, attribute = path.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise self._error(entry.owner, entry.name, f"{path} cannot be imported ({error})") from error

    def _options(self, entry: Registration[T], raw: Mapping[str, Any] | BaseModel) -> BaseModel:
        if isinstance(raw, entry.options):
            return raw
        try:
            return entry.options.model_validate(raw, extra="forbid")
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
        # Raised outside the handler: pydantic's error holds the values, and nothing may lead to it.
        field = ".".join(str(part) for part in found[0]["loc"]) or "options"
        text = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}" for item in found)
        raise ConfigurationError(
            f"{self.role} {entry.name!r} of {entry.owner}: wrong options: {text}",
            field=field,
            plugin=entry.owner.plugin,
        )

    def _lend(self, entry: Registration[T], ports: Mapping[str, object]) -> dict[str, object]:
        parameters = list(inspect.signature(entry.factory).parameters.values())[1:]
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            return dict(ports)
        wanted = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        missing = [name for name, p in wanted.items() if p.default is p.empty and name not in ports]
        if missing:
            lent = ", ".join(sorted(ports)) or "nothing"
            raise self._error(entry.owner, entry.name, f"its factory asks for {', '.join(missing)}; lent here: {lent}")
        return {name: ports[name] for name in wanted if name in ports}


def _takes_options(factory: object) -> bool:
    if not callable(factory) or inspect.iscoroutinefunction(factory):
        return False
    parameters = list(inspect.signature(factory).parameters.values())
    return bool(parameters) and parameters[0].kind in _POSITIONAL


@cache
def _distributions_at(_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the distributions that bring a module, by the module: the list of files of each one is read for it."""
    return metadata.packages_distributions()


def _distribution_of(module: str) -> str:
    top = module.partition(".")[0]
    found = _distributions_at(tuple(sys.path)).get(top, ()) if top else ()
    if top and not found:
        # An editable installation lists no modules, but most distributions are named like their package.
        found = [dist.name for dist in metadata.distributions(name=top)]
    return ", ".join(sorted(set(found)))
