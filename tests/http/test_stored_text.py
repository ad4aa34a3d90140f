"""Text that was stored and comes back: as a name, a filter, an address of the caller or a number of a receipt."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from http_hosts import HOSTS

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import ADMIN, simulated_merchant, wallet_of

ADMINS = {"user": "admin-1", "roles": "billing_admin,finance_ops"}
ODD = ("a%", "a_", "ab", "a\\", "%", "_", "a'--", 'a"', "$.a", "a[0]")
"""Users whose names are patterns, paths and quotes somewhere; each is itself and nobody else."""


@pytest.mark.fault("H06")
@pytest.mark.parametrize("host", sorted(HOSTS))
def test_h06_stored_text_is_no_pattern_when_it_is_looked_for_later(host, open_database):
    storage = open_database("postgres", FrozenClock())
    shop = simulated_merchant(seed=13, storage=storage)
    made = HOSTS[host](shop.engine)
    for user in ODD:
        shop.checkout(user, plan=shop.pack, idempotency_key=user)
        shop.engine.admin(ADMIN).update_customer(user, locale="en")
    for user in ODD:
        name = quote(user, safe="")
        own = made.ask("GET", "/history", user=user).json["orders"]
        found = made.ask("GET", f"/admin/orders?user={name}", **ADMINS).json["orders"]
        assert [order["ledger_id"] for order in own] == [order["ledger_id"] for order in found]
        assert len(own) == 1
        seen = made.ask("GET", f"/admin/customers/{name}", **ADMINS).json
        assert seen["customer"]["user_id"] == user
        entries = made.ask("GET", f"/admin/audit?object=customer:{name}", **ADMINS).json["entries"]
        assert {entry["object"] for entry in entries} == {f"customer:{user}"}
    for filter_ in ("plan=pa%25", "plan=_ack", "network=lo%25", "user=%25%25"):
        assert made.ask("GET", f"/admin/orders?{filter_}", **ADMINS).json.get("orders", []) == []


@pytest.mark.fault("H12")
def test_h12_where_a_request_says_it_comes_from_is_believed_nowhere(mount, caplog):
    """No address of a caller is kept or decides anything: what a header says of it has no effect at all."""
    spoofed = {
        "X-Forwarded-For": "203.0.113.66",
        "X-Forwarded-Host": "evil-66.example",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.66",
        "Forwarded": "for=203.0.113.66;host=evil-66.example",
        "True-Client-IP": "203.0.113.66",
    }
    answers = []
    for headers in ({}, spoofed):
        shop = simulated_merchant(seed=14)
        host = mount(shop.engine)
        body = {"plan": "pack", "wallet": wallet_of("user-1")}
        told = [
            host.ask("POST", "/checkout", user="user-1", json=body, headers={"Idempotency-Key": "key-1", **headers}),
            host.ask("PATCH", "/admin/plans/pro", json={"version": 1, "name": "New"}, headers=headers, **ADMINS),
            host.ask("GET", "/admin/queue", headers=headers),
        ]
        audit = host.ask("GET", "/admin/audit", **ADMINS)
        answers.append([(reply.status, reply.headers, reply.body) for reply in (*told, audit)])
    assert answers[0] == answers[1]
    for text in (str(answers), caplog.text):
        assert "203.0.113.66" not in text
        assert "evil-66" not in text


@pytest.mark.fault("H15")
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "R-000001/../R-000002", "..\\R-000001", "/etc/passwd", "R-000001\0"]
)
@pytest.mark.parametrize("path", ["/me/receipts/{}", "/me/receipts/{}/print", "/overview/{}/csv"])
def test_h15_names_in_paths_are_looked_up_and_never_files(mount, name, path):
    host = mount(simulated_merchant(seed=15).engine)
    reply = host.ask("GET", path.format(quote(name, safe="")), user="user-1", roles="finance_ops")
    assert reply.status in (404, 422)
    assert reply.headers["content-type"] == "application/problem+json"
    assert b"root:" not in reply.body
    assert "content-disposition" not in reply.headers
