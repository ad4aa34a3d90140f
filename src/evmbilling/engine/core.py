"""The engine: operations on our own connections, joining the host's, and the workers' steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from evmbilling.domain.actors import Actor
from evmbilling.domain.catalogue import Network
from evmbilling.domain.customers import Wallet
from evmbilling.domain.evidence import Rescan
from evmbilling.domain.finance import QueueItem
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.nodes import NetworkHealth
from evmbilling.domain.offers import PayInstructions
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Refund
from evmbilling.domain.usage import WalletChallenge
from evmbilling.engine import checkout as flow
from evmbilling.engine.catalogue_input import flag, many
from evmbilling.engine.context import Hosts, JoinedTransaction, OwnTransactions, Ports
from evmbilling.engine.contract_checks import check_contracts
from evmbilling.engine.deliveries import Deliveries
from evmbilling.engine.dispatch import DispatchReport, run_dispatch
from evmbilling.engine.endpoints import Endpoints
from evmbilling.engine.erasure import prune
from evmbilling.engine.expiry import ExpiryReport, expire_orders
from evmbilling.engine.halts import ReaderDesk
from evmbilling.engine.health import networks_health
from evmbilling.engine.intake import IntakeReport, run_intake
from evmbilling.engine.mandates import Mandates
from evmbilling.engine.operations import Operations
from evmbilling.engine.reader import Wait, follow_chain, network_and_provider, read_chain
from evmbilling.engine.reader_base import Progress as Scanned
from evmbilling.engine.reader_base import ReadReport
from evmbilling.engine.refund_addresses import confirm_address, use_wallet
from evmbilling.engine.relayer import RelayReport, run_relayer
from evmbilling.engine.release import ReleaseReport, release_revenue
from evmbilling.engine.requests import parse_count, parse_optional
from evmbilling.engine.rescan import ask_rescan
from evmbilling.engine.sealing import SealReport, seal_rows
from evmbilling.engine.sending import Sending
from evmbilling.engine.token_checks import check_tokens
from evmbilling.engine.verify import verify
from evmbilling.engine.verify_report import Progress, Report
from evmbilling.engine.wallets import answer_challenge, challenge_wallet, confirm_wallet
from evmbilling.engine.webhooks import Headers, HintsReport, WebhookReceipt, handle_webhook, read_hints
from evmbilling.errors import InputError, UnknownNetwork
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


class Engine(Operations):
    """Billing over ready ports. Synchronous; starts no thread; holds no global."""

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports, OwnTransactions(ports.storage))
        self._hosts = Hosts()

    @contextmanager
    def within(self, host: object) -> Iterator[Operations]:
        """Join the host's transaction on its SQLAlchemy connection or session.

        Each call runs in a savepoint of that connection; nothing is committed, retried or sent over the network.
        A typed error of ours leaves the host's transaction usable.

        Raises:
            HostTransactionError: the connection is in AUTOCOMMIT, not one of the engine's database, or used in two
                threads at once.
            RetryTransaction: from calls: run your whole transaction again.

        """
        with self._hosts.entered(host), self._ports.storage.join(host) as joined:
            runner = JoinedTransaction(joined)
            try:
                yield Operations(self._ports, runner)
            finally:
                runner.leave()

    @property
    def mandates(self) -> Mandates:
        """Mandates, by which charges are pulled: prepare, give, list, cancel."""
        return Mandates(self._ports, self._runner)

    def pay_instructions(self, ledger_id: str, *, user_id: str | None = None) -> PayInstructions:
        """Ask the chain what a wallet has to do to pay an order: an approval first, and what stands in the way.

        Call it after the commit of the checkout: it talks to a node. A dead node gives the problem ``rpc_unknown``.

        Raises:
            NotFound: no such order, or it is not ``user_id``'s.

        """
        user = parse_optional(user_id, field="user_id")

        def load(unit: Unit) -> tuple[Order, Provider, Network | None]:
            order = flow.find_order(unit, ledger_id, user)
            return order, flow.order_provider(self._ports, unit, order), unit.network(order.network)

        order, provider, network = self._runner.read(load)
        if network is None:
            raise UnknownNetwork(field="network")
        if not flow.is_payable(order, self._ports.clock.now()):
            return PayInstructions(ledger_id=ledger_id, payload=None, approval=None, problems=())
        return provider.pay_instructions(order, network)

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
            to_block=to_block,
            progress=progress,
        )

    def follow(self, network: str, *, wait: Wait, seconds: float = 1) -> Iterator[ReadReport]:
        """Read a network again and again, and yield what each look at it did.

        A node that fails, or contradicts itself, is looked at again after the same pause.

        Args:
            network: name.
            wait: called between two looks with ``seconds``: returns when they are over, or sooner when something says
                that there may be a new block (a socket, a webhook); False to end. What woke it is not believed: the
                chain is looked at all the same, and also when nothing wakes it.
            seconds: the pause; about half the time between two blocks.

        Raises:
            UnknownNetwork: there is no such network.

        """
        return follow_chain(self._ports, self._runner, network, wait=wait, seconds=seconds)

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
        found = self._runner.read(lambda unit: network_and_provider(self._ports, unit, network)[0])
        return ask_rescan(self._ports, self._runner, found.chain_id, from_block, to_block)

    def run_intake(self, *, limit: int = 100, network: str | None = None) -> IntakeReport:
        """Take in a batch of evidence per network: receipts, orders, subscriptions, access and events move.

        Safe in any number of processes at once. Returns what was done; call again while ``taken`` is not 0. What goes
        wrong with one network is raised when the others have had their turn.

        Args:
            limit: movements of each network, at most.
            network: take in this one only; all when left out.

        """
        return run_intake(self._ports, self._runner, limit=parse_count(limit, field="limit"), network=network)

    def expire_orders(self, *, limit: int = 100, network: str | None = None) -> ExpiryReport:
        """Close offers whose deadline has passed on their own chain, as far as it has been read and taken in.

        Networks and errors as in ``run_intake``.
        """
        return expire_orders(self._ports, self._runner, limit=parse_count(limit, field="limit"), network=network)

    def networks_health(self) -> tuple[NetworkHealth, ...]:
        """Return how far every network has been read, and how its nodes are. Asks no node.

        What is known of nodes is what this process has seen of them: a process that never read a network knows nothing.
        """
        return networks_health(self._ports, self._runner)

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
        return run_relayer(self._ports, self._runner, limit=limit)

    def sending(self, actor: Actor) -> Sending:
        """Return our own transactions, for an actor whose roles are checked at every call."""
        return Sending(self._ports, self._runner, actor)

    def seal(self, *, limit: int = 1000) -> SealReport:
        """Seal up to ``limit`` committed append-only rows with a link of the chain; its head is logged.

        Raises:
            ConfigurationError: there is no seal key.

        """
        return seal_rows(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def verify(self, *, full: bool = False, head: str | None = None, progress: Progress | None = None) -> Report:
        """Prove the books, the projections, the seals and the treasuries, and name every difference.

        Reads the database in one transaction, then asks the nodes; never raises for what it finds.

        Args:
            full: compare every sealed row again, not only those after the watermark of the last run.
            head: ``number:mac`` of a link that the sealer logged; the chain of seals must still hold it.
            progress: told the name of a table and how many of its rows have been looked at.

        """
        everything, link = flag("full")(full), parse_optional(head, field="head")
        if progress is not None and not callable(progress):
            raise InputError("something that can be called is expected", field="progress")
        return verify(self._ports, self._runner, full=everything, head=link, progress=progress)

    def confirm_wallet(self, *, user_id: str, nonce: str, signature: bytes) -> Wallet:
        """Accept a wallet as a user's, by the signature of the challenge with this nonce.

        Any signer counts: a key (also behind EIP-7702), a contract wallet (ERC-1271), one not yet deployed (ERC-6492).
        The challenge is used up whatever the outcome. The chain is asked outside any transaction.

        Raises:
            ChallengeRefused: no open challenge of this user has the nonce, or the signature is not the wallet's.
            AlreadyExists: another user has confirmed this wallet.
            RpcUnavailable: a contract wallet's chain could not be asked; make a new challenge later.

        """
        return confirm_wallet(self._ports, self._runner, user_id=user_id, nonce=nonce, signature=signature)

    def refund_challenge(
        self, refund_id: str, *, user_id: str, wallet: str, network: str, domain: str, uri: str
    ) -> WalletChallenge:
        """Make a message by which a user proves the address that a refund shall go to; as ``wallet_challenge``.

        Raises:
            InputError: an address, domain or URI cannot be used; names the field.

        """
        return challenge_wallet(
            self._ports,
            self._runner,
            user_id=user_id,
            wallet=wallet,
            network=network,
            domain=domain,
            uri=uri,
            purpose=f"refund:{parse_opaque(refund_id, field='refund_id')}",
        )

    def confirm_refund_address(self, refund_id: str, *, user_id: str, nonce: str, signature: bytes) -> Refund:
        """Take the wallet that signed the refund's challenge as where the refund goes.

        Raises:
            ChallengeRefused: no such challenge, another's signature, or money that is nobody's asked for by another
                wallet than the one that sent it.
            NotFound: no such refund of this user.
            Conflict: its address is settled.
            RpcUnavailable: a contract wallet's chain could not be asked.

        """
        name = parse_opaque(refund_id, field="refund_id")
        challenge = answer_challenge(
            self._ports,
            self._runner,
            user_id=user_id,
            nonce=nonce,
            signature=signature,
            purpose=f"refund:{name}",
        )
        return self._runner.write(
            lambda unit: confirm_address(self._ports, unit, name, user_id=user_id, challenge=challenge)
        )

    def use_refund_wallet(self, refund_id: str, *, user_id: str, wallet: str) -> Refund:
        """Send a refund to a wallet that the user has confirmed before.

        Raises:
            ChallengeRefused: the wallet is not confirmed as the user's.
            NotFound, Conflict: as ``confirm_refund_address``.

        """
        name, user = parse_opaque(refund_id, field="refund_id"), parse_opaque(user_id, field="user_id")
        return self._runner.write(lambda unit: use_wallet(self._ports, unit, name, user_id=user, wallet=wallet))

    def handle_webhook(self, source: str, body: bytes, headers: Headers) -> WebhookReceipt:
        """Accept a webhook (Standard Webhooks 1.0): a hint to look at a transaction, never a payment by itself.

        Args:
            source: slug of a contract with a webhook secret, or ``relay`` for ``BILLING_WEBHOOK_SECRET``.
            body: the raw bytes, exactly as received: ``{"chain_id": 1, "tx_hash": "0x…"}``, more fields are ignored.
            headers: as received; a mapping, or pairs so that doubled headers are seen.

        Raises:
            WebhookRejected: the only error; ``reason`` and ``status`` say why.

        """
        return handle_webhook(self._ports, self._runner, source, body, headers)

    def read_hints(self, *, limit: int = 50) -> HintsReport:
        """Look for the transactions of accepted webhooks on their chains; the reader's rules decide what they mean.

        What is not mined yet is looked for again on a schedule, for two days; then the hint is dead.
        """
        return read_hints(self._ports, self._runner, limit=parse_count(limit, field="limit"))

    def prune(self, days: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """Remove rows that nobody needs any more; return how many, by table.

        Args:
            days: how long rows are kept after they ended, by table; ``evmbilling.engine.erasure.RETENTION`` otherwise.

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

    def reader(self, actor: Actor) -> ReaderDesk:
        """Return how networks are read, and how a halted one goes on, for an actor whose roles are checked."""
        return ReaderDesk(self._ports, self._runner, actor)

    def deliveries(self, actor: Actor) -> Deliveries:
        """Return what became of messages, for an actor whose roles are checked at every call."""
        return Deliveries(self._ports, self._runner, actor)

    def endpoints(self, actor: Actor) -> Endpoints:
        """Return the administration of webhook endpoints, for an actor whose roles are checked at every call."""
        return Endpoints(self._ports, self._runner, actor)

    def check_tokens(self) -> Sequence[QueueItem]:
        """Compare every token that is sold in with its chain; one that differs is halted. Returns what was halted now.

        A token that is halted is not sold in, and money that comes in it waits for a person, until somebody
        acknowledges the item in the finance queue. A chain that cannot be asked halts nothing.
        """
        return check_tokens(self._ports, self._runner)

    def check_contracts(self) -> Sequence[QueueItem]:
        """Compare the code of every bound contract with this package's; one that differs is halted. Returns those.

        Run it at start and now and then. Nothing new is sold through a contract that is halted, and what it says was
        paid waits for a person, until somebody acknowledges the item in the finance queue. A chain that cannot be
        asked halts nothing.
        """
        return check_contracts(self._ports, self._runner)

    def close(self) -> None:
        """Let go of connections that the engine opened."""
        for provider in self._ports.providers.values():
            provider.close()
        self._ports.storage.close()
