"""What a worker process tells the garbage collector of Python."""

from __future__ import annotations

import gc

_YOUNG = 50_000
"""Objects made and not dropped before the collector looks at the young ones; Python's own number is 700."""


def settle_collector() -> None:
    """Let the collector leave alone what is loaded by now, and look less often at what is new.

    A batch makes some ten thousand short-lived records without cycles. Looking for cycles among them, and among all
    modules that were ever imported, took up to a tenth of a worker's time. For processes that belong to a worker
    alone: a host's process keeps the host's choice.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)
