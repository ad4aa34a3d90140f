"""Webhook intake: accepted hints are stored and answered; a worker reads the chain, which alone moves money."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.decisions import Publish, StoreInboxItem
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.hints import RETRIES, Hint, parse_secrets, read_hint
from evmbilling.domain.messages.messages import InboxItem
from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.each_network import each_network
from evmbilling.engine.reading.reader import read_chain
from evmbilling.errors import AlreadyExists, ConfigurationError, LeaseLost, ProviderError, WebhookRejected
from evmbilling.ports.correlation import correlation
from evmbilling.ports.lanes import Call
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.webhooks")
OWN_SOURCE = "relay"
"""The source whose secret is the host's own setting, for relays that serve every contract."""

LONGEST_READ = timedelta(seconds=60)
"""How long a call of the hint worker waits for one chain; what is not found by then is looked for later."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Keys = Mapping[int, Sequence[bytes]]
"""The keys of a source, by the chain that they may speak about."""


@frozen(kw_only=True)
class WebhookReceipt:
    """That a webhook was accepted.

    Attributes:
        replayed: the same webhook was accepted before; nothing happened now.
        status: the HTTP status that fits: 202, or 200 for a replay.

    """

    source: str
    event_id: str
    replayed: bool
    status: int


@frozen(kw_only=True)
class HintsReport:
    """What one call of the hint worker did: transactions found, looked for again later, given up."""

    found: int = 0
    waiting: int = 0
    dead: int = 0


def handle_webhook(ports: Ports, runner: Runner, source: str, body: bytes, headers: Headers) -> WebhookReceipt:
    """Accept a webhook or say why not; see :meth:`evmbilling.engine.core.Engine.handle_webhook`."""
    try:
        if source == OWN_SOURCE and ports.relay_keys:
            # Nothing has to be looked up before the signature is checked: whoever cannot sign costs no transaction.
            keys = None
            hint = read_hint(body, headers, ports.relay_keys, ports.clock.now())
        else:
            keys = _keys(ports, runner, source)
            hint = read_hint(body, headers, [key for own in keys.values() for key in own], ports.clock.now())
            if hint.chain_id in keys:
                # Contracts of one name on several networks: each key speaks about the network of its own contract.
                read_hint(body, headers, keys[hint.chain_id], ports.clock.now())
        with ports.telemetry.span("billing.webhook"):
            receipt = _store(ports, runner, source, hint, keys)
    except WebhookRejected as rejected:
        ports.telemetry.count("webhooks_rejected", reason=rejected.reason)
        times = ports.sampler.times(f"webhook {rejected.reason}")
        if times is not None:
            facts = {"reason": rejected.reason, "times": times, **correlation()}
            _log.warning("a webhook was refused", extra=facts)
        raise
    ports.telemetry.count("webhooks_accepted", replayed="yes" if receipt.replayed else "no")
    return receipt


def read_hints(ports: Ports, runner: Runner, *, limit: int) -> HintsReport:
    """Look for the transactions of due hints; see :meth:`evmbilling.engine.core.Engine.read_hints`."""
    taken = runner.write(lambda unit: _take(ports, unit, limit))
    by_chain: dict[int, list[InboxItem]] = defaultdict(list)
    for item in taken:
        by_chain[item.chain_id].append(item)
    total = HintsReport()
    with each_network(ports) as attempt:
        for chain_id, error in _wake_readers(ports, runner, by_chain):
            report = attempt(partial(_settle_chain, ports, runner, chain_id, by_chain[chain_id], error))
            total = _sum(total, report) if report is not None else total
    return total


def _wake_readers(ports: Ports, runner: Runner, chain_ids: Iterable[int]) -> Iterator[tuple[int, BaseException | None]]:
    """Read chains on beside each other; give each as soon as it has been read, or cannot be in time."""
    lanes = {f"reader:{chain_id}": chain_id for chain_id in chain_ids}
    calls = {
        lane: [Call(partial(_wake_reader, ports, runner, chain_id), LONGEST_READ)]
        for lane, chain_id in lanes.items()
        if ports.lanes.has_room(lane)
    }
    yield from ((chain_id, None) for lane, chain_id in lanes.items() if lane not in calls)
    for ended in ports.lanes.run(calls, LONGEST_READ):
        for one in ended:
            if one.overdue:
                ports.telemetry.count("hint_reads_failed", network=one.lane, reason="overdue")
            yield lanes[one.lane], one.error


def _settle_chain(
    ports: Ports, runner: Runner, chain_id: int, items: Sequence[InboxItem], error: BaseException | None
) -> HintsReport:
    if error is not None:
        raise error
    return runner.write(partial(_settle, ports, chain_id, items))


def _sum(one: HintsReport, other: HintsReport) -> HintsReport:
    return HintsReport(found=one.found + other.found, waiting=one.waiting + other.waiting, dead=one.dead + other.dead)


def _keys(ports: Ports, runner: Runner, source: str) -> Keys:
    """Return the keys of a contract's source that can be used, by the chain that they may speak about."""

    def load(unit: Unit) -> list[tuple[int, SecretRef]]:
        bound = [c for c in unit.contracts() if c.slug == source]
        return [(c.chain_id, c.webhook_secret) for c in bound if c.webhook_secret is not None]

    if source == OWN_SOURCE:
        raise WebhookRejected("unknown_source", "there is no such source")
    refs = runner.read(load)
    if not refs:
        raise WebhookRejected("unknown_source", "there is no such source")
    keys: dict[int, list[bytes]] = defaultdict(list)
    for chain_id, ref in refs:
        try:
            own = parse_secrets(ports.secrets.reveal(ref))
        except (ValueError, ConfigurationError):
            # The host's mistake, which costs the hints of this contract and of no other under its name.
            ports.telemetry.count("webhook_secrets_unusable")
        else:
            keys[chain_id] += own
    if not keys:
        # The sender learns no more than that this source cannot be used.
        raise WebhookRejected("unknown_source", "there is no such source")
    return dict(keys)


