"""Values that cannot be used: each a typed error that names its field, and nothing is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from engine_shop import OTHER_TOKEN, START, Watched, address, build_shop, make_plan, stock
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    ConfigurationError,
    InputError,
    InvalidAddress,
    InvalidAmount,
    NotFound,
    UnknownAsset,
    UnknownNetwork,
    UnknownPlan,
)
from evmbilling.testing.clock import FrozenClock
from sampling import examples


def show(value):
    """Name a value in a test's id; Python writes no integer of more than 4,300 digits."""
    try:
        return ascii(value)[:40]
    except ValueError:
        return "an integer of many digits"


WALLET = address("wallet")
DIGITS = WALLET[2:]
LETTER = next(i for i, digit in enumerate(DIGITS) if digit.isalpha())
FLIPPED = "0x" + DIGITS[:LETTER] + DIGITS[LETTER].swapcase() + DIGITS[LETTER + 1 :]
HALF_A_CHARACTER = ("\ud800", "env:\ud800", "file:/\udcff", "plugin:\ud800:x", "enc:\ud800", SecretRef("env", "\ud800"))
ADDRESSES = [
    FLIPPED,
    "0X" + DIGITS,
    DIGITS,
    WALLET[:-1],
    WALLET + "0",
    " " + WALLET,
    WALLET + "\n",
    WALLET + "\0",
    "0x" + "\uff11" * 40,
    "0x" + "\u0661" * 40,
    "0x" + "0" * 40,
    "0x" + "g" * 40,
    "vitalik.eth",
    "",
    None,
    5,
    b"\x11" * 20,
    bytes.fromhex(DIGITS),
]
OPAQUES = ["", "x" * 256, "a b", "a\n", "\n", "a\0", "ключ", "ü", "\uff11", "a\u200b", " a", "a ", None, 7, b"a", True]

CHECKOUTS = (
    [(InvalidAddress, "wallet", value) for value in ADDRESSES]
    + [(InvalidAddress, "beneficiary", value) for value in ADDRESSES if value is not None]
    + [(InputError, "idempotency_key", value) for value in OPAQUES]
    + [(InputError, "user_id", value) for value in OPAQUES]
    + [(UnknownPlan, "plan", "nope"), (UnknownNetwork, "network", "nope")]
    + [(InputError, "plan", v) for v in ("Pro", "", None, 5, "pro ", "pro\n", "-pro", "p" * 65, "pro/1", "' or 1=1")]
    + [(InputError, "network", v) for v in ("", "Fake", 5, b"fake", "fake\0", 31337)]
    + [(UnknownAsset, "asset", v) for v in ("DAI", "usdc", OTHER_TOKEN, OTHER_TOKEN.lower(), "USDC2")]
    + [(InvalidAddress, "asset", v) for v in ("0x12", "0X" + DIGITS, FLIPPED, "0x", "0x" + "0" * 40)]
    + [(InputError, "asset", v) for v in ("", "x" * 33, 5, "US DC")]
    + [(InputError, "product", v) for v in ("other", 5, "saas/", "saas/a b", "SAAS", "", "/1", "saas/" + "x" * 256)]
    + [(InputError, "quantity", v) for v in (0, -1, 10**6 + 1, 10**400, 2.0, True, "2", None, float("nan"))]
    + [(InputError, "zone", v) for v in ("Mars/Base", "", "../etc/passwd", 5, b"UTC", "UTC\0", "/UTC", "Europe")]
    + [(InputError, "zone", v) for v in ("localtime", "posixrules", "right/UTC", "utc", "x" * 5000)]
    + [(InputError, "start_at", v) for v in (datetime(2027, 1, 1), "2027-01-01", START, START - timedelta(1), 5)]  # noqa: DTZ001  - naive on purpose
    + [(InputError, "start_at", v) for v in (datetime.max.replace(tzinfo=ZoneInfo("UTC")), START + timedelta(4000))]
)


@pytest.mark.fault("T17", "T18", "N11", "B18")
@pytest.mark.parametrize(("error", "field", "value"), CHECKOUTS, ids=show)
def test_t17_t18_n11_b18_checkout_refuses(still, was, error, field, value):
    given = {"plan": "pro", "user_id": "u1", "wallet": WALLET, "idempotency_key": "k"} | {field: value}
    with pytest.raises(error) as caught:
        still.engine.checkout(**given)
    assert caught.value.field == field
    assert still.dump() == was


