"""Many rows at once, straight to the driver: the same rows, the same errors, the same order as one after the other."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import attrs
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefixed import PREFIX
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy import types as t
from evmbilling.adapters.sqlalchemy.binary_rows import binary_rows, can_write
from evmbilling.adapters.sqlalchemy.columnwise import Same, column_reader, column_writer
from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import Account, order_owner
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    InputError,
    InvalidAmount,
    NotFound,
    StorageError,
    VersionConflict,
)
from evmbilling.testing.conformance.storage import records as b
from sampling import examples

MANY = 20
"""More than PostgreSQL takes as one statement of single rows."""
NASTY = (
    "",
    " ",
    "NULL",
    "null",
    "\\N",
    "\\.",
    "\\",
    '"',
    "'",
    "{}",
    "{a,b}",
    ",",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\x01\x7f",
    "größer",
    "漢字",
    "\U0001f600",
    "\ufeff",
    "$1",
    "%s",
    ":x",
    "\\x00",
)
NUMBERS = range(1, MANY + 1)


def user(number):
    return f"user-{number}"


def text(number):
    return NASTY[number % len(NASTY)]


def first(number):
    """Everything that one customer's first payment leaves, with texts that a protocol may stumble over."""
    mine, ident = user(number), b.ident(number)
    receipt = b.receipt(number, ledger_id=ident, user_id=mine, reason=text(number), amount=2**256 - number)
    posting = b.posting(number, user_id=mine, ledger_id=ident, lines=b.received(number, f"customer:{mine}"))
    return [
        d.OpenSubscription(b.subscription(number, user_id=mine, trial_end=None if number % 2 else b.at(20))),
        d.OpenOrder(b.order(number, user_id=mine, subscription_id=ident, period=0, failure_reason=text(number))),
        d.BindKey(b.key_record(user_id=mine, key=text(number), ledger_id=ident)),
        d.StoreEntitlement(b.entitlement(user_id=mine, source_id=ident, limits={text(number): number})),
        d.StoreReceipt(receipt),
        d.AppendEntry(b.entry(receipt_id=ident, amount=2**255 + number)),
        d.PostEntry(posting),
        d.StoreMovement(b.movement(number, identity=b.identity(number, ordinal=1), live=bool(number % 2))),
        d.StoreQueueItem(b.queued(number, note=text(number), asset=None if number % 3 else b.asset())),
        d.Publish(b.event(number, aggregate=f"customer:{mine}", seq=1, data={"text": text(number)})),
        d.RecordAudit(b.audit(number, object=text(number))),
        d.RecordChange(b.change(subscription_id=ident, by=text(number))),
        d.StoreInboxItem(b.hint(number, body=bytes([number]) + bytes(range(256)), reason=text(number))),
    ]


def second(number):
    """How these rows change; some of them twice."""
    mine, ident = user(number), b.ident(number)
    order = b.order(number, user_id=mine, subscription_id=ident, period=0)
    paid = attrs.evolve(order, status=OrderStatus.CONFIRMED, completion=b.completion(log_index=number), version=2)
    final = attrs.evolve(paid, status=OrderStatus.FINAL, external_id=text(number), failure_reason=None, version=3)
    receipt = b.receipt(number, ledger_id=ident, user_id=mine)
    back = b.moved((Account.CUSTOMER_CREDIT, f"customer:{mine}"), (Account.REVENUE, order_owner(ident)), 1)
    movement = b.movement(number, identity=b.identity(number, ordinal=1), version=2, live=False)
    return [
        d.StoreOrder(paid),
        *([d.StoreOrder(final)] if number % 2 else []),
        d.StoreSubscription(
            b.subscription(number, user_id=mine, status=SubscriptionStatus.ACTIVE, debt=number, version=2)
        ),
        d.StoreEntitlement(b.entitlement(user_id=mine, source_id=ident, until=None, features=())),
        *([d.StoreEntitlement(b.entitlement(user_id=mine, source_id=ident, basis="ended"))] if number % 3 else []),
        d.StoreReceipt(attrs.evolve(receipt, status=ReceiptStatus.FINAL, reason=None, entries=2, version=2)),
        d.PostEntry(b.posting(100 + number, user_id=mine, ledger_id=ident, lines=back)),
        d.StoreMovement(movement),
        d.StoreQueueItem(b.queued(number, state="decided", note=text(number + 1), version=2)),
        d.StoreCustomer(b.customer(mine, event_seq=number, locale=text(number), version=2)),
        d.StoreInboxItem(b.hint(number, state="done", reason=text(number + 1), version=2)),
    ]


def flat(rows_of):
    return [decision for number in NUMBERS for decision in rows_of(number)]


