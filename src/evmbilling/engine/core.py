"""The engine: operations on our own connections, and joining the host's; the workers' steps stand beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evmbilling.domain.actors import Actor
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.people.customers import Wallet
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.domain.reading.nodes import NetworkHealth
from evmbilling.domain.selling.offers import PayInstructions, WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.progress import Progress
from evmbilling.engine.admin.contract_checks import changed_code
from evmbilling.engine.admin.contract_desk import ContractDesk
from evmbilling.engine.admin.readers import flag
from evmbilling.engine.books.overview import Overview
from evmbilling.engine.context import Hosts, JoinedTransaction, OwnTransactions, Ports
from evmbilling.engine.mandates.mandates import Mandates
from evmbilling.engine.messages.deliveries import Deliveries
from evmbilling.engine.messages.endpoints import Endpoints
from evmbilling.engine.messages.webhooks import Headers, WebhookReceipt, handle_webhook
from evmbilling.engine.operations import Operations
from evmbilling.engine.people.wallets import answer_challenge, challenge_wallet, confirm_wallet
from evmbilling.engine.reading.halts import ReaderDesk
from evmbilling.engine.refunds.addresses import confirm_address, use_wallet
from evmbilling.engine.requests import (
    check_callable,
    check_text,
)
from evmbilling.engine.selling.deposit_desk import DepositDesk
from evmbilling.engine.selling.orders import find_order, is_payable, order_provider
from evmbilling.engine.selling.pay_permits import pay_permit, pay_with_permit
from evmbilling.engine.selling.progress import order_progress
from evmbilling.engine.sending.sending import Sending
from evmbilling.engine.verify.report import Progress as Verified
from evmbilling.engine.verify.report import Report
from evmbilling.engine.verify.seals import asked_head
from evmbilling.engine.verify.verify import verify
from evmbilling.engine.watching.health import networks_health
from evmbilling.engine.watching.watch import Watch
from evmbilling.engine.worker_steps import WorkerSteps
from evmbilling.errors import HostTransactionError, UnknownNetwork
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


class _Within(Operations):
    """What ``within`` hands over; what only the engine itself can do is refused by name."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Refuse what would commit by itself, or ask a node, inside the host's transaction."""
            if name.startswith("_") or not hasattr(Engine, name):
                raise AttributeError(name)
            raise HostTransactionError(
                f"{name} is for the engine itself, outside of `within`: call it after your commit"
            )


