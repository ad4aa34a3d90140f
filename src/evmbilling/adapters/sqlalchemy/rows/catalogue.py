"""Rows of networks, gateways, contracts and plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evmbilling.adapters.sqlalchemy.rows.dunning import dunning_values, read_dunning
from evmbilling.domain.catalogue.catalogue import (
    DEFAULT_GAS_CEILING,
    Finality,
    Network,
    PaymentContract,
    PaymentGateway,
    Price,
    SubscriptionPlan,
    parse_finality,
)
from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset, FiatEstimate
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.domain.subscriptions.calendar import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = Any
Values = dict[str, Any]


def _finality(value: Finality | None) -> str | None:
    return None if value is None else str(value)


def _read_finality(text: str) -> Finality:
    return parse_finality(text, field="finality")


def _secrets(refs: Iterable[SecretRef]) -> list[str]:
    return [ref.stored for ref in refs]


def _read_secrets(texts: list[str]) -> tuple[SecretRef, ...]:
    return tuple(parse_secret_ref(text, field="secret") for text in texts)


def network_values(network: Network) -> Values:
    """Write a network; its RPC urls as references or ciphertext."""
    return {
        "name": network.name,
        "chain_id": network.chain_id,
        "rpc_urls": _secrets(network.rpc_urls),
        "testnet": network.testnet,
        "native_symbol": network.native_symbol,
        "credit_after": _finality(network.credit_after),
        "irreversible_after": _finality(network.irreversible_after),
        "fallback_networks": list(network.fallback_networks),
        "max_lag": network.max_lag,
        "start_block": network.start_block,
        "rpc_retries": network.rpc_retries,
        "rpc_timeout": network.rpc_timeout,
        "gas_price_cap": network.gas_price_cap,
        "disputed_access": network.disputed_access,
        "explorer_url": network.explorer_url,
        "agreement_above": [[symbol, str(amount)] for symbol, amount in network.agreement_above],
        "quorum": network.quorum,
        "allowed": _allowed(network),
        "version": network.version,
        "archived_at": network.archived_at,
    }


def read_network(row: Row) -> Network:
    """Read a network."""
    return Network(
        name=row.name,
        chain_id=row.chain_id,
        rpc_urls=_read_secrets(row.rpc_urls),
        testnet=row.testnet,
        native_symbol=row.native_symbol,
        credit_after=_read_finality(row.credit_after),
        irreversible_after=_read_finality(row.irreversible_after),
        fallback_networks=tuple(row.fallback_networks),
        max_lag=row.max_lag,
        start_block=row.start_block,
        rpc_retries=row.rpc_retries,
        rpc_timeout=row.rpc_timeout,
        gas_price_cap=row.gas_price_cap,
        disputed_access=row.disputed_access,
        explorer_url=row.explorer_url,
        agreement_above=tuple((symbol, int(amount)) for symbol, amount in row.agreement_above),
        quorum=row.quorum,
        **_read_allowed(row.allowed),
        version=row.version,
        archived_at=row.archived_at,
    )


def _allowed(network: Network) -> Values | None:
    lists = {"contracts": network.allowed_contracts, "tokens": network.allowed_tokens}
    return {name: list(found) for name, found in lists.items() if found is not None} or None


def _read_allowed(stored: Values | None) -> Values:
    return {f"allowed_{name}": tuple(found) for name, found in (stored or {}).items()}


def gateway_values(gateway: PaymentGateway) -> Values:
    """Write a gateway; its signer as a reference."""
    return {
        "slug": gateway.slug,
        "provider": gateway.provider,
        "networks": list(gateway.networks),
        "signer": gateway.signer.stored,
        "treasuries": [list(pair) for pair in gateway.treasuries],
        "order_ttl": gateway.order_ttl,
        "credit_after": _finality(gateway.credit_after),
        "misfits": _misfits(gateway.misfits),
        "relaying": _relaying(gateway),
        "version": gateway.version,
        "archived_at": gateway.archived_at,
    }


def read_gateway(row: Row) -> PaymentGateway:
    """Read a gateway."""
    return PaymentGateway(
        slug=row.slug,
        provider=row.provider,
        networks=tuple(row.networks),
        signer=parse_secret_ref(row.signer, field="signer"),
        treasuries=tuple((network, address) for network, address in row.treasuries),
        order_ttl=row.order_ttl,
        credit_after=None if row.credit_after is None else _read_finality(row.credit_after),
        misfits=_read_misfits(row.misfits),
        **_read_relaying(row.relaying),
        version=row.version,
        archived_at=row.archived_at,
    )


def _relaying(gateway: PaymentGateway) -> Values | None:
    if gateway.relayer is None and gateway.gas_ceiling == DEFAULT_GAS_CEILING:
        return None
    return {
        "signer": None if gateway.relayer is None else gateway.relayer.stored,
        "gas_ceiling": str(gateway.gas_ceiling),
    }


def _read_relaying(stored: Values | None) -> Values:
    if stored is None:
        return {}
    signer = stored["signer"]
    return {
        "relayer": None if signer is None else parse_secret_ref(signer, field="relayer"),
        "gas_ceiling": int(stored["gas_ceiling"]),
    }


def contract_values(contract: PaymentContract) -> Values:
    """Write a contract; its secrets as references or ciphertext."""
    return {
        "slug": contract.slug,
        "network": contract.network,
        "chain_id": contract.chain_id,
        "address": contract.address,
        "kind": contract.kind,
        "abi": contract.abi,
        "mint_method": contract.mint_method,
        "burn_method": contract.burn_method,
        "webhook_secret": None if contract.webhook_secret is None else contract.webhook_secret.stored,
        "fallback_rpc": _secrets(contract.fallback_rpc),
        "start_block": contract.start_block,
        "gas": [list(pair) for pair in contract.gas],
        "version": contract.version,
        "archived_at": contract.archived_at,
        "renew_method": contract.renew_method,
        "permit_method": contract.permit_method,
        "events": contract.events,
        "pins": [list(pin) for pin in contract.pins] or None,
        "refund_method": contract.refund_method,
    }


def read_contract(row: Row) -> PaymentContract:
    """Read a contract."""
    secret = row.webhook_secret
    return PaymentContract(
        slug=row.slug,
        network=row.network,
        chain_id=row.chain_id,
        address=row.address,
        kind=row.kind,
        abi=row.abi,
        mint_method=row.mint_method,
        burn_method=row.burn_method,
        webhook_secret=None if secret is None else parse_secret_ref(secret, field="webhook_secret"),
        fallback_rpc=_read_secrets(row.fallback_rpc),
        start_block=row.start_block,
        gas=tuple((kind, units) for kind, units in row.gas),
        version=row.version,
        archived_at=row.archived_at,
        renew_method=row.renew_method,
        permit_method=row.permit_method,
        events=row.events,
        pins=tuple((address, mark) for address, mark in row.pins or ()),
        refund_method=row.refund_method,
    )


def plan_values(plan: SubscriptionPlan) -> Values:
    """Write a plan version; the amounts of its prices are digits."""
    fiat = plan.price_usd_estimate
    return {
        "slug": plan.slug,
        "version": plan.version,
        "name": plan.name,
        "product_type": plan.product.type,
        "product_id": plan.product.id,
        "interval_unit": plan.interval.unit,
        "interval_count": plan.interval.count,
        "prices": [_price(price) for price in plan.prices],
        "gateway_slug": plan.gateway_slug,
        "contract_slug": plan.contract_slug,
        "price_token": plan.price_token,
        "fiat_amount": None if fiat is None else fiat.amount,
        "fiat_currency": None if fiat is None else fiat.currency,
        "fiat_as_of": None if fiat is None else fiat.as_of,
        "limits": [list(pair) for pair in plan.limits],
        "features": list(plan.features),
        "trial_days": plan.trial_days,
        "dunning": dunning_values(plan.dunning),
        "created_at": plan.created_at,
        "archived_at": plan.archived_at,
    }


def read_plan(row: Row) -> SubscriptionPlan:
    """Read a plan version."""
    fiat = None
    if row.fiat_amount is not None:
        fiat = FiatEstimate(amount=row.fiat_amount, currency=row.fiat_currency, as_of=row.fiat_as_of)
    return SubscriptionPlan(
        slug=row.slug,
        version=row.version,
        name=row.name,
        product=Product(row.product_type, row.product_id),
        interval=Interval(row.interval_unit, row.interval_count),
        prices=read_prices(row.prices),
        gateway_slug=row.gateway_slug,
        contract_slug=row.contract_slug,
        price_token=row.price_token,
        price_usd_estimate=fiat,
        limits=tuple((name, limit) for name, limit in row.limits),
        features=tuple(row.features),
        trial_days=row.trial_days,
        dunning=read_dunning(row.dunning),
        created_at=row.created_at,
        archived_at=row.archived_at,
    )


def _price(price: Price) -> Values:
    return {
        "network": price.network,
        "chain_id": price.asset.chain_id,
        "token": price.asset.token,
        "decimals": price.asset.decimals,
        "symbol": price.asset.symbol,
        "amount": str(price.amount),
    }


def read_prices(values: Iterable[Values]) -> tuple[Price, ...]:
    """Read the prices of a plan version."""
    return tuple(_read_price(price) for price in values)


def _read_price(value: Values) -> Price:
    asset = Asset(chain_id=value["chain_id"], token=value["token"], decimals=value["decimals"], symbol=value["symbol"])
    return Price(network=value["network"], asset=asset, amount=int(value["amount"]))


def _misfits(policy: MisfitPolicy) -> Values:
    return {
        "tolerance_bps": policy.tolerance_bps,
        "late": policy.late,
        "duplicate": policy.duplicate,
        "dust_below": [[symbol, str(amount)] for symbol, amount in policy.dust_below],
        "approval_above": [[symbol, str(amount)] for symbol, amount in policy.approval_above],
        "on_refund": policy.on_refund,
        "late_watch": policy.late_watch,
    }


def _read_misfits(value: Values) -> MisfitPolicy:
    return MisfitPolicy(
        tolerance_bps=value["tolerance_bps"],
        late=value["late"],
        duplicate=value["duplicate"],
        dust_below=tuple((symbol, int(amount)) for symbol, amount in value["dust_below"]),
        approval_above=tuple((symbol, int(amount)) for symbol, amount in value["approval_above"]),
        on_refund=value.get("on_refund", "keep"),
        late_watch=value.get("late_watch", MisfitPolicy().late_watch),
    )