@pytest.mark.parametrize(
    ("error", "field", "value"),
    [row for row in CHECKOUTS if row[1] in {"wallet", "plan", "network", "asset", "product", "quantity", "user_id"}][
        ::4
    ],
    ids=show,
)
def test_a_quote_refuses_what_a_checkout_refuses(still, was, error, field, value):
    with pytest.raises(error) as caught:
        still.engine.quote(**({"plan": "pro", "user_id": "u1", "wallet": WALLET} | {field: value}))
    assert caught.value.field == field
    assert still.dump() == was


@pytest.mark.parametrize("value", [WALLET, WALLET.lower(), "0x" + DIGITS.upper()])
def test_an_address_is_the_same_however_it_is_written(memory_shop, value):
    assert memory_shop.checkout(wallet=value).order.wallet == WALLET


@settings(max_examples=examples(60))
@given(
    field=st.sampled_from(["plan", "user_id", "wallet", "idempotency_key", "network", "asset", "product", "quantity"]),
    value=st.one_of(st.text(max_size=60), st.integers(), st.floats(), st.booleans(), st.binary(max_size=40), st.none()),
)
def test_nothing_but_typed_errors_leaves_a_checkout(fuzzed_shop, field, value):
    given_ = {"plan": "pro", "user_id": "u1", "wallet": WALLET, "idempotency_key": "k"} | {field: value}
    errors = []
    try:
        fuzzed_shop.engine.checkout(**given_)
    except BillingError as error:
        errors.append(error)
    assert all(error.field for error in errors)


@pytest.fixture(scope="module")
def still():
    """A shop for tests that change nothing, which each of them asserts."""
    return fresh_shop()


@pytest.fixture(scope="module")
def was(still):
    """What is in that shop, before and after each of them."""
    return still.dump()


@pytest.fixture(scope="module")
def fuzzed_shop():
    return fresh_shop()


def fresh_shop():
    clock = FrozenClock(START)
    return stock(build_shop(Watched(MemoryStorage(clock)), clock))


