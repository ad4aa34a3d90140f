"""Steps: two checkouts, a payment, confirmations, a reorganisation, the same payment again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from evmbilling.cli.demo.checks import Checks, answer, chain, database
from evmbilling.cli.demo.world import DEPTH, USER
from evmbilling.testing.keys import address_of

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World
    from evmbilling.domain.selling.offers import Checkout

PLAN_CHANGED = "billing.plan.changed.v1"


def check_out_twice(world: World) -> None:
    """Ask twice with one key."""
    for _ in range(2):
        world.offers.append(world.merchant.checkout(USER, wallet=world.wallet.address, idempotency_key="first"))


def verify_checkout(world: World) -> Checks:
    """There is one order, the same for both, and the signature in it is what the contract will accept."""
    first, again = world.offers
    row = world.database.row("payment_transactions", user_id=USER)
    yield database("the one order", expected=first.ledger_id, found=row.get("ledger_id"))
    yield database("its status", expected="pending", found=row.get("status"))
    yield database("its amount", expected=19_990_000, found=int(row.get("amount", "0")))
    keys = [key["ledger_id"] for key in world.database.rows("idempotency_keys", user_id=USER)]
    yield database("orders under the key", expected=[again.ledger_id], found=keys)
    yield answer("second payload, byte for byte", expected=_data(first), found=_data(again))
    signer = world.chain.order_signer(world.checkout.address, bytes.fromhex(_data(first)[2:]))
    yield chain("signer of the order", expected=address_of(world.signer_key), found=signer)
    yield answer("access", expected=False, found=world.engine.access(USER).allowed)


def pay(world: World) -> None:
    """Send the approval that is asked for, and then exactly the payload; mine a block for each."""
    first = world.engine.pay_instructions(world.order.ledger_id)
    if first.approval is not None:
        world.wallet.send(first.approval)
        world.node.mine()
    world.sent = world.wallet.pay(world.engine.pay_instructions(world.order.ledger_id))
    world.node.mine()


def verify_payment(world: World) -> Checks:
    """The chain holds exactly that transaction, its event names our order, and the money is at the treasury."""
    order, sent = world.order, world.chain.transaction(world.sent.hash)
    yield chain("sender", expected=world.wallet.address.lower(), found=sent["from"].lower())
    yield chain("contract", expected=world.checkout.address.lower(), found=sent["to"].lower())
    yield chain("calldata is the payload", expected=_data(world.offers[0]), found=sent["input"])
    yield chain("status", expected="0x1", found=(world.chain.receipt(world.sent.hash) or {}).get("status"))
    events = world.chain.paid_events(world.sent.hash)
    yield chain("Paid events", expected=1, found=len(events))
    wanted = {
        "emitter": world.checkout.address,
        "reference": "0x" + order.reference.hex(),
        "payer": world.wallet.address,
        "token": world.token.address,
        "amount": order.amount,
        "treasury": world.treasury,
    }
    for name, value in wanted.items():
        yield chain(f"Paid.{name}", expected=value, found=events[0][name])
    yield from treasury_holds(world, order.amount)
    yield from reference_used(world, used=True)


def almost_confirm(world: World) -> None:
    """Mine until one confirmation is missing."""
    world.mine_and_settle(DEPTH - 2)


def verify_waiting(world: World) -> Checks:
    """The payment is seen, and gives nothing yet."""
    yield chain("confirmations", expected=DEPTH - 1, found=world.chain.confirmations(world.sent.hash))
    yield database("block read", expected=world.chain.height(), found=_cursor(world))
    yield database("order", expected="confirming", found=_order(world).get("status"))
    yield database("receipt", expected="seen", found=_receipt(world).get("status"))
    yield from access_is(world, allowed=False)


def confirm(world: World) -> None:
    """Mine the block that was missing."""
    world.mine_and_settle(1)


def verify_order(world: World) -> Checks:
    """The order is paid, by the evidence that the chain shows."""
    yield chain("confirmations", expected=DEPTH, found=world.chain.confirmations(world.sent.hash))
    order, event = _order(world), world.chain.paid_events(world.sent.hash)[0]
    mined = world.chain.receipt(world.sent.hash) or {}
    yield database("order", expected="confirmed", found=order.get("status"))
    yield database("transaction", expected=world.sent.hash, found=order.get("tx_hash"))
    yield database("block", expected=int(mined["blockNumber"], 16), found=order.get("block_number"))
    yield database("block hash", expected=mined["blockHash"], found=order.get("block_hash"))
    yield database("log index", expected=event["logIndex"], found=order.get("log_index"))


def verify_receipt(world: World) -> Checks:
    """There is one receipt of the amount that the event says, and it was credited once."""
    event = world.chain.paid_events(world.sent.hash)[0]
    receipt = _receipt(world)
    yield database("receipts", expected=1, found=len(world.database.rows("payment_receipts")))
    yield database("status", expected="credited", found=receipt.get("status"))
    yield database("amount", expected=event["amount"], found=int(receipt.get("amount", "0")))
    yield database("ordinal", expected=event["ordinal"], found=receipt.get("ordinal"))
    yield database("payer", expected=event["payer"], found=receipt.get("payer"))
    yield database("journal", expected=["seen", "credited"], found=journal(world))


def verify_subscription(world: World) -> Checks:
    """The subscription is active from the payment on, one month paid."""
    row = _subscription(world)
    yield database("status", expected="active", found=row.get("status"))
    yield database("periods paid", expected=1, found=row.get("paid_periods"))
    days = (_instant(row["paid_until"]) - _instant(row["anchor"])).days
    yield database("a month is paid", expected=True, found=28 <= days <= 31)  # noqa: PLR2004  - the months there are


def verify_access(world: World) -> Checks:
    """The user may use it, until the end of what is paid."""
    yield from access_is(world, allowed=True)
    entitled = world.database.row("entitlements", user_id=USER)
    yield database("until", expected=_subscription(world)["paid_until"], found=entitled.get("until"))
    yield database("limits", expected='[["calls",1000]]', found=entitled.get("limits"))


def verify_event(world: World) -> Checks:
    """The host is told, in the outbox."""
    yield from told(world, [(None, "pro", "payment")])


def nothing(world: World) -> None:
    """Do nothing: the step only looks."""
    del world


def show_order(world: World) -> dict[str, object]:
    """Return the order's row."""
    names = ("ledger_id", "status", "amount", "symbol", "wallet", "tx_hash", "block_number", "confirmed_at")
    return _pick(_order(world), names)


