"""The steps of workers: each does what is due now, and is safe in any number of processes at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.reading.evidence import Rescan
from evmbilling.engine.admin.contract_checks import check_contracts
from evmbilling.engine.admin.readers import many
from evmbilling.engine.admin.token_checks import check_tokens
from evmbilling.engine.books.folding import FoldReport, fold_figures, rebuild_figures
from evmbilling.engine.books.receipt_documents import NumberReport, number_receipts
from evmbilling.engine.books.release import ReleaseReport, release_revenue
from evmbilling.engine.books.sealing import SealReport, seal_rows
from evmbilling.engine.intake.intake import run_intake
from evmbilling.engine.intake.outcome import IntakeReport
from evmbilling.engine.mandates.charges import ChargesReport, run_charges
from evmbilling.engine.messages.dispatch import DispatchReport, run_dispatch
from evmbilling.engine.messages.webhooks import HintsReport, read_hints
from evmbilling.engine.operations import Operations
from evmbilling.engine.people.erasure import prune
from evmbilling.engine.reading.base import Progress as Scanned
from evmbilling.engine.reading.base import ReadReport
from evmbilling.engine.reading.reader import Wait, follow_chain, network_and_provider, read_chain
from evmbilling.engine.reading.rescan import ask_rescan
from evmbilling.engine.requests import (
    check_callable,
    parse_block,
    parse_count,
    parse_pause,
)
from evmbilling.engine.selling.deposits import DepositReport, look_at_deposits
from evmbilling.engine.selling.expiry import ExpiryReport, expire_orders
from evmbilling.engine.sending.relayer import RelayReport, run_relayer
from evmbilling.engine.subscriptions.renewals import RenewalReport, run_renewals
from evmbilling.errors import InputError


class WorkerSteps(Operations):
    """What has to be called again and again: reading, taking in, renewing, sending, telling, sealing."""

    def read_chain(
        self, network: str, *, max_blocks: int = 10_000, to_block: int | None = None, progress: Scanned | None = None
    ) -> ReadReport:
        """Read what happened on a network since the last time; one transaction for each range of blocks.

        Args:
            network: name.
            max_blocks: how many blocks are read at most; call again while ``blocks`` is not 0.
            to_block: the last block to read; the head when left out.
            progress: told the last block that was written, and where this call will end.

        Raises:
            UnknownNetwork: there is no such network.
            ProviderError: no node answered, or the answers contradict each other; what was read before is kept.

        """
        return read_chain(
            self._ports,
            self._runner,
            network,
            max_blocks=parse_count(max_blocks, field="max_blocks"),
            to_block=None if to_block is None else parse_block(to_block, field="to_block"),
            progress=check_callable(progress, field="progress"),
        )

    def follow(self, network: str, *, wait: Wait, seconds: float = 1) -> Iterator[ReadReport]:
        """Read a network again and again, and yield what each look at it did.

        A node that fails, or contradicts itself, is looked at again after the same pause; so it is when another worker
        took the lease meanwhile, or the database wants the transaction again.

        Args:
            network: name.
            wait: called between two looks with ``seconds``: returns when they are over, or sooner when something says
                that there may be a new block (a socket, a webhook); False to end. What woke it is not believed: the
                chain is looked at all the same, and also when nothing wakes it.
            seconds: the pause; about half the time between two blocks.

        Raises:
            UnknownNetwork: there is no such network.

        """
        name, pause = parse_slug(network, field="network"), parse_pause(seconds, field="seconds")
        if not callable(wait):
            raise InputError("something that can be called is expected", field="wait")
        return follow_chain(self._ports, self._runner, name, wait=wait, seconds=pause)

    def rescan(self, network: str, from_block: int, *, to_block: int | None = None) -> Rescan:
        """Have blocks that were read before read again, by the next calls of :meth:`read_chain`.

        What is missing or was altered is stored; receipts, balances, periods and standings end as if it had always been
        there. Nothing is taken back: a log that a node leaves out now is an error, or halts the network.

        Args:
            network: name.
            from_block: the first block.
            to_block: the last one; what was read last when left out.

        Raises:
            UnknownNetwork: there is no such network.
            NotFound: it was never read.
            InputError: these blocks were not all read before; names ``from_block``.
            RequestInProgress: another worker reads the network at the moment.

        """
        first = parse_block(from_block, field="from_block")
        last = None if to_block is None else parse_block(to_block, field="to_block")
        found = self._runner.read(lambda unit: network_and_provider(self._ports, unit, network)[0])
        return ask_rescan(self._ports, self._runner, found.chain_id, first, last)

    def run_intake(self, *, limit: int = 100, network: str | None = None) -> IntakeReport:
        """Take in a batch of evidence per network: receipts, orders, subscriptions, access and events move.

        Safe in any number of processes at once. Returns what was done; call again while ``taken`` is not 0. What goes
        wrong with one network is raised when the others have had their turn.

        Args:
            limit: movements of each network, at most.
            network: take in this one only; all when left out.

        """
        only = None if network is None else parse_slug(network, field="network")
        return run_intake(self._ports, self._runner, limit=parse_count(limit, field="limit"), network=only)

    def expire_orders(self, *, limit: int = 100, network: str | None = None) -> ExpiryReport:
        """Close offers whose deadline has passed on their own chain, as far as it has been read and taken in.

        Networks and errors as in ``run_intake``.
        """
        only = None if network is None else parse_slug(network, field="network")
        return expire_orders(self._ports, self._runner, limit=parse_count(limit, field="limit"), network=only)

    def run_renewals(self, *, limit: int = 100) -> RenewalReport:
        """Do what time has made due for up to ``limit`` subscriptions of each network.

        Orders of coming periods are made, mandates are charged, people are reminded, what is not paid is owed and
        dunned, what was cancelled ends. Nothing of that happens later than payments are known: no later than the last
        block of every network on which the customer could have paid. Safe in any number of processes at once, and as
        often as you like: it may stand still for months and ends in the same orders. Call it again while ``looked`` is
        not 0. It stands still, and says why, while this machine's clock contradicts the database's.
        """
        return run_renewals(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def run_charges(self, *, limit: int = 50) -> ChargesReport:
        """Carry out up to ``limit`` charges of each network that ``run_renewals`` has decided, under stored mandates.

        The chain is asked first. What stands in the way fails the charge with its stable reason: it is tried again on
        the plan's schedule, or its payer is asked when no waiting mends it. Everything else is handed to ``relay``. A
        node that does not answer fails nothing. That money came is said by the reader alone. Safe in any number of
        processes at once; needs the relayer's keys: a worker's work. Call it every few seconds.

        Args:
            limit: charges of each network that are moved at most.

        """
        return run_charges(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def release_revenue(self, *, limit: int = 10_000) -> ReleaseReport:
        """Release deferred revenue of up to ``limit`` orders: at month boundaries (UTC) and at the ends of periods.

        Running it every hour or once after months ends in the same entries. Call it again while ``orders`` is
        ``limit`` or ``left`` is not 0.
        """
        return release_revenue(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def relay(self, *, limit: int = 50) -> RelayReport:
        """Send our own transactions (charges, refunds) that are due, and follow those that are on their way.

        Needs the relayer's keys: a worker's work. Safe in any number of processes at once; a node that does not answer
        holds up its own network only. Call it every few seconds.

        Args:
            limit: transactions of each sender that are begun at most.

        """
        return run_relayer(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def look_at_deposits(self, *, limit: int = 200, network: str | None = None) -> DepositReport:
        """Look at the deposit addresses that are due, up to ``limit`` of each network, and have sweeps ordered.

        Open orders are looked at every few seconds at first and more seldom later; after their end for as long as the
        gateway's policy says (``late_watch``). What is at an address is handed to ``relay``, which sweeps it to the
        treasury; the reader says that it came. Needs the relayer's keys: a worker's work. Safe in any number of
        processes at once. Call it every few seconds, and again while ``done`` is not 0.

        Args:
            limit: addresses of each network that are looked at, at most.
            network: look at this one only; all when left out.

        """
        only = None if network is None else parse_slug(network, field="network")
        return look_at_deposits(self._ports, self._runner, limit=parse_count(limit, field="limit"), network=only)

    def seal(self, *, limit: int = 1000) -> SealReport:
        """Seal up to ``limit`` committed append-only rows with a link of the chain; its head is logged.

        Raises:
            ConfigurationError: there is no seal key.

        """
        return seal_rows(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def fold(self, *, limit: int = 10_000) -> FoldReport:
        """Take what was committed into the figures of the overview: up to about ``limit`` facts.

        Safe in any number of processes at once: one of them folds. Nothing that it writes is written by a payment or in
        a host's transaction. Call it every minute, and again while ``folded`` is not 0. Figures are as new as its last
        call; nothing else depends on it.
        """
        return fold_figures(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def rebuild_figures(self) -> int:
        """Make all sums anew from the movements, in one transaction; return how many movements there are.

        Reports see the old sums until it is done. A folder that works meanwhile gives way.

        Raises:
            VersionConflict: a folder was faster; call it again.

        """
        return rebuild_figures(self._ports, self._runner)

    def number_receipts(self, *, limit: int = 100) -> NumberReport:
        """Give numbers, without gaps, to what was finally paid, was given back, or turned out to be untrue.

        Safe in any number of processes at once: one of them gives numbers. Call it again while ``issued`` is not 0.
        """
        return number_receipts(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def read_hints(self, *, limit: int = 50) -> HintsReport:
        """Look for the transactions of accepted webhooks on their chains; the reader's rules decide what they mean.

        What is not mined yet is looked for again on a schedule, for two days; then the hint is dead.
        """
        return read_hints(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def prune(self, days: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """Remove rows that nobody needs any more; return how many, by table.

        Args:
            days: how long rows are kept after they ended, by table;
                ``evmbilling.engine.people.erasure.RETENTION`` otherwise.

        Raises:
            InputError: a table that is never pruned, or a period below one day.

        """
        return prune(self._ports, days)

    def dispatch(self, *, limit: int = 100, sinks: Collection[str] | None = None) -> DispatchReport:
        """Hand events of the outbox out to their sinks, and deliver what is due, in one batch for each sink.

        Each sink has a lane of its own: one that raises or hangs harms no other. Safe in any number of processes at
        once. Call again while ``handed_out`` or ``delivered`` is not 0.

        Args:
            limit: events that are handed out, and deliveries of each sink, at most.
            sinks: names of the sinks that this call delivers to; all when left out.

        Raises:
            BaseException: a sink raised something that is no Exception, such as SystemExit; everything is stored.

        """
        rows = parse_count(limit, field="limit")
        wanted = None if sinks is None else many("sinks", lambda name: parse_opaque(name, field="sinks"))(sinks)
        return run_dispatch(self._ports, self._runner, limit=rows, sinks=wanted)

    def check_tokens(self) -> Sequence[QueueItem]:
        """Compare every token that is sold in with its chain; one that differs is halted. Returns what was halted now.

        It differs in its decimals, or in how much of a price arrives that is sent, which is tried and not sent.
        A token that is halted is not sold in, and money that comes in it waits for a person, until somebody
        acknowledges the item in the finance queue. A chain that cannot be asked halts nothing. Tokens of earlier
        versions of plans are compared too, since subscriptions run on them. A token that was waiting for its first look
        is sold in from then on.
        """
        return check_tokens(self._ports, self._runner)

    def check_contracts(self) -> Sequence[QueueItem]:
        """Compare the code of every bound contract with this package's; one that differs is halted. Returns those.

        Run it at start and now and then. Nothing new is sold through a contract that is halted, and what it says was
        paid waits for a person, until somebody acknowledges the item in the finance queue. A chain that cannot be
        asked halts nothing.
        """
        return check_contracts(self._ports, self._runner)
