"""Pay links: made on demand, found by the hash of their token."""

from __future__ import annotations

from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.pay_links import AFTERWARDS, ROTATION, IssuedLink, OpenPayLink, PayLink, hash_token
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.engine.context import Ports
from evmbilling.engine.selling.orders import answer, find_order, is_payable, order_provider
from evmbilling.errors import Conflict, NotFound
from evmbilling.ports.storage import Unit

_LONGEST_TOKEN = 200


def issue_link(ports: Ports, unit: Unit, ledger_id: str, *, user_id: str | None) -> IssuedLink:
    """Make a fresh link to an order; see :meth:`evmbilling.engine.core.Engine.issue_pay_link`."""
    order, now = find_order(unit, ledger_id, user_id), ports.clock.now()
    if not is_payable(order, now):
        raise Conflict("this order cannot be paid any more", field="ledger_id")
    token = ports.ids.token()
    link = PayLink(
        token_hash=hash_token(token), ledger_id=ledger_id, issued_at=now, expires_at=order.deadline + AFTERWARDS
    )
    unit.apply([OpenPayLink(link, now + ROTATION)])
    return IssuedLink(token=token, ledger_id=ledger_id, expires_at=link.expires_at)


def open_link(ports: Ports, unit: Unit, token: str) -> Checkout:
    """Return what a link leads to; see :meth:`evmbilling.engine.core.Engine.pay_link`."""
    usable = isinstance(token, str) and 0 < len(token) <= _LONGEST_TOKEN and token.isascii()
    link, now = unit.pay_link(hash_token(token)) if usable else None, ports.clock.now()
    order = unit.order(link.ledger_id) if link is not None and now < link.expires_at else None
    if order is None:
        raise NotFound("there is no such link", field="token")
    current = _current(ports, unit, order)
    return answer(order_provider(ports, unit, current), current, now)


def _current(ports: Ports, unit: Unit, order: Order) -> Order:
    """Return the order itself while it can be paid, else what can be paid for the same subscription instead."""
    now = ports.clock.now()
    if order.subscription_id is None or order.status in PAID_ORDERS or is_payable(order, now):
        return order
    others = [o for o in unit.orders_of_subscriptions([order.subscription_id]) if is_payable(o, now)]
    # What asks for a period leads to what asks for one, and the difference of a change to another difference.
    return min(
        others,
        key=lambda o: ((o.period is None) != (order.period is None), o.period or 0, o.ledger_id),
        default=order,
    )