class TestPlans:
    @pytest.mark.fault("N05", "N06", "N10", "N11", "B18", "T12")
    @pytest.mark.parametrize(
        "price",
        [
            *(
                {"amount": v}
                for v in (1.0, True, -1, 0, 2**256, "1e6", "-1", "+1", "0x10", "1_000", "01", " 1", "1 ", "")
            ),
            *(
                {"amount": v}
                for v in (None, "9" * 79, "\uff11", "1.0", float("nan"), float("inf"), b"1", [1], 10**5000)
            ),
            *(
                {"display": v}
                for v in ("19.9999999", "1e3", "-1", "0", "0.0", "", ".5", "5.", "1,5", "nan", "inf", "٣")
            ),
            *({"display": v} for v in (19.99, 19, None, True, "1 000", "0x1", "9" * 100, "9" * 5000, "19.99 ")),
            {"amount": 1, "display": "1"},
        ],
        ids=show,
    )
    def test_n05_n06_n10_n11_b18_t12_a_price_is_exact_or_refused(self, still, was, price):
        asset = {"network": "fake", "chain_id": 31337, "token": OTHER_TOKEN, "decimals": 6, "symbol": "X"}
        with pytest.raises(InputError) as caught:
            make_plan(still, "new", product="p", interval="month", prices=[asset | price])
        assert caught.value.field == "prices"
        assert still.dump() == was

    @pytest.mark.fault("T12")
    @pytest.mark.parametrize(
        ("decimals", "display", "amount"),
        [
            (6, "19.99", 19_990_000),
            (18, "19.99", 19_990_000_000_000_000_000),
            (2, "19.99", 1999),
            (24, "0.000000000000000000000001", 1),
            (0, "7", 7),
            (77, "1", 10**77),
            (6, "19.990000000", 19_990_000),
            (18, "115792089237316195423570985008687907853269984665640564039457.584007913129639935", 2**256 - 1),
        ],
    )
    def test_t12_a_display_price_becomes_exact_base_units(self, shop_of_decimals, decimals, display, amount):
        shop = shop_of_decimals
        asset = {"network": "fake", "chain_id": 31337, "token": OTHER_TOKEN, "decimals": decimals, "symbol": "X"}
        plan = make_plan(
            shop, f"d{decimals}-{len(display)}", product="p", interval="day", prices=[asset | {"display": display}]
        )
        assert plan.prices[0].amount == amount

    @pytest.fixture
    def shop_of_decimals(self, memory_shop):
        return memory_shop

    @pytest.mark.parametrize(
        ("error", "field", "value"),
        [
            *((InputError, "slug", v) for v in ("", "Pro", "a b", None, 5)),
            (AlreadyExists, "slug", "pro"),
            *((InputError, "name", v) for v in ("", " ", "a\nb", "\u202eevil", "\0", "x" * 201, None, 5)),
            *((InputError, "product", v) for v in ("", "A", 5, None, "a/")),
            *((InputError, "interval", v) for v in ("fortnight", "", None, 5, {}, [], ("month",), b"month")),
            *((InputError, "interval_count", ("month", v)) for v in (0, -1, 1001, 1.0, True, "1", None)),
            *((InputError, "trial_days", v) for v in (-1, 3651, 1.5, True, "7", None)),
            *(
                (InputError, "limits", v)
                for v in ([1, 2], [("a",)], {1: 2, "a": 3}, {"A": 1}, {"a": -1}, {"a": 1.5}, 5)
            ),
            *((InputError, "limits", v) for v in ({"a": True}, {"a": None}, [("a", 1), ("a", 2)], "ab", None)),
            *((InputError, "features", v) for v in ("api", ["A"], ["a", "a"], [5], 5, {"a": 1})),
            *((InputError, "prices", v) for v in ([], [5], "x", None, {}, [{"asset": 5}], 5)),
            (NotFound, "gateway_slug", "nope"),
            (NotFound, "contract_slug", "nope"),
            (InputError, "gateway_slug", "NOPE"),
            (InputError, "nonsense", 1),
            (InputError, "version", 5),
            (InputError, "archived_at", None),
        ],
        ids=show,
    )
    def test_a_plan_refuses(self, still, was, error, field, value):
        name = "interval" if field == "interval_count" else field
        fields = {"product": "p", "interval": "month"} | {name: value}
        with pytest.raises(error) as caught:
            make_plan(still, fields.pop("slug", "new"), **fields)
        assert caught.value.field == field
        assert still.dump() == was

    @pytest.mark.parametrize(
        ("error", "field", "changes"),
        [
            (UnknownNetwork, "prices", {"network": "nope"}),
            (InputError, "prices", {"chain_id": 1}),
            (InputError, "chain_id", {"chain_id": 0}),
            (InputError, "chain_id", {"chain_id": "31337"}),
            (InputError, "chain_id", {"chain_id": 2**63}),
            (InputError, "decimals", {"decimals": 78}),
            (InputError, "decimals", {"decimals": -1}),
            (InputError, "decimals", {"decimals": 6.0}),
            (InputError, "symbol", {"symbol": "US DC"}),
            (InputError, "symbol", {"symbol": "<script>alert(1)</script>alert(2)"}),
            (InvalidAddress, "token", {"token": "0x" + "0" * 40}),
            (InvalidAddress, "token", {"token": FLIPPED}),
            (InputError, "prices", {"typo": 1}),
        ],
        ids=str,
    )
    def test_a_price_refuses(self, still, error, field, changes):
        asset = {"network": "fake", "chain_id": 31337, "token": OTHER_TOKEN, "decimals": 6, "symbol": "X", "amount": 1}
        with pytest.raises(error) as caught:
            make_plan(still, "new", product="p", interval="month", prices=[asset | changes])
        assert caught.value.field == field

    def test_an_asset_is_priced_once_on_a_network(self, memory_shop):
        asset = {"network": "fake", "chain_id": 31337, "token": OTHER_TOKEN, "decimals": 6, "symbol": "X"}
        with pytest.raises(InputError) as caught:
            make_plan(memory_shop, "new", product="p", interval="day", prices=[asset | {"amount": n} for n in (1, 2)])
        assert caught.value.field == "prices"


