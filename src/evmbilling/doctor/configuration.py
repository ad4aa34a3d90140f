"""Checks of the configuration: secrets, selected hooks, and what differs from the stored rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.messages.hints import parse_secrets
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.admin.limits import idle_limits
from evmbilling.engine.admin.secrets import formerly_sealed, keepers
from evmbilling.errors import BillingError
from evmbilling.plugins.conformance import problems
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.settings import (
    gateways_from,
    networks_from,
    relay_keys_of,
    seal_keys_of,
    stored_references,
    strange_options,
    strange_variables,
)
from evmbilling.settings.values import keys_of

_FEWEST_KINDS: Final = 12
"""Different bytes in a key: 24 random ones have fewer in one of ten million million."""
_OURS: Final = frozenset({"version", "archived_at"})


def check_secrets(patient: Patient) -> Iterator[Finding]:
    """See that keys were drawn at random: one of a few bytes repeated, or of text, can be guessed."""
    weak = [name for name, key in _keys(patient) if is_weak(key)]
    for name in weak:
        advice = "make one from random bytes; see the playbook for its rotation"
        yield Finding(check="secrets", verdict="fail", text=f"{name} can be guessed", advice=advice)
    yield from _hidden(patient)
    yield from _formerly_sealed(patient)
    if not weak:
        yield Finding(check="secrets", verdict="pass", text="keys look random")


def _formerly_sealed(patient: Patient) -> Iterator[Finding]:
    with patient.ports.storage.unit(write=False) as unit:
        former = [(name, ref) for name, keeper in keepers(unit) for ref in formerly_sealed(patient.secrets, keeper)]
    lost = [name for name, ref in former if not _opens(patient, ref)]
    if lost:
        text = f"{len(lost)} stored secrets cannot be read with BILLING_SECRET_KEY: {', '.join(dict.fromkeys(lost))}"
        advice = "put the key that sealed them behind the newest; where it is lost, give these rows their secrets anew"
        yield Finding(check="secrets", verdict="fail", text=text, advice=advice)
    if count := len(former) - len(lost):
        advice = "run `evmbilling secrets reseal`; until then the former keys have to stay where they are"
        text = f"{count} stored secrets are not sealed under the newest key of BILLING_SECRET_KEY"
        yield Finding(check="secrets", verdict="warn", text=text, advice=advice)


def is_weak(key: bytes) -> bool:
    """Whether a key is text, or has too few different bytes to be random."""
    return len(set(key)) < _FEWEST_KINDS or all(chr(byte).isprintable() and byte < 128 for byte in key)  # noqa: PLR2004  - ASCII


def _keys(patient: Patient) -> Iterator[tuple[str, bytes]]:
    settings = patient.settings
    for key in keys_of(settings.secret_key):
        yield "BILLING_SECRET_KEY", key
    for key in seal_keys_of(settings)[:1]:  # a weak one that was exchanged is still there, for the links that it made
        yield "BILLING_SEAL_KEY", key
    for key in relay_keys_of(settings):
        yield "BILLING_WEBHOOK_SECRET", key
    for contract in patient.contracts:
        if contract.webhook_secret is not None:
            name = f"webhook_secret of {contract.slug} on {contract.network}"
            yield from ((name, key) for key in _revealed(patient, contract.webhook_secret))


def _opens(patient: Patient, ref: SecretRef) -> bool:
    try:
        return bool(patient.secrets.reveal(ref))
    except BillingError:
        return False


def _revealed(patient: Patient, ref: SecretRef) -> tuple[bytes, ...]:
    try:
        return parse_secrets(patient.secrets.reveal(ref))
    except (BillingError, ValueError):
        return ()  # said by _hidden


def _hidden(patient: Patient) -> Iterator[Finding]:
    """Yield what cannot be opened with the keys that are here."""
    for contract in patient.contracts:
        if contract.webhook_secret is not None and not _revealed(patient, contract.webhook_secret):
            text = f"the webhook_secret of {contract.slug} on {contract.network} cannot be read"
            advice = "set BILLING_SECRET_KEY as it was when it was stored, or what the reference names"
            yield Finding(check="secrets", verdict="fail", text=text, advice=advice)


def check_settings(patient: Patient) -> Iterator[Finding]:
    """Name variables that look like settings and are none, and options that nobody reads."""
    settings, ports, manager = patient.settings, patient.ports, patient.engine.plugins
    strange = strange_variables(os.environ, settings, stored_references(ports.storage))
    for variable in strange:
        advice = "correct the name, or unset it; docs/reference/settings.md lists all"
        yield Finding(check="settings", verdict="warn", text=str(variable), advice=advice)
    selected = {
        "storage": [settings.storage],
        "provider": list(ports.providers),
        "notifier": list(ports.notifiers),
        "quota": list(ports.quotas),
        "signer": manager.signers.names(),
    }
    unread = strange_options(settings, selected)
    for key in unread:
        text = f"BILLING_PLUGIN_OPTIONS: nothing reads the options of {key}"
        advice = "correct the name, or select it (BILLING_NOTIFIERS, BILLING_QUOTA, BILLING_STORAGE)"
        yield Finding(check="settings", verdict="warn", text=text, advice=advice)
    if not (strange or unread):
        yield Finding(check="settings", verdict="pass", text="every variable BILLING_… is a setting")


def check_hooks(patient: Patient) -> Iterator[Finding]:
    """See that what is selected by name does all that it is asked for."""
    manager = patient.engine.plugins
    built: list[tuple[str, str, object, type]] = [
        *(("notifier", name, made, Notifier) for name, made in patient.ports.notifiers.items()),
        *(("quota", name, made, QuotaBackend) for name, made in patient.ports.quotas.items()),
        *(("provider", name, made, Provider) for name, made in patient.ports.providers.items()),
    ]
    for role, name, made, port in built:
        found = problems(made, port)
        text = f"{role} {name}: {'; '.join(found)}" if found else f"{role} {name} conforms"
        advice = "install another version of its plugin" if found else ""
        yield Finding(check="hooks", verdict="fail" if found else "pass", text=text, advice=advice)
    if not patient.ports.notifiers:
        advice = "name some in BILLING_NOTIFIERS, or register webhook endpoints"
        yield Finding(
            check="hooks", verdict="warn", text="no notifier is selected: people are told nothing", advice=advice
        )
    text = f"storage {patient.settings.storage}; plugins: {', '.join(manager.plugins)}"
    yield Finding(check="hooks", verdict="pass", text=text)


def check_misfits(patient: Patient) -> Iterator[Finding]:
    """Name limits for tokens that nothing is priced in; when a gateway is made, before its plans, nobody can know."""
    with patient.ports.storage.unit(write=False) as unit:
        idle = [(gateway.slug, symbol) for gateway in patient.gateways for symbol in idle_limits(unit, gateway)]
    for slug, symbol in idle:
        text = f"gateway {slug} has a limit for {symbol}, in which nothing is priced: it holds nothing up"
        advice = "correct the symbol in its misfits (approval_above, dust_below), or leave it out"
        yield Finding(check="misfits", verdict="warn", text=text, advice=advice)
    if not idle:
        yield Finding(check="misfits", verdict="pass", text="every limit is for a token that something is priced in")


def check_drift(patient: Patient) -> Iterator[Finding]:
    """Name fields in which the environment and the stored rows differ: the environment only adds what is absent."""
    stored: dict[str, dict[str, Any]] = {
        "network": {n.name: n for n in patient.networks},
        "gateway": {g.slug: g for g in patient.gateways},
    }
    given: dict[str, dict[str, Any]] = {
        "network": {n.name: n for n in networks_from(patient.settings, patient.secrets.seal)},
        "gateway": {g.slug: g for g in gateways_from(patient.settings)},
    }
    different = [
        f"{kind} {name}: {', '.join(fields)}"
        for kind, rows in given.items()
        for name, row in rows.items()
        if (fields := _differing(patient, row, stored[kind].get(name)))
    ]
    for text in different:
        advice = "the stored row holds: change it with the administration, or bring the environment in line"
        yield Finding(check="drift", verdict="warn", text=f"{text} differ from the environment", advice=advice)
    if not different:
        yield Finding(check="drift", verdict="pass", text="the environment and the stored rows agree")


def _differing(patient: Patient, given: Any, stored: Any) -> list[str]:
    if stored is None:
        return ["all (it is archived)"]
    names = [a.name for a in attrs.fields(type(given)) if a.name not in _OURS]
    return [n for n in names if _plain(patient, getattr(given, n)) != _plain(patient, getattr(stored, n))]


def _plain(patient: Patient, value: Any) -> Any:
    """Return a value for comparison; secrets by their fingerprint, because ciphertexts always differ."""
    if isinstance(value, SecretRef):
        try:
            return patient.secrets.reveal(value)
        except BillingError:
            return value.stored
    if isinstance(value, tuple):
        return tuple(_plain(patient, item) for item in value)
    return dict(value) if isinstance(value, Mapping) else value
