"""From an order to what a wallet is given: pure, signed for one chain and one contract, told apart when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from evmbilling.domain.addresses import checksum
from evmbilling.ports.provider import OrderProver
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.provider.ground import NOBODY, MakeProvider, no_signer
from evmbilling.testing.merchant import SIGNER_KEY

STRANGER = checksum(b"\x66" * 20)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1: with ``s`` of a signature, ``CURVE_ORDER - s`` is good by the curve too, and by no contract (EIP-2)."""
TERMS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "chain": lambda order: {"asset": attrs.evolve(order.asset, chain_id=order.asset.chain_id + 1)},
    "contract": lambda order: {"contract": STRANGER},
    "token": lambda order: {"asset": attrs.evolve(order.asset, token=STRANGER)},
    "amount": lambda order: {"amount": order.amount + 1},
    "reference": lambda order: {"reference": b"\x01" * 32},
    "treasury": lambda order: {"treasury": STRANGER},
    "beneficiary": lambda order: {"beneficiary": STRANGER},
    "deadline": lambda order: {"deadline": order.deadline + timedelta(days=1)},
}
"""What an order asks for, and how each part of it could be something else."""


def recovered(typed_data: Any, signature: bytes) -> str:
    """Return who signed typed data."""
    return str(Account.recover_message(encode_typed_data(full_message=typed_data), signature=signature))


class SellingChecks:
    """Payloads, challenges and signatures of an order, and what is read of a log."""

    clause = 1

    def test_what_a_wallet_is_given_is_the_same_every_time(self, field: Any, reader: Any) -> None:
        order = field.checkout(1).order
        for make in (reader.provider.typed_data, reader.provider.payload, reader.provider.uri):
            assert make(order) == make(order)
        assert reader.provider.challenge(order) == reader.provider.challenge(order)
        assert reader.provider.sign(order, reader.gateway) == reader.provider.sign(order, reader.gateway)

    def test_an_order_is_signed_by_the_gateways_key(self, field: Any, reader: Any) -> None:
        order = field.checkout(1).order
        signer, signature = reader.provider.sign(order, reader.gateway)
        assert signer == reader.provider.signer_address(reader.gateway) == Account.from_key(SIGNER_KEY).address
        assert recovered(reader.provider.typed_data(order), signature) == signer
        challenge = reader.provider.challenge(order)
        assert (challenge.signer, recovered(challenge.typed_data, challenge.signature)) == (signer, signer)

    @of_clause(6)
    @pytest.mark.parametrize("change", TERMS.values(), ids=TERMS.keys())
    def test_a_signature_is_for_one_order_on_one_chain(self, field: Any, reader: Any, change: Any) -> None:
        order = field.checkout(1).order
        other = attrs.evolve(order, **change(order))
        signer, signature = reader.provider.sign(order, reader.gateway)
        assert recovered(reader.provider.typed_data(other), signature) != signer
        assert recovered(reader.provider.typed_data(other), reader.provider.sign(other, reader.gateway)[1]) == signer

    @of_clause(6)
    def test_what_proves_an_order_tells_other_terms(self, field: Any, reader: Any) -> None:
        """With :class:`evmbilling.ports.provider.OrderProver`: ``verify`` asks it whether an order was changed."""
        order = field.checkout(1).order
        if not isinstance(reader.provider, OrderProver):
            return  # this provider proves none
        assert reader.provider.is_signed(order)
        for part, change in TERMS.items():
            assert not reader.provider.is_signed(attrs.evolve(order, **change(order))), f"another {part} was signed too"
        assert not reader.provider.is_signed(attrs.evolve(order, signer=STRANGER))
        assert not reader.provider.is_signed(attrs.evolve(order, signature=bytes(65)))

    def test_what_a_wallet_is_given_needs_no_node(self, field: Any, reader: Any, make_provider: MakeProvider) -> None:
        blind = make_provider(signer_for=no_signer, reveal=lambda _: NOBODY)
        blind.chain(reader.network)  # so that it knows a node: one that does not answer
        order = field.checkout(1).order
        transfer = attrs.evolve(order, rail="erc20", contract=order.asset.token, signature=b"", call=None)
        for one in (order, transfer):
            assert (blind.payload(one), blind.uri(one)) == (reader.provider.payload(one), reader.provider.uri(one))
        assert blind.typed_data(order) == reader.provider.typed_data(order)
        assert blind.challenge(order) == reader.provider.challenge(order)
        blind.close()

    def test_a_payload_pays_this_order_in_this_asset(self, field: Any, reader: Any) -> None:
        offers = [field.checkout(1), field.checkout(2, asset="ETH")]
        token, coin = [reader.provider.payload(offer.order) for offer in offers]
        assert {token.chain_id, coin.chain_id} == {reader.network.chain_id}
        assert (token.to, token.value) == (reader.contract.address, 0)
        assert (coin.to, coin.value) == (reader.contract.address, offers[1].amount)
        for number, offer in enumerate(offers, 1):
            field.pay(number, offer)
        field.mine()
        assert set(reader.payments(1)) == {offer.reference for offer in offers}

    @of_clause(5)
    def test_a_log_of_another_contract_moves_no_money(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine()
        (paid,) = [log for log in reader.logs(1) if log.address == reader.contract.address]
        assert reader.provider.decode(paid, reader.contract).amount > 0
        assert reader.provider.decode(attrs.evolve(paid, address=STRANGER), reader.contract) is None
        assert reader.provider.decode(paid, attrs.evolve(reader.contract, address=STRANGER)) is None
        assert reader.provider.decode_transfer(paid) is None
        for topics in (paid.topics[:-1], (*paid.topics, bytes(32)), (bytes(32), *paid.topics[1:]), ()):
            assert reader.provider.decode(attrs.evolve(paid, topics=topics), reader.contract) is None

    @of_clause(5)
    def test_a_transfer_is_read_with_its_own_number_of_topics(self, field: Any, reader: Any) -> None:
        field.stray()
        field.mine()
        (log,) = reader.logs(1)
        moved = reader.provider.decode_transfer(log)
        assert (moved.kind, moved.token, moved.treasury) == ("transfer", field.shop.token.token, field.shop.treasury)
        nft = attrs.evolve(log, topics=(*log.topics, bytes(32)), data=b"")
        longer, shorter = (attrs.evolve(log, data=data) for data in (log.data + bytes(32), log.data[:-1]))
        assert [reader.provider.decode_transfer(other) for other in (nft, longer, shorter)] == [None] * 3
        assert reader.provider.decode(log, reader.contract) is None

    @of_clause(10)
    def test_a_wallets_own_signature_is_told_from_others(self, field: Any, reader: Any) -> None:
        account, digest = Account.from_key(SIGNER_KEY), b"\x07" * 32
        signature = bytes(Account.unsafe_sign_hash(digest, SIGNER_KEY).signature)
        high = (CURVE_ORDER - int.from_bytes(signature[32:64])).to_bytes(32) + bytes([55 - signature[64]])
        other_v = signature[:-1] + bytes([signature[-1] ^ 7])
        for verify in (partial(reader.provider.verify_signature, reader.network), reader.provider.is_key_signature):
            assert verify(account.address, digest, signature) is True
            assert verify(account.address, b"\x08" * 32, signature) is False
            for wrong in (other_v, b"", bytes(65), signature + b"\x00", signature[:32] + high):
                assert verify(account.address, digest, wrong) is False, f"taken for a signature: {wrong.hex()}"
            assert verify(STRANGER, digest, signature) is False
