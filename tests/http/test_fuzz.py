"""Whatever is sent, both hosts answer as the OpenAPI document says, and with the same bytes (schemathesis).

Schemathesis is imported by the worker that has these tests, and not by every one that collects them: it takes a while.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask
from http_hosts import OPTIONS, identity
from http_world import World, make_world
from hypothesis import HealthCheck, Phase, given, settings

from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.api import HttpApi
from evmbilling.testing.merchant import simulated_merchant
from sampling import EVERYTHING

if TYPE_CHECKING:
    from schemathesis.core.transport import Response

DOCUMENT = HttpApi(simulated_merchant(seed=9).engine, OPTIONS).document
LABELS = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
THIRD = [label for label in LABELS if hashlib.sha256(label.encode()).digest()[0] % 3 == 1]
"""Fuzzed in the usual run, in which test_hostile.py asks every route; the whole run and ``nox -s fuzz`` take all."""


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    from http_fuzz import schema_of

    found = [operation.ok() for operation in schema_of(DOCUMENT).get_all_operations()]
    assert sorted(operation.label for operation in found) == sorted(LABELS)
    return {operation.label: operation for operation in found}


@cache
def _fastapi() -> tuple[World, FastAPI]:
    world, app = make_world(), FastAPI()
    app.include_router(FastApiBilling(world.shop.engine, identity=identity, options=OPTIONS, close=False).router)
    return world, app


@cache
def _flask() -> tuple[World, Flask]:
    world, app = make_world(), Flask("host")
    FlaskBilling(world.shop.engine, identity=identity, options=OPTIONS).init_app(app)
    return world, app


def _replayed(app: Flask, sent: Response) -> tuple[int, Any, bytes]:
    """Send to Flask, byte by byte, what was sent to FastAPI."""
    asked = sent.request
    client = app.test_client(use_cookies=False)
    answer = client.open(asked.path_url, method=asked.method, headers=list(asked.headers.items()), data=asked.body)
    return answer.status_code, sorted((name.lower(), value) for name, value in answer.headers), answer.data


def _told(answer: Response) -> tuple[int, Any, bytes | None]:
    pairs = sorted((name, value) for name, values in answer.headers.items() for value in values)
    return answer.status_code, pairs, answer.content


@pytest.mark.parametrize("label", LABELS if EVERYTHING or "EVMBILLING_FUZZ" in os.environ else THIRD)
def test_any_request_gets_a_promised_answer(operations, label):
    from http_fuzz import EXAMPLES, LONG, WHO, cases, known_values
    from schemathesis.transport.asgi import ASGI_TRANSPORT

    (world, fast), (twin, flask) = _fastapi(), _flask()
    storages = [one.shop.engine._ports.storage for one in (world, twin)]
    kept = [(storage._committed, dict(storage._leases)) for storage in storages]

    def put_back(over: bool = True) -> None:
        for storage, (committed, leases) in zip(storages, kept, strict=True):
            storage._committed, storage._leases = committed.over() if over else committed, dict(leases)

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operations[label], known_values(world.names)))
    def check(case: Any) -> None:
        put_back()
        answer = ASGI_TRANSPORT.send(case, app=fast, headers=WHO)
        case.validate_response(answer)
        assert _replayed(flask, answer) == _told(answer)

    try:
        check()
    finally:
        put_back(over=False)
