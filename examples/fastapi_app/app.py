"""The shop as a FastAPI application: billing is mounted in six lines, the rest is the shop's own."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from examples.shop import pages
from examples.shop.accounts import Refused, check_form, form_token, sign_in
from examples.shop.selling import LIMIT, PRODUCT, Shop
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.middleware.sessions import SessionMiddleware

from evmbilling import Actor
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.http.options import Options


async def own_form(request: Request) -> dict[str, str]:
    """Read a form that one of our own pages sent."""
    fields = dict(parse_qsl((await request.body()).decode()))
    check_form(request.session, fields)
    return fields


Form = Annotated[dict[str, str], Depends(own_form)]


def who(request: Request) -> Actor | None:
    """Say to billing who sends a request: the name in the signed cookie."""
    user = request.session.get("user")
    return None if user is None else Actor(user)


def create_app(shop: Shop) -> FastAPI:
    """Return the application."""
    options = Options.from_settings(shop.settings, public_url=shop.origin, shop_name="The Reading Room")
    billing = FastApiBilling(shop.billing, identity=who, options=options, pages=True, close=False)
    app = FastAPI(lifespan=billing.lifespan)
    app.add_middleware(
        SessionMiddleware, secret_key=shop.secret, same_site="lax", https_only=shop.origin[:5] == "https"
    )
    app.include_router(billing.router)
    app.include_router(billing.pages)

    def front(request: Request, wrong: str = "", status: int = 200) -> HTMLResponse:
        shown = pages.front(shop, request.session.get("user"), form_token(request.session), wrong=wrong)
        return HTMLResponse(shown, status, pages.HEADERS)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> HTMLResponse:
        return front(request, str(error), 422)

    @app.get("/")
    def home(request: Request) -> HTMLResponse:
        return front(request)

    @app.get("/shop.js")
    def script() -> Response:
        return Response(pages.SCRIPT, media_type="text/javascript")

    @app.post("/login")
    def login(request: Request, form: Form) -> Response:
        with shop.sessions.begin() as session:
            request.session["user"] = sign_in(session, form.get("name", ""), form.get("password", ""))
        return RedirectResponse("/", 303)

    @app.post("/logout", dependencies=[Depends(own_form)])
    def logout(request: Request) -> Response:
        request.session.clear()
        return RedirectResponse("/", 303)

    @app.post("/buy")
    def buy(request: Request, form: Form) -> Response:
        user = request.session.get("user")
        if user is None:
            raise Refused("Please sign in first.")
        return RedirectResponse(shop.buy(user, form.get("wallet", ""), form.get("once", "")), 303)

    page_of_the_plan = billing.consumes(LIMIT)

    @app.get("/library", dependencies=[billing.requires_plan(PRODUCT)])
    def library(left: int = page_of_the_plan) -> HTMLResponse:
        return HTMLResponse(pages.library(left), headers=pages.HEADERS)

    return app
