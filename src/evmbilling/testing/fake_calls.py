"""Calldata that a fake chain executes: an ERC-20's ``approve`` and ``transfer``, Mandates, and sweeps of tokens.

It refuses what the contracts refuse, in their order, and leaves the logs that they leave. Permit2 is not there.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from evmbilling.adapters.evm.abi.calldata import APPROVE, TRANSFER, WORD
from evmbilling.adapters.evm.mandates.mandates import CHARGE_SELECTOR, GIVE_SELECTOR, REVOKE_SELECTOR, mandate_id
from evmbilling.adapters.evm.paying.deposits import SWEEP
from evmbilling.adapters.evm.signing.verification import is_key_signature
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.mandates.mandate_charges import Refusal
from evmbilling.domain.selling.deposits import deposit_address
from evmbilling.testing.deposit_logs import swept_logs
from evmbilling.testing.fake_state import APPROVAL_TOPIC, FakeState, word
from evmbilling.testing.mandate_logs import address_in, consent_log, pulled_logs, withdrawal_log, word_in
from evmbilling.testing.paid_logs import FakeLog, transfer_log

_STRUCT_WORDS: Final = 13
_SELECTOR_BYTES: Final = 4


@frozen(kw_only=True)
class FakeCall:
    """What a signed transaction does: wei to an address, with calldata."""

    to: str
    value: int = 0
    data: bytes = field(default=b"", repr=False)


@define
class FakeRules:
    """What owners of contracts have decided; a fork does not undo it.

    Attributes:
        paused: Mandates contracts, and tokens, that do nothing at the moment.
        operators: who may charge at a Mandates contract; anybody where it is not named.
        denied: (token, holder): the token moves nothing from or to them.

    """

    paused: set[str] = field(factory=set)
    operators: dict[str, frozenset[str]] = field(factory=dict)
    denied: set[tuple[str, str]] = field(factory=set)


class Reverted(Exception):
    """A call failed: with the contract's refusal, or as the token says."""


