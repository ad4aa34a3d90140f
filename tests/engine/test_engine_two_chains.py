"""A subscription that is paid on two chains: what one of them tells moves money that came on the other."""

from __future__ import annotations

from datetime import timedelta

from engine_shop import START, TOKEN, TREASURY, make_plan

from evmbilling.domain.addresses import checksum
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.keys import sign_text

ALICE = DEV_ACCOUNTS[1]
OTHER = checksum(b"\7" * 20)


def test_a_transfer_that_another_chain_makes_credit_is_still_there(make_shop):
    """The movement behind it is on its own chain: nobody has taken it back."""
    chains = [FakeChain(31337, start=START), FakeChain(10, start=START)]
    shop = make_shop(chains=chains)
    shop.admin.create_contract(slug="mix", network="fake", address=OTHER)
    shop.admin.create_contract(slug="mix", network="fake2", address=TOKEN, kind="erc20")
    make_plan(shop, "mix", names=("fake", "fake2"), product="mix", interval="month", contract_slug="mix")
    asked = shop.engine.wallet_challenge(
        user_id="u1", wallet=ALICE.address, network="fake2", domain="a.example", uri="https://a.example/"
    )
    shop.engine.confirm_wallet(user_id="u1", nonce=asked.nonce, signature=sign_text(ALICE.key, asked.message))
    buy = {"plan": "mix", "wallet": ALICE.address}
    shop.pay(shop.checkout("first", network="fake", **buy))
    early = shop.checkout("early", network="fake", **buy)
    chains[0].pay(early.order)
    chains[0].mine(3)
    late = shop.checkout("late", network="fake2", **buy)
    chains[1].mine(1, timestamp=chains[0].head.timestamp + timedelta(minutes=1))
    chains[1].transfer(TOKEN, ALICE.address, TREASURY, late.amount)
    chains[1].mine(3)
    shop.catch_up()
    shop.engine.read_chain("fake2")
    shop.intake()
    assert shop.placed(late) == [("order", None, "credited")]
    shop.settle()
    assert shop.placed(early) == [("order", None, "credited")]
    assert shop.placed(late) == [("credit", "period_paid", "credited")]
    with shop.storage.unit(write=False) as unit:
        assert [(m.kind, m.live) for m in unit.all_movements()] == [("receipt", True)] * 3
    assert [d.code for d in shop.engine.verify().differences if d.code != "unproved"] == []
