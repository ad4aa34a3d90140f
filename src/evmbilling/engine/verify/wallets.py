"""Confirmed wallets against the audit: whose a wallet is decides whose money a plain transfer is."""

from __future__ import annotations

from collections.abc import Iterator

from evmbilling.domain.people.customers import Customer
from evmbilling.engine.admin.address_marks import address_marks, key_marks
from evmbilling.engine.context import Ports
from evmbilling.engine.people.wallets import CONFIRMED
from evmbilling.engine.verify.report import Findings
from evmbilling.ports.storage import Unit

_PAGE = 500
_MOST_ENTRIES = 1000


class WalletCheck:
    """Compares each customer's wallets with what they proved, by fingerprints: an audit is never erased."""

    def __init__(self, ports: Ports, unit: Unit, findings: Findings) -> None:
        self._ports = ports
        self._unit = unit
        self._findings = findings
        self._keys = frozenset(key_marks(ports))

    def run(self) -> None:
        """Find wallets that their customer never proved, and proofs whose wallet is not there."""
        after = ""
        while page := self._unit.customers(after=after, limit=_PAGE):
            for customer in page:
                for reason, mark in self._faults(customer):
                    self._findings.add(
                        "wallet_record_differs", f"customer:{customer.user_id}", found=mark, reason=reason
                    )
            after = page[-1].user_id

    def _faults(self, customer: Customer) -> Iterator[tuple[str, str]]:
        entries = self._unit.audit(object_=f"customer:{customer.user_id}", limit=_MOST_ENTRIES)
        proofs = [entry.changes for entry in entries if entry.action == CONFIRMED]
        # Fingerprints of a secret key that is not here, and proofs from before there were any, say nothing.
        proved = {str(told["wallet"]) for told in proofs if told.get("key") in self._keys}
        held = [address_marks(self._ports, wallet.address) for wallet in self._unit.wallets(customer.user_id)]
        if proved and all(told.get("key") in self._keys for told in proofs):
            yield from (("never_proved", marks[0]) for marks in held if proved.isdisjoint(marks))
        if customer.erased_at is None:
            yield from (("not_there", mark) for mark in sorted(proved.difference(*held)))
