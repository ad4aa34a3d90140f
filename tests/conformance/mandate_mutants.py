"""Providers that pull and are subtly wrong, one way each: the kit has to refuse every one of them."""

from __future__ import annotations

import itertools
from datetime import timedelta

import attrs
from wrapped_providers import OverBuiltIn, Wrapped

from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.mandates.mandates import Approvals
from evmbilling.errors import ProviderError
from evmbilling.testing.conformance import MandateConformance


class Mutant(OverBuiltIn, MandateConformance):
    """A mutant of the built-in provider."""

    capabilities = frozenset({"permit2"})


class TestControl(Mutant):
    """Nothing is wrong."""

    of = 0


def elsewhere(mandate):
    """Return the mandate as it would be on the main network."""
    return attrs.evolve(mandate, asset=attrs.evolve(mandate.asset, chain_id=1))


class TestDroppedChainId(Mutant):
    """A mandate is signed for the main network, whatever its chain is."""

    of = 1

    class kind(Wrapped):  # noqa: N801  - an attribute of the kit
        def mandate_digest(self, mandate):
            return self.inner.mandate_digest(elsewhere(mandate))

        def mandate_typed_data(self, mandate):
            return self.inner.mandate_typed_data(elsewhere(mandate))


class TestOtherDigest(Mutant):
    """What the payer signs names any operator, and the digest the mandate's own."""

    of = 1

    class kind(Wrapped):  # noqa: N801
        def mandate_typed_data(self, mandate):
            return self.inner.mandate_typed_data(attrs.evolve(mandate, operator=""))


class TestNewPayload(Mutant):
    """The same charge is another transaction each time."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        count = itertools.count(300_000)

        def charge_payload(self, mandate, charge):
            return attrs.evolve(self.inner.charge_payload(mandate, charge), gas=next(self.count))


class TestOneMore(Mutant):
    """A charge takes one base unit more than it says."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def charge_payload(self, mandate, charge):
            return self.inner.charge_payload(mandate, attrs.evolve(charge, amount=charge.amount + 1))


class TestNeverLate(Mutant):
    """The deadline of a charge is that of its mandate."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def charge_payload(self, mandate, charge):
            return self.inner.charge_payload(mandate, attrs.evolve(charge, deadline=mandate.expires_at))


class TestChargedTwice(Mutant):
    """Each transaction charges under a reference of its own."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.count = itertools.count(1)

        def charge_payload(self, mandate, charge):
            reference = next(self.count).to_bytes(32)
            return self.inner.charge_payload(mandate, attrs.evolve(charge, reference=reference))


class TestGivesAnother(Mutant):
    """What the payer gives by a transaction is a mandate with another salt."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def give_payload(self, mandate):
            return self.inner.give_payload(attrs.evolve(mandate, salt=mandate.salt ^ 1))


class TestEndsNothing(Mutant):
    """Ending a mandate sends what gives it."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def revoke_payload(self, mandate):
            return self.inner.give_payload(mandate)


class TestAnyConsent(Mutant):
    """Any 65 bytes are consent."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def accept_consent(self, mandate, network, signature):
            taken = self.inner.accept_consent(mandate, network, signature)
            return signature if len(signature) == 65 else taken


class TestKeysOnly(Mutant):
    """A contract wallet's consent is refused."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def accept_consent(self, mandate, network, signature):
            is_key = self.inner.is_key_signature(mandate.payer, mandate.digest, signature)
            return signature if is_key else None


class TestAsksForMore(Mutant):
    """A hundred times as much is asked for as is wanted."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def mandate_approvals(self, mandate, network, wanted):
            return self.inner.mandate_approvals(mandate, network, wanted * 100)


class TestQuietNode(Mutant):
    """A node that does not answer leaves nothing to be allowed."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def mandate_approvals(self, mandate, network, wanted):
            found = self.inner.mandate_approvals(mandate, network, wanted)
            return Approvals() if any(p.code == "rpc_unknown" for p in found.problems) else found


