"""What a webhook asks of the storage: the row itself says whether it is new, and networks are looked for once."""

from __future__ import annotations

from contextlib import contextmanager

import attrs
import pytest
from hints_bench import RELAY_KEY, SECRET, VECTOR_SECRET

from evmbilling.domain.addresses import checksum
from evmbilling.domain.messages.hints import parse_secrets
from evmbilling.errors import WebhookRejected
from evmbilling.testing.merchant import ADMIN

TX = b"\x11" * 32


class Noting:
    """A storage that notes what its units are asked."""

    def __init__(self, storage):
        self._storage, self.asked = storage, []

    def __getattr__(self, name):
        return getattr(self._storage, name)

    @contextmanager
    def unit(self, *, write=True, durable=True):
        with self._storage.unit(write=write, durable=durable) as unit:
            yield _NotingUnit(unit, self.asked)


class _NotingUnit:
    def __init__(self, unit, asked):
        self._unit, self._asked = unit, asked

    def __getattr__(self, name):
        self._asked.append(name)
        return getattr(self._unit, name)


@pytest.fixture
def own(relay):
    """The host's own relay, and what its webhooks ask of the storage."""
    engine = relay.shop.engine
    noting = Noting(engine._ports.storage)
    engine._ports = attrs.evolve(engine._ports, storage=noting, relay_keys=(RELAY_KEY,))
    engine._runner._storage = noting
    return relay, noting.asked


def send(own, event_id, body, source="relay", key=None):
    """Send a webhook, of the host's relay or another; return its answer and what the storage was asked."""
    relay, asked = own
    asked.clear()
    try:
        answer = relay.send(body, relay.headers(body, event_id, key=key), source).status
    except WebhookRejected as rejected:
        answer = rejected.status
    return answer, list(asked)


def test_a_new_webhook_is_one_insert_and_only_a_known_one_is_read(own):
    body, other = own[0].body(TX), own[0].body(TX, note="x")
    assert send(own, "a", body) == (202, ["networks", "apply"])
    assert send(own, "b", body) == (202, ["apply"])
    assert send(own, "b", body) == (200, ["apply", "inbox_item"])
    assert send(own, "b", other) == (409, ["apply", "inbox_item", "apply"])
    assert send(own, "b", other) == (409, ["apply", "inbox_item", "apply"])
    assert send(own, "b", body) == (200, ["apply", "inbox_item"])
    (event,) = own[0].shop.engine.admin(ADMIN).events(type_="billing.webhook.conflicted.v1")
    assert event.data["webhook_id"] == "b"


def test_what_another_networks_relay_told_is_looked_for_only_when_an_id_was_used_for_another_body(own):
    """Contracts of one name: a new webhook is one INSERT after its secrets, two where the other relay used its id."""
    relay, admin = own[0], own[0].shop.engine.admin(ADMIN)
    admin.create_network(name="other", chain_id=10, rpc_urls=["http://127.0.0.1:9"], native_symbol="ETH", testnet=True)
    twin = {"address": checksum(b"twin".rjust(20, b"\1")), "kind": "checkout", "webhook_secret": VECTOR_SECRET}
    admin.create_contract(slug="checkout", network="other", start_block=0, **twin)
    ours, theirs = relay.body(TX), relay.body(TX, chain_id=10)
    key = parse_secrets(VECTOR_SECRET)[0]
    assert send(own, "a", ours, "checkout") == (202, ["contracts", "apply"])
    assert send(own, "a", ours, "checkout") == (200, ["contracts", "apply", "inbox_item"])
    assert send(own, "a", theirs, "checkout", key) == (202, ["contracts", "apply", "inbox_item", "apply"])
    repeated = ["contracts", "apply", "inbox_item", "apply", "inbox_item"]
    assert send(own, "a", theirs, "checkout", key) == (200, repeated)
    admin.update_contract("checkout", "other", version=1, webhook_secret=f"{VECTOR_SECRET} {SECRET}")
    assert send(own, "a", theirs, "checkout", key) == (200, ["contracts", "apply", "inbox_item", "inbox_item"])
    assert send(own, "b", theirs, "checkout", key) == (202, ["contracts", "apply"])


def test_a_chain_without_a_network_is_looked_for_each_time(own):
    """A network that another process makes counts at once, although this one has looked before."""
    relay, _ = own
    elsewhere = relay.body(TX, chain_id=31338)
    assert send(own, "a", relay.body(TX))[0] == 202
    for _ in range(2):
        assert send(own, "b", elsewhere) == (400, ["networks"])
    known = relay.shop.engine.admin(ADMIN).networks()[0]
    relay.shop.engine.admin(ADMIN).create_network(
        name="another", chain_id=31338, rpc_urls=["http://127.0.0.1:9"], testnet=True, native_symbol=known.native_symbol
    )
    assert send(own, "b", elsewhere) == (202, ["networks", "apply"])
    assert send(own, "c", elsewhere) == (202, ["apply"])
    relay.shop.engine.admin(ADMIN).archive_network("another", version=1)
    assert send(own, "d", elsewhere) == (202, ["apply"])  # what was on its way is still looked for
