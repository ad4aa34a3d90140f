"""Mandates come back as they were written, are found by every name that they have, and have one next version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain import decisions as d
from evmbilling.domain.mandates.mandates import MandateStatus, Seen
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    Conflict,
    InputError,
    InvalidAmount,
    StorageError,
    VersionConflict,
)
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

mandate = b.mandate

BARE = {
    "operator": "",
    "via": "allowance",
    "signature": b"",
    "permit": None,
    "given_at": None,
    "cancelled_at": None,
    "end_reason": None,
    "on_chain": None,
    "revocation": None,
}

NUMBERS = (1, 2, 3)

seen = st.none() | st.builds(
    lambda number, ordinal: Seen(identity=b.identity(number, ordinal=ordinal), evidence=b.evidence()),
    st.sampled_from(NUMBERS),
    st.integers(0, 1),
)

stored = st.builds(
    lambda number, digest, **changes: mandate(number, digest=b.word(digest), **changes),
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS),
    version=st.sampled_from((1, 1, 2, 2, 3)),
    user_id=st.sampled_from((b.ALICE, b.BOB, "nobody")),
    status=st.sampled_from(MandateStatus),
    permit=st.none() | st.just(mandate().permit),
    operator=st.sampled_from(("", b.OTHER_WALLET)),
    on_chain=seen,
    revocation=seen,
)


def attempt(storage: Any, decision: Any) -> Any:
    try:
        b.write(storage, decision)
    except BillingError as error:
        return next(kind for kind in (InputError, Conflict, StorageError) if isinstance(error, kind))
    return None


def everything(unit: Any) -> Any:
    identities = [b.identity(number, ordinal=ordinal) for number in NUMBERS for ordinal in (0, 1)]
    return [
        [unit.mandate(b.ident(number)) for number in NUMBERS],
        [unit.mandates_of_user(user) for user in (b.ALICE, b.BOB, "nobody")],
        unit.mandates_of_subscriptions([b.ident(1)]),
        sorted(unit.mandates_by_digest(map(b.word, NUMBERS)).items()),
        [unit.mandates_seen_in([identity]) for identity in identities],
    ]


class MandatesChecks(StorageKit):
    """Mandates come back as they were written, are found by every name that they have, and have one next version."""

    clause = 10

    @pytest.mark.parametrize("changes", [{}, BARE], ids=["full", "bare"])
    def test_a_mandate_comes_back_with_every_field(self, storage: Any, changes: Any) -> None:
        kept = mandate(**changes)
        b.write(b.seeded(storage), d.StoreMandate(kept))
        with b.looking(storage) as unit:
            assert unit.mandate(kept.mandate_id) == kept
            assert repr(unit.mandate(kept.mandate_id)) == repr(kept)
            assert unit.mandate(b.ident(9)) is None

    def test_mandates_are_found_by_every_name(self, storage: Any) -> None:
        b.write(b.seeded(storage), d.OpenSubscription(b.subscription(2, user_id=b.BOB)))
        first, second = mandate(1), mandate(2)
        bobs = mandate(3, user_id=b.BOB, subscription_id=b.ident(2), **{k: v for k, v in BARE.items() if k != "via"})
        b.write(storage, *map(d.StoreMandate, (bobs, second, first)))
        with b.looking(storage) as unit:
            assert unit.mandates_of_user(b.ALICE) == [first, second]
            assert unit.mandates_of_user("nobody") == []
            assert unit.mandates_of_subscriptions([b.ident(1), b.ident(2), b.ident(1)]) == [first, second, bobs]
            assert unit.mandates_of_subscriptions([]) == []
            assert unit.mandates_by_digest([b.word(3), b.word(1), b.word(9)]) == {b.word(1): first, b.word(3): bobs}
            assert unit.mandates_seen_in([b.identity(71), b.identity(82, ordinal=3)]) == [first, second]
            # Another log of the same transaction, and the same transaction on another chain, are something else.
            assert unit.mandates_seen_in([b.identity(82), b.identity(71, chain_id=b.OTHER_CHAIN)]) == []

    def test_a_mandate_is_replaced_by_its_next_version_only(self, storage: Any) -> None:
        b.write(b.seeded(storage), d.StoreMandate(mandate(**BARE)))
        for version in (1, 3):
            with pytest.raises(VersionConflict):
                b.write(storage, d.StoreMandate(mandate(version=version)))
        b.write(storage, d.StoreMandate(mandate(version=2)))
        with b.looking(storage) as unit:
            assert unit.mandate(b.ident(1)) == mandate(version=2)

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"mandate_id": b.ident(2)}, AlreadyExists),
            ({"digest": b"short", "mandate_id": b.ident(2)}, InputError),
            ({"charge_cap": 2**256, "mandate_id": b.ident(2), "digest": b.word(2)}, InvalidAmount),
            ({"salt": -1, "mandate_id": b.ident(2), "digest": b.word(2)}, InvalidAmount),
            ({"spacing": 2**63, "mandate_id": b.ident(2), "digest": b.word(2)}, InputError),
            ({"user_id": "nobody", "mandate_id": b.ident(2), "digest": b.word(2)}, StorageError),
            ({"subscription_id": b.ident(9), "mandate_id": b.ident(2), "digest": b.word(2)}, StorageError),
        ],
        ids=["digest", "short digest", "cap", "salt", "spacing", "user", "subscription"],
    )
    def test_what_a_row_cannot_hold_is_refused_and_leaves_nothing(self, storage: Any, changes: Any, error: Any) -> None:
        b.write(b.seeded(storage), d.StoreMandate(mandate()))
        with pytest.raises(error):
            b.write(storage, d.StoreMandate(mandate(**changes)))
        with b.looking(storage) as unit:
            assert unit.mandates_of_user(b.ALICE) == [mandate()]

    @pytest.mark.fault("D19")
    def test_d19_every_storage_keeps_the_same_mandates(self, new_storage: Any, clock: Any) -> None:
        @settings(deadline=None, max_examples=self.examples(40), suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(stored, max_size=8))
        def compare(taken: Any) -> None:
            storages = (MemoryStorage(clock), new_storage())
            for storage in storages:
                b.seeded(storage)
            for one in taken:
                memory, other = (attempt(storage, d.StoreMandate(one)) for storage in storages)
                assert memory == other, one
            with storages[0].unit() as memory, storages[1].unit() as other:
                assert everything(memory) == everything(other)

        compare()
