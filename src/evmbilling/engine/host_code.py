"""What is logged when a callable of the host raises: where, and how often; not what it says."""

from __future__ import annotations

import logging

from evmbilling.domain.traces import trace_of
from evmbilling.engine.context import Ports
from evmbilling.ports.correlation import correlation

_log = logging.getLogger("evmbilling.host")


def tell_callable(ports: Ports, name: str, error: BaseException) -> None:
    """Log that a callable of the host raised; what fails again and again is said at every power of two."""
    times = ports.sampler.times(f"callable {name} {type(error).__name__}")
    if times is not None:
        facts = {"callable": name, "times": times, "trace": trace_of(error), **correlation()}
        _log.warning("a callable of the host failed: %s", type(error).__name__, extra=facts)
