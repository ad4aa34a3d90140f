"""Bindings that are ready: the fields of a contract, by the name of its kind.

``admin.create_contract(slug="passes", network="base", address=…, **preset("erc5643", duration=2_592_000))`` binds one.
Each is a file beside this one; adding a preset is adding a file. A file has a ``title``, ``says`` when it fits, names
its ``parameters``, and gives the ``fields``, in which ``<name>`` stands for a parameter.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from evmbilling.errors import InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Preset", "load_preset", "preset", "preset_names"]


@frozen(kw_only=True)
class Preset:
    """One file.

    Attributes:
        name: of the file.
        title: what it binds, for a list.
        says: when it fits, and what has to be true for it.
        parameters: what has to be given, and its meaning.

    """

    name: str
    title: str
    says: str
    parameters: Mapping[str, str]
    _fields: Mapping[str, Any] = field(repr=False)

    def fields(self, **given: int | str) -> dict[str, Any]:
        """Return the fields for ``admin.create_contract``, to which slug, network and address are added.

        Raises:
            InputError: a parameter is missing or unknown; names it.

        """
        for name in sorted(set(given) ^ set(self.parameters)):
            raise InputError(f"the preset {self.name} takes {', '.join(self.parameters) or 'nothing'}", field=name)
        filled = {f"<{name}>": value for name, value in given.items()}
        made: dict[str, Any] = _fill(self._fields, filled)
        return made


def preset_names() -> tuple[str, ...]:
    """Return the names that :func:`preset` knows, sorted."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@cache
def load_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        NotFound: there is none of that name.

    """
    known = preset_names()
    if name not in known:
        raise NotFound(f"There is no preset {name!r}; there are {', '.join(known)}.", field="name")
    record = json.loads((resources.files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return Preset(
        name=name,
        title=record["title"],
        says=record["says"],
        parameters=record.get("parameters", {}),
        fields=record["fields"],
    )


def preset(name: str, /, **given: int | str) -> dict[str, Any]:
    """Return the fields of a preset for ``admin.create_contract``; see :meth:`Preset.fields`.

    Raises:
        NotFound: there is no preset of that name.
        InputError: a parameter is missing or unknown; names it.

    """
    return load_preset(name).fields(**given)


def _fill(value: Any, given: Mapping[str, int | str]) -> Any:
    if isinstance(value, dict):
        return {name: _fill(item, given) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, given) for item in value]
    return given.get(value, value) if isinstance(value, str) else value
