"""Which code does the elliptic-curve arithmetic: coincurve, or the ten times slower fallback in Python."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.main import KeyAPI

SigningBackend = Literal["coincurve", "python"]

_log = logging.getLogger("evmbilling.signers")


@cache
def key_api() -> KeyAPI:
    """Return the shared key arithmetic (``ECC_BACKEND_CLASS`` overrides the choice, as eth-keys documents)."""
    return KeyAPI()


def signing_backend() -> SigningBackend:
    """Say which backend signs in this process."""
    return "coincurve" if isinstance(key_api().backend, CoinCurveECCBackend) else "python"


@cache
def name_slow_backend() -> None:
    """Log once per process when coincurve is missing."""
    if signing_backend() != "coincurve":
        _log.warning("coincurve is missing: orders are signed about ten times slower; pip install coincurve")
