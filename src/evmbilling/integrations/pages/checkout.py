"""The checkout page: what is bought, what will be signed, and what has become of it, for whoever holds the link."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.domain.money import from_base_units
from evmbilling.errors import NotFound
from evmbilling.integrations.http.links import pay_page
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.routes import Call, RouteTable
from evmbilling.integrations.http.shapes import PayPageView
from evmbilling.integrations.pages.rendering import (
    PAGES_PREFIX,
    embedded,
    html,
    language_of,
    qr,
    static_file,
    texts,
)

pay_pages = RouteTable("pages", access="anyone")
_HTML = "text/html; charset=utf-8"


@pay_pages.get("/static/{name}", produces="application/octet-stream", errors=(NotFound,))
def get_page_file(call: Call) -> Answer:
    """A file that pages load."""
    found = static_file(call.param("name"))
    if found is None:
        raise NotFound(field="name")
    return found


@pay_pages.get("/pay/{token}", produces=_HTML, also=(HTTPStatus.NOT_FOUND,))
def get_pay_page(call: Call) -> Answer:
    """The page of a pay link."""
    language = language_of(call.request)
    words = texts(language)
    try:
        view = pay_page(call, call.engine.pay_link(call.param("token")))
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
        shop=call.options.shop_name,
        view=view,
        per=_per(view, words),
        words=words.get(f"words_{view['rail']}", words["words_checkout"]).replace(
            "{amount}", order["amount"]["display"]
        ),
        payable=order["next"] == "pay",
        status_text=words.get(f"status_{order['status']}", order["status"]),
        lines=[{"text": line["text"], "display": _signed(int(line["base_units"]), decimals)} for line in view["lines"]],
        first=embedded(view),
        texts=embedded(words),
    )


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
    return words[f"per_{interval['unit']}"].replace("{count}", str(interval["count"]))


def _signed(amount: int, decimals: int) -> str:
    return ("-" if amount < 0 else "") + from_base_units(abs(amount), decimals)
