"""Secrets in records: a reference to where the value lives, or ciphertext; never the value."""

from __future__ import annotations

import re
from typing import Literal

from attrs import field as attrs_field
from attrs import frozen

from evmbilling.errors import InputError

SecretKind = Literal["env", "file", "plugin", "enc"]
_REFERENCE = re.compile(r"(env|file|plugin|enc):(.+)", re.ASCII | re.DOTALL)


@frozen
class SecretRef:
    """Where a secret is found.

    ``env:NAME`` an environment variable, ``file:/path`` a file's content, ``plugin:name:key`` a signer or secret
    plugin, ``enc:…`` ciphertext under ``BILLING_SECRET_KEY``. The value itself never stands in a row, a repr or a log.
    """

    kind: SecretKind
    locator: str = attrs_field(repr=False)

    def __str__(self) -> str:
        """Return a form that is safe to show: ciphertext is not printed."""
        return f"{self.kind}:…" if self.kind == "enc" else f"{self.kind}:{self.locator}"

    @property
    def stored(self) -> str:
        """The form that is written to a row."""
        return f"{self.kind}:{self.locator}"


def parse_secret_ref(value: object, *, field: str) -> SecretRef:
    """Read a stored secret reference.

    Raises:
        InputError: a plain value, which must be encrypted or referenced first.

    """
    if isinstance(value, SecretRef):
        return value
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InputError("a secret is given as env:NAME, file:/path, plugin:name:key or enc:ciphertext", field=field)
    kind: SecretKind = match[1]  # type: ignore[assignment]  # the pattern allows these four words only
    return SecretRef(kind, match[2])
