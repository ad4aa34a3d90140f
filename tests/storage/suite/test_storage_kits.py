"""Our own storages pass the kit that authors of storages use."""

from __future__ import annotations

import re
from functools import partial
from typing import ClassVar

import pytest
from prefixed import PREFIX
from sql_hands import breaking, hosting, reopened

import forks  # noqa: F401  - other processes begin warm
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance import StorageConformance
from evmbilling.testing.conformance.base import standard_tests
from sampling import examples

LOCK_TIMEOUT = 0.4
IN_TURN = (
    "a_decision_that_fails_undoes_the_ones_beside_it",
    "a_key_of_no_row_finds_nothing",
    "a_refund_comes_back_with_every_field",
    "a_row_that_differs_in_one_column_has_another_digest",
    "amounts_beyond_uint256_are_refused",
    "amounts_beyond_uint256_are_refused_by_the_name_of_their_column",
    "every_account_and_kind_comes_back",
    "every_order_status_comes_back",
    "every_refund_status_comes_back",
    "every_subscription_status_comes_back",
    "first_attempts_go_in_order_and_an_ordered_sink_waits",
    "one_customer_reads_nothing_of_another",
    "overdue_offers_are_those_that_may_still_expire",
    "pages_are_in_order_and_whole",
    "payable_orders_are_those_that_money_may_be_for",
    "reading_ahead_changes_no_answer",
    "rows_of_other_tables_never_go",
    "rows_written_between_pages_neither_hide_nor_repeat_others",
    "the_next_version_replaces_every_field_that_moves",
    "what_a_unit_wrote_is_what_it_reads",
    "what_is_due",
)
"""Tests whose many values differ in what we do, and not in what a database does.

Each database has every other value in the usual run, and memory has them all.
What a constraint of a table decides, which keys are taken and which words there are, is asked of each database.
"""
_ROW = re.compile(r"^test_(?:[a-z]\d\d_)*")
for _name, _test in standard_tests(StorageConformance).items():
    if _ROW.sub("", _name) in IN_TURN:
        pytest.mark.in_turn(_test)


class OurStorage(StorageConformance):
    """What the usual run takes of each property."""

    def examples(self, number):
        return examples(number)


class TestMemory(OurStorage):
    @pytest.fixture
    def new_storage(self, clock):
        return lambda: MemoryStorage(clock, lock_timeout=LOCK_TIMEOUT)


class SqlStorage(OurStorage):
    """A database of the session, emptied for each test: its statements are compiled once."""

    database: ClassVar[str]

    @pytest.fixture
    def clock(self, clock: FrozenClock) -> FrozenClock:
        return clock

    @pytest.fixture
    def base(self, request):
        return request.getfixturevalue(f"{self.database}_database")

    @pytest.fixture
    def new_storage(self, base, clock):
        def empty():
            base.empty()
            return base.storage

        return empty

    @pytest.fixture
    def reopen(self, base):
        return partial(reopened, base.url, PREFIX)

    @pytest.fixture
    def host(self, base):
        with hosting(base.url) as host:
            yield host

    @pytest.fixture
    def broken_call(self, base):
        return partial(breaking, base.storage._engine)

    def connections_in_use(self, storage):
        return storage._engine.pool.checkedout()


class TestSqlite(SqlStorage):
    database = "sqlite"
    capabilities = frozenset({"breakable", "host_transaction", "many_processes", "pool"})


class TestPostgres(SqlStorage):
    database = "postgres"
    capabilities = frozenset({"breakable", "concurrent_writers", "host_transaction", "many_processes", "pool"})
