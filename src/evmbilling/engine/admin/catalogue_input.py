"""Reading catalogue rows from an administrator: every field parsed, the wrong one named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from evmbilling.domain.addresses import parse_address
from evmbilling.domain.catalogue.call_templates import parse_template, template_json
from evmbilling.domain.catalogue.catalogue import DEFAULT_GAS, MAPPED, Price, parse_finality
from evmbilling.domain.catalogue.event_mappings import mappings_json, parse_mappings
from evmbilling.domain.identity import parse_product, parse_slug
from evmbilling.domain.money import FiatEstimate, make_asset, parse_base_units, to_base_units
from evmbilling.domain.pairs import pairs
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.selling.orders import DEPOSIT
from evmbilling.domain.strict_json import parse_strict
from evmbilling.domain.subscriptions.calendar import Interval, make_interval
from evmbilling.domain.web_urls import split_web_url
from evmbilling.engine.admin.dunning_input import dunning_policy
from evmbilling.engine.admin.readers import (
    Reader,
    flag,
    many,
    named,
    named_numbers,
    one_of,
    optional,
    slug,
    symbol_amounts,
    text,
    whole,
)
from evmbilling.engine.admin.secret_input import rpc_url, secret, webhook_secret
from evmbilling.errors import InputError
from evmbilling.ports.secrets import Secrets

CONTRACT_KINDS = ("checkout", "erc20", "mandates", MAPPED, DEPOSIT)
"""Bindings whose events can be read; an unknown one would stop the reading of its network."""
BURN_METHODS = ("burn", "cancelSubscription")
"""Calls that end a membership on chain."""
_MAX_BLOCK = 2**63 - 1
_MOST_TOLERANCE_BPS = 1000
_LONGEST_WATCH = 366 * 86_400


def gas(value: object) -> tuple[tuple[str, int], ...]:
    """Read the measured gas of paying in a ``token`` and in the ``native`` coin; the rest keeps its default."""
    given = dict(named_numbers("gas", 30_000_000)(value))
    default = dict(DEFAULT_GAS)
    if not set(given) <= set(default):
        raise InputError(f"gas is given for {' and '.join(sorted(default))}", field="gas")
    return pairs(default | given)


def web_url(field: str) -> Reader:
    """Return a reader of https links for people."""

    def read(value: object) -> str:
        if not isinstance(value, str) or split_web_url(value) is None or not value.isprintable():
            raise InputError("a link begins with https://", field=field)
        return value

    return read


def treasuries(value: object) -> tuple[tuple[str, str], ...]:
    """Read the receiving address of each network."""
    rows = named("treasuries", value)
    if not rows:
        raise InputError("a mapping of network names to addresses is expected", field="treasuries")
    return tuple(sorted((parse_slug(k, field="treasuries"), parse_address(v, field="treasuries")) for k, v in rows))


def addresses(field: str) -> Reader:
    """Return a reader of lists of addresses; each stands there once, sorted."""
    read = many(field, lambda value: parse_address(value, field=field))
    return lambda value: tuple(sorted(set(read(value))))


def abi(value: object) -> str:
    """Read an ABI (a list, or its JSON) and return canonical JSON."""
    try:
        parsed = parse_strict(value) if isinstance(value, str) else value
        canonical = json.dumps(parsed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InputError("an ABI is a JSON list of objects", field="abi") from None
    if not isinstance(parsed, list) or not all(isinstance(item, dict) for item in parsed):
        raise InputError("an ABI is a JSON list of objects", field="abi")
    return canonical


def call(field: str) -> Reader:
    """Return a reader of call templates: plain data or its JSON; the canonical JSON comes out."""
    return lambda value: template_json(parse_template(value, field=field))


def method(field: str, named: Reader) -> Reader:
    """Return a reader of a call: a template, or the name of a built-in contract's function."""

    def read(value: object) -> str:
        is_template = isinstance(value, Mapping) or (isinstance(value, str) and value.lstrip().startswith("{"))
        found: str = (call(field) if is_template else named)(value)
        return found

    return read


def events(value: object) -> str:
    """Read what a contract's events mean: plain data or its JSON; the canonical JSON comes out."""
    return mappings_json(parse_mappings(value, field="events"))


def interval(value: object) -> Interval:
    """Read an interval: a word (``"month"``), a (word, count) pair, or the record."""
    if isinstance(value, Interval):
        return make_interval(value.unit, value.count)
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004  - a pair
        return make_interval(value[0], value[1])
    return make_interval(value)


def price(value: object) -> Price:
    """Read a price: the record, or a mapping.

    A mapping has ``network``, ``chain_id``, ``token``, ``decimals``, ``symbol`` and either ``amount`` (base units) or
    ``display`` (``"19.99"``).
    """
    fields = attrs.asdict(value) if isinstance(value, Price) else value
    if not isinstance(fields, Mapping):
        raise InputError("a price is a mapping", field="prices")
    asset = fields.get("asset", fields)
    known = {"network", "asset", "amount", "display", "chain_id", "token", "decimals", "symbol"}
    if not isinstance(asset, Mapping) or not set(fields) <= known:
        raise InputError("a price has network, chain_id, token, decimals, symbol and amount or display", field="prices")
    made = make_asset(**{name: asset.get(name) for name in ("chain_id", "token", "decimals", "symbol")})
    if "display" in fields and "amount" in fields:
        raise InputError("a price is given in base units or for display, not both", field="prices")
    if "display" in fields:
        amount = to_base_units(fields["display"], made.decimals, field="prices")
        parse_base_units(amount, field="prices", minimum=1)
    else:
        amount = parse_base_units(fields.get("amount"), field="prices", minimum=1)
    return Price(network=parse_slug(fields.get("network"), field="prices"), asset=made, amount=amount)


