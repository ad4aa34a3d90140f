"""Values of the wrong Python type: each a typed error that names the parameter, and nothing is written."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.actors import Actor
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.errors import BillingError, HostTransactionError, InputError, WebhookRejected
from evmbilling.testing.merchant import ADMIN, simulated_merchant
from sampling import examples

UNTIL = datetime(2026, 3, 31, tzinfo=UTC)
UUID = "019c13ec-9e00-7d90-aa6b-0c8a58f2ad56"
ADDRESS = "0x" + "11" * 20
NOTHING = object()
TEXT: tuple[Any, ...] = (None, 5, 1.5, True, b"x", ["x"], {"x": 1}, {"x"}, NOTHING, "", "\0", "a b\n")
NUMBER: tuple[Any, ...] = (None, 0, -1, 1.5, True, "5", [5], {}, NOTHING, float("nan"), 10**30)
FLAG: tuple[Any, ...] = (None, 0, 1, "yes", [], {}, NOTHING)
WORDS: tuple[Any, ...] = (None, 5, 1.5, True, "open", b"open", ["nonsense"], [5], [["x"]], [None], {"x": 1}, NOTHING)
MAPPING: tuple[Any, ...] = (5, 1.5, True, "usage", [], ["usage"], {"usage": "1"}, {5: 1}, {"x": 1}, NOTHING)
ACTOR: tuple[Any, ...] = (None, "root", 5, ["x"], {}, NOTHING, Actor(None), Actor("x", ["finance_ops"]), Actor("a b"))
INSTANT: tuple[Any, ...] = (5, 1.5, True, "now", b"x", [], {}, NOTHING, datetime(2026, 1, 1))  # noqa: DTZ001  - naive
CALLABLE: tuple[Any, ...] = (5, "print", [], {}, NOTHING)

ID, USER, PAGE = ("id", UUID, TEXT), ("user", "user-1", TEXT), ("limit", 5, NUMBER)
COMPARED = ("text", "user-1", tuple(value for value in TEXT if value is not None and not isinstance(value, str)))
AFTER = ("after", UUID, tuple(v for v in TEXT if v != ""))


def optional(kind: tuple[str, Any, tuple[Any, ...]]) -> tuple[str, Any, tuple[Any, ...]]:
    return kind[0], kind[1], tuple(v for v in kind[2] if v is not None)


def text(valid: str, *also: Any) -> tuple[str, Any, tuple[Any, ...]]:
    return "text", valid, tuple(v for v in TEXT if v not in also or v is None)


VERSION = ("version", 1, (None, 1.0, True, "1", [1], {}, NOTHING))
AMOUNT = ("amount", 1, (0, -1, 1.5, True, "x", [1], {}, NOTHING, 2**256, float("inf")))
NOTE = ("note", "", (None, 5, 1.5, True, b"x", ["x"], {}, NOTHING, "\0", "two\nlines"))
FACES: dict[str, Callable[[Any], Any]] = {
    "engine": lambda shop: shop.engine,
    "admin": lambda shop: shop.engine.admin(ADMIN),
    "finance": lambda shop: shop.engine.finance(ADMIN),
    "refunds": lambda shop: shop.engine.refunds(ADMIN),
    "endpoints": lambda shop: shop.engine.endpoints(ADMIN),
    "deliveries": lambda shop: shop.engine.deliveries(ADMIN),
    "reader": lambda shop: shop.engine.reader(ADMIN),
    "sending": lambda shop: shop.engine.sending(ADMIN),
    "deposits": lambda shop: shop.engine.deposits(ADMIN),
    "mandates": lambda shop: shop.engine.mandates,
    "watch": lambda shop: shop.engine.watch,
    "contracts": lambda shop: shop.engine.contracts(ADMIN),
    "overview": lambda shop: shop.engine.overview(ADMIN),
}
PROOF = {"user_id": USER, "nonce": text("aaaa"), "signature": ("signature", b"x", (None, 5, "x", [], {}, NOTHING))}
SIGN_IN = {
    "user_id": USER,
    "wallet": text(ADDRESS),
    "network": text("local"),
    "domain": text("shop.example"),
    "uri": text("https://shop.example/"),
}
CHANGED = {
    "timing": text("now"),
    "plan": optional(text("pro")),
    "quantity": ("quantity", 2, tuple(v for v in NUMBER if v is not None)),
    "network": optional(text("local")),
    "asset": optional(text("tUSD", "a b\n")),
    "wallet": optional(text(ADDRESS)),
}
BLOCK = ("block", 1, (-1, 1.5, True, "1", [1], {}, NOTHING, 2**64))
NETWORKED = {"name": text("local"), "version": VERSION}
SLUG = {"slug": text("main"), "version": VERSION}
BOUND = {"slug": text("checkout"), "network": text("local"), "version": VERSION}
STEP_NAMES = ("steps", ["intake"], tuple(v for v in WORDS if v != ["nonsense"]))
METHODS: dict[str, dict[str, tuple[str, Any, tuple[Any, ...]]]] = {
    "engine.pay_instructions": {"ledger_id": ID, "user_id": COMPARED},
    "engine.progress": {"ledger_id": ID, "user_id": COMPARED},
    "engine.pay_permit": {"ledger_id": ID, "user_id": COMPARED},
    "engine.pay_with_permit": {
        "ledger_id": ID,
        "user_id": COMPARED,
        "signature": ("signature", b"x", (None, 5, "x", [], {}, NOTHING)),
    },
    "engine.read_chain": {
        "network": text("local"),
        "max_blocks": PAGE,
        "to_block": BLOCK,
        "progress": ("progress", print, CALLABLE),
    },
    "engine.follow": {
        "network": text("local"),
        "wait": ("wait", print, (None, *CALLABLE)),
        "seconds": ("seconds", 1, (None, 0, -1, True, "1", [1], {}, NOTHING, float("nan"), float("inf"))),
    },
    "engine.rescan": {"network": text("local"), "from_block": ("from", 1, (None, *BLOCK[2])), "to_block": BLOCK},
    "engine.run_renewals": {"limit": PAGE},
    "engine.subscription": {"subscription_id": ID, "user_id": COMPARED},
    "engine.cancel_subscription": {
        "subscription_id": ID,
        "when": text("now"),
        "by": optional(text("ops")),
        "user_id": COMPARED,
        "reason": optional(text("asked")),
    },
    "engine.undo_cancel": {"subscription_id": ID, "by": optional(text("ops")), "user_id": COMPARED},
    "engine.change_zone": {
        "subscription_id": ID,
        "zone": text("Europe/Berlin"),
        "by": optional(text("ops")),
        "user_id": COMPARED,
    },
    "engine.preview_change": {"subscription_id": ID, "user_id": COMPARED, **CHANGED},
    "engine.change_subscription": {
        "subscription_id": ID,
        "by": optional(text("ops")),
        "user_id": COMPARED,
        **CHANGED,
    },
    "engine.withdraw_change": {"subscription_id": ID, "by": optional(text("ops")), "user_id": COMPARED},
    "engine.pause_subscription": {
        "subscription_id": ID,
        "when": text("now"),
        "by": optional(text("ops")),
        "user_id": COMPARED,
        "reason": optional(text("asked")),
    },
    "engine.resume_subscription": {"subscription_id": ID, "by": optional(text("ops")), "user_id": COMPARED},
    "engine.issue_pay_link": {"ledger_id": ID, "user_id": COMPARED},
    "engine.report_charge": {
        "ledger_id": ID,
        "attempt": PAGE,
        "outcome": text("failed"),
        "reason": optional(text("balance")),
    },
    "engine.run_intake": {"limit": PAGE, "network": optional(text("local"))},
    "engine.expire_orders": {"limit": PAGE, "network": optional(text("local"))},
    "engine.relay": {"limit": PAGE},
    "engine.run_charges": {"limit": PAGE},
    "engine.reader": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.deposits": {"actor": ("actor", ADMIN, ACTOR)},
    "deposits.deposits": {"states": ("states", ["stuck"], WORDS), "after": AFTER, "limit": PAGE},
    "deposits.deposit": {"ledger_id": ID},
    "deposits.look_again": {"ledger_id": ID},
    "deposits.sweep": {"ledger_id": ID, "token": optional(text(ADDRESS))},
    "engine.look_at_deposits": {"limit": PAGE, "network": optional(text("local"))},
    "engine.sending": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.contracts": {"actor": ("actor", ADMIN, ACTOR)},
    "reader.resume": {"network": text("local"), "accept": text("0x" + "11" * 32)},
    "sending.send_refund": {"refund_id": ID, "looked_up": ("looked_up", False, FLAG)},
    "sending.fence": {
        "gateway": text("main"),
        "network": text("local"),
        "count": ("count", 1, (None, 0, -1, 1001, 1.5, True, "1", [1], {}, NOTHING)),
    },
    "sending.withdraw": {"transmission_id": ID},
    "sending.transmission": {"transmission_id": ID},
    "sending.transmissions": {"states": ("states", ["done"], WORDS), "after": AFTER, "limit": PAGE},
    "sending.versions": {"transmission_id": ID},
    "mandates.prepare": {
        "user_id": USER,
        "subscription": text(UUID),
        "wallet": text(ADDRESS),
        "via": text("allowance"),
        "network": optional(text("local")),
        "asset": optional(text("tUSD")),
        "charge_cap": AMOUNT,
        "cap": AMOUNT,
        "allowance": AMOUNT,
        "expires_at": ("expires_at", None, (5, 1.5, True, "2027-01-01", [], {}, NOTHING)),
        "operator": optional(text(ADDRESS)),
    },
    "mandates.give": {
        "user_id": USER,
        "mandate_id": ID,
        "signature": ("signature", b"x" * 65, (None, 5, "x", [], {}, NOTHING)),
        "permit_signature": ("permit_signature", None, (5, "x", [], {}, NOTHING)),
    },
    "mandates.list": {"user_id": USER, "subscription": COMPARED},
    "mandates.cancel": {"user_id": USER, "mandate_id": ID},
    "engine.release_revenue": {"limit": PAGE},
    "engine.seal": {"limit": PAGE},
    "engine.fold": {"limit": PAGE},
    "engine.number_receipts": {"limit": PAGE},
    "engine.overview": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.receipt_documents": {"user_id": USER, "before": optional(text("R-000001")), "limit": PAGE},
    "engine.receipt_document": {"number": text("R-000001"), "user_id": COMPARED},
    "overview.scope": {
        "by": text("day"),
        "zone": text("Europe/Berlin"),
        "since": ("since", datetime(2026, 1, 20, tzinfo=UTC), INSTANT),
        "until": ("until", datetime(2026, 1, 31, tzinfo=UTC), INSTANT),
        "as_of": ("as_of", datetime(2026, 1, 31, tzinfo=UTC), INSTANT),
    },
    **{
        f"overview.{report}": {"scope": ("scope", None, (5, "all", True, [], {}, NOTHING))}
        for report in ("summary", "revenue", "tokens", "networks", "mrr", "subscriptions", "transactions")
    },
    "engine.read_hints": {"limit": PAGE},
    "engine.verify": {
        "full": ("full", False, FLAG),
        "head": ("head", None, optional(text("1:ab"))[2]),
        "progress": ("p", print, CALLABLE),
    },
    "engine.confirm_wallet": PROOF,
    "engine.confirm_refund_address": {"refund_id": ID} | PROOF,
    "engine.refund_challenge": {"refund_id": ID} | SIGN_IN,
    "engine.use_refund_wallet": {"refund_id": ID, "user_id": USER, "wallet": text(ADDRESS)},
    "engine.wallet_challenge": SIGN_IN,
    "engine.prune": {"days": ("days", {"usage": 10}, MAPPING)},
    "engine.dispatch": {
        "limit": PAGE,
        "sinks": ("sinks", ["x"], tuple(v for v in WORDS if v not in (None, ["nonsense"]))),
    },
    "engine.deliveries": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.endpoints": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.finance": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.refunds": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.admin": {"actor": ("actor", ADMIN, ACTOR)},
    "engine.erase": {"user_id": USER, "actor": ("actor", ADMIN, ACTOR)},
    "engine.profile": {"user_id": USER},
    "engine.check_quota": {"user_id": USER, "limit": text("calls"), "amount": PAGE},
    "engine.consume_quota": {"user_id": USER, "limit": text("calls"), "amount": PAGE},
    "engine.checkout": {
        "plan": text("pro"),
        "user_id": USER,
        "wallet": text(ADDRESS),
        "idempotency_key": text("k"),
        "network": optional(text("local")),
        "asset": optional(text("tUSD")),
        "product": optional(text("api")),
        "quantity": PAGE,
        "beneficiary": optional(text(ADDRESS)),
        "zone": optional(text("UTC")),
        "start_at": ("start_at", None, (5, 1.5, True, "2027-01-01", [], {}, NOTHING)),
    },
    "engine.quote": {
        "plan": text("pro"),
        "user_id": USER,
        "wallet": text(ADDRESS),
        "network": optional(text("local")),
        "asset": optional(text("tUSD")),
        "product": optional(text("api")),
        "quantity": PAGE,
    },
    "engine.requote": {"ledger_id": ID, "user_id": COMPARED, "idempotency_key": optional(text("k"))},
    "engine.order": {"ledger_id": ID, "user_id": COMPARED},
    "engine.orders": {"user_id": USER, "before": optional(ID), "limit": PAGE},
    "engine.receipts": {"ledger_id": ID},
    "engine.subscriptions": {"user_id": USER},
    "engine.access": {"user_id": USER, "product": optional(text("api")), "feature": COMPARED},
    "admin.customer": {"user_id": USER},
    "admin.adopt": {
        "external_id": text("old-1"),
        "user_id": USER,
        "plan": text("pro"),
        "wallet": text(ADDRESS),
        "paid_until": (
            "paid_until",
            UNTIL,
            (None, 5, 1.5, True, "2026-03-31", [], {}, NOTHING, UNTIL.replace(tzinfo=None)),
        ),
        "plan_version": ("plan_version", 1, tuple(v for v in NUMBER if v is not None)),
        "network": optional(text("local")),
        "asset": optional(text("tUSD", "a b\n")),
        "product": optional(text("api")),
        "quantity": ("quantity", 2, NUMBER),
        "beneficiary": optional(text(ADDRESS)),
        "zone": optional(text("UTC")),
        "anchor": ("anchor", UNTIL, (5, 1.5, True, "2026-03-31", [], {}, NOTHING, UNTIL.replace(tzinfo=None))),
        "dry_run": ("dry_run", True, FLAG),
    },
    "admin.customers": {"after": AFTER, "limit": PAGE},
    "admin.update_customer": {"user_id": USER, "zone": optional(text("UTC")), "locale": optional(text("en", "a b\n"))},
    "admin.audit": {"object_": optional(text("plan:pro")), "limit": PAGE},
    "admin.events": {"aggregate": optional(text("x")), "type_": optional(text("x")), "limit": PAGE},
    "admin.unmatched_receipts": {"limit": PAGE},
    "admin.orders": {
        "wanted": ("wanted", OrderFilter(), (5, 1.5, True, "pending", [], {}, NOTHING)),
        "before": optional(AFTER),
        "limit": PAGE,
    },
    "admin.record_opening": {
        "network": text("local"),
        "treasury": text(ADDRESS),
        "token": text(ADDRESS),
        "amount": ("amount", 1, (*AMOUNT[2], None)),
    },
    "admin.update_network": NETWORKED,
    "admin.archive_network": NETWORKED,
    "admin.update_gateway": SLUG,
    "admin.archive_gateway": SLUG,
    "admin.update_contract": BOUND,
    "admin.archive_contract": BOUND,
    "admin.revise_plan": {"slug": text("pro"), "version": VERSION},
    "admin.archive_plan": {"slug": text("pro")},
    "finance.queue": {"state": optional(text("open")), "after": AFTER, "limit": PAGE},
    "finance.item": {"item_id": ID},
    "finance.assign": {"item_id": ID, "ledger_id": ID, "note": NOTE},
    "finance.credit": {"item_id": ID, "user_id": USER, "note": NOTE},
    "finance.write_off": {"item_id": ID, "note": NOTE},
    "finance.approve_write_off": {"item_id": ID, "note": NOTE},
    "finance.release": {"item_id": ID, "note": NOTE},
    "finance.acknowledge": {"item_id": ID, "note": NOTE},
    "finance.accept": {"item_id": ID, "note": NOTE},
    "finance.reverse": {"item_id": ID, "note": NOTE},
    "finance.mark_paid": {"ledger_id": ID, "reason": text("paid in cash")},
    "refunds.request": {
        "ledger_id": optional(ID),
        "amount": AMOUNT,
        "reason": text("asked"),
        "via": optional(text("transfer")),
        "end_membership": ("end_membership", None, FLAG[1:]),
    },
    "refunds.request_credit": {
        "user_id": USER,
        "network": optional(text("local")),
        "asset": optional(text("tUSD")),
        "amount": AMOUNT,
        "treasury": optional(text(ADDRESS)),
        "reason": text("asked"),
    },
    "refunds.credit": {"user_id": USER},
    "refunds.approve": {"refund_id": ID, "end_membership": ("end_membership", None, FLAG[1:])},
    "refunds.prepare": {"refund_id": ID},
    "refunds.prepare_burn": {"refund_id": ID},
    "refunds.cancel": {"refund_id": ID, "reason": text("mistake")},
    "refunds.name_transaction": {"refund_id": ID, "tx_hash": text("0x" + "11" * 32, "0x" + "11" * 31)},
    "refunds.unname_transaction": {"refund_id": ID, "tx_hash": text("0x" + "11" * 32, "0x" + "11" * 31)},
    "refunds.transactions": {"refund_id": ID},
    "refunds.refund": {"refund_id": ID},
    "refunds.of_order": {"ledger_id": ID},
    "refunds.refunds": {"states": ("states", ["done"], WORDS), "after": AFTER, "limit": PAGE},
    "endpoints.create": {
        "url": text("https://hooks.shop.example/"),
        "events": ("events", [], WORDS),
        "ordered": ("ordered", False, FLAG),
        "secret": optional(text("whsec_" + "A" * 40)),
    },
    "endpoints.get": {"endpoint_id": ID},
    "endpoints.rotate": {"endpoint_id": ID, "secret": optional(text("whsec_" + "A" * 40))},
    "endpoints.retire": {"endpoint_id": ID},
    "endpoints.update": {
        "endpoint_id": ID,
        "url": optional(text("https://hooks.shop.example/")),
        "events": ("events", [], tuple(v for v in WORDS if v is not None)),
        "ordered": ("ordered", False, FLAG[1:]),
    },
    "endpoints.disable": {"endpoint_id": ID, "reason": text("x")},
    "endpoints.enable": {"endpoint_id": ID},
    "endpoints.test": {"endpoint_id": ID},
    "endpoints.deliveries": {"endpoint_id": ID, "state": optional(text("done")), "after": AFTER, "limit": PAGE},
    "endpoints.redeliver": {"endpoint_id": ID, "event_id": ID},
    "deliveries.list": {
        "sink": optional(text("notifier:log")),
        "state": optional(text("done")),
        "after": AFTER,
        "limit": PAGE,
    },
    "watch.beat": {"steps": STEP_NAMES, "seconds": ("seconds", 5, NUMBER), "owner": optional(text("celery"))},
    "watch.rest": {"steps": STEP_NAMES},
    "deliveries.sink": {"sink": text("notifier:log")},
    "deliveries.redeliver": {"event_id": ID, "sink": text("notifier:log")},
    "contracts.pin": BOUND,
    "contracts.simulate": {
        "slug": text("checkout"),
        "network": text("local"),
        "wallet": text(ADDRESS),
        "token": text(ADDRESS),
        "amount": ("amount", 1, (*AMOUNT[2], None)),
        "treasury": optional(text(ADDRESS)),
        "beneficiary": optional(text(ADDRESS)),
        "quantity": ("quantity", 1, (None, 0, -1, 1.5, True, "5", [5], {}, NOTHING)),
        "renewal": ("renewal", False, FLAG),
        "signed": ("signed", False, FLAG),
    },
}
ELSEWHERE = {
    "engine.pay_link": "what is no token is no link: NotFound, whatever it is",
    "engine.within": "a host's connection is no value; see below",
    "engine.handle_webhook": "has one error of its own; see below",
    "admin.create_network": "fields; see below",
    "admin.create_gateway": "fields; see below",
    "admin.create_contract": "fields; see below",
    "admin.create_plan": "fields; see below",
}
NO_PARAMETERS = {
    *("engine.check_tokens", "engine.check_contracts", "engine.networks_health", "engine.now", "reader.status"),
    *("engine.rebuild_figures", "overview.debt", "overview.finality"),
    *("engine.close", "engine.plans", "engine.from_settings", "engine.plugins"),
    *("watch.now", "watch.figures", "watch.alive"),
    *(
        "admin.cursors",
        "admin.reseal_secrets",
        "admin.seal_anew",
        "admin.networks",
        "admin.gateways",
        "admin.contracts",
        "admin.plans",
        "endpoints.list",
    ),
}


@pytest.fixture(scope="module")
def shop():
    """A merchant whose rows no test changes, with an order, an item and a refund."""
    made = simulated_merchant()
    made.buy()
    made.chain.transfer(made.token.token, ADDRESS, made.treasury, 5)
    made.settle()
    return made


@pytest.fixture(scope="module")
def state(shop) -> Callable[[], Any]:
    """What is stored, to be compared."""
    storage: MemoryStorage = shop.engine._ports.storage

    def look() -> Any:
        tables = storage._committed
        return {a.name: copy.copy(getattr(tables, a.name)._rows) for a in attrs.fields(type(tables))}

    return look


def show(value: Any) -> str:
    return ascii(value)[:30] if value is not NOTHING else "object"


CASES = [
    (name, parameter, value)
    for name, parameters in METHODS.items()
    for parameter, (_, _, wrong) in parameters.items()
    for value in wrong
]


@pytest.mark.parametrize(("name", "parameter"), list(dict.fromkeys(case[:2] for case in CASES)))
def test_a_value_of_the_wrong_type_is_named(shop, state, name, parameter):
    face, _, method = name.partition(".")
    before = state()
    for value in METHODS[name][parameter][2]:
        given_ = {key: valid for key, (_, valid, _) in METHODS[name].items()} | {parameter: value}
        with pytest.raises(InputError) as caught:
            call(getattr(FACES[face](shop), method), given_)
        allowed = {parameter} if parameter != "days" else {"days", "usage", "x"}
        assert caught.value.field in allowed, f"{show(value)}: {caught.value.field}"
    assert state() == before


def call(method: Callable[..., Any], given_: dict[str, Any]) -> Any:
    """Call a method, with what it takes by position alone first."""
    kinds = inspect.signature(method).parameters
    first = [given_[n] for n, p in kinds.items() if p.kind is p.POSITIONAL_ONLY and n in given_]
    rest = {n: v for n, v in given_.items() if n not in kinds or kinds[n].kind is not kinds[n].POSITIONAL_ONLY}
    return method(*first, **rest)


def test_every_public_method_is_in_the_table(shop):
    public = {
        f"{face}.{name}"
        for face, make in FACES.items()
        for name, member in inspect.getmembers(make(shop))
        if not name.startswith("_") and callable(member)
    }
    assert public - NO_PARAMETERS == (METHODS.keys() | ELSEWHERE.keys()) - NO_PARAMETERS
    for name, listed in METHODS.items():
        face, _, method = name.partition(".")
        parameters = inspect.signature(getattr(FACES[face](shop), method)).parameters.values()
        known = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        missing = known - listed.keys() - {"receipt_id"}
        assert missing == set(), f"{name}: {missing}"


def test_a_refund_of_a_receipt_names_its_receipt(shop):
    for value in TEXT:
        if value is not None:
            with pytest.raises(InputError) as caught:
                shop.engine.refunds(ADMIN).request(receipt_id=value, reason="asked")
            assert caught.value.field == "receipt_id"


FIELDS = {
    "network": {"name": "new", "chain_id": 77, "rpc_urls": ["http://127.0.0.1:1"]},
    "gateway": {"slug": "new", "networks": ["local"], "signer": "env:K", "treasuries": {"local": ADDRESS}},
    "contract": {"slug": "new", "network": "local", "address": ADDRESS},
    "plan": {
        "slug": "new",
        "name": "New",
        "product": "new",
        "interval": "month",
        "gateway_slug": "main",
        "contract_slug": "checkout",
        "prices": [],
    },
}
OPTIONAL_FIELDS = {
    "network": (
        *("testnet", "native_symbol", "credit_after", "fallback_networks", "gas_price_cap", "explorer_url"),
        *("allowed_contracts", "allowed_tokens"),
    ),
    "gateway": ("order_ttl", "credit_after", "misfits", "provider"),
    "contract": (
        *("kind", "abi", "mint_method", "burn_method", "webhook_secret", "fallback_rpc", "gas", "start_block"),
        *("renew_method", "permit_method", "refund_method", "events"),
    ),
    "plan": ("price_token", "price_usd_estimate", "limits", "features", "trial_days", "dunning"),
}
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=2),
        st.just(NOTHING),
    ),
    max_leaves=4,
)


@given(data=st.data())
@settings(max_examples=examples(250), deadline=None)
def test_whatever_a_field_is_it_is_read_or_named(shop, state, data):
    kind = data.draw(st.sampled_from(sorted(FIELDS)))
    field = data.draw(st.sampled_from([*FIELDS[kind], *OPTIONAL_FIELDS[kind]]))
    value = data.draw(ODD)
    before = state()
    try:
        getattr(shop.engine.admin(ADMIN), f"create_{kind}")(**FIELDS[kind] | {field: value})
    except BillingError as error:
        seen = error
        assert_named(seen)
        assert state() == before
    else:
        restore(shop, kind, before)


def assert_named(error: BillingError) -> None:
    assert error.field, error


def restore(shop, kind: str, before: Any) -> None:
    """Take back a row that was made after all: the value was a usable one."""
    tables = shop.engine._ports.storage._committed
    for name, rows in before.items():
        table = getattr(tables, name)
        for key in [key for key in table._rows if key not in rows]:
            table.drop(key)


@given(data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_handed_over_it_is_taken_or_named(shop, data):
    name = data.draw(st.sampled_from(sorted(METHODS)))
    parameter = data.draw(st.sampled_from(sorted(METHODS[name])))
    face, _, method = name.partition(".")
    given_ = {key: valid for key, (_, valid, _) in METHODS[name].items()} | {parameter: data.draw(ODD)}
    if name in {"engine.checkout", "endpoints.create"}:
        given_ |= {"plan": "nope"} if method == "checkout" else {"url": "http://x"}  # nothing is to be made here
    try:
        call(getattr(FACES[face](shop), method), given_)
    except BillingError as error:
        assert_named(error)


@pytest.mark.parametrize("host", [None, 5, "sqlite://", [], {}, NOTHING])
def test_what_is_no_connection_cannot_be_joined(shop, host):
    with pytest.raises(HostTransactionError), shop.engine.within(host):
        pass


@pytest.mark.parametrize("source", [None, 5, [], {}, NOTHING, b"checkout"])
@pytest.mark.parametrize("body", [b"{}", None, "x", [], NOTHING])
@pytest.mark.parametrize("headers", [{}, None, 5, [5], [("a",)], "x", NOTHING])
def test_a_webhook_of_the_wrong_type_is_rejected(shop, source, body, headers):
    with pytest.raises(WebhookRejected):
        shop.engine.handle_webhook(source, body, headers)
