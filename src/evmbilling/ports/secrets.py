"""Resolving secret references."""

from __future__ import annotations

from typing import Protocol

from evmbilling.domain.secrets import SecretRef


class Secrets(Protocol):
    """Turns references into values, and values into ciphertext."""

    def reveal(self, ref: SecretRef) -> str:
        """Return the secret.

        Raises:
            ConfigurationError: it is not where the reference points, or the ciphertext was made with none of our keys.

        """
        ...

    def seal(self, value: str) -> SecretRef:
        """Encrypt a value under ``BILLING_SECRET_KEY``, the newest where it holds several.

        Raises:
            ConfigurationError: there is no such key.

        """
        ...

    def former(self, ref: SecretRef) -> bool:
        """Whether this is ciphertext of a former key: sealed again under the newest, that one can be taken away."""
        ...

    def fingerprint(self, ref: SecretRef) -> str:
        """Return a short keyed digest that tells two secrets apart in an audit log and reveals neither."""
        ...
