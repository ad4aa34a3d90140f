"""Which subscriptions can be charged: the stored mandates, as the biller asks about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evmbilling.domain.mandates.charges import Cover
from evmbilling.domain.mandates.mandates import USABLE_MANDATES, Mandate, at
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.ports.clock import Clock
from evmbilling.ports.storage import Unit


class StoredMandates:
    """Port :class:`evmbilling.ports.charges.Mandates` over the mandates that users gave to this engine.

    Args:
        clock: says whether a mandate has expired.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def covers(self, unit: Unit, subscriptions: Sequence[Subscription]) -> Mapping[str, Cover]:
        """Return what usable mandates allow; of several of a subscription the newest.

        A subscription whose plan is sold by a gateway without a relayer is left out: nobody could send the charge.
        """
        names = {s.subscription_id for s in subscriptions}
        now = self._clock.now()
        # By id, which grows with time: the newest one is written last.
        usable = {
            mandate.subscription_id: mandate
            for mandate in unit.mandates_of_subscriptions(names)
            if at(mandate, now).status in USABLE_MANDATES
        }
        if not usable:
            return {}
        pulled = _pulled(unit, [s for s in subscriptions if s.subscription_id in usable])
        return {name: _cover(mandate) for name, mandate in usable.items() if name in pulled}


def _pulled(unit: Unit, subscriptions: Sequence[Subscription]) -> frozenset[str]:
    """Return those whose gateway can send."""
    plans = unit.plan_versions({(s.plan_slug, s.plan_version) for s in subscriptions})
    sending = {gateway.slug for gateway in unit.gateways() if gateway.relayer is not None}
    return frozenset(
        s.subscription_id for s in subscriptions if plans[(s.plan_slug, s.plan_version)].gateway_slug in sending
    )


def _cover(mandate: Mandate) -> Cover:
    return Cover(
        mandate_id=mandate.mandate_id,
        chain_id=mandate.chain_id,
        token=mandate.asset.token,
        payer=mandate.payer,
        amount=mandate.charge_cap,
        until=mandate.expires_at,
        since=mandate.given_at or (mandate.on_chain.evidence.block_time if mandate.on_chain else None),
        plan=(mandate.plan_slug, mandate.plan_version),
        treasury=mandate.treasury,
    )
