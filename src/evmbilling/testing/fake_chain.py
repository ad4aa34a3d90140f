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

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.reading.evidence import BlockHeader
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import SendOutcome
from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.errors import InputError, NotFound
from evmbilling.ports.signer import Signer
from evmbilling.testing.fake_balances import Gift
from evmbilling.testing.fake_blocks import Executed, FakeTransaction, make_transaction
from evmbilling.testing.fake_calls import FakeCall
from evmbilling.testing.fake_ledger import ReorgMode
from evmbilling.testing.fake_node import FakeNode
from evmbilling.testing.fake_sending import FakeTransmitter
from evmbilling.testing.mapped_logs import mapped_logs
from evmbilling.testing.paid_logs import FakeLog, pay_call, transfer_log

SOMEBODY = checksum(b"somebody" + bytes(12))
"""Who sends what :meth:`FakeChain.send` is not told a sender of."""


class FakeChain(FakeNode):
    """A chain whose blocks, forks and failures a test decides; safe among threads.

    Args:
        chain_id: its EIP-155 id.
        start: the time of block 0; whole seconds.
        seed: chains of one seed that are driven alike have the same hashes.
        block_time: seconds between blocks.
        safe_lag: how many blocks the ``safe`` tag is behind the head; None when the node has no such tag.
        finalized_lag: the same for ``finalized``.

    Attributes:
        calls: the names of the port's methods as they were called: what would have been network traffic; ``scan`` for
            each range.
        scan_blocks: how many blocks a range of :meth:`scan` has.

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
        super().__init__(
            chain_id,
            start=start,
            seed=seed,
            block_time=block_time,
            safe_lag=safe_lag,
            finalized_lag=finalized_lag,
        )
        self._known: dict[bytes, FakeTransaction] = {}
        self._nonces: dict[str, int] = {}
        self._lost_replies = 0

    def __repr__(self) -> str:
        return f"<FakeChain {self._chain_id} at block {self.head.number}>"

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

    def pay_mapped(self, order: Order, contract: PaymentContract, *, nonce: int | None = None, **changes: Any) -> bytes:
        """Pay an order through a contract that is bound by configuration; return the transaction's hash.

        It leaves the token's ``Transfer`` and the event by which the binding knows a payment; ``changes`` are those of
        :func:`evmbilling.testing.mapped_logs.mapped_logs`: ``payer``, ``amount``, ``token_id``, ``fields``.
        """
        sender = changes.get("payer") or order.wallet
        return self.send(*mapped_logs(order, contract, **changes), sender=sender, nonce=nonce)

    def transfer(self, token: str, sender: str, receiver: str, amount: int, *, nonce: int | None = None) -> bytes:
        """Send base units of a token to an address, as a wallet does; return the hash."""
        return self.send(transfer_log(token, sender, receiver, amount), sender=sender, nonce=nonce)

    def give(self, token: str, holder: str, amount: int) -> None:
        """Change a balance without a log, from the next block on: what a rebase or a write to storage does."""
        with self._lock:
            gift = Gift(token=token, holder=holder, amount=amount, block=self.head.number + 1)
            self._gifts.append(gift)
            self._ledger.gifts.setdefault(gift.block, []).append(gift)

    def call(self, payload: WalletPayload, *, sender: str, nonce: int | None = None, status: int = 1) -> bytes:
        """Send a wallet's transaction with calldata; return its hash. The block that holds it executes it.

        A token's ``approve`` and ``transfer`` are understood at every address, ``give``, ``revoke`` and ``charge`` of
        the Mandates contract, and ``sweep`` of the Deposits contract for tokens; other calldata reverts.
        Without calldata it sends the coin. With ``status`` 0 it fails by itself.
        """
        with self._lock:
            wanted = self._next_nonce(sender) if nonce is None else nonce
            call = FakeCall(to=payload.to, value=payload.value, data=payload.data)
            made = make_transaction(salt=self._ledger.salt, sender=sender, nonce=wanted, call=call, status=status)
            return self._submit(made)

    # -- signed bytes, of the relayer

    def transmitter(self, signer_for: Callable[[SecretRef], Signer]) -> FakeTransmitter:
        """Return what sends our own transactions to this chain."""
        return FakeTransmitter(self, signer_for)

    def submit(self, made: FakeTransaction) -> SendOutcome:
        """Put a signed transaction into the pool, as a node does; say what the node answers.

        Raises:
            RpcUnavailable: as :meth:`fail` says; nothing has arrived.

        """
        with self._lock:
            self._answer("send")
            place = (made.sender, made.nonce)
            before = self._pool.get(place)
            if made.nonce < self._ledger.count(made.sender):
                return "nonce_used"
            if before is not None and before.hash == made.hash:
                return "known"
            # Nodes ask for a tenth more in both parts (geth txpool.pricebump).
            cheap = before is not None and not _pays_more(made, before)
            if cheap:
                return "underpriced"
            self._submit(made)
            if self._lost_replies:
                self._lost_replies -= 1
                return "no_answer"
            return "accepted"

    def lose_replies(self, times: int = 1) -> None:
        """Let the next transactions arrive, and the answers to their senders not."""
        with self._lock:
            self._lost_replies = times

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

    def pooled_count(self, sender: str) -> int:
        """Return how many transactions of a sender are mined or in the pool, up to the first gap."""
        with self._lock:
            count = self.mined_count(sender)
            while (sender, count) in self._pool:
                count += 1
            return count

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
            ready = self._minable()
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

    # -- inside; the lock is held

    def _transaction(self, tx_hash: bytes) -> FakeTransaction:
        if tx_hash not in self._known:
            raise NotFound("no such transaction was sent to this chain", field="tx_hash")
        return self._known[tx_hash]

    def _minable(self) -> list[FakeTransaction]:
        """Take what the next block can hold out of the pool: signed bytes wait for the nonces before theirs."""
        ready: list[FakeTransaction] = []
        nonces: dict[str, int] = {}
        signed = sorted((m for m in self._pool.values() if m.fees is not None), key=lambda m: m.nonce)
        for made in [*(m for m in self._pool.values() if m.fees is None), *signed]:
            wanted = nonces.setdefault(made.sender, self._ledger.count(made.sender))
            if made.fees is None or made.nonce <= wanted:
                ready.append(made)
                nonces[made.sender] = max(wanted, made.nonce + 1)
        for made in ready:
            del self._pool[made.sender, made.nonce]
        return ready

    def _submit(self, made: FakeTransaction) -> bytes:
        self._known[made.hash] = self._pool[made.sender, made.nonce] = made
        self._nonces[made.sender] = max(self._nonces.get(made.sender, 0), made.nonce + 1)
        return made.hash

    def _next_nonce(self, sender: str) -> int:
        return self._nonces.get(sender, 0)


def _pays_more(made: FakeTransaction, before: FakeTransaction) -> bool:
    new, old = made.fees, before.fees
    return new is None or old is None or all(10 * one >= 11 * other for one, other in zip(new, old, strict=True))
