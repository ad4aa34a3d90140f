"""``evmbilling plugins``: what can be selected by name, and who provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import reporting, say, say_json

if TYPE_CHECKING:
    from evmbilling.plugins import PluginManager
    from evmbilling.settings import BillingSettings

plugins = typer.Typer(no_args_is_help=True, help="Plugins.")
_ROLES = ("storages", "providers", "notifiers", "quotas", "signers")


@plugins.callback()
def _every_command() -> None:
    """Plugins."""


@plugins.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Show what is registered by role and name, by which plugin, and what the settings select. Opens no database."""
    with reporting(as_json=as_json):
        from evmbilling.settings import BillingSettings
        from evmbilling.wiring import make_plugin_manager

        settings = BillingSettings()
        manager = make_plugin_manager(names=settings.plugins, autoload=settings.plugins_autoload)
        found = list(_registered(manager, settings))
        if as_json:
            say_json({"plugins": found})
        else:
            say("\n".join(_line(entry) for entry in found))


def _registered(manager: PluginManager, settings: BillingSettings) -> list[dict[str, Any]]:
    selected: dict[str, set[str | None]] = {
        "storages": {settings.storage},
        "notifiers": set(settings.notifiers),
        "quotas": {settings.quota},
    }
    return [
        {
            "role": role.removesuffix("s"),
            "name": name,
            "owner": str(getattr(manager, role).owner(name)),
            "selected": name in selected[role] if role in selected else None,
        }
        for role in _ROLES
        for name in getattr(manager, role).names()
    ]


def _line(entry: dict[str, Any]) -> str:
    mark = " (selected)" if entry["selected"] else ""
    return f"{entry['role']} {entry['name']}: {entry['owner']}{mark}"