@frozen
class Terms:
    """A mandate as the contract gets it: thirteen words."""

    struct: bytes

    def _number(self, place: int) -> int:
        return int.from_bytes(word_in(self.struct, place))

    @property
    def payer(self) -> str:
        """Whose money."""
        return address_in(self.struct, 0)

    @property
    def token(self) -> str:
        """Which token."""
        return address_in(self.struct, 1)

    @property
    def treasury(self) -> str:
        """Where it goes."""
        return address_in(self.struct, 2)

    @property
    def charge_cap(self) -> int:
        """Base units that one charge may take."""
        return self._number(5)

    @property
    def start(self) -> int:
        """Unix seconds."""
        return self._number(8)

    @property
    def expiry(self) -> int:
        """Unix seconds."""
        return self._number(9)

    @property
    def operator(self) -> str:
        """Who alone may charge; the zero address for any operator."""
        return address_in(self.struct, 10)

    @property
    def permit2(self) -> bool:
        """Whether it goes over Permit2."""
        return bool(self._number(11))

    @property
    def is_sound(self) -> bool:
        """Whether the contract would take such terms at all, but for a treasury that is the contract itself."""
        filled = all(self._number(place) for place in (2, 5, 6, 7))
        return filled and self.expiry >= self.start

    def headroom(self, charged: int, time: int) -> int:
        """Return what is left of the cap for each spacing that has begun."""
        cap, spacing = self._number(6), self._number(7)
        return max(cap * (1 + (time - self.start) // spacing) - charged, 0)


@frozen(kw_only=True)
class Pulled:
    """A charge as the contract gets it, and who sends it at which block's time."""

    contract: str
    terms: Terms
    signature: bytes
    reference: bytes
    amount: int
    deadline: int
    checkout: str
    sender: str
    time: int


class FakeContracts:
    """Executes calls on a state; it changes nothing itself: the logs that come back do.

    Args:
        chain_id: goes into the ids of mandates.

    """

    def __init__(self, chain_id: int, rules: FakeRules) -> None:
        self._chain_id = chain_id
        self._rules = rules

    def run(self, state: FakeState, sender: str, call: FakeCall, time: int) -> tuple[FakeLog, ...]:
        """Return what a call emits in a block of a time (Unix seconds).

        Raises:
            Reverted: it fails.

        """
        chosen, words = call.data[:_SELECTOR_BYTES], call.data[_SELECTOR_BYTES:]
        if not call.data:
            return ()
        if chosen in {APPROVE, TRANSFER}:
            return self._token_call(state, sender, call)
        if chosen == REVOKE_SELECTOR:
            return (withdrawal_log(call.to, word_in(words, 0), sender),)
        if chosen == GIVE_SELECTOR:
            return self._given(state, sender, call.to, words, time)
        if chosen == SWEEP:
            return self._swept(state, call.to, words)
        if chosen == CHARGE_SELECTOR:
            return self._charged(state, read_pulled(call.to, sender, words, time))
        raise Reverted("there is no such function")

    def _token_call(self, state: FakeState, sender: str, call: FakeCall) -> tuple[FakeLog, ...]:
        chosen, words = call.data[:_SELECTOR_BYTES], call.data[_SELECTOR_BYTES:]
        if chosen == APPROVE:
            return (FakeLog(call.to, (APPROVAL_TOPIC, word(sender), word_in(words, 0)), word_in(words, 1)),)
        amount = int.from_bytes(word_in(words, 1))
        return self._moved(state, call.to, sender, address_in(words, 0), amount)

    def refusal(self, state: FakeState, pulled: Pulled) -> Refusal:
        """Return what the contract answers to ``canCharge``; as it would refuse a charge, and for money that lacks."""
        found = self._refusal(state, pulled)
        if found != "none":
            return found
        terms = pulled.terms
        if state.balance(terms.token, terms.payer) < pulled.amount:
            return "balance_too_low"
        allowed = state.allowance(terms.token, terms.payer, pulled.contract)
        return "allowance_too_low" if allowed < pulled.amount else "none"

    def moves(self, terms: Terms) -> bool:
        """Whether the token would move the money: neither paused, nor with a party on its deny-list."""
        parties = {(terms.token, terms.payer), (terms.token, terms.treasury)}
        return terms.token not in self._rules.paused and parties.isdisjoint(self._rules.denied)

    def is_paused(self, contract: str) -> bool:
        """Whether a contract is paused."""
        return contract in self._rules.paused

    def digest(self, contract: str, terms: Terms) -> bytes:
        """Return the id of a mandate at a contract."""
        return mandate_id(self._chain_id, contract, terms.struct)

    def _charged(self, state: FakeState, pulled: Pulled) -> tuple[FakeLog, ...]:
        refused, terms = self.refusal(state, pulled), pulled.terms
        if refused != "none":
            raise Reverted(refused)
        if not self.moves(terms):
            raise Reverted("the token refuses")
        digest = self.digest(pulled.contract, terms)
        first = state.stage(pulled.contract, terms.payer, digest) == "unknown"
        return pulled_logs(pulled.contract, digest, terms.struct, pulled.reference, pulled.amount, first=first)

    def _given(self, state: FakeState, sender: str, contract: str, words: bytes, time: int) -> tuple[FakeLog, ...]:
        terms, signature = Terms(words[: _STRUCT_WORDS * WORD]), _bytes_at(words, _STRUCT_WORDS)
        digest = self.digest(contract, terms)
        stage = state.stage(contract, terms.payer, digest)
        if stage == "given":
            return ()
        refused = self._terms_refusal(contract, terms, stage, time)
        if refused == "none" and sender != terms.payer and not is_key_signature(terms.payer, digest, signature):
            refused = "bad_signature"
        if refused != "none":
            raise Reverted(refused)
        return (consent_log(contract, digest, terms.struct),)

    def _refusal(self, state: FakeState, pulled: Pulled) -> Refusal:
        terms, contract, time = pulled.terms, pulled.contract, pulled.time
        digest = self.digest(contract, terms)
        stage = state.stage(contract, terms.payer, digest)
        ended = self._terms_refusal(contract, terms, stage, time)
        operators = self._rules.operators.get(contract)
        checks: tuple[tuple[bool, Refusal], ...] = (
            (self.is_paused(contract), "paused"),
            (operators is not None and pulled.sender not in operators, "not_operator"),
            (terms.operator not in {ZERO_ADDRESS, pulled.sender}, "wrong_operator"),
            (ended != "none", ended),
            (pulled.amount == 0, "zero_amount"),
            (time < terms.start, "not_started"),
            (time > pulled.deadline, "charge_late"),
            (state.is_used(contract, pulled.reference), "reference_used"),
            (state.is_used(pulled.checkout, pulled.reference), "paid_elsewhere"),
            (pulled.amount > terms.charge_cap, "over_charge_cap"),
            (pulled.amount > terms.headroom(state.charged(contract, terms.payer, digest), time), "over_cap"),
            (terms.permit2, "no_permit2"),
        )
        found = next((name for fails, name in checks if fails), None)
        if found is not None:
            return found
        unsigned = stage == "unknown" and not is_key_signature(terms.payer, digest, pulled.signature)
        return "bad_signature" if unsigned else "none"

    def _terms_refusal(self, contract: str, terms: Terms, stage: str, time: int) -> Refusal:
        if not terms.is_sound or terms.treasury == contract:
            return "bad_terms"
        if stage == "revoked":
            return "revoked"
        return "expired" if time > terms.expiry else "none"

    def _swept(self, state: FakeState, contract: str, words: bytes) -> tuple[FakeLog, ...]:
        reference, treasury, token = word_in(words, 0), address_in(words, 1), address_in(words, 2)
        address = deposit_address(contract, reference, treasury)
        held, amount = state.balance(token, address), int.from_bytes(word_in(words, 3))
        denied = {(token, address), (token, treasury)} & self._rules.denied
        if not amount or not amount <= held <= 2 * amount or denied or token in self._rules.paused:
            raise Reverted("nothing to sweep")
        return swept_logs(contract, reference, treasury, token=token, amount=amount)

    def _moved(self, state: FakeState, token: str, sender: str, receiver: str, amount: int) -> tuple[FakeLog, ...]:
        denied = {(token, sender), (token, receiver)} & self._rules.denied
        if denied or token in self._rules.paused or state.balance(token, sender) < amount:
            raise Reverted("the token refuses")
        return (transfer_log(token, sender, receiver, amount),)


def read_pulled(contract: str, sender: str, words: bytes, time: int) -> Pulled:
    """Read the arguments of ``charge``."""
    order = words[(_STRUCT_WORDS + 1) * WORD :]
    return Pulled(
        contract=contract,
        terms=Terms(words[: _STRUCT_WORDS * WORD]),
        signature=_bytes_at(words, _STRUCT_WORDS),
        reference=word_in(order, 0),
        amount=int.from_bytes(word_in(order, 1)),
        deadline=int.from_bytes(word_in(order, 2)),
        checkout=address_in(order, 3),
        sender=sender,
        time=time,
    )


def _bytes_at(words: bytes, place: int) -> bytes:
    """Return the ``bytes`` whose offset is the word at a place."""
    offset = int.from_bytes(word_in(words, place))
    length = int.from_bytes(words[offset : offset + WORD])
    return words[offset + WORD : offset + WORD + length]
