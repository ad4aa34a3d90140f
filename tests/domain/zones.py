"""Time zones in which a calendar goes wrong first."""

from __future__ import annotations

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Africa/Cairo",
    "Pacific/Kiritimati",
]
"""Gaps and folds of an hour, of half an hour, at midnight, in the south; offsets of 45 minutes; none at all."""
