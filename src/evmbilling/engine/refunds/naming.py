"""Naming the transaction that paid a refund in the chain's own coin: by a person, or by the relayer that signed it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import Decision, RecordAudit, RecordSigned, StoreProof, StoreRefund
from evmbilling.domain.identity import parse_hash, parse_opaque
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import KnownTransaction
from evmbilling.domain.refunds.proofs import (
    FAILED,
    RELAYER,
    TOO_EARLY,
    WHY,
    RefundProof,
    hastened,
    is_coin_refund,
    refused,
)
from evmbilling.domain.refunds.refunds import may_appear, move
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.refunds.addresses import audit_refund, known_refund
from evmbilling.engine.refunds.limits import check_alone
from evmbilling.engine.refunds.proofs import known_of, objection
from evmbilling.engine.refunds.record import NAMED, UNNAMED, check_decided
from evmbilling.errors import AlreadyExists, BillingError, Conflict, NotFound, VersionConflict
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


@frozen
class _Places:
    """Where a transaction may be: the refund's own network, and the others that are configured."""

    own: tuple[Network, Provider]
    others: tuple[tuple[Network, Provider], ...]


class NamedTransactions(AdminBase):
    """The transactions that paid refunds in the coin, for one actor."""

    def name_transaction(self, refund_id: str, *, tx_hash: str) -> RefundProof:
        """Say which transaction paid a refund in the chain's own coin, sent by a plain transfer from its treasury.

        The chain decides: it is looked at now and whenever the network is read, until its block cannot change any more.
        One that is not mined yet is kept and looked for, more and more rarely, up to once a day; after a day somebody
        is told (``billing.refund.not_mined.v1``). Naming it again has it looked for at the next reading. A refund that
        nobody has prepared counts as prepared by it. The relayer names what it sends by itself.

        Args:
            refund_id: which refund.
            tx_hash: ``0x`` and 64 hex digits.

        Raises:
            NotFound: there is no such refund.
            InputError: it is no hash.
            Conflict: it is not this refund (``reason`` says why), it is named for another one, the refund's address has
                not been proved, it is paid already, it leaves a log and needs no naming, or nobody has prepared it and
                it is too much for one person (``above_limit``).

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name, digest = parse_opaque(refund_id, field="refund_id"), parse_hash(tx_hash, field="tx_hash")
        sent = self._look(name, digest)
        work = partial(self._name, name=name, digest=digest, sent=sent)
        try:
            return self._runner.write(work)
        except (AlreadyExists, VersionConflict):
            return self._runner.write(work)  # it was named, or the refund signed, at the same moment: now that is there

    def unname_transaction(self, refund_id: str, *, tx_hash: str) -> RefundProof:
        """Take back a transaction that was named by mistake and that the chain has not shown; it may be named anew.

        Raises:
            NotFound: it is not named for this refund.
            InputError: it is no hash.
            Conflict: it is found on chain, or the relayer signed it.

        """
        self._actor.require(Role.FINANCE_OPS, Role.BILLING_ADMIN)
        name, digest = parse_opaque(refund_id, field="refund_id"), parse_hash(tx_hash, field="tx_hash")

        def work(unit: Unit) -> RefundProof:
            refund = _locked(unit, name)
            before = next((proof for proof in unit.proofs_of(name) if proof.tx_hash == digest), None)
            if before is None:
                raise NotFound("this transaction is not named for this refund", field="tx_hash")
            if before.state == "refused":
                return before
            if (
                before.named_by == RELAYER
                or before.state == "settled"
                or before.identity in unit.logs_of([before.identity])
            ):
                raise Conflict("this transaction is the refund's: the chain or the relayer says so", field="tx_hash")
            after = refused(before, "withdrawn")
            unit.apply([StoreProof(after), self._audit(refund, UNNAMED, after)])
            return after

        return self._runner.write(work)

    def transactions(self, refund_id: str) -> Sequence[RefundProof]:
        """Return the transactions that were named for a refund in the coin, the first one first.

        Raises:
            NotFound: there is no such refund.

        """
        name = parse_opaque(refund_id, field="refund_id")

        def work(unit: Unit) -> Sequence[RefundProof]:
            known_refund(unit, name)
            return unit.proofs_of(name)

        return self._read_only(work)

    def _look(self, refund_id: str, digest: bytes) -> KnownTransaction | None:
        """Ask the refund's network for a transaction; None while it does not know it, or no node answers.

        Raises:
            Conflict: another one of our networks has it.

        """
        places = self._runner.read(lambda unit: _places(self._ports, unit, refund_id))
        sent = _ask(*places.own, digest)
        if sent is None:
            for network, provider in places.others:
                if _ask(network, provider, digest) is not None:
                    raise Conflict(
                        f"this is a transaction of {network.name}, not of {places.own[0].name}",
                        field="tx_hash",
                        reason="other_network",
                    )
        return sent

    def _name(self, unit: Unit, *, name: str, digest: bytes, sent: KnownTransaction | None) -> RefundProof:
        refund = _locked(unit, name)
        before = next(iter(unit.proofs(refund.asset.chain_id, [digest])), None)
        if before is not None and before.state != "refused":
            if before.refund_id == name:
                return self._sooner(unit, refund, before)
            raise Conflict("this transaction is named for another refund", field="tx_hash", reason="named_for_another")
        _check_payable(refund)
        check_decided(self._ports, unit, refund)
        now = self._ports.clock.now()
        proof = _made(refund, digest, self._actor.user_id, now, before)
        if sent is not None:
            reason = objection(known_of(unit, proof.chain_id, [proof]), refund, sent) or _misplaced(unit, refund, sent)
            if reason is not None:
                raise Conflict(WHY[reason], field="tx_hash", reason=reason)
        decisions: list[Decision] = []
        if refund.status is RefundStatus.APPROVED:
            # One that is nowhere can be named and taken back: a second person is needed as for preparing.
            check_alone(unit, refund)
            refund = move(refund, RefundStatus.PREPARED, prepared_at=now)
            decisions += [StoreRefund(refund), audit_refund(self._ports, self._actor.user_id, refund, "prepare")]
        elif refund.status is RefundStatus.PREPARED:
            # The relayer's first signature writes this row as well, so of the two the second one looks again. Nobody's
            # money has no customer whose lock both would wait for.
            decisions.append(StoreRefund(attrs.evolve(refund, version=refund.version + 1)))
        unit.apply([*decisions, StoreProof(proof), self._audit(refund, NAMED, proof)])
        return proof

    def _sooner(self, unit: Unit, refund: Refund, named: RefundProof) -> RefundProof:
        """Look for what is named already at the next reading, where that would be late."""
        after = hastened(named, self._ports.clock.now())
        if after is None:
            return named
        unit.apply([StoreProof(after), self._audit(refund, NAMED, after)])
        return after

    def _audit(self, refund: Refund, verb: str, proof: RefundProof) -> RecordAudit:
        entry = audit_refund(self._ports, self._actor.user_id, refund, verb).entry
        told = {"chain_id": str(proof.chain_id), "tx_hash": "0x" + proof.tx_hash.hex()}
        return RecordAudit(attrs.evolve(entry, changes={**entry.changes, **told}))


def names_of_versions(unit: Unit, sent: Transmission, written: Sequence[Decision]) -> Sequence[Decision]:
    """Return what names the transactions that the relayer has just signed for a refund in the coin."""
    kind, _, name = sent.subject.partition(":")
    if sent.purpose != "refund" or kind != "refund":
        return ()
    signed = [one.signed for one in written if isinstance(one, RecordSigned) and one.signed.kind == "send"]
    refund = unit.refund(name) if signed else None
    if refund is None or not is_coin_refund(refund):
        return ()
    named: list[Decision] = []
    for version in signed:
        before = next(iter(unit.proofs(sent.chain_id, [version.tx_hash])), None)
        if before is None or before.state == "refused":
            named.append(StoreProof(_made(refund, version.tx_hash, RELAYER, version.signed_at, before)))
    return named


def is_named(unit: Unit, refund: Refund) -> bool:
    """Whether somebody has named a transaction that pays a refund, or may: then it is not sent once more."""
    if not is_coin_refund(refund):
        return False
    return any(p.state != "refused" and p.named_by != RELAYER for p in unit.proofs_of(refund.refund_id))


def _made(refund: Refund, digest: bytes, by: str, now: datetime, before: RefundProof | None) -> RefundProof:
    made = RefundProof(
        chain_id=refund.asset.chain_id,
        tx_hash=digest,
        refund_id=refund.refund_id,
        next_at=now,
        named_by=by,
        named_at=now,
    )
    return made if before is None else attrs.evolve(made, version=before.version + 1)


def _misplaced(unit: Unit, refund: Refund, sent: KnownTransaction) -> str | None:
    """Return why a transaction cannot be a refund as it is mined; None where it can, or is not mined.

    The treasury may have sent its customer as much before, for another reason. Only who names it is refused: what was
    named before it was mined may stand before the payment for a moment, while a reorganisation puts both back.
    """
    if sent.block is None:
        return None
    if not sent.succeeded:
        return FAILED
    paid = list(unit.receipts_of_orders([refund.ledger_id])) if refund.ledger_id is not None else []
    if refund.receipt_id is not None:
        paid += unit.receipts([refund.receipt_id]).values()
    blocks = [one.evidence.block_number for one in paid if one.evidence is not None]
    return TOO_EARLY if blocks and sent.block.number < min(blocks) else None


def _check_payable(refund: Refund) -> None:
    """Refuse a refund that no transaction can be named for.

    Raises:
        Conflict: see there.

    """
    if not is_coin_refund(refund):
        raise Conflict("this refund leaves a log, by which it is found", field="refund_id", reason="leaves_a_log")
    if refund.evidence is not None:
        raise Conflict("this refund is paid already", field="refund_id", reason="paid_by_another")
    if refund.address is None or refund.address_confirmed_at is None:
        raise Conflict("nobody has proved yet where this refund goes", field="address")
    if refund.status is not RefundStatus.APPROVED and not may_appear(refund):
        raise Conflict("this refund waits for a second person, or is over", field="refund_id", reason=refund.status)


def _locked(unit: Unit, refund_id: str) -> Refund:
    refund = known_refund(unit, refund_id)
    if refund.user_id is not None:
        unit.lock_customers([refund.user_id])
        refund = known_refund(unit, refund_id)
    return refund


def _places(ports: Ports, unit: Unit, refund_id: str) -> _Places:
    refund = known_refund(unit, refund_id)
    in_use = [network.name for network in unit.networks() if network.archived_at is None]
    others = [name for name in in_use if name != refund.network]
    return _Places(
        network_and_provider(ports, unit, refund.network),
        tuple(network_and_provider(ports, unit, name) for name in others),
    )


def _ask(network: Network, provider: Provider, digest: bytes) -> KnownTransaction | None:
    """Ask a network for a transaction; a node that cannot be asked now is asked again when the network is read."""
    try:
        return provider.chain(network).transactions([digest]).get(digest)
    except BillingError:
        return None
