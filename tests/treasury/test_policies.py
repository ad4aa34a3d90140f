"""Policies are data: tolerance, duplicates, and tokens that stand still."""

from __future__ import annotations

import ast
from datetime import date
from decimal import Decimal

import pytest
from till import OPS, PRICE, ROOT, STRANGER, TOKEN, TREASURY, address

from evmbilling.domain.money import FiatEstimate
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.errors import ArchivedPlan, InputError, RpcUnavailable, UnknownAsset

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

ALLOWED = PRICE // 100


@pytest.mark.fault("B02")
@pytest.mark.parametrize(
    ("missing", "status"), [(0, "confirmed"), (ALLOWED, "confirmed"), (ALLOWED + 1, "partially_paid")]
)
def test_b02_the_tolerance_is_exact(memory_till, missing, status):
    till = memory_till(tolerance_bps=100)
    made = till.checkout()
    till.send("u1", PRICE - missing)
    assert till.status(made) == status


@pytest.mark.fault("B02")
def test_b02_there_is_none_unless_it_is_configured(memory_till):
    till = memory_till()
    assert till.checkout().order.tolerance == 0


@pytest.mark.fault("B02")
def test_b02_paying_99_percent_twelve_times_is_a_debt_of_twelve_percent(make_till):
    till = make_till(tolerance_bps=100)
    for cycle in range(12):
        made = till.checkout(key=f"k{cycle}")
        till.send("u1", PRICE - ALLOWED)
        assert till.status(made) == "confirmed"
    (subscription,) = till.engine.subscriptions("u1")
    assert (subscription.paid_periods, subscription.debt) == (12, 12 * ALLOWED)
    assert till.accounts()["receivable"] == -12 * ALLOWED
    assert till.accounts()["deferred_revenue"] == 12 * PRICE
    assert till.differences() == []


@pytest.mark.fault("B02")
def test_b02_what_was_missing_can_be_paid_after(make_till):
    till = make_till(tolerance_bps=100)
    till.checkout()
    till.send("u1", PRICE - ALLOWED)
    till.send("u1", ALLOWED)
    assert {p[:2] for p in till.placed()} == {("order", None)}
    assert till.engine.subscriptions("u1")[0].debt == 0
    assert till.accounts() == {"deferred_revenue": PRICE, "treasury": -PRICE}
    assert till.differences() == []


def test_an_order_keeps_the_tolerance_that_it_was_made_with(memory_till):
    till = memory_till(tolerance_bps=100)
    made = till.checkout()
    till.admin.update_gateway("gw", version=1, misfits={})
    till.send("u1", PRICE - ALLOWED)
    assert (made.order.tolerance, till.status(made)) == (ALLOWED, "confirmed")


@pytest.mark.fault("B05")
def test_b05_duplicates_may_wait_for_a_person(make_till):
    till = make_till(duplicate="suspense")
    till.checkout()
    till.send("u1", PRICE, depth=0)
    till.send("u1", PRICE)
    assert till.queue() == [("suspense", "duplicate", "open")]
    assert till.accounts()["suspense"] == PRICE
    till.finance.credit(till.item().item_id, "u1")
    assert till.accounts()["customer_credit"] == PRICE
    assert till.differences() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance_bps": -1},
        {"tolerance_bps": 1001},
        {"tolerance_bps": 1.5},
        {"late": "maybe"},
        {"duplicate": "order"},
        {"dust_below": {"USDC": -1}},
        {"dust_below": {"USDC": "1e3"}},
        {"dust_below": {"US DC": 1}},
        {"approval_above": [("USDC", 1), ("USDC", 2)]},
        {"unheard_of": 1},
        "strict",
        None,
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_used_is_refused(memory_till, wrong):
    till = memory_till()
    with pytest.raises(InputError) as caught:
        till.admin.update_gateway("gw", version=1, misfits=wrong)
    assert caught.value.field == "misfits"


def test_a_policy_is_stored_and_audited(make_till):
    till = make_till()
    policy = {"tolerance_bps": 5, "late": "suspense", "dust_below": {"USDC": "10"}, "approval_above": {"USDC": 2**200}}
    after = till.admin.update_gateway("gw", version=1, misfits=policy)
    kept = next(g for g in till.admin.gateways() if g.slug == "gw")
    assert kept.misfits == after.misfits
    assert kept.misfits == MisfitPolicy(
        tolerance_bps=5, late="suspense", dust_below=(("USDC", 10),), approval_above=(("USDC", 2**200),)
    )
    (entry,) = (a for a in till.admin.audit(object_="gateway:gw") if a.action == "gateway.update")
    assert entry.changes["misfits"][1]["approval_above"] == [["USDC", str(2**200)]]


