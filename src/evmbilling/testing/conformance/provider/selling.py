"""From an order to what a wallet is given: pure, signed for one chain and one contract, told apart when read."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from evmbilling.domain.addresses import checksum
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.merchant import SIGNER_KEY

STRANGER = checksum(b"\x66" * 20)


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
    @pytest.mark.parametrize(
        "change",
        [
            lambda order: {"asset": attrs.evolve(order.asset, chain_id=order.asset.chain_id + 1)},
            lambda order: {"contract": STRANGER},
            lambda order: {"amount": order.amount + 1},
            lambda order: {"reference": b"\x01" * 32},
            lambda order: {"treasury": STRANGER},
            lambda order: {"beneficiary": STRANGER},
        ],
        ids=["chain", "contract", "amount", "reference", "treasury", "beneficiary"],
    )
    def test_a_signature_is_for_one_order_on_one_chain(self, field: Any, reader: Any, change: Any) -> None:
        order = field.checkout(1).order
        other = attrs.evolve(order, **change(order))
        signer, signature = reader.provider.sign(order, reader.gateway)
        assert recovered(reader.provider.typed_data(other), signature) != signer
        assert recovered(reader.provider.typed_data(other), reader.provider.sign(other, reader.gateway)[1]) == signer

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
        assert reader.provider.decode_transfer(nft) is None
        assert reader.provider.decode(log, reader.contract) is None

    @of_clause(10)
    def test_a_wallets_own_signature_is_told_from_others(self, field: Any, reader: Any) -> None:
        account, digest = Account.from_key(SIGNER_KEY), b"\x07" * 32
        signature = bytes(Account.unsafe_sign_hash(digest, SIGNER_KEY).signature)
        verify = reader.provider.verify_signature
        assert verify(reader.network, account.address, digest, signature) is True
        assert verify(reader.network, account.address, b"\x08" * 32, signature) is False
        for wrong in (signature[:-1] + bytes([signature[-1] ^ 7]), b"", bytes(65), signature + b"\x00"):
            assert verify(reader.network, account.address, digest, wrong) is False
        assert verify(reader.network, STRANGER, digest, signature) is False
        is_key = reader.provider.is_key_signature
        assert (is_key(account.address, digest, signature), is_key(STRANGER, digest, signature)) == (True, False)
        assert not is_key(account.address, b"\x08" * 32, signature)
        assert not is_key(account.address, digest, b"")
