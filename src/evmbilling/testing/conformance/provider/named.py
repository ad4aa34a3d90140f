"""What every chain source says of a transaction that is named by its hash."""

from __future__ import annotations

from typing import Any

import pytest

from evmbilling.domain.addresses import checksum

COINS = 12_345
ANYBODY = checksum(b"\x5a" * 20)
NONSENSE = b"\xde\xad\xbe\xef"
"""Calldata of no function."""


class TransactionsChecks:
    """Transactions by their hashes."""

    clause = 16

    def test_a_transaction_is_told_as_it_was_signed_with_its_block(self, field: Any, reader: Any) -> None:
        sent = field.send(1, ANYBODY, value=COINS)
        (pending,) = reader.source.transactions([sent]).values()
        assert (pending.tx_hash, pending.block, pending.succeeded) == (sent, None, False)
        field.mine()
        (mined,) = reader.source.transactions([sent]).values()
        assert (mined.block, mined.succeeded) == (reader.head, True)
        for told in (pending, mined):
            assert (told.sender, told.to, told.value, told.data) == (field.holder(1), ANYBODY, COINS, b"")

    def test_calldata_and_a_failure_are_told(self, field: Any, reader: Any) -> None:
        sent = field.send(1, field.shop.contract, data=NONSENSE)
        field.mine()
        (told,) = reader.source.transactions([sent]).values()
        assert (told.to, told.value, told.data) == (field.shop.contract, 0, NONSENSE)
        assert (told.block, told.succeeded) == (reader.head, False)

    def test_each_of_several_has_its_own_place(self, field: Any, reader: Any) -> None:
        sent = [field.send(number, ANYBODY, value=COINS + number) for number in (1, 2, 3)]
        field.mine()
        later = field.send(4, ANYBODY, value=COINS)
        field.mine()
        found = reader.source.transactions([*sent, later, sent[0]])
        assert found.keys() == {*sent, later}
        assert {found[one].value for one in sent} == {COINS + number for number in (1, 2, 3)}
        assert sorted(found[one].index for one in sent) == [0, 1, 2]
        assert (found[later].index, found[later].block) == (0, reader.head)
        assert {found[one].block.hash for one in sent} == {reader.head.parent_hash}

    def test_what_nobody_sent_is_left_out(self, field: Any, reader: Any) -> None:
        sent = field.send(1, ANYBODY, value=COINS)
        field.mine()
        assert list(reader.source.transactions([bytes(32), sent, b"\xab" * 32])) == [sent]
        assert reader.source.transactions([b"\xab" * 32]) == reader.source.transactions([]) == {}

    @pytest.mark.parametrize("mode", ["drop", "reinclude", "reorder"])
    def test_a_reorganisation_takes_the_block_away_and_gives_another(self, field: Any, reader: Any, mode: Any) -> None:
        sent = field.send(1, ANYBODY, value=COINS)
        field.mine(2)
        (before,) = reader.source.transactions([sent]).values()
        field.reorganise(2, mode)
        if mode == "drop":
            assert all(told.block is None for told in reader.source.transactions([sent]).values())
            field.resend()
            field.mine()
        (after,) = reader.source.transactions([sent]).values()
        assert after.succeeded
        assert (after.sender, after.to, after.value) == (before.sender, before.to, before.value)
        assert after.block.hash != before.block.hash
        assert reader.source.header(after.block.number) == after.block
