"""The whole kit of providers that pull by mandate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs
from eth_account.messages import encode_typed_data

from evmbilling._keccak import keccak
from evmbilling.domain.mandates.mandate_charges import Charge, ChargeFacts, charge_problem
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus
from evmbilling.ports.mandates import MandateProvider
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.base import needs, of_clause
from evmbilling.testing.conformance.provider.ground import PRICE, Ground, GroundKit, MakeProvider
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.deploy import deploy, deploy_mandates, deploy_token, put_permit2
from evmbilling.testing.keys import sign_typed_data

DAY = 86_400
OTHER = "0x7777777777777777777777777777777777777777"
_SAYS_YES, _SAYS_NO = (f"0x60{answer}5f5260205ff3" for answer in ("01", "00"))
"""Code that answers every question with this word."""
DIFFERENT: Mapping[str, Callable[[Mandate], dict[str, Any]]] = {
    "chain": lambda m: {"asset": attrs.evolve(m.asset, chain_id=m.asset.chain_id + 1)},
    "contract": lambda m: {"contract": OTHER},
    "payer": lambda m: {"payer": OTHER},
    "token": lambda m: {"asset": attrs.evolve(m.asset, token=OTHER)},
    "treasury": lambda m: {"treasury": OTHER},
    "operator": lambda m: {"operator": OTHER},
    "any operator": lambda m: {"operator": ""},
    "subscription": lambda m: {"subscription_id": records.ident(2)},
    "plan": lambda m: {"plan_version": m.plan_version + 1},
    "charge cap": lambda m: {"charge_cap": m.charge_cap + 1},
    "cap": lambda m: {"cap": m.cap + 1},
    "spacing": lambda m: {"spacing": m.spacing + 1},
    "start": lambda m: {"start": records.at(0).replace(microsecond=0)},
    "end": lambda m: {"expires_at": records.at(0).replace(microsecond=0)},
    "way": lambda m: {"via": "permit2"},
    "salt": lambda m: {"salt": m.salt + 1},
}
"""What a payer agrees to, and how each part of it could be something else."""


def digest_of(typed_data: Any) -> bytes:
    """Return the 32 bytes that a wallet signs for typed data, by eth-account's own encoding (EIP-712)."""
    told = encode_typed_data(full_message=typed_data)
    return keccak(b"\x19" + told.version + told.header + told.body)


class Pulling(Ground):
    """With the Mandates contract, and an operator (account 2)."""

    def __init__(self, node: AnvilNode, make: MakeProvider, port: type) -> None:
        super().__init__(node, make, port)
        put_permit2(node)
        self.operator = node.accounts[2].address
        self.contract = deploy_mandates(node, operators=(self.operator,))
        self.began = self.at(0)

    def mandate(self, *, key: str | None = None, **changes: Any) -> Mandate:
        """Return a mandate that the payer has signed: one price a charge, two prices a month."""
        full = Mandate(
            mandate_id=records.ident(1),
            digest=bytes(32),
            user_id=records.ALICE,
            subscription_id=records.ident(1),
            plan_slug="pro",
            plan_version=1,
            network=self.network.name,
            asset=self.asset,
            contract=self.contract.address,
            payer=self.payer.address,
            treasury=self.treasury,
            operator=self.operator,
            via="allowance",
            charge_cap=PRICE,
            cap=2 * PRICE,
            spacing=28 * DAY,
            start=self.began,
            expires_at=self.at(1000 * DAY),
            salt=2**255 + 7,
            status=MandateStatus.GIVEN,
            created_at=self.began,
            given_at=self.began,
        )
        meant = attrs.evolve(full, **changes)
        named = attrs.evolve(meant, digest=self.provider.mandate_digest(meant))
        signature = sign_typed_data(key or self.payer.key, self.provider.mandate_typed_data(named))
        return attrs.evolve(named, signature=signature)

    def charge(self, number: int = 1, **changes: Any) -> Charge:
        return attrs.evolve(Charge(reference=records.word(number), amount=PRICE, deadline=self.at(DAY)), **changes)

    def allow(self, mandate: Mandate, amount: int = 20 * PRICE) -> None:
        """Let the payer do what stands in the way."""
        for payload in self.provider.mandate_approvals(mandate, self.network, amount).transactions:
            assert self.send(payload, mandate.payer)

    def pull(self, mandate: Mandate, charge: Charge, sender: str | None = None) -> bool:
        return self.send(self.provider.charge_payload(mandate, charge), sender or self.operator)

    def problem(self, mandate: Mandate, charge: Charge, *, operator: str | None = None, **order: Any) -> str | None:
        """Return the code of what stands in the way of a charge, by what the provider says of the chain."""
        asked = self.order(reference=charge.reference, amount=charge.amount, deadline=charge.deadline, **order)
        chain = self.provider.charge_state(mandate, charge, self.network, operator=operator or self.operator)
        return charge_problem(
            ChargeFacts(mandate=mandate, order=asked, charge=charge, chain=chain, now=mandate.created_at)
        )