def _store(ports: Ports, runner: Runner, source: str, hint: Hint, keys: Keys | None) -> WebhookReceipt:
    """Store a hint whose signature is right; ``keys`` is None where the source may speak about every network."""
    now = ports.clock.now()
    item = InboxItem(
        source=source,
        event_id=hint.event_id,
        digest=hint.digest,
        body=hint.body,
        chain_id=hint.chain_id,
        tx_hash=hint.tx_hash,
        received_at=now,
        retry_at=now,
    )
    chains = None if keys is None else frozenset(keys)
    known = _insert(ports, runner, item, chains)
    if known is not None and known.digest != hint.digest and keys is not None:
        known = _beside(ports, runner, known, item, keys)
    if known is not None and known.digest != hint.digest:
        _tell_conflict(ports, runner, known, hint, source)
        raise WebhookRejected("conflict", "another body was accepted under this id")
    replayed = known is not None
    return WebhookReceipt(source=source, event_id=hint.event_id, replayed=replayed, status=200 if replayed else 202)


def _insert(ports: Ports, runner: Runner, item: InboxItem, chains: frozenset[int] | None) -> InboxItem | None:
    """Insert a hint; return the one that was accepted under its id before, None when it is new."""
    try:
        runner.write(partial(_accept, ports, item, chains))
    except AlreadyExists:
        # Only the row itself says that an id is not new, whoever else delivers it in the same instant.
        known = runner.read(lambda unit: unit.inbox_item(item.source, item.event_id))
        return item if known is None else known
    return None


def _beside(ports: Ports, runner: Runner, known: InboxItem, item: InboxItem, keys: Keys) -> InboxItem | None:
    """Return what a hint of a name repeats or contradicts whose id was used for another body; None when it is new.

    What its own network's relay told under this id before comes first, whatever the secrets are by now: sent again, it
    is the same webhook, also when both networks have come to share a secret.
    """
    own = attrs.evolve(item, source=f"{item.source}@{item.chain_id}")
    if _is_of_another_relay(known, item, keys):
        return _insert(ports, runner, own, frozenset(keys))
    return runner.read(lambda unit: unit.inbox_item(own.source, own.event_id)) or known


