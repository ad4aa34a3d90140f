"""The shapes of deposit addresses."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from evmbilling.integrations.http.shapes import AmountView


class DepositView(TypedDict):
    """Where an order is paid, and what was seen there.

    ``state`` is ``empty``, ``waiting`` (something is there that is on its way, or too little to be swept by itself) or
    ``stuck`` (it could not be swept, or nobody looks any more). ``held`` is what was there at the last look.
    ``next_at`` is null where only somebody's asking brings another look.
    """

    ledger_id: str
    user_id: str
    network: str
    address: str
    treasury: str
    state: Literal["empty", "waiting", "stuck"]
    amount: AmountView
    held: AmountView
    seen_at: str | None
    sweeps: int
    failures: int
    next_at: str | None
    watched_until: str


class DepositPage(TypedDict):
    """Deposit addresses by the ids of their orders; ``next`` is the cursor of the page after this one."""

    deposits: list[DepositView]
    next: str | None


class SweepView(TypedDict):
    """A sweep that the relayer will send; ``sender`` is its address."""

    transmission_id: str
    status: str
    sender: str
