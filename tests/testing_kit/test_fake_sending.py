"""Our own transactions on the fake chain: the pool and the blocks behave as a node's, and a fork undoes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from evmbilling.adapters.evm.abi.calldata import approve_call, transfer_call
from evmbilling.adapters.signers import LocalSigner
from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.sending.transmissions import Fees, Transmission
from evmbilling.errors import InputError
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.fake_sending import FakeTransmitter, read_raw

ALICE, BOB = DEV_ACCOUNTS[1:3]
TOKEN = checksum(b"token".rjust(20, b"\1"))
START = datetime(2026, 1, 31, tzinfo=UTC)
FEES = Fees(max_fee=4 * 10**9, priority_fee=10**9)
KEY = SecretRef("env", "NOT_LOOKED_AT")


@pytest.fixture
def chain() -> FakeChain:
    made = FakeChain(31337, start=START, safe_lag=2, finalized_lag=4)
    made.give(TOKEN, ALICE.address, 100)
    made.mine()
    return made


@pytest.fixture
def wire(chain: FakeChain) -> FakeTransmitter:
    return chain.transmitter(lambda _: LocalSigner(ALICE.key))


def errand(**changes: Any) -> Transmission:
    values: dict[str, Any] = {
        "transmission_id": "1",
        "purpose": "refund",
        "subject": "refund:1",
        "network": "local",
        "chain_id": 31337,
        "signer": KEY,
        "sender": ALICE.address,
        "to": TOKEN,
        "data": transfer_call(BOB.address, 7),
        "gas": 100_000,
        "gas_ceiling": 10**18,
        "not_after": START,
        "next_at": START,
        "waiting_since": START,
        "created_at": START,
    }
    return Transmission(**(values | changes))


def test_signed_bytes_are_sent_mined_and_done(chain: FakeChain, wire: FakeTransmitter) -> None:
    assert wire.rehearse(errand()).problem is None
    signed = wire.sign(errand(), 0, FEES)
    assert (wire.send(signed.raw), wire.send(signed.raw)) == ("accepted", "known")
    assert (wire.pending(signed.tx_hash), wire.nonce(ALICE.address), wire.mined([signed.tx_hash])) == (True, 0, {})
    head = chain.mine()
    seen = wire.mined([signed.tx_hash])[signed.tx_hash]
    assert (seen.succeeded, seen.block_hash, seen.gas_paid) == (True, head.hash, 120_000 * 2 * 10**9)
    assert (wire.nonce(ALICE.address), wire.nonce(ALICE.address, head.number - 1)) == (1, 0)
    assert chain.balance(TOKEN, BOB.address, head.number) == 7
    assert wire.send(signed.raw) == "nonce_used"
    assert (wire.heights().head, wire.heights().finalized) == (head.number, 0)


def test_what_pays_a_tenth_more_replaces_and_less_does_not(chain: FakeChain, wire: FakeTransmitter) -> None:
    first = wire.sign(errand(), 0, FEES)
    wire.send(first.raw)
    cheap = wire.sign(errand(), 0, Fees(max_fee=4 * 10**9 + 1, priority_fee=10**9 + 1))
    assert wire.send(cheap.raw) == "underpriced"
    cancel = wire.sign(errand(), 0, Fees(max_fee=5 * 10**9, priority_fee=2 * 10**9), cancel=True)
    assert wire.send(cancel.raw) == "accepted"
    chain.mine()
    assert set(wire.mined([first.tx_hash, cancel.tx_hash])) == {cancel.tx_hash}
    assert chain.balance(TOKEN, BOB.address, chain.head.number) == 0


def test_a_nonce_waits_for_those_before_it(chain: FakeChain, wire: FakeTransmitter) -> None:
    later, sooner = wire.sign(errand(), 1, FEES), wire.sign(errand(), 0, FEES)
    wire.send(later.raw)
    chain.mine()
    assert wire.mined([later.tx_hash]) == {}
    wire.send(sooner.raw)
    chain.mine()
    assert set(wire.mined([later.tx_hash, sooner.tx_hash])) == {later.tx_hash, sooner.tx_hash}


def test_what_waits_is_counted_up_to_the_first_gap(chain: FakeChain, wire: FakeTransmitter) -> None:
    counts = []
    for nonce in (1, 0, 3):
        wire.send(wire.sign(errand(), nonce, FEES).raw)
        counts.append(wire.pooled(ALICE.address))
    chain.mine()
    assert (counts, wire.pooled(ALICE.address), wire.nonce(ALICE.address)) == ([0, 2, 2], 2, 2)


def test_what_reverts_is_mined_as_failed(chain: FakeChain, wire: FakeTransmitter) -> None:
    poor = errand(data=transfer_call(BOB.address, 101))
    assert wire.rehearse(poor).problem == "reverts"
    assert wire.rehearse(errand(data=b"\xde\xad\xbe\xef")).problem == "reverts"
    signed = wire.sign(poor, 0, FEES)
    wire.send(signed.raw)
    chain.mine()
    assert wire.mined([signed.tx_hash])[signed.tx_hash].succeeded is False
    receipt = chain.receipt(signed.tx_hash)
    assert receipt is not None
    assert (receipt.failure, receipt.logs) == ("the token refuses", ())


def test_replies_get_lost_and_nodes_fail(chain: FakeChain, wire: FakeTransmitter) -> None:
    signed = wire.sign(errand(), 0, FEES)
    chain.fail(1)
    assert (wire.send(signed.raw), chain.pending) == ("no_answer", ())
    chain.lose_replies()
    assert wire.send(signed.raw) == "no_answer"
    assert (wire.send(signed.raw), chain.pending) == ("known", (signed.tx_hash,))


def test_a_fork_undoes_what_calls_did(chain: FakeChain, wire: FakeTransmitter) -> None:
    def call(data: bytes) -> bytes:
        payload = WalletPayload(chain_id=31337, to=TOKEN, value=0, data=data, gas=100_000)
        return chain.call(payload, sender=ALICE.address)

    call(approve_call(BOB.address, 50))
    chain.mine()
    call(approve_call(BOB.address, 0))
    chain.mine()
    assert chain._ledger.state.allowance(TOKEN, ALICE.address, BOB.address) == 0
    chain.reorganise(1, delay=1)
    assert chain._ledger.state.allowance(TOKEN, ALICE.address, BOB.address) == 50
    assert (wire.nonce(ALICE.address), chain._ledger.state.balance(TOKEN, ALICE.address)) == (1, 100)
    chain.reorganise(2, delay=2)
    assert (chain._ledger.state.allowance(TOKEN, ALICE.address, BOB.address), wire.nonce(ALICE.address)) == (0, 0)


def test_coins_move_by_plain_transactions(chain: FakeChain, wire: FakeTransmitter) -> None:
    wire.send(wire.sign(errand(to=BOB.address, value=5, data=b""), 0, FEES).raw)
    head = chain.mine()
    assert chain.balance(NATIVE_COIN, BOB.address, head.number) == 5
    assert chain.balance(NATIVE_COIN, ALICE.address, head.number) == -5
    assert wire.balance(BOB.address) > 0
    chain.set_coins(BOB.address, 0)
    assert wire.balance(BOB.address) == 0


@pytest.mark.parametrize("raw", [b"", b"\x01\xc0", b"\x02\xc0"])
def test_bytes_that_are_no_transaction_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_raw(raw, 31337)


def test_a_transaction_of_another_chain_is_refused(wire: FakeTransmitter) -> None:
    signed = wire.sign(errand(chain_id=1), 0, FEES)
    assert wire.send(signed.raw) == "refused"


def test_the_market_stands_still(wire: FakeTransmitter) -> None:
    assert wire.market() == wire.market()
    assert wire.address(KEY) == ALICE.address
