"""The public API as a type checker sees it from a host's code; checked by mypy, never run.

An ignored error is one that a host must get: mypy fails when it stops being an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import assert_type

import sqlalchemy as sa

from evmbilling import (
    Access,
    Actor,
    AsyncBillingEngine,
    BillingEngine,
    BillingError,
    BillingSettings,
    ChangePreview,
    ChangeResult,
    Checkout,
    Order,
    PayInstructions,
    Quote,
    Subscription,
    SubscriptionView,
    WalletPayload,
)
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.mandates.offers import CancelledMandate, PreparedMandate


def built_from_the_environment_or_from_settings() -> None:
    assert_type(BillingEngine.from_settings(), BillingEngine)
    assert_type(BillingEngine.from_settings(BillingSettings(), plugins=[object()]), BillingEngine)


def checkout(billing: BillingEngine, start: datetime) -> None:
    offer = billing.checkout(plan="pro", user_id="u1", wallet="0x", idempotency_key="k", start_at=start, quantity=2)
    assert_type(offer, Checkout)
    assert_type(offer.amount, int)
    assert_type(offer.payload, WalletPayload | None)
    assert_type(offer.order, Order)
    assert_type(billing.quote(plan="pro", user_id="u1", wallet="0x"), Quote)
    assert_type(billing.requote(offer.ledger_id), Checkout)
    assert_type(billing.order(offer.ledger_id, user_id="u1"), Checkout)
    assert_type(billing.pay_instructions(offer.ledger_id), PayInstructions)


def mandates(billing: BillingEngine, prepared: PreparedMandate) -> None:
    assert_type(billing.mandates.prepare("u1", "s1", "0x", via="permit2", cap=1), PreparedMandate)
    assert_type(billing.mandates.give("u1", prepared.mandate.mandate_id, signature=b""), Mandate)
    assert_type(billing.mandates.list("u1"), Sequence[Mandate])
    assert_type(billing.mandates.cancel("u1", "m1"), CancelledMandate)
    billing.mandates.give("u1", "m1", signature="0x")  # type: ignore[arg-type]  # signatures are bytes


async def mandates_awaited(billing: AsyncBillingEngine) -> None:
    assert_type(await billing.mandates(lambda face: face.list("u1")), Sequence[Mandate])


def subscriptions(billing: BillingEngine) -> None:
    seen = billing.cancel_subscription("id", when="now", user_id="u1")
    assert_type(seen, SubscriptionView)
    assert_type(seen.subscription, Subscription)
    assert_type(seen.ends_at, datetime | None)
    assert_type(billing.undo_cancel("id"), SubscriptionView)
    assert_type(billing.preview_change("id", timing="now", plan="pro"), ChangePreview)
    assert_type(billing.change_subscription("id", quantity=2), ChangeResult)
    billing.change_subscription("id", timing="later")  # type: ignore[arg-type]  # a word that is no timing
    assert_type(billing.withdraw_change("id"), SubscriptionView)
    assert_type(billing.pause_subscription("id", when="period_end"), SubscriptionView)
    assert_type(billing.resume_subscription("id"), SubscriptionView)
    assert_type(billing.change_zone("id", "Europe/Berlin"), SubscriptionView)
    assert_type(billing.pay_link(billing.issue_pay_link("id").token), Checkout)
    assert_type(billing.run_renewals(limit=10).halted, str | None)
    assert_type(billing.run_charges(limit=10).queued, int)
    billing.cancel_subscription("id", when="soon")  # type: ignore[arg-type]  # now, or at the period's end


def checkout_refuses_what_cannot_be_right(billing: BillingEngine) -> None:
    billing.checkout("pro", "u1", "0x", "k")  # type: ignore[call-arg]  # parameters are named
    billing.checkout(plan="pro", user_id="u1", wallet="0x")  # type: ignore[call-arg]  # no idempotency key
    billing.checkout(plan="pro", user_id=1, wallet="0x", idempotency_key="k")  # type: ignore[arg-type]  # ids are text
    billing.checkout(
        plan="pro",
        user_id="u1",
        wallet="0x",
        idempotency_key="k",
        quantity=1.5,  # type: ignore[arg-type]  # pieces are whole
    )


def payload_is_ready_for_the_wallet(payload: WalletPayload) -> None:
    assert_type(payload.value, int)
    assert_type(payload.data, bytes)
    assert_type(payload.as_rpc(), dict[str, str])


def access(billing: BillingEngine) -> None:
    verdict = billing.access("u1", feature="export")
    assert_type(verdict, Access)
    assert_type(verdict.allowed, bool)
    assert_type(verdict.until, datetime | None)
    assert_type(billing.subscriptions("u1"), Sequence[Subscription])


def records_are_frozen(verdict: Access) -> None:
    verdict.allowed = True  # type: ignore[misc]  # an answer is not changed


def joined(billing: BillingEngine, connection: sa.Connection) -> None:
    with billing.within(connection) as inside:
        assert_type(inside.access("u1"), Access)
        inside.checkout(plan="pro", user_id="u1", wallet="0x", idempotency_key="k")
        inside.pay_instructions("id")  # type: ignore[attr-defined]  # no network inside a transaction
        inside.read_chain("mainnet")  # type: ignore[attr-defined]  # nor here


def administered(billing: BillingEngine, actor: Actor) -> None:
    admin = billing.admin(actor)
    admin.no_such_operation()  # type: ignore[attr-defined]  # typed to the last method
    billing.admin("root")  # type: ignore[arg-type]  # a name is no actor


async def asynchronous(billing: BillingEngine) -> None:
    face = AsyncBillingEngine(billing)
    offer = await face.checkout(plan="pro", user_id="u1", wallet="0x", idempotency_key="k")
    assert_type(offer, Checkout)
    assert_type(await face.access("u1"), Access)
    await face.checkout(plan="pro", user_id="u1", wallet="0x")  # type: ignore[call-arg]  # no idempotency key


def errors_are_machine_readable(error: BillingError) -> None:
    assert_type(error.code, str)
    assert_type(error.field, str | None)
    assert_type(error.retry_safe, bool)


def fixtures_of_the_kit() -> None:
    from evmbilling.testing.anvil import AnvilNode

    assert_type(AnvilNode().reorg(3, [("0x02", 0), ({"to": "0x"}, 1)]), list[str])
    context: AbstractContextManager[AnvilNode] = AnvilNode()
    del context
