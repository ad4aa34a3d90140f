"""Refunds in the coin that the relayer sends: whether one has left already, which no log tells.

A database that was restored has forgotten what was sent since its backup. A token's transfer is found by reading; of a
coin's only its hash tells. What the wallet has sent and we do not know of is therefore looked through by a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.refunds.proofs import is_coin_refund
from evmbilling.domain.sending.fences import MOST_IN_FLIGHT
from evmbilling.domain.sending.lane_turns import is_approval, is_reset
from evmbilling.domain.sending.transmissions import SignedTransaction, Transmission
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.refunds.naming import is_named
from evmbilling.errors import BillingError, Conflict
from evmbilling.ports.storage import Unit
from evmbilling.ports.transmitter import Transmitter

NOT_LOOKED_UP: Final = "coin_not_looked_up"
"""Why a refund in the coin waits: its wallet has sent what we do not know of, and this refund may be among that."""
_QUEUED: Final = "transmission.queue"
_CLOCKS: Final = timedelta(hours=1)
"""The times of blocks are not those of our clock."""


def look_up_first(ports: Ports, runner: Runner, refund_id: str, *, looked_up: bool) -> int | None:
    """Return how many transactions the treasury of a refund in the coin has sent; None for another, or if nobody knows.

    Raises:
        Conflict: some of them are not known here, and nobody has looked whether the refund is among them; or its
            transaction is named.

    """

    def read(unit: Unit) -> tuple[Refund | None, Transmitter | None]:
        refund = unit.refund(refund_id)
        if refund is None or not is_coin_refund(refund):
            return None, None
        if is_named(unit, refund):
            raise Conflict("the transaction that paid this refund is named", field="refund_id", reason="named")
        network, provider = network_and_provider(ports, unit, refund.network)
        return refund, provider.transmitter(network)

    refund, chain = runner.read(read)
    if refund is None or chain is None:
        return None
    try:
        sent = chain.nonce(refund.treasury)
        is_known = looked_up or _is_known(runner, chain, _Wallet.of(refund), sent, 0)
    except BillingError:
        return None  # the relayer sees to it before it signs
    if not is_known:
        raise Conflict(
            "the treasury's wallet has sent what is not known here: look whether this refund is among it",
            field="looked_up",
            reason=NOT_LOOKED_UP,
        )
    return sent


def may_be_sent(runner: Runner, chain: Transmitter, one: Transmission) -> bool:
    """Whether a refund in the coin, before its first signature, is surely not among what its wallet has sent."""
    if one.purpose != "refund" or one.data or is_approval(one) or is_reset(one):
        return True
    refund, looked = runner.read(lambda unit: _looked(unit, one))
    if refund is None:
        return True
    wallet = _Wallet(chain_id=one.chain_id, address=one.sender, asked_at=refund.created_at)
    return _is_known(runner, chain, wallet, chain.nonce(one.sender), looked)


@frozen(kw_only=True)
class _Wallet:
    """What sends a refund, and when the refund was asked for."""

    chain_id: int
    address: str
    asked_at: datetime

    @classmethod
    def of(cls, refund: Refund) -> _Wallet:
        return cls(chain_id=refund.asset.chain_id, address=refund.treasury, asked_at=refund.created_at)


def _is_known(runner: Runner, chain: Transmitter, wallet: _Wallet, sent: int, looked: int) -> bool:
    """Whether all that a wallet has sent since a refund was asked for was sent from here.

    Numbers are counted, not compared with the highest one: what is sent after a restore has higher numbers than what
    was forgotten. A number that ours had and something else used up is not known either.

    Args:
        sent: how many transactions the wallet has in blocks.
        looked: up to which of them somebody has looked.

    """

    def read(unit: Unit) -> tuple[int, int, Sequence[SignedTransaction]]:
        before = unit.last_nonce(wallet.chain_id, wallet.address, mined_before=wallet.asked_at - _CLOCKS)
        first = max(looked, 0 if before is None else before + 1)
        seen = unit.count_mined(wallet.chain_id, wallet.address, first, sent)
        lane = [t for t in unit.lane(wallet.chain_id, wallet.address, MOST_IN_FLIGHT) if t.mined is None]
        unseen = [t.transmission_id for t in lane if t.nonce is not None and first <= t.nonce < sent]
        return first, seen, unit.signed_versions(unseen) if unseen else ()

    first, seen, versions = runner.read(read)
    unknown = sent - first - seen
    if unknown <= 0 or not versions:
        return unknown <= 0
    mined = chain.mined([version.tx_hash for version in versions])
    return unknown <= len({v.transmission_id for v in versions if v.tx_hash in mined})


def _looked(unit: Unit, one: Transmission) -> tuple[Refund | None, int]:
    """Return a refund, and up to which number somebody has looked; None where the transaction that paid it is named."""
    refund = unit.refund(one.subject.partition(":")[2])
    if refund is None or is_named(unit, refund):
        return None, 0
    told = [
        e.changes.get("nonce")
        for e in unit.audit(object_=f"transmission:{one.transmission_id}", limit=10)
        if e.action == _QUEUED
    ]
    return refund, max((int(nonce) for nonce in told if isinstance(nonce, str)), default=0)
