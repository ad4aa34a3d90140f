"""Keys that sign orders: in memory, or from an encrypted keyfile."""

from __future__ import annotations

from evmbilling.adapters.signers.backend import SigningBackend, signing_backend
from evmbilling.adapters.signers.keyfile import KeyfileSigner
from evmbilling.adapters.signers.local import LocalSigner

__all__ = ["KeyfileSigner", "LocalSigner", "SigningBackend", "signing_backend"]
