"""Who held what on a fake chain: the sum of its logs, and of what was given without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from evmbilling.domain.addresses import NATIVE_COIN, address_bytes
from evmbilling.testing.paid_logs import PAID_TOPIC, TRANSFER_TOPIC, FakeLog

if TYPE_CHECKING:
    from evmbilling.testing.fake_blocks import FakeBlock

_WORD = 32
_PAID_TOKEN, _PAID_AMOUNT, _PAID_TREASURY = 2, 3, 4
_TRANSFER_TOPICS = 3


@frozen(kw_only=True)
class Gift:
    """A balance that changed without a log, from a block on: a rebase, a write to storage, a block reward."""

    token: str
    holder: str
    amount: int
    block: int


def balance_at(blocks: Sequence[FakeBlock], gifts: Iterable[Gift], token: str, holder: str, block: int) -> int:
    """Return what an address held after a block, in base units; tokens by their transfers, the coin by payments."""
    given = sum(g.amount for g in gifts if (g.token, g.holder) == (token, holder) and g.block <= block)
    logs = (log for b in blocks[: block + 1] for receipt in b.executed for log in receipt.logs)
    who = address_bytes(holder).rjust(_WORD, b"\0")
    moved = (_coin(log, who) if token == NATIVE_COIN else _moved(log, token, who) for log in logs)
    sent = _sent(blocks[: block + 1], holder) if token == NATIVE_COIN else 0
    return given + sum(moved) + sent


def _sent(blocks: Iterable[FakeBlock], holder: str) -> int:
    """Return what plain transactions brought an address in coins, less what they took."""
    total = 0
    for receipt in (receipt for block in blocks for receipt in block.executed if receipt.status):
        made = receipt.transaction
        if made.call is not None:
            total += made.call.value * ((made.call.to == holder) - (made.sender == holder))
    return total


def _moved(log: FakeLog, token: str, who: bytes) -> int:
    is_transfer = log.address == token and log.topics[:1] == (TRANSFER_TOPIC,) and len(log.topics) == _TRANSFER_TOPICS
    if not is_transfer:
        return 0
    amount = int.from_bytes(log.data)
    return amount * ((log.topics[2] == who) - (log.topics[1] == who))


def _coin(log: FakeLog, who: bytes) -> int:
    if log.topics[:1] != (PAID_TOPIC,):
        return 0
    words = [log.data[at : at + _WORD] for at in range(0, len(log.data), _WORD)]
    is_coin = words[_PAID_TOKEN] == address_bytes(NATIVE_COIN).rjust(_WORD, b"\0")
    return int.from_bytes(words[_PAID_AMOUNT]) if is_coin and words[_PAID_TREASURY] == who else 0
