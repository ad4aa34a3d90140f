"""The table of all checks, and running them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from evmbilling.doctor import chains, configuration, database, limits, mandates, refunds, sending, work
from evmbilling.doctor.findings import Diagnosis, Finding
from evmbilling.doctor.patient import Patient
from evmbilling.errors import BillingError

if TYPE_CHECKING:
    from evmbilling.settings import BillingSettings

BEFORE: Final[dict[str, Callable[[BillingSettings], Iterable[Finding]]]] = {
    "migrations": database.check_tables,
    "database": database.check_database,
}
"""Checks that need the settings only: an engine cannot be made without its tables."""

CHECKS: Final[dict[str, Callable[[Patient], Iterable[Finding]]]] = {
    "settings": configuration.check_settings,
    "secrets": configuration.check_secrets,
    "hooks": configuration.check_hooks,
    "misfits": configuration.check_misfits,
    "drift": configuration.check_drift,
    "nodes": chains.check_nodes,
    "limits": limits.check_limits,
    "contracts": chains.check_contracts,
    "signers": chains.check_signers,
    "relayers": sending.check_relayers,
    "refunds": refunds.check_refunds,
    "allowances": sending.check_allowances,
    "mandates": mandates.check_mandates,
    "readers": work.check_readers,
    "workers": work.check_workers,
    "clock": work.check_clock,
    "messages": work.check_messages,
    "seals": work.check_seals,
}
"""Checks of an engine, in the order in which they are told."""


def examine(settings: BillingSettings) -> Diagnosis:
    """Run every check. Nothing is changed, but networks and gateways of the settings are added where absent.

    A check that fails itself is a finding: the others are run all the same.
    """
    from evmbilling.factory import BillingEngine

    found: list[Finding] = []
    if settings.storage == "sqlalchemy":
        for name, check in BEFORE.items():
            found += _tried(name, partial(check, settings))
    try:
        engine = BillingEngine.from_settings(settings)
    except BillingError as error:
        return Diagnosis((*found, _failed("engine", error)))
    try:
        patient = Patient(settings, engine)
        for name, examination in CHECKS.items():
            found += _tried(name, partial(examination, patient))
    finally:
        engine.close()
    return Diagnosis(tuple(found))


def _tried(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except BillingError as error:
        yield _failed(name, error)
    except Exception as error:  # noqa: BLE001  - one check that breaks must not hide the others
        text = f"the check itself failed: {type(error).__name__}"
        yield Finding(check=name, verdict="fail", text=text, advice="report it with the version of this package")


def _failed(name: str, error: BillingError) -> Finding:
    advice = "correct what is named; the database has to answer, and its tables to be there (`evmbilling db upgrade`)"
    return Finding(check=name, verdict="fail", text=str(error), advice=advice)
