"""What comes late, and what is looked for at once: an old lease, a read behind one's own write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import AlreadyExists
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b

ONE, RECEIPT = b.ident(1), b.receipt().receipt_id
WRITTEN: dict[str, tuple[d.Decision, Callable[[Any], Iterable[Any]]]] = {
    "entries": (d.AppendEntry(b.entry()), lambda unit: unit.entries(RECEIPT)),
    "journals": (d.AppendEntry(b.entry()), lambda unit: unit.entries_of_receipts([RECEIPT])),
    "changes": (d.RecordChange(b.change()), lambda unit: unit.changes([b.change().subscription_id])),
    "posting": (d.PostEntry(b.posting()), lambda unit: unit.ledger_entries()),
    "balances": (d.PostEntry(b.posting()), lambda unit: unit.all_balances()),
    "event": (d.Publish(b.event()), lambda unit: unit.events()),
    "claims": (d.Publish(b.event()), lambda unit: unit.claim_events(5)),
    "audit": (d.RecordAudit(b.audit()), lambda unit: unit.audit()),
    "wallet": (d.ConfirmWallet(b.wallet()), lambda unit: unit.users_of_wallets([b.wallet().address])),
    "entitlement": (d.StoreEntitlement(b.entitlement()), lambda unit: unit.entitlements([b.entitlement().user_id])),
    "transmission": (d.StoreTransmission(b.sending()), lambda unit: unit.lane(b.CHAIN, b.SENDER, 5)),
    "hint": (d.StoreInboxItem(b.hint()), lambda unit: unit.claim_inbox(b.at(10**6), 5)),
    "challenge": (d.OpenChallenge(b.challenge()), lambda unit: [unit.use_challenge(b.challenge().nonce, b.at(-1e6))]),
}


class LateChecks:
    """What comes late changes nothing; what was just written is there."""

    clause = 10

    @pytest.mark.parametrize("name", WRITTEN)
    def test_what_a_unit_wrote_is_what_it_reads(self, storage: Any, name: str) -> None:
        b.seed(storage, d.OpenOrder(b.order()), d.OpenSubscription(b.subscription()), d.StoreReceipt(b.receipt()))
        decision, read = WRITTEN[name]
        with storage.unit() as unit:
            before = list(read(unit))
            unit.apply([decision])
            found = list(read(unit))
            assert (len([one for one in before if one]), len([one for one in found if one])) == (0, 1)

    @of_clause(9)
    def test_a_lease_that_came_back_to_its_owner_is_not_ended_by_the_old_one(
        self, storage: Any, clock: FrozenClock
    ) -> None:
        first = storage.acquire_lease("x", "a", 10)
        clock.advance(seconds=10)
        between = storage.acquire_lease("x", "b", 10)
        storage.release_lease(between)
        again = storage.acquire_lease("x", "a", 10)
        assert [first.fence, between.fence, again.fence] == [1, 2, 3]
        storage.release_lease(first)
        assert storage.acquire_lease("x", "c", 10) is None
        storage.release_lease(again)
        assert storage.acquire_lease("x", "c", 10).fence == 4

    @of_clause(3)
    def test_a_wallet_is_one_users_whatever_chains_it_is_on(self, storage: Any) -> None:
        b.seed(storage)
        mine = b.wallet(chains=(b.CHAIN,))
        theirs = attrs.evolve(mine, user_id=b.BOB, chains=(b.OTHER_CHAIN,))
        b.write(storage, d.ConfirmWallet(mine))
        with pytest.raises(AlreadyExists):
            b.write(storage, d.ConfirmWallet(theirs))
        with b.looking(storage) as unit:
            assert dict(unit.users_of_wallets([mine.address])) == {mine.address: mine.user_id}
            assert dict(unit.users_of_wallets([mine.address], b.OTHER_CHAIN)) == {}
