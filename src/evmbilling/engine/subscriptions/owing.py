"""What is owed, read from the subscriptions that owe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from evmbilling.domain.money import Asset
from evmbilling.domain.payments.paying import paying_moments
from evmbilling.domain.subscriptions.standing import debts_of
from evmbilling.ports.storage import Unit

_PAGE = 500


def debts(unit: Unit, now: datetime) -> Iterator[tuple[Asset, int, int]]:
    """Give asset, base units and whole days since it fell due of everything that is owed; test networks never count."""
    after = ""
    testnets = {network.chain_id for network in unit.networks() if network.testnet}
    while page := unit.owing_subscriptions(after=after, limit=_PAGE):
        after = page[-1].subscription_id
        orders = unit.orders_of_subscriptions([s.subscription_id for s in page])
        receipts = unit.receipts_of_orders([o.ledger_id for o in orders])
        for subscription in page:
            own = [o for o in orders if o.subscription_id == subscription.subscription_id]
            names = {o.ledger_id for o in own}
            paid = [r for r in receipts if r.ledger_id in names]
            since = subscription.overdue_since
            for place, debt in enumerate(debts_of(own, paid, paying_moments(own, paid))):
                # The oldest debt is as old as the trouble: that older periods were forgiven does not make it younger.
                due_at = min(debt.due_at, since) if since is not None and not place else debt.due_at
                if debt.asset.chain_id not in testnets:
                    yield debt.asset, debt.amount, (now - due_at).days
