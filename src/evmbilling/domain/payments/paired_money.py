"""What a payment through a contract that we did not write brought: the token's own transfer says it, not the event.

A contract may keep a fee, be paid in a token that keeps one, or say what it likes. Its event says that something was
paid; the ``Transfer`` of an allowed token to a treasury, in the same transaction, says what came. Which transfer
belongs to which event is clear, or nothing is credited: then a person says what the transfer is for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import attrs
from attrs import field, frozen

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.identity import CreditIdentity, is_ours
from evmbilling.domain.payments.treasury import pair_transfers
from evmbilling.domain.reading.evidence import Observation

NO_TRANSFER: Final = "no_transfer"
"""The transaction moved nothing of an allowed token to a treasury that the event could be about."""
AMBIGUOUS: Final = "ambiguous_money"
"""Several events or several transfers, and nothing that says which belong together."""
TAKEN_BACK: Final = "money_went_back"
"""The same transaction moved the token out of the treasury again, so what came is not what stayed."""
FOREIGN: Final = "foreign_reference"
"""A token that everybody shares says what was signed for somebody else's purpose; its transfer is like any other."""
RECEIVED: Final = "already_received"
"""The transfer was taken in by itself before; another credit for it would be a second one."""


@frozen(kw_only=True)
class PairedMoney:
    """One transaction with its events and transfers put together.

    Attributes:
        seen: every observation; payments of mapped contracts with the money that came, unclear ones left out.
        pairs: by transfer, the event that it is the money of.
        unclear: by event, why nobody can say what it brought.
        doubtful: transfers that may be the money of an unclear event; a person says what they are for.

    """

    seen: tuple[Observation, ...]
    pairs: Mapping[CreditIdentity, Observation]
    unclear: Mapping[CreditIdentity, str] = field(factory=dict)
    doubtful: Collection[CreditIdentity] = ()


def is_waiting(seen: Observation) -> bool:
    """Whether an observation has to be put together with the transfer of its transaction."""
    return seen.kind == "payment" and seen.money != "event"


def pair_money(
    observations: Iterable[Observation],
    *,
    treasuries: Collection[str],
    received: Collection[CreditIdentity] = (),
    instance_id: bytes | None = None,
    known: Collection[bytes] = (),
) -> PairedMoney:
    """Put the events of one transaction together with its transfers.

    Args:
        observations: everything that its canonical logs say.
        treasuries: every treasury of the chain.
        received: transfers that were taken in by themselves.
        instance_id: what our references begin with; None where nobody else's can be among them.
        known: references that are ours though they begin otherwise: a copy of a shop has a name of its own.

    """
    ordered = sorted(observations, key=lambda seen: seen.log.ordinal)
    tokens = {o.token for o in ordered if o.kind == "transfer"}
    doubted = () if instance_id is None else (o for o in ordered if is_foreign(o, tokens, instance_id))
    foreign = {o.log.identity for o in doubted if o.reference not in known}
    waiting = [seen for seen in ordered if is_waiting(seen) and seen.log.identity not in foreign]
    pairs = dict(pair_transfers(seen for seen in ordered if not is_waiting(seen)))
    unclear: dict[CreditIdentity, str] = dict.fromkeys(foreign, FOREIGN)
    if not waiting:
        return PairedMoney(
            seen=tuple(o for o in ordered if o.log.identity not in foreign), pairs=pairs, unclear=unclear
        )
    # A token lets anybody "send" nothing from anybody to anybody: that must not stand in the way of somebody's payment.
    transfers = [seen for seen in ordered if seen.kind == "transfer" and seen.amount]
    free = [t for t in transfers if t.treasury in treasuries and t.log.identity not in pairs]
    left = {(t.payer, t.token) for t in transfers if t.payer in treasuries}
    chosen = _choose([event for event in waiting if event.money == "transfer"], free)
    paid: dict[CreditIdentity, Observation] = {}
    for event in waiting:
        if event.money == "transfers":
            found = _sum(event, waiting, transfers, treasuries=treasuries, taken={*pairs, *received})
            if isinstance(found, str):
                unclear[event.log.identity] = found
                continue
            paid[event.log.identity], parts = found
            pairs |= dict.fromkeys(parts, paid[event.log.identity])
            continue
        transfer = chosen.get(event.log.identity)
        reason = _fault(event, transfer, free, left, received)
        if reason is not None or transfer is None:
            unclear[event.log.identity] = reason or AMBIGUOUS
            continue
        paid[event.log.identity] = _paid(event, transfer)
        pairs[transfer.log.identity] = paid[event.log.identity]
    seen = tuple(paid.get(o.log.identity, o) for o in ordered if o.log.identity not in unclear)
    lost = [event for event in waiting if event.log.identity in unclear]
    unpaired = [t for t in free if t.log.identity not in pairs]
    doubtful = {t.log.identity for t in unpaired if any(_fits(event, t) for event in lost)}
    return PairedMoney(seen=seen, pairs=pairs, unclear=unclear, doubtful=doubtful)


