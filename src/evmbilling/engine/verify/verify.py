"""Verification: the books, the projections, the seals and the treasuries are proved from evidence, or named.

The database is read in one transaction, which sees one state of it, a page in memory at a time; nodes are asked
afterwards, about the block up to which that state had read.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen

from evmbilling.domain.payments.receipts import Refund
from evmbilling.engine.books.sealing import LEASE, LEASE_SECONDS, make_link
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.verify.asked import AskedCheck
from evmbilling.engine.verify.books import BooksCheck
from evmbilling.engine.verify.chain import ChainCheck
from evmbilling.engine.verify.coins import CoinRefundCheck
from evmbilling.engine.verify.given_back import GivenBackCheck
from evmbilling.engine.verify.refund_rows import RefundRows
from evmbilling.engine.verify.refunds import RefundCheck
from evmbilling.engine.verify.report import Findings, Progress, Report
from evmbilling.engine.verify.seals import SealCheck, head_of
from evmbilling.engine.verify.standing import StandingCheck
from evmbilling.engine.verify.treasury import ChainQuestion, TreasuryCheck, load_questions
from evmbilling.engine.verify.wallets import WalletCheck
from evmbilling.errors import AlreadyExists, ConfigurationError, InputError, RetryTransaction, StorageError
from evmbilling.ports.storage import Unit

_SALT_BYTES = 32


@frozen(kw_only=True)
class _Stored:
    """What the transaction that reads hands on to what asks nodes."""

    books: BooksCheck
    chain: ChainCheck
    seals: SealCheck | None
    sealed: bool
    questions: tuple[ChainQuestion, ...]
    coins: Sequence[Refund]


def verify(ports: Ports, runner: Runner, *, full: bool, progress: Progress | None, head: str | None = None) -> Report:
    """Prove what is stored; see :meth:`evmbilling.engine.core.Engine.verify`."""
    findings = Findings(progress=progress)
    stored = None
    with _readable("configuration", findings, passing=(StorageError, RetryTransaction)):
        # Of networks, gateways and contracts: without them no log can be read.
        stored = runner.read(lambda unit: _check_stored(ports, unit, findings, full=full, head=head))
    if stored is None:
        return Report(
            differences=tuple(findings.differences),
            counts=findings.counts,
            waiting=0,
            seals="no_key" if ports.seal_key is None else "proved",
            head="",
            watermark=0,
            coins=(),
        )
    treasuries = TreasuryCheck(
        findings, runner, sums=stored.chain.sums, openings=stored.books.openings, booked=stored.books.treasury
    )
    treasuries.run(stored.questions)
    CoinRefundCheck(findings, stored.coins).run(stored.questions)
    seals = stored.seals
    if seals is not None and not seals.broken:
        _mark(ports, runner, seals)
    return Report(
        differences=tuple(findings.differences),
        counts=findings.counts,
        waiting=len(stored.chain.waiting),
        seals="off" if not stored.sealed else "proved" if seals is not None else "no_key",
        head=head_of(seals.last) if seals is not None and seals.last is not None else "",
        watermark=0 if full or seals is None else seals.watermark,
        coins=tuple(treasuries.coins),
    )


def _check_stored(ports: Ports, unit: Unit, findings: Findings, *, full: bool, head: str | None) -> _Stored:
    findings.differences.clear()  # the transaction may be run again
    findings.counts.clear()
    salt = randomness.token_bytes(_SALT_BYTES)
    books = BooksCheck(unit, findings)
    chain = ChainCheck(ports, unit, findings)
    seals = SealCheck(unit, findings, (ports.seal_key, *ports.former_seal_keys)) if ports.seal_key is not None else None
    with _readable("books", findings):
        books.run(salt)
    with _readable("evidence", findings):
        chain.run(salt)
    rows = RefundRows(ports, unit, findings, chain.decoder, chain.waiting)
    with _readable("refunds", findings):
        RefundCheck(unit, findings, received=chain.received, reversed_=chain.reversed, rows=rows).run()
    with _readable("standing", findings):
        asked = AskedCheck(unit, chain.providers)
        StandingCheck(unit, findings, ports.clock.now(), ports.storage.instance_id(), asked=asked).run()
        GivenBackCheck(unit, findings, ports.clock.now()).run()
    if full:
        with _readable("wallets", findings):
            WalletCheck(ports, unit, findings).run()
    if seals is not None:
        with _readable("seals", findings):
            seals.run(full=full, head=head)
    return _Stored(
        books=books,
        chain=chain,
        seals=seals,
        sealed=unit.last_seal() is not None,
        questions=load_questions(unit, chain.providers),
        coins=rows.coins,
    )


@contextmanager
def _readable(
    part: str, findings: Findings, *, passing: tuple[type[Exception], ...] = (RetryTransaction,)
) -> Iterator[None]:
    """Name a part in which a row cannot even be read, and go on with the next."""
    try:
        yield
    except passing:
        raise
    except (InputError, ConfigurationError, StorageError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        # Drivers and types raise the built-in ones for what nobody of us wrote; KeyError is a row that others refer to.
        findings.add("unproved", f"part:{part}", found=error, reason=getattr(error, "code", "unreadable"))


def _mark(ports: Ports, runner: Runner, seals: SealCheck) -> None:
    """Set the watermark: a link without rows after the one that was proved last, unless it is one of this key."""
    key, last = ports.seal_key, seals.last
    if key is None or last is None or last.number == seals.watermark:
        return
    lease = ports.storage.acquire_lease(LEASE, ports.worker, LEASE_SECONDS)
    if lease is None:
        return

    def write(unit: Unit) -> None:
        # Only if nothing was sealed since: what came later has not been compared.
        if unit.last_seal() == last:
            unit.apply([make_link(key, last, (), ports)])

    try:
        runner.write(write)
    except AlreadyExists:
        ports.telemetry.count("verify_unmarked")
    finally:
        ports.storage.release_lease(lease)