NETWORKS = [
    *((InputError, "name", v) for v in ("", "Fake", None, 5)),
    (AlreadyExists, "name", "fake"),
    (AlreadyExists, "chain_id", 31337),
    *((InputError, "chain_id", v) for v in (0, -1, 2**63, True, "1", 1.0, None)),
    *((InputError, "rpc_urls", v) for v in ("http://x", [], ["ftp://x"], ["x"], [5], [""], ["env:"])),
    *((InputError, "rpc_urls", [v]) for v in ("http://", "http://:80/", "http://x:99999", "http://x:0", "http://x:a")),
    *((InputError, "rpc_urls", [v]) for v in HALF_A_CHARACTER),
    *((InputError, "rpc_urls", [v]) for v in ("http://x/\0", "http://x\n/", "http://x/ y", " http://x")),
    *((InputError, "testnet", v) for v in (1, "yes", None)),
    *((InputError, "credit_after", v) for v in ("", "depth", "depth 0", "depth -1", "depth 1.5", "latest", 5, None)),
    *((InputError, "irreversible_after", v) for v in ("depth 100001", "depth ٣", "safe x", "finalized  1", "DEPTH 3")),
    *((InputError, "fallback_networks", v) for v in ("x", ["X"], [5], ["a", "a"])),
    *((InputError, "start_block", v) for v in (-1, 1.5, True, "0", 2**63)),
    *((InputError, "rpc_retries", v) for v in (-1, 21, "1", None)),
    *((InputError, "rpc_timeout", v) for v in (0, 121, 1.5, True)),
    *((InvalidAmount, "gas_price_cap", v) for v in (-1, 1.5, True, 2**256, "1e9")),
    *((InputError, "disputed_access", v) for v in (0, "no", None)),
    *((InputError, "explorer_url", v) for v in ("javascript:alert(1)", "", "x", 5, "https://x\n")),
    (InputError, "nonsense", 1),
]
GATEWAYS = [
    *((InputError, "slug", v) for v in ("", "GW", None)),
    (AlreadyExists, "slug", "gw"),
    *((InputError, "networks", v) for v in ([], "fake", ["fake", "fake"], [5], None)),
    (UnknownNetwork, "networks", ["nope"]),
    *((InputError, "treasuries", v) for v in ({}, [1], None, {"other": WALLET}, [("fake", WALLET), ("fake", WALLET)])),
    *((InvalidAddress, "treasuries", {"fake": v}) for v in ("0x" + "0" * 40, FLIPPED, None, 5)),
    *((InputError, "signer", v) for v in ("", None, 5, "env:", "plugin:", b"k")),
    *((InputError, field, v) for field in ("signer", "relayer") for v in HALF_A_CHARACTER),
    *((InputError, "credit_after", v) for v in ("", "depth", 5)),
    *((InputError, "provider", v) for v in ("", "EVM", 5)),
]
CONTRACTS = [
    *((InputError, "slug", v) for v in ("", "CO", None)),
    (AlreadyExists, "slug", "co"),
    (UnknownNetwork, "network", "nope"),
    *((InvalidAddress, "address", v) for v in ADDRESSES),
    *((InputError, "abi", v) for v in ("{", "{}", [1], "[NaN]", 5, '["a"]')),
    *((InputError, "gas", v) for v in ([1], {"token": -1}, {"x": 1}, {"token": 1.5}, 5, {"token": 30_000_001})),
    *((InputError, "fallback_rpc", v) for v in (["ftp://x"], ["env:"], [5], "http://x", None)),
    *((InputError, "kind", v) for v in ("Weird!", "", None)),
    *((InputError, "start_block", v) for v in (-1, "1", None)),
    *((InputError, "webhook_secret", v) for v in (5, "", b"x", "s" * 24, "whsec_", "whsec_short", "env:")),
    *((InputError, "mint_method", v) for v in ("", "a\n", None)),
    *((InputError, "webhook_secret", v) for v in HALF_A_CHARACTER),
    (InputError, "chain_id", 31337),
]
ROWS = {
    "network": (NETWORKS, {"name": "new", "chain_id": 77, "rpc_urls": ["http://x"]}),
    "gateway": (GATEWAYS, {"slug": "new", "networks": ["fake"], "signer": "env:K", "treasuries": {"fake": WALLET}}),
    "contract": (CONTRACTS, {"slug": "new", "network": "fake", "address": WALLET}),
}


@pytest.mark.parametrize(("kind", "row"), [(kind, row) for kind, (rows, _) in ROWS.items() for row in rows], ids=show)
def test_the_catalogue_refuses(still, was, kind, row):
    error, field, value = row
    with pytest.raises(error) as caught:
        getattr(still.admin, f"create_{kind}")(**(ROWS[kind][1] | {field: value}))
    assert caught.value.field == field
    assert still.dump() == was


def test_a_key_that_cannot_be_stored_leaves_nothing_of_it_behind(still):
    with pytest.raises(InputError) as caught:
        still.admin.create_gateway(**(ROWS["gateway"][1] | {"signer": "canary\ud800"}))
    assert "canary" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("kind", ROWS)
def test_a_missing_field_is_named(memory_shop, kind):
    for field in ROWS[kind][1]:
        fields = {k: v for k, v in ROWS[kind][1].items() if k != field}
        with pytest.raises(InputError) as caught:
            getattr(memory_shop.admin, f"create_{kind}")(**fields)
        assert caught.value.field == field


def test_a_gateway_without_its_provider_is_a_matter_of_configuration(memory_shop):
    memory_shop.admin.create_gateway(
        slug="other", provider="nope", networks=["fake"], signer="env:K", treasuries={"fake": WALLET}
    )
    before = memory_shop.dump()
    with pytest.raises(ConfigurationError) as caught:
        make_plan(memory_shop, "new", product="p", interval="month", gateway_slug="other")
    assert caught.value.field == "provider"
    assert memory_shop.dump() == before
    memory_shop.admin.update_gateway("gw", version=1, provider="nope")
    before = memory_shop.dump()
    with pytest.raises(ConfigurationError) as caught:
        memory_shop.checkout()
    assert caught.value.field == "provider"
    assert memory_shop.dump() == before


