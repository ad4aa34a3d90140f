"""An order-signing key in an encrypted keyfile (Web3 Secret Storage, version 3)."""

from __future__ import annotations

import json
from pathlib import Path

from evmbilling._imports import recursion_limit_kept
from evmbilling.adapters.signers.local import LocalSigner
from evmbilling.errors import ConfigurationError

_MOST_BYTES = 64 * 1024


class KeyfileSigner(LocalSigner):
    """A signer whose key is read from a keyfile once, when it is built (scrypt takes about a second).

    Args:
        keyfile: the path of the keyfile.
        password: what it was encrypted with.

    Raises:
        ConfigurationError: it cannot be read or decrypted; neither content nor password is repeated.

    """

    def __init__(self, keyfile: str | Path, password: str) -> None:
        super().__init__(_decrypt(_read(Path(keyfile)), password))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)  # no size is asked for: a device has none, and no end either
        if len(content) <= _MOST_BYTES:
            return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"the keyfile {path} cannot be read", field="signer") from None
    raise ConfigurationError(f"the keyfile {path} is no keyfile: it is too large", field="signer")


def _decrypt(text: str, password: str) -> str:
    with recursion_limit_kept():
        from eth_account import Account

    key = b""
    try:
        key = bytes(Account.decrypt(json.loads(text), password))
    except Exception:  # noqa: BLE001  - a damaged keyfile fails in a dozen ways, each of which may quote it
        key = b""
    if not key:
        raise ConfigurationError("the keyfile cannot be decrypted: wrong password, or damaged", field="signer")
    return "0x" + key.hex()
