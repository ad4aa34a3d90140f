"""Administration of deposit addresses: what is there, another look, a sweep by hand."""

from __future__ import annotations

from evmbilling.domain.selling.deposits import DEPOSIT_STATES, Deposit
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.errors import ConfigurationError, Conflict, NotFound, RpcUnavailable
from evmbilling.integrations.http.admin_bodies import SweepBody
from evmbilling.integrations.http.bodies import EmptyBody
from evmbilling.integrations.http.deposit_shapes import DepositPage, DepositView, SweepView
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter, RouteTable
from evmbilling.integrations.http.views import amount_view, instant, instant_or_none

deposits = RouteTable("deposits", access="finance_ops", prefix="/admin")
_STATE = Parameter(name="state", text="In this state only.", example="stuck", shape={"enum": sorted(DEPOSIT_STATES)})


@deposits.get("/deposits", answer=DepositPage, parameters=(*PAGE, _STATE))
def list_deposits(call: Call) -> DepositPage:
    """Deposit addresses, by the ids of their orders."""
    rows, word = limit_of(call), query_of(call, "state")
    found = call.engine.deposits(call.who).deposits(
        states=() if word is None else (word,), after=cursor_of(call) or "", limit=rows + 1
    )
    more = make_cursor(found[rows - 1].order.ledger_id) if len(found) > rows else None
    return DepositPage(deposits=[deposit_view(one.deposit, one.order) for one in found[:rows]], next=more)


@deposits.get("/deposits/{ledger_id}", answer=DepositView, errors=(NotFound,))
def get_deposit(call: Call) -> DepositView:
    """The deposit address of an order, and what was seen there. No node is asked."""
    return _shown(call, call.engine.deposits(call.who).deposit(call.param("ledger_id")))


@deposits.post("/deposits/{ledger_id}/look", body=EmptyBody, answer=DepositView, errors=(NotFound,))
def look_at_deposit(call: Call) -> DepositView:
    """Have an address looked at by the next worker, however old it is; what is there is swept."""
    return _shown(call, call.engine.deposits(call.who).look_again(call.param("ledger_id")))


@deposits.post(
    "/deposits/{ledger_id}/sweep",
    body=SweepBody,
    answer=SweepView,
    errors=(NotFound, Conflict, RpcUnavailable),
)
def sweep_deposit(call: Call) -> SweepView:
    """Have everything of a token at an address sent to the order's treasury: also what was sent there by mistake.

    The key of the gateway's relayer has to be in this process; where it is not, `evmbilling deposits sweep` does it.
    """
    sent = swept(call, call.param("ledger_id"), call.body.token)
    return SweepView(transmission_id=sent.transmission_id, status=str(sent.status), sender=sent.sender)


def swept(call: Call, ledger_id: str, token: str | None) -> Transmission:
    """Have a token at an order's address swept.

    Raises:
        NotFound, RpcUnavailable, InputError: as the engine's own.
        Conflict: a sweep is on its way, nothing is there, or this process cannot order one, for the reason that it
            says: a web process need not hold the relayer's key.

    """
    try:
        return call.engine.deposits(call.who).sweep(ledger_id, token)
    except ConfigurationError as error:
        raise Conflict(error.message, field=error.field, **error.details) from None


def deposit_view(deposit: Deposit, order: Order) -> DepositView:
    """Show a deposit address."""
    return DepositView(
        ledger_id=order.ledger_id,
        user_id=order.user_id,
        network=order.network,
        address=deposit.address,
        treasury=order.treasury,
        state=deposit.state,
        amount=amount_view(order.asset, order.amount),
        held=amount_view(order.asset, deposit.held),
        seen_at=instant_or_none(deposit.seen_at),
        sweeps=deposit.sweeps,
        failures=deposit.failures,
        next_at=instant_or_none(deposit.next_at),
        watched_until=instant(deposit.watched_until),
    )


def _shown(call: Call, deposit: Deposit) -> DepositView:
    return deposit_view(deposit, call.engine.order(deposit.ledger_id).order)
