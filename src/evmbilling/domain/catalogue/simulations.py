"""Dry runs: what a configured call would do, tried on a node before a customer pays."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from evmbilling.domain.pairs import Pairs
from evmbilling.domain.selling.offers import WalletPayload

Unchecked: TypeAlias = Literal["call", "events", "approval", "own_signature"]
UNCHECKED: Final[dict[Unchecked, str]] = {
    "call": "the call itself: the node lends nobody the money for it (eth_simulateV1, or state overrides)",
    "events": "what it would emit, and so whether it pays the order: the node cannot show that (eth_simulateV1)",
    "approval": "the call after the approval: the node could only try it as things stand",
    "own_signature": "the payer's own signature: a throw-away key signed, so what is asked of this very wallet, or of "
    "a contract wallet, is not known",
}
"""What a dry run could not check, in words."""


@frozen(kw_only=True)
class SimulatedEvent:
    """A log that the call would emit.

    Attributes:
        address: who would emit it.
        event: the signature of an event of the bound contract's ABI; empty for any other log.
        means: what the binding says that it means; None for nothing.
        fields: the event's values as text, by name.

    """

    address: str
    event: str
    means: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class Simulation:
    """What a dry run found.

    Attributes:
        payload: the transaction that a wallet would be handed.
        approval: what has to be allowed first: (spender, base units); None for nothing.
        succeeds: whether the node would let it through now; None where it could not be tried at all.
        refusal: the node's word on why not; its text is a node's, not ours.
        gas: units that the node measured; None when it refused. Offer it, with room, as the binding's gas.
        stand_in: the throw-away wallet that signed and paid, where the call takes the payer's signature: the payload
            and the approval are its. None where the payer's own wallet was tried.
        unchecked: what could not be checked; words are in :data:`UNCHECKED`.
        pays: whether a payment would be recognised in what the call emits: order, token, amount and treasury; None
            where the node cannot show what a call would emit (``eth_simulateV1``).
        events: what it would emit, in order; empty where that cannot be shown.
        mapped: the events that mean something: (signature, meaning) pairs.

    """

    payload: WalletPayload
    approval: tuple[str, int] | None
    succeeds: bool | None
    refusal: str | None = None
    gas: int | None = None
    stand_in: str | None = None
    unchecked: tuple[Unchecked, ...] = ()
    pays: bool | None = None
    events: tuple[SimulatedEvent, ...] = field(default=(), repr=False)
    mapped: tuple[tuple[str, str], ...] = ()

    @property
    def offered_gas(self) -> Pairs:
        """What to save as the binding's ``gas``: what was measured, and a quarter more. Empty when nothing was."""
        if self.gas is None:
            return ()
        return (("native" if self.payload.value else "token", self.gas + self.gas // 4),)