def test_a_binding_of_plain_transfers_sells_its_own_token_only(memory_till):
    till = memory_till()
    price = {"network": "fake", "chain_id": 31337, "token": address("x"), "decimals": 6, "symbol": "X", "amount": 5}
    plan = {"name": "X", "product": "x", "interval": "none", "gateway_slug": "gw", "contract_slug": "usdc"}
    with pytest.raises(InputError) as caught:
        till.admin.create_plan(slug="x", prices=[price], **plan)
    assert caught.value.field == "prices"


class Doubtful:
    """A provider that finds something wrong with one token."""

    def __init__(self, inner, token=TOKEN, text="USDC: the token has 18 decimals, 6 are configured"):
        self._inner, self.token, self.text = inner, token, text

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def inspect_plan(self, plan, networks):
        if self.text is None:
            raise RpcUnavailable("nobody answers")
        return [f"fake: {self.text}"] if plan.prices[0].asset.token == self.token else []


@pytest.mark.fault("T13")
def test_t13_a_token_whose_decimals_change_stands_still_until_a_person_has_looked(make_till):
    till = make_till()
    open_order = till.checkout()
    till.engine._ports.providers["evm"] = Doubtful(till.engine._ports.providers["evm"])
    (item,) = till.engine.check_tokens()
    assert (item.kind, item.reason, item.asset.token) == ("token_halted", "decimals_changed", TOKEN)
    assert till.engine.check_tokens() == []
    for sell in (lambda: till.checkout("u2", key="k2"), lambda: till.engine.quote(**ask(till))):
        with pytest.raises(UnknownAsset):
            sell()
    assert till.checkout("u2", plan="other", key="k3").order.rail == "erc20"
    till.send("u1", PRICE)
    assert (till.status(open_order), till.allowed()) == ("pending", False)
    assert till.placed() == [("suspense", "token_halted", "u1", PRICE)]
    till.finance.acknowledge(item.item_id)
    assert till.engine.check_tokens() == []
    till.finance.assign(till.item().item_id, open_order.ledger_id)
    assert till.status(open_order) == "confirmed"
    assert till.checkout("u2", key="k4").order.asset.token == TOKEN


def ask(till):
    return {"plan": "pro", "user_id": "u2", "wallet": till.wallet("u2")}


@pytest.mark.fault("T13")
def test_t13_a_chain_that_cannot_be_asked_halts_nothing(memory_till):
    till = memory_till()
    till.engine._ports.providers["evm"] = Doubtful(till.engine._ports.providers["evm"], text=None)
    assert till.engine.check_tokens() == []
    assert till.queue() == []


def test_an_offer_waits_while_a_transfer_of_its_customer_is_parked(memory_till):
    """Its deadline may have been kept: nobody knows before the parked log is understood."""
    till = memory_till(order_ttl=60)
    made = till.checkout()
    till.chain.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.chain.mine()
    till.clock.set(till.chain.head.timestamp)
    till.engine.read_chain("fake")
    with till.storage.unit() as unit:
        import attrs

        from evmbilling.domain.decisions import StoreItem
        from evmbilling.engine.intake.outcome import parked

        (item,) = unit.claim_items(31337, unit.cursor(31337), till.clock.now(), 5)
        late = till.clock.now().replace(year=2027)
        unit.apply([StoreItem(attrs.evolve(parked(item, "poison", late)))])
    till.mine(seconds=61)
    assert till.status(made) == "pending"
    with till.storage.unit() as unit:
        unit.apply([StoreItem(attrs.evolve(item, wait="now"))])
    till.mine(3)
    assert till.status(made) == "confirmed"


def test_who_may_decide_is_said_by_roles(memory_till):
    till = memory_till()
    till.send(STRANGER, 5)
    assert len(till.engine.finance(ROOT).queue()) == len(till.engine.finance(OPS).queue()) == 1


@pytest.mark.both_databases
@pytest.mark.fault("B08", "B09")
def test_b08_b09_what_was_offered_and_sold_keeps_its_version_on_every_database(make_till):
    till = make_till()
    sold = till.checkout("u1")
    till.send("u1", PRICE)
    offered = till.checkout("u2")
    token = {"network": "fake", "chain_id": 31337, "token": TOKEN, "decimals": 6, "symbol": "USDC"}
    till.admin.revise_plan("pro", version=1, prices=[token | {"display": "25"}])
    till.admin.archive_plan("pro")
    till.send("u2", PRICE)
    assert [till.status(o) for o in (sold, offered)] == ["confirmed", "confirmed"]
    assert [till.allowed(user) for user in ("u1", "u2")] == [True, True]
    renewed = till.checkout("u1", key="k2")
    assert (renewed.amount, renewed.order.plan_version) == (PRICE, 1)
    with pytest.raises(ArchivedPlan):
        till.checkout("u3")
    assert till.differences() == []


