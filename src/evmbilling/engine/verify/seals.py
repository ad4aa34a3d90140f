"""The chain of seals: every link follows from the one before, and every row is what it was when it was sealed.

A link without rows marks that everything before it has been compared: the watermark. It is made with the key like any
other link, so that who can write rows cannot move it, and it needs no table of its own.
"""

from __future__ import annotations

import hmac
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from evmbilling.domain.books.seals import FIRST_PREVIOUS, Seal, SealItem, seal_key_id, seal_mac
from evmbilling.engine.requests import parse_optional
from evmbilling.engine.verify.report import Findings
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit

LINKS = 1000
LONGEST_TRANSACTION = timedelta(hours=1)
"""A row that was recorded so long before the newest link and is in none did not come the usual way."""
MOST_NAMED = 100
_COUNTED = ("ledger_entries", "audit")
_HEAD = re.compile(r"[1-9][0-9]{0,18}:[0-9a-f]{64}")


def asked_head(given: object, seal_key: bytes | None) -> str | None:
    """Read the link that somebody looks for; without a key it would be looked for in vain, and nobody would know.

    Raises:
        InputError: it names no link, or there is no key.

    """
    head = parse_optional(given, field="head")
    if head is not None and not _HEAD.fullmatch(head):
        raise InputError("the number of a link, a colon and its MAC in hex are expected", field="head")
    if head is not None and seal_key is None:
        raise InputError("the seals cannot be looked at without the seal key (BILLING_SEAL_KEY)", field="head")
    return head


def head_of(seal: Seal) -> str:
    """Return a link as it is written down elsewhere: number and MAC in hex."""
    return f"{seal.number}:{seal.mac.hex()}"


class SealCheck:
    """Checks the chain of seals with its keys.

    A chain that was begun with one key goes on with the next, and never back: who has a former key, which may be why it
    is a former one, can make no link after the first of a newer. Links before that are held by it.

    Attributes:
        last: the newest link.
        watermark: the newest link without rows that the newest key has made; 0 when there is none. What a former key
            vouches for is compared again: somebody else may have it.
        broken: whether anything about the seals is not as it should be; so until everything has been compared.

    """

    def __init__(self, unit: Unit, findings: Findings, keys: Sequence[bytes]) -> None:
        """Take the keys, the newest first."""
        self._unit = unit
        self._findings = findings
        self._keys = keys
        self.last: Seal | None = None
        self.watermark = 0
        self.broken = True

    def run(self, *, full: bool, head: str | None = None) -> None:
        """Compare the chain and, above the watermark (or, in full, everywhere), every row that it covers.

        ``head`` is a link that was written down elsewhere, as ``number:mac``; the chain must hold it.
        """
        known = len(self._findings.differences)
        if not self._check_chain(head) and head:
            self._findings.add("seal_broken", f"seal:{head.partition(':')[0]}", expected=head, reason="cut")
        start = 0 if full else self.watermark
        maker = 0 if start else len(self._keys)
        for seal in self._links(after=start):
            maker = self._check_link(seal, maker)
        self._check_unsealed()
        self.broken = len(self._findings.differences) > known

    def _links(self, *, after: int) -> Iterator[Seal]:
        while page := self._unit.seals(after=after, limit=LINKS):
            yield from page
            after = page[-1].number

    def _check_chain(self, head: str | None) -> bool:
        """Check that no link is missing and each names the one before; find the watermark; say if ``head`` is there."""
        number, previous, there = 0, FIRST_PREVIOUS, False
        for seal in self._links(after=0):
            number += 1
            if seal.number != number:
                self._findings.add("seal_broken", f"seal:{number}", reason="missing")
            elif seal.previous != previous:
                self._findings.add("seal_broken", f"seal:{number}", reason="not_linked")
            elif seal.rows == 0 and self._maker(seal, []) == 0:
                self.watermark = seal.number
            there = there or head_of(seal) == head
            number, previous, self.last = seal.number, seal.mac, seal
        return there

    def _maker(self, seal: Seal, digests: list[bytes]) -> int | None:
        """Return which key made a link: 0 is the newest; None when it is none of ours."""
        macs = (seal_mac(key, seal.number, seal.previous, digests) for key in self._keys)
        return next((at for at, mac in enumerate(macs) if hmac.compare_digest(seal.mac, mac)), None)

    def _check_link(self, seal: Seal, before: int) -> int:
        """Check a link and its rows, and return the newest key so far: that of the links before, or its own."""
        self._findings.looked_at("seals", 1)
        items = self._unit.seal_items(seal.number)
        maker = self._maker(seal, [item.digest for item in items])
        if len(items) != seal.rows or maker is None:
            self._findings.add("seal_broken", f"seal:{seal.number}", expected=seal.rows, found=len(items), reason="mac")
        elif maker > before:
            self._findings.add("seal_broken", f"seal:{seal.number}", reason="former_key")
        elif seal.key_id not in {None, seal_key_id(self._keys[maker])}:
            self._findings.add("seal_broken", f"seal:{seal.number}", found=seal.key_id, reason="key_id")
        by_table: dict[str, list[SealItem]] = defaultdict(list)
        for item in items:
            by_table[item.table].append(item)
        for table, own in by_table.items():
            self._check_rows(table, own)
        return before if maker is None else min(maker, before)

    def _check_rows(self, table: str, items: list[SealItem]) -> None:
        self._findings.looked_at("sealed_rows", len(items))
        rows = self._unit.sealed_rows(table, [item.key for item in items])
        for item in items:
            row = rows.get(item.key)
            if row is None:
                self._findings.add("sealed_row_missing", f"{table}:{item.key}", reason=f"seal {item.seal}")
            elif not hmac.compare_digest(row.digest, item.digest):
                self._findings.add("sealed_row_changed", f"{table}:{item.key}", reason=f"seal {item.seal}")

    def _check_unsealed(self) -> None:
        """Name rows that claim to be old and that no link covers: they were added, or their seal was taken away."""
        if self.last is None:
            return
        added = self._unit.unsealed_before(self.last.sealed_at - LONGEST_TRANSACTION)
        if not added:
            return
        named = [row for row in self._unit.unsealed_rows(MOST_NAMED) if row.table in _COUNTED]
        for row in named:
            self._findings.add("row_unsealed", f"{row.table}:{row.key}", found=added)
        if not named:
            self._findings.add("row_unsealed", "rows", found=added)
