"""Our own transactions: kept exactly, each nonce once, one open transaction for each thing."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.errors import AlreadyExists, BillingError, Conflict, StorageError, VersionConflict
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b

FULL = b.sending(
    user_id=b.ALICE,
    purpose="refund",
    attempt=3,
    value=2**256 - 1,
    status=T.REVERTED,
    nonce=2**62,
    versions=2,
    mined=b.MINED,
    withdrawn=True,
    failure_reason="reverted",
    looks=9,
)


def refused(storage: Any, kind: type[BillingError], field: str | None, *decisions: d.Decision) -> None:
    with pytest.raises(kind) as error:
        b.write(storage, *decisions)
    assert error.value.field == field


class TransmissionsChecks:
    """Our own transactions: kept exactly, each nonce once, one open transaction for each thing."""

    clause = 10

    @pytest.mark.parametrize("record", [b.sending(), FULL, b.sending(data=b"")])
    def test_transmissions_come_back_with_every_field(self, storage: Any, record: Any) -> None:
        with storage.unit() as unit:
            unit.apply([d.StoreTransmission(record)])
            assert unit.transmission(record.transmission_id) == record
        with b.looking(storage) as unit:
            assert unit.transmissions_of(record.purpose, record.subject) == [record]
            assert unit.transmissions() == [record]
            assert unit.transmissions(states=["done"]) == []

    def test_signed_versions_come_back_in_order(self, storage: Any) -> None:
        rows = [b.signed_version(1, 2), b.signed_version(1, 1), b.signed_version(2, 1, kind="cancel")]
        b.write(storage, *(d.StoreTransmission(b.sending(n)) for n in (1, 2)), *map(d.RecordSigned, rows))
        with b.looking(storage) as unit:
            assert unit.signed_versions([b.ident(1), b.ident(2)]) == [rows[1], rows[0], rows[2]]
            assert unit.signed_versions([]) == []

    def test_a_step_replaces_the_one_before(self, storage: Any) -> None:
        first = b.sending()
        b.write(storage, d.StoreTransmission(first))
        after = attrs.evolve(
            first, status=T.MINED, nonce=1, gas=30_000, mined=b.MINED, looks=1, next_at=b.at(9), version=2
        )
        b.write(storage, d.StoreTransmission(after))
        with b.looking(storage) as unit:
            assert unit.transmission(first.transmission_id) == after
        with pytest.raises(VersionConflict):
            b.write(storage, d.StoreTransmission(after))

    def test_one_thing_has_one_open_transaction_and_each_attempt_once(self, storage: Any) -> None:
        first = b.sending()
        b.write(storage, d.StoreTransmission(first))
        second = b.sending(2, subject=first.subject, attempt=2)
        refused(storage, Conflict, "subject", d.StoreTransmission(second))
        b.write(storage, d.StoreTransmission(attrs.evolve(first, status=T.FAILED, version=2)))
        refused(storage, Conflict, "subject", d.StoreTransmission(b.sending(2, subject=first.subject)))
        b.write(storage, d.StoreTransmission(second))
        b.write(storage, d.StoreTransmission(b.sending(3, subject=first.subject, purpose="burn")))

    def test_a_nonce_belongs_to_one_transaction_of_a_sender_for_ever(self, storage: Any) -> None:
        b.write(storage, d.StoreTransmission(b.sending(1, nonce=4, status=T.FAILED)))
        refused(storage, Conflict, "nonce", d.StoreTransmission(b.sending(2, nonce=4, status=T.SIGNED)))
        b.write(storage, d.StoreTransmission(b.sending(3, nonce=4, status=T.SIGNED, sender=b.RECEIVER)))
        b.write(storage, d.StoreTransmission(b.sending(4, nonce=4, status=T.SIGNED, chain_id=b.CHAIN + 1)))
        with b.looking(storage) as unit:
            assert unit.last_nonce(b.CHAIN, b.SENDER) == 4
            assert unit.last_nonce(b.CHAIN, b.TREASURY) is None

    def test_a_version_is_signed_once_and_of_something_that_is_there(self, storage: Any) -> None:
        with pytest.raises(StorageError):
            b.write(storage, d.RecordSigned(b.signed_version()))
        b.write(storage, d.StoreTransmission(b.sending()), d.RecordSigned(b.signed_version()))
        refused(storage, AlreadyExists, "seq", d.RecordSigned(b.signed_version(tx_hash=b"\7" * 32)))
        refused(
            storage,
            AlreadyExists,
            "tx_hash",
            d.RecordSigned(b.signed_version(seq=2, tx_hash=b.signed_version().tx_hash)),
        )

    def test_lanes_give_what_holds_a_nonce_first(self, storage: Any) -> None:
        rows = [
            b.sending(1),
            b.sending(2, nonce=9, status=T.SUBMITTED),
            b.sending(3, nonce=8, status=T.MINED),
            b.sending(4, nonce=7, status=T.DONE),
            b.sending(5, sender=b.RECEIVER, next_at=b.at(30)),
        ]
        b.write(storage, *map(d.StoreTransmission, rows))
        with b.looking(storage) as unit:
            assert unit.lane(b.CHAIN, b.SENDER, 10) == [rows[2], rows[1], rows[0]]
            assert unit.lane(b.CHAIN, b.SENDER, 1) == [rows[2]]
            assert unit.due_lanes(b.at(1)) == [(b.CHAIN, b.SENDER)]
            assert unit.due_lanes(b.at(0)) == []
            assert unit.due_lanes(b.at(30)) == sorted([(b.CHAIN, b.SENDER), (b.CHAIN, b.RECEIVER)])

    @pytest.mark.parametrize("record", [b.deposit(), b.deposit(next_at=None, seen_at=None, held=0)])
    def test_deposit_addresses_come_back_with_every_field(self, storage: Any, record: Any) -> None:
        b.write(b.seeded(storage), d.StoreDeposit(record))
        with b.looking(storage) as unit:
            assert unit.deposit(record.ledger_id) == record
            assert unit.deposit(b.ident(9)) is None

    def test_the_longest_due_address_of_a_chain_is_looked_at_first(self, storage: Any) -> None:
        b.write(b.seeded(storage), *(d.OpenOrder(b.order(n)) for n in (2, 3, 4)))
        rows = [
            b.deposit(1, next_at=b.at(5)),
            b.deposit(2),
            b.deposit(3, next_at=None),
            b.deposit(4, chain_id=b.CHAIN + 1),
        ]
        b.write(storage, *map(d.StoreDeposit, rows))
        with b.looking(storage) as unit:
            assert unit.due_deposits(b.CHAIN, b.at(5), 10) == [rows[1], rows[0]]
            assert unit.due_deposits(b.CHAIN, b.at(5), 1) == [rows[1]]
            assert unit.due_deposits(b.CHAIN, b.at(4), 10) == [rows[1]]
            assert unit.due_deposits(b.CHAIN, b.at(1), 10) == []

    def test_deposit_addresses_are_listed_by_what_is_the_matter_with_them(self, storage: Any) -> None:
        b.write(b.seeded(storage), *(d.OpenOrder(b.order(n)) for n in (2, 3, 4)))
        rows = [
            b.deposit(1, failures=0),
            b.deposit(2),
            b.deposit(3, failures=0, next_at=None),
            b.deposit(4, held=0, seen_at=None),
        ]
        b.write(storage, *map(d.StoreDeposit, rows))
        with b.looking(storage) as unit:
            assert unit.deposits() == rows
            assert unit.deposits(after=rows[1].ledger_id, limit=1) == [rows[2]]
            assert unit.deposits(states={"waiting"}) == [rows[0]]
            assert unit.deposits(states={"stuck"}) == [rows[1], rows[2]]
            assert unit.deposits(states={"stuck"}, after=rows[1].ledger_id) == [rows[2]]
            assert unit.deposits(states={"empty"}) == [rows[3]]
            assert unit.deposits(states={"waiting", "stuck"}, limit=2) == rows[:2]

    def test_a_deposit_address_has_one_next_state_and_an_order(self, storage: Any) -> None:
        with pytest.raises(StorageError):
            b.write(b.seeded(storage), d.StoreDeposit(b.deposit(9)))
        b.write(storage, d.StoreDeposit(b.deposit()))
        refused(storage, VersionConflict, None, d.StoreDeposit(b.deposit()))
        refused(storage, VersionConflict, None, d.StoreDeposit(b.deposit(version=3)))
        after = b.deposit(held=0, seen_at=None, next_at=None, sweeps=3, failures=0, version=2)
        b.write(storage, d.StoreDeposit(after))
        refused(storage, VersionConflict, None, d.StoreDeposit(after))
        with b.looking(storage) as unit:
            assert unit.deposit(after.ledger_id) == after

    def test_what_is_named_for_a_refund_comes_back_with_every_field(self, storage: Any) -> None:
        rows = [
            b.proof(1),
            b.proof(2, state="settled", reason=None, named_at=b.at(1)),
            b.proof(3, refund_id=b.ident(2)),
            b.proof(1, chain_id=b.OTHER_CHAIN, state="refused", reason="other_amount"),
        ]
        b.write(b.seeded(storage), *(d.StoreRefund(b.refund(n)) for n in (1, 2)), *map(d.StoreProof, rows))
        with b.looking(storage) as unit:
            hashes = [row.tx_hash for row in rows]
            assert list(unit.proofs(b.CHAIN, hashes)) == rows[:3]
            assert list(unit.proofs(b.OTHER_CHAIN, hashes)) == rows[3:]
            assert list(unit.proofs(b.CHAIN, [bytes(32)])) == list(unit.proofs(b.CHAIN, [])) == []
            assert list(unit.proofs_of(b.ident(1))) == [rows[1], rows[3], rows[0]]
            assert list(unit.proofs_of(b.ident(9))) == []

    def test_the_longest_due_proof_of_a_chain_is_looked_at_first(self, storage: Any) -> None:
        rows = [
            b.proof(1, next_at=b.at(5)),
            b.proof(2),
            b.proof(3, state="settled"),
            b.proof(4, state="refused"),
            b.proof(5, chain_id=b.OTHER_CHAIN),
        ]
        b.write(b.seeded(storage), d.StoreRefund(b.refund(1)), *map(d.StoreProof, rows))
        with b.looking(storage) as unit:
            assert list(unit.due_proofs(b.CHAIN, b.at(5), 10)) == [rows[1], rows[0]]
            assert list(unit.due_proofs(b.CHAIN, b.at(5), 1)) == [rows[1]]
            assert list(unit.due_proofs(b.CHAIN, b.at(4), 10)) == [rows[1]]
            assert list(unit.due_proofs(b.CHAIN, b.at(1), 10)) == []

    @of_clause(3)
    def test_a_transaction_is_named_for_one_refund_that_is_there(self, storage: Any) -> None:
        with pytest.raises(StorageError):
            b.write(b.seeded(storage), d.StoreProof(b.proof()))
        b.write(storage, *(d.StoreRefund(b.refund(n)) for n in (1, 2)), d.StoreProof(b.proof()))
        refused(storage, AlreadyExists, "tx_hash", d.StoreProof(b.proof(refund_id=b.ident(2))))
        refused(storage, VersionConflict, None, d.StoreProof(b.proof(version=3)))
        b.write(storage, d.StoreProof(b.proof(chain_id=b.OTHER_CHAIN)))
        moved = b.proof(refund_id=b.ident(2), state="refused", version=2)
        b.write(storage, d.StoreProof(moved))
        refused(storage, VersionConflict, None, d.StoreProof(moved))
        with b.looking(storage) as unit:
            assert list(unit.proofs(b.CHAIN, [moved.tx_hash])) == [moved]

    def test_an_order_that_is_paid_at_its_own_address_comes_back_as_that(self, storage: Any) -> None:
        plain = b.order(2, rail="erc20", contract=b.order().asset.token, signature=b"", signer="")
        own = b.order(3, rail="deposit", signature=b"", signer="")
        b.write(b.seeded(storage), d.OpenOrder(plain), d.OpenOrder(own))
        with b.looking(storage) as unit:
            assert unit.order(plain.ledger_id) == plain
            assert unit.order(own.ledger_id) == own

    def test_two_that_take_the_same_nonce_at_once_are_one(self, storage: Any) -> None:
        b.write(storage, *(d.StoreTransmission(b.sending(n)) for n in (1, 2)))
        start, outcomes = threading.Barrier(2), []

        def take(number: int) -> None:
            start.wait()
            try:
                b.write(storage, d.StoreTransmission(b.sending(number, nonce=1, status=T.SIGNED, version=2)))
                outcomes.append("taken")
            except Conflict:
                outcomes.append("refused")

        threads = [threading.Thread(target=take, args=(n,)) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused", "taken"]