def told_again(observations: Iterable[Observation]) -> Collection[CreditIdentity]:
    """Return the events of one transaction that tell of the chain's coin what another may have told before.

    The coin leaves no transfer, so nothing shows whether it came once or as often as it was told. A contract may tell
    of one payment in other words, too: less its fee, or with whoever passed it on as the payer. So what counts is what
    the event is about, and not how much it says. What comes twice indeed waits for a person with it.
    """
    known: list[Observation] = []
    again: set[CreditIdentity] = set()
    for seen in sorted(observations, key=lambda o: o.log.ordinal):
        if seen.kind != "payment" or seen.rail != "call" or seen.token != NATIVE_COIN:
            continue
        if any(_may_be_one(seen, other) for other in known):
            again.add(seen.log.identity)
        known.append(seen)
    return again


def _may_be_one(one: Observation, other: Observation) -> bool:
    """Whether two events of a transaction may tell of one payment: they do not name two things that are paid.

    Where only one of them names its order, or none does, nothing says that there are two, but two payers.
    """
    if one.contract != other.contract:
        return False
    if one.reference and other.reference:
        return one.reference == other.reference
    by_number = one.found_by == other.found_by == "token_id"
    if by_number:
        return one.subscription == other.subscription
    by_payer = one.found_by == other.found_by == "payer"
    return one.payer == other.payer if by_payer else True


def is_foreign(seen: Observation, tokens: Collection[str], instance_id: bytes) -> bool:
    """Whether a token that moved itself tells of a payment that names somebody else's purpose."""
    named = bool(seen.reference) and not is_ours(seen.reference, instance_id)
    return is_waiting(seen) and named and seen.contract in tokens


def _choose(waiting: Sequence[Observation], free: Sequence[Observation]) -> dict[CreditIdentity, Observation]:
    """Give each event its transfer: first those that name the very amount, then what only one could be.

    Where more events name an amount than transfers brought it, one of them was not paid, and nobody can say which.
    """
    chosen: dict[CreditIdentity, Observation] = {}
    open_transfers = list(free)
    for group in _groups(waiting, free):
        exact = _pair_exactly(*group)
        chosen |= exact
        open_transfers = [t for t in open_transfers if t not in exact.values()]
    rest = [event for event in waiting if event.log.identity not in chosen]
    for event in rest:
        fitting = [t for t in open_transfers if _fits(event, t)]
        rivals = [e for e in rest if fitting and _fits(e, fitting[0])]
        if len(fitting) == 1 and len(rivals) == 1:
            chosen[event.log.identity] = fitting[0]
    return chosen


def _groups(
    waiting: Sequence[Observation], free: Sequence[Observation]
) -> list[tuple[list[Observation], list[Observation]]]:
    """Return the events that name an amount with the transfers that brought it, those apart that share none."""
    groups: list[tuple[list[Observation], list[Observation]]] = []
    for event in waiting:
        exact = [t for t in free if _is_exact(event, t)]
        if not exact:
            continue
        beside = [group for group in groups if any(t in group[1] for t in exact)]
        events = [e for group in beside for e in group[0]]
        transfers = [t for group in beside for t in group[1]]
        groups = [group for group in groups if group not in beside]
        groups.append(([*events, event], [*transfers, *(t for t in exact if t not in transfers)]))
    return groups


