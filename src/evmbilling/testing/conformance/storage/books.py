"""The books come back as they were posted, and a balance is always the sum of its entries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import (
    Account,
    Balance,
    EntryKind,
    customer_owner,
    fold_balances,
    order_owner,
    owned_changes,
)
from evmbilling.errors import AlreadyExists, Conflict, InvalidAmount, StorageError
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.crowds import again, crowd
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit

OWNER = customer_owner(b.ALICE)

OTHER_TOKEN = b.asset(token=b.CONTRACT, symbol="DAI", decimals=18)

UINT256_MAX = 2**256 - 1


def balance(
    credit: Any = 0, debit: Any = 0, *, owner: Any = OWNER, account: Any = Account.CUSTOMER_CREDIT, asset: Any = None
) -> Any:
    return Balance(account=account, owner=owner, asset=asset or b.asset(), debit=debit, credit=credit)


def order_posting(number: Any, amount: Any, *, side: Any = "credit", ledger: Any = 1, **changes: Any) -> Any:
    """Return an entry that defers revenue of an order, or releases it."""
    held, earned = (Account.DEFERRED_REVENUE, order_owner(b.ident(ledger))), (Account.REVENUE, "-")
    lines = b.moved(earned, held, amount) if side == "credit" else b.moved(held, earned, amount)
    return b.posting(number, ledger_id=b.ident(ledger), kind=EntryKind.COMPLETED, lines=lines, **changes)


def sorted_by_token(credit: Any) -> Any:
    return [balance(credit, asset=asset) for asset in sorted((b.asset(), OTHER_TOKEN), key=lambda a: a.token)]


lines = st.lists(
    st.builds(
        b.line,
        st.sampled_from(Account),
        st.sampled_from((OWNER, customer_owner(b.BOB), order_owner(b.ident(1)), "-", "customer:Z")),
        st.sampled_from(("debit", "credit")),
        st.sampled_from((1, 7, 2**53 + 1, 2**63, 2**64 - 1, 2**128, 10**38, 2**248 + 3)),
    ),
    min_size=1,
    max_size=4,
).map(tuple)

batches = st.lists(
    st.lists(st.tuples(lines, st.sampled_from((b.asset(), OTHER_TOKEN)), st.booleans()), min_size=1, max_size=4),
    max_size=6,
)


def post_one(storage: Any, number: Any, amount: Any) -> Any:
    def post() -> Any:
        with storage.unit() as unit:
            unit.lock_customers([b.ALICE])
            unit.apply([d.PostEntry(b.posting(number + 1, lines=b.received(amount)))])
        return amount

    return again(post)


class BooksChecks(StorageKit):
    """The books come back as they were posted, and a balance is always the sum of its entries."""

    clause = 10

    @pytest.mark.parametrize(
        "entry",
        [
            b.posting(),
            b.posting(identity=None, user_id=None, kind=EntryKind.WRITTEN_OFF, lines=b.received(UINT256_MAX)),
            b.posting(
                ledger_id=b.ident(1), asset=OTHER_TOKEN, identity=b.identity(9, chain_id=b.OTHER_CHAIN, ordinal=7)
            ),
            b.posting(lines=b.received(1) + b.received(2) + b.received(1), occurred_at=b.at(-1e6)),
        ],
        ids=["full", "bare", "of-an-order", "many-lines"],
    )
    def test_an_entry_comes_back_with_every_field_and_its_lines_in_order(self, storage: Any, entry: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order()))
        with storage.unit() as unit:
            unit.apply([d.PostEntry(entry)])
            assert list(unit.ledger_entries()) == [entry]
        with b.looking(storage) as unit:
            assert list(unit.ledger_entries()) == [entry]
            assert list(unit.ledger_entries(ledger_id=b.ident(1))) == ([entry] if entry.ledger_id else [])
            assert list(unit.ledger_entries(ledger_id=b.ident(2))) == []

    @pytest.mark.parametrize("kind", list(EntryKind))
    @pytest.mark.parametrize("account", list(Account))
    def test_every_account_and_kind_comes_back(self, storage: Any, kind: Any, account: Any) -> None:
        entry = b.posting(kind=kind, lines=b.moved((account, "-"), (Account.EXTERNAL, "-"), 7))
        b.seed(storage, d.PostEntry(entry))
        with b.looking(storage) as unit:
            assert list(unit.ledger_entries()) == [entry]
            owned = account in {Account.RECEIVABLE, Account.CUSTOMER_CREDIT, Account.DEFERRED_REVENUE}
            assert list(unit.balances(["-"])) == ([balance(debit=7, owner="-", account=account)] if owned else [])

    @of_clause(3)
    @pytest.mark.parametrize(
        "again",
        [
            pytest.param(b.posting(2, source=b.posting(1).source), id="source"),
            pytest.param(b.posting(1, source="order:other:1"), id="entry-id"),
            pytest.param(b.posting(1), id="both"),
        ],
    )
    def test_a_source_is_posted_once_and_its_balance_moves_once(self, storage: Any, again: Any) -> None:
        b.seed(storage, d.PostEntry(b.posting()))
        with pytest.raises(AlreadyExists):
            b.write(storage, d.RecordAudit(b.audit()), d.PostEntry(again))
        with pytest.raises(AlreadyExists):
            b.write(storage, d.PostEntry(b.posting(3)), d.PostEntry(b.posting(4, source=b.posting(3).source)))
        with b.looking(storage) as unit:
            assert list(unit.ledger_entries()) == [b.posting()]
            assert list(unit.balances([OWNER])) == [balance(credit=19_990_000)]
            assert list(unit.audit()) == []

    def test_a_list_that_fails_leaves_the_balances_as_they_were(self, storage: Any) -> None:
        b.seed(storage, d.PostEntry(b.posting()))
        with pytest.raises(Conflict):
            b.write(storage, d.PostEntry(b.posting(2)), d.AddPlanVersion(b.plan()))
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            unit.apply([d.PostEntry(b.posting(2))])
            raise ZeroDivisionError
        with b.looking(storage) as unit:
            assert list(unit.all_balances()) == [balance(credit=19_990_000)]

    @pytest.mark.fault("D14")
    @pytest.mark.parametrize("nowhere", [{"ledger_id": b.ident(9)}, {"user_id": "nobody"}], ids=["order", "customer"])
    def test_d14_an_entry_names_only_what_is_there(self, storage: Any, nowhere: Any) -> None:
        b.seed(storage)
        with pytest.raises(StorageError):
            b.write(storage, d.PostEntry(b.posting(**nowhere)))
        with b.looking(storage) as unit:
            assert (list(unit.ledger_entries()), list(unit.all_balances())) == ([], [])

    def test_balances_are_apart_by_owner_account_chain_and_token(self, storage: Any) -> None:
        other_chain = b.asset(chain_id=b.OTHER_CHAIN)
        due = (Account.RECEIVABLE, order_owner(b.ident(1)))
        bob = customer_owner(b.BOB)
        b.seed(
            storage,
            d.OpenOrder(b.order()),
            d.PostEntry(b.posting(1)),
            d.PostEntry(b.posting(2, asset=OTHER_TOKEN)),
            d.PostEntry(b.posting(3, asset=other_chain)),
            d.PostEntry(b.posting(4, lines=b.received(5, bob), user_id=b.BOB)),
            d.PostEntry(order_posting(5, 3)),
            d.PostEntry(b.posting(6, lines=b.moved(due, (Account.REVENUE, "-"), 4), ledger_id=b.ident(1))),
        )
        alice = [balance(19_990_000, asset=other_chain), *sorted_by_token(19_990_000)]
        order = [
            balance(3, owner=order_owner(b.ident(1)), account=Account.DEFERRED_REVENUE),
            balance(0, 4, owner=order_owner(b.ident(1)), account=Account.RECEIVABLE),
        ]
        with b.looking(storage) as unit:
            assert list(unit.balances([OWNER])) == alice
            assert list(unit.balances([order_owner(b.ident(1)), OWNER, OWNER])) == [*alice, *order]
            assert list(unit.all_balances()) == [*alice, balance(5, owner=bob), *order]
            assert list(unit.balances([])) == list(unit.balances(["customer:%", OWNER.upper()])) == []

    @pytest.mark.fault("N01")
    def test_n01_balances_always_equal_the_fold_of_the_entries(self, new_storage: Any) -> None:
        @settings(deadline=None, max_examples=self.examples(40), suppress_health_check=[HealthCheck.too_slow])
        @given(batches)
        def check(lists: Any) -> None:
            storage = new_storage()
            b.seed(storage)
            posted = []
            for batch in lists:
                first = len(posted) + 1
                entries = [b.posting(first + n, lines=own, asset=asset) for n, (own, asset, _) in enumerate(batch)]
                failing = [d.AddPlanVersion(b.plan())] if batch[0][2] else []
                try:
                    b.write(storage, *map(d.PostEntry, entries), *failing)
                except AlreadyExists:
                    continue
                posted += entries
            with b.looking(storage) as unit:
                found = list(unit.all_balances())
                assert list(unit.ledger_entries()) == posted
            assert sorted(found, key=repr) == sorted(owned_changes(posted), key=repr)
            assert found == sorted(found, key=lambda row: (row.owner, row.account, row.asset.chain_id, row.asset.token))

        check()

    @of_clause(5)
    @pytest.mark.fault("N01")
    def test_n01_a_balance_goes_up_to_uint256_and_not_beyond(self, storage: Any) -> None:
        b.seed(storage, d.PostEntry(b.posting(1, lines=b.received(UINT256_MAX - 1))))
        b.write(storage, d.PostEntry(b.posting(2, lines=b.received(1))))
        with pytest.raises(InvalidAmount):
            b.write(storage, d.PostEntry(b.posting(3, lines=b.received(1))))
        taken_back = tuple(
            attrs.evolve(one, side="debit" if one.side == "credit" else "credit") for one in b.received(5)
        )
        b.write(storage, d.PostEntry(b.posting(4, lines=taken_back)))
        with b.looking(storage) as unit:
            (found,) = unit.balances([OWNER])
            assert (found.credit, found.debit) == (UINT256_MAX, 5)
            assert found.net_credit == UINT256_MAX - 5
            assert [entry.entry_id for entry in unit.ledger_entries()] == [b.ident(n) for n in (1, 2, 4)]

    @of_clause(5)
    @pytest.mark.fault("N01")
    @pytest.mark.parametrize("amount", [-1, 2**256, 1.0, True], ids=repr)
    def test_n01_a_line_holds_a_whole_uint256(self, storage: Any, amount: Any) -> None:
        b.seed(storage)
        with pytest.raises(InvalidAmount):
            b.write(storage, d.PostEntry(b.posting(lines=b.received(amount))))
        with b.looking(storage) as unit:
            assert list(unit.ledger_entries()) == []

    def test_many_threads_lose_no_posting(self, storage: Any) -> None:
        b.seed(storage)

        def post_all(number: Any) -> Any:
            return sum(post_one(storage, 100 * number + turn, 10**30 + number) for turn in range(5))

        total = sum(crowd(post_all, size=4))
        with b.looking(storage) as unit:
            assert list(unit.balances([OWNER])) == [balance(credit=total)]
            assert dict(fold_balances(unit.ledger_entries()))[
                Account.CUSTOMER_CREDIT, OWNER, b.CHAIN, b.TOKEN
            ] == balance(credit=total)
        assert total == 5 * (4 * 10**30 + 6)

    def test_orders_whose_revenue_is_deferred_come_by_ledger_id_in_pages(self, storage: Any) -> None:
        b.seed(storage, *(d.OpenOrder(b.order(n)) for n in (4, 2, 3, 1, 5)))
        b.write(
            storage,
            d.PostEntry(order_posting(1, 10, ledger=3)),
            d.PostEntry(order_posting(2, UINT256_MAX, ledger=1)),
            d.PostEntry(order_posting(3, 4, ledger=1, side="debit", asset=OTHER_TOKEN)),
            d.PostEntry(order_posting(4, 10, ledger=2)),
            d.PostEntry(order_posting(5, 7, ledger=4)),
            d.PostEntry(order_posting(6, 7, ledger=4, side="debit")),
            d.PostEntry(order_posting(7, 9, ledger=5, side="debit")),
        )
        with b.looking(storage) as unit:
            assert [o.ledger_id for o in unit.deferred_orders()] == [b.ident(n) for n in (1, 2, 3)]
            assert list(unit.deferred_orders(after=b.ident(1), limit=1)) == [b.order(2)]
        b.write(storage, d.PostEntry(order_posting(8, 10, ledger=2, side="debit")))
        with b.looking(storage) as unit:
            assert list(unit.deferred_orders()) == [b.order(1), b.order(3)]

    def test_whole_owners_come_in_pages(self, storage: Any) -> None:
        users = [f"u{n}" for n in range(4)]
        b.seed(storage, users=users)
        entries = [
            b.posting(10 * n + k, user_id=user, lines=b.received(1, customer_owner(user)), asset=b.asset(chain_id=k))
            for n, user in enumerate(users)
            for k in range(1, 4)
        ]
        b.write(storage, *map(d.PostEntry, entries))
        for limit in (1, 2, 3, 4, 7, 100):
            found, after = [], ""
            with b.looking(storage) as unit:
                while page := unit.all_balances(after=after, limit=limit):
                    assert len(page) % 3 == 0, "an owner came in parts"
                    found += page
                    after = page[-1].owner
            assert [(row.owner, row.asset.chain_id) for row in found] == [
                (customer_owner(user), k) for user in users for k in range(1, 4)
            ]

    def test_entries_keep_the_two_times_apart(self, storage: Any) -> None:
        late = b.posting(occurred_at=b.at(-86_400), recorded_at=b.at(0) + timedelta(microseconds=1))
        b.seed(storage, d.PostEntry(late))
        with b.looking(storage) as unit:
            (found,) = unit.ledger_entries()
        assert (found.occurred_at, found.recorded_at) == (late.occurred_at, late.recorded_at)
        assert found.recorded_at.microsecond == late.recorded_at.microsecond
