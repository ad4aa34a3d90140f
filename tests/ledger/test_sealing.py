"""Seals: a chain of HMACs over append-only rows; what is changed, removed or added afterwards is named."""

from __future__ import annotations

import logging
from datetime import timedelta

import attrs
import pytest

from evmbilling.domain.books.seals import seal_mac
from evmbilling.domain.decisions import AddSeal, RecordAudit
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.engine.books.sealing import make_link
from evmbilling.engine.core import Engine
from evmbilling.errors import AlreadyExists, ConfigurationError, InputError
from evmbilling.factory import BillingEngine
from evmbilling.ports.telemetry import NoTracing


def seal_all(shop):
    while shop.engine.seal(limit=7).sealed:
        pass
    return shop.read(lambda unit: unit.seals())


def test_rows_are_sealed_after_their_commit_link_by_link(bookshop):
    bookshop.merchant.buy()
    links = seal_all(bookshop)
    assert [link.number for link in links] == list(range(1, len(links) + 1))
    assert [link.previous for link in links] == [bytes(32), *(link.mac for link in links[:-1])]
    tables = {i.table for link in links for i in bookshop.read(lambda unit, n=link.number: unit.seal_items(n))}
    assert tables == {"audit", "ledger_entries", "outbox", "receipt_entries"}
    report = bookshop.verify()
    assert (report.ok, report.seals, report.head) == (True, "proved", f"{links[-1].number}:{links[-1].mac.hex()}")


def test_the_head_goes_to_the_log_and_rows_are_counted(memory_bookshop, caplog):
    counts = {}

    class Counting(NoTracing):
        def count(self, name, value=1, **labels):
            counts[name] = counts.get(name, 0) + value

    ports = attrs.evolve(memory_bookshop.engine._ports, telemetry=Counting())
    memory_bookshop.merchant.buy()
    with caplog.at_level(logging.INFO, logger="evmbilling.seal"):
        report = Engine(ports).seal()
    [record] = [r for r in caplog.records if r.name == "evmbilling.seal"]
    assert (record.seal, record.seal_head, record.rows) == (1, report.head, report.sealed)
    assert counts == {"rows_sealed": report.sealed}
    assert Engine(ports).seal().sealed == 0


def test_lag_is_what_is_old_and_not_sealed(memory_bookshop):
    memory_bookshop.merchant.buy()
    memory_bookshop.merchant.clock.advance(minutes=6)
    waiting = memory_bookshop.read(lambda unit: len(unit.unsealed_rows(1000)))
    report = memory_bookshop.engine.seal(limit=waiting - 1)
    assert (report.sealed, report.lag) == (waiting - 1, 0)
    assert memory_bookshop.read(lambda unit: unit.unsealed_rows(9))[0].table == "receipt_entries"


def test_without_a_key_nothing_is_sealed_and_verification_says_so(memory_bookshop):
    keyless = Engine(attrs.evolve(memory_bookshop.engine._ports, seal_key=None))
    with pytest.raises(ConfigurationError) as caught:
        keyless.seal()
    assert caught.value.field == "seal_key"
    assert keyless.verify().seals == "off"
    memory_bookshop.engine.seal()
    assert keyless.verify().seals == "no_key"


def test_the_key_is_shown_nowhere(memory_bookshop):
    assert "seal_key" not in repr(memory_bookshop.engine._ports)


def test_only_one_worker_seals_at_a_time(memory_bookshop):
    memory_bookshop.merchant.buy()
    held = memory_bookshop.storage.acquire_lease("seal", "another", 60)
    assert memory_bookshop.engine.seal().sealed == 0
    memory_bookshop.storage.release_lease(held)
    assert memory_bookshop.engine.seal().sealed > 0


def test_a_worker_that_was_overtaken_seals_nothing(memory_bookshop):
    memory_bookshop.merchant.buy()

    class Overtaken:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def unit(self, *, write=True, durable=True):
            if write:
                raise AlreadyExists("this number is sealed")
            return self._inner.unit(write=False)

    late = Engine(attrs.evolve(memory_bookshop.engine._ports, storage=Overtaken(memory_bookshop.storage)))
    assert late.seal().sealed == 0