def _pair_exactly(events: Sequence[Observation], transfers: Sequence[Observation]) -> dict[CreditIdentity, Observation]:
    """Give each of the events one of the transfers that it names, or none of them any.

    Those go first that could be fewer: whoever could be anybody's must not take what only one other event was paid by.
    """
    chosen: dict[CreditIdentity, Observation] = {}
    left = sorted(transfers, key=lambda t: t.log.ordinal)
    options = {e.log.identity: [t for t in left if _is_exact(e, t)] for e in events}
    for event in sorted(events, key=lambda e: (len(options[e.log.identity]), e.log.ordinal)):
        exact = [t for t in options[event.log.identity] if t in left]
        if not exact:
            return {}
        # The nearest before it; a contract that speaks before it moves has the next one after.
        before = [t for t in exact if t.log.ordinal < event.log.ordinal]
        chosen[event.log.identity] = before[-1] if before else exact[0]
        left.remove(chosen[event.log.identity])
    return chosen


def _sum(
    event: Observation,
    waiting: Sequence[Observation],
    transfers: Sequence[Observation],
    *,
    treasuries: Collection[str],
    taken: Collection[CreditIdentity],
) -> tuple[Observation, list[CreditIdentity]] | str:
    """Return an event with what all transfers come to, and these; else why that is not clear.

    Net is what reached one treasury in one token less what left it again: a fee, or a rebate. No other event may be
    about any of it, and nothing of it may be known as something else.
    """
    into = [t for t in transfers if t.treasury in treasuries and _fits(event, t)]
    if not into:
        return NO_TRANSFER
    where = {(t.treasury, t.token) for t in into}
    payers = {event.payer} if event.payer else {t.payer for t in into}
    rivals = [e for e in waiting if e is not event and any(_fits(e, t) for t in into)]
    if len(where) != 1 or len(payers) != 1 or rivals or any(t.payer in treasuries for t in into):
        return AMBIGUOUS
    out = [t for t in transfers if (t.payer, t.token) in where]
    parts = [t.log.identity for t in (*into, *out)]
    if any(t.treasury in treasuries for t in out):
        return AMBIGUOUS
    if any(identity in taken for identity in parts):
        return RECEIVED
    net = sum(t.amount for t in into) - sum(t.amount for t in out)
    if net <= 0:
        return TAKEN_BACK
    return _paid(event, attrs.evolve(into[0], amount=net)), parts


def _is_exact(event: Observation, transfer: Observation) -> bool:
    return bool(event.amount) and event.amount == transfer.amount and _fits(event, transfer)


def _fits(event: Observation, transfer: Observation) -> bool:
    """Whether a transfer can be the money of an event: what the event says of token, treasury and payer agrees.

    A contract may take the money first and pass it on; what somebody else sends in the same transaction is theirs.
    """
    sent_by = ("", transfer.payer)
    agrees = event.token in ("", transfer.token) and event.treasury in ("", transfer.treasury)
    return agrees and (event.payer in sent_by or transfer.payer == event.contract)


def _fault(
    event: Observation,
    transfer: Observation | None,
    free: Sequence[Observation],
    left: Collection[tuple[str, str]],
    received: Collection[CreditIdentity],
) -> str | None:
    if transfer is None:
        return AMBIGUOUS if any(_fits(event, t) for t in free) else NO_TRANSFER
    if (transfer.treasury, transfer.token) in left:
        return TAKEN_BACK
    return RECEIVED if transfer.log.identity in received else None


def _paid(event: Observation, transfer: Observation) -> Observation:
    """Return a payment with the money that came; the event's word on who paid goes before the transfer's."""
    payer = event.payer or transfer.payer
    return attrs.evolve(
        event,
        money="event",
        token=transfer.token,
        amount=transfer.amount,
        treasury=transfer.treasury,
        payer=payer,
        told_payer=bool(event.payer),
        beneficiary=event.beneficiary or payer,
    )