def estimate(dollars: str) -> FiatEstimate:
    return FiatEstimate(amount=Decimal(dollars), currency="USD", as_of=date(2026, 1, 31))


@pytest.mark.fault("B16")
def test_b16_a_price_never_follows_an_estimate(make_till):
    """A stablecoin lost a tenth: what people see may say so; what is asked for stays until a person changes it."""
    till = make_till()
    till.admin.revise_plan("pro", version=1, price_usd_estimate=estimate("19.99"))
    first = till.checkout()
    till.send("u1", PRICE)
    till.admin.revise_plan("pro", version=2, price_usd_estimate=estimate("17.99"))
    offered, renewed = till.checkout("u2"), till.checkout(key="k2")
    assert (first.amount, offered.amount, renewed.amount) == (PRICE, PRICE, PRICE)
    assert [p.amount for p in till.engine.quote(plan="pro", user_id="u3", wallet=STRANGER).lines] == [PRICE]
    token = {"network": "fake", "chain_id": 31337, "token": TOKEN, "decimals": 6, "symbol": "USDC"}
    till.admin.revise_plan("pro", version=3, prices=[token | {"display": "22.21"}])
    assert till.checkout("u4").amount == 22_210_000  # a person said so
    assert till.engine.order(offered.ledger_id).amount == PRICE
    assert till.checkout(key="k3").amount == PRICE  # who has subscribed keeps the version
    assert till.differences() == []


@pytest.mark.fault("B16")
def test_b16_no_code_computes_with_an_estimate(project):
    """Estimates are read where they are typed in, where they are stored and where they are shown, and nowhere else."""
    source = project / "src/evmbilling"
    estimates = {"price_usd_estimate", "FiatEstimate"}
    texts = {path: path.read_text() for path in source.rglob("*.py")}
    found = set()
    for path, text in texts.items():
        # Most files do not hold either word, and need not be parsed.
        for node in ast.walk(ast.parse(text)) if any(word in text for word in estimates) else ():
            names = {getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "name", "")}
            if names & estimates:
                found.add(path.relative_to(source).as_posix())
    assert found == {
        "adapters/sqlalchemy/rows/catalogue.py",
        "domain/catalogue/catalogue.py",
        "domain/money.py",
        "integrations/http/admin_bodies.py",
        "integrations/http/admin_catalogue.py",
        "testing/conformance/storage/catalogue_records.py",
        "engine/admin/catalogue_input.py",
        "integrations/http/shapes.py",
        "integrations/http/views.py",
    }


@pytest.mark.fault("B20")
def test_b20_nothing_is_granted_before_the_money_counts(till):
    """There is no provisional access: until the policy's depth nobody is let in, and nobody is told of a plan."""
    made = till.checkout()
    till.send("u1", PRICE, depth=2)
    assert (till.status(made), till.allowed()) == ("confirming", False)
    assert "plan.changed" not in till.told()
    till.reorganise(2)
    till.mine(5)
    assert (till.status(made), till.allowed()) == ("pending", False)
    assert "plan.changed" not in till.told()
    assert till.accounts() == {}
    till.send("u1", PRICE, depth=2)
    assert not till.allowed()
    till.mine()
    assert till.allowed()
    assert till.told().count("plan.changed") == 1
    till.reorganise(4)
    assert not till.allowed()
    assert till.told().count("plan.changed") == 2
    assert till.differences() == []


def test_a_limit_for_a_token_that_nothing_is_priced_in_is_refused(memory_till):
    """It would hold nothing up, and nobody would notice."""
    till = memory_till()
    gateway = till.admin.gateways()[0]
    symbol = till.checkout().asset.symbol
    for misfits in ({"approval_above": {symbol + "x": 1}}, {"dust_below": {symbol.swapcase(): 1}}):
        with pytest.raises(InputError) as caught:
            till.admin.update_gateway(gateway.slug, version=gateway.version, misfits=misfits)
        assert caught.value.field == "misfits"
    kept = till.admin.update_gateway(gateway.slug, version=gateway.version, misfits={"approval_above": {symbol: 1}})
    assert dict(kept.misfits.approval_above) == {symbol: 1}