class MandateConformance(GroundKit):
    """Standard tests of :class:`evmbilling.ports.mandates.MandateProvider`; give ``make_provider``.

    The chain under it is Anvil, with the project's Mandates contract and a test token.
    """

    port = MandateProvider
    ground = Pulling
    clause = 7
    known: ClassVar[Mapping[str, str]] = {
        "permit2": "it pulls over Permit2's allowance too, with a permit that the payer signs",
    }

    @of_clause(1)
    def test_what_the_payer_signs_is_the_mandates_digest(self, field: Pulling) -> None:
        mandate = field.mandate()
        assert field.provider.mandate_digest(mandate) == mandate.digest
        assert digest_of(field.provider.mandate_typed_data(mandate)) == mandate.digest

    @of_clause(1)
    def test_every_part_of_what_is_agreed_changes_the_digest(self, field: Pulling) -> None:
        mandate = field.mandate()
        for part, change in DIFFERENT.items():
            other = attrs.evolve(mandate, **change(mandate))
            assert field.provider.mandate_digest(other) != mandate.digest, f"another {part} has the same digest"
            assert digest_of(field.provider.mandate_typed_data(other)) == field.provider.mandate_digest(other), part

    @of_clause(2)
    def test_what_is_pure_is_the_same_every_time_and_asks_nobody(self, field: Pulling) -> None:
        mandate, charge = field.mandate(), field.charge()
        looks: tuple[Callable[[Any], Any], ...] = (
            lambda provider: provider.mandate_digest(mandate),
            lambda provider: provider.mandate_typed_data(mandate),
            lambda provider: provider.permit_typed_data(mandate),
            lambda provider: provider.charge_payload(mandate, charge),
            lambda provider: provider.give_payload(mandate),
            lambda provider: provider.revoke_payload(mandate),
        )
        for make in looks:
            assert make(field.provider) == make(field.provider) == make(field.blind)

    @of_clause(3)
    def test_a_charge_takes_what_it_says_once(self, field: Pulling) -> None:
        mandate, charge = field.mandate(), field.charge(amount=PRICE - 3)
        field.allow(mandate)
        held = field.holds(mandate.payer)
        assert field.pull(mandate, charge)
        assert (field.holds(field.treasury), field.holds(mandate.payer)) == (charge.amount, held - charge.amount)
        assert not field.pull(mandate, charge)
        assert field.pull(mandate, field.charge(2))
        assert field.holds(field.treasury) == 2 * PRICE - 3

    @of_clause(3)
    def test_a_charge_is_nobody_elses_and_not_late(self, field: Pulling) -> None:
        mandate = field.mandate()
        field.allow(mandate)
        assert not field.pull(mandate, field.charge(), field.stranger.address)
        assert not field.pull(mandate, field.charge(deadline=field.at(-60)))
        assert not field.pull(field.mandate(key=field.stranger.key), field.charge())
        assert field.holds(field.treasury) == 0

    @of_clause(4)
    def test_the_payer_gives_a_mandate_by_a_transaction(self, field: Pulling) -> None:
        signed = field.mandate()
        unsigned = attrs.evolve(signed, signature=b"")
        field.allow(unsigned)
        assert not field.pull(unsigned, field.charge())
        assert field.send(field.provider.give_payload(unsigned), unsigned.payer)
        state = field.provider.charge_state(unsigned, field.charge(), field.network)
        assert (state.stage, state.charged) == ("given", 0)
        assert field.pull(unsigned, field.charge())

    @of_clause(4)
    def test_the_payer_ends_a_mandate_whatever_was_signed(self, field: Pulling) -> None:
        mandate, other = field.mandate(), field.mandate(salt=8)
        field.allow(mandate)
        assert field.problem(mandate, field.charge()) is None
        assert field.send(field.provider.revoke_payload(mandate), mandate.payer)
        assert field.problem(mandate, field.charge()) == "revoked"
        assert not field.pull(mandate, field.charge())
        assert field.problem(other, field.charge()) is None

    @of_clause(5)
    def test_only_the_payers_own_signature_is_consent(self, field: Pulling) -> None:
        mandate = field.mandate()
        accept = field.provider.accept_consent
        assert accept(mandate, field.network, mandate.signature) == mandate.signature
        for part, change in DIFFERENT.items():
            other = field.mandate(**change(mandate))
            assert accept(mandate, field.network, other.signature) is None, f"another {part} was signed"
        for wrong in (
            field.mandate(key=field.stranger.key).signature,
            mandate.signature[:-1],
            mandate.signature[:-1] + bytes([mandate.signature[-1] ^ 7]),
            bytes(65),
            b"",
        ):
            assert accept(mandate, field.network, wrong) is None, f"taken for consent: {wrong.hex()}"

    @of_clause(5)
    def test_a_contract_wallet_consents_by_its_owner(self, field: Pulling) -> None:
        wallet = deploy(field.node, "ContractWallet", field.stranger.address)
        mandate = field.mandate(key=field.stranger.key, payer=wallet.address)
        accept = field.provider.accept_consent
        taken = accept(mandate, field.network, mandate.signature)
        assert taken is not None
        assert accept(mandate, field.network, field.mandate(payer=wallet.address).signature) is None
        field.act(field.token, "mint", wallet.address, PRICE)
        field.node.impersonate(wallet.address)
        field.node.set_balance(wallet.address, 10**18)
        field.act(field.token, "approve", field.contract.address, PRICE, sender=wallet.address)
        assert field.pull(attrs.evolve(mandate, signature=taken), field.charge())

    @of_clause(6)
    def test_approvals_are_what_is_missing_and_no_more(self, field: Pulling) -> None:
        mandate = field.mandate()
        asked = field.provider.mandate_approvals(mandate, field.network, PRICE)
        assert (asked.problems, asked.permit, len(asked.transactions)) == ((), None, 1)
        field.act(field.token, "approve", field.contract.address, PRICE - 1, sender=mandate.payer)
        field.allow(mandate, PRICE)
        assert field.ask(field.token, "allowance", mandate.payer, field.contract.address) == PRICE
        assert field.provider.mandate_approvals(mandate, field.network, PRICE).transactions == ()
        assert field.problem(mandate, field.charge()) is None
        assert field.pull(mandate, field.charge())

    @of_clause(6)
    def test_approvals_without_a_node_are_all_of_them_and_a_problem(self, field: Pulling) -> None:
        mandate = field.mandate()
        field.allow(mandate)
        asked = field.blind.mandate_approvals(mandate, field.network, PRICE)
        assert [problem.code for problem in asked.problems] == ["rpc_unknown"]
        assert len(asked.transactions) == 1

    def test_without_a_node_nothing_is_known_of_a_charge(self, field: Pulling) -> None:
        mandate = field.mandate()
        assert field.blind.charge_state(mandate, field.charge(), field.network, operator=field.operator) is None

    def test_what_stands_in_the_way_is_told_as_the_chain_is_now(self, field: Pulling) -> None:
        mandate, charge = field.mandate(), field.charge()
        assert field.problem(mandate, charge) == "allowance"
        field.allow(mandate)
        assert field.problem(mandate, charge) is None
        held = field.holds(mandate.payer)
        field.act(field.token, "transfer", field.stranger.address, held - PRICE + 1, sender=mandate.payer)
        assert field.problem(mandate, charge) == "balance"
        field.act(field.token, "mint", mandate.payer, 20 * PRICE)
        assert field.problem(mandate, charge, operator=field.stranger.address) == "operator_refused"
        field.act(field.contract, "pause")
        assert field.problem(mandate, charge) == "paused"
        field.act(field.contract, "unpause")
        assert field.problem(field.mandate(key=field.stranger.key), charge) == "bad_signature"
        assert field.problem(mandate, charge) is None
        assert field.pull(mandate, charge)
        assert field.problem(mandate, charge) == "reference_used"
        assert field.pull(mandate, field.charge(2))
        assert field.problem(mandate, field.charge(3)) == "cap_reached"
        state = field.provider.charge_state(mandate, field.charge(3), field.network)
        assert (state.charged, state.simulated) == (2 * PRICE, None)

    def test_what_a_checkout_has_taken_is_not_pulled(self, field: Pulling) -> None:
        """The charge names the contract by which its order can be paid as well: money must not come twice."""
        mandate, charge = field.mandate(), field.charge(checkout=OTHER)
        field.allow(mandate)
        field.node.set_code(OTHER, _SAYS_YES)
        assert field.problem(mandate, charge) == "reference_used"
        assert not field.pull(mandate, charge)
        field.node.set_code(OTHER, _SAYS_NO)
        assert field.problem(mandate, charge) is None
        assert field.pull(mandate, charge)

    def test_a_charge_is_tried_before_it_is_sent(self, field: Pulling) -> None:
        """Only a trial shows what a token does: it may refuse this payer, stand still, or keep a part."""
        keeps, lists = (deploy_token(field.node, artefact=name, symbol="odd") for name in ("FeeToken", "ListToken"))
        for token, wanted in ((keeps, "short_receipt"), (lists, None)):
            mandate = field.mandate(asset=attrs.evolve(field.asset, token=token.address))
            field.act(token, "mint", mandate.payer, 20 * PRICE)
            field.act(token, "approve", field.contract.address, 20 * PRICE, sender=mandate.payer)
            assert field.problem(mandate, field.charge(), asset=mandate.asset) == wanted
        field.act(lists, "setListed", mandate.payer, True)
        assert field.problem(mandate, field.charge(), asset=mandate.asset) == "deny_listed"
        field.act(lists, "setPaused", True)
        assert field.problem(mandate, field.charge(), asset=mandate.asset) == "paused"

    def test_the_time_is_that_of_the_chain(self, field: Pulling) -> None:
        early, short = field.mandate(start=field.at(2 * DAY)), field.mandate(expires_at=field.at(3 * DAY))
        charge = field.charge(deadline=field.at(9 * DAY))
        field.allow(short)
        assert (field.problem(early, charge), field.problem(short, charge)) == ("not_started", None)
        field.node.increase_time(4 * DAY)
        field.node.mine()
        assert (field.problem(early, charge), field.problem(short, charge)) == (None, "expired")

    def test_other_code_than_the_contracts_is_told(self, field: Pulling) -> None:
        mandate = field.mandate()
        field.allow(mandate)
        field.node.set_code(field.contract.address, "0x6000")
        assert field.problem(mandate, field.charge()) == "contract_missing"
        asked = field.provider.mandate_approvals(mandate, field.network, PRICE)
        assert [problem.code for problem in asked.problems] == ["contract_missing"]

    @needs("permit2")
    @of_clause(8)
    def test_a_permit_comes_with_the_first_charge(self, field: Pulling) -> None:
        mandate = field.mandate(via="permit2")
        asked = field.provider.mandate_approvals(mandate, field.network, PRICE)
        assert asked.permit is not None
        with_permit = attrs.evolve(mandate, permit=asked.permit)
        typed = field.provider.permit_typed_data(with_permit)
        signature = sign_typed_data(field.payer.key, typed)
        for payload in asked.transactions:
            assert field.send(payload, mandate.payer)
        accept = field.provider.accept_permit
        assert accept(with_permit, field.network, signature)
        more = attrs.evolve(with_permit, permit=attrs.evolve(asked.permit, amount=PRICE + 1))
        for wrong in (
            sign_typed_data(field.stranger.key, typed),
            sign_typed_data(field.payer.key, field.provider.permit_typed_data(more)),
            bytes(65),
        ):
            assert not accept(with_permit, field.network, wrong), f"taken for a permit: {wrong.hex()}"
        signed = attrs.evolve(with_permit, permit=attrs.evolve(asked.permit, signature=signature))
        assert field.problem(signed, field.charge()) is None
        assert field.problem(mandate, field.charge()) == "allowance"
        assert field.pull(signed, field.charge())

    @of_clause(8)
    def test_without_a_permit_there_is_none_to_sign(self, field: Pulling) -> None:
        mandate = field.mandate()
        assert field.provider.permit_typed_data(mandate) is None
        assert not field.provider.accept_permit(mandate, field.network, mandate.signature)
