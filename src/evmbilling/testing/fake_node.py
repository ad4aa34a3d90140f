"""The reader's port over a chain in memory: what a node answers, and how it fails."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import RLock
from typing import Literal

import attrs

from evmbilling.adapters.evm.mandates.mandates import charge_call
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.mandates.mandate_charges import Charge, ChargeState
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction, ScannedRange, Tip, WatchSet
from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.chain import Ready
from evmbilling.testing.fake_balances import Gift, balance_at
from evmbilling.testing.fake_blocks import FakeBlock, FakeTransaction, as_signed
from evmbilling.testing.fake_calls import FakeCall, FakeContracts, FakeRules, read_pulled
from evmbilling.testing.fake_ledger import FakeLedger
from evmbilling.testing.paid_logs import is_watched

Tag = Literal["latest", "safe", "finalized"]
PLENTY = 10**22
"""Wei that everybody holds for gas."""
_SELECTOR_BYTES = 4


class FakeNode:
    """What a node of a chain in memory answers, for :class:`evmbilling.testing.fake_chain.FakeChain`.

    Attributes:
        calls: the names of the port's methods as they were called: what would have been network traffic; ``scan`` for
            each range.
        scan_blocks: how many blocks a range of :meth:`scan` has.
        rules: what the owners of its contracts have decided: pauses, operators, deny-lists.

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
        instant = parse_instant(start, field="start").replace(microsecond=0)
        self.rules = FakeRules()
        self._contracts = FakeContracts(chain_id, self.rules)
        self._ledger = FakeLedger(f"{chain_id}/{seed}", instant, timedelta(seconds=block_time), self._contracts)
        self._gifts: list[Gift] = []
        self._coins: dict[str, int] = {}
        self.calls: list[str] = []
        self._pool: dict[tuple[str, int], FakeTransaction] = {}
        self.scan_blocks = 1000

    # -- the port

    @property
    def chain_id(self) -> int:
        """The chain id that this source is configured for."""
        return self._chain_id

    def check_chain(self) -> None:
        """Raise WrongChain after :meth:`wrong_chain`."""
        with self._lock:
            self._answer("check_chain")
            self._check_served()

    def header(self, block: int | Tag) -> BlockHeader | None:
        """Return a header by number or tag; None when there is no such block or tag."""
        with self._lock:
            self._answer("header")
            number = self._tagged(block) if isinstance(block, str) else block
            return self._ledger.header(number)

    def tip(self, height: int) -> Tip:
        """Return the head, the tagged blocks and the block at a height.

        Raises:
            WrongChain: after :meth:`wrong_chain`.

        """
        with self._lock:
            self._answer("tip")
            self._check_served()
            safe, finalized = (self._ledger.header(self._tagged(tag)) for tag in ("safe", "finalized"))
            there = self._ledger.header(height)
            return Tip(head=self._ledger.head, safe=safe, finalized=finalized, there=there)

    def common_ancestor(self, headers: Sequence[BlockHeader], head: BlockHeader) -> BlockHeader | None:
        """Return the highest of these headers that is part of this chain.

        Raises:
            ChainMismatch: ``head`` is not.

        """
        with self._lock:
            self._answer("common_ancestor")
            self._canonical(head)
            same = [header for header in headers if self._ledger.header(header.number) == header]
            return max(same, key=lambda header: header.number, default=None)

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

    @contextmanager
    def scan(
        self, first: int, last: int, watch: WatchSet, *, ready: Ready | None = None
    ) -> Iterator[Iterator[ScannedRange]]:
        """Give the watched logs of ranges of ``scan_blocks`` blocks."""
        found = (self._scanned(at, min(last, at + self.scan_blocks - 1), watch) for at in self._starts(first, last))
        yield found if ready is None else (attrs.evolve(each, logs=ready(each.logs)) for each in found)

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

    def transactions(self, hashes: Collection[bytes]) -> Mapping[bytes, KnownTransaction]:
        """Return these transactions, those of the pool without a block."""
        with self._lock:
            self._answer("transactions")
            found: dict[bytes, KnownTransaction] = {}
            for tx_hash in hashes:
                mined = self._ledger.receipts.get(tx_hash)
                pending = next((made for made in self._pool.values() if made.hash == tx_hash), None)
                if mined is not None:
                    found[tx_hash] = self._ledger.blocks[mined[1].number].sent(tx_hash)
                elif pending is not None:
                    found[tx_hash] = as_signed(pending)
            return found

    def balances_now(self, places: Sequence[tuple[str, str]]) -> list[int]:
        """Return what these (address, token) pairs hold, as deposit addresses are asked about."""
        head = self.tip(0).head.number
        return [self.balance(token, holder, head) for holder, token in places]

    def charge_state(self, mandate: Mandate, charge: Charge, operator: str | None) -> ChargeState:
        """Return what stands in the way of a charge, as the node of a real chain would be asked."""
        with self._lock:
            self._answer("charge_state")
            state, head = self._ledger.state, self._ledger.head
            call = charge_call(mandate, charge)[_SELECTOR_BYTES:]
            pulled = read_pulled(mandate.contract, operator or ZERO_ADDRESS, call, int(head.timestamp.timestamp()))
            token, payer = mandate.asset.token, mandate.payer
            refusal = self._contracts.refusal(state, pulled)
            works = refusal == "none" and self._contracts.moves(pulled.terms)
            return ChargeState(
                time=head.timestamp,
                contract_known=True,
                token_answers=True,
                stage=state.stage(mandate.contract, payer, mandate.digest),
                charged=state.charged(mandate.contract, payer, mandate.digest),
                paused=mandate.contract in self.rules.paused,
                token_paused=token in self.rules.paused,
                balance=max(state.balance(token, payer), 0),
                allowance=state.allowance(token, payer, mandate.contract),
                used=any(state.is_used(place, charge.reference) for place in (mandate.contract, charge.checkout)),
                refusal=refusal if operator else None,
                simulated=None if operator is None else "ok" if works else "reverted",
            )

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def try_call(self, sender: str, call: FakeCall) -> None:
        """Run a call on the newest block; nothing changes.

        Raises:
            Reverted: it would fail.

        """
        with self._lock:
            self._answer("try_call")
            self._contracts.run(self._ledger.state, sender, call, int(self._ledger.head.timestamp.timestamp()))

    def coins(self, address: str) -> int:
        """Return the wei that an address holds for gas: plenty, unless :meth:`set_coins` said otherwise."""
        with self._lock:
            self._answer("coins")
            return self._coins.get(address, PLENTY)

    def set_coins(self, address: str, amount: int) -> None:
        """Say how much wei an address holds for gas; gas that is used does not make it less."""
        with self._lock:
            self._coins[address] = amount

    def mined_count(self, sender: str, block: int | None = None) -> int:
        """Return how many transactions of a sender are mined, up to a block, or the latest."""
        with self._lock:
            self._answer("mined_count")
            return self._ledger.count(sender, block)

    # -- faults

    def hold_tags(self, *, safe: int | None = None, finalized: int | None = None) -> None:
        """Let tags stand still at these blocks while the head moves on; None lets a tag follow its lag again."""
        with self._lock:
            held: dict[Tag, int | None] = {"safe": safe, "finalized": finalized}
            self._held = {tag: number for tag, number in held.items() if number is not None}

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

    def _check_served(self) -> None:
        if self._served_id != self._chain_id:
            raise WrongChain(f"the node serves chain {self._served_id}, not {self._chain_id}")

    def _starts(self, first: int, last: int) -> range:
        return range(first, last + 1, self.scan_blocks)

    def _scanned(self, first: int, last: int, watch: WatchSet) -> ScannedRange:
        with self._lock:
            self._answer("scan")
            if last >= len(self._ledger.blocks):
                raise RpcRefused("block range extends beyond current head block", block=last)
            blocks = self._ledger.blocks[first : last + 1]
            logs = (log for block in blocks if block.executed for log in block.chain_logs(self._chain_id))
            found = tuple(log for log in logs if is_watched(log, watch))
            return ScannedRange(first=blocks[0].header, last=blocks[-1].header, logs=found)

    def _tagged(self, tag: Tag) -> int | None:
        lag = self._lags[tag]
        number = None if lag is None else max(len(self._ledger.blocks) - 1 - lag, 0)
        return self._held.get(tag, number)

    def _canonical(self, header: BlockHeader) -> FakeBlock:
        if self._ledger.header(header.number) != header:
            raise ChainMismatch("the node does not have this block (any more)", block=header.number)
        return self._ledger.blocks[header.number]
