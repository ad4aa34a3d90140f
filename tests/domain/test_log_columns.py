"""Logs as columns are the logs that they were made of, in every way in which they can be asked for."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.log_columns import LogColumns
from sampling import examples

CHAIN = 31337
WORDS = st.binary(min_size=32, max_size=32)
LOGS = st.builds(
    ChainLog,
    chain_id=st.just(CHAIN),
    block_number=st.integers(0, 9),
    block_hash=WORDS,
    block_time=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  - bounds
    tx_hash=WORDS,
    log_index=st.integers(0, 9),
    ordinal=st.integers(0, 9),
    address=st.sampled_from(["0x" + "11" * 20, "0x" + "22" * 20]),
    topics=st.lists(WORDS, max_size=4).map(tuple),
    data=st.binary(max_size=70),
)
MANY = st.lists(LOGS, max_size=7)


@settings(max_examples=examples(60))
@given(MANY)
def test_they_are_the_logs_that_they_were_made_of(logs):
    columns = LogColumns.of(CHAIN, logs)
    assert len(columns) == len(logs)
    assert list(columns) == logs
    assert [columns[place] for place in range(-len(logs), len(logs))] == [*logs, *logs]
    assert columns == logs
    assert columns == tuple(logs)
    assert columns == LogColumns.of(CHAIN, logs)
    assert hash(columns) == hash(tuple(logs))
    with pytest.raises(IndexError):
        columns[len(logs)]


@settings(max_examples=examples(60))
@given(MANY, st.data())
def test_a_part_of_them_is_that_part(logs, data):
    columns = LogColumns.of(CHAIN, logs)
    wanted = data.draw(st.lists(st.booleans(), min_size=len(logs), max_size=len(logs)))
    begin, end = data.draw(st.integers(-8, 8)), data.draw(st.integers(-8, 8))
    assert columns.chosen(wanted) == [log for log, kept in zip(logs, wanted, strict=True) if kept]
    assert columns[begin:end] == logs[begin:end]


@settings(max_examples=examples(40))
@given(MANY, MANY)
def test_those_of_two_together_are_both_in_order(some, others):
    assert LogColumns.joined(CHAIN, [LogColumns.of(CHAIN, some), LogColumns.of(CHAIN, others)]) == [*some, *others]


DIFFERENT = {
    "block_number": 10,
    "block_hash": b"\1" * 32,
    "block_time": datetime(2028, 1, 1, tzinfo=UTC),
    "tx_hash": b"\1" * 32,
    "log_index": 10,
    "ordinal": 10,
    "address": "0x" + "33" * 20,
    "topics": (b"\1" * 32,) * 5,
    "data": b"\1" * 71,
}


@pytest.mark.parametrize(("name", "value"), DIFFERENT.items())
@settings(max_examples=examples(10))
@given(logs=st.lists(LOGS, min_size=1, max_size=4))
def test_one_word_of_one_log_is_enough_to_differ(name, value, logs):
    other = [*logs[:-1], attrs.evolve(logs[-1], **{name: value})]
    assert LogColumns.of(CHAIN, logs) != LogColumns.of(CHAIN, other)
    assert LogColumns.of(CHAIN, logs) != other


def test_they_are_nothing_but_logs():
    none = LogColumns.joined(CHAIN, ())
    assert none == []
    assert none != LogColumns.joined(CHAIN + 1, ())
    assert none != "nothing"
