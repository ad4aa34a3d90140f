"""What replaces a row replaces all of it that may change: no field is left as it was, whatever it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import pytest
from attrs import frozen

from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Finality
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.mandates.mandates import MandateStatus
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Burn
from evmbilling.domain.reading.evidence import Halt, Rescan
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.sending.transmissions import TransmissionStatus
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus, SubscriptionStatus
from evmbilling.testing.conformance.storage import records as b

OTHER_SECRET = SecretRef("env", "ANOTHER")


@frozen
class Replaced:
    """A row that is replaced by its next version.

    Attributes:
        write: makes the decision that writes a record, the first version or the next.
        open: makes the decision that writes the first version, where that is another.
        before: the record as it is first.
        moves: what every field is afterwards that may change.
        stays: the fields that say which row it is, and what never changes.
        read: returns the record.

    """

    write: Callable[[Any], Any]
    before: Any
    moves: Mapping[str, Any]
    stays: frozenset[str]
    read: Callable[[Any], Any]
    open: Callable[[Any], Any] | None = None


ONLY = b.ident(1)
EARLIER, LATER = b.at(-500), b.at(500)
FULL_ORDER = b.order(
    2, completion=b.completion(), manual=b.mark(), closed_as=OrderStatus.EXPIRED, failure_reason="late"
)
ORDER_MOVES = {
    "status": OrderStatus.CONFIRMED,
    "closed_as": None,
    "completion": b.completion(
        tx_hash=b.word(5), log_index=8, block_number=7, block_hash=b.word(6), confirmed_at=LATER
    ),
    "failure_reason": "other",
    "external_id": "relay-2",
    "manual": b.mark(by=b.ALICE, at=LATER, reason="x"),
    "claim": "forgiven",
    "pull": "failed",
    "attempts": 7,
    "attempted_at": LATER,
    "retry_at": None,
    "reminded_at": EARLIER,
}
SUBSCRIPTION_MOVES = {
    "plan_version": 2,
    "interval": attrs.evolve(b.subscription().interval, count=1),
    "quantity": 9,
    "status": SubscriptionStatus.ACTIVE,
    "anchor": LATER,
    "paid_periods": 3,
    "paid_until": LATER,
    "next_charge_at": None,
    "cancel_at_period_end": False,
    "debt": 2**255,
    "segments": b.subscription().segments[:1],
    "dunning_state": None,
    "dunned_at": None,
    "chain_id": b.OTHER_CHAIN,
    "look_at": LATER,
    "looked_at": EARLIER,
}


def fields(record: Any) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(type(record)))


def others(record: Any, moves: Mapping[str, Any]) -> frozenset[str]:
    return fields(record) - moves.keys() - {"version"}


NETWORK_MOVES = {
    "rpc_urls": (OTHER_SECRET,),
    "testnet": False,
    "native_symbol": "COIN",
    "credit_after": Finality("depth", 9),
    "irreversible_after": Finality("finalized", 32),
    "fallback_networks": (),
    "max_lag": None,
    "start_block": 18,
    "rpc_retries": 2,
    "rpc_timeout": 3,
    "gas_price_cap": None,
    "disputed_access": True,
    "explorer_url": None,
    "agreement_above": (("DAI", 1),),
    "quorum": 5,
    "allowed_contracts": None,
    "allowed_tokens": (b.OTHER_WALLET,),
    "archived_at": LATER,
}
GATEWAY_MOVES = {
    "provider": "evm",
    "networks": ("other",),
    "signer": OTHER_SECRET,
    "relayer": None,
    "treasuries": (("other", b.TREASURY),),
    "order_ttl": 60,
    "gas_ceiling": 5,
    "credit_after": None,
    "misfits": MisfitPolicy(),
    "archived_at": LATER,
}
CONTRACT_MOVES = {
    "address": b.OTHER_WALLET,
    "kind": "mapped",
    "abi": "[]",
    "mint_method": "other",
    "burn_method": "end",
    "webhook_secret": OTHER_SECRET,
    "fallback_rpc": (),
    "start_block": 13,
    "gas": (("token", 1),),
    "renew_method": None,
    "permit_method": None,
    "refund_method": None,
    "events": "[]",
    "pins": (),
    "archived_at": LATER,
}
REFUND_MOVES = {
    "address": b.WALLET,
    "address_confirmed_at": LATER,
    "approved_by": b.ALICE,
    "status": RefundStatus.DONE,
    "failure_reason": "other",
    "tx_hash": b.word(78),
    "identity": b.identity(78),
    "evidence": b.evidence(block_number=7, block_hash=b.word(7), block_time=LATER, log_index=9),
    "prepared_at": LATER,
    "burn": Burn(status="done", identity=b.identity(79), evidence=b.evidence(block_number=8)),
    "via": "contract",
}
MANDATE_MOVES = {
    "status": MandateStatus.CANCELLED,
    "signature": b"\x01" * 64,
    "permit": None,
    "given_at": LATER,
    "cancelled_at": EARLIER,
    "end_reason": "by_user",
    "on_chain": None,
    "revocation": b.mandate(2).revocation,
}
MOVEMENT_MOVES = {
    "kind": "suspense",
    "receipt_id": ONLY,
    "refund_id": None,
    "evidence": b.evidence(block_number=7, block_hash=b.word(7), block_time=LATER, log_index=9),
    "live": True,
}
ITEM_MOVES = {
    "reason": "other",
    "user_id": b.BOB,
    "ledger_id": ONLY,
    "receipt_id": ONLY,
    "asset": b.asset(symbol="DAI", decimals=18, token=b.OTHER_WALLET),
    "amount": 2**256 - 1,
    "opened_at": LATER,
    "state": "decided",
    "ruling": "credit",
    "decided_by": b.BOB,
    "decided_at": LATER,
    "note": "other",
}
HINT_MOVES = {"body": b"", "state": "parked", "attempts": 5, "retry_at": LATER, "reason": None}
ENDPOINT_MOVES = {
    "url": "https://other.example/",
    "secrets": (OTHER_SECRET,),
    "events": (),
    "ordered": False,
    "disabled_at": None,
    "disabled_reason": None,
}
SENDING_MOVES = {
    "gas": 40_000,
    "status": TransmissionStatus.MINED,
    "nonce": 4,
    "versions": 3,
    "mined": b.MINED,
    "withdrawn": True,
    "failure_reason": "reverted",
    "looks": 8,
    "next_at": LATER,
    "waiting_since": LATER,
}
DEPOSIT_MOVES = {
    "watched_until": LATER,
    "next_at": None,
    "held": 7,
    "seen_at": EARLIER,
    "sweeps": 3,
    "failures": 2,
}
PROOF_MOVES = {
    "refund_id": b.ident(8),
    "state": "refused",
    "reason": None,
    "looks": 4,
    "next_at": LATER,
    "named_by": "relayer",
    "named_at": LATER,
}
RECEIPT_MOVES = {
    "ledger_id": ONLY,
    "user_id": b.ALICE,
    "allocation": "order",
    "reason": None,
    "evidence": b.evidence(block_number=101, block_hash=b.word(5), block_time=LATER, log_index=0),
    "status": ReceiptStatus.REVERSED,
    "entries": 2,
}
CHARGE_MOVES = {"state": "failed", "reason": "allowance", "settled_at": LATER}
DELIVERY_MOVES = {
    "state": "done",
    "attempts": 4,
    "next_at": LATER,
    "done_at": LATER,
    "status_code": 204,
    "error": "late",
}


def _replaced(write: Callable[[Any], Any], before: Any, moves: Mapping[str, Any], read: Any, **more: Any) -> Replaced:
    return Replaced(write, before, moves, others(before, moves), read, **more)


REPLACED = {
    "network": _replaced(d.SaveNetwork, b.network(), NETWORK_MOVES, lambda u: u.network("anvil")),
    "gateway": _replaced(d.SaveGateway, b.gateway(), GATEWAY_MOVES, lambda u: u.gateway("main")),
    "contract": _replaced(d.SaveContract, b.contract(), CONTRACT_MOVES, lambda u: u.contract("checkout", "anvil")),
    "endpoint": _replaced(d.SaveEndpoint, b.endpoint(), ENDPOINT_MOVES, lambda u: u.endpoint(ONLY)),
    "order": _replaced(d.StoreOrder, FULL_ORDER, ORDER_MOVES, lambda u: u.order(b.ident(2)), open=d.OpenOrder),
    "subscription": _replaced(
        d.StoreSubscription,
        b.subscription(3, product=b.SITE, user_id=b.BOB),
        SUBSCRIPTION_MOVES,
        lambda u: u.subscriptions([b.ident(3)])[b.ident(3)],
        open=d.OpenSubscription,
    ),
    "receipt": _replaced(d.StoreReceipt, b.receipt(2), RECEIPT_MOVES, lambda u: u.receipts([b.ident(2)])[b.ident(2)]),
    "refund": _replaced(d.StoreRefund, b.refund(2, burn=Burn()), REFUND_MOVES, lambda u: u.refund(b.ident(2))),
    "mandate": _replaced(d.StoreMandate, b.mandate(), MANDATE_MOVES, lambda u: u.mandate(ONLY)),
    "movement": _replaced(
        d.StoreMovement,
        b.movement(refund_id=b.ident(9)),
        MOVEMENT_MOVES,
        lambda u: u.movements([b.identity(1)])[b.identity(1)],
    ),
    "item of the queue": _replaced(d.StoreQueueItem, b.queued(), ITEM_MOVES, lambda u: u.queue_item(ONLY)),
    "hint": _replaced(d.StoreInboxItem, b.hint(), HINT_MOVES, lambda u: u.inbox_item("relay", "msg_1")),
    "transmission": _replaced(d.StoreTransmission, b.sending(), SENDING_MOVES, lambda u: u.transmission(ONLY)),
    "deposit": _replaced(d.StoreDeposit, b.deposit(), DEPOSIT_MOVES, lambda u: u.deposit(ONLY)),
    "proof": _replaced(
        d.StoreProof, b.proof(refund_id=b.ident(9)), PROOF_MOVES, lambda u: u.proofs(b.CHAIN, [b.proof().tx_hash])[0]
    ),
    "charge": _replaced(StoreCharge, b.charge(), CHARGE_MOVES, lambda u: u.charges_of([ONLY])[0]),
    "delivery": _replaced(
        d.StoreDelivery,
        b.delivery(),
        DELIVERY_MOVES,
        lambda u: u.delivery(ONLY, b.SINK),
        open=lambda one: d.OpenDeliveries(one.event_id, (one,)),
    ),
}
CURSOR_MOVES = {
    "block": b.header(8),
    "heights": attrs.evolve(b.cursor().heights, head=90, safe=None, finalized=70),
    "irreversible": b.header(60),
    "halt": Halt(reason="deep_reorg", at_block=80, since=LATER),
    "rescan": Rescan(next=3, last=70),
    "fence": 4,
    "event_seq": 9,
    "updated_at": LATER,
}
CURSORS: Mapping[str, Callable[[Any], Any]] = {
    "StoreCursor": d.StoreCursor,
    "RecordEvidence": lambda cursor: d.RecordEvidence(cursor=cursor, headers=(cursor.block,), logs=(), keep_from=0),
    "Rewind": lambda cursor: d.Rewind(cursor=cursor),
    "HaltChain": d.HaltChain,
}


class ReplacementsChecks:
    """What replaces a row replaces all of it that may change."""

    clause = 10

    @pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED.keys())
    def test_the_next_version_replaces_every_field_that_moves(self, storage: Any, replaced: Replaced) -> None:
        before, after = replaced.before, attrs.evolve(replaced.before, version=2, **replaced.moves)
        same = {name for name in replaced.moves if getattr(before, name) == getattr(after, name)}
        assert same == set(), "what does not change shows nothing"
        b.seeded(storage)
        b.write(storage, d.AddPlanVersion(b.plan(version=2)), d.Publish(b.event(1)))
        b.write(storage, *(d.StoreRefund(b.refund(number)) for number in (8, 9)))
        b.write(storage, (replaced.open or replaced.write)(before))
        with b.looking(storage) as unit:
            assert replaced.read(unit) == before
        b.write(storage, replaced.write(after))
        with b.looking(storage) as unit:
            assert replaced.read(unit) == after
        back = attrs.evolve(before, version=3)
        b.write(storage, replaced.write(back))
        with b.looking(storage) as unit:
            assert replaced.read(unit) == back

    @pytest.mark.parametrize("write", CURSORS.values(), ids=CURSORS.keys())
    def test_what_brings_a_cursor_brings_every_field_of_it(self, storage: Any, write: Callable[[Any], Any]) -> None:
        before = b.cursor(irreversible=b.header(90))
        after = attrs.evolve(before, **CURSOR_MOVES)
        assert others(before, CURSOR_MOVES) == {"chain_id"}
        b.write(storage, d.StoreCursor(before))
        b.write(storage, write(after))
        with b.looking(storage) as unit:
            assert unit.cursor(b.CHAIN) == after
            assert list(unit.cursors()) == [after]
