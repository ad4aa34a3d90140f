"""Transactions and blocks of the fake chain: what they hold and how a block executes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from hashlib import blake2b

from attrs import evolve, field, frozen

from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction
from evmbilling.testing.fake_calls import FakeCall, FakeContracts, FakeRules, Reverted
from evmbilling.testing.fake_state import FakeState
from evmbilling.testing.paid_logs import FakeLog, PaidCall, flat_logs


@frozen(kw_only=True)
class FakeTransaction:
    """A signed transaction: its hash covers everything here, so the same content with the same nonce is the same one.

    Attributes:
        logs: what it emits when it succeeds.
        calls: the ``pay`` calls among them; their references are used up by it.
        enforce: whether a call that the contract would refuse fails the transaction: status 0, no logs.
        status: 0 for one that fails by itself.
        call: what it does, in place of ``logs``: the block that holds it finds out what it emits.
        fees: wei per gas that signed bytes offer: at most, and as the tip.

    """

    hash: bytes
    sender: str
    nonce: int
    logs: tuple[FakeLog, ...]
    calls: tuple[PaidCall, ...] = ()
    enforce: bool = False
    status: int = 1
    call: FakeCall | None = None
    fees: tuple[int, int] | None = None


@frozen(kw_only=True)
class Executed:
    """A transaction in a block: its receipt. ``failure`` is the contract's error name when a check failed."""

    transaction: FakeTransaction
    status: int
    logs: tuple[FakeLog, ...]
    first_log_index: int
    failure: str | None = None


@frozen(kw_only=True)
class FakeBlock:
    """A header and its receipts; ``used`` are the references that its payments used up."""

    header: BlockHeader
    executed: tuple[Executed, ...] = ()
    used: frozenset[bytes] = field(default=frozenset(), repr=False)

    def sent(self, tx_hash: bytes) -> KnownTransaction:
        """Return a transaction of this block by its hash, with its place."""
        hashes = [receipt.transaction.hash for receipt in self.executed]
        index = hashes.index(tx_hash)
        receipt = self.executed[index]
        found = as_signed(receipt.transaction)
        return evolve(found, block=self.header, index=index, succeeded=receipt.status == 1)

    def chain_logs(self, chain_id: int) -> Iterator[ChainLog]:
        """Yield the logs of successful transactions in order, each with its place in block and receipt."""
        for receipt in self.executed:
            for ordinal, log in enumerate(receipt.logs):
                yield ChainLog(
                    chain_id=chain_id,
                    block_number=self.header.number,
                    block_hash=self.header.hash,
                    block_time=self.header.timestamp,
                    tx_hash=receipt.transaction.hash,
                    log_index=receipt.first_log_index + ordinal,
                    ordinal=ordinal,
                    address=log.address,
                    topics=log.topics,
                    data=log.data,
                )


def as_signed(transaction: FakeTransaction) -> KnownTransaction:
    """Return a transaction as a node knows it before it is mined; one that only emits logs calls some contract."""
    call = transaction.call or FakeCall(to=next((log.address for log in transaction.logs), ZERO_ADDRESS), data=b"logs")
    return KnownTransaction(
        tx_hash=transaction.hash, sender=transaction.sender, to=call.to, value=call.value, data=call.data
    )


def make_transaction(
    *,
    salt: str,
    sender: str,
    nonce: int,
    logs: tuple[FakeLog, ...] = (),
    calls: tuple[PaidCall, ...] = (),
    enforce: bool = False,
    status: int = 1,
    call: FakeCall | None = None,
) -> FakeTransaction:
    """Build a transaction that emits ``logs`` and then makes the calls, or does ``call``; ``salt`` is the chain's."""
    emitted = (*logs, *flat_logs(calls))
    does = f"{enforce} {status}"
    if call is not None:
        does = f"{call.to} {call.value} {call.data.hex()}" + (" fails" if status != 1 else "")
    digest = _digest(salt, sender, str(nonce), repr(emitted), repr(calls), does)
    return FakeTransaction(
        hash=digest, sender=sender, nonce=nonce, logs=emitted, calls=calls, enforce=enforce, status=status, call=call
    )


def build_block(
    *,
    salt: str,
    parent: BlockHeader | None,
    timestamp: datetime,
    transactions: Iterable[FakeTransaction],
    used: AbstractSet[bytes] = frozenset(),
    state: FakeState | None = None,
    contracts: FakeContracts | None = None,
) -> FakeBlock:
    """Execute transactions on top of ``parent``, where the references ``used`` are used up already.

    ``salt`` goes into the hash: two branches of equal content have different blocks. ``state`` becomes that after it.
    """
    state, contracts = state or FakeState(), contracts or FakeContracts(0, FakeRules())
    seconds = int(timestamp.timestamp())
    executed: list[Executed] = []
    spent: set[bytes] = set()
    index = 0
    for transaction in transactions:
        failure = refusal(transaction.calls, seconds, used | spent) if transaction.enforce else None
        emitted = transaction.logs
        if transaction.call is not None:
            try:
                emitted = contracts.run(state, transaction.sender, transaction.call, seconds)
            except Reverted as reverted:
                failure = str(reverted)
        works = transaction.status == 1 and failure is None
        logs = emitted if works else ()
        state.apply(logs)
        executed.append(
            Executed(transaction=transaction, status=int(works), logs=logs, first_log_index=index, failure=failure)
        )
        spent |= {call.reference for call in transaction.calls} if works else set()
        index += len(logs)
    number = parent.number + 1 if parent else 0
    parent_hash = parent.hash if parent else bytes(32)
    content = b"".join(receipt.transaction.hash for receipt in executed)
    header = BlockHeader(
        number=number,
        hash=_digest(salt, str(number), parent_hash.hex(), str(seconds), content.hex()),
        parent_hash=parent_hash,
        timestamp=timestamp,
    )
    return FakeBlock(header=header, executed=tuple(executed), used=frozenset(spent))


def refusal(calls: Iterable[PaidCall], timestamp: int, used: AbstractSet[bytes]) -> str | None:
    """Return the error with which the Checkout contract would refuse the first bad call, or None."""
    seen: set[bytes] = set()
    for call in calls:
        table = (
            (call.reference in used or call.reference in seen, "ReferenceUsed"),
            (timestamp > call.deadline, "OrderLate"),
            (call.allowed_payer not in (ZERO_ADDRESS, call.payer), "WrongPayer"),
            (call.amount == 0, "ZeroAmount"),
        )
        for refused, name in table:
            if refused:
                return name
        seen.add(call.reference)
    return None


def _digest(*parts: str) -> bytes:
    # Any collision-free hash does: nobody compares a fake block's hash with a real one, and this one is fast.
    return blake2b("\0".join(parts).encode(), digest_size=32).digest()