def misfit_policy(value: object) -> MisfitPolicy:
    """Read what happens to money that does not fit: the record, or a mapping of its fields."""
    given = attrs.asdict(value, recurse=False) if isinstance(value, MisfitPolicy) else value
    if not isinstance(given, Mapping):
        raise InputError("a mapping is expected", field="misfits")
    readers: dict[str, Reader] = {
        "tolerance_bps": whole("misfits", 0, _MOST_TOLERANCE_BPS),
        "late": one_of("misfits", ("order", "credit", "suspense")),
        "duplicate": one_of("misfits", ("credit", "suspense")),
        "dust_below": symbol_amounts("misfits"),
        "approval_above": symbol_amounts("misfits"),
        "on_refund": one_of("misfits", ("keep", "burn")),
        "late_watch": whole("misfits", 0, _LONGEST_WATCH),
    }
    if not set(given) <= set(readers):
        raise InputError(f"a policy for misfits has {', '.join(readers)}", field="misfits")
    return MisfitPolicy(**{name: readers[name](item) for name, item in given.items()})


def record(kind: type[Any]) -> Reader:
    """Return a reader that accepts a ready domain record of one class."""

    def read(value: object) -> Any:
        if not isinstance(value, kind):
            raise InputError(f"a {kind.__name__} is expected", field=kind.__name__)
        return value

    return read


def network_readers(secrets: Secrets) -> dict[str, Reader]:
    """Return how each field of a network is read."""
    return {
        "name": slug("name"),
        "chain_id": whole("chain_id", 1, _MAX_BLOCK),
        "rpc_urls": many("rpc_urls", rpc_url(secrets), at_least=1),
        "testnet": flag("testnet"),
        "native_symbol": text("native_symbol", 32),
        "credit_after": lambda v: parse_finality(v, field="credit_after"),
        "irreversible_after": lambda v: parse_finality(v, field="irreversible_after"),
        "fallback_networks": many("fallback_networks", slug("fallback_networks")),
        "max_lag": optional(whole("max_lag", 1, 30 * 86_400)),
        "start_block": optional(whole("start_block", 0, _MAX_BLOCK)),
        "rpc_retries": whole("rpc_retries", 0, 20),
        "rpc_timeout": whole("rpc_timeout", 1, 120),
        "gas_price_cap": optional(lambda v: parse_base_units(v, field="gas_price_cap")),
        "disputed_access": flag("disputed_access"),
        "explorer_url": optional(web_url("explorer_url")),
        "agreement_above": symbol_amounts("agreement_above"),
        "quorum": whole("quorum", 2, 9),
        "allowed_contracts": optional(addresses("allowed_contracts")),
        "allowed_tokens": optional(addresses("allowed_tokens")),
    }


def gateway_readers(secrets: Secrets) -> dict[str, Reader]:
    """Return how each field of a gateway is read."""
    return {
        "slug": slug("slug"),
        "provider": slug("provider"),
        "networks": many("networks", slug("networks"), at_least=1),
        "signer": secret("signer", secrets),
        "treasuries": treasuries,
        "order_ttl": whole("order_ttl", 30, 7 * 86_400),
        "credit_after": optional(lambda v: parse_finality(v, field="credit_after")),
        "misfits": misfit_policy,
        "relayer": optional(secret("relayer", secrets)),
        "gas_ceiling": lambda v: parse_base_units(v, field="gas_ceiling", minimum=1),
    }


def contract_readers(secrets: Secrets) -> dict[str, Reader]:
    """Return how each field of a contract is read; ``chain_id`` comes from its network."""
    return {
        "slug": slug("slug"),
        "network": slug("network"),
        "chain_id": whole("chain_id", 1, _MAX_BLOCK),
        "address": lambda v: parse_address(v, field="address"),
        "kind": one_of("kind", CONTRACT_KINDS),
        "abi": optional(abi),
        "mint_method": method("mint_method", text("mint_method")),
        "burn_method": optional(method("burn_method", one_of("burn_method", BURN_METHODS))),
        "renew_method": optional(call("renew_method")),
        "permit_method": optional(call("permit_method")),
        "refund_method": optional(call("refund_method")),
        "events": optional(events),
        "webhook_secret": optional(webhook_secret("webhook_secret", secrets)),
        "fallback_rpc": many("fallback_rpc", rpc_url(secrets, "fallback_rpc")),
        "start_block": whole("start_block", 0, _MAX_BLOCK),
        "gas": gas,
    }


def plan_readers() -> dict[str, Reader]:
    """Return how each field of a plan is read."""
    return {
        "slug": slug("slug"),
        "name": text("name"),
        "product": lambda v: parse_product(v, field="product"),
        "interval": interval,
        "prices": many("prices", price, at_least=1),
        "gateway_slug": slug("gateway_slug"),
        "contract_slug": slug("contract_slug"),
        "price_token": optional(text("price_token", 32)),
        "price_usd_estimate": optional(record(FiatEstimate)),
        "limits": named_numbers("limits", 2**53 - 1),
        "features": many("features", slug("features")),
        "trial_days": whole("trial_days", 0, 3650),
        "dunning": dunning_policy,
    }


def read_fields(readers: Mapping[str, Reader], given: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Read given fields with their readers.

    Raises:
        InputError: an unknown field, a missing one, or one that cannot be used.

    """
    for name in given:
        if name not in readers:
            raise InputError(f"a {kind.__name__} has no such field", field=name)
    needed = {a.name for a in attrs.fields(kind) if a.default is attrs.NOTHING and a.name in readers}
    for name in sorted(needed - set(given)):
        raise InputError("this field is needed", field=name)
    return {name: readers[name](value) for name, value in given.items()}
