"""Catalogue and customers for tests of storage; see ``records``."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import attrs

from evmbilling.domain.catalogue.catalogue import (
    Finality,
    Network,
    PaymentContract,
    PaymentGateway,
    Price,
    SubscriptionPlan,
)
from evmbilling.domain.money import FiatEstimate
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.dunning import DunningPolicy, DunningStep, Schedule
from evmbilling.testing.conformance.storage.chain_records import (
    ALICE,
    CHAIN,
    CONTRACT,
    OTHER_CHAIN,
    OTHER_WALLET,
    SITE,
    T0,
    TREASURY,
    WALLET,
    asset,
    at,
    ident,
)


def network(**changes: Any) -> Network:
    full = Network(
        name="anvil",
        chain_id=CHAIN,
        rpc_urls=(SecretRef("env", "RPC_URL"), SecretRef("enc", "gAAAA-ciphertext")),
        testnet=True,
        native_symbol="xETH",
        credit_after=Finality("safe"),
        irreversible_after=Finality("finalized", 64),
        fallback_networks=("backup", "other"),
        max_lag=900,
        start_block=17,
        rpc_retries=5,
        rpc_timeout=9,
        gas_price_cap=10**12,
        disputed_access=False,
        explorer_url="https://explorer.example/tx/",
        agreement_above={"USDC": 10**9, "DAI": 2**255},
        quorum=3,
        allowed_contracts=(CONTRACT, OTHER_WALLET),
        allowed_tokens=(),
    )
    return attrs.evolve(full, **changes)


def gateway(**changes: Any) -> PaymentGateway:
    full = PaymentGateway(
        slug="main",
        provider="receipts",
        networks=("anvil", "other"),
        signer=SecretRef("file", "/run/secrets/signer"),
        treasuries=(("anvil", TREASURY), ("other", WALLET)),
        order_ttl=900,
        relayer=SecretRef("plugin", "vault:relayer"),
        gas_ceiling=10**17,
        credit_after=Finality("depth", 3),
        misfits=MisfitPolicy(
            tolerance_bps=25,
            late="suspense",
            duplicate="suspense",
            dust_below={"USDC": 10_000, "DAI": 10**18},
            approval_above={"USDC": 2**255},
            on_refund="burn",
            late_watch=3600,
        ),
    )
    return attrs.evolve(full, **changes)


def contract(**changes: Any) -> PaymentContract:
    full = PaymentContract(
        slug="checkout",
        network="anvil",
        chain_id=CHAIN,
        address=CONTRACT,
        kind="checkout",
        abi='[{"type":"event"}]',
        mint_method="mint",
        burn_method=None,
        webhook_secret=SecretRef("env", "HOOK"),
        fallback_rpc=(SecretRef("env", "SPARE"),),
        start_block=12,
        gas={"token": 210_000, "native": 180_000},
        renew_method='{"method":"renew"}',
        permit_method='{"method":"permit"}',
        refund_method='{"method":"refund"}',
        events='[{"event":"Paid"}]',
        pins=((CONTRACT, "0x" + "11" * 32), (OTHER_WALLET, "")),
    )
    return attrs.evolve(full, **changes)


def plan(**changes: Any) -> SubscriptionPlan:
    full = SubscriptionPlan(
        slug="pro",
        version=1,
        name="Pro, größer & <b>better</b> 漢字",
        product=SITE,
        interval=Interval("month", 3),
        prices=(
            Price(network="anvil", asset=asset(), amount=19_990_000),
            Price(network="other", asset=asset(chain_id=OTHER_CHAIN, decimals=18), amount=2**256 - 1),
        ),
        gateway_slug="main",
        contract_slug="checkout",
        price_token="USDC",
        price_usd_estimate=FiatEstimate(amount=Decimal("19.99"), currency="EUR", as_of=date(2026, 1, 30)),
        limits={"seats": 5, "api": 10**20},
        features=("export", "api"),
        trial_days=14,
        dunning=DunningPolicy(
            grace_days=3,
            steps=(
                DunningStep(
                    name="late",
                    after_days=7,
                    at_least={"USDC": 2**70},
                    periods=2,
                    attempts=3,
                    actions=("notify", "block"),
                    again_after_days=5,
                ),
            ),
            arrears="cap",
            arrears_cap=2,
            reminders=Schedule(days=(-5, 0, 9), by_reason=(("balance", (1,)), ("revoked", ()))),
            attempts=Schedule(days=(0, 2), by_reason=(("allowance", (0, 4)),)),
            charges_per_day=2,
        ),
        created_at=T0,
    )
    return attrs.evolve(full, **changes)


def customer(user_id: str = ALICE, **changes: Any) -> Customer:
    return attrs.evolve(
        Customer(user_id=user_id, zone="Europe/Berlin", locale="de-DE", created_at=T0, event_seq=0, version=1),
        **changes,
    )


def wallet(**changes: Any) -> Wallet:
    return attrs.evolve(Wallet(user_id=ALICE, address=WALLET, confirmed_at=T0), **changes)


def entitlement(**changes: Any) -> Entitlement:
    full = Entitlement(
        user_id=ALICE,
        product=SITE,
        source_id=ident(1),
        subscription_id=ident(1),
        plan_slug="pro",
        plan_version=1,
        basis="paid",
        starts_at=at(1),
        until=at(2),
        grace_until=at(3),
        limits={"seats": 10, "api": 2**70},
        features=("export",),
        disputed=True,
        told="basic",
    )
    return attrs.evolve(full, **changes)
