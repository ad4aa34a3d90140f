"""Serving the Flask shop, with the wallet of the local chain in its pages."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from examples.shop.dev_wallet import PATH, DevWallet, with_wallet
from examples.shop.selling import Shop
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from .app import create_app


def serve(shop: Shop, wallet: DevWallet, listening: socket.socket) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what serves until it is stopped, and what stops it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # not a line for every request
    app = create_app(shop)
    add_wallet(app, wallet)
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())
    return server.serve_forever, server.shutdown


def add_wallet(app: Flask, wallet: DevWallet) -> None:
    """Put a wallet into every page, as an extension of the browser would. For local chains only."""

    @app.get(f"{PATH}.js")
    def dev_script() -> Response:
        return Response(wallet.script, mimetype="text/javascript")

    @app.post(PATH)
    def dev_asked() -> Response:
        return jsonify(wallet.answer(request.get_json()))

    @app.after_request
    def inject(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.set_data(with_wallet(response.get_data()))
        return response
