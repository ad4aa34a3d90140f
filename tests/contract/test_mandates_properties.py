"""Random histories of the contract against a model of a few lines: what must hold after every step."""

from __future__ import annotations

from contract_bench import DAY, MALLORY, OWNER, START, TREASURY, refusal_of
from eth_utils import keccak, to_checksum_address
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from mandates_bench import AMOUNT, CHARGER, PAYER, REASONS, Charge, Mandate, MandatesBench

from sampling import examples

MUCH = 10**40
OTHER_TREASURY = to_checksum_address("0x" + "78" * 20)
SECOND_CHARGER = to_checksum_address("0x" + "c5" * 20)
REFERENCES = tuple(keccak(text=str(number)) for number in range(12))


class MandatesMachine(RuleBasedStateMachine):
    """Charges good and bad, revocations, permits, pauses, changes of operators and time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = MandatesBench()
        self.bench.endow(PAYER.address, MUCH)
        token, here = self.bench.token.address, self.bench.mandates.address
        self.bench.permit2.call("approve", token, here, 2**160 - 1, 2**48 - 1, sender=PAYER.address)
        self.mandates = (
            self.bench.mandate(),
            self.bench.mandate(salt=2, chargeCap=5 * AMOUNT, spacing=DAY, treasury=OTHER_TREASURY),
            self.bench.mandate(salt=3, start=START + 3 * DAY, expiry=START + 60 * DAY, permit2=True),
            self.bench.mandate(salt=4, operator=SECOND_CHARGER, cap=3, chargeCap=2, spacing=1),
        )
        self.charges: dict[bytes, tuple[Mandate, int]] = {}
        self.revoked: set[Mandate] = set()
        self.operators = {CHARGER}
        self.paused = False

    def charged(self, mandate: Mandate) -> int:
        return sum(amount for known, amount in self.charges.values() if known == mandate)

    def allowed(self, mandate: Mandate) -> int:
        """The cumulative rule: a cap for every spacing that has begun."""
        elapsed = self.bench.now - mandate.start
        return mandate.cap * (1 + elapsed // mandate.spacing) if elapsed >= 0 else 0

    def fits(self, mandate: Mandate, charge: Charge, sender: str) -> bool:
        return (
            not self.paused
            and sender in self.operators
            and mandate.operator in {sender, "0x" + "00" * 20}
            and mandate not in self.revoked
            and mandate.start <= self.bench.now <= mandate.expiry
            and self.bench.now <= charge.deadline
            and charge.reference not in self.charges
            and 0 < charge.amount <= mandate.chargeCap
            and self.charged(mandate) + charge.amount <= self.allowed(mandate)
        )

    @rule(
        which=st.integers(0, 3),
        order=st.tuples(
            st.sampled_from(REFERENCES),
            st.one_of(st.integers(0, 6 * AMOUNT), st.sampled_from((1, 2, AMOUNT))),
        ),
        lasts=st.sampled_from((-1, 0, 0, DAY)),
        sender=st.sampled_from((CHARGER, CHARGER, SECOND_CHARGER, MALLORY, OWNER, PAYER.address)),
        signed=st.booleans(),
    )
    def charge(self, which: int, order: tuple[bytes, int], lasts: int, sender: str, signed: bool) -> None:
        mandate, (reference, amount) = self.mandates[which], order
        call = Charge(reference=reference, amount=amount, deadline=self.bench.now + lasts)
        proof = self.bench.consent(mandate) if signed else b""
        known = self.bench.state(mandate)[0] == 1
        expected = self.fits(mandate, call, sender) and (signed or known)
        told = REASONS[self.bench.mandates.call("canCharge", mandate, proof, call, sender)]
        refusal = refusal_of(lambda: self.bench.mandates.call("charge", mandate, proof, call, sender=sender))
        assert (refusal is None) is expected
        assert told == ("None" if refusal is None else REASONS[refusal.values[0]])
        if expected:
            assert [event["reference"] for event in self.bench.told("Charged")] == [reference]
            self.charges[reference] = (mandate, amount)

    @rule(which=st.integers(0, 3), sender=st.sampled_from((PAYER.address, MALLORY, OWNER)))
    def revoke(self, which: int, sender: str) -> None:
        mandate = self.mandates[which]
        self.bench.mandates.call("revoke", self.bench.identity(mandate), sender=sender)
        if sender == PAYER.address:
            self.revoked.add(mandate)

    @rule()
    def switch(self) -> None:
        self.bench.mandates.call("unpause" if self.paused else "pause", sender=OWNER)
        self.paused = not self.paused

    @rule(operator=st.sampled_from((CHARGER, SECOND_CHARGER)))
    def rotate(self, operator: str) -> None:
        there = operator in self.operators
        self.bench.mandates.call("removeOperator" if there else "addOperator", operator, sender=OWNER)
        self.operators ^= {operator}

    @rule(seconds=st.integers(0, 20 * DAY))
    def wait(self, seconds: int) -> None:
        self.bench.at(self.bench.now + seconds)

    @invariant()
    def nothing_was_taken_above_the_cumulative_cap(self) -> None:
        for mandate in self.mandates:
            stage, charged = self.bench.state(mandate)
            assert charged == self.charged(mandate) <= self.allowed(mandate)
            assert (stage == 2) is (mandate in self.revoked)

    @invariant()
    def the_view_is_the_rule(self) -> None:
        for mandate in self.mandates:
            live = mandate not in self.revoked and mandate.start <= self.bench.now <= mandate.expiry
            left = min(self.allowed(mandate) - self.charged(mandate), mandate.chargeCap) if live else 0
            assert self.bench.remaining(mandate) == left

    @invariant()
    def treasuries_hold_exactly_what_was_charged_for_them(self) -> None:
        for treasury in (TREASURY, OTHER_TREASURY):
            held = sum(amount for mandate, amount in self.charges.values() if mandate.treasury == treasury)
            assert self.bench.balance(treasury) == held
        assert self.bench.balance(self.bench.mandates.address) == 0

    @invariant()
    def references_are_those_that_were_charged(self) -> None:
        for reference in REFERENCES:
            known = self.charges.get(reference)
            by = self.bench.identity(known[0]) if known else bytes(32)
            assert self.bench.mandates.call("chargedBy", reference) == by


MandatesMachine.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
TestMandatesHistories = MandatesMachine.TestCase
