"""Administration: roles, versions, the audit log, secrets."""

from __future__ import annotations

import inspect
import json
import pickle
import traceback
from datetime import timedelta

import pytest
from engine_shop import ROOT, START, STRANGER, TOKEN, TREASURY, address, make_plan

from evmbilling.domain.actors import Actor, Role
from evmbilling.engine.admin.admin import Admin
from evmbilling.errors import AlreadyExists, BillingError, InputError, NotFound, PermissionDenied, VersionConflict

PRICE = {"network": "fake", "chain_id": 31337, "token": TOKEN, "decimals": 6, "symbol": "USDC", "amount": 7}
NEW_PLAN = {
    "slug": "new",
    "name": "New",
    "product": "p",
    "interval": "month",
    "gateway_slug": "gw",
    "contract_slug": "co",
    "prices": [PRICE],
}
SOON = START + timedelta(days=20)
WRITES = {
    "create_network": (lambda a: a.create_network(name="n2", chain_id=5, rpc_urls=["http://x"]), "network:n2"),
    "update_network": (lambda a: a.update_network("fake", version=1, rpc_timeout=5), "network:fake"),
    "archive_network": (lambda a: a.archive_network("fake", version=1), "network:fake"),
    "create_gateway": (
        lambda a: a.create_gateway(slug="g2", networks=["fake"], signer="env:K", treasuries={"fake": STRANGER}),
        "gateway:g2",
    ),
    "update_gateway": (lambda a: a.update_gateway("gw", version=1, order_ttl=60), "gateway:gw"),
    "archive_gateway": (lambda a: a.archive_gateway("gw", version=1), "gateway:gw"),
    "create_contract": (lambda a: a.create_contract(slug="c2", network="fake", address=STRANGER), "contract:c2@fake"),
    "update_contract": (lambda a: a.update_contract("co", "fake", version=1, gas={"token": 9}), "contract:co@fake"),
    "archive_contract": (lambda a: a.archive_contract("co", "fake", version=1), "contract:co@fake"),
    "create_plan": (lambda a: a.create_plan(**NEW_PLAN), "plan:new"),
    "revise_plan": (lambda a: a.revise_plan("pro", version=1, name="Pro+"), "plan:pro"),
    "archive_plan": (lambda a: a.archive_plan("pro"), "plan:pro"),
    "record_opening": (
        lambda a: a.record_opening(network="fake", treasury=TREASURY, token=TOKEN, amount=5),
        f"treasury:31337:{TREASURY}",
    ),
    "adopt": (
        lambda a: a.adopt(external_id="old-1", user_id="u9", plan="pro", wallet=STRANGER, paid_until=SOON),
        "subscription:*",
    ),
    "update_customer": (lambda a: a.update_customer("u1", zone="Asia/Tokyo", locale="ja"), "customer:u1"),
}
READS = {
    "networks": lambda a: a.networks(),
    "gateways": lambda a: a.gateways(),
    "contracts": lambda a: a.contracts(),
    "plans": lambda a: a.plans(),
    "customer": lambda a: a.customer("u1"),
    "customers": lambda a: a.customers(),
    "audit": lambda a: a.audit(),
    "events": lambda a: a.events(),
    "orders": lambda a: a.orders(),
    "unmatched_receipts": lambda a: a.unmatched_receipts(),
    "cursors": lambda a: a.cursors(),
}
ACTORS = {
    "nobody": Actor("x"),
    "finance": Actor("x", frozenset({Role.FINANCE_OPS})),
    "admin": Actor("x", frozenset({Role.BILLING_ADMIN})),
}


def test_every_method_of_the_administrators_face_stands_in_a_table():
    public = {name for name, _ in inspect.getmembers(Admin, inspect.isfunction) if not name.startswith("_")}
    # One audit row for each row that it changes: tests/secrets/test_resealing.py; tests/ledger/test_seal_keys.py.
    assert public == WRITES.keys() | READS.keys() | {"reseal_secrets", "seal_anew"}


@pytest.mark.fault("H03")
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("name", WRITES)
def test_h03_writing_needs_the_administrators_role(memory_shop, name, actor):
    memory_shop.checkout()
    before = memory_shop.dump()
    admin = memory_shop.engine.admin(ACTORS[actor])
    if actor == "admin":
        WRITES[name][0](admin)
        assert memory_shop.dump() != before
    else:
        with pytest.raises(PermissionDenied) as caught:
            WRITES[name][0](admin)
        assert caught.value.field == "actor"
        assert memory_shop.dump() == before


