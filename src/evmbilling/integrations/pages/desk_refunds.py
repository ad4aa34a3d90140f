"""The desk's refunds: asked for, agreed to by a second person, prepared for the treasury's wallet, given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from evmbilling.domain.money import Asset, to_base_units
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.refunds.proofs import is_coin_refund
from evmbilling.domain.selling.offers import PreparedRefund, WalletPayload
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.refunds.refunds import Refunds
from evmbilling.engine.refunds.requests import Credit
from evmbilling.errors import BillingError, Conflict, InputError, NotFound
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter
from evmbilling.integrations.http.views import refund_view
from evmbilling.integrations.pages.desk_base import (
    DeskTable,
    acted,
    desk_link,
    draw_desk,
    explorers,
    may_approve,
    written,
)
from evmbilling.integrations.pages.forms import read_form
from evmbilling.integrations.pages.words import Words, desk_words

refund_pages = DeskTable()
_R = RefundStatus
_STATES = ("", _R.REQUESTED, _R.APPROVED, _R.PREPARED, _R.CONFIRMING, _R.DONE, _R.UNKNOWN, _R.FAILED, _R.CANCELLED)
_ENDS: Mapping[str, bool | None] = {"": None, "yes": True, "no": False}
_CREDIT_FIELDS = ("user_id", "network", "asset", "amount", "treasury", "reason")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "approve": ("end",),
    "prepare": (),
    "name": ("tx_hash",),
    "unname": ("tx_hash",),
    "cancel": ("reason",),
}
"""What can be done with a refund, and what its form asks for."""


class PayloadView(TypedDict):
    """A transaction that a wallet of the shop has to send: the treasury's, or the one that owns the contract."""

    sender: str | None
    chain: int
    to: str
    value: str
    gas: int
    data: str


class NamedView(TypedDict):
    """A transaction that is named for a refund, and what became of it."""

    tx_hash: str
    state: str
    reason: str | None


@refund_pages.get(
    "/refunds",
    parameters=(
        *PAGE,
        Parameter(name="state", text="Of this state only."),
        Parameter(name="user", text="Whose credit is shown."),
    ),
)
def get_desk_refunds(call: Call) -> Answer:
    """Refunds, and what customers have paid beyond their orders."""
    return _refunds_page(call)


@refund_pages.post("/refunds/credit", errors=(NotFound, Conflict))
def ask_credit_refund(call: Call) -> Answer:
    """Ask to give back what a customer paid beyond all orders."""
    form, desk = read_form(call, *_CREDIT_FIELDS), call.engine.refunds(call.who)

    def work() -> str:
        asset = _credited(desk, form)
        given = {name: form[name] for name in ("network", "asset", "treasury") if name in form}
        wish = {name: value for name, value in refund_wish(form, asset).items() if name in ("amount", "reason")}
        return asked_refund(call, desk.request_credit(form.get("user_id", ""), **given, **wish))

    return acted(work, lambda error: _refunds_page(call, wrong=error, user=form.get("user_id")))


@refund_pages.get("/refunds/{refund_id}", errors=(NotFound,))
def get_desk_refund(call: Call) -> Answer:
    """A refund, what can be done with it, and the transaction that carries it out once it was prepared."""
    return _refund_page(call)


@refund_pages.post("/refunds/{refund_id}/{action}", errors=(NotFound, Conflict))
def decide_refund(call: Call) -> Answer:
    """Agree to a refund, prepare it, say which transaction paid it, or give it up."""
    name, action = call.param("refund_id"), call.param("action")
    if action not in _FIELDS:
        raise NotFound("there is no such decision", field="action")
    form, desk = read_form(call, *_FIELDS[action]), call.engine.refunds(call.who)
    decisions: Mapping[str, Callable[[], object]] = {
        "approve": lambda: desk.approve(name, end_membership=_end(form)),
        "prepare": lambda: desk.prepare(name),
        "name": lambda: desk.name_transaction(name, tx_hash=form.get("tx_hash", "")),
        "unname": lambda: desk.unname_transaction(name, tx_hash=form.get("tx_hash", "")),
        "cancel": lambda: desk.cancel(name, reason=form.get("reason", "")),
    }

    def work() -> str:
        decisions[action]()
        return desk_link(call, f"/refunds/{name}", done=action)

    return acted(work, lambda error: _refund_page(call, wrong=error))


def asked_refund(call: Call, refund: Refund) -> str:
    """Return the address that shows a refund which was just asked for, and whether somebody must agree."""
    return desk_link(call, f"/refunds/{refund.refund_id}", done=f"refund_{refund.status}")


def refund_wish(form: Mapping[str, str], asset: Asset) -> dict[str, Any]:
    """Return what a form asks to give back; amounts are written as people read them.

    Raises:
        InputError: one of its fields cannot be used.

    """
    amount = form.get("amount")
    return {
        "amount": None if amount is None else to_base_units(amount, asset.decimals, field="amount"),
        "reason": form.get("reason", ""),
        "via": form.get("via"),
        "end_membership": _end(form),
    }


def _end(form: Mapping[str, str]) -> bool | None:
    word = form.get("end", "")
    if word not in _ENDS:
        raise InputError("yes or no is expected", field="end")
    return _ENDS[word]


def _credited(desk: Refunds, form: Mapping[str, str]) -> Asset:
    """Return the asset in which a customer has the credit that a form is about.

    Raises:
        NotFound: none.

    """
    for credit in desk.credit(form.get("user_id", "")):
        if form.get("asset") in (credit.asset.token, credit.asset.symbol):
            return credit.asset
    raise NotFound("the user has no credit in this asset", field="asset")