class Engine(WorkerSteps):
    """Billing over ready ports. Synchronous; starts no thread; holds no global."""

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports, OwnTransactions(ports.storage, ports.telemetry))
        self._hosts = Hosts()

    @contextmanager
    def within(self, host: object) -> Iterator[Operations]:
        """Join the host's transaction on its SQLAlchemy connection or session.

        Each call runs in a savepoint of that connection; nothing is committed, retried or sent over the network.
        A typed error of ours leaves the host's transaction usable.

        Raises:
            HostTransactionError: the connection is in AUTOCOMMIT, or used in two threads at once; from calls: it is not
                one of the engine's database, or leads to other tables at the moment.
            RetryTransaction: from calls: run your whole transaction again.

        """
        with self._hosts.entered(host), self._ports.storage.join(host) as joined:
            runner = JoinedTransaction(joined, self._ports.telemetry)
            try:
                yield _Within(self._ports, runner)
            finally:
                runner.leave()

    @property
    def watch(self) -> Watch:
        """Figures for monitoring, and the signs of life of workers."""
        return Watch(self._ports, self._runner)

    @property
    def mandates(self) -> Mandates:
        """Mandates, by which charges are pulled: prepare, give, list, cancel."""
        return Mandates(self._ports, self._runner)

    def pay_instructions(self, ledger_id: str, *, user_id: str | None = None) -> PayInstructions:
        """Ask the chain what a wallet has to do to pay an order: an approval first, and what stands in the way.

        Call it after the commit of the checkout: it talks to a node. A dead node gives the problem ``rpc_unknown``.
        Nothing is offered through a mapped contract whose code is not the one that was bound (``contract_changed``).

        Raises:
            NotFound: no such order, or it is not ``user_id``'s.

        """
        user = check_text(user_id, field="user_id")

        def load(unit: Unit) -> tuple[Order, Provider, Network | None]:
            order = find_order(unit, ledger_id, user)
            return order, order_provider(self._ports, unit, order), unit.network(order.network)

        order, provider, network = self._runner.read(load)
        if network is None:
            raise UnknownNetwork(field="network")
        if not is_payable(order, self._ports.clock.now()):
            return PayInstructions(ledger_id=ledger_id, payload=None, approval=None, problems=())
        changed = changed_code(self._runner, provider, order, network)
        if changed is not None:
            return PayInstructions(ledger_id=ledger_id, payload=None, approval=None, problems=(changed,))
        return provider.pay_instructions(order, network)

    def progress(self, ledger_id: str, *, user_id: str | None = None) -> Progress:
        """Return an order with what stands on chain for it: received so far, confirmations had and needed.

        As far as the chain was read; asks no node.

        Raises:
            NotFound: no such order, or it is not ``user_id``'s.

        """
        user = check_text(user_id, field="user_id")
        return self._runner.read(lambda unit: order_progress(self._ports, unit, ledger_id, user))

    def pay_permit(self, ledger_id: str, *, user_id: str | None = None) -> dict[str, Any]:
        """Return what a wallet signs to pay (ERC-2612, ERC-3009 or Permit2), where the order's contract takes that.

        It is EIP-712 typed data for ``eth_signTypedData_v4``; the token's own domain and nonce are read from the chain.

        Raises:
            NotFound: no such order, or it is not ``user_id``'s.
            Conflict: the order cannot be paid any more, its contract or its token takes no signatures, or the one for
                this order was used or cancelled.
            RpcUnavailable: no node answered.

        """
        return pay_permit(self._ports, self._runner, ledger_id, user_id)

    def pay_with_permit(self, ledger_id: str, *, signature: bytes, user_id: str | None = None) -> WalletPayload:
        """Return the transaction that pays an order with the wallet's signature in it.

        With a permit (ERC-2612) the wallet itself sends it; with the other schemes anybody may.

        Raises:
            ChallengeRefused: it is not the wallet's signature of what :meth:`pay_permit` says now; sign again.
            NotFound, Conflict, RpcUnavailable: as :meth:`pay_permit`.

        """
        return pay_with_permit(self._ports, self._runner, ledger_id, user_id, signature)

    def now(self) -> datetime:
        """Return the time by which this engine decides: the injected clock's."""
        return self._ports.clock.now()

    def networks_health(self) -> tuple[NetworkHealth, ...]:
        """Return how far every network has been read, and how its nodes are. Asks no node.

        What is known of nodes is what this process has seen of them: a process that never read a network knows nothing.
        """
        return networks_health(self._ports, self._runner)

    def contracts(self, actor: Actor) -> ContractDesk:
        """Return the care of contracts bound by configuration, for an actor whose roles are checked at every call."""
        return ContractDesk(self._ports, self._runner, actor)

    def deposits(self, actor: Actor) -> DepositDesk:
        """Return the care of deposit addresses, for an actor whose roles are checked at every call."""
        return DepositDesk(self._ports, self._runner, actor)

    def sending(self, actor: Actor) -> Sending:
        """Return our own transactions, for an actor whose roles are checked at every call."""
        return Sending(self._ports, self._runner, actor)

    def verify(self, *, full: bool = False, head: str | None = None, progress: Verified | None = None) -> Report:
        """Prove the books, the projections, the seals and the treasuries, and name every difference.

        Reads the database in one transaction, then asks the nodes; what it finds is in the report and never raised.

        Args:
            full: compare every sealed row again, not only those after the watermark of the last run.
            head: ``number:mac`` of a link that the sealer logged; the chain of seals must still hold it.
            progress: told the name of a table and how many of its rows have been looked at.

        Raises:
            InputError: ``head`` names no link, or this engine has no key to look for it with.

        """
        everything, link = flag("full")(full), asked_head(head, self._ports.seal_key)
        told = check_callable(progress, field="progress")
        return verify(self._ports, self._runner, full=everything, head=link, progress=told)

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
        """Send a refund to a wallet that the user has confirmed, and has paid from on the refund's chain.

        Raises:
            ChallengeRefused: the wallet is not confirmed as the user's, or paid nothing there: ``refund_challenge``.
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

    def reader(self, actor: Actor) -> ReaderDesk:
        """Return how networks are read, and how a halted one goes on, for an actor whose roles are checked."""
        return ReaderDesk(self._ports, self._runner, actor)

    def overview(self, actor: Actor) -> Overview:
        """Return the figures of finance, for an actor whose roles are checked at every call."""
        return Overview(self._ports, self._runner, actor)

    def deliveries(self, actor: Actor) -> Deliveries:
        """Return what became of messages, for an actor whose roles are checked at every call."""
        return Deliveries(self._ports, self._runner, actor)

    def endpoints(self, actor: Actor) -> Endpoints:
        """Return the administration of webhook endpoints, for an actor whose roles are checked at every call."""
        return Endpoints(self._ports, self._runner, actor)

    def close(self) -> None:
        """Let go of connections that the engine opened."""
        for provider in self._ports.providers.values():
            provider.close()
        self._ports.storage.close()
