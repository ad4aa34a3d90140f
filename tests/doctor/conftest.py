from __future__ import annotations

import base64
import hashlib
import shutil

import attrs
import pytest
from attrs import define, field

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.doctor import checks, examine
from evmbilling.factory import BillingEngine
from evmbilling.settings import BillingSettings
from evmbilling.testing.merchant import SIGNER_KEY, anvil_merchant
from evmbilling.working import chosen
from sampling import EVERYTHING


def key(name):
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


@define
class Ward:
    """An installation that is well, and what a test makes of it."""

    shop: object
    node: object
    url: str
    monkeypatch: pytest.MonkeyPatch
    given: dict = field(factory=dict)

    @property
    def engine(self):
        return self.shop.engine

    def work(self, *but):
        """Leave the signs of life that workers leave."""
        self.engine.read_chain("local")
        self.beat(*but)

    def beat(self, *but):
        self.engine.watch.beat([step.name for step in chosen(self.engine) if step.name not in but])

    def examine(self, **changes):
        return examine(BillingSettings(**(self.given | changes)))

    def found(self, check, **changes):
        """Return verdict and text of the check's worst finding.

        The usual run makes no other check: comparing the tables takes as long as all the others together.
        """
        with self.monkeypatch.context() as alone:
            for table in () if EVERYTHING else ("BEFORE", "CHECKS"):
                alone.setattr(checks, table, {n: look for n, look in vars(checks)[table].items() if n == check})
            findings = [f for f in self.examine(**changes).findings if f.check == check]
        worst = max(findings, key=lambda f: ["pass", "warn", "fail"].index(f.verdict))
        assert bool(worst.advice) == (worst.verdict != "pass")
        return worst.verdict, worst.text


def box():
    return SecretBox(BillingSettings(secret_key=key("secret")).secret_key)


@pytest.fixture(scope="module")
def opened(anvil_node, databases, tmp_path_factory):
    """A merchant on the chain, and the file that holds it: what every installation of a module begins with."""
    snapshot = anvil_node.start().snapshot()
    path = tmp_path_factory.mktemp("opened") / "shop.db"
    shutil.copy(databases.sqlite_template, path)
    engine = BillingEngine(storage=SqlAlchemyStorage.open(f"sqlite:///{path}"), secrets=box())
    shop = anvil_merchant(engine, anvil_node, signer_key=SIGNER_KEY)
    engine.read_chain("local")
    engine.close()
    yield shop, path
    anvil_node.revert(snapshot)


@pytest.fixture
def ward(opened, anvil, tmp_path, monkeypatch):
    shop, path = opened
    url = f"sqlite:///{shutil.copy(path, tmp_path / 'shop.db')}"
    given = {
        "database_url": url,
        "secret_key": key("secret"),
        "seal_key": key("seal"),
        "webhook_secret": "whsec_" + key("hook"),
        "notifiers": ("log",),
    }
    engine = BillingEngine(storage=SqlAlchemyStorage.open(url), secrets=box())
    made = Ward(attrs.evolve(shop, engine=engine), anvil, url, monkeypatch, given)
    made.beat("sealer")
    engine._ports.storage.acquire_lease("worker:sealer", "x", 600)
    yield made
    engine.close()
