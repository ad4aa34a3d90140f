"""Sealing stored secrets again, so that a former key can be taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.decisions import Decision, RecordAudit, SaveContract, SaveEndpoint, SaveGateway, SaveNetwork
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.messages.messages import WebhookEndpoint
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.books.sealing import begin_anew
from evmbilling.errors import ConfigurationError
from evmbilling.ports.secrets import Secrets
from evmbilling.ports.storage import Unit

Keeper = Network | PaymentGateway | PaymentContract | WebhookEndpoint
"""What holds secrets."""


class SecretsAdmin(AdminBase):
    """The secrets that are stored."""

    def reseal_secrets(self) -> dict[str, int]:
        """Seal every stored secret of a former key under the newest, all or none.

        Transactions that are under way keep the reference that they were ordered with: their key is needed until
        they are done.

        Returns:
            how many secrets were sealed again, by what holds them, such as ``network:main``.

        Raises:
            ConfigurationError: one was made with a key that is not here; says what holds it. Nothing is changed then.

        """
        self._actor.require(Role.BILLING_ADMIN)
        return self._runner.write(self._reseal)

    def seal_anew(self) -> int:
        """Let the chain of seals go on with this process's key though it does not have the one before, which is lost.

        What the lost key has sealed cannot be proved any more; ``verify --full`` names it. Where that key is only
        missing here, set it behind the new one: then nothing has to be done.

        Returns:
            the number of the new link.

        Raises:
            SealKeyRefused: this key is a former one.
            Conflict: the newest link is this key's already, or there is none.
            ConfigurationError: there is no seal key.

        """
        self._actor.require(Role.BILLING_ADMIN)

        def work(unit: Unit) -> int:
            entry = AuditEntry(
                audit_id=self._ports.ids.new_id(),
                actor=self._actor.user_id,
                action="seals.anew",
                object="seals",
                recorded_at=self._ports.clock.now(),
                changes={},
            )
            return begin_anew(self._ports, unit, RecordAudit(entry)).number

        return self._runner.write(work)

    def _reseal(self, unit: Unit) -> dict[str, int]:
        done: dict[str, int] = {}
        for name, keeper in keepers(unit):
            former = formerly_sealed(self._ports.secrets, keeper)
            if former:
                done[name] = len(former)
                renewed = self._renew(name, keeper)
                self._save(unit, renewed, "secrets.reseal", name, {"secrets": len(former)})
        return done

    def _renew(self, name: str, keeper: Keeper) -> Decision:
        try:
            return _renewed(self._ports.secrets, keeper)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error.message} (in {name})", field=error.field) from None


def keepers(unit: Unit) -> Iterator[tuple[str, Keeper]]:
    """Yield all that holds secrets, archived too, by the names of the audit log."""
    yield from ((f"network:{one.name}", one) for one in unit.networks())
    yield from ((f"gateway:{one.slug}", one) for one in unit.gateways())
    yield from ((f"contract:{one.slug}@{one.network}", one) for one in unit.contracts())
    yield from ((f"endpoint:{one.endpoint_id}", one) for one in unit.endpoints())


def secrets_of(keeper: Keeper) -> Iterator[SecretRef]:
    """Yield the references of a row."""
    for name in attrs.fields_dict(type(keeper)):
        value = getattr(keeper, name)
        yield from (one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, SecretRef))


def formerly_sealed(secrets: Secrets, keeper: Keeper) -> list[SecretRef]:
    """Return what a row holds that a former key has sealed."""
    return [ref for ref in secrets_of(keeper) if secrets.former(ref)]


def _renewed(secrets: Secrets, keeper: Keeper) -> Decision:
    """Return the decision that keeps the row with all its secrets under the newest key."""

    def again(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(again, value))
        former = isinstance(value, SecretRef) and secrets.former(value)
        return secrets.seal(secrets.reveal(value)) if former else value

    values = {name: getattr(keeper, name) for name in attrs.fields_dict(type(keeper))}
    changed = {name: after for name, value in values.items() if (after := again(value)) != value}
    after = attrs.evolve(keeper, **changed, version=keeper.version + 1)
    match after:
        case Network():
            return SaveNetwork(after)
        case PaymentGateway():
            return SaveGateway(after)
        case PaymentContract():
            return SaveContract(after)
        case WebhookEndpoint():
            return SaveEndpoint(after)
