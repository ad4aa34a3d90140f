"""Serving the FastAPI shop, with the wallet of the local chain in its pages."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio.to_thread
import uvicorn
from examples.shop.dev_wallet import PATH, DevWallet, with_wallet
from examples.shop.selling import Shop
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from .app import create_app


def serve(shop: Shop, wallet: DevWallet, listening: socket.socket) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what serves until it is stopped, and what stops it."""
    app = create_app(shop)
    add_wallet(app, wallet)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))

    def stop() -> None:
        server.should_exit = True

    return lambda: server.run(sockets=[listening]), stop


def add_wallet(app: FastAPI, wallet: DevWallet) -> None:
    """Put a wallet into every page, as an extension of the browser would. For local chains only."""

    @app.get(f"{PATH}.js")
    def script() -> Response:
        return Response(wallet.script, media_type="text/javascript")

    @app.post(PATH)
    async def asked(request: Request) -> JSONResponse:
        body = await request.json()
        return JSONResponse(await anyio.to_thread.run_sync(wallet.answer, body))

    async def inject(request: Request, handle: RequestResponseEndpoint) -> Response:
        response = await handle(request)
        if not response.headers.get("content-type", "").startswith("text/html"):
            return response
        body = b"".join([part async for part in response.body_iterator])  # type: ignore[attr-defined]  # a streaming response has one
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Response(with_wallet(body), response.status_code, headers)

    app.add_middleware(BaseHTTPMiddleware, dispatch=inject)
