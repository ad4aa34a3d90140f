"""Runs mutants through their kits, and tells which standard test refused each."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import forks

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULES = {
    "Storage": (
        "storage_mutants.py",
        "storage_mutants_writing.py",
        "storage_mutants_reading.py",
        "storage_mutants_evidence.py",
        "storage_mutants_deep.py",
        "storage_mutants_whole.py",
    ),
    "Provider": (
        "provider_mutants.py",
        "provider_mutants_contract.py",
        "provider_mutants_deep.py",
        "provider_mutants_answers.py",
    ),
    "MandateProvider": ("mandate_mutants.py",),
    "BindingProvider": ("binding_mutants.py",),
    "DepositProvider": ("deposit_mutants.py",),
    "Notifier": ("notifier_mutants.py", "notifier_mutants_contract.py"),
    "QuotaBackend": ("quota_mutants.py", "quota_mutants_contract.py"),
    "Signer": ("signer_mutants.py", "signer_mutants_contract.py"),
}
ENOUGH = 2
"""After so many standard tests have refused a mutant, it need not run the others."""
LONGEST = 3600
"""Seconds after which a hunt is taken for stuck: that of storages takes twenty minutes on a busy machine."""


class Hunt:
    """A plugin of pytest: the tests of a mutant's own clause come first, and it ends when it is refused.

    A class whose ``of`` is 0 is a control: there is nothing wrong with it.
    """

    def __init__(self, only):
        self.only = only
        self.mutants, self.killers = {}, defaultdict(dict)

    def pytest_pycollect_makeitem(self, collector, name, obj):
        """Know each mutant, and collect of its tests those that run: all the others cost more than these do."""
        mutant = getattr(collector, "cls", None)
        if getattr(mutant, "of", None) is None or not (name.startswith("test") and callable(obj)):
            return None
        self.mutants[mutant.__name__] = {"of": mutant.of, "words": mutant.__doc__, "kit": mutant.port.__name__}
        return None if self.only is None or name in self.only.get(mutant.__doc__, ()) else []

    def pytest_collection_modifyitems(self, items):
        from evmbilling.testing.conformance.base import clause_of

        wanted = [item for item in items if getattr(item.cls, "of", None) is not None]
        places = [
            (item.cls.__name__, clause_of(item.cls, item.originalname) != item.cls.of, number)
            for number, item in enumerate(wanted)
        ]
        items[:] = [wanted[place[-1]] for place in sorted(places)]

    def pytest_runtest_protocol(self, item, nextitem):
        killers = self.killers[item.cls.__name__]
        if len(killers) < ENOUGH and item.originalname not in killers:  # another case of the same test says no more
            return None
        item.session._setupstate.teardown_exact(nextitem)
        return True

    def pytest_runtest_logreport(self, report):
        if report.failed:
            mutant, test = report.nodeid.split("::")[1:]
            self.killers[mutant].setdefault(test.partition("[")[0], True)


def _main(files, only, result):
    import pytest

    for folder in (HERE, ROOT / "tests", ROOT / "tests/plugins", ROOT / "tests/storage/suite"):
        sys.path.insert(0, str(folder))
    hunt = Hunt(only)
    paths = [str(HERE / name) for name in files]
    # What a mutant leaves open is not what it is judged for; what no kit asks for costs more than its tests.
    off = ("cacheprovider", "xdist", "randomly", "unraisableexception", "threadexception", "schemathesis", "anyio")
    quiet = ["-q", "--tb=no", "--noconftest", "-W", "ignore", *(part for name in off for part in ("-p", f"no:{name}"))]
    pytest.main([*quiet, "-c", os.devnull, f"--rootdir={HERE}", *paths], plugins=[hunt])
    found = {name: about | {"killers": list(hunt.killers[name])} for name, about in hunt.mutants.items()}
    Path(result).write_text(json.dumps(found))


def hunt(kit, folder, only=None):
    """Return what is wrong with each mutant of a kit, and which standard tests refused it.

    Args:
        kit: the port's name.
        folder: for scratch.
        only: the standard tests to run, by what is wrong.

    """
    result = Path(folder) / f"{kit}.json"
    done = forks.run(_main, MODULES[kit], only, str(result), folder=Path(folder), seconds=LONGEST)
    if not result.exists():
        raise AssertionError(done.stdout + done.stderr)
    if os.environ.get("HUNT_SHOW"):
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
    return json.loads(result.read_text())