def _is_of_another_relay(known: InboxItem, item: InboxItem, keys: Keys) -> bool:
    """Whether two hints of one name come from relays that have nothing to do with each other.

    A contract's name stands for one contract a network. Where each has a secret of its own, each relay counts its
    webhooks by itself; who holds a secret of both contradicts itself.
    """
    return known.chain_id != item.chain_id and not set(keys.get(known.chain_id, ())) & set(keys[item.chain_id])


def _accept(ports: Ports, item: InboxItem, chains: frozenset[int] | None, unit: Unit) -> None:
    """Insert a hint about a chain that its source may speak about.

    Raises:
        AlreadyExists: there is one under this id.

    """
    if item.chain_id not in (_networks(ports, item.chain_id, unit) if chains is None else chains):
        raise WebhookRejected("bad_body", "this source speaks about other chains")
    unit.apply([StoreInboxItem(item)])


def _networks(ports: Ports, chain_id: int, unit: Unit) -> Collection[int]:
    """Return chains that have a network, all of them when this one is not among those that were seen before.

    A network never goes, and never changes its chain: what was seen once stays so. What is missing is looked for again.
    """
    if chain_id not in ports.seen_chains:
        ports.seen_chains.update(network.chain_id for network in unit.networks())
    return ports.seen_chains


def _tell_conflict(ports: Ports, runner: Runner, known: InboxItem, hint: Hint, source: str) -> None:
    """Publish that a source contradicts itself: once for each id, however often it is sent."""
    now = ports.clock.now()
    event = Event(
        event_id=ports.ids.new_id(),
        type=EventType.WEBHOOK_CONFLICTED,
        aggregate=f"webhook:{known.source}:{known.event_id}",
        seq=1,
        occurred_at=now,
        recorded_at=now,
        data={
            "source": source,
            "webhook_id": known.event_id,
            "first_digest": known.digest.hex(),
            "first_tx_hash": "0x" + known.tx_hash.hex(),
            "received_at": known.received_at.isoformat(),
            "other_digest": hint.digest.hex(),
            "other_chain_id": hint.chain_id,
            "other_tx_hash": "0x" + hint.tx_hash.hex(),
        },
    )
    try:
        runner.write(lambda unit: unit.apply([Publish(event)]))
    except AlreadyExists:
        ports.telemetry.count("webhook_conflicts_repeated")


def _take(ports: Ports, unit: Unit, limit: int) -> Sequence[InboxItem]:
    """Claim due hints and push them back at once: a worker that dies leaves them to the next one."""
    now = ports.clock.now()
    taken = [
        attrs.evolve(
            item,
            attempts=item.attempts + 1,
            retry_at=now + RETRIES[min(item.attempts, len(RETRIES) - 1)],
            version=item.version + 1,
        )
        for item in unit.claim_inbox(now, limit)
    ]
    unit.apply([StoreInboxItem(item) for item in taken])
    return taken


def _wake_reader(ports: Ports, runner: Runner, chain_id: int) -> None:
    """Read the chain on. What the hint says is not believed: only what the reader finds becomes evidence."""
    names = runner.read(lambda unit: [n.name for n in unit.networks() if n.chain_id == chain_id])
    for name in names:
        try:
            read_chain(ports, runner, name, max_blocks=1000)
        except (ProviderError, LeaseLost) as error:
            ports.telemetry.count("hint_reads_failed", network=name, reason=error.code)


def _settle(ports: Ports, chain_id: int, items: Sequence[InboxItem], unit: Unit) -> HintsReport:
    seen = {log.tx_hash for log in unit.logs_of_transactions(chain_id, {i.tx_hash for i in items})}
    found = [i for i in items if i.tx_hash in seen]
    given_up = [i for i in items if i.tx_hash not in seen and i.attempts > len(RETRIES)]
    done = [attrs.evolve(i, state="done", reason=None, version=i.version + 1) for i in found]
    dead = [attrs.evolve(i, state="dead", reason="not_on_chain", version=i.version + 1) for i in given_up]
    unit.apply([StoreInboxItem(i) for i in (*done, *dead)])
    ports.telemetry.count("hints_found", len(done))
    return HintsReport(found=len(done), waiting=len(items) - len(done) - len(dead), dead=len(dead))
