"""Order-signing keys that change, and databases that are restored from a backup."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import timedelta

import pytest
from people_bench import ALICE, DOMAIN, START, URI, sign_text

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.errors import ChallengeRefused
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.keys import address_of
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, simulated_merchant

NEW_KEY = "0x" + "42" * 32


@pytest.mark.fault("S26")
def test_s26_orders_name_their_signer_across_a_rotation(shop):
    before = shop.checkout("user-1", idempotency_key="old")
    admin = shop.engine.admin(ADMIN)
    admin.update_gateway("main", version=1, signer=NEW_KEY)
    after = shop.checkout("user-2", idempotency_key="new")
    assert before.challenge.signer == address_of(SIGNER_KEY)
    assert after.challenge.signer == address_of(NEW_KEY)
    again = shop.checkout("user-1", idempotency_key="old")
    assert (again.challenge, again.payload) == (before.challenge, before.payload)
    shop.chain.pay(before.order)
    shop.settle()
    assert shop.engine.order(before.ledger_id).status == "confirmed"
    seen = repr([entry.changes for entry in admin.audit()])
    assert NEW_KEY not in seen
    assert NEW_KEY[2:] not in seen


@pytest.fixture(params=["sqlite", "postgres"])
def copied(request, tmp_path, databases):
    """A migrated database, and a function that restores the state which it had when that was asked for."""
    if request.param == "sqlite":
        path = shutil.copy(databases.sqlite_template, tmp_path / "shop.db")
        yield f"sqlite:///{path}", lambda: f"sqlite:///{shutil.copy(path, tmp_path / 'backup.db')}"
        return
    server = request.getfixturevalue("postgres_server")
    with ExitStack() as stack:
        name = server.create(template=databases.postgres_template(server))
        stack.callback(server.drop, name)
        yield server.url(name), lambda: stack.enter_context(server.database(template=name))


@pytest.mark.fault("S24")
def test_s24_a_restored_backup_refuses_challenges_of_an_older_epoch(copied):
    url, back_up = copied
    clock, chain = FrozenClock(START), FakeChain(31337, start=START)
    storage = SqlAlchemyStorage.open(url, clock=clock)
    shop = simulated_merchant(storage=storage, chain=chain)
    challenge = shop.engine.wallet_challenge(
        user_id="user-1", wallet=ALICE.address, network=shop.network, domain=DOMAIN, uri=URI
    )
    signature = sign_text(ALICE.key, challenge.message)
    storage.close()
    backup = back_up()
    used = SqlAlchemyStorage.open(url, clock=clock)
    engine = type(shop.engine)(storage=used, clock=clock, sources=lambda _: chain)
    engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=signature)
    used.close()

    # The backup has forgotten that the challenge was used; time has not stood still.
    clock.advance(timedelta(seconds=601))
    restored = SqlAlchemyStorage.open(backup, clock=clock)
    engine = type(shop.engine)(storage=restored, clock=clock, sources=lambda _: chain)
    with pytest.raises(ChallengeRefused):
        engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=signature)
    restored.close()
