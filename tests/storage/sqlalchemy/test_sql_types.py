"""Column types: the same value on both databases, or a refusal before the database sees it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from prefixed import PREFIX
from sqlalchemy.dialects import postgresql, sqlite

from evmbilling.adapters.sqlalchemy import types as t
from evmbilling.adapters.sqlalchemy.canonical import decode_json, encode_json
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.domain import decisions as d
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import InputError, InvalidAmount
from evmbilling.testing.conformance.storage import records as b

DIALECTS = [sqlite.dialect(), postgresql.dialect()]
TABLES = build_tables(Names())
AMOUNTS = [
    (table.name, column.name)
    for table in TABLES.metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, t.Uint256)
]
uint256 = st.integers(0, 2**256 - 1) | st.sampled_from(b.EXTREMES)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)

both_dialects = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def write(kind, value, dialect):
    return kind.bind_processor(dialect)(value)


def read(kind, value, dialect):
    process = kind.result_processor(dialect, None)
    return value if process is None else process(value)


@pytest.fixture(scope="module")
def columns(postgres_server, tmp_path_factory):
    """One table with a column of each kind, on both databases."""
    metadata = sa.MetaData()
    table = sa.Table(
        "kinds",
        metadata,
        sa.Column("id", t.Whole(), primary_key=True),
        sa.Column("amount", t.Uint256()),
        sa.Column("words", t.PlainText()),
        sa.Column("instant", t.UtcInstant()),
    )
    with postgres_server.database() as url:
        folder = tmp_path_factory.mktemp("kinds")
        engines = [sa.create_engine(f"sqlite:///{folder}/kinds.db"), sa.create_engine(url)]
        for engine in engines:
            metadata.create_all(engine)
        yield table, engines
        for engine in engines:
            engine.dispose()


def stored(columns, name, values):
    """Write values into a column of both databases; return what each gives back, in its own order."""
    table, engines = columns
    answers = []
    for engine in engines:
        with engine.begin() as connection:
            connection.execute(sa.delete(table))
            if values:
                connection.execute(sa.insert(table), [{"id": n, name: value} for n, value in enumerate(values)])
            column = table.c[name]
            answers.append(list(connection.execute(sa.select(column).order_by(column)).scalars()))
    return answers


def equal_to(columns, name, values, wanted):
    """Return the ids of the rows whose column equals a value, on both databases."""
    table, engines = columns
    stored(columns, name, values)
    answers = []
    for engine in engines:
        with engine.begin() as connection:
            found = sa.select(table.c.id).where(table.c[name] == wanted).order_by(table.c.id)
            answers.append(list(connection.execute(found).scalars()))
    return answers


@pytest.mark.fault("N01")
@given(values=st.lists(uint256, max_size=12))
def test_n01_any_uint256_comes_back_exactly_on_both(columns, values):
    assert stored(columns, "amount", values) == [sorted(values)] * 2


@pytest.mark.fault("N02")
def test_n02_every_amount_is_stored_as_text_on_sqlite(migrated_sqlite):
    with migrated_sqlite.storage() as storage:
        b.seeded(storage)
        b.write(
            storage,
            d.SaveNetwork(b.network()),
            d.StoreRefund(b.refund(amount=2**53 + 1)),
            d.AppendEntry(b.entry(amount=2**53 + 1)),
            d.PostEntry(b.posting(lines=b.received(2**53 + 1))),
            d.StoreMovement(b.movement(amount=2**53 + 1)),
            d.StoreQueueItem(b.queued(amount=2**53 + 1)),
            d.StoreTransmission(b.sending(value=2**53 + 1, mined=b.MINED)),
            d.RecordSigned(b.signed_version()),
            d.StoreMandate(b.mandate()),
            d.StoreDeposit(b.deposit()),
        )
    tables = build_tables(Names()).metadata.tables.values()
    amounts = [(table.name, c.name) for table in tables for c in table.columns if isinstance(c.type, t.Uint256)]
    with migrated_sqlite.strangers() as stranger:
        found = {
            (table, name): stranger.scalar(f'SELECT DISTINCT typeof("{name}") FROM {table}') for table, name in amounts
        }
    assert len(found) == len(AMOUNTS) >= 6
    assert set(found.values()) == {"text"}, found


@pytest.mark.fault("N03")
@given(values=st.lists(uint256, min_size=2, max_size=8, unique=True))
def test_n03_text_order_is_the_order_of_the_numbers(values):
    kind, dialect = t.Uint256(), DIALECTS[0]
    assert sorted(values) == [read(kind, v, dialect) for v in sorted(write(kind, v, dialect) for v in values)]


@pytest.mark.fault("N04")
def test_n04_no_float_and_no_decimal_touches_base_units(project):
    """Decimals are for fiat, for prices as people type them, and for how long a number is; floats are for nothing."""
    allowed = {"domain/money.py", "domain/strict_json.py", "adapters/sqlalchemy/types.py"}
    source = project / "src/evmbilling"
    layers = ("domain", "ports", "engine", "adapters/sqlalchemy", "adapters/memory")
    files = [path for layer in layers for path in (source / layer).rglob("*.py")]
    assert len(files) > 40
    floats = [path for path in files if " float(" in path.read_text()]
    decimals = {str(path.relative_to(source)) for path in files if " Decimal(" in path.read_text()}
    assert floats == []
    assert {Path(name).as_posix() for name in decimals} <= allowed


@pytest.mark.fault("N08")
@pytest.mark.fault("N05")
@both_dialects
@pytest.mark.parametrize(
    "value",
    [1.0, 1.5, float("nan"), float("inf"), True, Decimal(1), Decimal("1.5"), "1", -1, 2**256, b"1", [1]],
    ids=repr,
)
def test_n05_n08_only_a_whole_number_in_range_is_an_amount(dialect, value):
    with pytest.raises(InvalidAmount):
        write(t.Uint256(), value, dialect)


@pytest.mark.fault("N08")
def test_n08_a_fraction_never_reaches_the_database_that_would_round_it(sql_storage):
    b.seed(sql_storage)
    with pytest.raises(InvalidAmount) as caught:
        b.write(sql_storage, d.OpenOrder(b.order(amount=1.5)))
    assert caught.value.field == "amount"
    with b.looking(sql_storage) as unit:
        assert unit.order(b.ident(1)) is None


@pytest.mark.fault("N07")
@pytest.mark.parametrize(
    "value",
    [
        "'NaN'",
        "-1",
        "1e78",
        "'Infinity'",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ],
)
def test_n07_postgresql_refuses_what_passes_a_simple_check(postgres_storage, postgres_database, value):
    b.seeded(postgres_storage)
    assert postgres_storage._engine.dialect.name == "postgresql"
    engine = sa.create_engine(postgres_database.url)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError) as caught:
        connection.exec_driver_sql(f"UPDATE {PREFIX}payment_receipts SET amount = {value}")
    engine.dispose()
    assert caught.value.orig.sqlstate in {"23514", "22003"}
    with b.looking(postgres_storage) as unit:
        assert unit.receipts_of_orders([b.ident(1)])[0].amount == b.receipt().amount


@pytest.mark.fault("N02")
@pytest.mark.parametrize(
    "value",
    ["'1'", "1", f"'{'9' * 78}'", f"'{'0' * 77}a'", f"'{'0' * 79}'", f"'{'0' * 77} '", "NULL", "1.5", "x'00'"],
)
def test_n02_sqlite_refuses_what_would_not_sort_or_convert(sqlite_storage, sqlite_database, value):
    b.seeded(sqlite_storage)
    engine = sa.create_engine(sqlite_database.url)
    with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.exec_driver_sql(f"UPDATE {PREFIX}payment_receipts SET amount = {value}")
    engine.dispose()


@pytest.mark.fault("D24")
@both_dialects
@pytest.mark.parametrize("value", [datetime(2026, 1, 1), date(2026, 1, 1), "2026-01-01", 0], ids=repr)  # noqa: DTZ001  - a naive one is what is refused
def test_d24_an_instant_without_a_zone_is_refused(dialect, value):
    with pytest.raises(InputError):
        write(t.UtcInstant(), value, dialect)


ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin")])
instants = st.datetimes(datetime(1971, 1, 1), datetime(9990, 1, 1), timezones=ZONES)  # noqa: DTZ001  - bounds are naive


@pytest.mark.fault("D24")
@given(values=st.lists(instants, max_size=8))
def test_d24_instants_keep_microseconds_and_sort_alike(columns, values):
    answers = stored(columns, "instant", values)
    # Between zones Python calls a moment in a gap or a fold of the clock unequal to itself.
    assert answers == [sorted(value.astimezone(UTC) for value in values)] * 2
    assert all(value.tzinfo is UTC for answer in answers for value in answer)


@pytest.mark.fault("D24")
def test_d24_the_zone_of_a_session_changes_nothing(columns):
    table, engines = columns
    moment = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    stored(columns, "instant", [moment])
    with engines[1].begin() as connection:
        connection.exec_driver_sql("SET timezone = 'America/St_Johns'")
        found = connection.execute(sa.select(table.c.instant)).scalar_one()
    assert (found, found.tzinfo) == (moment, UTC)


CLOSE = [
    "a",
    "A",
    "a ",
    " a",
    "ä",
    "a\u0308",
    "Ä",
    "ß",
    "ss",
    "\u00e4",
    "z",
    "Z",
    "_",
    "-",
    "é",
    "e",
    "",
    "10",
    "9",
    "\uff41",
]


@pytest.mark.fault("D23")
@given(values=st.lists(text | st.sampled_from(CLOSE), max_size=10))
def test_d23_text_sorts_alike_on_both(columns, values):
    assert stored(columns, "words", values) == [sorted(values, key=str.encode)] * 2


@pytest.mark.fault("D23")
@given(values=st.lists(text | st.sampled_from(CLOSE), min_size=1, max_size=10), wanted=st.sampled_from(CLOSE))
def test_d23_text_is_equal_only_to_itself_on_both(columns, values, wanted):
    same = [n for n, value in enumerate(values) if value == wanted]
    assert equal_to(columns, "words", values, wanted) == [same] * 2


@pytest.mark.fault("D23")
@both_dialects
@pytest.mark.parametrize("value", ["a\x00b", "\x00", "\ud800", "ok\udfff", b"a", 1], ids=ascii)
def test_d23_what_only_one_database_would_hold_is_refused(dialect, value):
    with pytest.raises(InputError):
        write(t.PlainText(), value, dialect)


KINDS = [
    (t.Whole(), [0, -1, 2**63 - 1, -(2**63)], [True, 1.0, "1", 2**63, Decimal(1)]),
    (t.Digits(), [0, -1, 2**300, -(2**300)], [True, 1.0, "1", Decimal(1)]),
    (t.Flag(), [True, False], [0, 1, "true"]),
    (t.Day(), [date(2026, 2, 28), date(1, 1, 1)], [datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01"]),
    (t.Octets(4), [b"\x00\xff\x00\x01"], [b"", b"12345", "1234", bytearray(4)]),
    (t.Octets(), [b"", b"\x00" * 100], ["", 1]),
    (t.Word("pending", "final"), [OrderStatus.PENDING, "final"], ["Pending", "", "gone", 1]),
    (t.ExactDecimal(), [Decimal("19.99"), Decimal("-0.00000001"), Decimal("1E+3")], [Decimal("NaN"), 1.5, 1, "1"]),
    (
        t.StrictJson(),
        [{"a": [1, None, True, "ü"], "b": {"c": 2**300}}, [], "x"],
        [0.5, {1: 2}, {"a": b""}, {"x": "\x00"}],
    ),
]


@both_dialects
@pytest.mark.parametrize(("kind", "good", "bad"), KINDS, ids=lambda k: type(k).__name__)
def test_every_kind_gives_back_what_it_took_and_refuses_the_rest(dialect, kind, good, bad):
    for value in good:
        assert read(kind, write(kind, value, dialect), dialect) == value
    assert write(kind, None, dialect) is None
    for value in bad:
        with pytest.raises(InputError):
            write(kind, value, dialect)


@pytest.mark.fault("N06")
@pytest.mark.parametrize("raw", ["NaN", "[Infinity]", '{"a": -Infinity}', "1.0", "1e400", '{"a": 0.1}'])
def test_n06_json_that_somebody_wrote_around_us_is_refused(raw):
    with pytest.raises(InputError):
        decode_json(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)


@given(value=json_values)
def test_json_has_one_text_per_value(value):
    written = encode_json(value)
    assert decode_json(written) == value
    assert encode_json(decode_json(written)) == written
    assert written.isascii()