@pytest.mark.fault("H02")
@pytest.mark.parametrize("name", READS)
def test_h02_reading_needs_a_role(memory_shop, name):
    memory_shop.checkout()
    for actor in ("finance", "admin"):
        READS[name](memory_shop.engine.admin(ACTORS[actor]))
    with pytest.raises(PermissionDenied):
        READS[name](memory_shop.engine.admin(ACTORS["nobody"]))


@pytest.mark.fault("H02")
def test_h02_the_role_is_asked_before_the_fields_are_read(memory_shop):
    for name in ("create_network", "create_gateway", "create_contract", "create_plan"):
        with pytest.raises(PermissionDenied):
            getattr(memory_shop.engine.admin(ACTORS["finance"]), name)(nonsense=1)


@pytest.mark.fault("G04")
@pytest.mark.parametrize("name", WRITES)
def test_g04_every_write_leaves_exactly_one_audit_row(memory_shop, name):
    memory_shop.checkout()
    count = len(memory_shop.dump()["audit"])
    write, object_ = WRITES[name]
    write(memory_shop.engine.admin(Actor("alice", frozenset({Role.BILLING_ADMIN}))))
    rows = memory_shop.dump()["audit"]
    assert len(rows) == count + 1
    verb = name.partition("_")[0]
    if object_.endswith("*"):
        # Named by an id that is made with the write.
        assert rows[-1]["object"].startswith(object_[:-1])
        object_ = rows[-1]["object"]
    assert (rows[-1]["actor"], rows[-1]["object"], rows[-1]["action"]) == (
        "alice",
        object_,
        f"{object_.split(':')[0]}.{verb}",
    )
    assert [row.audit_id for row in memory_shop.admin.audit(object_=object_)][-1] == rows[-1]["audit_id"]
    json.dumps(rows[-1]["changes"])


@pytest.mark.fault("G04")
@pytest.mark.parametrize("name", WRITES)
def test_g04_a_write_whose_audit_row_fails_has_not_happened(memory_shop, name):
    memory_shop.checkout()
    before = memory_shop.dump()

    def fail(method, args, proceed):
        result = proceed()
        if method == "apply":
            raise BillingError("after the write, before the commit")
        return result

    memory_shop.storage.hook = fail
    with pytest.raises(BillingError):
        WRITES[name][0](memory_shop.admin)
    memory_shop.storage.hook = None
    assert memory_shop.dump() == before


def test_what_changed_is_said_as_before_and_after(memory_shop):
    memory_shop.admin.update_network("fake", version=1, credit_after="depth 7", testnet=False)
    (entry,) = [e for e in memory_shop.admin.audit(object_="network:fake") if e.action == "network.update"]
    assert entry.changes["testnet"] == [True, False]
    assert entry.changes["version"] == [1, 2]
    assert entry.changes["credit_after"][1]["blocks"] == 7
    assert set(entry.changes) == {"testnet", "version", "credit_after"}


VERSIONED = {
    "update_network": lambda a, v: a.update_network("fake", version=v, rpc_timeout=5),
    "archive_network": lambda a, v: a.archive_network("fake", version=v),
    "update_gateway": lambda a, v: a.update_gateway("gw", version=v, order_ttl=60),
    "archive_gateway": lambda a, v: a.archive_gateway("gw", version=v),
    "update_contract": lambda a, v: a.update_contract("co", "fake", version=v, start_block=2),
    "archive_contract": lambda a, v: a.archive_contract("co", "fake", version=v),
    "revise_plan": lambda a, v: a.revise_plan("pro", version=v, name="Pro+"),
}