def test_the_watermark_spares_rows_that_were_compared_and_full_does_not(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    shop.engine.seal()
    first = shop.verify()
    assert (first.watermark, first.counts["sealed_rows"] > 0) == (0, True)
    again = shop.verify()
    assert (again.watermark, again.counts.get("sealed_rows")) == (2, None)
    shop.merchant.buy("user-2")
    shop.engine.seal()
    later = shop.verify()
    assert later.ok
    assert 0 < later.counts["sealed_rows"] < first.counts["sealed_rows"] + later.counts["sealed_rows"]
    assert shop.verify(full=True).counts["sealed_rows"] == first.counts["sealed_rows"] + later.counts["sealed_rows"]
    audit = shop.storage._committed.audit
    entry = next(iter(audit.values()))
    audit.put(entry.audit_id, attrs.evolve(entry, actor="nobody"))
    assert shop.found() == []
    assert shop.found(full=True) == [("sealed_row_changed", "audit", "seal 1")]


def test_a_forged_watermark_is_no_watermark(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    shop.engine.seal()
    last = shop.read(lambda unit: unit.last_seal())
    mac = seal_mac(b"another key", 2, last.mac, [])
    shop.write(AddSeal(attrs.evolve(last, number=2, previous=last.mac, mac=mac, rows=0), ()))
    report = shop.verify()
    assert report.watermark == 0
    assert [(d.code, d.subject, d.reason) for d in report.differences] == [("seal_broken", "seal:2", "mac")]


def test_a_row_that_claims_to_be_old_is_named(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    shop.merchant.clock.advance(hours=2)
    shop.engine.seal()
    old = shop.merchant.clock.now() - timedelta(hours=1, seconds=1)
    shop.write(RecordAudit(AuditEntry(audit_id="added", actor="x", action="y", object="z", recorded_at=old)))
    assert shop.found() == [("row_unsealed", "audit", "")]


def test_links_that_were_cut_off_the_end_are_missed_by_a_head_that_was_written_down(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    report = shop.engine.seal(limit=5)
    first = f"{report.number}:{report.head}"
    assert shop.engine.verify(head=first, full=True).ok
    seal_all(shop)
    last = shop.verify().head
    tables = shop.storage._committed
    for number in range(2, 99):
        tables.seals.drop(number)
        for item in tables.seal_items.find("seal", number):
            tables.seal_items.drop((item.table, item.key))
    assert shop.engine.verify(full=True).ok
    assert shop.engine.verify(head=first, full=True).ok
    [difference] = shop.engine.verify(head=last, full=True).differences
    assert (difference.code, difference.reason, difference.expected) == ("seal_broken", "cut", last)


def test_a_head_that_cannot_be_looked_for_is_refused(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    shop.engine.seal()
    head = shop.verify().head
    for wrong in ("1", "x:" + "0" * 64, "1:abc", "0:" + "0" * 64):
        with pytest.raises(InputError, match="the number of a link"):
            shop.engine.verify(head=wrong)
    without_key = BillingEngine(storage=shop.storage, clock=shop.merchant.clock)
    with pytest.raises(InputError, match="BILLING_SEAL_KEY"):
        without_key.verify(head=head)
    assert without_key.verify().seals == "no_key"


def keyed(shop, *keys):
    """The same books in a process that has these keys, the newest first."""
    return Engine(attrs.evolve(shop.engine._ports, seal_key=keys[0], former_seal_keys=keys[1:]))


def broken(engine, **how):
    return [(d.code, d.subject, d.reason) for d in engine.verify(**how).differences if d.code != "unproved"]


def test_a_chain_goes_on_with_the_next_key(bookshop):
    """What the former key sealed is proved with it, and once everything was compared, without it too."""
    old, new = bookshop.engine._ports.seal_key, bytes(range(100, 132))
    bookshop.merchant.buy()
    bookshop.engine.seal(limit=3)
    after = keyed(bookshop, new, old)
    after.seal()
    assert broken(after) == broken(after, full=True) == []
    former = bookshop.read(lambda unit: unit.seals())[0]
    assert former.mac == seal_mac(old, 1, bytes(32), [i.digest for i in bookshop.read(lambda u: u.seal_items(1))])
    bookshop.merchant.buy("user-2")
    after.seal()
    alone = keyed(bookshop, new)
    assert (alone.verify().watermark, broken(alone)) == (3, [])
    assert broken(alone, full=True) == [("seal_broken", "seal:1", "mac")]


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "watermark"])
def test_a_former_key_makes_no_link_after_the_next(memory_bookshop, rows: bool):
    shop = memory_bookshop
    old, new = shop.engine._ports.seal_key, bytes(range(100, 132))
    shop.merchant.buy()
    shop.engine.seal()
    after = keyed(shop, new, old)
    assert after.verify().watermark == 0  # and sets one, with the new key
    if rows:
        # A worker of before links had the id of their key; one of now refuses: test_seal_keys.py.
        shop.merchant.buy("user-2")
        last, rows_left = shop.read(lambda unit: (unit.last_seal(), unit.unsealed_rows(1000)))
        made = make_link(old, last, rows_left, shop.engine._ports)
        shop.write(attrs.evolve(made, seal=attrs.evolve(made.seal, key_id=None)))
    else:
        last = shop.read(lambda unit: unit.last_seal())
        mac = seal_mac(old, last.number + 1, last.mac, [])
        shop.write(AddSeal(attrs.evolve(last, number=last.number + 1, previous=last.mac, mac=mac, rows=0), ()))
    assert broken(after) == broken(after, full=True) == [("seal_broken", "seal:3", "former_key")]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda t, n: t.seals.drop(1), ("seal_broken", "seal", "missing")),
        (
            lambda t, n: t.seals.put(2, attrs.evolve(t.seals.get(2), previous=b"\1" * 32)),
            ("seal_broken", "seal", "mac"),
        ),
        (lambda t, n: t.seals.put(2, attrs.evolve(t.seals.get(2), rows=99)), ("seal_broken", "seal", "mac")),
    ],
)
def test_a_chain_that_was_cut_or_changed_is_broken(memory_bookshop, spoil, expected):
    memory_bookshop.merchant.buy()
    seal_all(memory_bookshop)
    spoil(memory_bookshop.storage._committed, None)
    assert expected in memory_bookshop.found(full=True)
