"""Evidence: recorded with the cursor, taken back above it, and never under an old fence."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.reading.evidence import Halt, Rescan
from evmbilling.errors import InputError, LeaseLost
from evmbilling.testing.conformance.storage import records as b


def record(numbers: Any, logs: Any = (), *, branch: Any = 0, keep_from: Any = 0, **cursor: Any) -> Any:
    """Decide to store a range of blocks with the cursor at its end."""
    headers = tuple(b.header(number, branch=branch) for number in numbers)
    return d.RecordEvidence(
        cursor=b.cursor(headers[-1].number, branch=branch, **cursor),
        headers=headers,
        logs=tuple(logs),
        keep_from=keep_from,
    )


def due(storage: Any, *, chain_id: Any = b.CHAIN, cursor: Any = None, now: Any = b.T0, limit: Any = 100) -> Any:
    with storage.unit() as unit:
        return list(unit.claim_items(chain_id, cursor or b.cursor(), now, limit))


def settle(storage: Any, *, chain_id: Any = b.CHAIN, limit: Any = 100) -> Any:
    """Look at everything that is due, and wait for nothing more."""
    with storage.unit() as unit:
        items = unit.claim_items(chain_id, b.cursor(chain_id=chain_id), b.T0, limit)
        unit.apply([d.StoreItem(attrs.evolve(item, wait="never", reason=None)) for item in items])
    return {item.identity for item in items}


def halt(number: Any = 8, **changes: Any) -> Any:
    return d.HaltChain(b.cursor(9, halt=Halt(reason="deep_reorg", at_block=number, since=b.T0), **changes))


class EvidenceChecks:
    """Evidence: recorded with the cursor, taken back above it, and never under an old fence."""

    clause = 8

    def test_a_range_brings_its_cursor_headers_logs_and_items(self, storage: Any) -> None:
        logs = [b.log(8, 1), b.log(9, 2), b.log(9, 2, log_index=7, ordinal=1)]
        about = {"irreversible": b.header(4), "fence": 3, "event_seq": 7, "updated_at": b.at(5)}
        b.write(storage, record([8, 9, 10], logs, **about))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == b.cursor(10, **about)
            assert list(unit.window(b.CHAIN)) == [b.header(n) for n in (8, 9, 10)]
            assert unit.logs_of([log.identity for log in logs]) == {log.identity: log for log in logs}
        assert {item.identity for item in due(storage)} == {log.identity for log in logs}
        assert {item.wait for item in due(storage)} == {"now"}

    def test_a_range_without_logs_still_moves_the_cursor(self, storage: Any) -> None:
        b.write(storage, record([8]), record([9, 10]))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == b.cursor(10)
            assert [h.number for h in unit.window(b.CHAIN, above=8)] == [9, 10]
            assert [h.number for h in unit.window(b.CHAIN, above=10)] == []
            assert [h.number for h in unit.window(b.CHAIN, above=0)] == [8, 9, 10]

    def test_the_same_range_again_changes_nothing_but_wakes_the_intake(self, storage: Any) -> None:
        log = b.log(9, 1)
        b.write(storage, record([8, 9], [log]))
        assert settle(storage) == {log.identity}
        assert due(storage) == []
        b.write(storage, record([8, 9], [log]))
        with b.looking(storage) as unit:
            assert [h.number for h in unit.window(b.CHAIN)] == [8, 9]
            assert unit.logs_of([log.identity]) == {log.identity: log}
        assert settle(storage) == {log.identity}

    @pytest.mark.parametrize(
        ("keep_from", "kept"),
        [
            (0, [5, 6, 7, 8, 9]),
            (5, [5, 6, 7, 8, 9]),
            (6, [5, 6, 7, 8, 9]),
            (7, [6, 7, 8, 9]),
            (9, [8, 9]),
            (10, [9]),
            (1000, [9]),
        ],
    )
    def test_trimming_keeps_the_highest_header_below(self, storage: Any, keep_from: Any, kept: Any) -> None:
        b.write(storage, record(range(5, 8)), record(range(5, 8), chain_id=b.OTHER_CHAIN))
        b.write(storage, record([8, 9], keep_from=keep_from))
        with b.looking(storage) as unit:
            assert [h.number for h in unit.window(b.CHAIN)] == kept
            assert [h.number for h in unit.window(b.OTHER_CHAIN)] == [5, 6, 7]

    def test_a_rewind_takes_back_what_is_above_it(self, storage: Any) -> None:
        logs = [b.log(n, n) for n in (7, 8, 9)]
        b.write(storage, record([7, 8, 9], logs))
        settle(storage)
        b.write(storage, d.Rewind(cursor=b.cursor(7, irreversible=b.header(5))))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == b.cursor(7, irreversible=b.header(5))
            assert list(unit.window(b.CHAIN)) == [b.header(7)]
            assert unit.logs_of([log.identity for log in logs]) == {logs[0].identity: logs[0]}
        assert settle(storage) == {logs[1].identity, logs[2].identity}

    def test_a_rewind_wakes_only_what_it_orphaned(self, storage: Any) -> None:
        log = b.log(9, 1)
        b.write(storage, record([9], [log]), d.Rewind(cursor=b.cursor(8)))
        assert settle(storage) == {log.identity}
        b.write(storage, d.Rewind(cursor=b.cursor(7)))
        assert due(storage) == []

    @pytest.mark.fault("C02")
    def test_c02_a_block_that_comes_back_makes_its_logs_canonical_again(self, storage: Any) -> None:
        log = b.log(9, 1)
        b.write(storage, record([8, 9], [log]), d.Rewind(cursor=b.cursor(8)))
        with b.looking(storage) as unit:
            assert unit.logs_of([log.identity]) == {}
        settle(storage)
        b.write(storage, record([9, 10], [log]))
        with b.looking(storage) as unit:
            assert unit.logs_of([log.identity]) == {log.identity: log}
        assert settle(storage) == {log.identity}

    @pytest.mark.fault("C03")
    def test_c03_a_transaction_in_another_block_keeps_one_identity(self, storage: Any) -> None:
        first = b.log(9, 1, log_index=4)
        second = b.log(10, 1, branch=1, log_index=0)
        assert first.identity == second.identity
        b.write(storage, record([8, 9], [first]), d.Rewind(cursor=b.cursor(8)))
        b.write(storage, record([9, 10], [second], branch=1))
        with b.looking(storage) as unit:
            assert unit.logs_of([first.identity]) == {second.identity: second}
            assert list(unit.window(b.CHAIN, above=8)) == [b.header(9, branch=1), b.header(10, branch=1)]
        assert settle(storage) == {first.identity}
        b.write(storage, d.Rewind(cursor=b.cursor(8)))
        b.write(storage, record([9], [first]))
        with b.looking(storage) as unit:
            assert unit.logs_of([first.identity]) == {first.identity: first}
        assert settle(storage) == {first.identity}

    def test_logs_between_two_blocks_are_the_canonical_ones_in_chain_order(self, storage: Any) -> None:
        logs = [b.log(7, 1, log_index=4), b.log(8, 3, log_index=0), b.log(8, 2, log_index=1), b.log(9, 4)]
        b.write(storage, record([7, 8, 9], [logs[2], logs[0], logs[3], logs[1]]))
        b.write(storage, record([8], [b.log(8, 5, chain_id=b.OTHER_CHAIN)], chain_id=b.OTHER_CHAIN))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 7, 8)) == logs[:3]
            assert list(unit.logs_between(b.CHAIN, 8, 9)) == logs[1:]
            assert list(unit.logs_between(b.CHAIN, 10, 99)) == []
        b.write(storage, d.Rewind(cursor=b.cursor(8)))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 0, 99)) == logs[:3]

    def test_a_log_that_is_recorded_again_is_as_it_was_recorded_last(self, storage: Any) -> None:
        log = b.log(9, 1)
        b.write(storage, record([9], [attrs.evolve(log, data=b"altered", tx_hash=b.word(77))]), record([9], [log]))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 9, 9)) == [log]

    def test_many_logs_are_stored_whether_they_are_new_or_not(self, storage: Any) -> None:
        """A database may have a shorter way for rows that are all new."""
        logs = [b.log(9 + number // 200, number + 1, log_index=number % 200) for number in range(600)]
        b.write(storage, record([9, 10, 11], logs[:599]))
        settle(storage, limit=600)
        moved = attrs.evolve(logs[0], block_number=12, block_hash=b.header(12).hash)
        again = [
            attrs.evolve(log, block_number=13, block_hash=b.header(13).hash, log_index=n) for n, log in enumerate(logs)
        ]
        b.write(storage, record([9, 10, 11, 12], [*logs, moved]))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 9, 12)) == [*logs, moved]
        assert settle(storage, limit=1000) == {log.identity for log in logs}
        b.write(storage, d.Rewind(cursor=b.cursor(8)))
        settle(storage, limit=1000)
        # The movements are known, in blocks that are not.
        b.write(storage, record([13], again))
        with b.looking(storage) as unit:
            assert list(unit.logs_between(b.CHAIN, 9, 13)) == again
        assert settle(storage, limit=1000) == {log.identity for log in logs}

    def test_one_log_that_cannot_be_stored_among_many_is_named_and_none_is_kept(self, storage: Any) -> None:
        logs = [b.log(9, number + 1, log_index=number) for number in range(600)]
        b.write(storage, record([8]))
        for column, value in (("tx_hash", b"short"), ("ordinal", 2**63), ("address", "a\0b")):
            with pytest.raises(InputError) as refused:
                b.write(storage, record([9], [*logs[:300], attrs.evolve(logs[300], **{column: value}), *logs[301:]]))
            assert refused.value.field == column
            with b.looking(storage) as unit:
                assert list(unit.logs_between(b.CHAIN, 0, 99)) == []
                assert unit.cursor(b.CHAIN) == b.cursor(8)

    def test_what_is_read_again_stands_in_the_cursor(self, storage: Any) -> None:
        wanted = b.cursor(10, rescan=Rescan(next=3, last=9))
        b.write(storage, d.StoreCursor(wanted))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == wanted
        b.write(storage, record([11], rescan=None))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN).rescan is None

    def test_headers_replace_the_window_at_their_heights(self, storage: Any) -> None:
        b.write(storage, record([7, 8, 9]), record([8], branch=2))
        with b.looking(storage) as unit:
            assert list(unit.window(b.CHAIN)) == [b.header(7), b.header(8, branch=2), b.header(9)]

    def test_a_halt_wakes_what_is_above_it(self, storage: Any) -> None:
        logs = [b.log(n, n) for n in (7, 8, 9)]
        orphan = b.log(10, 10)
        b.write(storage, record([7, 8, 9, 10], [*logs, orphan]), d.Rewind(cursor=b.cursor(9)))
        settle(storage)
        b.write(storage, halt())
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == halt().cursor
            assert [h.number for h in unit.window(b.CHAIN)] == [7, 8, 9]
            assert len(unit.logs_of([log.identity for log in logs])) == 3
        assert settle(storage) == {logs[2].identity}

    @pytest.mark.fault("O17")
    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(record([101], [b.log(101, 5)], fence=6), id="record"),
            pytest.param(d.Rewind(cursor=b.cursor(90, fence=6)), id="rewind"),
            pytest.param(d.StoreCursor(b.cursor(200, fence=6)), id="cursor"),
            pytest.param(halt(fence=6), id="halt"),
        ],
    )
    def test_o17_evidence_under_an_older_fence_is_refused(self, storage: Any, decision: Any) -> None:
        log = b.log(100, 1)
        b.write(storage, record([99, 100], [log], fence=7))
        settle(storage)
        with pytest.raises(LeaseLost):
            b.write(storage, d.RecordAudit(b.audit()), decision)
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == b.cursor(100, fence=7)
            assert [h.number for h in unit.window(b.CHAIN)] == [99, 100]
            assert unit.logs_of([log.identity]) == {log.identity: log}
            assert len(unit.audit()) == 0
        assert due(storage) == []

    @pytest.mark.parametrize("fence", [7, 8], ids=["the-same", "a-newer"])
    def test_the_newest_fence_may_write(self, storage: Any, fence: Any) -> None:
        b.write(storage, record([100], fence=7), record([101], fence=fence))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == b.cursor(101, fence=fence)

    def test_blocks_of_evidence_come_from_the_top_and_only_canonical_ones(self, storage: Any) -> None:
        logs = [b.log(5, 5), b.log(5, 6), b.log(6, 7), b.log(8, 8)]
        b.write(storage, record([5, 6, 7, 8], logs))
        b.write(storage, record([8], [b.log(8, 1, chain_id=b.OTHER_CHAIN)], chain_id=b.OTHER_CHAIN))
        marks = {n: (n, b.header(n).hash) for n in (5, 6, 8)}
        with b.looking(storage) as unit:
            assert list(unit.log_blocks(b.CHAIN, below=100)) == [marks[8], marks[6], marks[5]]
            assert list(unit.log_blocks(b.CHAIN, below=8, limit=1)) == [marks[6]]
            assert list(unit.log_blocks(b.CHAIN, below=5)) == []
        b.write(storage, d.Rewind(cursor=b.cursor(6)))
        with b.looking(storage) as unit:
            assert list(unit.log_blocks(b.CHAIN, below=100)) == [marks[6], marks[5]]

    def test_a_fence_of_one_chain_says_nothing_about_another(self, storage: Any) -> None:
        b.write(storage, record([100], fence=7), record([100], fence=1, chain_id=b.OTHER_CHAIN))
        with b.looking(storage) as unit:
            assert [(c.chain_id, c.fence) for c in unit.cursors()] == [(b.OTHER_CHAIN, 1), (b.CHAIN, 7)]

    def test_waiting_below_counts_what_the_intake_has_not_looked_at(self, storage: Any) -> None:
        logs = [b.log(n, n) for n in (5, 6, 7, 8)]
        b.write(storage, record([5, 6, 7, 8], logs))
        b.write(
            storage,
            d.StoreItem(b.item(5, wait="never")),
            d.StoreItem(b.item(6, wait="time", retry_at=b.at(5), reason="poison")),
        )
        b.write(storage, record([5], [b.log(5, 1, chain_id=b.OTHER_CHAIN)], chain_id=b.OTHER_CHAIN))
        with b.looking(storage) as unit:
            counts = {block: unit.waiting_below(b.CHAIN, block) for block in (4, 5, 6, 7, 8, 9)}
            assert unit.waiting_below(b.OTHER_CHAIN, 5) == 1
            assert unit.waiting_below(1, 100) == 0
        assert counts == {4: 0, 5: 0, 6: 0, 7: 1, 8: 2, 9: 2}
        b.write(storage, d.Rewind(cursor=b.cursor(7)))
        with b.looking(storage) as unit:
            assert unit.waiting_below(b.CHAIN, 9) == 1
