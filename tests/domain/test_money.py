"""Money: exact base units, whatever their size; nothing else gets in."""

from __future__ import annotations

import json
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.money import (
    MAX_DECIMALS,
    MAX_UINT256,
    from_base_units,
    make_asset,
    parse_base_units,
    price_in_base_units,
    to_base_units,
)
from evmbilling.domain.selling.orders import OrderLine, sum_lines
from evmbilling.errors import InputError, InvalidAmount

TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
amounts = st.one_of(st.integers(0, MAX_UINT256), st.integers(0, 10**19))
decimals = st.integers(0, MAX_DECIMALS)
EXTREMES = [0, 1, 2**53 + 1, 2**63, 10**18 + 1, 2**256 - 1]


def refusal(call, *args, **kwargs) -> InvalidAmount:
    with pytest.raises(InvalidAmount) as caught:
        call(*args, field="amount", **kwargs)
    assert caught.value.field == "amount"
    return caught.value


@pytest.mark.fault("N01")
@pytest.mark.parametrize("amount", EXTREMES)
def test_n01_amounts_up_to_the_largest_uint256_are_exact(amount):
    assert parse_base_units(amount, field="amount") == amount
    assert parse_base_units(str(amount), field="amount") == amount
    for places in (0, 6, 18, 77):
        assert to_base_units(from_base_units(amount, places), places, field="amount") == amount


@pytest.mark.parametrize("amount", [-1, MAX_UINT256 + 1, 10**78, pytest.param(10**5000, id="10**5000")])
def test_amounts_outside_uint256_are_refused(amount):
    assert "2**256 - 1" in refusal(parse_base_units, amount).message


def test_a_minimum_is_held():
    assert parse_base_units(1, field="amount", minimum=1) == 1
    assert "from 1" in refusal(parse_base_units, 0, minimum=1).message


@pytest.mark.fault("N05")
@pytest.mark.parametrize(
    "value", [1.0, 0.1, float("nan"), float("inf"), Decimal(1), Fraction(1), True, False, None, [1]]
)
def test_n05_nothing_but_whole_numbers_and_their_digits_is_an_amount(value):
    assert refusal(parse_base_units, value).field == "amount"


@pytest.mark.fault("N08")
@pytest.mark.parametrize("value", ["1.5", "1.0", "0.1", "1e3", "1E3", "10/2", 1.5, Decimal("1.5")])
def test_n08_a_fraction_of_a_base_unit_is_refused_not_rounded(value):
    assert refusal(parse_base_units, value).field == "amount"


@pytest.mark.fault("N10")
@pytest.mark.parametrize("digits", [79, 4299, 4300, 4301, 100_000])
def test_n10_numbers_of_thousands_of_digits_are_a_typed_error(digits):
    assert refusal(parse_base_units, "9" * digits).field == "amount"
    assert refusal(to_base_units, "9" * digits, 6).field == "amount"
    assert refusal(to_base_units, "1." + "9" * digits, 6).field == "amount"
    assert refusal(price_in_base_units, Decimal("9" * digits), 6).field == "amount"


@pytest.mark.fault("N10")
@pytest.mark.parametrize("price", ["1E+999999", "9E+100000", "1E+79"])
def test_n10_prices_of_huge_exponents_are_a_typed_error(price):
    assert refusal(price_in_base_units, Decimal(price), 0).field == "amount"


NOT_DIGITS = [
    *("", " ", "1 ", " 1", "1\n", "+1", "-1", "1_000", "1,000", "0x10", "00", "01", "1e0", "."),
    *("\uff11", "\u0661", "1\u00b2", "\u2460"),
]


@pytest.mark.fault("N11")
@pytest.mark.parametrize("text", NOT_DIGITS)
def test_n11_only_plain_ascii_digits_are_read(text):
    assert refusal(parse_base_units, text).field == "amount"
    assert refusal(to_base_units, text, 6).field == "amount"


@pytest.mark.fault("N11")
@given(text=st.text(max_size=12))
def test_n11_any_text_is_an_exact_amount_or_a_typed_error(text):
    for read in (lambda: parse_base_units(text, field="amount"), lambda: to_base_units(text, 6, field="amount")):
        try:
            assert 0 <= read() <= MAX_UINT256
            assert text.isascii()
        except InvalidAmount as error:
            assert error.field == "amount"  # noqa: PT017  - both outcomes are legal


# One price, as tokens of the same symbol count it: Ethereum USDC 6, BSC USDC 18, GUSD 2, YAM 24, and the largest.
PRICE_TABLE = [
    ("19.99", 6, 19_990_000),
    ("19.99", 18, 19_990_000_000_000_000_000),
    ("19.99", 2, 1999),
    ("19.99", 24, 19_990_000_000_000_000_000_000_000),
    ("19.99", 1, None),
    ("19.99", 0, None),
    ("19.99", 77, None),
    ("0.99", 77, 99 * 10**75),
    ("1.15", 77, 115 * 10**75),
    ("1.16", 77, None),
    ("19.990", 2, 1999),
    ("19", 0, 19),
    ("0", 0, 0),
    ("0.000001", 6, 1),
    ("0.0000001", 6, None),
]


