"""What cannot work is refused when it is saved, and the refusal names the argument."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from bindings_bench import ALICE, JOIN, JOINED, PRICE, Club, MappedShop
from sqlalchemy import create_engine

from evmbilling.domain.catalogue.call_templates import parse_template, template_json
from evmbilling.domain.decisions import SaveContract
from evmbilling.errors import InputError, NetworkUnavailable, UnknownAsset
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, deploy, deploy_token
from evmbilling.testing.merchant import ADMIN

BACK = {"method": "giveBack", "args": ["{refund_id}", "{receiver}", "{amount}"]}
COIN = {"method": "renewSubscription", "args": ["{subscription}", 60], "value": "{amount}"}
COIN_PAID = {
    "event": "PassPaid",
    "means": "paid",
    "match": "token_id",
    "token_id": "tokenId",
    "payer": "payer",
    "amount": "amount",
    "treasury": "vault",
    "token": {"const": "native"},
}


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[MappedShop]:
    made = MappedShop(anvil)
    made.open()
    yield made
    made.close()


@contextmanager
def joined(club: Club) -> Iterator[None]:
    """Administer in a transaction of the host."""
    own, host = club.admin, create_engine(club.url)
    try:
        with host.begin() as connection, club.engine.within(connection) as billing:
            club.admin = billing.admin(ADMIN)
            yield
    finally:
        club.admin = own
        host.dispose()


def refused_place(club: MappedShop, deployed: Deployed, **fields: Any) -> str | None:
    with pytest.raises(InputError) as refused:
        club.bind(deployed, **fields)
    return refused.value.field


def given_back(club: Club) -> dict[str, Any]:
    token = {"const": club.token.address}
    told = {"refund_id": "name", "beneficiary": "to", "amount": "price", "token": token}
    return {"event": "GivenBack", "means": "refunded"} | told


def test_an_address_without_code_is_no_contract(club: Club):
    wallet = Deployed(name="ClubPass", address=ALICE.address, block=0)
    assert refused_place(club, wallet, mint_method=JOIN, events=[JOINED]) == "address"
    # A wallet that lets code of others run for it (EIP-7702) is a wallet still.
    club.node.set_code(ALICE.address, "0xef0100" + club.passes.address[2:])
    assert refused_place(club, wallet, mint_method=JOIN, events=[JOINED]) == "address"
    assert club.admin.contracts() == []


def test_what_is_bound_in_the_hosts_transaction_is_looked_at_by_the_check(stored_club: Club):
    """Nothing may be asked there: nothing is sold before a node has shown the code, and through a wallet never."""
    club, wallet = stored_club, Deployed(name="ClubPass", address=ALICE.address, block=0)
    club.confirm("alice", ALICE)
    with joined(club):
        club.bind(wallet, slug="wallet", mint_method=JOIN, events=[JOINED])
        club.bind(club.passes, mint_method=JOIN, events=[JOINED])
        club.sell()
        club.sell("hopeless", contract_slug="wallet")
    assert [contract.pins for contract in club.admin.contracts()] == [(), ()]
    assert [refused_because(club, plan=plan) for plan in ("pro", "hopeless")] == ["token_unchecked"] * 2
    assert not club.engine.check_tokens()
    assert [refused_because(club, plan=plan) for plan in ("pro", "hopeless")] == ["contract_unchecked"] * 2
    (halted,) = club.engine.check_contracts()
    assert f"there is no contract at {ALICE.address}" in halted.note
    assert club.checkout().payload is not None
    assert refused_because(club, plan="hopeless") == "contract_halted"
    pinned = {contract.slug: dict(contract.pins) for contract in club.admin.contracts()}
    assert set(pinned["theirs"]) == {club.passes.address, club.token.address}
    assert pinned["wallet"] == {}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"args": [*JOIN["args"][:2], PRICE, "monthly"], "approve": None}, "mint_method.args"),
        ({"args": [*JOIN["args"][:2], PRICE, "monthly"], "approve": {"amount": "{quantity}"}}, "mint_method.args"),
        ({"args": [*JOIN["args"][:2], PRICE, "monthly"], "approve": {"amount": 0}}, "mint_method.args"),
        ({"value": "{quantity}"}, "mint_method.value"),
    ],
)
def test_a_call_says_how_much_it_pays(club: Club, change: dict[str, Any], place: str):
    assert refused_place(club, club.passes, mint_method=JOIN | change, events=[JOINED]) == place
    assert refused_place(club, club.passes, mint_method=JOIN, renew_method=JOIN | change, events=[JOINED]) == (
        place.replace("mint", "renew")
    )


@pytest.mark.parametrize(
    "fixed",
    [
        {"approve": {"spender": "{contract}", "amount": "{amount}"}},
        {"approve": {"spender": "{contract}", "amount": PRICE}},
    ],
)
def test_a_contract_with_a_price_of_its_own_is_bounded_by_what_is_allowed(club: Club, fixed: dict[str, Any]):
    club.bind(club.passes, mint_method=JOIN | {"args": [*JOIN["args"][:2], PRICE, "monthly"]} | fixed, events=[JOINED])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"


def test_a_constant_that_is_not_the_price_is_refused_with_the_plan_and_with_the_call(club: Club):
    own = JOIN | {"args": [*JOIN["args"][:2], PRICE, "monthly"], "approve": {"amount": PRICE - 1}}
    bound = club.bind(club.passes, mint_method=own, events=[JOINED])
    with pytest.raises(InputError, match=r"mint_method\.approve\.amount") as refused:
        club.sell()
    assert refused.value.field == "prices"
    club.admin.update_contract("theirs", "local", version=bound.version, mint_method=JOIN)
    club.sell()
    (now,) = club.admin.contracts()
    with pytest.raises(InputError, match="the plan pro") as changed:
        club.admin.update_contract("theirs", "local", version=now.version, mint_method=own)
    assert changed.value.field == "mint_method.approve.amount"
    more = JOIN | {"approve": {"amount": 2**256 - 1}}
    club.admin.update_contract("theirs", "local", version=now.version, mint_method=more)


def test_coins_that_are_sent_along_are_the_price(shop: MappedShop):
    passes = deploy(shop.node, "PaidPass", shop.treasury, shop.token.address, PRICE)
    bound = shop.bind(passes, mint_method=COIN | {"value": 10**15}, events=[COIN_PAID])
    with pytest.raises(InputError, match=r"mint_method\.value") as refused:
        shop.sell(native=True)
    assert refused.value.field == "prices"
    bound = shop.admin.update_contract("theirs", "local", version=bound.version, mint_method=COIN | {"value": 10**16})
    shop.sell(native=True)
    offer = shop.checkout()
    shop.pay(offer)
    assert shop.engine.access("alice").allowed
    with pytest.raises(InputError) as changed:
        shop.admin.update_contract("theirs", "local", version=bound.version, mint_method=COIN | {"value": 10**15})
    assert changed.value.field == "mint_method.value"


@pytest.mark.parametrize(
    ("args", "place"),
    [
        (["{refund_id}", ALICE.address, "{amount}"], "refund_method.args[1]"),
        (["{refund_id}", "{payer}", "{amount}"], "refund_method.args"),
        (["{refund_id}", "{receiver}", PRICE], "refund_method.args[2]"),
        (["{refund_id}", "{receiver}", "{quantity}"], "refund_method.args"),
    ],
)
def test_a_refund_goes_to_whom_it_names_and_is_as_much_as_it_says(club: Club, args: list[Any], place: str):
    fields = {"mint_method": JOIN, "events": [JOINED, given_back(club)]}
    assert refused_place(club, club.passes, refund_method=BACK | {"args": args}, **fields) == place


def test_what_was_saved_before_is_read_on(club: Club):
    """New rules are for what is saved: money may be on its way by a binding that older ones let through."""
    bound = club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    club.sell()
    club.confirm("alice", ALICE)
    club.fund(ALICE)
    loose = JOIN | {"args": [*JOIN["args"][:2], PRICE, "monthly"], "approve": {"spender": "{contract}", "amount": 0}}
    with pytest.raises(InputError):
        club.admin.update_contract("theirs", "local", version=bound.version + 1, mint_method=loose)
    with club.engine._ports.storage.unit() as unit:
        stored = unit.contract("theirs", "local")
        assert stored is not None
        text = template_json(parse_template(loose, field="mint_method"))
        unit.apply([SaveContract(attrs.evolve(stored, mint_method=text, version=stored.version + 1))])
    club.act(club.token, "approve", club.passes.address, PRICE, sender=ALICE.address)
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"


def test_nothing_is_planned_through_what_is_archived(club: Club):
    bound = club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    club.admin.archive_contract("theirs", "local", version=bound.version)
    with pytest.raises(InputError, match="archived") as refused:
        club.sell()
    assert refused.value.field == "contract_slug"
    assert club.admin.plans() == []


def test_a_plan_pins_what_it_is_sold_in(club: Club):
    bound = club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    assert [address for address, _ in bound.pins] == [club.passes.address]
    club.sell()
    (now,) = club.admin.contracts()
    assert {address for address, _ in now.pins} == {club.passes.address, club.token.address}
    assert now.version == bound.version + 1
    # Another token of the next version is pinned with it.
    other = deploy_token(club.node, decimals=6, symbol="oUSD")
    price = {
        "network": "local",
        "chain_id": club.node.chain_id,
        "token": other.address,
        "decimals": 6,
        "symbol": "oUSD",
    }
    club.admin.revise_plan("pro", version=1, prices=[price | {"display": "19.99"}])
    (then,) = club.admin.contracts()
    assert other.address in dict(then.pins)
    assert not club.engine.check_contracts()
    assert club.admin.contracts() == [then]


def test_a_token_that_is_not_as_configured_is_not_sold_in(club: Club):
    club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    price = {"network": "local", "chain_id": club.node.chain_id, "symbol": "tUSD", "display": "19.99"}
    for token, decimals in ((club.token.address, 18), (ALICE.address, 6)):
        with pytest.raises(InputError) as refused:
            club.sell(prices=[price | {"token": token, "decimals": decimals}])
        assert refused.value.field == "prices[0]"
    assert club.admin.plans() == []


@contextmanager
def no_node(club: Club) -> Iterator[None]:
    """Let no node of the network answer."""
    (network,) = club.admin.networks()
    dead = club.admin.update_network("local", version=network.version, rpc_urls=["http://127.0.0.1:1"])
    yield
    club.admin.update_network("local", version=dead.version, rpc_urls=[club.node.url])


def refused_because(club: Club, **changes: Any) -> str:
    with pytest.raises(NetworkUnavailable) as refused:
        club.checkout(**changes)
    return str(refused.value.details["reason"])


def test_a_plan_that_was_saved_while_no_node_answered_waits_for_the_checks(club: Club):
    club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    club.confirm("alice", ALICE)
    with no_node(club):
        club.sell()
        assert refused_because(club) == "token_unchecked"
        assert not club.engine.check_tokens()
        assert refused_because(club) == "token_unchecked"
    assert not club.engine.check_tokens()
    assert refused_because(club) == "contract_unchecked"
    assert not club.engine.check_contracts()
    assert club.checkout().payload is not None
    assert club.engine.finance(ADMIN).queue() == []


@pytest.mark.parametrize("kind", ["mapped", "erc20"])
def test_wrong_decimals_are_never_sold(club: Club, kind: str):
    """Not even while no node had answered when the plan was saved, and not because the code was looked at meanwhile."""
    if kind == "mapped":
        club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    else:
        club.admin.create_contract(slug="theirs", network="local", kind="erc20", address=club.token.address)
    club.confirm("alice", ALICE)
    price = {"network": "local", "chain_id": club.node.chain_id, "symbol": "tUSD", "display": "19.99"}
    with no_node(club):
        club.sell(prices=[price | {"token": club.token.address, "decimals": 18}])
        assert refused_because(club) == "token_unchecked"
    club.engine.check_contracts()
    assert refused_because(club) == "token_unchecked"
    assert club.token.address not in {address for c in club.admin.contracts() for address, _ in c.pins}
    (halted,) = club.engine.check_tokens()
    assert (halted.kind, halted.reason) == ("token_halted", "decimals_changed")
    assert club.engine.check_tokens() == []
    club.engine.check_contracts()
    with pytest.raises(UnknownAsset):
        club.checkout()


def test_a_dead_node_does_not_stop_what_is_sold_in_a_known_token(club: Club):
    club.admin.create_contract(slug="theirs", network="local", kind="erc20", address=club.token.address)
    club.confirm("alice", ALICE)
    club.sell()
    with no_node(club):
        club.sell("other", product="other")
        assert club.checkout().payload is not None
        assert club.checkout(plan="other").payload is not None


def test_the_token_of_an_earlier_version_is_still_compared(club: Club):
    """Subscriptions run on that version and renew in it."""
    club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    club.sell()
    other = deploy_token(club.node, decimals=6, symbol="oUSD")
    price = {"network": "local", "chain_id": club.node.chain_id, "symbol": "oUSD", "display": "19.99"}
    club.admin.revise_plan("pro", version=1, prices=[price | {"token": other.address, "decimals": 6}])
    assert club.engine.check_tokens() == []
    longer = deploy_token(club.node, decimals=18)
    club.node.set_code(club.token.address, club.node.rpc("eth_getCode", longer.address, "latest"))
    assert club.ask(club.token, "decimals") == 18
    (halted,) = club.engine.check_tokens()
    assert (halted.reason, halted.asset and halted.asset.token) == ("decimals_changed", club.token.address)


def test_a_plan_is_not_saved_over_code_that_is_not_the_one_that_was_bound(club: Club):
    """Not even before the next check: nothing would be known of the change, and sales would begin."""
    bound = club.bind(club.passes, mint_method=JOIN, events=[JOINED])
    other = deploy(club.node, "KeyLock", club.token.address, PRICE, 60)
    club.node.set_code(club.passes.address, club.node.rpc("eth_getCode", other.address, "latest"))
    with pytest.raises(InputError, match="not the one that was bound") as refused:
        club.sell()
    assert refused.value.field == "contract_slug"
    assert (club.admin.plans(), club.admin.contracts()) == ([], [bound])
    # Whoever has looked pins the new code; then it is sold through.
    club.engine.contracts(ADMIN).pin("theirs", "local", version=bound.version)
    club.sell()
    assert not club.engine.check_contracts()
    club.node.set_code(club.passes.address, club.node.rpc("eth_getCode", club.token.address, "latest"))
    with pytest.raises(InputError) as again:
        club.admin.revise_plan("pro", version=1, name="Other")
    assert again.value.field == "contract_slug"
