"""The hosts as a server loads them: each in a process of its own, with a shop in memory."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from flask import Flask
from http_hosts import OPTIONS, identity

from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.testing.merchant import simulated_merchant


def fastapi_app() -> Any:
    app = FastAPI()
    app.include_router(FastApiBilling(simulated_merchant(seed=1).engine, identity=identity, options=OPTIONS).router)
    return app


def flask_app() -> Any:
    app = Flask("host")
    FlaskBilling(simulated_merchant(seed=1).engine, identity=identity, options=OPTIONS).init_app(app)
    return app
