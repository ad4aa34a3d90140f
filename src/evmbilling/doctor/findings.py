"""What a check found, and what a person does about it."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

Verdict = Literal["pass", "warn", "fail"]


@frozen(kw_only=True)
class Finding:
    """One finding of one check.

    Attributes:
        check: the check's name.
        verdict: ``warn``: it works, and somebody should look; ``fail``: it does not work, or will not.
        text: what was found; never a secret. advice: what to do; empty when all is well.

    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""


@frozen
class Diagnosis:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        found = {finding.verdict for finding in self.findings}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verdict": self.verdict,
            "findings": [
                {"check": f.check, "verdict": f.verdict, "text": f.text, "advice": f.advice} for f in self.findings
            ],
        }
