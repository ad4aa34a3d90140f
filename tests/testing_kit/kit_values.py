"""Values that the tests of the testing kit share."""

from __future__ import annotations

from datetime import UTC, datetime

from evmbilling.domain.addresses import checksum

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def address(number: int) -> str:
    return checksum(number.to_bytes(20))


TOKEN, CONTRACT, TREASURY, WALLET = address(0xA), address(0xB), address(0xC), address(0xD)
