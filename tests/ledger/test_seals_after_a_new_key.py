"""Exchanging ``BILLING_SEAL_KEY``: what ``verify`` says at each step, whoever has the former key."""

from __future__ import annotations

import attrs
import pytest

from evmbilling.domain.books.seals import seal_mac
from evmbilling.domain.decisions import AddSeal, RecordAudit
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.engine.core import Engine

NEW = bytes(range(100, 132))


def keyed(shop, *keys):
    return Engine(attrs.evolve(shop.engine._ports, seal_key=keys[0], former_seal_keys=keys[1:]))


def broken(engine, **how):
    return [(d.code, d.subject, d.reason) for d in engine.verify(**how).differences if d.code != "unproved"]


@pytest.mark.parametrize("full", [True, False], ids=["full", "plain"])
def test_a_shop_in_which_nothing_happens_meanwhile_is_held_by_the_new_key_too(bookshop, full: bool):
    """The last link is a watermark of the former key: verifying adds one of the newest, and once."""
    old = bookshop.engine._ports.seal_key
    bookshop.merchant.buy()
    while bookshop.engine.seal().sealed:
        pass
    assert broken(bookshop.engine) == []
    after = keyed(bookshop, NEW, old)
    assert after.seal().sealed == 0
    links = len(bookshop.read(lambda unit: unit.seals()))
    for _ in range(2):
        assert broken(after, full=full) == []
        assert len(bookshop.read(lambda unit: unit.seals())) == links + 1
    assert broken(keyed(bookshop, NEW)) == []


@pytest.mark.fault("D22")
def test_d22_a_watermark_of_the_former_key_spares_nothing(memory_bookshop):
    """Who has the former key changes a row before anybody has verified with the new one, and vouches for it."""
    shop = memory_bookshop
    old = shop.engine._ports.seal_key
    shop.merchant.buy()
    shop.engine.seal()
    told = {"action": "plan.create", "object": "plan:pro", "changes": {}, "recorded_at": shop.merchant.clock.now()}
    shop.write(RecordAudit(AuditEntry(audit_id="0" * 26, actor="admin", **told)))
    after = keyed(shop, NEW, old)
    after.seal()
    rows = shop.storage._committed.audit
    rows.put("0" * 26, attrs.evolve(rows.get("0" * 26), actor="somebody-else"))
    last = shop.read(lambda unit: unit.last_seal())
    mac = seal_mac(old, last.number + 1, last.mac, [])
    shop.write(AddSeal(attrs.evolve(last, number=last.number + 1, previous=last.mac, mac=mac, rows=0), ()))
    for _ in range(2):
        assert broken(after) == [
            ("sealed_row_changed", "audit:" + "0" * 26, "seal 2"),
            ("seal_broken", "seal:3", "former_key"),
        ]


@pytest.mark.fault("D22")
def test_d22_who_cuts_the_new_links_off_is_named_without_the_former_key_and_by_a_head(memory_bookshop):
    """With both keys and no head, a chain that was made again with the former key is like one before the exchange."""
    shop = memory_bookshop
    old = shop.engine._ports.seal_key
    shop.merchant.buy()
    shop.engine.seal()
    after = keyed(shop, NEW, old)
    after.verify(full=True)
    head = after.verify().head
    shop.storage._committed.seals.drop(2)
    shop.merchant.buy("user-2")
    shop.engine.seal()
    assert broken(after, full=True, head=head) == [("seal_broken", "seal:2", "cut")]
    assert broken(keyed(shop, NEW)) == [("seal_broken", "seal:1", "mac"), ("seal_broken", "seal:2", "mac")]
