"""What every administrative call shares: the role check, reading fields, the audit entry in the same transaction."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.decisions import Decision, RecordAudit
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.admin.audit_facts import changed_facts
from evmbilling.engine.admin.catalogue_input import read_fields
from evmbilling.engine.admin.readers import Reader
from evmbilling.engine.context import Ports, Runner, T, Work
from evmbilling.errors import AlreadyExists, InputError, NotFound, VersionConflict
from evmbilling.ports.storage import Unit

R = TypeVar("R", Network, PaymentGateway, PaymentContract, SubscriptionPlan)


def check_actor(actor: object) -> None:
    """Check that somebody acts: an id that the audit can keep, and a set of roles.

    Raises:
        InputError: anything else.

    """
    if not isinstance(actor, Actor) or not isinstance(actor.roles, AbstractSet):
        raise InputError("an Actor with a set of roles is expected", field="actor")
    parse_opaque(actor.user_id, field="actor")


class AdminBase:
    """One actor, acting on billing."""

    def __init__(self, ports: Ports, runner: Runner, actor: Actor) -> None:
        check_actor(actor)
        self._ports = ports
        self._runner = runner
        self._actor = actor

    def _read(self, readers: dict[str, Reader], fields: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
        self._actor.require(Role.BILLING_ADMIN)
        return read_fields(readers, fields, kind)

    def _read_changes(
        self, readers: dict[str, Reader], changes: dict[str, Any], kind: type[Any], *, fixed: tuple[str, ...]
    ) -> dict[str, Any]:
        self._actor.require(Role.BILLING_ADMIN)
        for name in changes:
            if name in fixed:
                raise InputError("this field never changes", field=name)
            if name not in readers:
                raise InputError(f"a {kind.__name__} has no such field", field=name)
        return {name: readers[name](value) for name, value in changes.items()}

    def _save(self, unit: Unit, decision: Decision, action: str, name: str, facts: dict[str, Any]) -> None:
        entry = AuditEntry(
            audit_id=self._ports.ids.new_id(),
            actor=self._actor.user_id,
            action=action,
            object=name,
            changes=facts,
            recorded_at=self._ports.clock.now(),
        )
        unit.apply([decision, RecordAudit(entry)])

    def _archive(self, work: Work[T]) -> T:
        self._actor.require(Role.BILLING_ADMIN)
        return self._runner.write(work)

    def _read_only(self, work: Work[T]) -> T:
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        return self._runner.read(work)

    def _diff(self, before: Any, after: Any) -> dict[str, Any]:
        return changed_facts(before, after, self._mark)

    def _mark(self, ref: SecretRef) -> str:
        return self._ports.secrets.fingerprint(ref)


def absent(found: object, field: str) -> None:
    """Refuse a natural key that is taken.

    Raises:
        AlreadyExists: it is.

    """
    if found is not None:
        raise AlreadyExists(field=field)


def check_version(version: object) -> None:
    """Check the version that a caller read.

    Raises:
        InputError: it is no whole number.

    """
    if type(version) is not int:
        raise InputError("a version is a whole number", field="version")


def current(found: R | None, version: int, field: str) -> R:
    """Return the stored row if it is the version that the caller read.

    Raises:
        NotFound: there is none.
        VersionConflict: it is another version.

    """
    check_version(version)
    if found is None:
        raise NotFound(field=field)
    if found.version != version:
        raise VersionConflict(field="version", stored=found.version)
    return found
