"""Which charges under customers' mandates will fail: asked of the chain before they are due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import attrs
from attrs import frozen

from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.mandates.mandate_charges import Charge, state_problem
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.mandates.kept import is_kept
from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.storage import Unit

SOON: Final = timedelta(days=7)
MOST: Final = 50
"""Subscriptions of a network that are looked at, the next ones first: each is a question to a node."""
_SHOWN: Final = 5
_ANY: Final = bytes(32)
"""A reference that no order has."""


@frozen
class _Next:
    """The next charge of a subscription."""

    subscription: Subscription
    mandate: Mandate
    amount: int


def check_mandates(patient: Patient) -> Iterator[Finding]:
    """Ask the chain about the charges under mandates that fall due within a week."""
    for network in patient.networks:
        if any((c.network, c.kind) == (network.name, "mandates") for c in patient.contracts):
            yield _coming(patient, network)


def _coming(patient: Patient, network: Network) -> Finding:
    provider, failing = patient.provider(network), defaultdict[str, list[str]](list)
    if not isinstance(provider, MandateProvider):
        text = f"{network.name}: its provider knows no mandates"
        return Finding(check="mandates", verdict="warn", text=text, advice="archive the mandates contract")
    with patient.ports.storage.unit() as unit:  # what is due can be found by those who may write only
        coming = _due(patient, unit, network)
    for each in coming:
        problem = _problem(provider, network, each)
        if problem == "rpc_unknown":
            text = f"{network.name}: charges that fall due could not be asked about"
            return Finding(check="mandates", verdict="warn", text=text, advice="look again when its nodes answer")
        if problem is not None:
            failing[problem].append(each.subscription.subscription_id)
    if not failing:
        text = f"{network.name}: {len(coming)} charges under mandates fall due within {SOON.days} days, and can be made"
        return Finding(check="mandates", verdict="pass", text=text)
    count = sum(map(len, failing.values()))
    told = "; ".join(f"{reason}: {_some(ids)}" for reason, ids in sorted(failing.items()))
    text = f"{network.name}: {count} of the next {len(coming)} charges under mandates will fail ({told})"
    advice = "ask these customers to allow more, to fill their wallets or to give a new mandate before it is due"
    return Finding(check="mandates", verdict="warn", text=text, advice=advice)


def _due(patient: Patient, unit: Unit, network: Network) -> Sequence[_Next]:
    now = patient.ports.clock.now()
    due = [subscription_id for _, subscription_id in unit.claim_due(network.chain_id, now + SOON, MOST)]
    held = [s for s in unit.subscriptions(due).values() if s.next_charge_at and s.next_charge_at <= now + SOON]
    covers = {} if patient.ports.mandates is None else patient.ports.mandates.covers(unit, held)
    plans = unit.plan_versions({(s.plan_slug, s.plan_version) for s in held})
    found = []
    for subscription in held:
        cover = covers.get(subscription.subscription_id)
        mandate = None if cover is None else unit.mandate(cover.mandate_id)
        if mandate is None or mandate.chain_id != network.chain_id or is_kept(unit, mandate):
            continue  # the host charges it by itself, or nobody can, or the contract alone knows
        plan = plans[subscription.plan_slug, subscription.plan_version]
        prices = [p.amount * subscription.quantity for p in plan.prices if p.asset == mandate.asset]
        found.append(_Next(subscription, mandate, prices[0] if prices else mandate.charge_cap))
    return found


def _problem(provider: MandateProvider, network: Network, coming: _Next) -> str | None:
    at = coming.subscription.next_charge_at
    state = provider.charge_state(
        coming.mandate,
        Charge(reference=_ANY, amount=coming.amount, deadline=coming.mandate.expires_at),
        network,
    )
    if state is None or at is None:
        return "rpc_unknown"
    # Cap and end are those of the moment at which it will be charged.
    return state_problem(coming.mandate, coming.amount, attrs.evolve(state, time=max(at, state.time)))


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
