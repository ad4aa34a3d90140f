"""The relayer: sends our own transactions, each at most once, and follows them until the chain has decided.

One worker at a time serves a sender (a lease), and that is only for speed: a nonce is unique in storage, a hash is
stored before it is sent, and the bytes that were stored are what is sent again. So a worker that was stopped at any
place, or that wakes up late, sends nothing that another one does not know of.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Finality, Heights, Network
from evmbilling.domain.decisions import Decision, PostEntry, RecordSigned, StoreTransmission
from evmbilling.domain.reading.evidence import Lease
from evmbilling.domain.sending.fences import IN_POOL, MOST_IN_FLIGHT, is_fence
from evmbilling.domain.sending.lane_turns import AWAITS_RESET
from evmbilling.domain.sending.transmissions import (
    IN_FLIGHT,
    LOOK_AT_POOLS,
    LOOK_LONGEST,
    Fees,
    Look,
    MinedIn,
    SignedKind,
    SignedTransaction,
    Transmission,
    TransmissionStatus,
    follow,
    gas_entry,
    give_up,
    offer_fees,
    sent,
    signed,
    wait,
    wants_bump,
    wants_cancel,
)
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.refunds.naming import names_of_versions
from evmbilling.engine.sending.coins import NOT_LOOKED_UP, may_be_sent
from evmbilling.engine.sending.lane_turns import reset_before, turn_of
from evmbilling.engine.sending.relayed import coin_of, effects_of, objection_to
from evmbilling.engine.sending.unseen import Unseen
from evmbilling.errors import ConfigurationError, Conflict, ProviderError
from evmbilling.ports.crash import crash_point
from evmbilling.ports.storage import Unit
from evmbilling.ports.transmitter import Rehearsal, Transmitter

_log = logging.getLogger("evmbilling.relayer")
LEASE_SECONDS = 60
_CANCEL_GAS = 21_000
_FENCE_GAS = 100_000
"""Where a node does not say what sending nothing costs; one that fails uses its nonce up as well."""


@frozen(kw_only=True)
class RelayReport:
    """What one call of the relayer did.

    Attributes:
        signed: versions that were signed and stored. moved: transmissions whose status changed.
        lanes: senders that were served. busy: senders that another worker serves.
        failed: lanes that a node or a key did not let be served, by the code of the error.

    """

    signed: int = 0
    moved: int = 0
    lanes: int = 0
    busy: int = 0
    failed: Mapping[str, int] = attrs.field(factory=dict)


def run_relayer(ports: Ports, runner: Runner, *, limit: int) -> RelayReport:
    """Serve every sender that has something due; see :meth:`evmbilling.engine.core.Engine.relay`."""
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for chain_id, sender in runner.read(lambda unit: unit.due_lanes(ports.clock.now())):
        lease = ports.storage.acquire_lease(f"relayer:{chain_id}:{sender}", ports.worker, LEASE_SECONDS)
        if lease is None:
            counts["busy"] += 1
            continue
        counts["lanes"] += 1
        try:
            with ports.telemetry.span("billing.relay", chain_id=str(chain_id)):
                _serve(ports, runner, lease, chain_id, sender, limit, counts)
        except (ProviderError, ConfigurationError) as error:
            # A chain that cannot be asked holds up its own senders only.
            failed[error.code] += 1
        finally:
            ports.storage.release_lease(lease)
    return RelayReport(failed=dict(failed), **counts)


def _serve(  # noqa: PLR0917  - private; what a lane consists of
    ports: Ports, runner: Runner, lease: Lease, chain_id: int, sender: str, limit: int, counts: Counter[str]
) -> None:
    lane = runner.read(lambda unit: unit.lane(chain_id, sender, limit + MOST_IN_FLIGHT))
    if not lane:
        return
    network, provider = runner.read(lambda unit: network_and_provider(ports, unit, lane[0].network))
    chain = provider.transmitter(network)
    facts = _LaneFacts(
        network=network,
        chain=chain,
        unseen=Unseen(runner, chain, lane),
        counts=counts,
        most=limit + MOST_IN_FLIGHT,
    )
    worker = _Lane(ports, runner, lease, facts)
    worker.follow([one for one in lane if one.status in IN_FLIGHT])
    waiting = sum(one.status in IN_FLIGHT for one in lane)
    room = min(limit, max(MOST_IN_FLIGHT - waiting, 0))
    worker.begin([one for one in lane if one.status is TransmissionStatus.QUEUED][:room])


@frozen(kw_only=True)
class _LaneFacts:
    """What stays as it is while one lane is served.

    Attributes:
        chain: what sends there.
        unseen: what the wallet has sent and we do not know of.
        counts: of the report, added to.
        most: how many open transmissions of the sender are looked at.

    """

    network: Network
    chain: Transmitter
    unseen: Unseen
    counts: Counter[str]
    most: int


class _Lane:
    """One sender on one chain, under its lease."""

    def __init__(self, ports: Ports, runner: Runner, lease: Lease, facts: _LaneFacts) -> None:
        self._ports, self._runner, self._lease = ports, runner, lease
        self._network, self._chain, self._counts = facts.network, facts.chain, facts.counts
        self._unseen, self._most = facts.unseen, facts.most

    # -- what has a nonce

    def follow(self, lane: Sequence[Transmission]) -> None:
        """Look where every transmission with a nonce is, and send again, pay more or cancel where that is due."""
        due = [one for one in lane if one.next_at <= self._ports.clock.now()]
        if not due:
            return
        versions: dict[str, list[SignedTransaction]] = defaultdict(list)
        for version in self._runner.read(lambda unit: unit.signed_versions([one.transmission_id for one in due])):
            versions[version.transmission_id].append(version)
        irreversible = _irreversible(self._network.irreversible_after, self._chain.heights())
        mined = self._chain.mined([v.tx_hash for own in versions.values() for v in own])
        used = self._unseen.used_for_ever(due[0], irreversible)
        for one in due:
            own = versions[one.transmission_id]
            look = Look(
                mined=_newest(mined, own),
                irreversible=irreversible,
                used_for_ever=one.nonce is not None and one.nonce < used,
                pending=any(self._chain.pending(v.tx_hash) for v in own[-1:]),
            )
            after = self._write(one, follow(one, look, own, self._ports.clock.now()))
            if after is not None and look.mined is None and after.status in IN_FLIGHT:
                self._push(after, own, pending=look.pending)

    def _push(self, one: Transmission, versions: Sequence[SignedTransaction], *, pending: bool) -> None:
        """Bring a transmission nearer to a block: a version that cancels, one that pays more, or the same again."""
        newest, now = versions[-1], self._ports.clock.now()
        if wants_cancel(one, newest):
            self._sign(one, newest, kind="cancel")
        elif wants_bump(one, now) and pending:
            self._sign(one, newest, kind=newest.kind)
        elif not pending:
            self._send(one, newest)

    # -- what has none

    def begin(self, queued: Sequence[Transmission]) -> None:
        """Give a nonce to what is due and send it."""
        for one in queued:
            if one.next_at > self._ports.clock.now() or not self._still_ours():
                continue
            now = self._ports.clock.now()
            if now > one.not_after:
                self._write(one, give_up(one, one.failure_reason or "expired", now))
                continue
            turn = self._runner.read(partial(turn_of, one=one, most=self._most))
            if turn.step != "go":
                ends = turn.step == "end"
                self._write(one, give_up(one, turn.reason, now) if ends else wait(one, now, turn.reason))
                continue
            rehearsal = self._rehearse(one)
            held = None if rehearsal.problem is not None else self._unseen.reason(one)
            if rehearsal.problem == "reverts":
                self._refused(one)
            elif rehearsal.problem is not None or held is not None:
                longest = LOOK_AT_POOLS if held == IN_POOL else LOOK_LONGEST
                self._write(one, wait(one, now, rehearsal.problem or held, longest=longest))
            elif not may_be_sent(self._runner, self._chain, one):
                self._write(one, wait(one, now, NOT_LOOKED_UP))
            else:
                # A hard fork may have made it dearer than the binding's measured limit.
                self._sign(attrs.evolve(one, gas=max(one.gas, rehearsal.gas + rehearsal.gas // 8)), None)

    def _rehearse(self, one: Transmission) -> Rehearsal:
        found = self._chain.rehearse(one)
        return Rehearsal(gas=_FENCE_GAS) if found.problem == "reverts" and is_fence(one) else found

    def _refused(self, one: Transmission) -> None:
        """End what the chain would refuse; an approval is tried again when the allowance that stands is taken back."""
        now = self._ports.clock.now()
        first = self._runner.read(partial(reset_before, one=one, new_id=self._ports.ids.new_id(), now=now))
        if first is None:
            self._write(one, give_up(one, "reverts", now))
        else:
            self._write(one, wait(one, now, AWAITS_RESET), StoreTransmission(first))

    def _sign(self, one: Transmission, before: SignedTransaction | None, *, kind: SignedKind = "send") -> None:
        """Sign the next version, store it, then send it."""
        fees = self._offer(one, before, kind)
        if isinstance(fees, str):
            if before is None:
                self._write(one, wait(one, self._ports.clock.now(), fees))
            else:
                self._send(one, before)
            return
        nonce = one.nonce if one.nonce is not None else self._next_nonce(one)
        made = self._chain.sign(one, nonce, fees, cancel=kind == "cancel")
        now = self._ports.clock.now()
        version = SignedTransaction(
            transmission_id=one.transmission_id,
            seq=one.versions + 1,
            kind=kind,
            tx_hash=made.tx_hash,
            raw=made.raw,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
            signed_at=now,
        )
        after = self._write(one, signed(one, version, nonce, now), RecordSigned(version))
        if after is not None and after.status in IN_FLIGHT:
            self._counts["signed"] += 1
            self._send(after, version)

    def _offer(self, one: Transmission, before: SignedTransaction | None, kind: SignedKind) -> Fees | str:
        """Return the fees of the next version, or the code of why there is none."""
        gas = _CANCEL_GAS if kind == "cancel" else one.gas
        fees = offer_fees(
            self._chain.market(), before, gas=gas, ceiling=one.gas_ceiling, cap=self._network.gas_price_cap
        )
        if fees is None:
            return "gas_ceiling"
        if before is None and self._chain.balance(one.sender) < one.value + gas * fees.max_fee:
            return "relayer_funds"
        return fees

    def _next_nonce(self, one: Transmission) -> int:
        """Return the first nonce that neither the chain nor any transmission of ours has used."""
        last = self._runner.read(lambda unit: unit.last_nonce(one.chain_id, one.sender))
        mined = self._chain.nonce(one.sender)
        return mined if last is None else max(mined, last + 1)

    def _send(self, one: Transmission, version: SignedTransaction) -> None:
        crash_point("relayer.signed")
        outcome = self._chain.send(version.raw)
        crash_point("relayer.sent")
        self._ports.telemetry.count("transactions_sent", network=self._network.name, outcome=outcome)
        facts = {
            "tx_hash": "0x" + version.tx_hash.hex(),
            "user_id": one.user_id,
            "network": self._network.name,
            "subject": one.subject,
            "purpose": one.purpose,
            "nonce": one.nonce,
            "outcome": outcome,
        }
        _log.info("a transaction of ours was sent", extra=facts)
        self._write(one, sent(one, outcome, self._ports.clock.now()))

    # -- writing

    def _write(self, before: Transmission, after: Transmission, *more: Decision) -> Transmission | None:
        """Store a step with what follows from it; None when another worker was here meanwhile."""
        try:
            stored = self._runner.write(partial(self._commit, before, after, more))
        except Conflict:
            return None
        if before.status is not stored.status:
            self._counts["moved"] += 1
        return stored

    def _commit(self, before: Transmission, after: Transmission, more: Sequence[Decision], unit: Unit) -> Transmission:
        """Store a step, and return it; in place of a first signature that nobody wants any more, its end."""
        if before.status is TransmissionStatus.QUEUED and after.status is TransmissionStatus.SIGNED:
            objection = objection_to(self._ports, unit, before)
            if objection is not None:
                after, more = give_up(before, objection, self._ports.clock.now()), ()
        decisions: list[Decision] = [StoreTransmission(after), *more, *names_of_versions(unit, after, more)]
        if before.status is not after.status:
            decisions += effects_of(self._ports, unit, after)
        if after.status in {TransmissionStatus.DONE, TransmissionStatus.FAILED}:
            now, new_id = self._ports.clock.now(), self._ports.ids.new_id
            entry = gas_entry(after, coin_of(self._network), entry_id=new_id(), now=now)
            decisions += [PostEntry(entry)] if entry is not None else []
        unit.apply(decisions)
        return after

    def _still_ours(self) -> bool:
        renewed = self._ports.storage.acquire_lease(self._lease.name, self._lease.owner, LEASE_SECONDS)
        if renewed is None or renewed.fence != self._lease.fence:
            return False
        self._lease = renewed
        return True


def _newest(mined: Mapping[bytes, MinedIn], versions: Sequence[SignedTransaction]) -> MinedIn | None:
    """Return the version that is mined: of one nonce there is one at most."""
    return next((mined[v.tx_hash] for v in reversed(versions) if v.tx_hash in mined), None)


def _irreversible(rule: Finality, heights: Heights) -> int | None:
    """Return the highest block that a policy calls irreversible; None when there is none yet."""
    name, _ = rule.threshold(0, heights)
    reached = heights.of(name)
    if reached is None:
        return None
    if name == "head":
        reached -= rule.blocks - 1
    return reached if reached >= 0 else None
