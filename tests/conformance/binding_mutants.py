"""Providers that sell through any contract and are subtly wrong, one way each: the kit has to refuse each."""

from __future__ import annotations

import attrs
from wrapped_providers import OverBuiltIn, Wrapped

from evmbilling.errors import ChallengeRefused, Conflict, InputError, RpcUnavailable
from evmbilling.testing.conformance import BindingConformance


class Mutant(OverBuiltIn, BindingConformance):
    """A mutant of the built-in provider."""

    capabilities = frozenset({"permits"})


class TestControl(Mutant):
    """Nothing is wrong."""

    of = 0


class TestFirstOfTwo(Mutant):
    """Of two methods or events with one name the first is meant."""

    of = 1

    class kind(Wrapped):  # noqa: N801  - an attribute of the kit
        def check_binding(self, contract):
            try:
                self.inner.check_binding(contract)
            except InputError as error:
                if "overloaded" not in str(error) and "several" not in str(error):
                    raise


class TestNoPlace(Mutant):
    """What does not fit is refused without a place."""

    of = 1

    class kind(Wrapped):  # noqa: N801
        def check_binding(self, contract):
            try:
                self.inner.check_binding(contract)
            except InputError as error:
                raise InputError(error.message, field="contract") from None


class TestUnchecked(Mutant):
    """A binding is looked at when it is first used."""

    of = 1

    class kind(Wrapped):  # noqa: N801
        def check_binding(self, contract):
            del contract


class TestPayerForMember(Mutant):
    """The wallet that pays is written where the member belongs."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def with_call(self, order, contract, token_id=None):
            called = self.inner.with_call(attrs.evolve(order, beneficiary=order.wallet), contract, token_id)
            return attrs.evolve(called, beneficiary=order.beneficiary)


class TestOwnNumber(Mutant):
    """A membership is renewed by one number for all."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def with_call(self, order, contract, token_id=None):
            return self.inner.with_call(order, contract, None if token_id is None else 1)


class TestClipped(Mutant):
    """A value that does not fit is made to fit."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def with_call(self, order, contract, token_id=None):
            return self.inner.with_call(attrs.evolve(order, quantity=order.quantity % 2**96), contract, token_id)


class TestAnyContract(Mutant):
    """An event is read whichever contract sent it."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            return self.inner.decode(attrs.evolve(log, address=contract.address), contract)


class TestAnyFields(Mutant):
    """What an event has to say to be meant is not looked at."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            import json

            events = [{k: v for k, v in e.items() if k != "when"} for e in json.loads(contract.events)]
            return self.inner.decode(log, attrs.evolve(contract, events=json.dumps(events)))


class TestMadeUpReference(Mutant):
    """An event that names no order gets its transaction's hash for a reference."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            found = self.inner.decode(log, contract)
            return found and attrs.evolve(found, reference=found.reference or log.tx_hash)


class TestNoProxies(Mutant):
    """What stands behind a proxy is not looked at."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def read_pins(self, network, addresses):
            return tuple(pin for pin in self.inner.read_pins(network, addresses) if pin[0] in addresses)


class TestStalePins(Mutant):
    """The code is kept from the first look."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.known = {}

        def read_pins(self, network, addresses):
            key = tuple(addresses)
            if key not in self.known:
                self.known[key] = self.inner.read_pins(network, addresses)
            return self.known[key]


class TestSwallowedFault(Mutant):
    """Where no node answers, there is nothing to pin."""

    of = 4

    class kind(Wrapped):  # noqa: N801
        def read_pins(self, network, addresses):
            try:
                return self.inner.read_pins(network, addresses)
            except RpcUnavailable:
                return ()


class TestAlwaysFine(Mutant):
    """A call that would fail is tried as if it would not."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def simulate(self, order, contract, network, *, signed=False):
            found = self.inner.simulate(order, contract, network, signed=signed)
            return attrs.evolve(found, succeeds=True, refusal=None, gas=1)


class TestAnyEventPays(Mutant):
    """Whatever a call emits is taken for a payment."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def simulate(self, order, contract, network, *, signed=False):
            found = self.inner.simulate(order, contract, network, signed=signed)
            return attrs.evolve(found, pays=True if found.succeeds else found.pays)


class TestAllowsEverything(Mutant):
    """A treasury allows more than goes back."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def refund_approval(self, refund, contract, order):
            return self.inner.refund_approval(attrs.evolve(refund, amount=2**256 - 1), contract, order)


class TestAlwaysAllows(Mutant):
    """A treasury allows something though nothing is asked for."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def refund_approval(self, refund, contract, order):
            return self.inner.refund_approval(refund, contract, order) or self.inner.refund_payload(
                refund, contract, order
            )


class TestAnySignature(Mutant):
    """A signature is put into the call whoever made it."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def permitted_payload(self, order, contract, network, signature):
            try:
                return self.inner.permitted_payload(order, contract, network, signature)
            except ChallengeRefused:
                return self.inner.payload(order)


class TestAlwaysPermits(Mutant):
    """A binding that takes no signature asks for one of nothing."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def permit_typed_data_of(self, order, contract, network):
            try:
                return self.inner.permit_typed_data_of(order, contract, network)
            except Conflict:
                return {}


class TestPayerForWallet(Mutant):
    """An order with a call is paid by the wallet that gets the membership."""

    of = 2

    class kind(Wrapped):  # noqa: N801
        def with_call(self, order, contract, token_id=None):
            return attrs.evolve(self.inner.with_call(order, contract, token_id), wallet=order.beneficiary)


class TestMadeUpPayer(Mutant):
    """Where an event names no payer, the treasury is it."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            found = self.inner.decode(log, contract)
            return found and attrs.evolve(found, payer=found.payer or found.treasury)


class TestShortAmount(Mutant):
    """An amount of an event is read as 128 bits."""

    of = 3

    class kind(Wrapped):  # noqa: N801
        def decode(self, log, contract):
            found = self.inner.decode(log, contract)
            return found and attrs.evolve(found, amount=found.amount % 2**128)


class TestTriesWithout(Mutant):
    """The call that takes a signature is tried as the one without."""

    of = 5

    class kind(Wrapped):  # noqa: N801
        def simulate(self, order, contract, network, *, signed=False):
            del signed
            return self.inner.simulate(order, contract, network)


class TestOwnSpender(Mutant):
    """A treasury allows the contract, whoever the binding says will spend."""

    of = 6

    class kind(Wrapped):  # noqa: N801
        def refund_approval(self, refund, contract, order):
            found = self.inner.refund_approval(refund, contract, order)
            if found is None:
                return None
            return attrs.evolve(found, data=found.data[:16] + bytes.fromhex(contract.address[2:]) + found.data[36:])


class TestStalePermit(Mutant):
    """What the token wants to be signed is kept from the first look."""

    of = 7

    class kind(Wrapped):  # noqa: N801
        def __init__(self, inner):
            super().__init__(inner)
            self.known = {}

        def permit_typed_data_of(self, order, contract, network):
            if order.ledger_id not in self.known:
                self.known[order.ledger_id] = self.inner.permit_typed_data_of(order, contract, network)
            return self.known[order.ledger_id]
