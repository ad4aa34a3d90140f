"""Every route, everybody, both hosts: who gets in, that the answer has the promised shape, and the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from http_hosts import HOSTS, Host, Reply
from http_world import OTHER, USER, WALLET, World, filled, make_world
from jsonschema import Draft202012Validator

from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.openapi import openapi
from evmbilling.integrations.http.options import PREFIX
from evmbilling.integrations.http.routes import Route
from evmbilling.testing.merchant import simulated_merchant

ROUTES = HttpApi(simulated_merchant(seed=9).engine).routes
SIGNATURE = "0x" + "11" * 65
NETWORK = {"name": "second", "chain_id": 5, "rpc_urls": ["http://127.0.0.1:9"], "testnet": True}
GATEWAY = {"slug": "second", "networks": ["local"], "signer": "env:KEY", "treasuries": {"local": WALLET}}
CONTRACT = {"slug": "second", "network": "local", "address": WALLET}
PRICE = {"network": "local", "chain_id": 31337, "token": WALLET, "decimals": 6, "symbol": "USDX", "display": "2.50"}
PLAN = {
    "slug": "team",
    "name": "Team",
    "product": "team",
    "interval": "month",
    "interval_count": 3,
    "prices": [PRICE],
    "gateway_slug": "main",
    "contract_slug": "checkout",
}
ADOPTED = {
    "external_id": "old-1",
    "user_id": "user-c",
    "plan": "pro",
    "wallet": WALLET,
    "paid_until": "2026-02-20T12:00:00+01:00",
}
OWNED = "owned"
"""Marks a row about something of USER: to others it does not exist."""


def row(path: str = "", json: Any = None, *, status: int = 200, of: str = "", **headers: str) -> dict[str, Any]:
    """What is asked, and what the answer to who may ask is."""
    return {"path": path, "json": json, "status": status, "of": of, "headers": headers}


CASES: dict[str, dict[str, Any]] = {
    "get_openapi": row("/openapi.json"),
    "get_metrics": row("/v1/metrics"),
    "list_plans": row("/plans"),
    "create_checkout": row("/checkout", {"plan": "pack", "wallet": WALLET}, status=201, Idempotency_Key="fresh-1"),
    "get_checkout": row("/checkout/<pending>", of=OWNED),
    "get_pay_instructions": row("/checkout/<pending>/instructions", of=OWNED),
    "get_authorization": row("/checkout/<pending>/authorization", status=409, of=OWNED),
    "authorize": row("/checkout/<pending>/authorization", {"signature": SIGNATURE}, status=409, of=OWNED),
    "requote": row("/checkout/<pending>/requote", {}, status=201, of=OWNED),
    "get_pay_link": row("/pay/<token>"),
    "get_link_instructions": row("/pay/<token>/instructions"),
    "requote_link": row("/pay/<token>/requote", {}, status=201),
    "history": row("/history?limit=2"),
    "my_history": row("/me/history"),
    "relay_webhook": row("/contracts/webhook", {"chain_id": 1}, status=404),
    "contract_webhook": row("/contracts/checkout/webhook", {"chain_id": 1}, status=404),
    "get_me": row("/me"),
    "get_access": row("/me/access?product=api"),
    "list_subscriptions": row("/me/subscriptions"),
    "get_subscription": row("/me/subscriptions/<subscription>", of=OWNED),
    "cancel_subscription": row("/me/subscriptions/<subscription>/cancel", {"reason": "moving"}, of=OWNED),
    "undo_cancel": row("/me/subscriptions/<subscription>/undo-cancel", {}, of=OWNED),
    "change_zone": row("/me/subscriptions/<subscription>/zone", {"zone": "Asia/Tokyo"}, of=OWNED),
    "preview_change": row("/me/subscriptions/<subscription>/preview", {"quantity": 2, "timing": "now"}, of=OWNED),
    "change_subscription": row("/me/subscriptions/<subscription>/change", {"quantity": 2, "timing": "now"}, of=OWNED),
    "withdraw_change": row("/me/subscriptions/<subscription>/withdraw-change", {}, of=OWNED),
    "pause_subscription": row("/me/subscriptions/<subscription>/pause", {"when": "period_end"}, of=OWNED),
    "resume_subscription": row("/me/subscriptions/<subscription>/resume", {}, of=OWNED),
    "challenge_wallet": row("/me/wallet/challenge", {"wallet": WALLET, "network": "local"}, status=201),
    "verify_wallet": row("/me/wallet/verify", {"nonce": "n" * 20, "signature": SIGNATURE}, status=422),
    "prepare_mandate": row(
        "/me/mandates/prepare", {"subscription_id": "<subscription>", "wallet": WALLET}, status=422, of=OWNED
    ),
    "give_mandate": row("/me/mandates", {"mandate_id": "<paid>", "signature": SIGNATURE}, status=404),
    "list_mandates": row("/me/mandates"),
    "cancel_mandate": row("/me/mandates/<paid>", status=404),
    "challenge_refund_address": row(
        "/me/refunds/<refund>/challenge", {"wallet": WALLET, "network": "local"}, status=201
    ),
    "set_refund_address": row("/me/refunds/<refund>/address", {"wallet": WALLET}, status=422),
    "list_documents": row("/me/receipts"),
    "get_document": row("/me/receipts/R-000001", of=OWNED),
    "print_document": row("/me/receipts/R-000001/print", of=OWNED),
    "get_overview": row("/overview?by=month&zone=Europe/Berlin"),
    "get_report": row("/overview/mrr?by=day"),
    "get_report_csv": row("/overview/revenue/csv"),
    "list_networks": row("/admin/networks"),
    "create_network": row("/admin/networks", NETWORK, status=201),
    "get_network": row("/admin/networks/local"),
    "update_network": row("/admin/networks/local", {"version": 2, "max_lag": 600}),
    "archive_network": row("/admin/networks/local/archive", {"version": 2}),
    "list_gateways": row("/admin/gateways"),
    "create_gateway": row("/admin/gateways", GATEWAY, status=201),
    "get_gateway": row("/admin/gateways/main"),
    "update_gateway": row("/admin/gateways/main", {"version": 1, "order_ttl": 900}),
    "archive_gateway": row("/admin/gateways/main/archive", {"version": 1}),
    "list_contracts": row("/admin/contracts"),
    "create_contract": row("/admin/contracts", CONTRACT, status=201),
    "get_contract": row("/admin/contracts/checkout/local"),
    "update_contract": row("/admin/contracts/checkout/local", {"version": 1, "start_block": 1}),
    "archive_contract": row("/admin/contracts/checkout/local/archive", {"version": 1}),
    "simulate_contract": row(
        "/admin/contracts/checkout/local/simulate", {"wallet": WALLET, "token": "native", "amount": "1"}, status=422
    ),
    "pin_contract": row("/admin/contracts/checkout/local/pin", {"version": 1}, status=422),
    "list_all_plans": row("/admin/plans"),
    "create_plan": row("/admin/plans", PLAN, status=201),
    "get_plan": row("/admin/plans/pro"),
    "revise_plan": row("/admin/plans/pro", {"version": 1, "name": "Professional"}),
    "archive_plan": row("/admin/plans/pro/archive", {}),
    "find_orders": row("/admin/orders?status=pending&user=user-a&limit=1"),
    "get_order": row("/admin/orders/<paid>"),
    "mark_paid": row("/admin/orders/<pending>/mark-paid", {"reason": "cash"}),
    "list_unmatched_receipts": row("/admin/receipts/unmatched"),
    "list_queue": row("/admin/queue?state=all&limit=1"),
    "get_queue_item": row("/admin/queue/<suspense>"),
    "assign_receipt": row("/admin/queue/<suspense>/assign", {"ledger_id": "<pending>", "note": "theirs"}),
    "credit_receipt": row("/admin/queue/<suspense>/credit", {"user_id": "user-a"}),
    "write_off": row("/admin/queue/<suspense>/write-off", {"note": "nobody"}),
    "approve_write_off": row("/admin/queue/<suspense>/approve-write-off", {}, status=409),
    "release_held": row("/admin/queue/<suspense>/release", {}, status=409),
    "acknowledge_item": row("/admin/queue/<duplicate>/acknowledge", {}),
    "accept_evidence": row("/admin/queue/<suspense>/accept", {}, status=409),
    "reverse_evidence": row("/admin/queue/<suspense>/reverse", {}, status=409),
    "list_refunds": row("/admin/refunds?state=requested"),
    "request_refund": row("/admin/refunds", {"ledger_id": "<paid>", "amount": "1", "reason": "kind"}, status=201),
    "get_refund": row("/admin/refunds/<refund>"),
    "approve_refund": row("/admin/refunds/<refund>/approve", {}, status=409),
    "prepare_refund": row("/admin/refunds/<refund>/prepare", {}, status=409),
    "prepare_burn": row("/admin/refunds/<refund>/prepare-burn", {}, status=409),
    "list_refund_transactions": row("/admin/refunds/<refund>/transactions"),
    "name_refund_transaction": row("/admin/refunds/<refund>/transactions", {"tx_hash": "0x" + "ab" * 32}, status=409),
    "unname_refund_transaction": row(
        "/admin/refunds/<refund>/transactions/withdraw", {"tx_hash": "0x" + "ab" * 32}, status=404
    ),
    "cancel_refund": row("/admin/refunds/<refund>/cancel", {"reason": "a mistake"}),
    "list_deposits": row("/admin/deposits?state=empty"),
    "get_deposit": row("/admin/deposits/<sent>"),
    "look_at_deposit": row("/admin/deposits/<sent>/look", {}),
    "sweep_deposit": row("/admin/deposits/<sent>/sweep", {}),
    "list_customers": row("/admin/customers"),
    "get_customer": row("/admin/customers/user-a"),
    "update_customer": row("/admin/customers/user-a", {"zone": "Europe/Berlin"}),
    "adopt_subscriber": row("/admin/subscriptions/adopt", ADOPTED),
    "list_endpoints": row("/admin/webhooks"),
    "create_endpoint": row("/admin/webhooks", {"url": "https://second.example/hook"}, status=201),
    "get_endpoint": row("/admin/webhooks/<endpoint>"),
    "update_endpoint": row("/admin/webhooks/<endpoint>", {"ordered": True}),
    "rotate_endpoint": row("/admin/webhooks/<endpoint>/rotate", {}),
    "retire_endpoint_secret": row("/admin/webhooks/<endpoint>/retire", {}),
    "disable_endpoint": row("/admin/webhooks/<endpoint>/disable", {"reason": "moved"}),
    "enable_endpoint": row("/admin/webhooks/<endpoint>/enable", {}),
    "try_endpoint": row("/admin/webhooks/<endpoint>/test", {}),
    "list_deliveries": row("/admin/deliveries?limit=1"),
    "redeliver": row("/admin/deliveries/<event>/redeliver", {"sink": "<sink>"}, status=409),
    "list_audit": row("/admin/audit?object=plan:pro"),
    "list_readers": row("/admin/readers"),
    "resume_reader": row("/admin/readers/local/resume", {"accept": "0x" + "ab" * 32}, status=409),
}
WHO: dict[str, tuple[str | None, str]] = {
    "anonymous": (None, ""),
    "user": (USER, ""),
    "other user": (OTHER, ""),
    "finance": ("ops-1", "finance_ops"),
    "admin": ("admin-1", "billing_admin,finance_ops"),
}


@cache
def _world(host: str) -> tuple[World, Host]:
    world = make_world()
    return world, HOSTS[host](world.shop.engine)


@pytest.fixture
def fresh() -> Iterator[list[tuple[World, Host]]]:
    """The world of each host as it was made, whatever was asked before."""
    worlds = [_world(name) for name in sorted(HOSTS)]
    storages = [world.shop.engine._ports.storage for world, _ in worlds]
    kept = [(storage._committed, dict(storage._leases)) for storage in storages]
    for storage in storages:
        storage._committed = storage._committed.over()
    yield worlds
    for storage, (committed, leases) in zip(storages, kept, strict=True):
        storage._committed, storage._leases = committed, leases


def _ask(world: World, host: Host, route: Route, who: str) -> Reply:
    case = filled(CASES[route.name], world.names)
    user, roles = WHO[who]
    headers = {name.replace("_", "-"): value for name, value in case["headers"].items()}
    prefix = "" if route.outside else PREFIX
    return host.ask(
        route.method, case["path"], user=user, roles=roles, json=case["json"], headers=headers, prefix=prefix
    )


def _expected(route: Route, who: str) -> int:
    case = CASES[route.name]
    if route.access == "anyone":
        return case["status"]
    if who == "anonymous":
        return 401
    if route.access == "user":
        return case["status"] if who == "user" or case["of"] != OWNED else 404
    allowed = {"finance_ops": {"finance", "admin"}, "billing_admin": {"admin"}}[route.access]
    return case["status"] if who in allowed else 403


def test_every_route_has_a_row_and_every_row_a_route():
    assert {route.name for route in ROUTES} == set(CASES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)


@pytest.mark.fault("H01")
@pytest.mark.fault("H02")
@pytest.mark.fault("H03")
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_h01_h02_h03_who_gets_in(fresh, route: Route, who: str):
    """Each answer is as promised in the document, and both hosts send the same status, headers and bytes."""
    replies = [_ask(world, host, route, who) for world, host in fresh]
    for reply in replies:
        assert reply.status == _expected(route, who), reply.body
        _check_shape(route, reply)
        _check_headers(reply)
    assert replies[0] == replies[1]


def _check_headers(reply: Reply) -> None:
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert reply.headers["x-correlation-id"] == "corr-0001"


@cache
def _document() -> dict[str, Any]:
    return openapi(ROUTES, prefix=PREFIX)


def _check_shape(route: Route, reply: Reply) -> None:
    """The answer is one that the OpenAPI document promises for this status."""
    path = route.path if route.outside else PREFIX + route.path
    operation = _document()["paths"][path][route.method.lower()]
    promised = operation["responses"].get(str(reply.status))
    assert promised is not None, f"{reply.status} is not in the document"
    kind = reply.headers["content-type"]
    if not kind.endswith("json"):
        assert kind in promised["content"] or kind.partition(";")[0] in promised["content"]
        return
    schema = promised["content"][kind]["schema"]
    whole = schema | {"components": _document()["components"]}
    errors = list(Draft202012Validator(whole).iter_errors(reply.json))
    assert not errors, errors
    if kind == "application/problem+json":
        assert reply.json["status"] == reply.status
        assert reply.json["code"]
