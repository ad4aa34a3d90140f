"""What does not depend on the machine, and is therefore asserted."""

from __future__ import annotations

from bm_program import MIB

MOST_STATEMENTS = {
    ("sqlite", "own connection"): 11,
    ("sqlite", "joined"): 14,
    ("postgresql", "own connection"): 3,
    ("postgresql", "joined"): 7,
}
"""Statements of a first checkout, BEGIN and COMMIT of the driver itself left out."""

MOST_GROWTH = 5 * MIB
"""Resident memory that further checkouts may take."""
