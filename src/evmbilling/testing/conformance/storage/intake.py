"""The intake's queue: what is due, for whom, and what is parked."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.testing.conformance.storage import records as b

NOW = b.at(1000)

CURSOR = b.cursor(100, heights=Heights(head=100, safe=90, finalized=80))


def fill(storage: Any, *items: Any, chain_id: Any = b.CHAIN) -> None:
    """Bring items into the queue as the reader does, and let each wait as it says."""
    numbers = [int.from_bytes(item.identity.tx_hash) for item in items]
    logs = tuple(b.log(50, number, chain_id=chain_id) for number in numbers)
    record = d.RecordEvidence(cursor=b.cursor(50, chain_id=chain_id), headers=(), logs=logs, keep_from=0)
    b.write(storage, record, *(d.StoreItem(item) for item in items))


def claim(storage: Any, *, cursor: Any = CURSOR, now: Any = NOW, limit: Any = 100, chain_id: Any = b.CHAIN) -> Any:
    with storage.unit() as unit:
        return list(unit.claim_items(chain_id, cursor, now, limit))


class IntakeChecks:
    """The intake's queue: what is due, for whom, and what is parked."""

    clause = 7

    @pytest.mark.parametrize(
        ("wait", "is_due"),
        [
            ({"wait": "now"}, True),
            ({"wait": "now", "height": 10**9, "retry_at": b.at(10**6)}, True),
            ({"wait": "head", "height": 99}, True),
            ({"wait": "head", "height": 100}, True),
            ({"wait": "head", "height": 101}, False),
            ({"wait": "safe", "height": 90}, True),
            ({"wait": "safe", "height": 91}, False),
            ({"wait": "finalized", "height": 80}, True),
            ({"wait": "finalized", "height": 81}, False),
            ({"wait": "time", "retry_at": b.at(999.999999)}, True),
            ({"wait": "time", "retry_at": b.at(1000)}, True),
            ({"wait": "time", "retry_at": b.at(1000.000001)}, False),
            ({"wait": "time", "retry_at": None}, False),
            ({"wait": "never"}, False),
            ({"wait": "never", "height": 1, "retry_at": b.at(1)}, False),
        ],
        ids=str,
    )
    def test_what_is_due(self, storage: Any, wait: Any, is_due: Any) -> None:
        item = b.item(1, attempts=3, reason="some_code", **wait)
        fill(storage, item)
        assert claim(storage) == ([item] if is_due else [])

    @pytest.mark.parametrize("wait", ["safe", "finalized"])
    @pytest.mark.parametrize("height", [0, 80])
    def test_a_tag_that_the_node_does_not_have_is_never_reached(self, storage: Any, wait: Any, height: Any) -> None:
        fill(storage, b.item(1, wait=wait, height=height))
        assert claim(storage, cursor=b.cursor(heights=Heights(head=10**6))) == []
        assert claim(storage, cursor=b.cursor(heights=Heights(head=80, safe=80, finalized=80))) != []

    def test_a_claim_is_bounded_and_of_one_chain(self, storage: Any) -> None:
        fill(storage, *(b.item(n) for n in range(1, 8)))
        fill(storage, b.item(9, identity=b.identity(9, chain_id=b.OTHER_CHAIN)), chain_id=b.OTHER_CHAIN)
        assert len(claim(storage, limit=3)) == 3
        assert len(claim(storage)) == 7
        assert [item.identity.chain_id for item in claim(storage, chain_id=b.OTHER_CHAIN)] == [b.OTHER_CHAIN]
        assert claim(storage, chain_id=1) == []

    def test_a_claim_takes_the_same_first_items_every_time(self, storage: Any) -> None:
        fill(storage, *(b.item(n, height=n) for n in (5, 300, 1, 256, 2)))
        waiting = [b.identity(n) for n in (1, 2, 5, 256, 300)]
        for limit in (1, 3, 5):
            assert [item.identity for item in claim(storage, limit=limit)] == waiting[:limit]

    @pytest.mark.parametrize("each", [1, 200])
    def test_what_waits_now_is_claimed_in_the_order_of_its_blocks(self, storage: Any, each: Any) -> None:
        logs = tuple(
            b.log(block, number, log_index=number)
            for block, first in ((8, 1000), (9, 500), (10, 1))
            for number in range(first, first + each)
        )
        blocks = [{log.identity for log in logs if log.block_number == block} for block in (8, 9, 10)]
        evidence = d.RecordEvidence(cursor=b.cursor(10), headers=(), logs=storage.prepare(logs), keep_from=0)
        for told in (evidence, d.HaltChain(b.cursor(10)), d.Rewind(cursor=b.cursor(7))):
            b.write(storage, told)
            assert {item.identity for item in claim(storage, limit=each)} == blocks[0]
            assert {item.identity for item in claim(storage, limit=2 * each)} == blocks[0] | blocks[1]

    def test_neither_fresh_items_nor_promotions_keep_the_others_waiting(self, storage: Any) -> None:
        fresh = [b.item(n, height=n) for n in range(1, 21)]
        higher = [b.item(n, wait="head", height=n) for n in range(21, 41)]
        tagged = [b.item(n, wait="safe", height=n) for n in range(41, 44)]
        parked = [b.item(44, wait="time", retry_at=b.at(1), reason="x"), b.item(45, wait="time", retry_at=b.at(10**6))]
        fill(storage, *fresh, *higher, *tagged, *parked)
        numbers = {
            limit: [int.from_bytes(i.identity.tx_hash) for i in claim(storage, limit=limit)] for limit in (1, 9, 30)
        }
        assert numbers[1] == [1]
        assert numbers[9] == [1, 2, 3, 4, 5, 21, 22, 23, 44]
        assert numbers[30] == [*range(1, 16), *range(21, 35), 44]
        b.write(storage, *(d.StoreItem(attrs.evolve(item, wait="never")) for item in fresh))
        assert [i.wait for i in claim(storage, limit=30)] == ["head"] * 20 + ["safe"] * 3 + ["time"]

    def test_what_is_settled_is_not_claimed_again(self, storage: Any) -> None:
        fill(storage, *(b.item(n) for n in range(1, 6)))
        seen = []
        while True:
            with storage.unit() as unit:
                items = unit.claim_items(b.CHAIN, CURSOR, NOW, 2)
                unit.apply([d.StoreItem(attrs.evolve(item, wait="head", height=200, attempts=1)) for item in items])
            seen += [item.identity for item in items]
            if not items:
                break
        assert sorted(seen) == [b.identity(n) for n in range(1, 6)]
        assert len(claim(storage, cursor=b.cursor(200))) == 5

    def test_a_claim_that_is_rolled_back_is_claimed_again(self, storage: Any) -> None:
        fill(storage, b.item(1))
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            unit.apply([d.StoreItem(attrs.evolve(unit.claim_items(b.CHAIN, CURSOR, NOW, 1)[0], wait="never"))])
            raise ZeroDivisionError
        assert claim(storage) == [b.item(1)]

    def test_people_see_what_is_parked_and_why(self, storage: Any) -> None:
        parked = [b.item(n, wait="time", retry_at=b.at(n), attempts=n, reason=f"code_{n}") for n in (1, 2)]
        others = [b.item(3, wait="time", retry_at=b.at(3)), b.item(4, wait="never", reason="foreign"), b.item(5)]
        fill(storage, *parked, *others)
        with b.looking(storage) as unit:
            assert sorted(unit.parked_items(), key=lambda i: i.identity) == parked
            assert len(unit.parked_items(limit=1)) == 1
        b.write(storage, d.RecordEvidence(cursor=b.cursor(51), headers=(), logs=(b.log(50, 1),), keep_from=0))
        with b.looking(storage) as unit:
            assert list(unit.parked_items()) == parked[1:]
