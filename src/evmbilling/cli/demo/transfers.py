"""Steps: the token by plain transfers, which name no order: too little, too much, too late, and from a stranger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from evmbilling.cli.demo.checks import Checks, answer, chain, database
from evmbilling.cli.demo.paying import treasury_holds
from evmbilling.cli.demo.world import CHAIN_ID, DEPTH
from evmbilling.domain.addresses import checksum
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.testing.deploy import calldata, transact
from evmbilling.testing.keys import new_key
from evmbilling.testing.merchant import ADMIN, plan_fields
from evmbilling.testing.wallet import Wallet

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World

SLUG, PLAN = "transfers", "basic"
UNDER, OVER, LATE = "pays-too-little", "pays-too-much", "pays-too-late"
STRANGER = "stranger"
"""Whose wallet nobody has confirmed."""
PRICE = 5_000_000
MISSING, SURPLUS, UNEXPLAINED = 1_250_000, 750_000, 333_333
"""Base units: what the first transfer lacks, what the second customer sends too much, what the stranger sends."""
_COINS, _GAS = 10**18, 100_000
_SITE = "shop.example"
_Place: TypeAlias = "tuple[str, str | None, int]"


def open_rail(world: World) -> None:
    """Sell a plan for plain transfers of the token; customers prove their wallets and check out."""
    admin = world.engine.admin(ADMIN)
    admin.create_contract(slug=SLUG, network=world.merchant.network, address=world.token.address, kind="erc20")
    asset = {"chain_id": CHAIN_ID, "token": world.token.address, "decimals": 6, "symbol": "tUSD"}
    prices = [asset | {"network": world.merchant.network, "amount": PRICE}]
    fields = {"name": "Basic", "product": "basic", "contract_slug": SLUG, "prices": prices}
    admin.create_plan(**plan_fields(world.merchant, PLAN, **fields))
    for name in (UNDER, OVER, LATE, STRANGER):
        wallet = world.senders[name] = Wallet(new_key(), world.node.url)
        world.node.set_balance(wallet.address, _COINS)
        transact(world.node, world.token, "mint", wallet.address, 2 * PRICE, sender=world.deployer)
    for user_id in (UNDER, OVER, LATE):
        _prove(world, user_id)
        address = world.senders[user_id].address
        world.asked[user_id] = world.merchant.checkout(user_id, plan=PLAN, wallet=address)


def _prove(world: World, user_id: str) -> None:
    """Let a wallet sign the message (EIP-4361) that the engine makes for it."""
    wallet = world.senders[user_id]
    challenge = world.engine.wallet_challenge(
        user_id=user_id,
        wallet=wallet.address,
        network=world.merchant.network,
        domain=_SITE,
        uri=f"https://{_SITE}/wallet",
    )
    signature = wallet.sign_text(challenge.message)
    world.engine.confirm_wallet(user_id=user_id, nonce=challenge.nonce, signature=signature)


def verify_rail(world: World) -> Checks:
    """The binding is the token itself; three wallets are confirmed, the fourth is not; three orders wait."""
    binding = world.database.row("contracts", slug=SLUG)
    yield database("binding: kind", expected="erc20", found=binding.get("kind"))
    yield database("binding: address", expected=world.token.address, found=binding.get("address"))
    confirmed = {row["user_id"]: row["address"] for row in world.database.rows("wallets")}
    wanted = {user_id: world.senders[user_id].address for user_id in (UNDER, OVER, LATE)}
    yield database("confirmed wallets", expected=wanted, found=confirmed)
    for user_id, offer in world.asked.items():
        row = world.database.row("payment_transactions", ledger_id=offer.ledger_id)
        found = (row.get("user_id"), row.get("rail"), row.get("status"), int(row.get("amount", "0")))
        yield database("order", expected=(user_id, "erc20", "pending", PRICE), found=found)


def pay_too_little(world: World) -> None:
    """Send a part of the price."""
    _send(world, UNDER, PRICE - MISSING)


def verify_too_little(world: World) -> Checks:
    """The part is on the chain and on the order, as the customer's own money; it gives nothing yet."""
    yield from _sent(world, UNDER, PRICE - MISSING)
    yield from _came_of_it(world, UNDER, "partially_paid", [("order", None, PRICE - MISSING)])
    yield from _holds(world, UNDER, credit=PRICE - MISSING, allowed=False)


def pay_the_rest(world: World) -> None:
    """Send the part that was missing."""
    _send(world, UNDER, MISSING)


def verify_the_rest(world: World) -> Checks:
    """Both parts together pay the order."""
    yield from _sent(world, UNDER, MISSING)
    parts: list[_Place] = [("order", None, PRICE - MISSING), ("order", None, MISSING)]
    yield from _came_of_it(world, UNDER, "confirmed", parts)
    yield from _holds(world, UNDER, credit=0, allowed=True)


def pay_too_much(world: World) -> None:
    """Send more than the price."""
    _send(world, OVER, PRICE + SURPLUS)


