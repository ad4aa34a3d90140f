"""Charging by mandate: what the biller asks before it decides, in the transaction of its decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from evmbilling.domain.mandates.charges import Cover
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.ports.storage import Unit


class Mandates(Protocol):
    """Knows which subscriptions can be charged; the stored mandates do, unless a host does.

    The biller stores a charge as ``requested`` (:class:`evmbilling.domain.mandates.charges.StoreCharge`).
    ``engine.run_charges`` carries out those under mandates that the engine has stored
    (:class:`evmbilling.engine.subscriptions.covers.StoredMandates`). Those under others are left to the host, who finds
    them by ``unit.open_charges(chain_id, "requested")`` and says what became of each by ``engine.report_charge``. That
    one succeeded is said by the chain alone.
    """

    def covers(self, unit: Unit, subscriptions: Sequence[Subscription]) -> Mapping[str, Cover]:
        """Return what mandates allow, by subscription id; those without a usable one are left out.

        Reads the database only: it runs inside the biller's transaction. What the chain says of allowance and balance
        is looked up before a charge is sent.
        """
        ...
