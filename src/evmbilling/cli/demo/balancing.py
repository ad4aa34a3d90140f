"""The last step: ``verify`` finds no difference, and other eyes count every unit once more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy import migrating
from evmbilling.cli.demo import renewing, transfers
from evmbilling.cli.demo.checks import Checks, answer, chain, database

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World


def prove(world: World) -> None:
    """Release what is earned by now, seal every row, and verify all of it again."""
    world.engine.release_revenue()
    while world.engine.seal().sealed:
        pass
    world.report = world.engine.verify(full=True)


def verify_books(world: World) -> Checks:
    """No difference; the treasury holds what the books say, and suspense is exactly what nobody could explain."""
    found = [f"{d.code} {d.subject}: {d.expected} {d.found} {d.reason}".rstrip() for d in world.report.differences]
    yield answer("verify: differences", expected=[], found=found)
    yield answer("verify: seals", expected="proved", found=world.report.seals)
    held = world.chain.balance(world.token.address, world.treasury)
    booked = accounts(world)
    yield chain("balance of the treasury", expected=-booked["treasury"], found=held)
    yield database("credits less debits", expected=0, found=booked.total())
    yield database("suspense", expected=transfers.UNEXPLAINED, found=booked["suspense"])
    owed = transfers.SURPLUS + transfers.PRICE
    yield database("customers' credit", expected=owed, found=booked["customer_credit"])
    sold = world.order.amount + 2 * transfers.PRICE + renewing.PERIODS * renewing.PRICE
    yield database("sold", expected=sold, found=booked["deferred_revenue"] + booked["revenue"])
    yield database("waiting with a reason", expected=0, found=len(world.database.rows("intake_items", wait="time")))
    queue = [(row["kind"], row["reason"]) for row in world.database.rows("finance_queue", state="open")]
    yield database("for a person to decide", expected=[("suspense", "unknown_payer")], found=queue)
    yield database("tables that differ", expected=[], found=migrating.check(world.database_url))


def show_books(world: World) -> dict[str, object]:
    """Return the accounts, in base units of the token, credits positive."""
    booked = {account: str(amount) for account, amount in sorted(accounts(world).items()) if amount}
    return {**booked, "verify": "balanced" if world.report.ok else "differs", "seal": world.report.head}


def accounts(world: World) -> Counter[str]:
    """Return credits less debits by account, summed up from the lines of every entry in the token."""
    entries = {row["entry_id"] for row in world.database.rows("ledger_entries", token=world.token.address)}
    totals: Counter[str] = Counter()
    for line in world.database.rows("ledger_lines"):
        if line["entry_id"] in entries:
            totals[line["account"]] += int(line["amount"]) * (1 if line["side"] == "credit" else -1)
    return totals
