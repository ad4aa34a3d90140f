"""What is nearly right: links, signatures, watch sets and refunds, read the way that a wallet and a bookkeeper read."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from evmbilling.domain.addresses import checksum
from evmbilling.errors import ProviderError, WrongChain
from evmbilling.testing.conformance.base import needs, of_clause
from evmbilling.testing.conformance.provider.base import Reader
from evmbilling.testing.conformance.provider.fields import STRAY, TWINS
from evmbilling.testing.conformance.provider.reading import scanned
from evmbilling.testing.conformance.storage import records
from evmbilling.testing.merchant import SIGNER_KEY
from evmbilling.testing.rpc_lies import Ask, Reply

NOBODY = checksum(b"\x66" * 20)
LOWEST, HIGHEST = checksum((1).to_bytes(20)), checksum(b"\xfe" * 20)
ODD = 1_234_567_890_123_456_789_012_345_678_901_234_567
"""Base units that no double and no few digits hold."""


def plain(order: Any, **changes: Any) -> Any:
    """Return an order as a plain transfer to its treasury."""
    about = {"rail": "erc20", "contract": order.asset.token, "signature": b"", "call": None, "amount": ODD}
    return attrs.evolve(order, **(about | changes))


class NoTags:
    """A node of a chain without these tags, or from before the merge: it knows no such block."""

    def instead(self, method: str, params: Sequence[Any]) -> Reply | None:
        """Know nothing of ``safe`` and ``finalized``."""
        tagged = method == "eth_getBlockByNumber" and params[0] in ("safe", "finalized")
        return {"result": None} if tagged else None

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        """Let everything else pass."""
        del method, params, ask
        return reply


class ExactnessChecks:
    """What is nearly right is wrong."""

    clause = 1

    def test_a_link_names_the_chain_the_receiver_and_every_digit(self, field: Any, reader: Any) -> None:
        """ERC-681: what has no ``@chain_id`` is paid on the chain that the wallet happens to be on."""
        for number, symbol in enumerate(("tUSD", "ETH"), 1):
            order = plain(field.checkout(number, asset=symbol).order)
            link = reader.provider.uri(order)
            if link is not None:  # else this provider has none for it
                self._looked_at(order, link)

    def _looked_at(self, order: Any, link: str) -> None:
        parts = urlsplit(link)
        target, _, function = parts.path.removeprefix("pay-").partition("/")
        address, _, chain_id = target.partition("@")
        asked = dict(parse_qsl(parts.query, strict_parsing=True))
        assert (parts.scheme, chain_id) == ("ethereum", str(order.chain_id))
        if order.asset.is_native:
            assert (address, function, Decimal(asked["value"])) == (order.treasury, "", Decimal(ODD))
        else:
            assert (address, function) == (order.asset.token, "transfer")
            assert (asked["address"], Decimal(asked["uint256"])) == (order.treasury, Decimal(ODD))

    def test_a_refund_of_a_part_gives_back_that_part(self, field: Any, reader: Any) -> None:
        for number, symbol in enumerate(("tUSD", "ETH"), 1):
            self._given_back(reader, field.checkout(number, asset=symbol).order)

    def _given_back(self, reader: Any, order: Any) -> None:
        part = order.amount // 3
        refund = records.refund(
            ledger_id=order.ledger_id,
            network=order.network,
            asset=order.asset,
            amount=part,
            treasury=order.treasury,
            address=NOBODY,
            via="transfer",
        )
        for given in (None, order):
            payload = reader.provider.refund_payload(refund, None, given)
            assert payload.chain_id == order.chain_id
            if order.asset.is_native:
                assert (payload.to, payload.value, payload.data) == (NOBODY, part, b"")
                continue
            words = (bytes.fromhex(NOBODY[2:]).rjust(32, b"\0"), part.to_bytes(32))
            assert (payload.to, payload.value) == (order.asset.token, 0)
            assert payload.data == bytes.fromhex("a9059cbb") + b"".join(words)  # transfer(address,uint256)

    @of_clause(10)
    def test_a_signature_of_a_message_is_none_of_a_digest(self, reader: Any) -> None:
        """Signing in to any site signs an EIP-191 message: it must consent to nothing here."""
        account, digest = Account.from_key(SIGNER_KEY), b"\x07" * 32
        signed = bytes(account.sign_message(encode_defunct(digest)).signature)
        assert reader.provider.verify_signature(reader.network, account.address, digest, signed) is False
        assert reader.provider.is_key_signature(account.address, digest, signed) is False

    @of_clause(5)
    def test_a_log_of_another_chain_moves_no_money(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine()
        (paid,) = [log for log in reader.logs(1) if log.address == reader.contract.address]
        assert reader.provider.decode(attrs.evolve(paid, chain_id=paid.chain_id + 1), reader.contract) is None
        elsewhere = attrs.evolve(reader.contract, chain_id=paid.chain_id + 1)
        assert reader.provider.decode(paid, elsewhere) is None

    @of_clause(5)
    @pytest.mark.parametrize("other", [LOWEST, HIGHEST], ids=["lower", "higher"])
    def test_every_treasury_and_every_token_is_watched(self, field: Any, reader: Any, other: str) -> None:
        token, treasury = field.shop.token.token, field.shop.treasury
        watch = reader.provider.watch([reader.contract], tokens=[other, token], treasuries=[treasury, other])
        field.stray()
        field.mine()
        (log,) = reader.source.logs(reader.headers(1), watch)
        assert reader.provider.decode_transfer(log).amount == STRAY

    @of_clause(3)
    def test_a_movement_has_one_name_whatever_else_is_watched(self, field: Any, reader: Any) -> None:
        field.pay(1, field.checkout(1))
        field.mine()
        contract_only = reader.provider.watch([reader.contract])
        (alone,) = reader.source.logs(reader.headers(1), contract_only)
        assert alone in reader.logs(1)
        (paid,) = reader.payments(1).values()
        assert (alone.identity, alone.ordinal) == (paid.log.identity, paid.log.ordinal)
        assert alone.ordinal > 0, "the token's own transfer comes before it in the receipt"

    @of_clause(3)
    def test_two_logs_that_look_alike_are_two(self, field: Any, reader: Any) -> None:
        """A contract may pay twice in one transaction: both arrive."""
        sent = field.twins()
        field.mine()
        watch = reader.provider.watch([], tokens=[TWINS], treasuries=[field.shop.treasury])
        found = list(reader.source.logs(reader.headers(1), watch))
        assert [(log.tx_hash, log.ordinal) for log in found] == [(sent, 0), (sent, 1)]
        assert [reader.provider.decode_transfer(log).amount for log in found] == [STRAY, STRAY]
        head = reader.head.number
        with reader.source.scan(head, head, watch) as ranges:
            assert [log for one in ranges for log in one.logs] == found

    @of_clause(6)
    def test_a_tip_of_another_chain_is_refused(self, field: Any, reader: Any) -> None:
        before = reader.source.tip(reader.head.number)
        field.pretend(137)
        with pytest.raises(WrongChain):
            reader.source.tip(before.head.number)
        field.pretend(reader.network.chain_id)
        assert reader.source.tip(before.head.number) == before

    @of_clause(8)
    def test_a_range_that_cannot_be_read_is_an_error(self, field: Any, reader: Any) -> None:
        field.stray()
        field.mine()
        head = reader.head.number
        with pytest.raises(ProviderError):
            scanned(reader, head, head + 3)
        assert [one.last.number for one in scanned(reader, head, head)] == [head]

    @needs("json_rpc")
    @of_clause(2)
    def test_a_tag_that_the_node_does_not_know_is_none(self, proxied: Any) -> None:
        field, proxy = proxied
        field.mine(3)
        reader = Reader(field)
        head = reader.head
        proxy.add(NoTags())
        assert reader.source.header("safe") is reader.source.header("finalized") is None
        tip = reader.source.tip(head.number)
        assert (tip.head, tip.safe, tip.finalized) == (head, None, None)
