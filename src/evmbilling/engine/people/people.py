"""What concerns one user: quota, profile, wallet challenges, erasure. All of it may join the host's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.actors import SYSTEM, Actor, Role
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.engine.admin.base import check_actor
from evmbilling.engine.books.receipt_documents import NumberedDocument, find_document, list_documents
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.people import quota
from evmbilling.engine.people.erasure import erase
from evmbilling.engine.people.profile import Profile, profile
from evmbilling.engine.people.wallets import challenge_wallet
from evmbilling.engine.requests import check_text, parse_limit
from evmbilling.ports.quota import QuotaAnswer


class PeopleOperations:
    """The part of the engine's face that is about users."""

    def __init__(self, ports: Ports, runner: Runner) -> None:
        self._ports = ports
        self._runner = runner

    def check_quota(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Say whether a user may use ``amount`` more of a plan's limit now; consumes nothing.

        The limit comes from the user's access at this moment: no access, nothing left. A new paid period is a
        new window. What several products, or things that were sold once, give under one name is used up one after
        another, what ends first before the rest; ``left`` is how much one use may take.

        Raises:
            InputError: an id or the amount cannot be used.

        """
        return self._runner.read(lambda unit: quota.check(self._ports, unit, user_id, limit, amount))

    def consume_quota(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Take ``amount`` of a plan's limit if it fits: one conditional write, exact under any number of callers.

        It is taken whole, out of what one product or thing gives; see ``check_quota``.

        Raises:
            InputError: an id or the amount cannot be used.

        """
        return self._runner.write(lambda unit: quota.consume(self._ports, unit, user_id, limit, amount))

    def profile(self, user_id: str) -> Profile:
        """Return what an account page shows: wallets, access, subscriptions, debt, last payment, history.

        Raises:
            InputError: the id cannot be used.

        """
        return self._runner.read(lambda unit: profile(self._ports, unit, user_id))

    def receipt_documents(
        self, user_id: str, *, before: str | None = None, limit: int = 100
    ) -> Sequence[NumberedDocument]:
        """Return a page of a user's receipts, credit notes and corrections, the newest number first.

        Args:
            user_id: whose. before: the number below which the page begins; the newest when left out.
            limit: how many, at most.

        Raises:
            InputError: an argument cannot be used.

        """
        user, most = parse_opaque(user_id, field="user_id"), parse_limit(limit)
        return self._runner.read(lambda unit: list_documents(unit, user, before=before, limit=most))

    def receipt_document(self, number: str, *, user_id: str | None = None) -> NumberedDocument:
        """Return a document by its number, as data, JSON and a page to print.

        Args:
            number: as it is written, ``R-000001``.
            user_id: whose it has to be; anybody's when left out.

        Raises:
            NotFound: there is none, or it is not ``user_id``'s.
            InputError: the number is not written like one.

        """
        user = check_text(user_id, field="user_id")
        return self._runner.read(lambda unit: find_document(unit, number, user))

    def wallet_challenge(self, *, user_id: str, wallet: str, network: str, domain: str, uri: str) -> WalletChallenge:
        """Make a message (EIP-4361) that proves, once signed, that a wallet is the user's.

        It binds domain, URI, chain, nonce and expiry (10 minutes), and can be answered once. ``domain`` and ``uri`` are
        the host's own, from its configuration, never from a request's header.

        Raises:
            InputError: an address, domain or URI cannot be used; names the field.

        """
        return challenge_wallet(
            self._ports, self._runner, user_id=user_id, wallet=wallet, network=network, domain=domain, uri=uri
        )

    def erase(self, user_id: str, *, actor: Actor = SYSTEM) -> Customer:
        """Erase a user's personal data: wallets, challenges, zone and locale. The books and evidence stay.

        So do the counters of used limits, until ``prune`` removes them: access that was paid stays, and so does what
        was used of it. They are numbers under your opaque id. The zone stays in which a subscription's periods are
        counted. Of a refund that nobody can have sent, the address goes too. Orders keep the wallet that was asked to
        pay them, also where it never did: it is part of what was signed, and tells whose a late payment is.

        Raises:
            PermissionDenied: the actor is no ``billing_admin``.
            NotFound: billing has not seen this user.

        """
        check_actor(actor)
        actor.require(Role.BILLING_ADMIN)
        return self._runner.write(lambda unit: erase(self._ports, unit, user_id, actor))
