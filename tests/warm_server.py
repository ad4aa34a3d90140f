"""What the process that others are forked from does beside importing."""

from __future__ import annotations

import gc

import warm

warm.share_statements()
warm.build_statements()
gc.freeze()  # the forks do not look through what they share, which would copy it
