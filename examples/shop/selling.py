"""Selling: a row of the shop and an order of billing, in one transaction."""

from __future__ import annotations

from attrs import field, frozen
from sqlalchemy.orm import Session, sessionmaker

from evmbilling import BillingEngine, BillingSettings
from evmbilling.errors import BillingError, Conflict, RetryTransaction

from .accounts import Refused
from .tables import Purchase

PLAN, PRODUCT, LIMIT = "reader", "library", "pages"
_TRIES = 5
_SHORTEST_SECRET, _FEWEST_LETTERS = 32, 10


def _secret(_: object, __: object, value: str) -> None:
    """Refuse to open with a secret that somebody has seen before or can guess: cookies signed with it can be made."""
    if len(value) < _SHORTEST_SECRET or len(set(value)) < _FEWEST_LETTERS:
        raise ValueError('a secret of its own is needed: python -c "import secrets; print(secrets.token_urlsafe(32))"')


@frozen(kw_only=True)
class Shop:
    """What both applications work with.

    Attributes:
        billing: the engine, in the database of ``sessions``.
        settings: what the engine was built from; they also say who is of finance.
        secret: signs the cookies.
        origin: where people reach the shop.

    """

    billing: BillingEngine
    sessions: sessionmaker[Session]
    settings: BillingSettings
    secret: str = field(validator=_secret, repr=False)
    origin: str

    def buy(self, user: str, wallet: str, once: str) -> str:
        """Put the plan into the basket and return the page where it is paid. The same form again is the same order."""
        for _ in range(_TRIES):
            try:
                return self._pay_page(self._order(user, wallet, once))
            except RetryTransaction:
                continue
            except Conflict:
                raise Refused("This is paid already.") from None
            except BillingError as error:
                raise Refused(f"That cannot be sold: {error.message}.") from error
        raise Refused("Too many people buy at once. Please try again.")

    def _order(self, user: str, wallet: str, once: str) -> str:
        with self.sessions.begin() as session:
            known = session.get(Purchase, once)
            if known is not None and known.user == user:
                return known.ledger_id
            with self.billing.within(session) as joined:
                offer = joined.checkout(plan=PLAN, user_id=user, wallet=wallet, idempotency_key=f"form-{once}")
            session.add(Purchase(once=once, user=user, plan=PLAN, ledger_id=offer.ledger_id))
            return offer.ledger_id

    def _pay_page(self, ledger_id: str) -> str:
        return f"/billing/pay/{self.billing.issue_pay_link(ledger_id).token}"

    def purchases(self, user: str) -> list[tuple[str, str]]:
        """Return the user's purchases with what has become of their orders."""
        with self.sessions() as session:
            kept = session.query(Purchase).filter_by(user=user).all()
        return [(purchase.plan, self.billing.order(purchase.ledger_id).status) for purchase in kept]
