"""Mandates on a real chain: given by every kind of wallet, charged, refused with their reasons, and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import attrs
import pytest
from anvil_bench import PRICE, USER, PullingShop, delegated
from eth_abi import encode

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.mandates.mandate_charges import charge_of
from evmbilling.domain.mandates.mandates import MandateStatus
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import ChallengeRefused, InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, calldata, deploy
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.wallet import Reverted, Wallet

OpenShop = Callable[..., PullingShop]


@pytest.fixture
def open_shop(anvil: AnvilNode) -> Iterator[OpenShop]:
    opened: list[PullingShop] = []

    def open_(token: str = "TestToken") -> PullingShop:
        opened.append(PullingShop(anvil, token=token))
        return opened[-1]

    yield open_
    for shop in opened:
        shop.close()


@pytest.fixture
def shop(open_shop: OpenShop) -> PullingShop:
    return open_shop()


@pytest.mark.parametrize("via", ["allowance", "permit2"])
def test_a_mandate_is_given_charged_and_revoked(shop: PullingShop, via: str) -> None:
    subscription = shop.subscribe()
    prepared = shop.prepare(subscription, via=via)
    assert prepared.problems == ()
    assert (prepared.permit_typed_data is not None) == (via == "permit2")
    offer = shop.order()
    given = shop.give(prepared)
    assert shop.problem(given, offer.order) == "allowance"
    shop.allow(prepared)
    assert shop.problem(given, offer.order) is None

    receipt = shop.pull(given, offer.order)
    assert len(receipt["logs"]) >= 3
    shop.settle()
    assert shop.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    assert shop.balance(shop.merchant.treasury) == 2 * PRICE
    assert shop.only().status is MandateStatus.ACTIVE
    assert shop.problem(given, offer.order) == "reference_used"
    with pytest.raises(Reverted) as caught:
        shop.pull(given, offer.order)
    assert (caught.value.details["reason"], caught.value.details["arguments"]) == ("Refused", (10,))

    following = shop.order()
    assert shop.problem(shop.only(), following.order) == "cap_reached"
    shop.node.increase_time(29 * 86_400)
    shop.settle(1)
    following = shop.order()
    assert shop.problem(shop.only(), following.order) is None
    shop.send(shop.payer, shop.provider.revoke_payload(given))
    assert shop.problem(given, following.order) == "revoked"
    shop.settle()
    assert shop.only().status is MandateStatus.REVOKED
    with pytest.raises(Reverted) as caught:
        shop.pull(given, following.order)
    assert caught.value.details["arguments"] == (6,)
    assert [d.code for d in shop.engine.verify(full=True).differences] == []


def test_what_the_payer_signs_is_enough_allowed_already(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    for via in ("allowance", "permit2"):
        prepared = shop.prepare(subscription, via=via, allowance=2 * PRICE)
        shop.allow(prepared)
        if prepared.instead_of_permit is not None:
            shop.send(shop.payer, prepared.instead_of_permit)
        again = shop.prepare(subscription, via=via, allowance=2 * PRICE)
        assert (again.approvals, again.permit_typed_data, again.instead_of_permit) == ((), None, None)
        # An end of Permit2's allowance before the mandate's is not enough.
        longer = shop.clock.now() + timedelta(days=2000)
        more = shop.prepare(subscription, via=via, allowance=2 * PRICE, expires_at=longer)
        assert (more.permit_typed_data is not None) == (via == "permit2")


@pytest.mark.fault("T29")
def test_t29_an_allowance_that_has_to_be_reset_is_reset(open_shop: OpenShop) -> None:
    shop = open_shop("NoReturnToken")
    subscription = shop.subscribe()
    shop.payer.approve(token=shop.token.address, spender=shop.mandates.address, amount=1, chain_id=shop.node.chain_id)
    shop.node.mine()
    prepared = shop.prepare(subscription)
    assert len(prepared.approvals) == 2
    shop.allow(prepared)
    given, offer = shop.give(prepared), shop.order()
    assert shop.problem(given, offer.order) is None
    shop.pull(given, offer.order)
    assert shop.balance(shop.merchant.treasury) == 2 * PRICE


@pytest.mark.fault("S16")
def test_s16_an_account_that_delegates_gives_a_mandate_as_a_key(shop: PullingShop) -> None:
    """EIP-7702. Permit2 takes no key's signature for an account with code; it allows on chain instead."""
    subscription = shop.subscribe()
    shop.settle(1)
    code = deploy(shop.node, "ContractWallet", shop.node.accounts[9].address)
    delegated(shop.node, shop.node.accounts[1].key, code.address)
    prepared = shop.prepare(subscription, via="permit2")
    with pytest.raises(ChallengeRefused) as caught:
        shop.give(prepared)
    assert caught.value.field == "permit_signature"
    assert prepared.instead_of_permit is not None
    shop.allow(prepared)
    shop.send(shop.payer, prepared.instead_of_permit)
    given, offer = shop.give(prepared, permit=False), shop.order()
    assert given.permit is None
    assert shop.problem(given, offer.order) is None
    shop.pull(given, offer.order)
    shop.settle()
    assert shop.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED


