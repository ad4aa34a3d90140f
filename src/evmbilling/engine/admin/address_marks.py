"""Fingerprints of addresses: the audit is never erased, and must not name a customer's.

They are made with ``BILLING_SECRET_KEY``. While that holds several keys, what a former one made is recognised too.
"""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.secrets import SecretRef
from evmbilling.engine.context import Ports

_KEY_MARK = "which key"


def address_marks(ports: Ports, address: str) -> Sequence[str]:
    """Return an address's fingerprint under each key, the newest first."""
    return ports.secrets.fingerprints(SecretRef("file", address))


def key_marks(ports: Ports) -> Sequence[str]:
    """Return what is written beside fingerprints, under each key: it tells which key an entry's were made with."""
    return ports.secrets.fingerprints(SecretRef("file", _KEY_MARK))
