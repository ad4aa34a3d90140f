# ruff: noqa: INP001  - a folder of scripts, not a package
"""Load every plugin that is installed in a folder: ``python tools/check_plugins.py FOLDER HOW_MANY``."""

from __future__ import annotations

import sys


def main(folder: str, wanted: str) -> int:
    """Load and list them; the exit status says whether as many as were installed are there."""
    sys.path.insert(0, folder)
    from evmbilling.plugins import PluginManager

    manager = PluginManager()
    loaded = manager.load(autoload=True)
    for registry in (manager.storages, manager.providers, manager.notifiers, manager.quotas, manager.signers):
        for name in registry.names():
            print(f"{registry.role} {name!r}: {registry.owner(name)}")
    return int(len(loaded) != int(wanted))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
