"""What people have our own transactions do, and what they see of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from attrs import frozen

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import PaymentGateway
from evmbilling.domain.decisions import RecordAudit, StoreTransmission
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.sending.fences import MOST_IN_FLIGHT, Wallet, fence_post, fence_subject, is_fence
from evmbilling.domain.sending.lane_turns import approval_subject
from evmbilling.domain.sending.transmissions import (
    OPEN_TRANSMISSIONS,
    Purpose,
    SignedTransaction,
    Transmission,
    TransmissionStatus,
    withdraw,
)
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.readers import flag
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.refunds.refunds import Refunds
from evmbilling.engine.requests import parse_count, parse_page, parse_words
from evmbilling.engine.sending.coins import look_up_first
from evmbilling.engine.sending.relayed import effects_of
from evmbilling.engine.sending.withdrawing import audit_transmission
from evmbilling.errors import ConfigurationError, Conflict, NotFound
from evmbilling.ports.storage import Unit

SEND_WITHIN = timedelta(days=1)
"""How long a transaction that a person asked for may wait for its first sending."""
MOST_FENCED = 1000


@frozen(kw_only=True)
class Errand:
    """What a transmission is made from.

    Attributes:
        payload: the transaction, as a wallet would get it.
        not_after: it is not sent for the first time after this instant.

    """

    purpose: Purpose
    subject: str
    user_id: str | None
    network: str
    payload: WalletPayload
    not_after: datetime


def queue_errand(ports: Ports, unit: Unit, errand: Errand, gateway: PaymentGateway, sender: str) -> Transmission:
    """Return a transmission to store; its attempt counts the ones before, which must have failed.

    Raises:
        Conflict: one for the same purpose and subject is on its way, or succeeded.
        ConfigurationError: the gateway has no relayer.

    """
    before = unit.transmissions_of(errand.purpose, errand.subject)
    if any(one.status in OPEN_TRANSMISSIONS or one.status is TransmissionStatus.DONE for one in before):
        raise Conflict("a transaction for this is on its way", field="subject")
    if gateway.relayer is None:
        raise ConfigurationError(f"gateway {gateway.slug} has no relayer", field="relayer")
    now = ports.clock.now()
    return Transmission(
        transmission_id=ports.ids.new_id(),
        purpose=errand.purpose,
        subject=errand.subject,
        attempt=len(before) + 1,
        user_id=errand.user_id,
        network=errand.network,
        chain_id=errand.payload.chain_id,
        signer=gateway.relayer,
        sender=sender,
        to=errand.payload.to,
        value=errand.payload.value,
        data=errand.payload.data,
        gas=errand.payload.gas,
        gas_ceiling=gateway.gas_ceiling,
        not_after=errand.not_after,
        next_at=now,
        waiting_since=now,
        created_at=now,
    )


class Sending(AdminBase):
    """Our own transactions, for one actor: ``finance_ops`` sees them and has refunds sent."""

    def send_refund(self, refund_id: str, *, looked_up: bool = False) -> Transmission:
        """Have the relayer send a refund whose treasury is the relayer's own wallet; ``Engine.relay`` does it.

        What the treasury has to allow first is sent before it, as a transmission of its own, and mined by then; other
        refunds that need an approval of the same token wait for this one.

        Args:
            refund_id: which refund.
            looked_up: for a refund in the coin whose treasury has sent transactions that are not known here,
                as after a restore: a person has looked, and none of them is this refund.

        Raises:
            NotFound: there is no such refund.
            InputError: ``looked_up`` is neither true nor false.
            Conflict: its address is not proved, it is on its way, or its treasury is another wallet: prepare it and
                let that wallet send it. Or nobody has looked (``field`` is ``looked_up``), or its transaction is named.
            ConfigurationError: the gateway has no relayer, or this process does not hold its key.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name, looked = parse_opaque(refund_id, field="refund_id"), flag("looked_up")(looked_up)
        nonce = look_up_first(self._ports, self._runner, name, looked_up=looked)
        # Preparing it checks everything that a refund needs, and is the same transaction again when asked twice.
        payload = Refunds(self._ports, self._runner, self._actor).prepare(refund_id)

        def work(unit: Unit) -> Transmission:
            refund = _refund(unit, refund_id)
            if refund.user_id is not None:
                unit.lock_customers([refund.user_id])
                refund = _refund(unit, refund_id)
            if refund.status is not RefundStatus.PREPARED:
                raise Conflict("this refund is on its way or over", field="refund_id")
            gateway, sender = self._relayer(unit, refund)
            errand = Errand(
                purpose="refund",
                subject=f"refund:{refund_id}",
                user_id=refund.user_id,
                network=refund.network,
                payload=payload,
                not_after=self._ports.clock.now() + SEND_WITHIN,
            )
            made = queue_errand(self._ports, unit, errand, gateway, sender)
            queued = [made]
            if payload.approval is not None:
                first = attrs.evolve(
                    errand, subject=approval_subject(made.subject, made.attempt), payload=payload.approval
                )
                queued = [queue_errand(self._ports, unit, first, gateway, sender), made]
            for one in queued:
                unit.apply([StoreTransmission(one), self._audit("queue", one, nonce=nonce)])
            return made

        return self._runner.write(work)

    def withdraw(self, transmission_id: str) -> Transmission:
        """Take a transmission back: before it is signed at once, later by using up its nonce on chain.

        What is mined first counts: it may still happen.

        Raises:
            NotFound: there is no such transmission.
            Conflict: it is over.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name = parse_opaque(transmission_id, field="transmission_id")

        def work(unit: Unit) -> Transmission:
            before = _known(unit, name)
            if before.status not in OPEN_TRANSMISSIONS:
                raise Conflict("this transaction is over", field="transmission_id")
            after = withdraw(before, self._ports.clock.now())
            effects = effects_of(self._ports, unit, after) if after.status is not before.status else ()
            unit.apply([StoreTransmission(after), *effects, self._audit("withdraw", after)])
            return after

        return self._runner.write(work)

    def fence(self, gateway: str, network: str, *, count: int = MOST_IN_FLIGHT) -> Sequence[Transmission]:
        """Have the relayer use up the next nonces of its wallet, so that nothing signed with them before can be mined.

        For a database that was restored: what it has forgotten may still be in the pool of some node, and a chain
        mines one transaction of a nonce at most. Each nonce costs the gas of a transfer to oneself. Nothing else of the
        wallet is sent until all of them are used up for ever.

        Args:
            gateway: by slug; network: by name: whose relayer, and where.
            count: how many: no fewer than may have been signed since the backup and not mined; the relayer never has
                more than 64 on their way.

        Raises:
            NotFound: there is no such gateway.
            UnknownNetwork: there is no such network.
            InputError: the count is no number from 1 to 1000.
            Conflict: nonces of this wallet are being used up already.
            ConfigurationError: the gateway has no relayer, or this process does not hold its key.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        slug, name = parse_opaque(gateway, field="gateway"), parse_opaque(network, field="network")
        wanted = parse_count(count, field="count", most=MOST_FENCED)

        def work(unit: Unit) -> Sequence[Transmission]:
            wallet = self._wallet(unit, slug, name)
            if any(is_fence(one) for one in unit.lane(wallet.chain_id, wallet.address, 2 * MOST_IN_FLIGHT)):
                raise Conflict("nonces of this wallet are being used up already", field="gateway")
            fence_id, now = self._ports.ids.new_id(), self._ports.clock.now()
            attempt = len(unit.transmissions_of("burn", fence_subject(wallet))) + 1
            posts = [fence_post(fence_id, number, wallet, now, attempt=attempt) for number in range(1, wanted + 1)]
            unit.apply([StoreTransmission(one) for one in posts])
            unit.apply([self._audit("fence", posts[0])])
            return posts

        return self._runner.write(work)

    def transmission(self, transmission_id: str) -> Transmission:
        """Return one of our own transactions.

        Raises:
            NotFound: there is none.

        """
        name = parse_opaque(transmission_id, field="transmission_id")
        return self._read_only(lambda unit: _known(unit, name))

    def transmissions(self, *, states: Sequence[str] = (), after: str = "", limit: int = 100) -> Sequence[Transmission]:
        """Return a page of our own transactions by id, all or those in these states."""
        words = parse_words(states, TransmissionStatus, field="states")
        start, rows = parse_page(after, limit)
        return self._read_only(lambda unit: unit.transmissions(states=words, after=start, limit=rows))

    def versions(self, transmission_id: str) -> Sequence[SignedTransaction]:
        """Return everything that was signed for a transmission, oldest first; nothing for one that is not there.

        Raises:
            InputError: the id cannot be used.

        """
        name = parse_opaque(transmission_id, field="transmission_id")
        return self._read_only(lambda unit: unit.signed_versions([name]))

    def _audit(self, verb: str, sent: Transmission, *, nonce: int | None = None) -> RecordAudit:
        """Return the audit entry; with how much the wallet had sent when somebody had looked at that."""
        entry = audit_transmission(self._ports, self._actor.user_id, verb, sent).entry
        told = {} if nonce is None else {"nonce": str(nonce)}
        return RecordAudit(attrs.evolve(entry, changes={**entry.changes, **told}))

    def _wallet(self, unit: Unit, slug: str, name: str) -> Wallet:
        """Return the wallet of a gateway's relayer on a network."""
        gateway, (network, provider) = unit.gateway(slug), network_and_provider(self._ports, unit, name)
        if gateway is None:
            raise NotFound("there is no such gateway", field="gateway")
        if gateway.relayer is None:
            raise ConfigurationError(f"gateway {gateway.slug} has no relayer", field="relayer")
        return Wallet(
            network=network.name,
            chain_id=network.chain_id,
            signer=gateway.relayer,
            address=provider.relayer_address(gateway),
            gas_ceiling=gateway.gas_ceiling,
        )

    def _relayer(self, unit: Unit, refund: Refund) -> tuple[PaymentGateway, str]:
        """Return the gateway whose relayer is the refund's treasury, and that wallet."""
        order = unit.order(refund.ledger_id) if refund.ledger_id else None
        found = [order.gateway_slug] if order else [g.slug for g in unit.gateways()]
        gateways = [gateway for slug in found if (gateway := unit.gateway(slug)) is not None and gateway.relayer]
        if not gateways:
            raise ConfigurationError("no gateway of this refund has a relayer", field="relayer")
        _, provider = network_and_provider(self._ports, unit, refund.network)
        for gateway in gateways:
            if provider.relayer_address(gateway) == refund.treasury:
                return gateway, refund.treasury
        raise Conflict("the treasury of this refund is not the relayer's own wallet", field="treasury")


def _known(unit: Unit, transmission_id: str) -> Transmission:
    found = unit.transmission(transmission_id)
    if found is None:
        raise NotFound("there is no such transmission", field="transmission_id")
    return found


def _refund(unit: Unit, refund_id: str) -> Refund:
    found = unit.refund(refund_id)
    if found is None:
        raise NotFound("there is no such refund", field="refund_id")
    return found
