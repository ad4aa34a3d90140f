"""The shop as a Flask application: billing is mounted in four lines, the rest is the shop's own."""

from __future__ import annotations

from examples.shop import pages
from examples.shop.accounts import Refused, check_form, form_token, sign_in
from examples.shop.selling import LIMIT, PRODUCT, Shop
from flask import Flask, Request, Response, g, redirect, request, session

from evmbilling import Actor
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.options import Options


def who(_: Request) -> Actor | None:
    """Say to billing who sends a request: the name in the signed cookie."""
    user = session.get("user")
    return None if user is None else Actor(user)


def create_app(shop: Shop) -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.config.update(
        DEBUG=False,  # FLASK_DEBUG of a developer's machine would show the inside to everybody
        SECRET_KEY=shop.secret,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=shop.origin[:5] == "https",
    )
    options = Options.from_settings(shop.settings, public_url=shop.origin, shop_name="The Reading Room")
    billing = FlaskBilling(shop.billing, identity=who, options=options, pages=True)
    billing.init_app(app)

    def front(wrong: str = "", status: int = 200) -> Response:
        shown = pages.front(shop, session.get("user"), form_token(session), wrong=wrong)
        return Response(shown, status, pages.HEADERS)

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return front(str(error), 422)

    @app.get("/")
    def home() -> Response:
        return front()

    @app.get("/shop.js")
    def script() -> Response:
        return Response(pages.SCRIPT, mimetype="text/javascript")

    @app.post("/login")
    def login() -> Response:
        form = own_form()
        with shop.sessions.begin() as rows:
            session["user"] = sign_in(rows, form.get("name", ""), form.get("password", ""))
        return redirect("/", 303)

    @app.post("/logout")
    def logout() -> Response:
        own_form()
        session.clear()
        return redirect("/", 303)

    @app.post("/buy")
    def buy() -> Response:
        form, user = own_form(), session.get("user")
        if user is None:
            raise Refused("Please sign in first.")
        return redirect(shop.buy(user, form.get("wallet", ""), form.get("once", "")), 303)

    @app.get("/library")
    @billing.requires_plan(PRODUCT)
    @billing.consumes(LIMIT)
    def library() -> Response:
        return Response(pages.library(g.billing_left), headers=pages.HEADERS)

    return app


def own_form() -> dict[str, str]:
    """Read a form that one of our own pages sent."""
    fields = request.form.to_dict()
    check_form(session, fields)
    return fields