def wallet_of_code(shop: PullingShop, deployed: Deployed) -> str:
    """Confirm a contract wallet as the user's, fund it, and let it approve what it will be asked for."""
    owner = shop.node.accounts[9]
    challenge = shop.engine.wallet_challenge(
        user_id=USER,
        wallet=deployed.address,
        network=shop.merchant.network,
        domain="shop.example",
        uri="https://shop.example/",
    )
    signature = Wallet(owner.key, shop.node.url).sign_text(challenge.message)
    shop.engine.confirm_wallet(user_id=USER, nonce=challenge.nonce, signature=signature)
    shop.fund(deployed.address)
    shop.node.impersonate(deployed.address)
    shop.node.set_balance(deployed.address, 10**18)
    shop.act(shop.token, "approve", shop.mandates.address, 20 * PRICE, sender=deployed.address)
    return deployed.address


@pytest.mark.fault("S10")
def test_s10_a_contract_wallet_gives_a_mandate(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    owner = shop.node.accounts[9]
    deployed = deploy(shop.node, "ContractWallet", owner.address)
    prepared = shop.prepare(subscription, wallet_of_code(shop, deployed))
    with pytest.raises(ChallengeRefused):
        shop.give(prepared)
    given = shop.give(prepared, owner.key)
    offer = shop.order(shop.payer.address)
    assert given.payer == deployed.address != offer.order.wallet
    assert shop.problem(given, offer.order) is None
    shop.pull(given, offer.order)
    shop.settle()
    # The wallet is another than the order's: what counts is who signed the mandate.
    assert shop.engine.order(offer.ledger_id).status is OrderStatus.CONFIRMED
    assert [d.code for d in shop.engine.verify(full=True).differences] == []


@pytest.mark.fault("S17")
def test_s17_a_wallet_whose_owner_changes_before_the_first_charge_is_refused_by_its_reason(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    deployed = deploy(shop.node, "ContractWallet", shop.node.accounts[9].address)
    given = shop.give(shop.prepare(subscription, wallet_of_code(shop, deployed)), shop.node.accounts[9].key)
    shop.act(deployed, "lie", b"\xff" * 32)
    assert shop.problem(given, shop.order().order) == "bad_signature"


@pytest.mark.fault("S11")
def test_s11_a_wallet_that_is_not_deployed_gives_one_as_soon_as_it_is(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    owner, factory, salt = shop.node.accounts[9], deploy(shop.node, "WalletFactory"), b"\7" * 32
    ask = {"to": factory.address, "data": "0x" + calldata("WalletFactory", "addressOf", owner.address, salt).hex()}
    address = "0x" + shop.node.rpc("eth_call", ask, "latest")[-40:]
    make = calldata("WalletFactory", "make", owner.address, salt)

    def wrapped(inner: bytes) -> bytes:
        return encode(["address", "bytes", "bytes"], [factory.address, make, inner]) + b"\x64\x92" * 16

    challenge = shop.engine.wallet_challenge(
        user_id=USER, wallet=address, network=shop.merchant.network, domain="shop.example", uri="https://shop.example/"
    )
    text = Wallet(owner.key, shop.node.url).sign_text(challenge.message)
    shop.engine.confirm_wallet(user_id=USER, nonce=challenge.nonce, signature=wrapped(text))
    prepared = shop.prepare(subscription, address)
    signature = wrapped(sign_typed_data(owner.key, prepared.typed_data))
    give = shop.engine.mandates.give
    with pytest.raises(ChallengeRefused):
        give(USER, prepared.mandate.mandate_id, signature=signature)
    shop.act(factory, "make", owner.address, salt)
    given = give(USER, prepared.mandate.mandate_id, signature=signature)
    assert given.signature == sign_typed_data(owner.key, prepared.typed_data)
    offer = shop.order()
    assert shop.problem(given, offer.order) == "balance"


def test_a_wallet_gives_its_mandate_by_a_transaction(shop: PullingShop) -> None:
    prepared = shop.prepare(shop.subscribe())
    shop.allow(prepared)
    shop.send(shop.payer, prepared.instead_of_signature)
    shop.settle()
    active, offer = shop.only(), shop.order()
    assert (active.status, active.signature) == (MandateStatus.ACTIVE, b"")
    assert shop.problem(active, offer.order) is None
    shop.pull(active, offer.order)


# -- the reasons


def test_every_reason_is_told_before_anything_is_sent(open_shop: OpenShop) -> None:
    shop = open_shop("ListToken")
    subscription = shop.subscribe()
    prepared = shop.prepare(subscription)
    given, order = shop.give(prepared), shop.order().order
    assert shop.problem(given, order) == "allowance"
    shop.allow(prepared)
    assert shop.problem(given, order) is None

    def told(expected: str, *call: object, back: tuple[object, ...], on: Deployed = shop.token) -> None:
        shop.act(on, *call)  # type: ignore[arg-type]  # a function and its arguments
        assert shop.problem(given, order) == expected
        shop.act(on, *back)  # type: ignore[arg-type]  # a function and its arguments
        assert shop.problem(given, order) is None

    told("deny_listed", "setListed", given.payer, True, back=("setListed", given.payer, False))
    told("deny_listed", "setListed", given.treasury, True, back=("setListed", given.treasury, False))
    told("paused", "setPaused", True, back=("setPaused", False))
    told("paused", "pause", back=("unpause",), on=shop.mandates)
    away, again = ("removeOperator", shop.operator.address), ("addOperator", shop.operator.address)
    told("operator_refused", *away, back=again, on=shop.mandates)
    assert shop.problem(given, order, operator=shop.payer.address) == "operator_refused"
    held = shop.balance(given.payer)
    shop.act(shop.token, "transfer", given.treasury, held, sender=given.payer)
    assert shop.problem(given, order) == "balance"
    shop.fund(given.payer)
    assert shop.problem(given, attrs.evolve(order, amount=PRICE + 1)) == "terms_changed"
    assert shop.problem(given, attrs.evolve(order, plan_version=9)) == "terms_changed"
    late = attrs.evolve(order, deadline=shop.time() - timedelta(seconds=1))
    assert shop.problem(given, late) == "expired"

    code = shop.node.rpc("eth_getCode", shop.mandates.address, "latest")
    shop.node.set_code(shop.mandates.address, "0x6000")
    assert shop.problem(given, order) == "contract_missing"
    shop.node.set_code(shop.mandates.address, code)
    token_code = shop.node.rpc("eth_getCode", shop.token.address, "latest")
    shop.node.set_code(shop.token.address, "0x")
    assert shop.problem(given, order) == "contract_missing"
    shop.node.set_code(shop.token.address, token_code)
    assert shop.problem(given, order) is None
    shop.pull(given, order)
    shop.settle()
    paid = shop.order()
    assert paid.payload is not None
    shop.payer.approve(
        token=shop.token.address, spender=shop.merchant.contract, amount=PRICE, chain_id=shop.node.chain_id
    )
    shop.send(shop.payer, paid.payload)
    # Paid through the checkout, and not read yet: the contract itself asks there.
    assert shop.problem(given, paid.order) == "reference_used"
    with pytest.raises(Reverted) as caught:
        shop.pull(given, paid.order)
    assert caught.value.details["arguments"] == (11,)


def test_a_token_that_keeps_a_fee_is_told_apart(open_shop: OpenShop) -> None:
    shop = open_shop("FeeToken")
    prepared = shop.prepare(shop.subscribe())
    given, order = shop.give(prepared), shop.order().order
    shop.allow(prepared)
    assert shop.problem(given, order) is None
    shop.act(shop.token, "setFee", 1)
    assert shop.problem(given, order) == "short_receipt"


def test_a_dead_node_is_a_reason_and_no_error(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    given, order = shop.give(shop.prepare(subscription)), shop.order().order
    dead = {"rpc_urls": ["http://127.0.0.1:9"], "rpc_retries": 1, "rpc_timeout": 1}
    shop.admin.update_network(shop.network.name, version=shop.network.version, **dead)
    shop.network = next(n for n in shop.admin.networks() if n.name == shop.network.name)
    assert shop.problem(given, order) == "rpc_unknown"
    for via, approvals in (("allowance", 1), ("permit2", 2)):
        prepared = shop.prepare(subscription, via=via)
        assert [problem.code for problem in prepared.problems] == ["rpc_unknown"]
        assert len(prepared.approvals) == approvals
        assert prepared.permit_typed_data is None


def test_what_is_missing_on_chain_is_told_when_a_mandate_is_prepared(shop: PullingShop) -> None:
    subscription = shop.subscribe()
    shop.node.set_code(shop.permit2, "0x")
    assert [p.code for p in shop.prepare(subscription, via="permit2").problems] == ["contract_missing"]
    assert shop.prepare(subscription).problems == ()
    code = shop.node.rpc("eth_getCode", shop.mandates.address, "latest")
    shop.node.set_code(shop.mandates.address, "0x")
    assert [p.code for p in shop.prepare(subscription).problems] == ["contract_missing"]
    shop.node.set_code(shop.mandates.address, code)
    shop.node.set_code(shop.token.address, "0x")
    assert [p.code for p in shop.prepare(subscription).problems] == ["contract_missing"]


def test_a_bound_contract_is_compared_with_the_package(shop: PullingShop) -> None:
    from evmbilling.adapters.evm.provider import EvmProvider

    provider = shop.provider
    assert isinstance(provider, EvmProvider)
    bound = next(c for c in shop.admin.contracts() if c.kind == "mandates")
    assert provider.inspect_contract(bound, shop.network) == []
    wrong = attrs.evolve(bound, address=shop.merchant.contract)
    (text,) = provider.inspect_contract(wrong, shop.network)
    assert "not the Mandates contract" in text


def test_money_that_was_pulled_goes_back_by_a_transfer(shop: PullingShop) -> None:
    """The checkout knows nothing of a charge, so its own refund would be refused on chain."""
    prepared = shop.prepare(shop.subscribe())
    given, offer = shop.give(prepared), shop.order()
    shop.allow(prepared)
    shop.pull(given, offer.order)
    shop.settle()
    refunds = shop.engine.refunds(Actor("ops", frozenset({Role.FINANCE_OPS})))
    assert refunds.request(ledger_id=offer.ledger_id, amount=5, reason="kindness").via == "transfer"
    with pytest.raises(InputError) as caught:
        refunds.request(ledger_id=offer.ledger_id, amount=5, reason="kindness", via="contract")
    assert caught.value.field == "via"


def test_two_operators_at_once_charge_once(shop: PullingShop) -> None:
    prepared = shop.prepare(shop.subscribe(), charge_cap=PRICE, cap=5 * PRICE)
    given, offer = shop.give(prepared), shop.order()
    shop.allow(prepared)
    second = Wallet(shop.node.accounts[3].key, shop.node.url)
    shop.act(shop.mandates, "addOperator", second.address)
    payload = shop.provider.charge_payload(given, charge_of(offer.order))
    sent = [wallet.send(payload) for wallet in (shop.operator, second)]
    shop.node.mine()
    receipts = [shop.node.receipt(one.hash) for one in sent]
    assert sorted(receipt["status"] for receipt in receipts if receipt) == ["0x0", "0x1"]
    shop.settle()
    assert shop.balance(shop.merchant.treasury) == 2 * PRICE
    assert len(shop.engine.receipts(offer.ledger_id)) == 1