@pytest.mark.parametrize("name", VERSIONED)
def test_a_version_that_is_not_the_newest_is_a_conflict(memory_shop, name):
    for version, error in ((0, VersionConflict), (2, VersionConflict), (-1, VersionConflict), (1.0, InputError)):
        before = memory_shop.dump()
        with pytest.raises(error) as caught:
            VERSIONED[name](memory_shop.admin, version)
        assert (caught.value.field, memory_shop.dump()) == ("version", before)
    VERSIONED[name](memory_shop.admin, 1)
    with pytest.raises(VersionConflict):
        VERSIONED[name](memory_shop.admin, 1)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda a: a.update_network("nope", version=1, rpc_timeout=5), "name"),
        (lambda a: a.archive_network("nope", version=1), "name"),
        (lambda a: a.update_gateway("nope", version=1, order_ttl=60), "slug"),
        (lambda a: a.update_contract("nope", "fake", version=1, start_block=2), "slug"),
        (lambda a: a.update_contract("co", "nope", version=1, start_block=2), "slug"),
        (lambda a: a.revise_plan("nope", version=1, name="x"), "slug"),
        (lambda a: a.archive_plan("nope"), "plan"),
        (lambda a: a.update_customer("nobody", zone="UTC"), "user_id"),
        (lambda a: a.customer("nobody"), "user_id"),
    ],
)
def test_what_is_not_there_is_named(memory_shop, call, field):
    before = memory_shop.dump()
    with pytest.raises(InputError) as caught:
        call(memory_shop.admin)
    assert (caught.value.field, memory_shop.dump()) == (field, before)
    assert caught.value.code in {NotFound.code, "unknown_plan"}


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda a: a.update_network("fake", version=1, name="x"), "name"),
        (lambda a: a.update_network("fake", version=1, chain_id=1), "chain_id"),
        (lambda a: a.update_gateway("gw", version=1, slug="x"), "slug"),
        *(
            (lambda a, f=f, v=v: a.update_contract("co", "fake", version=1, **{f: v}), f)
            for f, v in (("chain_id", 1), ("address", STRANGER), ("kind", "other"))
        ),
        (lambda a: a.revise_plan("pro", version=1, slug="x"), "slug"),
        (lambda a: a.update_network("fake", version=1, version_=3), "version_"),
        (lambda a: a.update_network("fake", version=1, archived_at=None), "archived_at"),
        (lambda a: a.update_gateway("gw", version=1, treasuries={}), "treasuries"),
        (lambda a: a.update_gateway("gw", version=1, networks=["nope"]), "networks"),
        (lambda a: a.revise_plan("pro", version=1, prices=[]), "prices"),
        (lambda a: a.revise_plan("pro", version=1, gateway_slug="nope"), "gateway_slug"),
        (lambda a: a.update_customer("u1", zone="Mars"), "zone"),
        (lambda a: a.update_customer("u1", zone="localtime"), "zone"),
        (lambda a: a.update_customer("u1", locale="a\nb"), "locale"),
        (lambda a: a.update_customer("u1", locale="x" * 36), "locale"),
    ],
)
def test_a_change_that_cannot_be_made_names_its_field(memory_shop, call, field):
    memory_shop.checkout()
    before = memory_shop.dump()
    with pytest.raises(InputError) as caught:
        call(memory_shop.admin)
    assert (caught.value.field, memory_shop.dump()) == (field, before)


def test_a_customers_zone_is_for_later_subscriptions(memory_shop):
    memory_shop.checkout()
    memory_shop.admin.update_customer("u1", zone="Asia/Tokyo")
    memory_shop.checkout("k2", plan="site", product="site/1")
    assert [s.zone for s in memory_shop.engine.subscriptions("u1")] == ["UTC", "Asia/Tokyo"]
    assert memory_shop.admin.customer("u1").zone == "Asia/Tokyo"


def test_a_plan_keeps_every_version(memory_shop):
    for version in (1, 2, 3):
        memory_shop.admin.revise_plan("pro", version=version, limits={"seats": 10 * version})
    with memory_shop.storage.unit(write=False) as unit:
        versions = unit.plan_versions([("pro", n) for n in range(6)])
    assert {n: dict(p.limits)["seats"] for (_, n), p in versions.items()} == {1: 5, 2: 10, 3: 20, 4: 30}
    memory_shop.admin.archive_plan("pro")
    with pytest.raises(AlreadyExists):
        make_plan(memory_shop, "pro", product="p", interval="month")


@pytest.mark.parametrize("archive", [name for name in WRITES if name.startswith("archive_")])
def test_what_is_archived_stays_archived_since_then(memory_shop, archive):
    again = {
        "archive_network": lambda a, row: a.archive_network(row.name, version=row.version),
        "archive_gateway": lambda a, row: a.archive_gateway(row.slug, version=row.version),
        "archive_contract": lambda a, row: a.archive_contract(row.slug, row.network, version=row.version),
        "archive_plan": lambda a, row: a.archive_plan(row.slug),
    }
    first = WRITES[archive][0](memory_shop.admin)
    assert first.archived_at == memory_shop.clock.now()
    audited = len(memory_shop.dump()["audit"])
    memory_shop.clock.advance(days=1)
    assert again[archive](memory_shop.admin, first) == first
    assert len(memory_shop.dump()["audit"]) == audited


