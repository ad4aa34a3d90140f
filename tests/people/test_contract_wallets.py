"""Signatures of wallets that are contracts, on a real chain."""

from __future__ import annotations

import pytest
from eth_abi import encode
from people_bench import ALICE, BOB, DOMAIN, START, URI, sign_digest, sign_text

from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.signing.verification import is_contract_signature, is_key_signature
from evmbilling.domain.people.customers import Wallet, with_proof
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import calldata, deploy, transact
from evmbilling.testing.merchant import anvil_merchant, repeatable_secrets

DIGEST = bytes(range(32))
UNDEPLOYED = bytes.fromhex("6492" * 16)
SALT = b"\7" * 32


@pytest.fixture
def rpc(anvil: AnvilNode):
    made = JsonRpc(chain_id=anvil.chain_id, urls=[anvil.url], timeout=5, attempts=1)
    yield made
    made.close()


def wrapped(factory: str, call: bytes, inner: bytes) -> bytes:
    return encode(["address", "bytes", "bytes"], [factory, call, inner]) + UNDEPLOYED


@pytest.fixture
def counterfactual(anvil: AnvilNode):
    """A factory, and the address of Alice's wallet that it would make."""
    factory = deploy(anvil, "WalletFactory")
    call = {"to": factory.address, "data": "0x" + calldata("WalletFactory", "addressOf", ALICE.address, SALT).hex()}
    answer = anvil.rpc("eth_call", call, "latest")
    return factory.address, "0x" + answer[-40:], calldata("WalletFactory", "make", ALICE.address, SALT)


@pytest.mark.fault("S10")
def test_s10_a_contract_wallet_accepts_its_owner_only(anvil, rpc):
    wallet = deploy(anvil, "ContractWallet", ALICE.address).address
    assert is_contract_signature(rpc, wallet, DIGEST, sign_digest(ALICE.key, DIGEST))
    assert not is_contract_signature(rpc, wallet, DIGEST, sign_digest(BOB.key, DIGEST))
    assert not is_contract_signature(rpc, wallet, DIGEST[::-1], sign_digest(ALICE.key, DIGEST))


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    "answer",
    [
        bytes.fromhex("1626ba7e"),
        bytes.fromhex("1626ba7e") + b"\0" * 27 + b"\1",
        bytes.fromhex("1626ba7e") + b"\0" * 60,
        b"\0" * 28 + bytes.fromhex("1626ba7e"),
        b"\xff" * 32,
    ],
)
def test_s10_all_32_bytes_of_the_magic_are_compared(anvil, rpc, answer):
    wallet = deploy(anvil, "ContractWallet", ALICE.address)
    transact(anvil, wallet, "lie", answer, sender=anvil.accounts[0].address)
    assert not is_contract_signature(rpc, wallet.address, DIGEST, sign_digest(ALICE.key, DIGEST))


@pytest.mark.fault("S12")
def test_s12_an_address_without_code_accepts_nothing(rpc):
    assert not is_contract_signature(rpc, BOB.address, DIGEST, sign_digest(ALICE.key, DIGEST))


def test_a_wallet_that_is_not_deployed_yet(rpc, counterfactual):
    factory, wallet, make = counterfactual
    signature = sign_digest(ALICE.key, DIGEST)
    assert is_contract_signature(rpc, wallet, DIGEST, wrapped(factory, make, signature))
    assert not is_contract_signature(rpc, wallet, DIGEST, signature)
    assert not is_contract_signature(rpc, wallet, DIGEST, wrapped(factory, make, sign_digest(BOB.key, DIGEST)))


@pytest.mark.fault("S14")
@pytest.mark.parametrize("inner", [b"", b"\0" * 65, UNDEPLOYED, b"\1" * 200])
def test_s14_garbage_for_a_wallet_that_is_not_deployed_is_refused(rpc, counterfactual, inner):
    factory, wallet, make = counterfactual
    assert not is_contract_signature(rpc, wallet, DIGEST, wrapped(factory, make, inner))
    assert not is_contract_signature(rpc, wallet, DIGEST, inner + UNDEPLOYED)


@pytest.mark.fault("S15")
def test_s15_a_factory_call_changes_nothing_and_cannot_run_for_ever(anvil, rpc, counterfactual):
    _, wallet, _ = counterfactual
    before = anvil.block_number, anvil.rpc("eth_getBalance", ALICE.address, "latest")
    # JUMPDEST PUSH1 0 JUMP: gas until there is none.
    bomb = "0x" + "b0" * 20
    anvil.set_code(bomb, "0x5b600056")
    assert not is_contract_signature(rpc, wallet, DIGEST, wrapped(bomb, b"", sign_digest(ALICE.key, DIGEST)))
    assert (anvil.block_number, anvil.rpc("eth_getBalance", ALICE.address, "latest")) == before


@pytest.mark.fault("S16")
def test_s16_a_key_with_delegated_code_signs_as_a_key(anvil):
    anvil.set_code(ALICE.address, "0xef0100" + "11" * 20)
    assert is_key_signature(ALICE.address, DIGEST, sign_digest(ALICE.key, DIGEST))


def confirmed(engine, network, address):
    challenge = engine.wallet_challenge(user_id="u", wallet=address, network=network, domain=DOMAIN, uri=URI)
    signature = sign_text(ALICE.key, challenge.message)
    return engine.confirm_wallet(user_id="u", nonce=challenge.nonce, signature=signature)


def test_a_contract_vouches_for_its_owner_on_its_own_chain_and_a_key_on_all(anvil, open_database):
    engine = BillingEngine(storage=open_database("memory", FrozenClock(START)), secrets=repeatable_secrets())
    shop = anvil_merchant(engine, anvil)
    contract = deploy(anvil, "ContractWallet", ALICE.address).address
    assert confirmed(engine, shop.network, contract).chains == (anvil.chain_id,)
    assert confirmed(engine, shop.network, ALICE.address).chains is None
    assert {w.address: w.chains for w in engine.profile("u").wallets} == {
        contract: (anvil.chain_id,),
        ALICE.address: None,
    }
    engine.close()


@pytest.mark.parametrize(
    ("stored", "proved", "expected"),
    [(None, (1,), (1,)), ((1,), (1,), (1,)), ((10,), (1,), (1, 10)), ((1,), None, None), (None, None, None)],
)
def test_what_is_proved_of_a_wallet_adds_up(stored, proved, expected):
    proof = Wallet(user_id="u", address=ALICE.address, confirmed_at=START, chains=proved)
    assert with_proof(None, proof) == proof
    before = Wallet(user_id="u", address=ALICE.address, confirmed_at=START.replace(year=2025), chains=stored)
    after = with_proof(before, proof)
    assert after.confirmed_at == before.confirmed_at
    assert after.chains == (None if stored is None else expected)