def _refunds_page(call: Call, wrong: BillingError | None = None, user: str | None = None) -> Answer:
    rows, state, desk = limit_of(call), query_of(call, "state") or "", call.engine.refunds(call.who)
    whose = (user or query_of(call, "user") or "").strip()
    found: Sequence[Refund] = ()
    held: Sequence[Credit] = ()
    try:
        found = desk.refunds(states=(state,) if state else (), after=cursor_of(call) or "", limit=rows + 1)
        held = desk.credit(whose) if whose else ()
    except InputError as error:
        wrong = wrong or error
    networks = {network.chain_id: network.name for network in call.engine.admin(call.who).networks()}
    words = desk_words(call.language)
    last = make_cursor(found[rows - 1].refund_id) if len(found) > rows else None
    return draw_desk(
        "desk_refunds.html",
        call,
        here="refunds",
        wrong=wrong,
        state=state,
        states=[(str(word), words.term("refund", word) if word else words("all")) for word in _STATES],
        refunds=[refund_view(refund) for refund in found[:rows]],
        more=None if last is None else desk_link(call, "/refunds", state=state or None, cursor=last),
        user=whose,
        credits=[
            {
                "network": networks.get(credit.asset.chain_id, ""),
                "token": credit.asset.token,
                "symbol": credit.asset.symbol,
                "held": written(credit.held, credit.asset),
                "free": written(credit.free, credit.asset),
            }
            for credit in held
        ],
    )


def _refund_page(call: Call, wrong: BillingError | None = None) -> Answer:
    desk = call.engine.refunds(call.who)
    refund = desk.refund(call.param("refund_id"))
    payload, wrong = _to_send(desk, refund, wrong)
    return draw_desk(
        "desk_refund.html",
        call,
        here="refunds",
        wrong=wrong,
        shown=refund_view(refund),
        requested_by=refund.requested_by,
        approved_by=refund.approved_by,
        tx_hash=None if refund.tx_hash is None else f"0x{refund.tx_hash.hex()}",
        explorer=explorers(call).get(refund.network),
        approve_first=refund.status is RefundStatus.PREPARED
        and refund.via == "contract"
        and not refund.asset.is_native,
        approval=_payload(payload.approval, refund)
        if isinstance(payload, PreparedRefund) and payload.approval is not None
        else None,
        payload=None if payload is None else _payload(payload, refund),
        is_coin=is_coin_refund(refund),
        named=_named(desk, refund, desk_words(call.language)),
        waits=_waits(call, refund, desk_words(call.language)),
        actions=_actions(call, refund),
    )


def _named(desk: Refunds, refund: Refund, words: Words) -> list[NamedView]:
    """Return the transactions that are named for a refund in the coin."""
    found = desk.transactions(refund.refund_id) if is_coin_refund(refund) else ()
    return [
        NamedView(
            tx_hash="0x" + proof.tx_hash.hex(),
            state=words.term("proof", proof.state),
            reason=None if proof.reason is None else words.term("proof_says", proof.reason),
        )
        for proof in found
    ]


def _to_send(
    desk: Refunds, refund: Refund, wrong: BillingError | None
) -> tuple[WalletPayload | None, BillingError | None]:
    """Return the transaction that a wallet of the shop has to send now, or why there is none any more.

    That of a refund which was prepared is the same one every time; after it a membership may have to be burned.
    """
    try:
        if refund.status is RefundStatus.PREPARED:
            return desk.prepare(refund.refund_id), wrong
        return (desk.prepare_burn(refund.refund_id) if _burns(refund) else None), wrong
    except (Conflict, InputError) as error:
        return None, wrong or error


def _burns(refund: Refund) -> bool:
    return refund.burn is not None and refund.burn.status == "due"


def _payload(payload: WalletPayload, refund: Refund) -> PayloadView:
    return PayloadView(
        sender=refund.treasury if refund.status is RefundStatus.PREPARED else None,
        chain=payload.chain_id,
        to=payload.to,
        value=str(payload.value),
        gas=payload.gas,
        data=f"0x{payload.data.hex()}",
    )


def _waits(call: Call, refund: Refund, words: Words) -> str | None:
    """Return who has to agree, where who looks at it cannot."""
    if refund.status is not RefundStatus.REQUESTED:
        return None
    if refund.requested_by == call.who.user_id:
        return words("asked_yourself")
    return None if may_approve(call) else words("needs_admin")


def _actions(call: Call, refund: Refund) -> tuple[str, ...]:
    """Return what who looks at it can do now."""
    agrees = may_approve(call) and refund.requested_by != call.who.user_id
    pays = is_coin_refund(refund) and refund.address is not None and refund.evidence is None
    proofs = call.engine.refunds(call.who).transactions(refund.refund_id) if pays else ()
    takes = (*(("name",) if pays else ()), *(("unname",) if any(p.state == "open" for p in proofs) else ()))
    by_status: Mapping[RefundStatus, tuple[str, ...]] = {
        _R.REQUESTED: (*(("approve",) if agrees else ()), "cancel"),
        _R.APPROVED: ("prepare", *takes, "cancel"),
        _R.PREPARED: (*takes, "cancel"),
        _R.SUBMITTED: takes,
        _R.UNKNOWN: takes,
        _R.CONFIRMING: () if refund.evidence is not None else (*takes, "cancel"),
        _R.FAILED: takes if refund.prepared_at is not None else (),
        _R.CANCELLED: takes if refund.prepared_at is not None else (),
    }
    return by_status.get(refund.status, ())