def show_receipt(world: World) -> dict[str, object]:
    """Return the receipt's row and its journal."""
    names = ("receipt_id", "status", "amount", "symbol", "payer", "treasury", "ordinal", "block_time")
    return _pick(_receipt(world), names) | {"journal": ", ".join(journal(world))}


def show_subscription(world: World) -> dict[str, object]:
    """Return the subscription's row."""
    names = ("subscription_id", "status", "plan_slug", "zone", "anchor", "paid_until", "next_charge_at")
    return _pick(_subscription(world), names)


def show_access(world: World) -> dict[str, object]:
    """Return the row that access is read from."""
    names = ("user_id", "basis", "starts_at", "until", "limits", "features")
    return _pick(world.database.row("entitlements", user_id=USER), names)


def show_event(world: World) -> dict[str, object]:
    """Return the newest event of its kind, as the host gets it."""
    event = world.database.events(USER, PLAN_CHANGED)[-1]
    names = ("event_id", "type", "aggregate", "seq")
    return {**_pick(event, names), **event["data"]}


def take_away(world: World) -> None:
    """Let the chain change its mind about the blocks since the payment."""
    mined = world.chain.receipt(world.sent.hash) or {}
    world.lost_block = str(mined["blockHash"])
    world.node.reorg(world.chain.confirmations(world.sent.hash))
    world.mine_and_settle(1)


