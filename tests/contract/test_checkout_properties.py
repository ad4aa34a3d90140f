"""Random histories of the contract against a model of a few lines: what must hold after every step."""

from __future__ import annotations

from contract_bench import (
    ALICE,
    BOB,
    DAY,
    NATIVE,
    OPERATOR,
    OUTSIDER,
    OWNER,
    PLAN,
    SIGNER,
    START,
    TREASURY,
    ZERO,
    Bench,
    Order,
    refusal_of,
)
from eth_utils import keccak, to_checksum_address
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sampling import examples

PAYERS = (ALICE, BOB)
TREASURIES = (TREASURY, to_checksum_address("0x" + "78" * 20))
MUCH = 10**40
ORDERS = st.builds(
    Order,
    reference=st.integers(0, 6).map(lambda number: keccak(text=str(number))),
    subscription=st.integers(0, 2),
    payer=st.sampled_from((ZERO, *PAYERS)),
    beneficiary=st.sampled_from(PAYERS),
    plan=st.just(PLAN),
    token=st.just(NATIVE),  # the rule chooses
    amount=st.integers(0, 10**30),
    treasury=st.sampled_from(TREASURIES),
    memberUntil=st.integers(0, 2**64 - 1),
    deadline=st.just(0),  # the rule chooses
)


class CheckoutMachine(RuleBasedStateMachine):
    """Payments good and bad, ends, grants, refunds, pauses and time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        for payer in (*PAYERS, OPERATOR):
            self.bench.fund(payer, MUCH)
            self.bench.evm.set_balance(payer, MUCH)
        self.used: dict[bytes, Order] = {}
        self.received = {(treasury, token): 0 for treasury in TREASURIES for token in self.tokens()}
        self.members: dict[int, tuple[str, int]] = {}
        self.refunds: set[bytes] = set()
        self.paused = False

    def tokens(self) -> tuple[str, str]:
        return (self.bench.token.address, NATIVE)

    @rule(
        order=ORDERS,
        native=st.booleans(),
        lasts=st.integers(-DAY, DAY),
        sender=st.sampled_from(PAYERS),
        key=st.sampled_from((SIGNER, SIGNER, SIGNER, OUTSIDER)),
    )
    def pay(self, order: Order, native: bool, lasts: int, sender: str, key: object) -> None:
        order = order._replace(
            token=self.tokens()[native],
            memberUntil=order.memberUntil if order.subscription else 0,
            deadline=self.bench.now + lasts,
        )
        fits = (
            not self.paused
            and order.reference not in self.used
            and lasts >= 0
            and order.payer in {ZERO, sender}
            and order.amount > 0
            and key is SIGNER
        )
        signature, value = self.bench.sign(order, key=key), order.amount if native else 0
        refusal = refusal_of(lambda: self.bench.pay(order, signature, sender=sender, value=value))
        assert (refusal is None) is fits
        if refusal:
            return
        assert len(self.bench.paid()) == 1
        self.used[order.reference] = order
        self.received[order.treasury, order.token] += order.amount
        if order.subscription:
            holder, expiry = self.members.get(order.subscription, (order.beneficiary, 0))
            self.members[order.subscription] = holder, max(expiry, order.memberUntil)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), sender=st.sampled_from((ALICE, BOB, OPERATOR, OWNER)))
    def end(self, data: st.DataObject, sender: str) -> None:
        token = data.draw(st.sampled_from(sorted(self.members)))
        allowed = sender in {self.members[token][0], OPERATOR, OWNER}
        refusal = refusal_of(lambda: self.bench.checkout.call("cancelSubscription", token, sender=sender))
        assert (refusal is None) is allowed
        if allowed:
            del self.members[token]

    @precondition(lambda self: self.members)
    @rule(data=st.data(), seconds=st.integers(0, 10 * DAY))
    def grant(self, data: st.DataObject, seconds: int) -> None:
        token = data.draw(st.sampled_from(sorted(self.members)))
        holder, expiry = self.members[token]
        later = max(expiry, self.bench.now) + seconds
        call = ("renewSubscription", token, seconds)
        refusal = refusal_of(lambda: self.bench.checkout.call(*call, sender=OPERATOR))
        if later >= 2**64:
            assert refusal is not None
            assert refusal.name == "Panic"
            return
        assert refusal is None
        self.members[token] = holder, later

    @precondition(lambda self: self.used)
    @rule(data=st.data(), number=st.integers(0, 3), amount=st.integers(1, 10**20), native=st.booleans())
    def refund(self, data: st.DataObject, number: int, amount: int, native: bool) -> None:
        reference = data.draw(st.sampled_from(sorted(self.used)))
        refund_id = keccak(text=f"refund {number}")
        call = ("refund", reference, refund_id, self.tokens()[native], ALICE, amount)
        value = amount if native else 0
        refusal = refusal_of(lambda: self.bench.checkout.call(*call, sender=OPERATOR, value=value))
        assert (refusal.name if refusal else None) == ("RefundIdUsed" if refund_id in self.refunds else None)
        self.refunds.add(refund_id)

    @rule()
    def switch(self) -> None:
        if self.paused:
            self.bench.checkout.call("unpause", sender=OWNER)
        else:
            self.bench.checkout.call("pause", sender=OPERATOR)
        self.paused = not self.paused

    @rule(seconds=st.integers(0, 40 * DAY))
    def wait(self, seconds: int) -> None:
        self.bench.at(self.bench.now + seconds)

    @invariant()
    def the_contract_holds_nothing(self) -> None:
        assert self.bench.balance(self.bench.checkout.address) == 0
        assert self.bench.evm.get_balance(self.bench.checkout.address) == 0

    @invariant()
    def treasuries_hold_exactly_what_was_paid(self) -> None:
        for (treasury, token), amount in self.received.items():
            native = token == NATIVE
            held = self.bench.evm.get_balance(treasury) if native else self.bench.balance(treasury)
            assert held == amount

    @invariant()
    def memberships_are_those_of_the_model(self) -> None:
        for token in (1, 2):
            holder, expiry = self.members.get(token, (None, 0))
            assert self.bench.checkout.call("expiresAt", token) == expiry
            assert self.bench.checkout.call("isRenewable", token) is (holder is not None)
            if holder:
                assert self.bench.checkout.call("ownerOf", token) == holder

    @invariant()
    def used_references_are_those_that_were_paid(self) -> None:
        for number in range(7):
            reference = keccak(text=str(number))
            assert self.bench.checkout.call("isUsed", reference) is (reference in self.used)


CheckoutMachine.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
TestCheckoutHistories = CheckoutMachine.TestCase


def test_the_model_begins_where_the_bench_does() -> None:
    assert CheckoutMachine().bench.now == START
