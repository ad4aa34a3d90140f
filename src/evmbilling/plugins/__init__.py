"""Plugins: hooks register, objects work.

A plugin adds classes to typed registries through hooks; the engine builds objects from them by name. Nothing here is
global: each engine has a :class:`PluginManager` of its own.
"""

from __future__ import annotations

from evmbilling.plugins.hookspecs import hookimpl
from evmbilling.plugins.manager import PluginManager
from evmbilling.plugins.registry import NoOptions, Owner, Registry

__all__ = ["NoOptions", "Owner", "PluginManager", "Registry", "hookimpl"]
