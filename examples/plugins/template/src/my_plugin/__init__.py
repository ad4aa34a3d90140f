"""A plugin for evmbilling. This one is a notifier; other roles register by another hook and pass another kit."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.notifier import Notifier
from my_plugin.notifier import LinesNotifier


class LinesOptions(BaseModel):
    """What ``BILLING_PLUGIN_OPTIONS`` may say about it; any other option is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str


@hookimpl
def evmbilling_register_notifiers(registry: Registry[Notifier]) -> None:
    """Register the notifier under the name that ``BILLING_NOTIFIERS`` selects."""
    registry.add("lines", make, implements=LinesNotifier, options=LinesOptions)


def make(options: LinesOptions) -> LinesNotifier:
    """Build it; parameters after the options are what the engine lends (``clock``, ``secrets``, …)."""
    return LinesNotifier(options.path)
