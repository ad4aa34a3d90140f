"""The seed of a campaign: fixed in CI, drawn and printed in the long session, given again to repeat it."""

from __future__ import annotations

import os
import random
import sys

SEED = "EVMBILLING_CAMPAIGN_SEED"
LONG = "EVMBILLING_CAMPAIGN"
"""Set by ``nox -s campaign``."""


def is_long() -> bool:
    return LONG in os.environ


def campaign_seed(default: int = 1) -> int:
    """Return the seed, and print it where it can be found when the campaign fails."""
    drawn = random.SystemRandom().randrange(10**9) if is_long() else default
    seed = int(os.environ.get(SEED) or drawn)
    sys.stderr.write(f"\ncampaign: {SEED}={seed}\n")
    return seed