def prepare(storage):
    with storage.unit() as unit:
        for number in NUMBERS:
            unit.lock_customer(b.customer(user(number)))
        unit.apply([d.AddPlanVersion(b.plan())])


def content(storage):
    """Everything that is stored, as the driver answers it."""
    with storage._engine.connect() as connection:
        names = [name for name in sa.inspect(connection).get_table_names() if name.startswith(PREFIX)]
        found = {n: connection.exec_driver_sql(f"SELECT * FROM {n}").fetchall() for n in names if n != PREFIXED}
    return {name: sorted(map(repr, rows)) for name, rows in found.items()}


PREFIXED = f"{PREFIX}instance"


@contextmanager
def listening(engine):
    """Let somebody listen to the statements: they take the ordinary way then."""

    def note(*_):
        """Hear it."""

    event.listen(engine, "before_cursor_execute", note)
    yield
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_many_rows_at_once_are_the_rows_of_the_ordinary_way(request, kind, clock):
    database, found = request.getfixturevalue(f"{kind}_database"), []
    for heard in (True, False):
        database.empty()
        with listening(database.storage._engine) if heard else _nothing():
            prepare(database.storage)
            b.write(database.storage, *flat(first))
            before = content(database.storage)
            b.write(database.storage, *flat(second))
        found.append((before, content(database.storage)))
    assert found[0] == found[1]
    before, after = found[1]
    assert all(len(before[f"{PREFIX}{name}"]) >= MANY for name in ("payment_transactions", "outbox", "balances"))
    assert before != after


@contextmanager
def _nothing():
    yield


def test_many_rows_come_back_as_they_were_written(sql_storage):
    prepare(sql_storage)
    b.write(sql_storage, *flat(first), *flat(second))
    with b.looking(sql_storage) as unit:
        orders = unit.orders([b.ident(number) for number in NUMBERS])
        events = {event.event_id: event for event in unit.events(limit=1000)}
        customers = {customer.user_id: customer for customer in unit.customers()}
    for number in NUMBERS:
        order = orders[b.ident(number)]
        assert (order.version, order.external_id) == ((3, text(number)) if number % 2 else (2, None))
        assert order.completion.log_index == number
        assert events[b.ident(number)].data == {"text": text(number)}
        assert customers[user(number)].locale == text(number)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=9, max_size=40))
def test_any_text_survives_arrays_and_copies(postgres_database, clock, texts):
    postgres_database.empty()
    storage = postgres_database.storage
    b.seed(storage, *(d.OpenOrder(b.order(n, failure_reason=one)) for n, one in enumerate(texts)))
    b.write(storage, *(d.StoreOrder(b.order(n, external_id=one, version=2)) for n, one in enumerate(texts)))
    with b.looking(storage) as unit:
        orders = unit.orders([b.ident(n) for n in range(len(texts))])
    assert [orders[b.ident(n)].external_id for n in range(len(texts))] == texts


SPOILT = {
    "a taken order": (d.OpenOrder(b.order(1)), AlreadyExists),
    "an order twice": (d.OpenOrder(b.order(2 * MANY - 1)), AlreadyExists),
    "a taken reference": (d.OpenOrder(b.order(99, reference=b.word(1))), AlreadyExists),
    "nobody's order": (d.OpenOrder(b.order(99, user_id="nobody")), StorageError),
    "a text with NUL": (d.OpenOrder(b.order(99, failure_reason="a\x00b")), InputError),
    "half a character": (d.OpenOrder(b.order(99, failure_reason="\ud800")), InputError),
    "too much": (d.OpenOrder(b.order(99, amount=2**256)), InvalidAmount),
    "half of it": (d.OpenOrder(b.order(99, gas=1.5)), InputError),
    "true": (d.OpenOrder(b.order(99, gas=True)), InputError),
    "no zone": (d.OpenOrder(b.order(99, deadline=datetime(2026, 1, 1))), InputError),  # noqa: DTZ001  - the fault
    "a short hash": (d.OpenOrder(b.order(99, completion=b.completion(tx_hash=b"short"))), InputError),
    "no such state": (d.OpenOrder(b.order(99, status="lost")), InputError),
    "no such version": (d.StoreOrder(b.order(1, version=7)), VersionConflict),
    "no such order": (d.StoreOrder(b.order(98, version=2)), VersionConflict),
    "no such customer": (d.StoreCustomer(b.customer("nobody", version=2)), NotFound),
    "no such item": (d.StoreItem(b.item(98)), NotFound),
}


def companions(decision):
    """Many good decisions of the same kind."""
    numbers = range(MANY, 2 * MANY)
    known = {
        d.OpenOrder: lambda n: d.OpenOrder(b.order(n)),
        d.StoreOrder: lambda n: d.StoreOrder(b.order(n, version=2)),
        d.StoreCustomer: lambda n: d.StoreCustomer(b.customer(b.ALICE, event_seq=n)),
    }
    make = known.get(type(decision))
    return [make(n) for n in numbers] if make else [decision] * MANY


