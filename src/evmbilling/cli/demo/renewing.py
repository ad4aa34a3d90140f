"""Steps: a mandate is given, a month is pulled, the allowance goes, the next charge fails, the debt is paid by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from evmbilling.adapters.evm.abi.calldata import approve_call
from evmbilling.adapters.evm.mandates.mandates import give_call, mandate_typed_data
from evmbilling.cli.demo import transfers
from evmbilling.cli.demo.checks import Checks, answer, chain, database
from evmbilling.cli.demo.paying import treasury_holds
from evmbilling.cli.demo.refusing import refused_for
from evmbilling.cli.demo.world import CHAIN_ID, DEPTH, USER
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.testing.deploy import deploy_mandates, transact
from evmbilling.testing.keys import address_of, sign_typed_data
from evmbilling.testing.merchant import ADMIN

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World
    from evmbilling.domain.selling.orders import Order
    from evmbilling.domain.subscriptions.subscriptions import Subscription
    from evmbilling.testing.wallet import SentTransaction

RENEWER, SLUG, PLAN = "pays-every-month", "mandates", "pro"
PRICE = 19_990_000
PERIODS = 3
"""The first one by hand, the second pulled, the third by hand after its charge failed."""
_COINS, _GAS, _MANDATE_GAS = 10**18, 100_000, 300_000
_ALLOWED = 12 * PRICE


def give_mandate(world: World) -> None:
    """Bind the Mandates contract, buy a month, and sign the mandate with the wallet's own key."""
    world.mandates = deploy_mandates(world.node, operators=(address_of(world.operator_key),))
    admin = world.engine.admin(ADMIN)
    bound = {"network": world.merchant.network, "address": world.mandates.address, "kind": "mandates"}
    admin.create_contract(slug=SLUG, start_block=world.mandates.block, **bound)
    version = next(gateway.version for gateway in admin.gateways() if gateway.slug == "main")
    admin.update_gateway("main", version=version, relayer=world.operator_key)
    for address in (world.renewer.address, address_of(world.operator_key)):
        world.node.set_balance(address, _COINS)
    transact(world.node, world.token, "mint", world.renewer.address, PERIODS * PRICE, sender=world.deployer)
    _others_leave(world)
    world.follow_chain()
    first = world.merchant.checkout(RENEWER, plan=PLAN, wallet=world.renewer.address)
    _pay(world, first.ledger_id)
    prepared = world.engine.mandates.prepare(RENEWER, _held(world).subscription_id, world.renewer.address)
    for approval in prepared.approvals:
        world.renewer.send(approval)
    world.mine_and_settle(1)
    signature = sign_typed_data(world.renewer_key, prepared.typed_data)
    world.engine.mandates.give(RENEWER, prepared.mandate.mandate_id, signature=signature)


def verify_mandate(world: World) -> Checks:
    """The packaged contract is there for our operator; the wallet allows it twelve months; nothing was taken yet."""
    contract = world.mandates.address
    yield chain("code is the artefact", expected=True, found=world.chain.is_artefact("Mandates", contract))
    operator = address_of(world.operator_key)
    yield chain("operator", expected=1, found=world.chain.view("Mandates", contract, "isOperator", operator))
    yield chain("allowance", expected=_ALLOWED, found=_allowance(world))
    row = world.database.row("mandates", user_id=RENEWER)
    found = (row.get("status"), row.get("payer"), row.get("contract"), int(row.get("charge_cap", "0")))
    yield database("mandate", expected=("given", world.renewer.address, contract, PRICE), found=found)
    yield from _stands(world, "active", paid=1, allowed=True)
    yield from _taken(world, 1)


def forge_mandate(world: World) -> None:
    """Let the second user sign the mandate in the place of the wallet that it pulls from, and bring it to the chain."""
    (mandate,) = world.engine.mandates.list(RENEWER)
    forged = attrs.evolve(mandate, signature=sign_typed_data(world.second_key, mandate_typed_data(mandate)))
    payload = WalletPayload(
        chain_id=CHAIN_ID, to=world.mandates.address, value=0, data=give_call(forged), gas=_MANDATE_GAS
    )
    world.refused = world.second_wallet.send(payload).hash
    world.mine_and_settle(1)


def verify_forged_mandate(world: World) -> Checks:
    """The contract refuses a mandate that its payer did not sign; nothing was taken."""
    yield from refused_for(world, "Refused")
    yield database("given on chain", expected=None, found=world.database.row("mandates", user_id=RENEWER)["given_tx"])
    yield from _taken(world, 1)


def pull_month(world: World) -> None:
    """Let a month pass: the biller, the relayer and the reader do the rest."""
    world.dates = _dates(world)
    world.travel(_held(world).next_charge_at)
    world.mine_and_settle(DEPTH)


