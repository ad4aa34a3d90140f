"""An EVM chain in memory that confirms, drops, replaces and reorganises on demand.

It speaks the reader's port (:class:`evmbilling.ports.chain.ChainSource`) and is the same, byte for byte, for the same
seed and the same calls::

    chain = FakeChain(31337, start=clock.now())
    paid = chain.pay(order)             # in the pool
    chain.mine()                        # in a block
    chain.mine(11)                      # eleven more on top
    chain.reorganise(12)                # gone
    chain.resend(paid)                  # the same transaction again
    chain.mine()
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from threading import RLock
from typing import Any, Literal

from evmbilling.domain.addresses import checksum
from evmbilling.domain.calendar import parse_instant
from evmbilling.domain.evidence import BlockHeader, ChainLog, WatchSet
from evmbilling.domain.orders import Order
from evmbilling.errors import ChainMismatch, InputError, NotFound, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.testing.fake_balances import Gift, balance_at
from evmbilling.testing.fake_blocks import Executed, FakeBlock, FakeTransaction, make_transaction
from evmbilling.testing.fake_ledger import FakeLedger, ReorgMode
from evmbilling.testing.paid_logs import FakeLog, is_watched, pay_call, transfer_log

Tag = Literal["latest", "safe", "finalized"]

SOMEBODY = checksum(b"somebody" + bytes(12))
"""Who sends what :meth:`FakeChain.send` is not told a sender of."""


class FakeChain:
    """A chain whose blocks, forks and failures a test decides; safe among threads.

    Args:
        chain_id: its EIP-155 id.
        start: the time of block 0; whole seconds.
        seed: chains of one seed that are driven alike have the same hashes.
        block_time: seconds between blocks.
        safe_lag: how many blocks the ``safe`` tag is behind the head; None when the node has no such tag.
        finalized_lag: the same for ``finalized``.

    Attributes:
        calls: the names of the port's methods as they were called: what would have been network traffic.

    """

    def __init__(
        self,
        chain_id: int,
        *,
        start: datetime,
        seed: int = 0,
        block_time: int = 12,
        safe_lag: int | None = None,
        finalized_lag: int | None = None,
    ) -> None:
        self._chain_id = self._served_id = chain_id
        self._lags: dict[Tag, int | None] = {"latest": 0, "safe": safe_lag, "finalized": finalized_lag}
        self._held: dict[Tag, int] = {}
        self._lock = RLock()
        self._failures = 0
        self._known: dict[bytes, FakeTransaction] = {}
        self._nonces: dict[str, int] = {}
        self._pool: dict[tuple[str, int], FakeTransaction] = {}
        instant = parse_instant(start, field="start").replace(microsecond=0)
        self._ledger = FakeLedger(f"{chain_id}/{seed}", instant, timedelta(seconds=block_time))
        self._gifts: list[Gift] = []
        self.calls: list[str] = []

    def __repr__(self) -> str:
        return f"<FakeChain {self._chain_id} at block {self.head.number}>"

    # -- the port

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        return self._chain_id

    def check_chain(self) -> None:
        """Raise WrongChain after :meth:`wrong_chain`."""
        with self._lock:
            self._answer("check_chain")
            if self._served_id != self._chain_id:
                raise WrongChain(f"the node serves chain {self._served_id}, not {self._chain_id}")

    def header(self, block: int | Tag) -> BlockHeader | None:
        """Return a header by number or tag; None when there is no such block or tag."""
        with self._lock:
            self._answer("header")
            number = self._tagged(block) if isinstance(block, str) else block
            return self._ledger.header(number)

    def headers(self, first: int, last: int) -> Sequence[BlockHeader]:
        """Return the headers ``first`` to ``last``, as far as there are blocks."""
        with self._lock:
            self._answer("headers")
            return [block.header for block in self._ledger.blocks[max(first, 0) : last + 1]]

    def logs(self, headers: Sequence[BlockHeader], watch: WatchSet) -> Sequence[ChainLog]:
        """Return the watched logs of exactly these blocks.

        Raises:
            ChainMismatch: a block is not (or no longer) part of this chain.

        """
        with self._lock:
            self._answer("logs")
            found = (log for header in headers for log in self._canonical(header).chain_logs(self._chain_id))
            return [log for log in found if is_watched(log, watch)]

    def balance(self, token: str, holder: str, block: int) -> int:
        """Return what an address held after a block of this chain.

        Raises:
            RpcRefused: there is no such block.

        """
        with self._lock:
            self._answer("balance")
            if not 0 <= block < len(self._ledger.blocks):
                raise RpcRefused("there is no such block", block=block)
            return balance_at(self._ledger.blocks, self._gifts, token, holder, block)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    # -- transactions

    def send(self, *logs: FakeLog, status: int = 1, sender: str = SOMEBODY, nonce: int | None = None) -> bytes:
        """Put a transaction that emits these logs into the pool and return its hash.

        A pending one of the same sender and nonce is replaced; without a nonce the sender's next one is taken.
        """
        with self._lock:
            wanted = self._next_nonce(sender) if nonce is None else nonce
            made = make_transaction(salt=self._ledger.salt, sender=sender, nonce=wanted, logs=logs, status=status)
            return self._submit(made)

    def pay(
        self,
        *orders: Order,
        payer: str | None = None,
        nonce: int | None = None,
        before: Sequence[FakeLog] = (),
        enforce: bool = False,
        **changes: Any,
    ) -> bytes:
        """Pay orders in one transaction, as a wallet does with the payloads it was given; return its hash.

        Each order leaves the token's ``Transfer`` and the contract's ``Paid``, so the ``Paid`` of order *i* has the
        ordinal ``len(before) + 2·i + 1`` for tokens.

        Args:
            orders: what is paid.
            payer: who pays; the wallet of the first order by default.
            nonce: of the payer; one that is pending is replaced.
            before: logs that the transaction emits first.
            enforce: fail like the contract: a used reference, a late block, a wrong payer. The transaction is then
                mined with status 0 and no logs; see :meth:`receipt`.
            changes: values of the call other than the order's: ``amount``, ``token``, ``reference``, ``contract``,
                ``treasury``, ``beneficiary``, ``subscription``, ``plan``, ``member_until``.

        """
        with self._lock:
            sender = payer or orders[0].wallet
            made = make_transaction(
                salt=self._ledger.salt,
                sender=sender,
                nonce=self._next_nonce(sender) if nonce is None else nonce,
                logs=tuple(before),
                calls=tuple(pay_call(order, payer=sender, **changes) for order in orders),
                enforce=enforce,
            )
            return self._submit(made)

    def transfer(self, token: str, sender: str, receiver: str, amount: int, *, nonce: int | None = None) -> bytes:
        """Send base units of a token to an address, as a wallet does; return the hash."""
        return self.send(transfer_log(token, sender, receiver, amount), sender=sender, nonce=nonce)

    def give(self, token: str, holder: str, amount: int) -> None:
        """Change a balance without a log, from the next block on: what a rebase or a write to storage does."""
        with self._lock:
            self._gifts.append(Gift(token=token, holder=holder, amount=amount, block=self.head.number + 1))

    def resend(self, tx_hash: bytes) -> bytes:
        """Put a transaction that was sent before into the pool again: the same signed bytes, the same hash."""
        with self._lock:
            return self._submit(self._transaction(tx_hash))

    def drop(self, tx_hash: bytes) -> None:
        """Forget a transaction of the pool.

        Raises:
            NotFound: the pool does not hold it.

        """
        with self._lock:
            made = self._transaction(tx_hash)
            key = (made.sender, made.nonce)
            if self._pool.get(key) != made:
                raise NotFound("the pool does not hold this transaction", field="tx_hash")
            del self._pool[key]

    def replace(self, tx_hash: bytes, *logs: FakeLog, status: int = 1) -> bytes:
        """Send another transaction with the sender and nonce of this one: only one of them can ever be mined."""
        with self._lock:
            old = self._transaction(tx_hash)
            return self.send(*logs, status=status, sender=old.sender, nonce=old.nonce)

    @property
    def pending(self) -> tuple[bytes, ...]:
        """The hashes in the pool, oldest first."""
        with self._lock:
            return tuple(made.hash for made in self._pool.values())

    def receipt(self, tx_hash: bytes) -> Executed | None:
        """Return how a transaction was executed; None while no block of this chain holds it."""
        with self._lock:
            found = self._ledger.receipts.get(tx_hash)
            return found[0] if found else None

    def block_of(self, tx_hash: bytes) -> BlockHeader | None:
        """Return the header of the block that holds a transaction; None while there is none."""
        with self._lock:
            found = self._ledger.receipts.get(tx_hash)
            return found[1] if found else None

    # -- blocks

    @property
    def head(self) -> BlockHeader:
        """The newest header."""
        with self._lock:
            return self._ledger.head

    def mine(self, n: int = 1, *, timestamp: datetime | None = None, seconds: int | None = None) -> BlockHeader:
        """Mine blocks, the first with the whole pool, and return the new head.

        Args:
            n: how many.
            timestamp: the time of the first; it may be before its parent's, as a broken chain's would.
            seconds: instead, how long after the present head the first one comes.

        """
        if n < 1 or (timestamp is not None and seconds is not None):
            raise InputError("mine one block or more, with a timestamp or with seconds", field="n")
        with self._lock:
            step = self._ledger.block_time if seconds is None else timedelta(seconds=seconds)
            first = parse_instant(timestamp, field="timestamp") if timestamp else self.head.timestamp + step
            ready = list(self._pool.values())
            self._pool.clear()
            for index in range(n):
                self._ledger.append(first + index * self._ledger.block_time, ready if index == 0 else ())
            return self.head

    def reorganise(
        self,
        depth: int,
        *,
        mode: ReorgMode = "drop",
        keep: Collection[bytes] = (),
        length: int | None = None,
        delay: int = 0,
    ) -> tuple[BlockHeader, ...]:
        """Replace the last ``depth`` blocks by others and return the headers that are no longer part of the chain.

        What is not mined again is in nobody's pool; :meth:`resend` brings it back.

        Args:
            depth: how many blocks go.
            mode: ``drop`` keeps the transactions of ``keep`` only, each in its block; ``reinclude`` keeps all;
                ``reorder`` mines all of them in the last new block, last first; ``double_spend`` mines, in the place
                of each, another transaction of the same sender and nonce that does nothing.
            keep: hashes for ``drop``.
            length: how many blocks come instead; as many by default.
            delay: seconds by which the new blocks are later than the old ones.

        """
        with self._lock:
            if not 0 < depth < len(self._ledger.blocks) or (length is not None and length < 1):
                raise InputError("at least one block goes and one comes; block 0 stays", field="depth")
            shift = timedelta(seconds=delay)
            orphans = self._ledger.fork(depth, mode=mode, keep=frozenset(keep), length=length or depth, delay=shift)
            return tuple(block.header for block in orphans)

    def hold_tags(self, *, safe: int | None = None, finalized: int | None = None) -> None:
        """Let tags stand still at these blocks while the head moves on; None lets a tag follow its lag again."""
        with self._lock:
            held: dict[Tag, int | None] = {"safe": safe, "finalized": finalized}
            self._held = {tag: number for tag, number in held.items() if number is not None}

    # -- faults

    def fail(self, times: int = -1) -> None:
        """Let the next calls of the port raise RpcUnavailable: so many, or all until :meth:`heal`."""
        with self._lock:
            self._failures = times

    def heal(self) -> None:
        """Answer again, as the configured chain."""
        with self._lock:
            self._failures, self._served_id = 0, self._chain_id

    def wrong_chain(self, chain_id: int) -> None:
        """Serve another chain id from now on."""
        with self._lock:
            self._served_id = chain_id

    # -- inside; the lock is held

    def _answer(self, method: str) -> None:
        self.calls.append(method)
        if self._failures:
            self._failures -= 1
            raise RpcUnavailable("the fake chain was told to fail", method=method)

    def _tagged(self, tag: Tag) -> int | None:
        lag = self._lags[tag]
        number = None if lag is None else max(len(self._ledger.blocks) - 1 - lag, 0)
        return self._held.get(tag, number)

    def _canonical(self, header: BlockHeader) -> FakeBlock:
        if self._ledger.header(header.number) != header:
            raise ChainMismatch("the node does not have this block (any more)", block=header.number)
        return self._ledger.blocks[header.number]

    def _transaction(self, tx_hash: bytes) -> FakeTransaction:
        if tx_hash not in self._known:
            raise NotFound("no such transaction was sent to this chain", field="tx_hash")
        return self._known[tx_hash]

    def _submit(self, made: FakeTransaction) -> bytes:
        self._known[made.hash] = self._pool[made.sender, made.nonce] = made
        self._nonces[made.sender] = max(self._nonces.get(made.sender, 0), made.nonce + 1)
        return made.hash

    def _next_nonce(self, sender: str) -> int:
        return self._nonces.get(sender, 0)
