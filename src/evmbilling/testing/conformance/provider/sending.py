"""How a provider sends our own transactions: signed for one chain and nonce, sent, looked for, and told as it is."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import Fees, Transmission
from evmbilling.errors import ConfigurationError, ProviderError
from evmbilling.testing.conformance.base import needs
from evmbilling.testing.conformance.provider.base import Reader
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.rpc_breaks import HttpStatus
from evmbilling.testing.rpc_lies import PoolCount, RpcError

FEES = Fees(max_fee=20 * 10**9, priority_fee=10**9)
COINS = 5


class Sender:
    """A transmitter over the provider under test, with a key that has coins."""

    def __init__(self, field: Any) -> None:
        reader = Reader(field)
        self.node, self.network, self.signer = field.node, reader.network, reader.gateway.signer
        self.provider, self.gateway = reader.provider, reader.gateway
        self.over = reader.provider.transmitter(reader.network)
        self.address = self.over.address(self.signer)
        self.receiver = field.node.accounts[6].address
        field.node.set_balance(self.address, 10**18)

    def errand(self, **changes: Any) -> Transmission:
        who: dict[str, Any] = {"network": self.network.name, "chain_id": self.network.chain_id, "signer": self.signer}
        what: dict[str, Any] = {"sender": self.address, "to": self.receiver, "value": COINS, "data": b"", "gas": 21_000}
        return records.sending(**(who | what | changes))

    def holds(self) -> int:
        found: int = self.over.balance(self.receiver)
        return found


class SendingChecks:
    """Our own transactions."""

    clause = 14

    @pytest.fixture
    def sender(self, field: Any) -> Sender:
        """What sends, on a chain that obeys."""
        return Sender(field)

    @needs("sends")
    def test_what_is_signed_is_sent_mined_and_found(self, sender: Sender) -> None:
        over, nonce, before, height = (
            sender.over,
            sender.over.nonce(sender.address),
            sender.holds(),
            sender.node.block_number,
        )
        one, had = over.sign(sender.errand(), nonce, FEES), over.balance(sender.address)
        assert (over.pending(one.tx_hash), dict(over.mined([one.tx_hash]))) == (False, {})
        assert over.send(one.raw) == "accepted"
        assert (over.pending(one.tx_hash), dict(over.mined([one.tx_hash]))) == (True, {})
        sender.node.mine()
        found = over.mined([one.tx_hash, bytes(32)])
        assert list(found) == [one.tx_hash]
        seen = found[one.tx_hash]
        assert (seen.block_number, seen.succeeded) == (height + 1, True)
        assert seen.gas_paid == had - COINS - over.balance(sender.address), "what the gas cost is what it took"
        block = sender.node.block()
        assert block is not None
        assert seen.block_time.timestamp() == int(block["timestamp"], 16)
        assert seen.block_hash == bytes.fromhex(sender.node.block_hash(height + 1)[2:])
        assert (over.pending(one.tx_hash), over.nonce(sender.address)) == (False, nonce + 1)
        assert (over.nonce(sender.address, height), sender.holds()) == (nonce, before + COINS)

    @needs("sends")
    def test_a_version_is_for_one_chain_nonce_and_purpose(self, sender: Sender) -> None:
        nonce, sign = sender.over.nonce(sender.address), sender.over.sign
        errand = sender.errand()
        versions = [
            sign(errand, nonce, FEES),
            sign(errand, nonce + 1, FEES),
            sign(errand, nonce, FEES, cancel=True),
            sign(errand, nonce, attrs.evolve(FEES, max_fee=FEES.max_fee + 1)),
            sign(errand, nonce, attrs.evolve(FEES, legacy=True)),
            sign(attrs.evolve(errand, value=COINS + 1), nonce, FEES),
            sign(attrs.evolve(errand, data=b"\x01"), nonce, FEES),
            sign(attrs.evolve(errand, to=sender.address), nonce, FEES),
            sign(attrs.evolve(errand, gas=errand.gas + 1), nonce, FEES),
            sign(attrs.evolve(errand, chain_id=errand.chain_id + 1), nonce, FEES),
        ]
        assert len({one.tx_hash for one in versions}) == len(versions)
        assert sender.over.send(versions[-1].raw) == "refused"
        assert sender.over.send(versions[2].raw) == "accepted"
        sender.node.mine()
        assert sender.over.mined([versions[2].tx_hash])[versions[2].tx_hash].succeeded
        assert sender.holds() == sender.over.balance(sender.receiver)
        assert sender.over.nonce(sender.address) == nonce + 1

    @needs("sends")
    def test_what_waits_is_counted_up_to_the_first_gap(self, sender: Sender) -> None:
        nonce, over, errand = sender.over.nonce(sender.address), sender.over, sender.errand()
        assert over.pooled(sender.address) == nonce
        for ahead, counted in ((0, 1), (2, 1), (1, 3)):
            assert over.send(over.sign(errand, nonce + ahead, FEES).raw) == "accepted"
            assert over.pooled(sender.address) == nonce + counted
        assert over.nonce(sender.address) == nonce
        sender.node.mine()
        assert (over.pooled(sender.address), over.nonce(sender.address)) == (nonce + 3, nonce + 3)

    @needs("sends", "json_rpc")
    def test_a_pool_that_is_told_wrongly_is_none(self, proxied: Any) -> None:
        field, proxy = proxied
        sender = Sender(field)
        over, nonce = sender.over, sender.over.nonce(sender.address)
        over.send(over.sign(sender.errand(), nonce, FEES).raw)
        sender.node.mine()
        refuses = RpcError(-32602, "the pending state is not kept")
        told = {PoolCount(1): nonce + 2, PoolCount(-1): None, PoolCount(10**6): None, refuses: None}
        for lie, counted in told.items():
            proxy.add(lie, methods=["eth_getTransactionCount"])
            try:
                assert over.pooled(sender.address) == counted
            finally:
                proxy.heal()

    @needs("sends")
    def test_cancelling_uses_up_the_nonce_and_moves_nothing(self, sender: Sender) -> None:
        nonce, before = sender.over.nonce(sender.address), sender.holds()
        assert sender.over.send(sender.over.sign(sender.errand(), nonce, FEES, cancel=True).raw) == "accepted"
        sender.node.mine()
        assert (sender.over.nonce(sender.address), sender.holds()) == (nonce + 1, before)

    @needs("sends")
    def test_what_a_node_says_to_a_sending_is_an_outcome_and_no_error(self, sender: Sender) -> None:
        nonce, over = sender.over.nonce(sender.address), sender.over
        one = over.sign(sender.errand(), nonce, FEES)
        assert [over.send(one.raw), over.send(one.raw)] == ["accepted", "known"]
        cheaper = over.sign(sender.errand(value=COINS + 1), nonce, FEES)
        assert over.send(cheaper.raw) == "underpriced"
        sender.node.mine()
        assert over.send(over.sign(sender.errand(value=7), nonce, FEES).raw) == "nonce_used"
        assert over.send(b"\x02garbage") == "refused"

    @needs("sends", "json_rpc")
    def test_without_a_node_nobody_knows_whether_it_left(self, proxied: Any) -> None:
        field, proxy = proxied
        sender = Sender(field)
        one = sender.over.sign(sender.errand(), sender.over.nonce(sender.address), FEES)
        proxy.add(HttpStatus(503))
        try:
            assert sender.over.send(one.raw) == "no_answer"
            for look in (
                lambda: sender.over.nonce(sender.address),
                lambda: sender.over.pooled(sender.address),
                lambda: sender.over.mined([one.tx_hash]),
                lambda: sender.over.pending(one.tx_hash),
                lambda: sender.over.balance(sender.address),
                sender.over.heights,
                sender.over.market,
            ):
                with pytest.raises(ProviderError):
                    look()
        finally:
            proxy.heal()

    @needs("sends")
    def test_a_rehearsal_says_the_gas_or_why_it_would_fail(self, sender: Sender) -> None:
        fine = sender.over.rehearse(sender.errand())
        assert (fine.problem, fine.gas) == (None, 21_000)
        sender.node.set_code(sender.receiver, "0x60006000fd")
        assert sender.over.rehearse(sender.errand()).problem is not None
        assert sender.over.nonce(sender.address) == sender.over.nonce(sender.address, sender.node.block_number)

    @needs("sends")
    def test_what_failed_on_chain_is_told_as_that(self, sender: Sender) -> None:
        sender.node.set_code(sender.receiver, "0x60006000fd")
        nonce = sender.over.nonce(sender.address)
        one = sender.over.sign(sender.errand(gas=60_000), nonce, FEES)
        assert sender.over.send(one.raw) == "accepted"
        sender.node.mine()
        assert sender.over.mined([one.tx_hash])[one.tx_hash].succeeded is False

    @needs("sends")
    def test_what_a_reorganisation_took_back_is_not_mined(self, sender: Sender) -> None:
        one = sender.over.sign(sender.errand(), sender.over.nonce(sender.address), FEES)
        sender.over.send(one.raw)
        sender.node.mine()
        assert set(sender.over.mined([one.tx_hash])) == {one.tx_hash}
        sender.node.reorg(1)
        assert dict(sender.over.mined([one.tx_hash])) == {}

    @needs("sends")
    def test_heights_and_prices_are_those_of_now(self, sender: Sender) -> None:
        for _ in range(2):
            sender.node.mine()
            heights, head = sender.over.heights(), sender.node.block_number
            assert (heights.head, heights.safe, heights.finalized) == (head, head - 1, head - 2)
        market = sender.over.market()
        block = sender.node.block()
        assert block is not None
        assert (market.base_fee, market.gas_price > 0) == (int(block["baseFeePerGas"], 16), True)

    @needs("sends")
    def test_a_relayer_is_its_own_key_and_none_is_told(self, sender: Sender) -> None:
        nowhere = SecretRef("env", "KIT_NO_SUCH_KEY")
        relayed = attrs.evolve(sender.gateway, signer=nowhere, relayer=sender.signer)
        assert sender.provider.relayer_address(relayed) == sender.address
        for relayer in (None, nowhere):
            with pytest.raises(ConfigurationError):
                sender.provider.relayer_address(attrs.evolve(sender.gateway, relayer=relayer))

    @needs("sends")
    def test_a_key_signs_for_its_own_address_only(self, sender: Sender) -> None:
        with pytest.raises(ConfigurationError):
            sender.over.sign(sender.errand(sender=sender.receiver), 0, FEES)
