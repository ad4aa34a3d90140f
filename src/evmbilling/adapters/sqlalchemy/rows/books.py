"""Rows of the books: ledger entries, balances, treasuries, the finance queue, seals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.rows.billing import asset_values, read_asset
from evmbilling.adapters.sqlalchemy.rows.money import evidence_values, moved_values, read_evidence, read_moved
from evmbilling.adapters.sqlalchemy.values import write_uint256
from evmbilling.domain.books.ledger import Account, Balance, Entry, EntryKind, Line
from evmbilling.domain.books.seals import Seal, SealItem
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.treasury import Movement, Treasury
from evmbilling.errors import InvalidAmount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values

_NO_ASSET: Values = dict.fromkeys(("chain_id", "token", "decimals", "symbol"))


def posting_values(entry: Entry) -> Values:
    """Write a ledger entry without its lines."""
    return {
        "entry_id": entry.entry_id,
        "source": entry.source,
        "kind": entry.kind,
        **asset_values(entry.asset),
        "ledger_id": entry.ledger_id,
        "user_id": entry.user_id,
        **moved_values(entry.identity),
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
    }


def line_values(entry: Entry) -> list[Values]:
    """Write the lines of a ledger entry, numbered from 0."""
    return [
        {
            "entry_id": entry.entry_id,
            "seq": seq,
            "account": line.account,
            "owner": line.owner,
            "side": line.side,
            "amount": _amount(line),
        }
        for seq, line in enumerate(entry.lines)
    ]


def _amount(line: Line) -> int:
    """Check an amount before anything adds it up."""
    try:
        return write_uint256(line.amount)
    except InvalidAmount as error:
        raise InvalidAmount(error.message, field="amount") from None


def read_posting(row: Row, lines: Iterable[Row]) -> Entry:
    """Read a ledger entry; its lines are in their order."""
    return Entry(
        entry_id=row.entry_id,
        source=row.source,
        kind=EntryKind(row.kind),
        asset=read_asset(row),
        lines=tuple(
            Line(account=Account(line.account), owner=line.owner, side=line.side, amount=line.amount) for line in lines
        ),
        ledger_id=row.ledger_id,
        user_id=row.user_id,
        identity=read_moved(row),
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
    )


def balance_values(balance: Balance) -> Values:
    """Write what an owner's account holds, or what is added to it."""
    return {
        "owner": balance.owner,
        "account": balance.account,
        **asset_values(balance.asset),
        "debit": balance.debit,
        "credit": balance.credit,
    }


def read_balance(row: Row) -> Balance:
    """Read what an owner's account holds."""
    return Balance(
        account=Account(row.account), owner=row.owner, asset=read_asset(row), debit=row.debit, credit=row.credit
    )


def treasury_values(treasury: Treasury) -> Values:
    """Write a treasury."""
    return {"chain_id": treasury.chain_id, "address": treasury.address, "since_block": treasury.since_block}


def read_treasury(row: Row) -> Treasury:
    """Read a treasury."""
    return Treasury(chain_id=row.chain_id, address=row.address, since_block=row.since_block)


def movement_values(movement: Movement) -> Values:
    """Write a movement."""
    return {
        "chain_id": movement.identity.chain_id,
        "tx_hash": movement.identity.tx_hash,
        "ordinal": movement.identity.ordinal,
        "direction": movement.direction,
        "treasury": movement.treasury,
        "counterparty": movement.counterparty,
        "asset_chain": movement.asset.chain_id,
        "token": movement.asset.token,
        "decimals": movement.asset.decimals,
        "symbol": movement.asset.symbol,
        "amount": movement.amount,
        "kind": movement.kind,
        "receipt_id": movement.receipt_id,
        "refund_id": movement.refund_id,
        **evidence_values(movement.evidence),
        "live": movement.live,
        "version": movement.version,
    }


def read_movement(row: Row) -> Movement:
    """Read a movement."""
    return Movement(
        identity=CreditIdentity(row.chain_id, row.tx_hash, row.ordinal),
        direction=row.direction,
        treasury=row.treasury,
        counterparty=row.counterparty,
        asset=Asset(chain_id=row.asset_chain, token=row.token, decimals=row.decimals, symbol=row.symbol),
        amount=row.amount,
        kind=row.kind,
        receipt_id=row.receipt_id,
        refund_id=row.refund_id,
        evidence=read_evidence(row),
        live=row.live,
        version=row.version,
    )


def queue_values(item: QueueItem) -> Values:
    """Write an item of the finance queue."""
    return {
        "item_id": item.item_id,
        "kind": item.kind,
        "subject": item.subject,
        "reason": item.reason,
        "user_id": item.user_id,
        "ledger_id": item.ledger_id,
        "receipt_id": item.receipt_id,
        "refund_id": item.refund_id,
        **(_NO_ASSET if item.asset is None else asset_values(item.asset)),
        "amount": item.amount,
        "opened_at": item.opened_at,
        "state": item.state,
        "ruling": item.ruling,
        "decided_by": item.decided_by,
        "decided_at": item.decided_at,
        "note": item.note,
        "version": item.version,
    }


def read_queue_item(row: Row) -> QueueItem:
    """Read an item of the finance queue."""
    return QueueItem(
        item_id=row.item_id,
        kind=row.kind,
        subject=row.subject,
        reason=row.reason,
        user_id=row.user_id,
        ledger_id=row.ledger_id,
        receipt_id=row.receipt_id,
        refund_id=row.refund_id,
        asset=None if row.token is None else read_asset(row),
        amount=row.amount,
        opened_at=row.opened_at,
        state=row.state,
        ruling=row.ruling,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        note=row.note,
        version=row.version,
    )


def seal_values(seal: Seal) -> Values:
    """Write a link of the seal chain."""
    return {
        "number": seal.number,
        "previous": seal.previous,
        "mac": seal.mac,
        "covered": seal.rows,
        "sealed_at": seal.sealed_at,
        "key_id": seal.key_id,
    }


def read_seal(row: Row) -> Seal:
    """Read a link of the seal chain."""
    return Seal(
        number=row.number,
        previous=row.previous,
        mac=row.mac,
        rows=row.covered,
        sealed_at=row.sealed_at,
        key_id=row.key_id,
    )


def seal_item_values(item: SealItem) -> Values:
    """Write that a row is sealed."""
    return {"table_name": item.table, "row_key": item.key, "digest": item.digest, "seal": item.seal}


def read_seal_item(row: Row) -> SealItem:
    """Read that a row is sealed."""
    return SealItem(table=row.table_name, key=row.row_key, digest=row.digest, seal=row.seal)