def verify_reorg(world: World) -> Checks:
    """The payment is gone from the chain, and with it the credit and the access."""
    yield chain("receipt of the payment", expected=None, found=world.chain.receipt(world.sent.hash))
    yield from reference_used(world, used=False)
    yield from treasury_holds(world, 0)
    yield database("block read", expected=world.chain.height(), found=_cursor(world))
    yield database("order", expected="reversed", found=_order(world).get("status"))
    yield database("receipt", expected="reversed", found=_receipt(world).get("status"))
    yield database("journal", expected=["seen", "credited", "reversed"], found=journal(world))
    yield database("subscription", expected="incomplete", found=_subscription(world).get("status"))
    yield from access_is(world, allowed=False)
    yield from told(world, [(None, "pro", "payment"), ("pro", None, "reversal")])


def mine_again(world: World) -> None:
    """Send the same signed bytes again, and mine them deep enough, before the deadline."""
    world.wallet.resend(world.sent)
    world.mine_and_settle(DEPTH)


def verify_again(world: World) -> Checks:
    """The same payment stands in another block; it is the same receipt, credited once, and access is back."""
    mined = world.chain.receipt(world.sent.hash) or {}
    yield chain("status", expected="0x1", found=mined.get("status"))
    yield chain("in another block", expected=True, found=mined["blockHash"] != world.lost_block)
    in_time = world.chain.block_time(mined["blockNumber"]) <= int(world.order.deadline.timestamp())
    yield chain("before the deadline", expected=True, found=in_time)
    yield from treasury_holds(world, world.order.amount)
    order = _order(world)
    yield database("order", expected="confirmed", found=order.get("status"))
    yield database("block hash", expected=mined["blockHash"], found=order.get("block_hash"))
    yield database("receipts", expected=1, found=len(world.database.rows("payment_receipts")))
    steps = ["seen", "credited", "reversed", "seen", "credited"]
    yield database("journal", expected=steps, found=journal(world))
    yield database("subscription", expected="active", found=_subscription(world).get("status"))
    yield from access_is(world, allowed=True)
    changes = [(None, "pro", "payment"), ("pro", None, "reversal"), (None, "pro", "payment")]
    yield from told(world, changes)


def access_is(world: World, *, allowed: bool) -> Checks:
    """Look at what the user is entitled to, and at what the host is answered."""
    basis = [row["basis"] for row in world.database.rows("entitlements", user_id=USER)]
    yield database("entitled by payment", expected=allowed, found="paid" in basis)
    yield answer("access", expected=allowed, found=world.engine.access(USER).allowed)


def told(world: World, changes: list[tuple[str | None, str | None, str]]) -> Checks:
    """Look at the plan changes in the outbox: (old plan, new plan, cause)."""
    events = world.database.events(USER, PLAN_CHANGED)
    found = [tuple(event["data"][name] for name in ("old_plan", "new_plan", "cause")) for event in events]
    yield database(PLAN_CHANGED, expected=changes, found=found)


def treasury_holds(world: World, amount: int) -> Checks:
    """Look at the treasury's tokens."""
    found = world.chain.balance(world.token.address, world.treasury)
    yield chain("balance of the treasury", expected=amount, found=found)


def reference_used(world: World, *, used: bool) -> Checks:
    """Ask the contract whether the first order is paid."""
    found = world.chain.view("Checkout", world.checkout.address, "isUsed", world.order.reference)
    yield chain("reference used", expected=int(used), found=found)


def journal(world: World) -> list[str]:
    """Return what happened to the first order's receipt."""
    rows = world.database.rows("receipt_entries", receipt_id=_receipt(world).get("receipt_id"))
    return [row["kind"] for row in sorted(rows, key=lambda row: row["seq"])]


def _pick(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, object]:
    """Return some columns; amounts without the zeros that SQLite's text form pads them with."""
    return {name: str(int(row[name])) if name == "amount" else row[name] for name in names}


def _order(world: World) -> dict[str, Any]:
    return world.database.row("payment_transactions", ledger_id=world.order.ledger_id)


def _receipt(world: World) -> dict[str, Any]:
    return world.database.row("payment_receipts", tx_hash=world.sent.hash)


def _subscription(world: World) -> dict[str, Any]:
    return world.database.row("subscriptions", user_id=USER)


def _cursor(world: World) -> int | None:
    return world.database.row("cursors").get("block_number")


def _data(offer: Checkout) -> str:
    return "0x" + offer.payload.data.hex() if offer.payload else "none"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
