"""Examples for the OpenAPI document, made from the shapes themselves: none is forgotten, and none grows old."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ID = "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"
_INSTANT = "2030-01-31T12:00:00Z"
_WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
_HASH = "0x" + "5c" * 32
_NAMED: Mapping[str, Any] = {
    **dict.fromkeys(("wallet", "beneficiary", "payer", "to", "signer", "spender", "address", "treasury"), _WALLET),
    **dict.fromkeys(("contract", "relayer_address"), "0x5FbDB2315678afecb367f032d93F642f64180aa3"),
    **dict.fromkeys(("tx_hash", "block_hash", "accepted_hash", "contested_hash", "reference", "accept"), _HASH),
    **dict.fromkeys(("signature", "permit_signature"), "0x" + "1b" * 65),
    **dict.fromkeys(("base_units", "amount", "received", "charge_cap", "cap", "allowance"), "19990000"),
    **dict.fromkeys(("network", "next_network", "name"), "mainnet"),
    **dict.fromkeys(("plan", "slug", "plan_slug"), "pro"),
    **dict.fromkeys(("product", "product_type"), "api"),
    **dict.fromkeys(("url", "pay_url", "explorer_url"), "https://shop.example/billing/pay/4f6d0c8c2f7e4b1f"),
    **dict.fromkeys(("block", "block_number", "accepted_block", "ancestor_block", "contested_block"), 21_000_000),
    "asset": "USDC",
    "block_time": _INSTANT,
    "calls": 1000,
    "chainId": "0x1",
    "chain_id": 1,
    "correlation_id": "4f6d0c8c2f7e4b1f9b7d3b8f1f0e9a55",
    "credit_after": "depth 12",
    "data": "0x",
    "deadline": _INSTANT,
    "decimals": 6,
    "display": "19.99",
    "end": "2030-02-28T12:00:00Z",
    "gas": "0x33450",
    "gas_ceiling": "50000000000000000",
    "gas_price_cap": "200000000000",
    "host": "shop.example",
    "irreversible_after": "finalized",
    "locale": "en",
    "message": "shop.example wants you to sign in with your Ethereum account",
    "nonce": "kq3v7xw2m9d4t8zb",
    "number": "R-000042",
    "ordinal": 0,
    "report": "mrr",
    "rpc_urls": "env:RPC_URL_1",
    "fallback_rpc": "env:RPC_URL_2",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "sink": "webhook:" + _ID,
    "start": _INSTANT,
    "symbol": "USDC",
    "tag": "pro",
    "until": _INSTANT,
    "grace_until": _INSTANT,
    "paid_until": _INSTANT,
    "trial_end": _INSTANT,
    "anchor": _INSTANT,
    "token": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
    "unit": "month",
    "user_id": "user-42",
    "value": "0x0",
    "zone": "Europe/Berlin",
}
_PLAIN: Mapping[str, Any] = {"string": "text", "integer": 1, "number": 1, "boolean": True, "null": None}
_MAP_KEY = "calls"
"""A key where a shape maps names to values, as limits do."""


def sample(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "") -> Any:
    """Return a value of a shape.

    Args:
        schema: of the value (JSON Schema 2020-12).
        components: the shapes that ``$ref`` names.
        name: of the field that holds it; says what a text is.

    """
    if "$ref" in schema:
        return sample(components[schema["$ref"].rpartition("/")[2]], components, name)
    real = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if real:
        return sample(real[0], components, name)
    given = [*schema.get("examples", ()), *schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    return given[0] if given else _made(schema, components, name)


def _made(schema: Mapping[str, Any], components: Mapping[str, Any], name: str) -> Any:
    kind = str(schema.get("type"))
    if kind == "array":
        return [sample(schema["items"], components, name)]
    return _plain(kind, name) if kind in _PLAIN else _object(schema, components)


def _object(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    fields: Mapping[str, Any] = schema.get("properties", {})
    needed = schema.get("required", ())
    if fields:
        return {name: sample(shape, components, name) for name, shape in fields.items() if name in needed}
    values = schema.get("additionalProperties")
    return {_MAP_KEY: sample(values, components, _MAP_KEY)} if isinstance(values, Mapping) and values else {}


def _plain(kind: str, name: str) -> Any:
    plain = _PLAIN[kind]
    known = _NAMED.get(name)
    if known is not None and type(known) is type(plain):
        return known
    if kind == "string" and name.endswith("_at"):
        return _INSTANT
    return _ID if kind == "string" and name.endswith("_id") else plain
