"""The asynchronous face: everything that the engine does, in threads of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

from evmbilling.aio import AsyncBillingEngine
from evmbilling.domain.actors import Actor, Role
from evmbilling.engine.core import Engine
from evmbilling.errors import PermissionDenied
from evmbilling.testing.merchant import simulated_merchant

OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
NOBODY = Actor("nobody")
SYNCHRONOUS = {"within", "follow"}
"""An async host joins within ``run_sync``, where the synchronous engine is right there; and its own task is the loop
that ``follow`` is: it awaits ``read_chain``."""


def public(kind: type[Any]) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_whatever_the_engine_does_has_an_asynchronous_face():
    assert public(Engine) - public(AsyncBillingEngine) == SYNCHRONOUS


def test_every_face_is_a_coroutine():
    faces = public(AsyncBillingEngine) - {"limiter"}
    assert [name for name in sorted(faces) if not inspect.iscoroutinefunction(getattr(AsyncBillingEngine, name))] == []


def test_finance_and_refunds_work_in_threads():
    shop = simulated_merchant()
    paid = shop.buy()
    me = threading.get_ident()

    async def give_back() -> None:
        face = AsyncBillingEngine(shop.engine)
        assert await face.finance(OPS, lambda finance: (threading.get_ident() != me, list(finance.queue()))) == (
            True,
            [],
        )
        refund = await face.refunds(OPS, lambda refunds: refunds.request(ledger_id=paid.ledger_id, reason="asked"))
        assert refund.amount == paid.amount
        assert (await face.profile("user-1")).last_payment == "confirmed"
        with pytest.raises(PermissionDenied):
            await face.refunds(NOBODY, lambda refunds: refunds.request(ledger_id=paid.ledger_id, reason="asked"))
        with pytest.raises(PermissionDenied):
            await face.finance(NOBODY, lambda finance: finance.queue())

    asyncio.run(give_back())
