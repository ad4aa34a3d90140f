"""Which key goes on with the chain of seals: a worker that was forgotten refuses, and spoils nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.books.seals import Seal, may_seal, seal_key_id, seal_mac
from evmbilling.engine.core import Engine
from evmbilling.errors import ConfigurationError, Conflict, PermissionDenied, SealKeyRefused

NEW, OTHER = bytes(range(100, 132)), bytes(range(50, 82))
BOSS = Actor("boss", frozenset({Role.BILLING_ADMIN}))


def keyed(shop, *keys):
    return Engine(attrs.evolve(shop.engine._ports, seal_key=keys[0] if keys else None, former_seal_keys=keys[1:]))


def broken(engine, **how):
    return [(d.code, d.subject, d.reason) for d in engine.verify(**how).differences if d.code != "unproved"]


def links(shop):
    return list(shop.read(lambda unit: unit.seals()))


@pytest.fixture
def rotated(bookshop):
    """A chain of one link of the old key and one of the new, and rows that wait to be sealed."""
    old = bookshop.engine._ports.seal_key
    bookshop.merchant.buy()
    bookshop.engine.seal()
    bookshop.merchant.buy("user-2")
    keyed(bookshop, NEW, old).seal()
    bookshop.merchant.buy("user-3")
    assert [seal.key_id for seal in links(bookshop)] == [seal_key_id(old), seal_key_id(NEW)]
    return bookshop, old


def test_a_worker_with_a_former_key_or_an_unknown_one_refuses_and_says_so(rotated):
    shop, old = rotated
    for keys in ((old,), (old, NEW), (OTHER,), (OTHER, old)):
        with pytest.raises(SealKeyRefused) as refused:
            keyed(shop, *keys).seal()
        assert (refused.value.field, refused.value.details["key_id"]) == ("seal_key", seal_key_id(NEW))
    assert len(links(shop)) == 2
    for keys in ((NEW,), (NEW, old)):
        assert keyed(shop, *keys).seal().sealed or not shop.read(lambda unit: unit.unsealed_rows(1))
    assert broken(keyed(shop, NEW, old), full=True) == []


def test_a_next_key_that_follows_the_newest_goes_on(rotated):
    shop, old = rotated
    assert keyed(shop, OTHER, NEW, old).seal().sealed
    assert broken(keyed(shop, OTHER, NEW, old), full=True) == []
    shop.merchant.buy("user-4")
    with pytest.raises(SealKeyRefused):
        keyed(shop, NEW, OTHER, old).seal()


def test_links_from_before_are_proved_and_followed_as_they_were(memory_bookshop):
    shop = memory_bookshop
    old = shop.engine._ports.seal_key
    shop.merchant.buy()
    shop.engine.seal()
    stored = shop.storage._committed.seals
    stored.put(1, attrs.evolve(stored.get(1), key_id=None))
    assert broken(shop.engine, full=True) == []
    shop.merchant.buy("user-2")
    assert keyed(shop, NEW, old).seal().sealed
    assert broken(keyed(shop, NEW, old), full=True) == []


def test_a_key_id_that_was_changed_is_named(memory_bookshop):
    shop = memory_bookshop
    shop.merchant.buy()
    shop.engine.seal()
    stored = shop.storage._committed.seals
    stored.put(1, attrs.evolve(stored.get(1), key_id=seal_key_id(NEW)))
    assert broken(shop.engine) == [("seal_broken", "seal:1", "key_id")]


def test_after_a_key_that_is_lost_somebody_lets_the_chain_go_on(rotated):
    shop, old = rotated
    after = keyed(shop, OTHER)
    with pytest.raises(PermissionDenied):
        after.admin(Actor("ops", frozenset({Role.FINANCE_OPS}))).seal_anew()
    assert after.admin(BOSS).seal_anew() == 3
    (entry,) = [e for e in after.admin(BOSS).audit(limit=1000) if e.action == "seals.anew"]
    assert (entry.actor, entry.object) == ("boss", "seals")
    with pytest.raises(Conflict):
        after.admin(BOSS).seal_anew()
    for keys in ((old,), (NEW, OTHER)):
        with pytest.raises(SealKeyRefused):
            keyed(shop, *keys).admin(BOSS).seal_anew()
    with pytest.raises(ConfigurationError):
        keyed(shop).admin(BOSS).seal_anew()
    shop.merchant.buy("user-4")
    after.seal()
    assert broken(after, full=True) == [("seal_broken", "seal:1", "mac"), ("seal_broken", "seal:2", "mac")]


@pytest.mark.parametrize(
    "case",
    [
        (..., "a", [], [], True),
        (None, "a", [], [None], True),
        ("a", "a", [], ["a"], True),
        ("a", "b", ["a"], ["a"], True),
        ("a", "b", [], ["a"], False),
        ("b", "a", ["b"], ["a", "b"], False),
        ("b", "a", ["b"], [None, "b"], True),
        ("b", "c", ["a"], ["a", "b"], False),
    ],
)
def test_which_key_goes_on(case):
    last, own, former, before, may = case
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = None if last is ... else Seal(number=1, previous=b"", mac=b"", rows=1, sealed_at=at, key_id=last)
    assert may_seal(made, own, former, before) is may


def test_the_id_of_a_key_is_not_its_mac(memory_bookshop):
    key = memory_bookshop.engine._ports.seal_key
    assert len(seal_key_id(key)) == 8
    assert seal_key_id(key) != seal_key_id(NEW)
    assert seal_mac(key, 1, bytes(32), []).hex()[:8] != seal_key_id(key)