@pytest.mark.fault("T12")
@pytest.mark.parametrize(("price", "places", "units"), PRICE_TABLE)
def test_t12_a_price_is_exact_in_the_decimals_of_its_token_or_refused(price, places, units):
    if units is None:
        assert refusal(to_base_units, price, places).field == "amount"
    else:
        assert to_base_units(price, places, field="amount") == units
        assert Fraction(units, 10**places) == Fraction(price)


@pytest.mark.parametrize(
    "value", [19.99, 19, Decimal("19.99"), None, b"19.99", "1e1", "-1", "19.", ".99", "1.2.3", "NaN"]
)
def test_prices_come_as_plain_digits_only(value):
    assert refusal(to_base_units, value, 6).field == "amount"


@given(amount=amounts, places=decimals)
@example(amount=MAX_UINT256, places=MAX_DECIMALS)
@example(amount=0, places=0)
def test_displayed_amounts_come_back_exactly(amount, places):
    shown = from_base_units(amount, places)
    assert to_base_units(shown, places, field="amount") == amount
    assert Fraction(shown) == Fraction(amount, 10**places)
    assert "." not in shown or not shown.endswith(("0", "."))


@pytest.mark.parametrize(
    ("amount", "places", "shown"),
    [(0, 6, "0"), (1, 6, "0.000001"), (1_500_000, 6, "1.5"), (10, 0, "10"), (100, 2, "1"), (5, 1, "0.5")],
)
def test_amounts_are_displayed_as_people_read_them(amount, places, shown):
    assert from_base_units(amount, places) == shown


@pytest.mark.fault("N13")
@given(
    price=st.decimals(min_value=0, max_value=10**30, allow_nan=False, allow_infinity=False),
    places=st.integers(0, 30),
)
@example(price=Decimal("0." + "3" * 300), places=18)
@example(price=Decimal("1." + "0" * 250 + "1"), places=0)
@example(price=Decimal("1E-5000"), places=77)
@example(price=Decimal("1E-2000000"), places=77)
@example(price=Decimal("0E+999999"), places=6)
@example(price=Decimal("-0"), places=6)
def test_n13_a_computed_price_is_rounded_up_by_less_than_one_unit(price, places):
    units = price_in_base_units(price, places, field="amount")
    if price.adjusted() < -100:
        assert units == (1 if price else 0)
        return
    exact = Fraction(price) * 10**places
    assert exact <= units < exact + 1


@pytest.mark.fault("N04")
@given(amount=st.integers(0, MAX_UINT256))
def test_n04_the_ambient_decimal_context_changes_nothing(amount):
    with localcontext(Context(prec=3, traps=[])):
        assert price_in_base_units(Decimal(amount).scaleb(-6, Context(prec=100)), 6, field="amount") == amount
        assert from_base_units(amount, 18) == from_base_units(amount, 18)
        assert to_base_units(from_base_units(amount, 18), 18, field="amount") == amount


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "-0.01"])
def test_prices_that_are_no_finite_positive_number_are_refused(price):
    assert refusal(price_in_base_units, Decimal(price), 6).field == "amount"


def test_the_largest_price_is_the_largest_amount():
    assert price_in_base_units(Decimal(MAX_UINT256), 0, field="amount") == MAX_UINT256
    assert refusal(price_in_base_units, Decimal(MAX_UINT256 + 1), 0).field == "amount"


WRONG_ASSETS = [
    ("chain_id", 0),
    ("chain_id", -1),
    ("chain_id", "1"),
    ("chain_id", True),
    ("chain_id", 2**63),
    ("token", "0x0"),
    ("token", "0x" + "0" * 40),
    ("decimals", 78),
    ("decimals", -1),
    ("decimals", 6.0),
    ("decimals", True),
    ("symbol", ""),
    ("symbol", "US DC"),
    ("symbol", "U\nS"),
    ("symbol", "\u202eCDSU"),
    ("symbol", "x" * 33),
    ("symbol", None),
]


@pytest.mark.parametrize(("field", "value"), WRONG_ASSETS)
def test_an_asset_names_the_field_that_is_wrong(field, value):
    given_ = {"chain_id": 1, "token": TOKEN, "decimals": 6, "symbol": "USDC"} | {field: value}
    with pytest.raises(InputError) as caught:
        make_asset(**given_)
    assert caught.value.field == field


def test_the_native_coin_is_an_asset():
    coin = make_asset(chain_id=1, token=NATIVE_COIN.lower(), decimals=18, symbol="ETH")
    assert coin.is_native
    assert not make_asset(chain_id=1, token=TOKEN, decimals=6, symbol="USDC").is_native


@pytest.mark.fault("N14")
@given(amount=amounts)
def test_n14_amounts_written_as_text_survive_json(amount):
    assert parse_base_units(json.loads(json.dumps(str(amount))), field="amount") == amount


@given(parts=st.lists(st.integers(-(2**200), 2**200), max_size=6))
def test_an_order_is_the_sum_of_its_lines_or_refused(parts):
    lines = tuple(OrderLine(kind="plan", text="x", amount=part) for part in parts)
    if sum(parts) < 0:
        with pytest.raises(InvalidAmount):
            sum_lines(lines)
    else:
        assert sum_lines(lines) == sum(parts)


def test_lines_beyond_uint256_are_refused():
    lines = tuple(OrderLine(kind="plan", text="x", amount=2**255) for _ in range(2))
    with pytest.raises(InvalidAmount):
        sum_lines(lines)
