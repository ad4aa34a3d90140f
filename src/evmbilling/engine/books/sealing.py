"""Sealing: append-only rows are sealed after their commit by a chain of HMACs (tamper evidence).

Sealing is a worker's step of its own and never part of a transaction that a host may wait in. The key is not in the
database; the head of the chain goes to the log, so that cutting links off the end can be noticed too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta

from attrs import frozen

from evmbilling.domain.books.seals import FIRST_PREVIOUS, Seal, SealedRow, SealItem, may_seal, seal_key_id, seal_mac
from evmbilling.domain.decisions import AddSeal, Decision
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists, ConfigurationError, Conflict, SealKeyRefused
from evmbilling.ports.crash import crash_point
from evmbilling.ports.storage import Unit

LEASE = "seal"
LEASE_SECONDS = 60
_LINKS = 1000
LAG = timedelta(minutes=5)
"""Rows of ledger and audit that are older than this and not sealed are counted as lag."""

_log = logging.getLogger("evmbilling.seal")


@frozen(kw_only=True)
class SealReport:
    """What one call of the sealer did.

    Attributes:
        sealed: rows that the new link covers; 0 when there was nothing to do or another worker is at it.
        number, head: the newest link and its MAC in hex; 0 and empty when there is none.
        lag: ledger and audit rows older than five minutes that no link covers.

    """

    sealed: int = 0
    number: int = 0
    head: str = ""
    lag: int = 0


def seal_rows(ports: Ports, runner: Runner, *, limit: int) -> SealReport:
    """Seal what was committed; see :meth:`evmbilling.engine.core.Engine.seal`."""
    key = ports.seal_key
    if key is None:
        raise ConfigurationError("sealing is off: there is no key", field="seal_key")
    lease = ports.storage.acquire_lease(LEASE, ports.worker, LEASE_SECONDS)
    if lease is None:
        return _report(ports, runner, 0)
    crash_point("seal.leased")
    try:
        sealed = runner.write(lambda unit: _seal(ports, unit, key, unit.unsealed_rows(limit)))
    except AlreadyExists:
        # A worker whose lease had run out was faster; its link is as good as ours.
        sealed = 0
    finally:
        ports.storage.release_lease(lease)
    return _report(ports, runner, sealed)


def make_link(key: bytes, last: Seal | None, rows: Sequence[SealedRow], ports: Ports) -> AddSeal:
    """Return the next link of the chain, over these rows; one without rows marks what has been verified."""
    number = last.number + 1 if last is not None else 1
    previous = last.mac if last is not None else FIRST_PREVIOUS
    mac = seal_mac(key, number, previous, [row.digest for row in rows])
    now, key_id = ports.clock.now(), seal_key_id(key)
    seal = Seal(number=number, previous=previous, mac=mac, rows=len(rows), sealed_at=now, key_id=key_id)
    items = tuple(SealItem(table=row.table, key=row.key, digest=row.digest, seal=number) for row in rows)
    return AddSeal(seal, items)


def _seal(ports: Ports, unit: Unit, key: bytes, rows: Sequence[SealedRow]) -> int:
    if rows:
        last = unit.last_seal()
        check_key(ports, unit, last)
        unit.apply([make_link(key, last, rows, ports)])
    return len(rows)


def check_key(ports: Ports, unit: Unit, last: Seal | None) -> None:
    """Refuse to make a link that nobody could tell from one of whoever has got hold of a former key.

    Raises:
        SealKeyRefused: the chain has gone on with another key than this process has.

    """
    key = ports.seal_key
    if key is None or may_seal(last, seal_key_id(key), [seal_key_id(k) for k in ports.former_seal_keys], _ids(unit)):
        return
    raise SealKeyRefused(field="seal_key", key_id=None if last is None else last.key_id)


def _ids(unit: Unit) -> Iterator[str | None]:
    after = 0
    while page := unit.seals(after=after, limit=_LINKS):
        yield from (seal.key_id for seal in page)
        after = page[-1].number


def begin_anew(ports: Ports, unit: Unit, record: Decision) -> Seal:
    """Go on with the key of this process after one that is lost; see :meth:`SecretsAdmin.seal_anew`."""
    key = ports.seal_key
    if key is None:
        raise ConfigurationError("sealing is off: there is no key", field="seal_key")
    last, own = unit.last_seal(), seal_key_id(key)
    if last is None or last.key_id == own:
        raise Conflict("the chain is this key's already", field="seal_key")
    if own in _ids(unit):
        raise SealKeyRefused(field="seal_key", key_id=last.key_id)
    unit.apply([record])
    link = make_link(key, last, unit.unsealed_rows(_LINKS), ports)
    unit.apply([link])
    return link.seal


def _report(ports: Ports, runner: Runner, sealed: int) -> SealReport:
    before = ports.clock.now() - LAG
    head, lag = runner.read(lambda unit: (unit.last_seal(), unit.unsealed_before(before)))
    report = SealReport(sealed=sealed, number=head.number if head else 0, head=head.mac.hex() if head else "", lag=lag)
    if sealed:
        _log.info(
            "sealed %d rows, head %d %s",
            sealed,
            report.number,
            report.head,
            extra={"seal": report.number, "seal_head": report.head, "rows": sealed, "lag": lag},
        )
        ports.telemetry.count("rows_sealed", sealed)
    if lag:
        ports.telemetry.count("seal_lag_rows", lag)
    return report
