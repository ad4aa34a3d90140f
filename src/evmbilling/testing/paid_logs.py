"""The logs that a payment leaves on chain, encoded as the contracts encode them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
from attrs import frozen
from eth_abi.abi import encode

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.identity import plan_digest, subscription_token
from evmbilling.domain.reading.evidence import ChainLog, WatchSet
from evmbilling.domain.selling.orders import Order

#: ``Paid`` of the Checkout contract: reference, subscription and payer are indexed.
PAID_TOPIC: Final = keccak(b"Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)")
#: ``Transfer`` of ERC-20, and of ERC-721 with a fourth topic.
TRANSFER_TOPIC: Final = keccak(b"Transfer(address,address,uint256)")

_TRANSFER_TOPICS = 3
_PAID_DATA = ("address", "bytes32", "address", "uint256", "address", "uint64")


@frozen
class FakeLog:
    """What a contract emits: its address (EIP-55), up to four topics of 32 bytes, and data."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes = b""


@frozen(kw_only=True)
class PaidCall:
    """The values of one ``pay`` call on the Checkout contract, as its ``Paid`` event says them.

    Attributes:
        contract: who emits the event.
        allowed_payer: the payer that the signed order names.
        member_until, deadline: Unix seconds.

    """

    contract: str
    reference: bytes
    subscription: int
    payer: str
    beneficiary: str
    plan: bytes
    token: str
    amount: int
    treasury: str
    member_until: int
    deadline: int
    allowed_payer: str
    native: bool = False

    def logs(self) -> tuple[FakeLog, ...]:
        """Return the token's ``Transfer`` (none for the native coin) and the contract's ``Paid``, in that order."""
        transfer = () if self.native else (transfer_log(self.token, self.payer, self.treasury, self.amount),)
        return (*transfer, self.paid_log())

    def paid_log(self) -> FakeLog:
        """Return the contract's ``Paid`` alone."""
        values = (self.beneficiary, self.plan, self.token, self.amount, self.treasury, self.member_until)
        topics = (PAID_TOPIC, self.reference, self.subscription.to_bytes(32), _word(self.payer))
        return FakeLog(self.contract, topics, encode(_PAID_DATA, values))


def pay_call(order: Order, **changes: Any) -> PaidCall:
    """Return the call that pays an order exactly, with some of its values changed."""
    exact = PaidCall(
        contract=order.contract,
        reference=order.reference,
        subscription=subscription_token(order.subscription_id),
        payer=order.wallet,
        beneficiary=order.beneficiary,
        plan=plan_digest(order.plan_slug, order.plan_version),
        token=order.asset.token,
        amount=order.amount,
        treasury=order.treasury,
        member_until=int(order.member_until.timestamp()) if order.member_until else 0,
        deadline=int(order.deadline.timestamp()),
        allowed_payer=order.wallet,
        native=order.asset.is_native,
    )
    return attrs.evolve(exact, **changes)


def transfer_log(token: str, sender: str, receiver: str, amount: int) -> FakeLog:
    """Return an ERC-20 ``Transfer``."""
    return FakeLog(token, (TRANSFER_TOPIC, _word(sender), _word(receiver)), amount.to_bytes(32))


def is_watched(log: ChainLog, watch: WatchSet) -> bool:
    """Whether a node would find a log for a watch set: by address and topic, a burn, or a transfer of a party."""
    if not log.topics:
        return False
    if log.address in watch.addresses and log.topics[0] in watch.topics:
        return True
    if log.address in watch.burning and len(log.topics) > _TRANSFER_TOPICS and log.topics[0] == TRANSFER_TOPIC:
        return log.topics[2] == bytes(32)
    parties = {_word(party) for party in watch.parties}
    is_transfer = log.topics[0] == TRANSFER_TOPIC and len(log.topics) == _TRANSFER_TOPICS
    return is_transfer and log.address in watch.tokens and not parties.isdisjoint(log.topics[1:])


def flat_logs(calls: Sequence[PaidCall]) -> tuple[FakeLog, ...]:
    """Return the logs of several calls that one transaction makes."""
    return tuple(log for call in calls for log in call.logs())


def _word(address: str) -> bytes:
    return address_bytes(address).rjust(32, b"\0")