def verify_too_much(world: World) -> Checks:
    """The order is paid, and what is too much is owed to the customer."""
    yield from _sent(world, OVER, PRICE + SURPLUS)
    yield from _came_of_it(world, OVER, "confirmed", [("order", None, PRICE + SURPLUS)])
    yield from _holds(world, OVER, credit=SURPLUS, allowed=True)


def pay_too_late(world: World) -> None:
    """Let the chain pass the deadline, and send the price exactly, in the first block after it."""
    _send(world, LATE, PRICE, at=int(world.asked[LATE].order.deadline.timestamp()) + 1)


def verify_too_late(world: World) -> Checks:
    """The order has expired; by the gateway's policy the money is the customer's credit, and gives no access."""
    yield from _sent(world, LATE, PRICE)
    mined = (world.chain.receipt(world.transfers[-1][0]) or {})["blockNumber"]
    late = world.chain.block_time(mined) > world.asked[LATE].order.deadline.timestamp()
    yield chain("after the deadline", expected=True, found=late)
    yield from _came_of_it(world, LATE, "expired", [("credit", "late", PRICE)])
    yield from _holds(world, LATE, credit=PRICE, allowed=False)


def pay_unknown(world: World) -> None:
    """Send from a wallet that nobody has confirmed."""
    _send(world, STRANGER, UNEXPLAINED)


def verify_unknown(world: World) -> Checks:
    """Nobody is credited; the money waits for a person, in the queue."""
    yield from _sent(world, STRANGER, UNEXPLAINED)
    receipt = world.database.row("payment_receipts", tx_hash=world.transfers[-1][0])
    found = tuple(receipt.get(name) for name in ("allocation", "reason", "user_id", "payer"))
    wanted = ("suspense", "unknown_payer", None, world.senders[STRANGER].address)
    yield database("receipt", expected=wanted, found=found)
    item = world.database.row("finance_queue", receipt_id=receipt.get("receipt_id"))
    asked = tuple(item.get(name) for name in ("kind", "reason", "state"))
    yield database("finance queue", expected=("suspense", "unknown_payer", "open"), found=asked)
    yield database("its amount", expected=UNEXPLAINED, found=int(item.get("amount", "0")))


def show_parts(world: World) -> dict[str, object]:
    """Return the transfers that paid the first order together."""
    rows = world.database.rows("payment_receipts", user_id=UNDER)
    order = world.database.row("payment_transactions", ledger_id=world.asked[UNDER].ledger_id)
    parts = {f"transfer {number}": str(int(row["amount"])) for number, row in enumerate(rows, 1)}
    return {"order": order["status"], "price": str(int(order["amount"]))} | parts


def credit_of(world: World, user_id: str) -> int:
    """Return what is owed to a customer by the row of their balance: base units of the token."""
    row = world.database.row("balances", owner=f"customer:{user_id}", account="customer_credit")
    return int(row.get("credit", "0")) - int(row.get("debit", "0"))


def _send(world: World, who: str, amount: int, *, at: int = 0) -> None:
    """Transfer base units to the treasury and mine deep enough; no block is older than the orders, as in real life."""
    data = calldata("TestToken", "transfer", world.treasury, amount)
    payload = WalletPayload(chain_id=CHAIN_ID, to=world.token.address, value=0, data=data, gas=_GAS)
    world.transfers.append((world.senders[who].send(payload).hash, amount))
    orders = [math.ceil(offer.order.created_at.timestamp()) for offer in world.asked.values()]
    head = world.chain.block_time("latest")
    world.node.set_next_timestamp(max(at, head + 1, *orders))
    world.mine_and_settle(DEPTH)


def _sent(world: World, who: str, amount: int) -> Checks:
    """Look at the transfer's own event, and at the treasury."""
    tx_hash, _ = world.transfers[-1]
    receipt: dict[str, Any] = world.chain.receipt(tx_hash) or {"logs": []}
    yield chain("confirmations", expected=DEPTH, found=world.chain.confirmations(tx_hash))
    events = [(_party(log, 1), _party(log, 2), int(log["data"], 16)) for log in receipt["logs"]]
    yield chain("Transfer", expected=[(world.senders[who].address, world.treasury, amount)], found=events)
    yield from treasury_holds(world, world.order.amount + sum(amount for _, amount in world.transfers))


def _party(log: dict[str, Any], topic: int) -> str:
    return checksum(bytes.fromhex(log["topics"][topic][-40:]))


def _came_of_it(world: World, user_id: str, status: str, places: list[_Place]) -> Checks:
    order = world.database.row("payment_transactions", ledger_id=world.asked[user_id].ledger_id)
    yield database("order", expected=status, found=order.get("status"))
    rows = world.database.rows("payment_receipts", user_id=user_id)
    found = [(row["allocation"], row["reason"], int(row["amount"])) for row in rows]
    yield database("transfers of the customer", expected=places, found=found)


def _holds(world: World, user_id: str, *, credit: int, allowed: bool) -> Checks:
    yield database("customer's credit", expected=credit, found=credit_of(world, user_id))
    basis = [row["basis"] for row in world.database.rows("entitlements", user_id=user_id)]
    yield database("entitled by payment", expected=allowed, found="paid" in basis)
    yield answer("access", expected=allowed, found=world.engine.access(user_id).allowed)
