"""Steps: what is not a payment of ours is refused, by the contract or by the engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import attrs

from evmbilling.adapters.evm.abi.calldata import pay_call
from evmbilling.adapters.evm.signing.typed_data import order_typed_data
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.cli.demo.checks import Checks, answer, chain, database
from evmbilling.cli.demo.paying import journal, treasury_holds
from evmbilling.cli.demo.world import DEPTH, SECOND_USER
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.testing.deploy import deploy, transact
from evmbilling.testing.keys import sign_typed_data

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World

_FORGED_PRICE = 1


def lie(world: World) -> None:
    """Let another contract, a token that moves nothing, emit the event that would pay the second user's order."""
    world.second = world.merchant.checkout(SECOND_USER, wallet=world.second_wallet.address)
    world.fake = deploy(world.node, "LieToken", "Test tUSD", "tUSD", 6)
    order = world.second.order
    receipt = transact(
        world.node,
        world.fake,
        "lie",
        order.reference,
        subscription_token(order.subscription_id),
        order.wallet,
        order.beneficiary,
        plan_digest(order.plan_slug, order.plan_version),
        order.asset.token,
        order.amount,
        order.treasury,
        0,
        sender=world.deployer,
    )
    world.refused = str(receipt["transactionHash"])
    world.mine_and_settle(DEPTH)


def verify_lie(world: World) -> Checks:
    """The event is on the chain, word for word, from another address; nothing came of it."""
    events = world.chain.paid_events(world.refused)
    yield chain("Paid events", expected=1, found=len(events))
    yield chain("Paid.reference", expected="0x" + world.second.reference.hex(), found=events[0]["reference"])
    yield chain("Paid.amount", expected=world.second.amount, found=events[0]["amount"])
    yield chain("emitted by the contract", expected=False, found=events[0]["emitter"] == world.checkout.address)
    yield database(
        "logs of that address", expected=0, found=len(world.database.rows("chain_logs", address=world.fake.address))
    )
    yield from _second_unpaid(world)


def pay_twice(world: World) -> None:
    """Send the first order's payload once more."""
    payload = world.offers[0].payload
    if payload is None:
        raise ValueError("the first checkout gave no payload")
    world.refused = world.wallet.send(payload).hash
    world.mine_and_settle(DEPTH)


def verify_twice(world: World) -> Checks:
    """The contract refuses a used reference; the one receipt is what it was."""
    yield from refused_for(world, "ReferenceUsed")
    yield from treasury_holds(world, world.order.amount)
    yield database("receipts", expected=1, found=len(world.database.rows("payment_receipts")))
    found = journal(world)
    yield database("credits less reversals", expected=1, found=found.count("credited") - found.count("reversed"))


def forge(world: World) -> None:
    """Let the second user sign a cheaper order for themselves, and try to pay that one."""
    order = attrs.evolve(world.second.order, amount=_FORGED_PRICE)
    wallet = world.second_wallet
    # Everything else about this payment is right: only the signature can be what it is refused for.
    wallet.approve(token=world.token.address, spender=order.contract, amount=_FORGED_PRICE, chain_id=order.chain_id)
    signature = wallet.sign_typed_data(order_typed_data(order))
    payload = WalletPayload(
        chain_id=order.chain_id, to=order.contract, value=0, data=pay_call(order, signature), gas=order.gas
    )
    world.refused = wallet.send(payload).hash
    world.mine_and_settle(DEPTH)


def verify_forged(world: World) -> Checks:
    """The contract refuses an order that our key did not sign."""
    yield from refused_for(world, "UnknownSigner")
    yield from treasury_holds(world, world.order.amount)
    yield from _second_unpaid(world)


def change_row(world: World) -> None:
    """Make the second user's order cheaper in the database, let the engine verify, and change it back."""
    stored = world.database.row("payment_transactions", ledger_id=world.second.ledger_id)["amount"]
    _write_amount(world, str(_FORGED_PRICE).zfill(len(stored)))
    world.report = world.engine.verify()
    _write_amount(world, stored)