def verify_pulled(world: World) -> Checks:
    """The operator's transaction charged exactly this order, once, and paid the second month."""
    order, operator = _newest(world), address_of(world.operator_key)
    receipt = world.database.row("payment_receipts", ledger_id=order.ledger_id)
    tx_hash = str(receipt.get("tx_hash"))
    sent = world.chain.transaction(tx_hash)
    yield chain("sender", expected=operator.lower(), found=sent["from"].lower())
    yield chain("contract", expected=world.mandates.address.lower(), found=sent["to"].lower())
    yield chain("status", expected="0x1", found=(world.chain.receipt(tx_hash) or {}).get("status"))
    used = world.chain.view("Mandates", world.mandates.address, "isUsed", order.reference)
    yield chain("reference used", expected=1, found=used)
    yield chain("allowance", expected=_ALLOWED - PRICE, found=_allowance(world))
    yield from _taken(world, 2)
    row = world.database.row("payment_transactions", ledger_id=order.ledger_id)
    found = tuple(row.get(name) for name in ("origin", "period", "status", "attempts"))
    yield database("order", expected=("renewal", 1, "confirmed", 1), found=found)
    yield database("transmissions", expected=1, found=len(world.database.rows("transmissions", purpose="charge")))
    yield database("receipt", expected=PRICE, found=int(receipt.get("amount", "0")))
    yield from _stands(world, "active", paid=2, allowed=True)


def refuse_next(world: World) -> None:
    """Let the wallet take its allowance back, and another month pass."""
    data = approve_call(world.mandates.address, 0)
    payload = WalletPayload(chain_id=CHAIN_ID, to=world.token.address, value=0, data=data, gas=_GAS)
    world.renewer.send(payload)
    world.mine_and_settle(1)
    world.travel(_held(world).next_charge_at)
    world.mine_and_settle(DEPTH)


def verify_refused(world: World) -> Checks:
    """The charge failed for its reason before anything was sent; the month is owed, and access is closed."""
    order = _newest(world)
    yield chain("allowance", expected=0, found=_allowance(world))
    yield from _taken(world, 2)
    charge = world.database.row("charges", ledger_id=order.ledger_id)
    yield database("charge", expected=("failed", "allowance"), found=(charge.get("state"), charge.get("reason")))
    yield database("transmissions", expected=1, found=len(world.database.rows("transmissions", purpose="charge")))
    row = world.database.row("payment_transactions", ledger_id=order.ledger_id)
    found = tuple(row.get(name) for name in ("period", "status", "claim"))
    yield database("order", expected=(2, "pending", "owed"), found=found)
    told = [event["data"]["reason"] for event in world.database.events(RENEWER, "billing.payment.failed.v1")]
    yield database("the host was told", expected=["allowance"], found=told)
    yield from _stands(world, "past_due", paid=2, allowed=False)


def pay_debt(world: World) -> None:
    """Pay what is owed with the wallet, through the Checkout contract."""
    _pay(world, _newest(world).ledger_id)


def verify_debt(world: World) -> Checks:
    """The debt is gone, access stands, and no date has moved."""
    yield from _taken(world, PERIODS)
    row = world.database.row("payment_transactions", ledger_id=_newest(world).ledger_id)
    yield database("order", expected="confirmed", found=row.get("status"))
    yield database("dates", expected=world.dates, found=_dates(world))
    yield from _stands(world, "active", paid=PERIODS, allowed=True)


def show_pulled(world: World) -> dict[str, object]:
    """Return what was pulled, and by which transaction of ours."""
    sent = world.database.row("transmissions", purpose="charge")
    row = world.database.row("payment_receipts", ledger_id=_newest(world).ledger_id)
    names = ("tx_hash", "payer", "treasury", "block_time")
    return {"transaction": sent["status"], "amount": str(int(row["amount"]))} | {name: row[name] for name in names}


def _others_leave(world: World) -> None:
    """Let the other customers leave at the end of what they paid: their months are not of this story."""
    for user_id in (USER, transfers.UNDER, transfers.OVER):
        for held in world.engine.subscriptions(user_id):
            world.engine.cancel_subscription(held.subscription_id, when="period_end")


def _pay(world: World, ledger_id: str) -> SentTransaction:
    sent = world.renewer.pay(world.engine.pay_instructions(ledger_id))
    world.mine_and_settle(DEPTH)
    return sent


def _held(world: World) -> Subscription:
    return world.engine.subscriptions(RENEWER)[0]


def _newest(world: World) -> Order:
    found = [order for order in world.engine.orders(RENEWER) if order.origin == "renewal"]
    return max(found, key=lambda order: order.period or 0)


def _dates(world: World) -> tuple[Any, ...]:
    """Return the anchor, and where the periods begin that are bought here."""
    table = _held(world).table
    starts = [table.start(n).isoformat() for n in range(PERIODS + 1)] if table is not None else []
    return (world.database.row("subscriptions", user_id=RENEWER).get("anchor"), *starts)


def _allowance(world: World) -> int:
    owner, spender = world.renewer.address, world.mandates.address
    return world.chain.view("TestToken", world.token.address, "allowance", owner, spender)


def _taken(world: World, periods: int) -> Checks:
    """Look at both sides of the money."""
    before = world.order.amount + sum(amount for _, amount in world.transfers)
    yield from treasury_holds(world, before + periods * PRICE)
    left = world.chain.balance(world.token.address, world.renewer.address)
    yield chain("balance of the wallet", expected=(PERIODS - periods) * PRICE, found=left)


def _stands(world: World, status: str, *, paid: int, allowed: bool) -> Checks:
    row = world.database.row("subscriptions", user_id=RENEWER)
    yield database("subscription", expected=(status, paid), found=(row.get("status"), row.get("paid_periods")))
    yield answer("access", expected=allowed, found=world.engine.access(RENEWER).allowed)
