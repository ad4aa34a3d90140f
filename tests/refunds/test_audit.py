"""Whoever moves money or configures who is told leaves a name, in the transaction of what they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from refunds_bench import BOSS, OPS, Desk
from test_refunds import stranger_money

from evmbilling.domain.actors import Actor
from evmbilling.engine.core import Engine
from evmbilling.errors import BillingError
from evmbilling.testing.merchant import ADMIN

WHO = Actor("auditee", BOSS.roles)
URL = "https://hooks.shop.example/billing"


class Breaks:
    """A storage whose units write, and fail before they commit."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Any]:
        with self._storage.unit(write=write, durable=durable) as unit:
            yield unit
            if write:
                raise BillingError("after the write, before the commit")


def asked(desk: Desk, **fields: Any) -> Any:
    return desk.engine.refunds(OPS).request(**({"ledger_id": desk.paid.ledger_id, "reason": "asked"} | fields))


def endpoint(desk: Desk) -> str:
    made = desk.engine.endpoints(ADMIN).create(url=URL)
    return str(made.endpoint.endpoint_id)


def waiting(desk: Desk) -> Any:
    desk.limit(1)
    return asked(desk)


def large_write_off(desk: Desk) -> Any:
    desk.limit(1)
    item = stranger_money(desk)
    desk.engine.finance(OPS).write_off(item.item_id)
    return next(i for i in desk.engine.finance(OPS).queue() if i.kind == "write_off_approval")


def unpaid(desk: Desk) -> str:
    return str(desk.shop.checkout("user-5", idempotency_key="k").ledger_id)


def duplicate(desk: Desk) -> Any:
    desk.pay_again()
    (item,) = desk.engine.finance(OPS).queue()
    return item


def addressed(desk: Desk) -> Any:
    return desk.prove(asked(desk))


WRITES: dict[str, tuple[Callable[[Desk], Any], Callable[[Any, Any], Any]]] = {
    "refund.request": (lambda d: d.paid, lambda e, p: e.refunds(WHO).request(ledger_id=p.ledger_id, reason="x")),
    "refund.approve": (waiting, lambda e, r: e.refunds(WHO).approve(r.refund_id)),
    "refund.prepare": (addressed, lambda e, r: e.refunds(WHO).prepare(r.refund_id)),
    "refund.cancel": (asked, lambda e, r: e.refunds(WHO).cancel(r.refund_id, reason="x")),
    "finance.assign": (
        lambda d: (stranger_money(d).item_id, unpaid(d)),
        lambda e, both: e.finance(WHO).assign(*both),
    ),
    "finance.credit": (stranger_money, lambda e, i: e.finance(WHO).credit(i.item_id, "user-1")),
    "finance.write_off": (large_write_off, lambda e, i: e.finance(WHO).approve_write_off(i.item_id)),
    "finance.acknowledge": (duplicate, lambda e, i: e.finance(WHO).acknowledge(i.item_id)),
    "finance.mark_paid": (unpaid, lambda e, ledger_id: e.finance(WHO).mark_paid(ledger_id, reason="in cash")),
    "endpoint.create": (lambda d: URL, lambda e, url: e.endpoints(WHO).create(url=url)),
    "endpoint.rotate": (endpoint, lambda e, i: e.endpoints(WHO).rotate(i)),
    "endpoint.retire": (endpoint, lambda e, i: e.endpoints(WHO).retire(i)),
    "endpoint.update": (endpoint, lambda e, i: e.endpoints(WHO).update(i, ordered=True)),
    "endpoint.disable": (endpoint, lambda e, i: e.endpoints(WHO).disable(i)),
    "endpoint.enable": (endpoint, lambda e, i: e.endpoints(WHO).enable(i)),
    "endpoint.test": (endpoint, lambda e, i: e.endpoints(WHO).test(i)),
    "customer.erase": (lambda d: "user-1", lambda e, user: e.erase(user, actor=WHO)),
}


def entries(desk: Desk) -> list[Any]:
    return [e for e in desk.engine.admin(ADMIN).audit(limit=10_000) if e.actor == WHO.user_id]


@pytest.mark.fault("G04")
@pytest.mark.parametrize("action", WRITES)
def test_g04_what_moves_money_or_messages_is_audited_once(memory_desk: Desk, action):
    prepare, write = WRITES[action]
    write(memory_desk.engine, prepare(memory_desk))
    assert [e.action for e in entries(memory_desk)] == [action]


@pytest.mark.fault("G04")
def test_g04_what_fails_before_its_commit_leaves_neither_the_write_nor_its_audit(desk: Desk):
    storage = desk.engine._ports.storage
    broken = Engine(attrs.evolve(desk.engine._ports, storage=Breaks(storage)))
    for action in ("refund.request", "refund.cancel", "finance.credit", "endpoint.create", "endpoint.rotate"):
        prepare, write = WRITES[action]
        prepared = prepare(desk)
        before = (desk.books(), list(desk.ops.refunds()), list(desk.engine.endpoints(ADMIN).list()), len(desk.told()))
        with pytest.raises(BillingError):
            write(broken, prepared)
        after = (desk.books(), list(desk.ops.refunds()), list(desk.engine.endpoints(ADMIN).list()), len(desk.told()))
        assert after == before
        assert entries(desk) == []
    assert desk.balanced()
