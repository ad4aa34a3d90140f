"""Private keys of test wallets: made, named by their address, and used to sign."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

from eth_keys.main import KeyAPI

from evmbilling._imports import recursion_limit_kept


def new_key() -> str:
    """Return a fresh private key as ``0x`` and 64 hex digits."""
    return "0x" + secrets.token_hex(32)


def address_of(key: str) -> str:
    """Return the address (EIP-55) of a private key."""
    return str(KeyAPI.PrivateKey(bytes.fromhex(key[2:])).public_key.to_checksum_address())


def sign_transaction(key: str, fields: dict[str, Any]) -> tuple[str, str]:
    """Sign a transaction; return its hash and its bytes, both as ``0x…``."""
    signed = _accounts().sign_transaction(fields, key)
    return "0x" + signed.hash.hex(), "0x" + signed.raw_transaction.hex()


def sign_typed_data(key: str, typed_data: dict[str, Any]) -> bytes:
    """Sign EIP-712 typed data; return 65 bytes ``r ‖ s ‖ v``."""
    return bytes(_accounts().sign_typed_data(key, full_message=typed_data).signature)


def sign_text(key: str, text: str) -> bytes:
    """Sign a text as wallets do (EIP-191, ``personal_sign``); return 65 bytes ``r ‖ s ‖ v``."""
    accounts = _accounts()
    with recursion_limit_kept():
        from eth_account.messages import encode_defunct

    return bytes(accounts.sign_message(encode_defunct(text=text), key).signature)


@cache
def _accounts() -> Any:
    """Return eth_account's ``Account``; what importing it does to the recursion limit of the process is undone."""
    with recursion_limit_kept():
        from eth_account import Account

    return Account
