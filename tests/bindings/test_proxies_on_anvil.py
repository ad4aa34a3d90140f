"""What stands behind proxies is pinned, in whichever slot they keep where they lead: an upgrade halts the binding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bindings_bench import ALICE, JOIN, JOINED, PRICE, Club, MappedShop
from eth_hash.auto import keccak

from evmbilling.domain.actors import Actor, Role
from evmbilling.errors import NetworkUnavailable
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, deploy, transact

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
SLOTS = {
    "erc1967": (int.from_bytes(keccak(b"eip1967.proxy.implementation"), "big") - 1).to_bytes(32, "big"),
    "erc1822": keccak(b"PROXIABLE"),
    "before": keccak(b"org.zeppelinos.proxy.implementation"),
}
BEACON = (int.from_bytes(keccak(b"eip1967.proxy.beacon"), "big") - 1).to_bytes(32, "big")
SAYS_SLOT_0 = "0x60005460005260206000f3"
"""Code that answers every call with its first slot, as a beacon does ``implementation()``."""


@pytest.fixture
def club(anvil: AnvilNode) -> Iterator[Club]:
    made = Club(anvil)
    made.confirm("alice", ALICE)
    made.fund(ALICE)
    yield made
    made.close()


def behind(club: MappedShop, slot: bytes, target: Deployed) -> Deployed:
    """Put a proxy before a contract; it is called by the other's ABI."""
    proxy = deploy(club.node, "SlotProxy", slot, target.address)
    return Deployed(name=target.name, address=proxy.address, block=proxy.block)


def upgrade(club: MappedShop, proxy: Deployed, target: Deployed) -> None:
    transact(
        club.node,
        Deployed(name="SlotProxy", address=proxy.address, block=0),
        "lead",
        target.address,
        sender=ALICE.address,
    )


def is_halted(club: MappedShop, target: Deployed) -> None:
    """The next check tells where it leads now, and nothing is sold through it."""
    (halted,) = club.engine.check_contracts()
    assert target.address in halted.note
    with pytest.raises(NetworkUnavailable) as refused:
        club.checkout()
    assert refused.value.details["reason"] == "contract_halted"


@pytest.mark.parametrize("slot", SLOTS.values(), ids=SLOTS)
def test_a_contract_behind_a_proxy_is_pinned_with_what_it_leads_to(club: Club, slot: bytes):
    proxy = behind(club, slot, club.passes)
    bound = club.bind(proxy, mint_method=JOIN, events=[JOINED])
    assert {address for address, _ in bound.pins} == {proxy.address, club.passes.address}
    club.sell()
    offer = club.checkout()
    club.pay(offer)
    assert club.engine.order(offer.ledger_id).status == "confirmed"
    assert not club.engine.check_contracts()
    other = deploy(club.node, "KeyLock", club.token.address, PRICE, 60)
    upgrade(club, proxy, other)
    is_halted(club, other)
    (now,) = club.admin.contracts()
    again = club.engine.contracts(OPS).pin("theirs", "local", version=now.version)
    assert {address for address, _ in again.pins} == {proxy.address, other.address, club.token.address}


@pytest.mark.parametrize("slot", SLOTS.values(), ids=SLOTS)
def test_a_token_behind_a_proxy_is_pinned_with_what_it_leads_to(club: Club, slot: bytes):
    token, plain = behind(club, slot, club.token), club.passes
    club.bind(plain, mint_method=JOIN, events=[JOINED])
    price = {"network": "local", "chain_id": club.node.chain_id, "symbol": "tUSD", "decimals": 6, "display": "19.99"}
    club.sell(prices=[price | {"token": token.address}])
    (bound,) = club.admin.contracts()
    assert {address for address, _ in bound.pins} == {plain.address, token.address, club.token.address}
    assert not club.engine.check_contracts()
    other = deploy(club.node, "NoReturnToken", "USD", "tUSD", 6)
    upgrade(club, token, other)
    is_halted(club, other)


def test_a_beacon_and_what_it_names_are_pinned(club: Club):
    beacon = "0x" + "beac" * 10
    club.node.set_code(beacon, SAYS_SLOT_0)
    club.node.set_storage(beacon, 0, int(club.passes.address, 16))
    proxy = deploy(club.node, "SlotProxy", BEACON, beacon)
    bound = club.bind(
        Deployed(name="ClubPass", address=proxy.address, block=proxy.block), mint_method=JOIN, events=[JOINED]
    )
    assert {address.lower() for address, _ in bound.pins} == {
        proxy.address.lower(),
        beacon,
        club.passes.address.lower(),
    }
    club.sell()
    other = deploy(club.node, "KeyLock", club.token.address, PRICE, 60)
    club.node.set_storage(beacon, 0, int(other.address, 16))
    is_halted(club, other)
