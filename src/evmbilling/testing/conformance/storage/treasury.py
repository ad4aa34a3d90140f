"""Treasuries, what moved, what a person must decide: kept exactly, found by what they are asked for."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue.catalogue import Price
from evmbilling.domain.payments.receipts import Burn
from evmbilling.domain.states import OrderStatus, RefundStatus
from evmbilling.errors import AlreadyExists, Conflict, VersionConflict
from evmbilling.testing.conformance.crowds import crowd
from evmbilling.testing.conformance.storage import records as b

ONE = b.ident(1)

FULL_MOVEMENT = b.movement(direction="in", kind="receipt", receipt_id=ONE, live=True, amount=2**256 - 1)

DECIDED = b.queued(
    ledger_id=ONE,
    receipt_id=ONE,
    refund_id=ONE,
    state="decided",
    ruling="write_off",
    decided_by=b.BOB,
    decided_at=b.at(99.000001),
)


class TreasuryChecks:
    """Treasuries, what moved, what a person must decide: kept exactly, found by what they are asked for."""

    clause = 10

    @pytest.fixture
    def seeded_treasury(self, storage: Any) -> Any:
        b.write(b.seeded(storage), d.StoreRefund(b.refund()))
        return storage

    @pytest.mark.parametrize(
        ("decision", "read"),
        [
            (d.WatchTreasury(b.treasury()), lambda u: list(u.treasuries(b.CHAIN))),
            (d.StoreMovement(b.movement()), lambda u: list(u.movements([b.identity(1)]).values())),
            (d.StoreMovement(FULL_MOVEMENT), lambda u: list(u.all_movements())),
            (d.StoreMovement(b.movement(kind="refund", refund_id=ONE)), lambda u: list(u.all_movements())),
            (d.StoreQueueItem(b.queued()), lambda u: [u.queue_item(ONE)]),
            (d.StoreQueueItem(b.queued(asset=None, amount=0, user_id=None, note="")), lambda u: list(u.queue_items())),
            (d.StoreQueueItem(DECIDED), lambda u: list(u.queue_items_of([DECIDED.subject]))),
            (d.StoreQueueItem(b.queued(amount=2**256 - 1)), lambda u: list(u.queue_items(state=None))),
        ],
    )
    def test_records_of_treasuries_come_back_with_every_field(
        self, seeded_treasury: Any, decision: Any, read: Any
    ) -> None:
        (record,) = attrs.astuple(decision, recurse=False)
        with seeded_treasury.unit() as unit:
            unit.apply([decision])
            assert read(unit) == [record]
        with b.looking(seeded_treasury) as unit:
            assert read(unit) == [record]

    @pytest.mark.parametrize(
        "refund",
        [
            b.refund(2),
            b.refund(2, ledger_id=None, receipt_id=ONE, user_id=None, reference=b"", on_chain_id=b"", via="contract"),
            b.refund(2, address=None, address_confirmed_at=None, approved_by=None, tx_hash=None, failure_reason=None),
            b.refund(2, identity=None, evidence=None, amount=2**256 - 1, status=RefundStatus.DONE),
            b.refund(2, prepared_at=b.at(7.000001), burn=Burn()),
            b.refund(2, burn=Burn(status="done", identity=b.identity(9), evidence=b.evidence(block_number=9))),
            b.refund(2, burn=Burn(status="due", mark=b.word(9))),
            b.refund(2, shortens=True, paid_to=3),
        ],
        ids=["full", "of-suspense", "unapproved", "not-on-chain", "ending", "burned", "numbered", "shortens"],
    )
    def test_a_refund_comes_back_with_every_field(self, seeded_treasury: Any, refund: Any) -> None:
        b.write(seeded_treasury, d.StoreRefund(refund))
        with b.looking(seeded_treasury) as unit:
            assert unit.refund(b.ident(2)) == refund
            assert list(unit.refunds(after=ONE)) == [refund]
            assert unit.refund(b.ident(3)) is None

    def test_refunds_are_found_by_whom_they_concern_and_by_what_the_chain_shows(self, seeded_treasury: Any) -> None:
        burn = Burn(status="due", identity=b.identity(99), mark=b.word(10))
        other = b.refund(
            2, ledger_id=None, user_id=None, address=b.WALLET, identity=b.identity(50), on_chain_id=b.word(7)
        )
        ending = b.refund(3, address=None, identity=None, burn=burn, on_chain_id=b.word(8))
        b.write(seeded_treasury, d.StoreRefund(other), d.StoreRefund(ending))
        with b.looking(seeded_treasury) as unit:

            def found(**by: Any) -> Any:
                return [r.refund_id for r in unit.refunds_by(**by)]

            assert found() == []
            assert found(users=[b.ALICE, "nobody"]) == [ONE, b.ident(3)]
            assert found(addresses=[b.WALLET]) == [b.ident(2)]
            assert found(on_chain_ids=[b.word(7), b.word(8), b.word(9)]) == [b.ident(2), b.ident(3)]
            assert found(tx_hashes=[b.identity(50).tx_hash, b.identity(99).tx_hash]) == [b.ident(2), b.ident(3)]
            assert found(marks=[b.word(10), b.word(8)]) == [b.ident(3)]
            assert found(users=[b.ALICE], tx_hashes=[b.identity(99).tx_hash]) == [ONE, b.ident(3)]
            assert list(unit.refunds_by(addresses=[b.WALLET])) == [other]

    def test_a_refund_moves_on_version_by_version(self, seeded_treasury: Any) -> None:
        done = b.refund(
            status=RefundStatus.DONE, identity=b.identity(8), evidence=b.evidence(block_number=7), version=2
        )
        b.write(seeded_treasury, d.StoreRefund(done))
        with pytest.raises(VersionConflict):
            b.write(seeded_treasury, d.StoreRefund(done))
        with b.looking(seeded_treasury) as unit:
            assert unit.refund(ONE) == done
            assert list(unit.refunds(states=[RefundStatus.DONE, RefundStatus.FAILED])) == [done]
            assert list(unit.refunds(states={"requested"})) == []
            assert list(unit.refunds()) == [done]

    @pytest.mark.parametrize(
        "order",
        [
            b.order(2, manual=b.mark(), rail="erc20", contract=b.TOKEN, tolerance=2**256 - 1),
            b.order(2, manual=None, rail="checkout", tolerance=0),
        ],
        ids=["full", "bare"],
    )
    def test_an_order_keeps_its_rail_its_tolerance_and_who_marked_it(self, seeded_treasury: Any, order: Any) -> None:
        b.write(seeded_treasury, d.OpenOrder(order))
        with b.looking(seeded_treasury) as unit:
            assert unit.order(b.ident(2)) == order
        marked = attrs.evolve(order, manual=b.mark(reason="cash"), status=OrderStatus.CONFIRMED, version=2)
        b.write(seeded_treasury, d.StoreOrder(attrs.evolve(marked, rail="checkout", tolerance=5)))
        with b.looking(seeded_treasury) as unit:
            assert unit.order(b.ident(2)) == marked
        b.write(seeded_treasury, d.StoreOrder(attrs.evolve(marked, manual=None, version=3)))
        with b.looking(seeded_treasury) as unit:
            assert unit.order(b.ident(2)).manual is None

    def test_the_policies_of_a_gateway_come_back(self, storage: Any) -> None:
        plain = b.gateway(slug="plain", misfits=type(b.gateway().misfits)())
        b.write(storage, d.SaveGateway(b.gateway()), d.SaveGateway(plain))
        with b.looking(storage) as unit:
            assert unit.gateway("main") == b.gateway()
            assert unit.gateway("main").misfits.needs_approval(b.asset(), 2**255 + 1)
            assert unit.gateway("plain") == plain

    def test_a_treasury_that_is_watched_stays_as_it_is(self, storage: Any) -> None:
        other = b.treasury(address=b.WALLET, since_block=2**62)
        far = b.treasury(chain_id=b.OTHER_CHAIN)
        b.write(storage, d.WatchTreasury(b.treasury(1)), d.WatchTreasury(b.treasury(2)), d.WatchTreasury(other))
        b.write(storage, d.WatchTreasury(far), d.WatchTreasury(b.treasury(3)))
        with b.looking(storage) as unit:
            here = sorted((b.treasury(1), other), key=lambda treasury: treasury.address)
            assert list(unit.treasuries(b.CHAIN)) == here
            assert list(unit.treasuries()) == [far, *here]
            assert list(unit.treasuries(99)) == []

    def test_every_token_that_any_version_prices_is_known(self, storage: Any) -> None:
        tokens = [b.asset(token=address, symbol=name) for address, name in ((b.WALLET, "X"), (b.TREASURY, "Y"))]
        native = b.asset(token=NATIVE_COIN, symbol="xETH", decimals=18)
        far = b.asset(chain_id=b.OTHER_CHAIN)
        b.write(
            storage,
            d.AddPlanVersion(
                b.plan(prices=[Price(network="anvil", asset=a, amount=1) for a in (tokens[0], native, far)])
            ),
            d.AddPlanVersion(b.plan(version=2, prices=(Price(network="anvil", asset=tokens[1], amount=2),))),
            d.AddPlanVersion(b.plan(slug="x", prices=(Price(network="anvil", asset=tokens[0], amount=3),))),
            d.ArchivePlan(b.plan(slug="x", archived_at=b.T0)),
        )
        with b.looking(storage) as unit:
            assert list(unit.priced_assets(b.CHAIN)) == sorted(tokens, key=lambda asset: asset.token)
            assert list(unit.priced_assets(b.OTHER_CHAIN)) == [far]
            assert list(unit.priced_assets(99)) == []

    def test_canonical_logs_of_transactions_come_by_place_in_their_receipt(self, storage: Any) -> None:
        logs = (b.log(50, 1), b.log(50, 1, ordinal=2, log_index=9), b.log(50, 1, ordinal=1, log_index=7), b.log(51, 2))
        headers = (b.header(50), b.header(51))
        b.write(storage, d.RecordEvidence(cursor=b.cursor(51), headers=headers, logs=logs, keep_from=0))
        with b.looking(storage) as unit:
            found = unit.logs_of_transactions(b.CHAIN, [b.word(2), b.word(1), b.word(9), b.word(1)])
            assert list(found) == [logs[0], logs[2], logs[1], logs[3]]
            assert list(unit.logs_of_transactions(b.OTHER_CHAIN, [b.word(1)])) == []
            assert list(unit.logs_of_transactions(b.CHAIN, [])) == []
        b.write(storage, d.Rewind(cursor=b.cursor(50)))
        with b.looking(storage) as unit:
            assert list(unit.logs_of_transactions(b.CHAIN, [b.word(2), b.word(1)])) == [logs[0], logs[2], logs[1]]

    def test_a_wallet_belongs_to_one_user(self, storage: Any) -> None:
        b.seed(storage, d.ConfirmWallet(b.wallet()))
        with pytest.raises(AlreadyExists):
            b.write(storage, d.ConfirmWallet(b.wallet(user_id=b.BOB)))
        b.write(storage, d.ConfirmWallet(b.wallet(confirmed_at=b.at(9))))
        b.write(storage, d.ConfirmWallet(b.wallet(user_id=b.BOB, address=b.OTHER_WALLET)))
        with b.looking(storage) as unit:
            asked = [b.OTHER_WALLET, b.WALLET, b.TREASURY, b.WALLET]
            assert unit.users_of_wallets(asked) == {b.WALLET: b.ALICE, b.OTHER_WALLET: b.BOB}
            assert unit.users_of_wallets([]) == {}
            assert list(unit.wallets(b.ALICE)) == [b.wallet()]

    def test_one_of_many_users_confirms_a_wallet(self, storage: Any) -> None:
        users = [f"u{n}" for n in range(8)]
        b.seed(storage, users=users)

        def confirm(number: Any) -> Any:
            b.write(storage, d.ConfirmWallet(b.wallet(user_id=users[number])))
            return users[number]

        (winner,) = [outcome for outcome in crowd(confirm) if not isinstance(outcome, Conflict)]
        with b.looking(storage) as unit:
            assert unit.users_of_wallets([b.WALLET]) == {b.WALLET: winner}

    @pytest.mark.parametrize("status", list(OrderStatus))
    def test_payable_orders_are_those_that_money_may_be_for(self, storage: Any, status: Any) -> None:
        far = b.order(3, asset=b.asset(chain_id=b.OTHER_CHAIN), status=status)
        b.seed(
            storage,
            d.OpenOrder(b.order(2, status=status)),
            d.OpenOrder(b.order(1, status=status, user_id=b.BOB)),
            d.OpenOrder(far),
        )
        payable = status in {OrderStatus.PENDING, OrderStatus.PARTIALLY_PAID, OrderStatus.CONFIRMING}
        with b.looking(storage) as unit:
            found = [order.ledger_id for order in unit.payable_orders_of([b.ALICE, b.BOB, b.ALICE, "x"], b.CHAIN)]
            assert found == ([b.ident(1), b.ident(2)] if payable else [])
            assert list(unit.payable_orders_of([b.ALICE], b.OTHER_CHAIN)) == ([far] if payable else [])
            assert list(unit.payable_orders_of([], b.CHAIN)) == []

    def test_receipts_and_their_journals_are_found_by_id(self, seeded_treasury: Any) -> None:
        b.write(
            seeded_treasury, d.StoreReceipt(b.receipt(2)), d.AppendEntry(b.entry(seq=2)), d.AppendEntry(b.entry(seq=1))
        )
        b.write(seeded_treasury, d.AppendEntry(b.entry(receipt_id=b.ident(2))))
        with b.looking(seeded_treasury) as unit:
            assert unit.receipts([b.ident(2), b.ident(9)]) == {b.ident(2): b.receipt(2)}
            assert unit.receipts([]) == {}
            journal = [(entry.receipt_id, entry.seq) for entry in unit.entries_of_receipts([b.ident(2), ONE, ONE])]
            assert journal == [(ONE, 1), (ONE, 2), (b.ident(2), 1)]
            assert list(unit.entries_of_receipts([])) == []

    def test_the_queue_is_read_by_state(self, storage: Any) -> None:
        items = [b.queued(n, state=state) for n, state in enumerate(("open", "decided", "withdrawn", "open"), 1)]
        b.seed(storage, *map(d.StoreQueueItem, reversed(items)))
        with b.looking(storage) as unit:
            assert list(unit.queue_items()) == [items[0], items[3]]
            assert list(unit.queue_items(state="decided")) == [items[1]]
            assert list(unit.queue_items(state=None)) == items
            assert list(unit.queue_items(state=None, after=ONE, limit=2)) == items[1:3]
            assert unit.queue_item("x") is None

    def test_stuck_items_of_every_chain_are_listed(self, storage: Any) -> None:
        waits = ("now", "time", "head", "safe", "finalized", "never")
        for chain_id in (b.CHAIN, b.OTHER_CHAIN):
            logs = tuple(b.log(50, n, chain_id=chain_id) for n in range(1, 7))
            cursor = b.cursor(50, chain_id=chain_id)
            b.write(storage, d.RecordEvidence(cursor=cursor, headers=(), logs=logs, keep_from=0))
            waiting = [
                b.item(identity=b.identity(n, chain_id=chain_id), wait=wait, retry_at=b.T0 if wait == "time" else None)
                for n, wait in enumerate(waits, 1)
            ]
            b.write(storage, *map(d.StoreItem, waiting))
        with b.looking(storage) as unit:
            found = [(item.identity, item.wait) for item in unit.stuck_items()]
            assert list(unit.stuck_items(limit=3)) == list(unit.stuck_items())[:3]
        assert found == [
            (b.identity(n, chain_id=c), w) for c in (b.OTHER_CHAIN, b.CHAIN) for n, w in ((1, "now"), (2, "time"))
        ]
