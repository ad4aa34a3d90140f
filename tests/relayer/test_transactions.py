"""Transactions as bytes: the same as the reference signer's, and what nodes say of them."""

from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling.adapters.evm.signing.transactions import Unsigned, sign_transaction
from evmbilling.adapters.signers.local import LocalSigner
from evmbilling.domain.sending.transmissions import Fees
from evmbilling.errors import ProviderError
from evmbilling.testing.accounts import DEV_ACCOUNTS
from sampling import examples

KEY = DEV_ACCOUNTS[0].key
SIGNER = LocalSigner(KEY)


FEES = st.builds(
    lambda fee, legacy: Fees(max_fee=fee, priority_fee=fee if legacy else fee // 2, legacy=legacy),
    st.integers(1, 10**14),
    st.booleans(),
)
UNSIGNED = st.builds(
    Unsigned,
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**63),
    to=st.just(DEV_ACCOUNTS[1].address),
    value=st.integers(0, 2**128),
    data=st.binary(max_size=80),
    gas=st.integers(21_000, 10**7),
    fees=FEES,
)


@settings(max_examples=examples(40))
@given(unsigned=UNSIGNED)
def test_bytes_and_hash_are_those_of_the_reference_signer(unsigned) -> None:
    raw, tx_hash = sign_transaction(unsigned, SIGNER.sign_digest)
    fields = {name: getattr(unsigned, name) for name in ("nonce", "to", "value", "data", "gas")}
    fees = unsigned.fees
    dynamic = {"maxFeePerGas": fees.max_fee, "maxPriorityFeePerGas": fees.priority_fee, "type": 2}
    priced = {"gasPrice": fees.max_fee} if fees.legacy else dynamic
    expected = Account.sign_transaction({"chainId": unsigned.chain_id} | fields | priced, KEY)
    assert (raw, tx_hash) == (bytes(expected.raw_transaction), bytes(expected.hash))
    assert Account.recover_transaction(raw) == SIGNER.address


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), bytes(64) + b"\x01", bytes(66)])
def test_a_signer_that_answers_something_else_is_refused(signature) -> None:
    unsigned = Unsigned(
        chain_id=1, nonce=0, to=SIGNER.address, value=0, data=b"", gas=21_000, fees=Fees(max_fee=1, priority_fee=1)
    )
    with pytest.raises(ProviderError) as refused:
        sign_transaction(unsigned, lambda _: signature)
    assert refused.value.field == "signer"