def verify_changed_row(world: World) -> Checks:
    """Verification says that these are not the terms which our key signed; the order is what it was."""
    found = [(d.code, d.subject, d.reason, d.found) for d in world.report.differences]
    wanted = ("order_projection_differs", f"order:{world.second.ledger_id}", "signature", "of other terms")
    yield answer("verify: differences", expected=[wanted], found=found)
    row = world.database.row("payment_transactions", ledger_id=world.second.ledger_id)
    yield database("its amount", expected=world.second.amount, found=int(row["amount"]))


def steal_key(world: World) -> None:
    """Let our own key sign the second user's order with another treasury, as a thief of it would; pay that."""
    order = attrs.evolve(world.second.order, treasury=world.deployer)
    wallet = world.second_wallet
    transact(world.node, world.token, "mint", wallet.address, order.amount, sender=world.deployer)
    wallet.approve(token=world.token.address, spender=order.contract, amount=order.amount, chain_id=order.chain_id)
    signature = sign_typed_data(world.signer_key, order_typed_data(order))
    payload = WalletPayload(
        chain_id=order.chain_id, to=order.contract, value=0, data=pay_call(order, signature), gas=order.gas
    )
    world.refused = wallet.send(payload).hash
    world.mine_and_settle(DEPTH)


def verify_stolen_key(world: World) -> Checks:
    """The contract cannot know better; the engine compares the event with its own order, and nothing is bought."""
    (event,) = world.chain.paid_events(world.refused)
    yield chain("Paid.reference", expected="0x" + world.second.reference.hex(), found=event["reference"])
    yield chain("Paid.treasury", expected=world.deployer, found=event["treasury"])
    yield from treasury_holds(world, world.order.amount)
    receipt = world.database.row("payment_receipts", tx_hash=world.refused)
    found = (receipt.get("status"), receipt.get("allocation"), receipt.get("reason"))
    yield database("receipt", expected=("credited", "suspense", "wrong_treasury"), found=found)
    yield from _second_waits(world)


def undo_theft(world: World) -> None:
    """Let the chain change its mind about that payment, and mine it no more."""
    world.node.reorg(world.chain.confirmations(world.refused))
    world.mine_and_settle(1)


def verify_undone(world: World) -> Checks:
    """The payment is gone, nobody has anything to decide, and the second user's order waits for its money."""
    yield chain("receipt of the payment", expected=None, found=world.chain.receipt(world.refused))
    receipt = world.database.row("payment_receipts", tx_hash=world.refused)
    yield database("receipt", expected="reversed", found=receipt.get("status"))
    yield database("finance queue", expected=0, found=len(world.database.rows("finance_queue", state="open")))
    yield from _second_unpaid(world)


def _write_amount(world: World, amount: str) -> None:
    with closing(sqlite3.connect(world.database_path)) as connection, connection:
        orders = f"{DEFAULT_PREFIX}payment_transactions"
        statement = f"UPDATE {orders} SET amount = ? WHERE ledger_id = ?"  # noqa: S608  - our own name
        connection.execute(statement, (amount, world.second.ledger_id))


def refused_for(world: World, reason: str) -> Checks:
    """Look at the last refusal: the transaction failed, left no log, and this is why."""
    receipt = world.chain.receipt(world.refused) or {}
    yield chain("status", expected="0x0", found=receipt.get("status"))
    yield chain("logs", expected=[], found=receipt.get("logs"))
    yield chain("reason", expected=reason, found=world.chain.refusal(world.refused))


def _second_unpaid(world: World) -> Checks:
    used = world.chain.view("Checkout", world.checkout.address, "isUsed", world.second.reference)
    yield chain("reference used", expected=0, found=used)
    rows = world.database.rows("payment_receipts", ledger_id=world.second.ledger_id, status="credited")
    yield database("receipts of it", expected=0, found=len(rows))
    yield from _second_waits(world)


def _second_waits(world: World) -> Checks:
    order = world.second.order
    row = world.database.row("payment_transactions", ledger_id=order.ledger_id)
    yield database("order", expected="pending", found=row.get("status"))
    yield answer("access", expected=False, found=world.engine.access(SECOND_USER).allowed)
