"""A shop on Anvil with its database in a file, and worker processes over it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define

import forks
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import _NO_SECRET, Merchant, anvil_merchant, repeatable_secrets
from evmbilling.testing.wallet import Wallet

SEAL_KEY = base64.b64encode(bytes(range(32))).decode()


def worker(*arguments: str) -> None:
    from evmbilling.cli import main

    sys.argv = ["evmbilling", "worker", *arguments]
    main()


@define
class Shop:
    """A merchant whose engine never does a worker's step, and where its database is."""

    merchant: Merchant
    node: AnvilNode
    url: str
    folder: Path
    started: int = 0

    @property
    def engine(self) -> BillingEngine:
        return self.merchant.engine

    def environment(self) -> dict[str, str]:
        secret = base64.b64encode(_NO_SECRET).decode()
        own = {"BILLING_DATABASE_URL": self.url, "BILLING_SECRET_KEY": secret, "BILLING_NOTIFIERS": "log"}
        return dict(os.environ) | own | {"BILLING_SEAL_KEY": SEAL_KEY, "COLUMNS": "200", "NO_COLOR": "1"}

    def pay(self, user: str) -> str:
        """Check out and pay in coin; return the order."""
        account = self.node.accounts[1]
        offer = self.merchant.checkout(user, wallet=account.address, asset="ETH")
        Wallet(account.key, self.node.url).pay(self.engine.pay_instructions(offer.ledger_id))
        self.node.mine(4)
        return offer.ledger_id

    @contextmanager
    def working(self, *arguments: str) -> Iterator[Worker]:
        """Run a worker process until the end of the block; one that still runs then is killed."""
        self.started += 1
        out, err = (self.folder / f"worker-{self.started}.{name}" for name in ("out", "err"))
        process = forks.begin(worker, *arguments, env=self.environment(), out=out, err=err)
        made = Worker(process, out, err)
        try:
            yield made
        finally:
            process.kill()
            process.join()


@define
class Worker:
    process: Any
    out: Path
    err: Path

    def end(self, number: int = signal.SIGTERM) -> int:
        os.kill(self.process.pid, number)
        self.process.join(30)
        assert self.process.exitcode is not None, self.err.read_text()
        return self.process.exitcode

    @property
    def told(self) -> dict[str, Any]:
        """What it said when it began."""
        eventually(lambda: self.out.exists() and self.out.read_text().endswith("}\n"), self.err)
        return json.loads(self.out.read_text())

    def get(self, path: str = "/health") -> tuple[int, Any]:
        address = f"http://127.0.0.1:{self.told['health_port']}{path}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _read(refused)


def _read(answer: Any) -> Any:
    body = answer.read().decode()
    return json.loads(body) if "json" in answer.headers["Content-Type"] else body


def eventually(look: Callable[[], Any], log: Path | None = None, seconds: float = 120, pause: float = 0.05) -> Any:
    """Look until it is so; what is dear to look at may be looked at less often."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, log.read_text() if log is not None and log.exists() else "it never came to it"
        time.sleep(pause)
    return found


@contextmanager
def open_shop(folder: Path, template: Path, node: AnvilNode) -> Iterator[Shop]:
    url = f"sqlite:///{shutil.copy(template, folder / 'shop.db')}"
    engine = BillingEngine(storage=SqlAlchemyStorage.open(url), secrets=repeatable_secrets())
    try:
        yield Shop(anvil_merchant(engine, node), node, url, folder)
    finally:
        engine.close()
