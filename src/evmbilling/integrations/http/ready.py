"""An order as its payer gets it: signed, with what the chain says about paying it, and a link."""

from __future__ import annotations

from evmbilling.domain.selling.offers import Checkout
from evmbilling.integrations.http.routes import Call
from evmbilling.integrations.http.shapes import CheckoutView
from evmbilling.integrations.http.views import checkout_view


def ready_to_pay(call: Call, offer: Checkout, *, replayed: bool) -> CheckoutView:
    """Return an order with what the chain says about paying it, after its transaction was committed."""
    # One that is paid with a signature has no payload before it is there.
    ledger_id, payable = offer.ledger_id, offer.next == "pay"
    instructions = call.engine.pay_instructions(ledger_id, user_id=call.user) if payable else None
    pay_url = None
    if payable and call.options.public_url:
        pay_url = call.options.pay_url(call.engine.issue_pay_link(ledger_id, user_id=call.user).token)
    shown = checkout_view(offer, instructions, pay_url)
    shown["replayed"] = replayed
    return shown