@pytest.mark.parametrize("place", [0, MANY // 2, MANY])
@pytest.mark.parametrize(("decision", "error"), SPOILT.values(), ids=SPOILT)
@pytest.mark.sampled(strength=1)
def test_one_bad_row_among_many_has_its_own_error_and_nothing_is_kept(sql_storage, place, decision, error):
    others = companions(decision)
    there = [d.OpenOrder(b.order(n)) for n in (1, *range(MANY, 2 * MANY))] if type(decision) is d.StoreOrder else []
    b.seed(sql_storage, *(there or [d.OpenOrder(b.order(1))]))
    before, told = content(sql_storage), []
    for heard in (False, True):
        with listening(sql_storage._engine) if heard else _nothing(), pytest.raises(error) as caught:
            b.write(sql_storage, *others[:place], decision, *others[place:])
        told.append((type(caught.value), getattr(caught.value, "field", None)))
        assert content(sql_storage) == before
    assert told[0] == told[1]


def test_rows_of_one_key_are_written_in_their_order(sql_storage):
    b.seed(sql_storage, *(d.OpenOrder(b.order(n)) for n in NUMBERS))
    steps = [d.StoreOrder(b.order(n, version=v, failure_reason=f"{v}")) for v in (2, 3, 4) for n in NUMBERS]
    kept = [d.StoreEntitlement(b.entitlement(source_id=b.ident(n), plan_slug=f"p{v}")) for v in (1, 2) for n in NUMBERS]
    b.write(sql_storage, *steps, *kept)
    with b.looking(sql_storage) as unit:
        assert {o.failure_reason for o in unit.orders([b.ident(n) for n in NUMBERS]).values()} == {"4"}
        assert [e.plan_slug for e in unit.entitlements([b.ALICE])] == ["p2"] * MANY


def test_lists_of_every_length_find_the_same(sql_storage):
    """Places for values come in powers of two; what fills the last of them finds nothing more."""
    b.seed(sql_storage, *(d.OpenOrder(b.order(n)) for n in NUMBERS))
    with b.looking(sql_storage) as unit:
        for length in (*range(10), MANY, MANY):
            wanted = [b.ident(n) for n in NUMBERS][:length]
            assert sorted(unit.orders(wanted)) == wanted
            assert sorted(unit.orders([*wanted, *wanted, "absent"])) == wanted


@pytest.mark.parametrize(("count", "payers"), [(40, 1), (256, 7), (300, 1), (2_400, 7)])
def test_logs_as_columns_are_the_rows_of_as_many_records(sql_storage, count, payers):
    """So many that SQLite takes them at whole steps, and at steps that are cut."""
    logs = [
        attrs.evolve(
            b.log(9 + number // 1_000, number + 1, log_index=number % 1_000), topics=(b.word(number % payers),)
        )
        for number in range(count)
    ]
    headers = tuple(b.header(number) for number in (9, 10, 11))
    found = []
    for given_as in (tuple(logs), LogColumns.of(b.CHAIN, logs)):
        for _ in range(2):
            b.write(sql_storage, d.RecordEvidence(cursor=b.cursor(11), headers=headers, logs=given_as, keep_from=0))
            found.append({name: content(sql_storage)[f"{PREFIX}{name}"] for name in ("chain_logs", "intake_items")})
        b.write(sql_storage, d.Rewind(cursor=b.cursor(8)))
        with sql_storage._engine.begin() as connection:
            for name in ("chain_logs", "intake_items"):
                connection.exec_driver_sql(f"DELETE FROM {PREFIX}{name}")
    assert [len(rows) for rows in found[0].values()] == [count, count]
    assert found[0] == found[1] == found[2] == found[3]


class Shade(StrEnum):
    """A word of a closed set."""

    RED = "red"


AWARE = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
COLUMNS = {
    "text": (t.PlainText(), ["", "a", "ü", "漢", Shade.RED, "\x00", "\ud800", 1, b"a"]),
    "address": (t.Address(), ["0x" + "aB" * 20, "\x00", 1]),
    "emitter": (t.Address(letters=False), ["0x" + "aB" * 20, "\x00", 1]),
    "whole": (t.Whole(), [0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 1.5, True, "1"]),
    "amount": (t.Uint256(), [0, 1, 2**256 - 1, 2**256, -1, 1.0, True, Decimal(1)]),
    "flag": (t.Flag(), [True, False, 1, 0, "t"]),
    "instant": (
        t.UtcInstant(),
        [AWARE, AWARE.astimezone(timezone(timedelta(hours=5))), AWARE.replace(tzinfo=None), "2026", AWARE.date(), 1],
    ),
    "day": (t.Day(), [AWARE.date(), AWARE, "2026-01-01"]),
    "octets": (t.Octets(), [b"", b"\x00\xff", bytearray(b"a"), "a"]),
    "hash": (t.Octets(2), [b"ab", b"", b"abc", "ab"]),
    "word": (t.Word("red", "blue"), ["red", Shade.RED, "blue", "green", "", 1]),
    "json": (
        t.StrictJson(),
        [{}, {"a": 1}, [1, "ü"], {"a": {"b": None}}, {"a": 1.5}, {"a": "\x00"}, {1: 2}, "x", {"ü": True}],
    ),
    "decimal": (t.ExactDecimal(), [Decimal("1.50"), Decimal("NaN"), 1]),
}


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda d: d.name)
@pytest.mark.parametrize(("kind", "values"), COLUMNS.values(), ids=COLUMNS)
@pytest.mark.sampled(strength=1)
def test_a_column_is_written_and_read_as_its_values_are(kind, values, dialect):
    one, whole = kind.bind_processor(dialect), column_writer(kind, dialect)
    read, read_all = kind.result_processor(dialect, None), column_reader(kind, dialect)

    def outcome(work):
        try:
            return [(type(value), value) for value in work()]
        except BillingError as error:
            return type(error), error.message

    @settings(max_examples=examples(60))
    @given(st.lists(st.none() | st.sampled_from(values), max_size=6))
    def check(column):
        expected = outcome(lambda: [one(value) for value in column])
        assert outcome(lambda: whole(column)) == expected
        if column:
            same = outcome(lambda: [one(column[0])] * len(column))
            assert outcome(lambda: whole(Same(column[0], len(column)))) == same
        if isinstance(expected, list) and read is not None:
            stored = [value for _, value in expected]
            assert outcome(lambda: read_all(stored)) == outcome(lambda: [read(value) for value in stored])

    check()


KINDS = ("bool", "text", "int8", "bytea", "timestamptz", "date", "text")
ROWS = [
    (
        None if number % 5 == 0 else number % 2 == 0,
        None if number % 7 == 0 else text(number),
        None if number % 11 == 0 else (-1) ** number * (2**63 - number - 1),
        None if number % 13 == 0 else bytes(range(number % 256)),
        None
        if number % 3 == 0
        else datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=1_999 * number, microseconds=number),
        None if number % 4 == 0 else datetime(1999, 12, 1, tzinfo=UTC).date() + timedelta(days=number),
        None,
    )
    for number in range(1_100)
]
"""More than one message of them."""


@pytest.mark.parametrize("same", [(), (0,), (0, 1, 3, 6), tuple(range(len(KINDS)))], ids=lambda places: f"same{places}")
@pytest.mark.parametrize("count", [1, 512, 1_100])
def test_rows_that_are_written_by_column_are_those_that_the_driver_writes(postgres_database, same, count):
    names = ", ".join(f"c{place} {kind}" for place, kind in enumerate(KINDS))
    rows = [tuple(ROWS[1][at] if at in same else value for at, value in enumerate(row)) for row in ROWS[:count]]
    columns = [Same(column[0], count) if at in same else column for at, column in enumerate(zip(*rows, strict=True))]
    with postgres_database.storage._engine.connect() as connection:
        cursor = connection.connection.cursor()
        for table in ("ours", "its"):
            cursor.execute(f"CREATE TEMPORARY TABLE {table} (place serial, {names})")
        listed = ", ".join(f"c{place}" for place in range(len(KINDS)))
        with cursor.copy(f"COPY ours ({listed}) FROM STDIN (FORMAT BINARY)") as copy:
            for part in binary_rows(KINDS, columns):
                copy.write(part)
        with cursor.copy(f"COPY its ({listed}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(KINDS)
            for row in rows:
                copy.write_row(row)
        ours, its = (
            cursor.execute(f"SELECT {listed} FROM {table} ORDER BY place").fetchall() for table in ("ours", "its")
        )
        connection.rollback()
    assert ours == its == rows


def test_amounts_are_left_to_the_driver():
    assert can_write(KINDS)
    assert not can_write((*KINDS, "numeric"))


def test_many_logs_of_two_chains_stay_with_their_own(sql_storage):
    logs = [b.log(1 + number // 50, number % 50, chain_id=1 + number % 2) for number in range(600)]
    prepare(sql_storage)
    b.write(sql_storage, d.RecordEvidence(cursor=b.cursor(50), headers=(), logs=sql_storage.prepare(logs), keep_from=0))
    with b.looking(sql_storage) as unit:
        assert [len(unit.logs_between(chain, 0, 50)) for chain in (1, 2)] == [300, 300]
