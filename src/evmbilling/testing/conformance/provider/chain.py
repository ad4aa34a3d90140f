"""What every chain source does, whatever is behind it: the fake chain and real nodes pass the same tests."""

from __future__ import annotations

from datetime import UTC
from itertools import pairwise
from typing import Any

import pytest

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.errors import ChainMismatch, RpcRefused, WrongChain
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.provider.fields import STRAY
from evmbilling.testing.merchant import ADMIN

MODES = ("drop", "reinclude", "reorder", "double_spend")


class HeadersChecks:
    """The head, tags, numbers and ranges."""

    clause = 2

    def test_the_head_is_a_block_with_a_hash_a_parent_and_a_time(self, field: Any, reader: Any) -> None:
        before = reader.head
        field.mine()
        head = reader.head
        assert (head.number, head.parent_hash) == (before.number + 1, before.hash)
        assert (len(head.hash), head.timestamp.tzinfo, head.timestamp.microsecond) == (32, UTC, 0)
        assert head.timestamp >= before.timestamp
        assert reader.source.header(head.number) == head

    def test_tags_are_behind_the_head_and_follow_it(self, field: Any, reader: Any) -> None:
        field.mine(3)
        for _ in range(2):
            head = reader.head.number
            found = [reader.source.header(tag).number for tag in ("latest", "safe", "finalized")]
            assert found == [head, head - 1, head - 2]
            field.mine()

    def test_above_the_head_there_is_nothing(self, reader: Any) -> None:
        head = reader.head.number
        assert reader.source.header(head + 1) is None
        assert list(reader.source.headers(head + 1, head + 5)) == []
        assert [h.number for h in reader.source.headers(head - 1, head + 5)] == [head - 1, head]

    def test_a_range_of_headers_links_up(self, field: Any, reader: Any) -> None:
        field.mine(5)
        found = reader.headers(6)
        assert [h.number for h in found] == list(range(reader.head.number - 5, reader.head.number + 1))
        assert all(child.parent_hash == parent.hash for parent, child in pairwise(found))
        assert found[-1] == reader.head
        assert list(reader.source.headers(found[1].number, found[3].number)) == found[1:4]

    @of_clause(6)
    def test_another_chain_behind_the_url_is_refused(self, field: Any, reader: Any) -> None:
        reader.source.check_chain()
        field.pretend(137)
        with pytest.raises(WrongChain):
            reader.source.check_chain()
        field.pretend(reader.network.chain_id)
        reader.source.check_chain()

    @of_clause(6)
    def test_the_chain_id_is_that_of_the_network(self, reader: Any) -> None:
        assert reader.source.chain_id == reader.network.chain_id == 31337


