"""What a relayer's wallet has sent, or may still send, without its database knowing of it.

A database that was restored has forgotten what was signed since its backup: a refund that it has in the queue may be
among that. In blocks that are read it is found, and is not wanted any more; what only waits to be mined is waited for.
A call of our contract may be the same refund, too. Everything waits, and not refunds alone: a nonce that we gave would
hide the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from evmbilling.domain.sending.fences import AWAITS_FENCE, Nonces, is_fence, unseen
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, Transmission
from evmbilling.engine.context import Runner
from evmbilling.errors import ProviderError
from evmbilling.ports.storage import Unit
from evmbilling.ports.transmitter import Transmitter


class Unseen:
    """One lane's view, for one round of the relayer.

    Args:
        lane: what of the sender is open.

    """

    def __init__(self, runner: Runner, chain: Transmitter, lane: Sequence[Transmission]) -> None:
        self._runner, self._chain = runner, chain
        self._fenced = any(is_fence(one) and one.status in OPEN_TRANSMISSIONS for one in lane)
        self._is_clear = False
        self._held: str | None = None

    def reason(self, one: Transmission) -> str | None:
        """Return why a queued transmission gets no nonce now; None when it may have one.

        The pools are asked once a round: what we send ourselves in it is known, and what holds one up holds up all. A
        fence waits for blocks, because its nonces hide those before them, and not for pools, because what they hold is
        what it is for.
        """
        fence = is_fence(one)
        if self._fenced and not fence:
            return AWAITS_FENCE
        if self._held is not None and not fence:
            return self._held
        nonces = self._nonces(one, pools=not (fence or self._is_clear))
        found = unseen(nonces)
        if not fence:
            self._is_clear, self._held = found is None, found
        return found

    def used_for_ever(self, one: Transmission, irreversible: int | None) -> int:
        """Return how many nonces of a sender are used up in blocks that stay, and that are read and taken in.

        What used a nonce of ours up may be what we had forgotten: it is known before anything else is sent.
        """
        _, read = self._runner.read(partial(_known_to, one=one))
        if irreversible is None or read is None:
            return 0
        try:
            return self._chain.nonce(one.sender, min(irreversible, read))
        except ProviderError:
            # The node does not keep what was there so long ago.
            return 0

    def _nonces(self, one: Transmission, *, pools: bool) -> Nonces:
        pooled = self._chain.pooled(one.sender) if pools else None
        mined = self._chain.nonce(one.sender)
        last, block = self._runner.read(partial(_known_to, one=one))
        known, read = 0 if last is None else last + 1, None
        if mined > known and block is not None:
            try:
                read = self._chain.nonce(one.sender, block)
            except ProviderError:
                read = None
        # What was mined since the pools were asked is in no pool any more.
        pooled = None if pooled is None else max(pooled, mined)
        return Nonces(mined=mined, known=known, pooled=pooled, read=read)


def _known_to(unit: Unit, one: Transmission) -> tuple[int | None, int | None]:
    """Return the last nonce of a sender that we know of, and the block up to which everything is taken in."""
    cursor = unit.cursor(one.chain_id)
    block = None if cursor is None or cursor.halt is not None else cursor.block.number
    waits = block is not None and unit.waiting_below(one.chain_id, block) > 0
    return unit.last_nonce(one.chain_id, one.sender), None if waits else block
