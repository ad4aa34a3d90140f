"""Looking at an installation: what is well, what is not, and what to do about it."""

from evmbilling.doctor.checks import CHECKS, examine
from evmbilling.doctor.findings import Diagnosis, Finding, Verdict

__all__ = ["CHECKS", "Diagnosis", "Finding", "Verdict", "examine"]
