"""Refunds in the coin that the relayer sends: whether one has left already, which no log tells.

A database that was restored has forgotten what was sent since its backup. A token's transfer is found by reading; of a
coin's only its hash tells. What the wallet has sent and we do not know of is therefore looked through by a person.
"""

from __future__ import annotations

from typing import Final

from evmbilling.domain.lane_turns import is_approval, is_reset
from evmbilling.domain.receipts import Refund
from evmbilling.domain.refund_proofs import is_coin_refund
from evmbilling.domain.transmissions import Transmission
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reader import network_and_provider
from evmbilling.engine.refund_naming import is_named
from evmbilling.errors import BillingError, Conflict
from evmbilling.ports.storage import Unit
from evmbilling.ports.transmitter import Transmitter

NOT_LOOKED_UP: Final = "coin_not_looked_up"
"""Why a refund in the coin waits: its wallet has sent what we do not know of, and this refund may be among that."""
_QUEUED: Final = "transmission.queue"


def look_up_first(ports: Ports, runner: Runner, refund_id: str, *, looked_up: bool) -> int | None:
    """Return how many transactions the treasury of a refund in the coin has sent; None for another, or if nobody knows.

    Raises:
        Conflict: some of them are not known here, and nobody has looked whether the refund is among them; or its
            transaction is named.

    """

    def read(unit: Unit) -> tuple[Refund | None, int | None, Transmitter | None]:
        refund = unit.refund(refund_id)
        if refund is None or not is_coin_refund(refund):
            return None, None, None
        if is_named(unit, refund):
            raise Conflict("the transaction that paid this refund is named", field="refund_id", reason="named")
        network, provider = network_and_provider(ports, unit, refund.network)
        return refund, unit.last_nonce(refund.asset.chain_id, refund.treasury), provider.transmitter(network)

    refund, last, chain = runner.read(read)
    if refund is None or chain is None:
        return None
    try:
        sent = chain.nonce(refund.treasury)
    except BillingError:
        return None  # the relayer sees to it before it signs
    if sent > _after(last) and not looked_up:
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
    known = runner.read(lambda unit: _known(unit, one))
    return known is None or chain.nonce(one.sender) <= known


def _known(unit: Unit, one: Transmission) -> int | None:
    """Return up to which nonce somebody has looked; None where the transaction that paid it is named."""
    refund = unit.refund(one.subject.partition(":")[2])
    if refund is None or is_named(unit, refund):
        return None
    told = [
        e.changes.get("nonce")
        for e in unit.audit(object_=f"transmission:{one.transmission_id}", limit=10)
        if e.action == _QUEUED
    ]
    looked = [int(nonce) for nonce in told if isinstance(nonce, str)]
    return max([_after(unit.last_nonce(one.chain_id, one.sender)), *looked])


def _after(nonce: int | None) -> int:
    return 0 if nonce is None else nonce + 1