class TestOneTooFew(Mutant):
    """One base unit less than is wanted counts as enough."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def mandate_approvals(self, mandate, network, wanted):
            enough = self.inner.mandate_approvals(mandate, network, wanted - 1)
            return enough if not enough.transactions else self.inner.mandate_approvals(mandate, network, wanted)


def seen(**changes):
    """Return a provider that does not look at some of what the chain says."""

    class Blinkered(Wrapped):
        def charge_state(self, mandate, charge, network, *, operator=None):
            state = self.inner.charge_state(mandate, charge, network, operator=operator)
            return None if state is None else attrs.evolve(state, **changes)

    return Blinkered


class TestAnyAllowance(Mutant):
    """The allowance is not looked at."""

    of = 7
    kind = seen(allowance=2**256 - 1)


class TestAnyReference(Mutant):
    """A reference that was charged is taken for a new one."""

    of = 7
    kind = seen(used=False, refusal="none", simulated="ok")


class TestNothingCharged(Mutant):
    """What was charged so far is not counted."""

    of = 7
    kind = seen(charged=0, refusal="none", simulated="ok")


class TestStillGiven(Mutant):
    """A mandate that was revoked is taken for one that is given."""

    of = 7
    kind = seen(stage="given", refusal="none", simulated="ok")


class TestAnyOperator(Mutant):
    """Who would send the charge is not asked about."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def charge_state(self, mandate, charge, network, *, operator=None):
            operator = operator and mandate.operator
            return self.inner.charge_state(mandate, charge, network, operator=operator)


class TestStaleState(Mutant):
    """The state of a charge is kept from the first look."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.known = {}

        def charge_state(self, mandate, charge, network, *, operator=None):
            key = (mandate.digest, charge.reference, operator)
            if key not in self.known:
                self.known[key] = self.inner.charge_state(mandate, charge, network, operator=operator)
            return self.known[key]


class TestOwnClock(Mutant):
    """The time is that of four days ago, not of the newest block."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def charge_state(self, mandate, charge, network, *, operator=None):
            state = self.inner.charge_state(mandate, charge, network, operator=operator)
            if state is None:
                return None
            return attrs.evolve(state, time=state.time - timedelta(days=4), refusal="none", simulated="ok")


class TestSwallowedFault(Mutant):
    """Where no node answers, the last state that was seen is good."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def charge_state(self, mandate, charge, network, *, operator=None):
            from evmbilling.domain.mandates.mandate_charges import ChargeState

            state = self.inner.charge_state(mandate, charge, network, operator=operator)
            if state is not None:
                return state
            return ChargeState(time=mandate.start, contract_known=True, token_answers=True)


class TestAnyPermit(Mutant):
    """Any signature is good for a permit."""

    of = 8

    class kind(Wrapped):  # noqa: N801
        def accept_permit(self, mandate, network, signature):
            return mandate.permit is not None and len(signature) == 65


class TestNoPermit(Mutant):
    """A permit that cannot be looked at is taken for one that was given."""

    of = 8

    class kind(Wrapped):  # noqa: N801
        def accept_permit(self, mandate, network, signature):
            try:
                return mandate.permit is None or self.inner.accept_permit(mandate, network, signature)
            except ProviderError:
                return True


class TestAnyOperatorsConsent(Mutant):
    """A signature of the same mandate for any operator is consent, too."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def accept_consent(self, mandate, network, signature):
            twin = attrs.evolve(mandate, operator="")
            named = attrs.evolve(twin, digest=self.inner.mandate_digest(twin))
            taken = self.inner.accept_consent(mandate, network, signature)
            return taken or self.inner.accept_consent(named, network, signature)


class TestNoCheckout(Mutant):
    """A charge does not name the contract by which its order can be paid as well."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def charge_payload(self, mandate, charge):
            return self.inner.charge_payload(mandate, attrs.evolve(charge, checkout=ZERO_ADDRESS))


class TestPaidElsewhere(Mutant):
    """What a checkout has taken is not asked about."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def charge_state(self, mandate, charge, network, *, operator=None):
            alone = attrs.evolve(charge, checkout=ZERO_ADDRESS)
            return self.inner.charge_state(mandate, alone, network, operator=operator)


class TestNeverTried(Mutant):
    """What the contract says is enough: a charge is not tried."""

    of = 7
    kind = seen(simulated=None)


class TestStandsStill(Mutant):
    """A token that stands still is one that refuses this payer."""

    of = 7
    kind = seen(token_paused=False)


class TestKnowsNothing(Mutant):
    """Nothing is ever known of a charge."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def charge_state(self, mandate, charge, network, *, operator=None):
            """Return nothing."""
