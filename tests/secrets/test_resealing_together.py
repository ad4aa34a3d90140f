"""Sealing again while somebody else writes: nothing is lost, and nothing is sealed under the former key afterwards."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import pytest
from pydantic import SecretStr

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.actors import SYSTEM
from evmbilling.engine.admin.secrets import formerly_sealed, keepers
from evmbilling.errors import Conflict
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY

SHOPS = [f"shop-{number}" for number in range(5)]
HOOK = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def box(*names: str) -> SecretBox:
    keys = [base64.b64encode(hashlib.sha256(name.encode()).digest()).decode() for name in names]
    return SecretBox(SecretStr(" ".join(keys)))


def shop(storage: Any) -> list[str]:
    """Store secrets of every row that can hold one under the former key; return the endpoints."""
    old = BillingEngine(storage=storage, secrets=box("old"))
    old.admin(ADMIN).create_network(name="local", chain_id=31337, rpc_urls=["http://127.0.0.1:1"], testnet=True)
    treasuries = {"local": "0x" + "11" * 20}
    for slug in SHOPS:
        old.admin(ADMIN).create_gateway(slug=slug, networks=["local"], signer=SIGNER_KEY, treasuries=treasuries)
    made = [old.endpoints(ADMIN).create(url=f"https://{slug}.example/", secret=HOOK) for slug in SHOPS]
    return [one.endpoint.endpoint_id for one in made]


def reseal(engine: BillingEngine, _: list[str]) -> None:
    engine.admin(SYSTEM).reseal_secrets()


def update(engine: BillingEngine, _: list[str]) -> None:
    for slug in SHOPS:
        engine.admin(ADMIN).update_gateway(slug, version=1, order_ttl=1234)


def pause(engine: BillingEngine, endpoints: list[str]) -> None:
    for endpoint in endpoints:
        engine.endpoints(ADMIN).disable(endpoint)


@pytest.mark.parametrize("other", [reseal, update, pause])
@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
def test_it_is_done_beside_what_others_do(open_database, backend: str, other: Callable[..., None]):
    storage: Any = open_database(backend, FrozenClock())
    endpoints, both = shop(storage), BillingEngine(storage=storage, secrets=box("new", "old"))
    begun = Barrier(2)

    def run(work: Callable[..., None]) -> None:
        begun.wait()
        with suppress(Conflict):  # said to whom it happens, who looks again
            work(both, endpoints)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (reseal, other)))
    reseal(both, endpoints)
    with storage.unit(write=False) as unit:
        assert [name for name, keeper in keepers(unit) if formerly_sealed(box("new"), keeper)] == []
        assert [box("new").reveal(gateway.signer) for gateway in unit.gateways()] == [SIGNER_KEY] * len(SHOPS)
        assert [box("new").reveal(ref) for one in unit.endpoints() for ref in one.secrets] == [HOOK] * len(SHOPS)