@pytest.mark.parametrize("what", ["network", "gateway", "contract"])
def test_nothing_is_sold_over_what_is_archived(memory_shop, what):
    args = {"network": ("fake",), "gateway": ("gw",), "contract": ("co", "fake")}[what]
    getattr(memory_shop.admin, f"archive_{what}")(*args, version=1)
    before = memory_shop.dump()
    with pytest.raises((UnknownNetwork, ConfigurationError)) as caught:
        memory_shop.checkout()
    assert caught.value.field in {"network", "plan"}
    assert memory_shop.dump() == before


def test_a_huge_order_is_refused_not_wrapped(memory_shop):
    asset = {"network": "fake", "chain_id": 31337, "token": OTHER_TOKEN, "decimals": 6, "symbol": "X"}
    make_plan(memory_shop, "huge", product="p", interval="month", prices=[asset | {"amount": 2**256 - 1}])
    assert memory_shop.checkout(plan="huge").amount == 2**256 - 1
    with pytest.raises(InvalidAmount) as caught:
        memory_shop.checkout("k2", user_id="u2", plan="huge", quantity=2)
    assert caught.value.field == "lines"


@pytest.mark.parametrize("value", ["", "A", "a/", 5, "a b", b"a"])
def test_access_to_an_odd_product_is_an_error(still, value):
    with pytest.raises(InputError) as caught:
        still.engine.access("u1", value)
    assert caught.value.field == "product"


@pytest.mark.parametrize("value", OPAQUES)
def test_access_of_an_odd_user_is_an_error(still, value):
    with pytest.raises(InputError) as caught:
        still.engine.access(value)
    assert caught.value.field == "user_id"


LIMITED = {
    "orders": lambda s, limit: s.engine.orders("u1", limit=limit),
    "customers": lambda s, limit: s.admin.customers(limit=limit),
    "audit": lambda s, limit: s.admin.audit(limit=limit),
    "events": lambda s, limit: s.admin.events(limit=limit),
    "unmatched_receipts": lambda s, limit: s.admin.unmatched_receipts(limit=limit),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_page_has_a_bounded_number_of_rows(still, name):
    for limit in (0, -1, 10_001, 10**20, True, 1.5, "5", None):
        with pytest.raises(InputError) as caught:
            LIMITED[name](still, limit)
        assert caught.value.field == "limit"
    assert len(LIMITED[name](still, 1)) <= 1


NAMED = {
    "orders": (lambda s, v: s.engine.orders(v), "user_id"),
    "subscriptions": (lambda s, v: s.engine.subscriptions(v), "user_id"),
    "orders before": (lambda s, v: s.engine.orders("u1", before=v), "before"),
    "order": (lambda s, v: s.engine.order(v), "ledger_id"),
    "receipts": (lambda s, v: s.engine.receipts(v), "ledger_id"),
    "instructions": (lambda s, v: s.engine.pay_instructions(v), "ledger_id"),
    "customer": (lambda s, v: s.admin.customer(v), "user_id"),
    "update_customer": (lambda s, v: s.admin.update_customer(v, zone="UTC"), "user_id"),
    "archive_plan": (lambda s, v: s.admin.archive_plan(v), "slug"),
    "update_network": (lambda s, v: s.admin.update_network(v, version=1, rpc_timeout=5), "name"),
    "archive_gateway": (lambda s, v: s.admin.archive_gateway(v, version=1), "slug"),
    "update_contract": (lambda s, v: s.admin.update_contract(v, "fake", version=1, start_block=1), "slug"),
    "archive_contract": (lambda s, v: s.admin.archive_contract("co", v, version=1), "network"),
    "revise_plan": (lambda s, v: s.admin.revise_plan(v, version=1, name="x"), "slug"),
    "events": (lambda s, v: s.admin.events(aggregate=v), "aggregate"),
    "audit": (lambda s, v: s.admin.audit(object_=v), "object_"),
    "read_chain": (lambda s, v: s.engine.read_chain(v), "network"),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("value", ["a\0b", "\ud800", 5, b"x", "", "ü", "x" * 5000], ids=show)
def test_a_name_that_nothing_can_have_is_an_error(still, was, name, value):
    with pytest.raises(InputError) as caught:
        NAMED[name][0](still, value)
    assert caught.value.field == NAMED[name][1]
    assert still.dump() == was