class TestSecrets:
    """No secret value in an audit row, an event, a repr, an error or a traceback."""

    KEY = "0xcanary" + "a1" * 28
    URL = "https://node.example/v2/canary-url-key"
    HOOK = "whsec_" + "canary0123456789" * 3

    @pytest.fixture
    def stocked(self, memory_shop):
        admin = memory_shop.admin
        admin.create_network(name="n2", chain_id=5, rpc_urls=[self.URL, "env:RPC"])
        admin.create_gateway(slug="g2", networks=["n2"], signer=self.KEY, treasuries={"n2": STRANGER})
        admin.create_contract(
            slug="c2", network="n2", address=STRANGER, webhook_secret=self.HOOK, fallback_rpc=[self.URL + "2"]
        )
        admin.update_network("n2", version=1, rpc_urls=[self.URL + "3"])
        admin.update_gateway("g2", version=1, signer=self.KEY + "ff")
        return memory_shop

    @pytest.mark.fault("G01", "G02")
    def test_g01_g02_no_canary_is_seen_anywhere(self, stocked):
        texts = [
            repr(stocked.dump()),
            repr(stocked.admin.networks()),
            str(stocked.admin.gateways()),
            repr(stocked.admin.contracts()),
            repr(stocked.engine._ports),
            repr(stocked.engine),
            repr(stocked.admin),
            repr(stocked.engine.__dict__),
            json.dumps([e.changes for e in stocked.admin.audit(limit=1000)]),
            repr(stocked.events()),
            repr(pickle.dumps(stocked.dump())),
        ]
        assert [text for text in texts if "canary" in text] == []

    @pytest.mark.fault("G01")
    def test_g01_the_values_can_still_be_used(self, stocked):
        network = next(n for n in stocked.admin.networks() if n.name == "n2")
        assert stocked.engine._ports.secrets.reveal(network.rpc_urls[0]) == self.URL + "3"
        gateway = next(g for g in stocked.admin.gateways() if g.slug == "g2")
        assert stocked.engine._ports.secrets.reveal(gateway.signer) == self.KEY + "ff"

    @pytest.mark.fault("G01")
    def test_g01_the_audit_log_tells_two_secrets_apart(self, stocked):
        (entry,) = [e for e in stocked.admin.audit(object_="gateway:g2") if e.action == "gateway.update"]
        before, after = entry.changes["signer"]
        assert before != after
        assert all(isinstance(mark, str) and mark for mark in (before, after))

    @pytest.mark.fault("G01")
    def test_g01_the_audit_log_holds_neither_ciphertext_nor_references(self, stocked):
        said = json.dumps([entry.changes for entry in stocked.admin.audit(limit=1000)])
        stored = [ref for network in stocked.admin.networks() for ref in network.rpc_urls]
        stored += [gateway.signer for gateway in stocked.admin.gateways()]
        assert [ref.kind for ref in stored if ref.locator in said] == []
        assert "enc:" not in said

    @pytest.mark.fault("G01", "G02")
    @pytest.mark.parametrize(
        "fields",
        [
            {"rpc_urls": [URL, "ftp://canary"]},
            {"rpc_urls": [URL], "nonsense": URL},
            {"rpc_urls": [URL], "chain_id": "x"},
            {"rpc_urls": "https://canary"},
        ],
        ids=str,
    )
    def test_g01_g02_errors_do_not_quote_them(self, memory_shop, fields):
        with pytest.raises(InputError) as caught:
            memory_shop.admin.create_network(**({"name": "n2", "chain_id": 5} | fields))
        said = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.details)
        assert "canary" not in said


def test_the_pages_of_customers_follow_each_other(memory_shop):
    for i in range(7):
        memory_shop.checkout(user_id=f"user{i}", wallet=address(str(i)))
    pages, after = [], ""
    while page := memory_shop.admin.customers(after=after, limit=3):
        pages.append([c.user_id for c in page])
        after = page[-1].user_id
    assert pages == [["user0", "user1", "user2"], ["user3", "user4", "user5"], ["user6"]]
    assert memory_shop.engine.admin(ROOT).customer("user3").user_id == "user3"
