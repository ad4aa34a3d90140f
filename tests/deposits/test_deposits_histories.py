"""Random histories of payments, looks, sweeps and reorganisations: in the end the books say what the chain says."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_deposits_simulated import STRANGER, SWEEPER, by_address, offer_to

from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS
from evmbilling.testing.deposit_logs import swept_logs
from evmbilling.testing.merchant import CREDIT_DEPTH, simulated_merchant
from sampling import EVERYTHING


class DepositHistories(RuleBasedStateMachine):
    """One merchant; up to three orders that are paid at addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = by_address(simulated_merchant())
        self.offers: list[Checkout] = []

    @property
    def token(self) -> str:
        return self.shop.token.token

    @precondition(lambda self: len(self.offers) < 3)
    @rule()
    def sell(self) -> None:
        self.offers.append(offer_to(self.shop, f"user-{len(self.offers)}", plan="once"))

    @precondition(lambda self: self.offers)
    @rule(data=st.data(), share=st.sampled_from([1, 2, 3, 150]))
    def send(self, data: st.DataObject, share: int) -> None:
        offer = data.draw(st.sampled_from(self.offers))
        self.shop.chain.transfer(self.token, STRANGER, offer.address or "", offer.amount // share)
        self.shop.chain.mine()

    @precondition(lambda self: self.offers)
    @rule(data=st.data())
    def somebody_else_sweeps(self, data: st.DataObject) -> None:
        offer = data.draw(st.sampled_from(self.offers))
        head = self.shop.chain.head.number
        held = self.shop.chain.balance(self.token, offer.address or "", head)
        if held > 0 and not self.shop.chain.pending:
            logs = swept_logs(SWEEPER, offer.reference, self.shop.treasury, token=self.token, amount=held)
            self.shop.chain.send(*logs, sender=STRANGER)
            self.shop.chain.mine()

    @rule(depth=st.integers(1, 6), mode=st.sampled_from(["drop", "reinclude"]))
    def reorganise(self, depth: int, mode: str) -> None:
        if depth < self.shop.chain.head.number:
            self.shop.chain.reorganise(depth, mode=mode)
            self.shop.drain()

    @rule(blocks=st.integers(0, 4), seconds=st.integers(1, 120))
    def work(self, blocks: int, seconds: int) -> None:
        self.shop.clock.advance(timedelta(seconds=seconds))
        if blocks:
            self.shop.chain.mine(blocks)
        self.shop.drain()

    @invariant()
    def verification_finds_nothing(self) -> None:
        self.shop.drain()
        differences = [d for d in self.shop.engine.verify().differences if d.code != "unproved"]
        assert differences == []

    def teardown(self) -> None:
        """Let everything come to rest: what can be swept is, what was swept is credited, and nothing else is."""
        for _ in range(8):
            self.shop.clock.advance(timedelta(seconds=700))
            self.shop.drain()
            self.shop.settle(CREDIT_DEPTH)
        head = self.shop.chain.head.number
        with self.shop.engine._ports.storage.unit(write=False) as unit:
            receipts = [r for r in unit.all_receipts() if r.status in SUPPORTING_RECEIPTS]
        assert sum(r.amount for r in receipts) == self.shop.chain.balance(self.token, self.shop.treasury, head)
        for offer in self.offers:
            received = sum(r.amount for r in receipts if r.ledger_id == offer.ledger_id)
            held = self.shop.chain.balance(self.token, offer.address or "", head)
            missing = offer.amount - received
            assert held * 100 < offer.amount
            assert not 0 < missing <= held
            paid = self.shop.engine.order(offer.ledger_id).status in PAID_ORDERS
            assert paid is (received >= offer.amount)


DepositHistories.TestCase.settings = settings(
    max_examples=60 if EVERYTHING else 5, stateful_step_count=20, deadline=None
)
TestDepositHistories = DepositHistories.TestCase
