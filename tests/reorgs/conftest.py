"""Chains and digests are shared with the campaigns."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
for folder in ("chains", "campaigns"):
    sys.path.insert(0, str(TESTS / folder))
