"""What an account page shows, and what is left of a user who asked to be forgotten."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from people_bench import ALICE, DOMAIN, URI, sign_text

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.actors import Actor, Role
from evmbilling.errors import InputError, NotFound, PermissionDenied
from evmbilling.testing.merchant import ADMIN, simulated_merchant


def confirm(shop):
    challenge = shop.engine.wallet_challenge(
        user_id="user-1", wallet=ALICE.address, network=shop.network, domain=DOMAIN, uri=URI
    )
    shop.engine.confirm_wallet(
        user_id="user-1", nonce=challenge.nonce, signature=sign_text(ALICE.key, challenge.message)
    )


def test_a_user_whom_billing_has_not_seen(shop):
    profile = shop.engine.profile("stranger")
    assert (profile.last_payment, list(profile.history), list(profile.debts)) == (None, [], [])
    assert not profile.access.allowed


def test_a_profile_says_what_was_paid_and_what_is_open(shop):
    confirm(shop)
    paid = shop.buy(zone="Europe/Berlin")
    profile = shop.engine.profile("user-1")
    assert [w.address for w in profile.wallets] == [ALICE.address]
    assert profile.last_payment == "confirmed"
    assert [o.ledger_id for o in profile.history] == [paid.ledger_id]
    assert [s.status for s in profile.subscriptions] == ["active"]
    assert profile.access.allowed
    assert list(profile.debts) == []


def test_a_period_that_is_asked_for_and_unpaid_is_debt(shop):
    shop.buy()
    shop.clock.set(shop.engine.access("user-1").until)
    shop.chain.mine(seconds=int((shop.clock.now() - shop.chain.head.timestamp).total_seconds()) + 1)
    shop.drain()
    asked = shop.checkout("user-1", idempotency_key="next")
    shop.chain.pay(asked.order, amount=asked.amount // 2)
    shop.settle()
    profile = shop.engine.profile("user-1")
    assert [(d.asset.symbol, d.amount) for d in profile.debts] == [("tUSD", asked.amount - asked.amount // 2)]
    assert profile.last_payment == "partially_paid"


def every_text(url):
    """Each row of each table of ours as text, by table."""
    database = sa.create_engine(url)
    with database.connect() as connection:
        for name in sa.inspect(connection).get_table_names():
            if name.startswith("evmbilling_"):
                for row in connection.execute(sa.text(f"SELECT * FROM {name}")):
                    yield name, repr(tuple(row)).lower()
    database.dispose()


def test_no_table_knows_a_wallet_that_never_paid(databases):
    """Confirmed, proved as a refund's address, and nothing was ever sent from it or to it."""
    with databases.lend("sqlite") as url:
        storage = SqlAlchemyStorage.open(url)
        try:
            check_forgotten(simulated_merchant(storage=storage), url)
        finally:
            storage.close()


def check_forgotten(shop, url):
    confirm(shop)
    order = shop.buy(zone="Asia/Tokyo")
    refunds = shop.engine.refunds(ADMIN)
    asked = refunds.request(ledger_id=order.ledger_id, amount=1, reason="asked")
    challenge = shop.engine.refund_challenge(
        asked.refund_id, user_id="user-1", wallet=ALICE.address, network=shop.network, domain=DOMAIN, uri=URI
    )
    signature = sign_text(ALICE.key, challenge.message)
    shop.engine.confirm_refund_address(asked.refund_id, user_id="user-1", nonce=challenge.nonce, signature=signature)
    refunds.cancel(asked.refund_id, reason="a mistake")
    known = {name for name, text in every_text(url) if ALICE.address[2:].lower() in text}
    assert known == {"evmbilling_wallets", "evmbilling_wallet_challenges", "evmbilling_refunds"}
    shop.engine.erase("user-1")
    words = (ALICE.address[2:].lower(), DOMAIN)
    assert [name for name, text in every_text(url) if any(word in text for word in words)] == []
    # The periods that were sold are counted in it.
    assert {name for name, text in every_text(url) if "tokyo" in text} == {"evmbilling_subscriptions"}
    assert [d for d in shop.engine.verify().differences if d.code != "unproved"] == []


def test_erasing_takes_the_person_and_leaves_the_books(shop):
    confirm(shop)
    order = shop.buy(zone="Asia/Tokyo")
    erased = shop.engine.erase("user-1")
    assert erased.erased_at == shop.clock.now()
    profile = shop.engine.profile("user-1")
    assert list(profile.wallets) == []
    assert (profile.zone, profile.locale) == ("UTC", "en")
    assert [o.ledger_id for o in profile.history] == [order.ledger_id]
    assert len(shop.engine.receipts(order.ledger_id)) == 1
    assert shop.engine.access("user-1").allowed  # what was paid is not taken away
    assert "customer.erase" in [entry.action for entry in shop.engine.admin(ADMIN).audit()]
    assert shop.engine.erase("user-1").erased_at == erased.erased_at


def test_erasing_is_an_administrators(shop):
    shop.buy()
    with pytest.raises(PermissionDenied):
        shop.engine.erase("user-1", actor=Actor("ops", frozenset({Role.FINANCE_OPS})))
    with pytest.raises(NotFound):
        shop.engine.erase("stranger")


@pytest.mark.fault("D29")
def test_d29_pruning_after_years_leaves_keys_and_money(shop):
    first = shop.checkout("user-1", idempotency_key="once")
    shop.chain.pay(first.order)
    shop.settle()
    confirm(shop)
    shop.clock.advance(days=2000)
    removed = shop.engine.prune()
    assert removed["wallet_challenges"] == 1
    again = shop.checkout("user-1", idempotency_key="once")
    assert (again.ledger_id, again.replayed) == (first.ledger_id, True)
    assert [r.status for r in shop.engine.receipts(first.ledger_id)] == ["credited"]
    assert len(shop.engine.admin(ADMIN).events(limit=100)) > 0
    assert sum(shop.engine.prune().values()) == 0


@pytest.mark.parametrize(
    ("table", "days"), [("audit", 1), ("payment_transactions", 5), ("deliveries", 0), ("usage", True)]
)
def test_only_what_may_go_is_pruned(shop, table, days):
    with pytest.raises(InputError) as refused:
        shop.engine.prune({table: days})
    assert refused.value.field == table
