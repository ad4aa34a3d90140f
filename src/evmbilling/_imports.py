"""Importing what changes the process behind our back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def recursion_limit_kept() -> Iterator[None]:
    """Put the recursion limit back after an import.

    web3 and eth_account bring a library that raises it to 100,000 for the whole process when it is first imported;
    deeply nested JSON anywhere in the host would then end the process instead of the request.
    """
    before = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
