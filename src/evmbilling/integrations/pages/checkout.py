"""The checkout page: what is bought, what will be signed, and what has become of it, for whoever holds the link."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from typing_extensions import TypedDict

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.books.paper_words import paper_words
from evmbilling.domain.money import from_base_units
from evmbilling.errors import ChallengeRefused, Conflict, NotFound, ProviderError, RpcUnavailable
from evmbilling.integrations.http.bodies import SignatureBody
from evmbilling.integrations.http.links import pay_page
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.reading import read_hex
from evmbilling.integrations.http.routes import LANG, Call, RouteTable
from evmbilling.integrations.http.shapes import PayloadView, PayPageView
from evmbilling.integrations.http.views import payload_view
from evmbilling.integrations.pages.rendering import (
    PAGES_PREFIX,
    embedded,
    html,
    qr,
    static_file,
)
from evmbilling.integrations.pages.words import texts

pay_pages = RouteTable("pages", access="anyone")
_HTML = "text/html; charset=utf-8"


@pay_pages.get("/static/{name}", produces="application/octet-stream", errors=(NotFound,))
def get_page_file(call: Call) -> Answer:
    """A file that pages load."""
    found = static_file(call.param("name"))
    if found is None:
        raise NotFound(field="name")
    return found


@pay_pages.get("/pay/{token}", produces=_HTML, also=(HTTPStatus.NOT_FOUND,), parameters=LANG)
def get_pay_page(call: Call) -> Answer:
    """The page of a pay link."""
    language = call.language
    words, papers = texts(language), paper_words(language)
    try:
        offer = call.engine.pay_link(call.param("token"))
        view = pay_page(call, offer)
    except NotFound:
        return html(
            "message.html",
            HTTPStatus.NOT_FOUND,
            lang=language,
            static=f"{PAGES_PREFIX}/static",
            title=words["missing_title"],
            text=words["missing_text"],
        )
    order = view["order"]
    decimals = order["amount"]["asset"]["decimals"]
    return html(
        "pay.html",
        lang=language,
        t=words,
        static=f"{PAGES_PREFIX}/static",
        api=f"{call.options.prefix}/pay/",
        page_base=call.options.pay_path,
        token=call.param("token"),
        treasury=offer.order.treasury,
        now=call.engine.now().isoformat(),
        shop=call.options.shop_name,
        view=view,
        per=_per(view, words),
        words=_signing(view, words),
        permit_words=words["words_permit"].replace("{amount}", order["amount"]["display"]),
        coin=order["amount"]["asset"]["token"] == NATIVE_COIN,
        payable=order["next"] == "pay",
        status_text=words.get(f"status_{order['status']}", order["status"]),
        lines=[
            {"text": papers.line(line["kind"], line["text"]), "display": _signed(int(line["base_units"]), decimals)}
            for line in view["lines"]
        ],
        first=embedded(view),
        texts=embedded(words),
    )


class PermitView(TypedDict):
    """What a wallet can sign to pay (EIP-712); None where an approval does, and nothing else."""

    typed_data: dict[str, Any] | None


@pay_pages.get("/pay/{token}/authorization", answer=PermitView, errors=(NotFound,))
def get_link_authorization(call: Call) -> PermitView:
    """What a wallet can sign to pay (ERC-2612, ERC-3009 or Permit2), where the contract and the token take it now."""
    offer = call.engine.pay_link(call.param("token"))
    try:
        return PermitView(typed_data=call.engine.pay_permit(offer.ledger_id))
    except (Conflict, ProviderError):
        return PermitView(typed_data=None)  # an approval does; what takes nothing but a signature is asked for again


@pay_pages.post(
    "/pay/{token}/authorization",
    body=SignatureBody,
    answer=PayloadView,
    errors=(NotFound, Conflict, ChallengeRefused, RpcUnavailable),
)
def authorize_link(call: Call) -> PayloadView:
    """The transaction that pays with the wallet's signature in it."""
    body: SignatureBody = call.body
    offer = call.engine.pay_link(call.param("token"))
    return payload_view(call.engine.pay_with_permit(offer.ledger_id, signature=read_hex(body.signature)))


@pay_pages.get("/pay/{token}/qr.svg", produces="image/svg+xml", errors=(NotFound,))
def get_pay_qr(call: Call) -> Answer:
    """A code with the address of a pay link's page."""
    call.engine.pay_link(call.param("token"))
    address = call.options.pay_url(call.param("token"))
    if address is None:
        raise NotFound("the host has not said where it is reached", field="public_url")
    return qr(address)


@pay_pages.get("/pay/{token}/transfer.svg", produces="image/svg+xml", errors=(NotFound,))
def get_transfer_qr(call: Call) -> Answer:
    """A code with the payment for a wallet (ERC-681), where it is a plain transfer."""
    offer = call.engine.pay_link(call.param("token"))
    if offer.uri is None:
        raise NotFound("this payment is no plain transfer", field="token")
    return qr(offer.uri)


def _per(view: PayPageView, words: dict[str, str]) -> str:
    interval = view["interval"]
    if interval["count"] == 1 and interval["unit"] != "none":
        return words[f"per_one_{interval['unit']}"]
    return words[f"per_{interval['unit']}"].replace("{count}", str(interval["count"]))


def _signing(view: PayPageView, words: dict[str, str]) -> str:
    """Return what the wallet will be asked for, in words; a coin needs no permission first."""
    amount = view["order"]["amount"]
    plain = f"words_{view['rail']}"
    coin = f"{plain}_coin" if amount["asset"]["token"] == NATIVE_COIN else plain
    return words.get(coin, words.get(plain, words["words_checkout"])).replace("{amount}", amount["display"])


def _signed(amount: int, decimals: int) -> str:
    return ("-" if amount < 0 else "") + from_base_units(abs(amount), decimals)