class LogsChecks:
    """What is found in blocks."""

    clause = 3

    def test_a_payment_in_a_token_says_what_the_order_asks(self, field: Any, reader: Any) -> None:
        order = field.checkout(1).order
        sent = field.pay(1, field.checkout(1))
        field.mine()
        (transfer, paid) = sorted(reader.seen(1), key=lambda one: one.log.ordinal)
        assert (transfer.kind, transfer.token, transfer.amount) == ("transfer", order.asset.token, order.amount)
        assert (transfer.payer, transfer.treasury) == (order.wallet, order.treasury)
        assert (paid.kind, paid.reference, paid.payer) == ("payment", order.reference, order.wallet)
        assert (paid.token, paid.amount, paid.treasury) == (order.asset.token, order.amount, order.treasury)
        head = reader.head
        for one in (transfer, paid):
            log = one.log
            assert (log.block_number, log.block_hash, log.block_time) == (head.number, head.hash, head.timestamp)
            assert (log.tx_hash, log.chain_id) == (sent, 31337)

    def test_a_payment_in_the_coin_is_the_contracts_word_alone(self, field: Any, reader: Any) -> None:
        offer = field.checkout(1, asset="ETH")
        field.pay(1, offer)
        field.mine()
        (paid,) = reader.seen(1)
        assert (paid.kind, paid.token, paid.amount) == ("payment", NATIVE_COIN, offer.amount)
        assert paid.reference == offer.reference

    def test_ordinals_count_within_a_receipt_and_indexes_within_a_block(self, field: Any, reader: Any) -> None:
        for number in (1, 2, 3):
            field.pay(number, field.checkout(number))
        field.stray()
        field.mine()
        logs = reader.logs(1)
        assert [log.log_index for log in logs] == sorted({log.log_index for log in logs})
        assert len({log.identity for log in logs}) == len(logs) == 7
        offsets = {
            log.tx_hash: {other.log_index - other.ordinal for other in logs if other.tx_hash == log.tx_hash}
            for log in logs
        }
        assert all(len(found) == 1 for found in offsets.values())
        assert len({next(iter(found)) for found in offsets.values()}) == 4

    def test_logs_come_in_chain_order_and_only_of_the_blocks_that_are_asked(self, field: Any, reader: Any) -> None:
        for number in (1, 2, 3):
            field.pay(number, field.checkout(number))
            field.mine()
        found = reader.logs(3)
        assert [log.block_number for log in found] == sorted(log.block_number for log in found)
        assert len({log.block_number for log in found}) == 3
        middle = reader.headers(2)[:1]
        assert [log for log in found if log.block_hash == middle[0].hash] == list(
            reader.source.logs(middle, reader.watch)
        )
        assert list(reader.source.logs([], reader.watch)) == []

    @of_clause(5)
    def test_an_unwatched_contract_says_nothing(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.stray()
        field.mine()
        none = reader.provider.watch([], tokens=[], treasuries=[])
        assert list(reader.source.logs(reader.headers(1), none)) == []
        only_token = reader.provider.watch([], tokens=[field.shop.token.token], treasuries=[field.shop.treasury])
        assert {log.address for log in reader.source.logs(reader.headers(1), only_token)} == {field.shop.token.token}
        elsewhere = reader.provider.watch([], tokens=[field.shop.token.token], treasuries=[field.shop.contract])
        payments_from_the_contract = reader.source.logs(reader.headers(1), elsewhere)
        assert all(log.address == field.shop.token.token for log in payments_from_the_contract)

    def test_a_failed_transaction_says_nothing(self, field: Any, reader: Any) -> None:
        offer = field.checkout(1)
        field.pay(1, offer)
        field.mine()
        field.pay(1, offer)  # its reference is used up: mined with status 0
        field.mine()
        assert len(reader.payments(2)) == 1
        assert reader.seen(1) == []

    def test_a_block_that_is_no_longer_there_is_an_error_and_never_an_empty_answer(
        self, field: Any, reader: Any
    ) -> None:
        field.pay(1, field.checkout(1))
        field.mine(2)
        old = reader.headers(2)
        field.reorganise(2, "drop")
        with pytest.raises(ChainMismatch):
            reader.source.logs(old, reader.watch)


class ReorganisationsChecks:
    """What a changed chain leaves."""

    clause = 4

    @pytest.mark.parametrize("depth", [1, 3])
    @pytest.mark.parametrize("mode", MODES)
    def test_what_each_kind_leaves(self, field: Any, reader: Any, mode: Any, depth: Any) -> None:
        offers = {number: field.checkout(number) for number in (1, 2)}
        for number, offer in offers.items():
            field.pay(number, offer)
        field.stray()
        field.mine(depth)
        before = reader.headers(depth)
        paid = reader.payments(depth)
        field.reorganise(depth, mode)
        after = reader.headers(depth)
        assert [h.number for h in after] == [h.number for h in before]
        assert {h.hash for h in after}.isdisjoint(h.hash for h in before)
        assert after[0].parent_hash == before[0].parent_hash
        again = reader.payments(depth)
        if mode in ("drop", "double_spend"):
            assert (again, reader.seen(depth)) == ({}, [])
            return
        assert again.keys() == paid.keys() == {offer.reference for offer in offers.values()}
        for reference, one in again.items():
            assert one.log.identity == paid[reference].log.identity
            assert one.log.block_hash != paid[reference].log.block_hash
        indexes = [[found[o.reference].log.log_index for o in offers.values()] for found in (paid, again)]
        place = after[0] if mode == "reinclude" else after[-1]
        assert {one.log.block_hash for one in again.values()} == {place.hash}
        assert (indexes[0] == indexes[1]) == (mode == "reinclude")

    def test_what_was_dropped_can_be_mined_again_and_is_the_same_movement(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine(2)
        (before,) = reader.payments(2).values()
        field.reorganise(2, "drop")
        field.mine()
        assert reader.payments(3) == {}
        field.resend()
        field.mine()
        (after,) = reader.payments(1).values()
        assert after.log.identity == before.log.identity
        assert after.log.block_number == before.log.block_number + 3

    def test_what_was_spent_elsewhere_is_never_mined(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine()
        field.reorganise(1, "double_spend")
        with_errors = []
        try:
            field.resend()
        except RpcRefused as refused:  # a node says so at once: its nonce is too low
            with_errors.append(refused.message)
        field.mine(2)
        assert reader.payments(3) == {}
        assert all("nonce" in message for message in with_errors)

    def test_a_shorter_look_sees_only_its_own_blocks(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine(4)
        field.reorganise(2, "drop")
        assert len(reader.payments(4)) == 1
        assert reader.payments(3) == {}


class PoolsChecks:
    """What is not mined is nowhere."""

    clause = 4

    def test_a_pending_transaction_is_in_no_block(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        assert reader.payments(1) == {}
        field.mine()
        assert len(reader.payments(1)) == 1

    @pytest.mark.fault("C10")
    def test_c10_a_replaced_transaction_is_never_mined(self, field: Any, reader: Any) -> None:
        sent = field.pay(1, field.checkout(1))
        field.replace(sent)
        field.mine(3)
        assert reader.payments(3) == {}

    @pytest.mark.fault("C11")
    def test_c11_a_dropped_transaction_is_not_mined_until_it_is_sent_again(self, field: Any, reader: Any) -> None:
        sent = field.pay(1, field.checkout(1))
        field.drop(sent)
        field.mine(2)
        assert reader.payments(2) == {}
        field.resend()
        field.mine()
        assert [one.log.tx_hash for one in reader.payments(1).values()] == [sent]


class BalancesChecks:
    """What an address held."""

    clause = 9

    def test_a_treasury_holds_what_was_sent_to_it_as_of_each_block(self, field: Any, reader: Any) -> None:
        token, treasury = field.shop.token.token, field.shop.treasury
        start = reader.head.number
        offer = field.checkout(1)
        field.pay(1, offer)
        field.mine()
        field.stray()
        field.mine()
        held = [reader.source.balance(token, treasury, start + n) for n in (0, 1, 2)]
        assert held == [0, offer.amount, offer.amount + STRAY]

    def test_the_coin_is_counted_too(self, field: Any, reader: Any) -> None:
        start = reader.head.number
        offer = field.checkout(1, asset="ETH")
        before = reader.source.balance(NATIVE_COIN, field.shop.treasury, start)
        field.pay(1, offer)
        field.mine()
        held = [reader.source.balance(NATIVE_COIN, field.shop.treasury, start + n) for n in (0, 1)]
        assert held == [before, before + offer.amount]

    def test_a_reorganisation_takes_it_back(self, field: Any, reader: Any) -> None:
        field.stray()
        field.mine()
        field.reorganise(1, "drop")
        assert reader.source.balance(field.shop.token.token, field.shop.treasury, reader.head.number) == 0

    def test_a_block_that_is_not_there_has_no_balances(self, field: Any, reader: Any) -> None:
        with pytest.raises(RpcRefused):
            reader.source.balance(field.shop.token.token, field.shop.treasury, reader.head.number + 10)


class ReaderOverItChecks:
    """The engine over the source."""

    clause = 4

    def test_the_engine_reads_both_alike(self, field: Any) -> None:
        offers = [field.checkout(1), field.checkout(2, asset="ETH"), field.checkout(3, plan="pack")]
        field.settle()
        for number, offer in enumerate(offers, 1):
            field.pay(number, offer)
        field.stray()
        field.mine(3)
        field.settle()
        assert {str(field.shop.engine.order(o.ledger_id).status) for o in offers} == {"confirmed"}
        assert [r.amount for r in field.shop.engine.admin(ADMIN).unmatched_receipts()] == [STRAY]
        assert field.shop.engine.verify().differences == ()
        field.reorganise(2, "reorder")
        field.mine(20)
        field.settle()
        assert {str(field.shop.engine.order(o.ledger_id).status) for o in offers} == {"final"}
        assert field.shop.engine.verify().differences == ()
