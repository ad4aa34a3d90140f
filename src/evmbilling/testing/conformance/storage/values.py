"""Amounts, instants and texts come back exactly, or are refused before anything is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.identity import Product
from evmbilling.domain.selling.orders import OrderLine
from evmbilling.errors import InputError, InvalidAmount
from evmbilling.testing.conformance.storage import records as b

ONLY_ID = b.ident(1)


class ValuesChecks:
    """Amounts, instants and texts come back exactly, or are refused before anything is written."""

    clause = 5

    @pytest.mark.fault("N01")
    @pytest.mark.parametrize("amount", b.EXTREMES, ids=hex)
    def test_n01_amounts_come_back_exactly_from_every_column(self, storage: Any, amount: Any) -> None:
        order = b.order(amount=amount)
        b.seed(
            storage,
            d.SaveNetwork(b.network(gas_price_cap=amount)),
            d.OpenOrder(order),
            d.OpenSubscription(b.subscription(debt=amount)),
            d.StoreReceipt(b.receipt(amount=amount)),
            d.AppendEntry(b.entry(amount=amount)),
            d.StoreRefund(b.refund(amount=amount)),
        )
        with b.looking(storage) as unit:
            found = (
                unit.network("anvil").gas_price_cap,
                unit.order(order.ledger_id).amount,
                unit.subscriptions([ONLY_ID])[ONLY_ID].debt,
                unit.unmatched_receipts()[0].amount,
                unit.entries(ONLY_ID)[0].amount,
                unit.refunds_of_order(ONLY_ID)[0].amount,
            )
        assert found == (amount,) * 6
        assert {type(value) for value in found} == {int}

    @pytest.mark.fault("N01")
    @pytest.mark.parametrize("amount", [-1, 2**256, 1.0, True, "1"], ids=repr)
    @pytest.mark.parametrize(
        ("column", "decision"),
        [
            ("gas_price_cap", lambda value: d.SaveNetwork(b.network(gas_price_cap=value))),
            ("amount", lambda value: d.OpenOrder(b.order(2, amount=value))),
            ("debt", lambda value: d.OpenSubscription(b.subscription(2, product=Product("x"), debt=value))),
            ("amount", lambda value: d.StoreReceipt(b.receipt(2, amount=value))),
            ("amount", lambda value: d.AppendEntry(b.entry(seq=2, amount=value))),
            ("amount", lambda value: d.StoreRefund(b.refund(2, amount=value))),
        ],
        ids=["network", "order", "subscription", "receipt", "entry", "refund"],
    )
    def test_n01_amounts_beyond_uint256_are_refused_by_the_name_of_their_column(
        self, storage: Any, column: Any, decision: Any, amount: Any
    ) -> None:
        b.seeded(storage)
        with pytest.raises(InvalidAmount) as refused:
            b.write(storage, decision(amount))
        assert refused.value.field == column
        with b.looking(storage) as unit:
            assert unit.network("anvil") is None
            assert [o.ledger_id for o in unit.orders_of_user(b.ALICE)] == [ONLY_ID]

    def test_lines_may_be_negative_and_larger_than_the_amount(self, storage: Any) -> None:
        lines = (
            OrderLine(kind="plan", text="x", amount=2**256 - 1),
            OrderLine(kind="credit", text="", amount=-(2**256 - 1)),
        )
        b.seed(storage, d.OpenOrder(b.order(lines=lines, amount=0)))
        with b.looking(storage) as unit:
            assert unit.order(ONLY_ID).lines == lines

    @pytest.mark.fault("D24")
    @pytest.mark.parametrize(
        "instant",
        [
            datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(1970, 1, 1, 0, 0, 0, 7, tzinfo=UTC),
            datetime(2101, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ],
        ids=str,
    )
    def test_d24_instants_come_back_to_the_microsecond_in_utc(self, storage: Any, instant: Any) -> None:
        b.seed(
            storage,
            d.OpenOrder(b.order(created_at=instant, deadline=instant, completion=b.completion(confirmed_at=instant))),
        )
        with b.looking(storage) as unit:
            order = unit.order(ONLY_ID)
        found = [order.created_at, order.deadline, order.completion.confirmed_at]
        assert found == [instant] * 3
        assert [value.isoformat() for value in found] == [instant.astimezone(UTC).isoformat()] * 3

    @pytest.mark.fault("D24")
    @pytest.mark.parametrize(
        "decision",
        [
            lambda naive: d.OpenOrder(b.order(created_at=naive)),
            lambda naive: d.OpenOrder(b.order(completion=b.completion(confirmed_at=naive))),
            lambda naive: d.OpenSubscription(b.subscription(trial_end=naive)),
            lambda naive: d.StoreReceipt(b.receipt(evidence=b.evidence(block_time=naive))),
            lambda naive: d.Publish(b.event(recorded_at=naive)),
            lambda naive: d.StoreCursor(b.cursor(updated_at=naive)),
            lambda naive: d.ConfirmWallet(b.wallet(confirmed_at=naive)),
        ],
    )
    def test_d24_naive_datetimes_are_refused(self, storage: Any, decision: Any) -> None:
        b.seed(storage)
        with pytest.raises(InputError):
            b.write(storage, decision(datetime(2026, 1, 1)))  # noqa: DTZ001  - the fault itself
        with b.looking(storage) as unit:
            assert [*unit.orders_of_user(b.ALICE), *unit.events(), *unit.cursors()] == []

    @pytest.mark.parametrize(
        "text", ["line\nbreak", "tab\t", "'; DROP TABLE x; --", "%_\\", "\u202e", "😀", "a" * 5000]
    )
    def test_any_text_comes_back(self, storage: Any, text: Any) -> None:
        b.seed(storage, d.AddPlanVersion(b.plan(version=2, name=text)), d.Publish(b.event(data={text: text})))
        with b.looking(storage) as unit:
            assert unit.plan("pro").name == text
            assert unit.events()[0].data == {text: text}

    @pytest.mark.parametrize("text", ["nul\x00", "\ud800"], ids=["nul", "surrogate"])
    def test_text_that_a_database_cannot_hold_is_refused(self, storage: Any, text: Any) -> None:
        b.seed(storage)
        with pytest.raises(InputError):
            b.write(storage, d.AddPlanVersion(b.plan(version=2, name=text)))

    @pytest.mark.parametrize("value", [1.5, float("nan"), {1: "x"}, b"bytes", {"set"}], ids=repr)
    def test_events_hold_json_without_floats(self, storage: Any, value: Any) -> None:
        with pytest.raises(InputError):
            b.write(storage, d.Publish(b.event(data={"value": value})))
        with b.looking(storage) as unit:
            assert list(unit.events()) == []
