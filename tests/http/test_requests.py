"""What an attacker or a clumsy client sends: each a problem with a stable code, and nothing is written."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import attrs
import httpx2
import pytest
from fastapi import FastAPI
from http_hosts import HOSTS, OPTIONS

from evmbilling import Actor, BillingSettings, Role
from evmbilling.domain.messages.standard_webhooks import make_secret, secret_key, sign
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import StorageError
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.http.options import Options
from evmbilling.testing.merchant import ADMIN, simulated_merchant, wallet_of

BODY = {"plan": "pro", "wallet": wallet_of("user-1")}
KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture
def shop():
    return simulated_merchant(seed=3)


@pytest.fixture
def host(shop, mount):
    return mount(shop.engine)


def checkout(host, *, json=None, body=None, headers=None, user="user-1"):
    return host.ask("POST", "/checkout", user=user, json=json, body=body, headers=KEY | (headers or {}))


def nothing_was_written(shop) -> bool:
    return not shop.engine.orders("user-1") and not shop.engine.admin(ADMIN).customers()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_body"),
        (b"{", 400, "bad_request"),
        (b"[]", 422, "invalid_body"),
        (b"null", 422, "invalid_body"),
        (b'{"plan":"pro","plan":"pro"}', 400, "bad_request"),
        (b'{"plan":NaN}', 400, "bad_request"),
        (b'{"quantity":1e400}', 400, "bad_request"),
        (b'{"quantity":1.8e308}', 400, "bad_request"),
        (b'{"quantity":-1.7976931348623157e308}', 422, "invalid_body"),
        (b'{"quantity":1e99999999999999999999}', 400, "bad_request"),
        (b'{"quantity":-1.5e-99999999999999999999}', 400, "bad_request"),
        (b'{"quantity":' + b"1" * 5000 + b"}", 400, "bad_request"),
        (b'{"quantity":' + b"1" * 90 + b"}", 422, "invalid_body"),
        (b"\xff\xfe", 400, "bad_request"),
        (b"[" * 5000 + b"]" * 5000, 400, "bad_request"),
        (b'{"plan":"\\ud800","wallet":"0x1"}', 422, "invalid_body"),
    ],
)
def test_bodies_that_are_no_checkout(host, shop, body, status, code):
    reply = checkout(host, body=body)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert nothing_was_written(shop)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"plan": "nope"}, "unknown_plan", "plan"),
        ({"plan": "\ud800"}, "invalid_body", "plan"),
        ({"network": "nope"}, "unknown_network", "network"),
        ({"wallet": "0x" + "00" * 20}, "invalid_address", "wallet"),
        ({"wallet": "0X" + "11" * 20}, "invalid_address", "wallet"),
        ({"wallet": wallet_of("user-1").swapcase()}, "invalid_address", "wallet"),
        ({"wallet": "0x" + "\uff11" * 40}, "invalid_address", "wallet"),
        ({"quantity": 0}, "invalid_body", "quantity"),
        ({"quantity": True}, "invalid_body", "quantity"),
        ({"quantity": 1.0}, "invalid_body", "quantity"),
        ({"quantity": "1"}, "invalid_body", "quantity"),
        ({"start_at": "tomorrow"}, "invalid_input", "start_at"),
        ({"start_at": "2030-01-01T00:00:00"}, "invalid_input", "start_at"),
        ({"zone": "Mars/Base"}, "invalid_input", "zone"),
        ({"product_id": "1"}, "invalid_body", "product_type"),
    ],
)
def test_values_that_cannot_be_used(host, shop, change, code, field):
    reply = checkout(host, json=BODY | change)
    assert reply.status in {400, 422}
    assert (reply.json["code"], reply.json["field"]) == (code, field)
    assert nothing_was_written(shop)


@pytest.mark.fault("H04")
@pytest.mark.parametrize("name", sorted(a.name for a in Order.__attrs_attrs__ if a.name not in {"network", "asset"}))
def test_h04_columns_cannot_be_assigned(host, shop, name):
    given = {"quantity", "wallet", "beneficiary"}
    if name in given:
        return
    reply = checkout(host, json=BODY | {name: "1"})
    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, "invalid_body", name)
    assert nothing_was_written(shop)


@pytest.mark.fault("H05")
@pytest.mark.parametrize("evil", ["' OR 1=1 --", '"; DROP TABLE x; --', "%", "_", "1); DELETE FROM y", "../../etc"])
def test_h05_text_is_bound_and_never_part_of_a_statement(host, shop, evil):
    bought = shop.buy("user-1")
    asked = {
        "/me/access?product=" + evil.replace("%", "%25"): {422},
        "/checkout/" + evil.replace("/", "-").replace("%", "%25"): {404, 422},
        "/me/mandates?subscription=" + evil.replace("%", "%25"): {200, 422},
        "/history?cursor=" + evil.replace("%", "%25"): {422},
    }
    for path, statuses in asked.items():
        assert host.ask("GET", path, user="user-1").status in statuses, path
    assert [order.ledger_id for order in shop.engine.orders("user-1")] == [bought.ledger_id]


@pytest.mark.fault("H07")
def test_h07_a_doubled_key_or_parameter_is_refused(host, shop):
    # What a WSGI server makes of two headers of one name; others hand both on.
    assert checkout(host, json=BODY, headers={"Idempotency-Key": "key-1,key-2"}).status == 400
    doubled = host.ask("GET", "/history?limit=1&limit=2", user="user-1")
    assert (doubled.status, doubled.json["field"]) == (400, "limit")
    assert nothing_was_written(shop)


@pytest.mark.fault("H08")
def test_h08_one_key_is_one_order(host, shop):
    first = checkout(host, json=BODY)
    again = checkout(host, json=BODY)
    assert (first.status, again.status) == (201, 200)
    same = ("ledger_id", "reference", "payload", "challenge", "deadline")
    assert [first.json[name] for name in same] == [again.json[name] for name in same]
    other = checkout(host, json=BODY | {"quantity": 2})
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    theirs = checkout(host, json=BODY | {"wallet": wallet_of("user-2")}, user="user-2")
    assert theirs.status == 201
    assert theirs.json["ledger_id"] != first.json["ledger_id"]
    shop.clock.advance(timedelta(days=2))
    late = checkout(host, json=BODY)
    assert (late.status, late.json["ledger_id"], late.json["payload"]) == (200, first.json["ledger_id"], None)
    assert host.ask("POST", "/checkout", user="user-1", json=BODY).status == 400


def test_fifty_clients_with_one_key_make_one_order(host, shop):
    barrier, replies = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        replies.append(checkout(host, json=BODY))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} <= {200, 201}
    assert len({reply.json["ledger_id"] for reply in replies}) == 1
    assert len(shop.engine.orders("user-1")) == 1


@pytest.mark.fault("H09")
def test_h09_a_failure_of_ours_is_not_remembered(host, shop, monkeypatch):
    engine, whole = type(shop.engine), type(shop.engine).checkout

    def broken(*_: object, **__: object) -> None:
        raise StorageError("disk full at /var/lib/secret")

    monkeypatch.setattr(engine, "checkout", broken)
    failed = checkout(host, json=BODY)
    monkeypatch.setattr(engine, "checkout", whole)
    assert (failed.status, failed.json["code"]) == (500, "internal_error")
    assert checkout(host, json=BODY).status == 201


@pytest.mark.fault("H10")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": "s=1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Cookie": "s=1", "Origin": "https://evil.example"}, 403),
        ({"Cookie": "s=1", "Sec-Fetch-Site": "same-site", "Origin": "https://other.shop.example"}, 403),
        ({"Cookie": "s=1", "Origin": "null"}, 403),
        ({"Cookie": "s=1", "Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 201),
        ({"Cookie": "s=1", "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Cookie": "s=1"}, 201),
        ({"Origin": "https://evil.example"}, 201),
    ],
)
def test_h10_cookies_are_not_lent_to_other_sites(host, headers, status):
    reply = checkout(host, json=BODY, headers=headers)
    assert reply.status == status
    if status == 403:
        assert reply.json["code"] == "cross_site"


@pytest.mark.fault("H11")
def test_h11_links_come_from_the_configuration_alone(host, shop):
    reply = checkout(host, json=BODY, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert reply.json["pay_url"].startswith("https://shop.example/billing/pay/")
    challenge = host.ask(
        "POST",
        "/me/wallet/challenge",
        user="user-1",
        json={"wallet": BODY["wallet"], "network": "local"},
        headers={"Host": "evil.example"},
    )
    assert "shop.example" in challenge.json["message"]
    assert "evil" not in challenge.json["message"]


def test_without_a_public_url_there_is_no_link(shop, mount):
    bare = mount(shop.engine, Options())
    assert checkout(bare, json=BODY).json["pay_url"] is None


@pytest.mark.fault("H16")
@pytest.mark.parametrize(
    "query",
    [
        "cursor=xx",
        "cursor=%F0",
        "cursor=" + "A" * 9000,
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1e1",
        "limit=-1",
        "limit=%D9%A1",
        "cursor=",
        "cursor=YzE6",
        "cursor=YzE6eA",
        "cursor=YzE6JyBPUiAxPTEtLQ",
    ],
)
def test_h16_cursors_and_limits_that_are_not_ours(host, query):
    reply = host.ask("GET", "/history?" + query, user="user-1")
    assert (reply.status, reply.json["field"]) == (422, query.partition("=")[0])


@pytest.mark.fault("H16")
@pytest.mark.parametrize(
    "path", ["/me/receipts", "/admin/orders", "/admin/refunds", "/admin/customers", "/admin/queue?state=all&limit=3"]
)
def test_h16_a_cursor_of_ours_with_a_key_of_no_row_is_said_of_the_cursor(host, path):
    """The engine's words for the key, `before` and `after`, are none that anybody sent."""
    mark = "&" if "?" in path else "?"
    reply = host.ask("GET", f"{path}{mark}cursor=YzE6YSBiAA", user="ops", roles="finance_ops")  # c1:a b and a NUL
    assert (reply.status, reply.json["field"]) == (422, "cursor")
    if path == "/admin/orders":
        both = host.ask("GET", f"{path}?before=x&cursor=YzE6eA", user="ops", roles="finance_ops")
        assert (both.status, both.json["field"]) == (422, "before")


@pytest.mark.fault("W16")
@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "x", ""])
def test_w16_a_body_with_a_coding_is_not_read_as_one_without(host, shop, coding):
    """A proxy that unpacks it sees another body than the application that does not."""
    reply = checkout(host, json=BODY, headers={"Content-Encoding": coding})
    assert (reply.status, reply.json["code"], reply.json["field"]) == (
        415,
        "unsupported_media_type",
        "content-encoding",
    )
    assert nothing_was_written(shop)
    assert checkout(host, json=BODY, headers={"Content-Encoding": "Identity"}).status == 201


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"'])
def test_a_body_that_is_no_object_is_told_without_names_of_ours(host, body):
    reply = checkout(host, body=body)
    assert (reply.status, reply.json["field"], reply.json["detail"]) == (422, "body", "an object is expected")


@pytest.mark.parametrize(
    "said", ["2026-W01-1T00:00:00Z", "20260101T000000Z", "2026-01-01T00Z", "2026-01-01", "2026-01-01T00:00:00", "now"]
)
def test_an_instant_is_written_as_rfc_3339_says(host, said):
    reply = host.ask("GET", f"/overview?as_of={said}", user="ops", roles="finance_ops")
    assert (reply.status, reply.json["field"]) == (422, "as_of")
    for good in ("2026-01-01T00:00:00Z", "2026-01-01t00:00:00.123456z", "2026-01-01T02:00:00%2B02:00"):
        assert host.ask("GET", f"/overview?as_of={good}", user="ops", roles="finance_ops").status == 200, good


def test_pages_follow_one_another_to_the_end(host, shop):
    made = [shop.checkout("user-1", plan=shop.pack, idempotency_key=f"k-{n}").ledger_id for n in range(5)]
    seen, path = [], "/history?limit=2"
    while path:
        page = host.ask("GET", path, user="user-1").json
        seen += [order["ledger_id"] for order in page["orders"]]
        path = page["next"] and f"/history?limit=2&cursor={page['next']}"
    assert seen == made[::-1]


@pytest.mark.fault("H20")
def test_h20_what_fails_inside_says_nothing_of_the_inside(host, monkeypatch, shop, caplog):
    secret = "postgresql://billing:hunter2@db/prod"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr(type(shop.engine), "plans", broken)
    reply = host.ask("GET", "/plans")
    assert (reply.status, reply.json["code"]) == (500, "internal_error")
    assert b"hunter2" not in reply.body
    assert b"RuntimeError" not in reply.body
    logged = [record for record in caplog.records if getattr(record, "correlation_id", None) == "corr-0001"]
    assert len(logged) == 1
    assert reply.json["correlation_id"] == "corr-0001"


@pytest.mark.fault("H19")
@pytest.mark.parametrize("evil", ["a\tb", "x" * 500, "{'a'}", "a b"])
def test_h19_a_correlation_id_is_a_plain_word_or_ours(host, evil):
    reply = host.ask("GET", "/nope", headers={"X-Correlation-Id": evil})
    assert reply.headers["x-correlation-id"] != evil
    assert reply.headers["x-correlation-id"].isalnum()


@pytest.mark.fault("H23")
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND"])
def test_h23_other_methods_are_refused(host, method):
    reply = host.ask(method, "/plans")
    assert reply.status == 405
    assert reply.headers["allow"] == "GET"


def test_what_is_not_there(host):
    for path in ("/nope", "/plans/", "/me/nope", "/checkout"):
        reply = host.ask("GET", path, user="user-1")
        assert reply.status in {404, 405}, path
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.fault("W16")
def test_w16_a_large_body_is_refused_before_it_is_read(host, shop):
    reply = checkout(host, body=b'{"plan":"' + b"x" * 300_000 + b'"}')
    assert (reply.status, reply.json["code"]) == (413, "too_large")
    hook = host.ask("POST", "/contracts/webhook", body=b"x" * 300_000)
    assert hook.status == 413
    assert nothing_was_written(shop)


def test_another_media_type_is_refused(host):
    reply = checkout(host, body=b"plan=pro", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (reply.status, reply.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("field", ["by", "zone", "since", "until", "as_of"])
def test_a_parameter_that_is_empty_is_no_parameter_left_out(host, field):
    reply = host.ask("GET", f"/overview?{field}=", user="ops", roles="finance_ops")
    assert (reply.status, reply.json["field"]) == (422, field)


@pytest.mark.fault("H17")
def test_h17_ids_are_not_guessable_and_are_no_permission(host, shop):
    bought = shop.buy("user-1")
    absent = bought.ledger_id[:-1] + ("0" if bought.ledger_id[-1] != "0" else "1")
    theirs = host.ask("GET", f"/checkout/{bought.ledger_id}", user="user-2")
    nobody = host.ask("GET", f"/checkout/{absent}", user="user-2")
    assert (theirs.status, theirs.body) == (nobody.status, nobody.body)


def test_the_setting_makes_finance_of_users_without_roles(host):
    assert host.ask("GET", "/admin/queue", user="ops-by-setting").status == 200
    assert host.ask("GET", "/admin/queue", user="user-1").status == 403
    assert host.ask("POST", "/admin/plans/pro/archive", user="ops-by-setting", json={}).status == 403
    assert host.ask("POST", "/admin/plans/pro/archive", user="admin-by-setting", json={}).status == 200


def test_options_come_from_the_settings():
    settings = BillingSettings(
        public_url="https://shop.example/", finance_ops_user_ids=("bob",), admin_user_ids=("alice",)
    )
    made = Options.from_settings(settings, shop_name="Shop")
    assert (made.public_url, made.shop_name) == ("https://shop.example", "Shop")
    assert [made.roles(name) for name in ("alice", "bob", "eve")] == [
        frozenset({Role.BILLING_ADMIN}),
        frozenset({Role.FINANCE_OPS}),
        frozenset(),
    ]


def test_routes_of_the_host_ask_for_a_plan_a_role_and_a_quota(host, shop):
    def get(path: str, user: str | None, roles: str = "") -> int:
        return host.ask("GET", path, user=user, roles=roles, prefix="").status

    assert get("/reports", None) == 401
    assert get("/reports", "user-1") == 402
    shop.buy("user-1")
    assert get("/reports", "user-1") == 200
    assert get("/desk", "user-1") == 403
    assert get("/desk", "ops-by-setting") == 200
    assert get("/desk", "ops", "finance_ops") == 200
    statuses = [get("/calls", "user-1") for _ in range(3)]
    assert set(statuses) <= {200, 429}
    assert get("/calls", "user-9") == 429


@pytest.mark.fault("H26")
def test_h26_fifty_first_requests_at_once():
    for make in HOSTS.values():
        shop = simulated_merchant(seed=4)
        mounted = make(shop.engine)
        barrier, statuses = threading.Barrier(50), []

        def ask(mounted=mounted, barrier=barrier, statuses=statuses) -> None:
            barrier.wait()
            statuses.append(mounted.ask("GET", "/plans").status)

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 50


def test_two_hosts_in_one_process_do_not_see_each_other(mount):
    one, two = simulated_merchant(seed=6), simulated_merchant(seed=7)
    first, second = mount(one.engine), mount(two.engine)
    made = checkout(first, json=BODY).json["ledger_id"]
    assert second.ask("GET", f"/checkout/{made}", user="user-1").status == 404


@pytest.mark.fault("B21")
def test_b21_nothing_that_was_paid_for_is_kept_by_a_cache(host, shop):
    shop.buy("user-1")
    for path in ("/plans", "/me", "/me/access", "/history", "/openapi.json", "/nope"):
        assert host.ask("GET", path, user="user-1").headers["cache-control"] == "no-store", path


@pytest.mark.fault("W07")
def test_w07_both_hosts_hand_on_the_bytes_that_came():
    """The signature is over raw bytes: odd spacing, escapes and order survive; a changed byte is refused."""
    secret = make_secret(["relay secret, of public knowledge"])
    bodies = [
        b'{"chain_id":31337,"tx_hash":"0x%b"}' % (b"ab" * 32),
        b' { "tx_hash" : "0x%b",\r\n "chain_id":31337, "note":"\\u00e9 \xc3\xa9" }\n' % (b"cd" * 32),
    ]
    for make in HOSTS.values():
        shop = simulated_merchant(seed=8)
        shop.engine._ports = attrs.evolve(shop.engine._ports, relay_keys=(secret_key(secret),))
        mounted = make(shop.engine)
        for number, body in enumerate(bodies):
            name, at = f"msg_{number}", int(shop.clock.now().timestamp())
            signature = sign([secret], message_id=name, timestamp=at, body=body)
            headers = {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}
            sent = mounted.ask("POST", "/contracts/webhook", body=body, headers=headers)
            assert (sent.status, sent.json["event_id"]) == (202, name)
            bad = mounted.ask("POST", "/contracts/webhook", body=body + b" ", headers=headers)
            assert (bad.status, bad.json["code"]) == (401, "webhook_rejected")


@pytest.mark.fault("H13")
def test_h13_markup_in_names_is_text_in_json_and_on_the_page(mount):
    shop = simulated_merchant(seed=3)
    evil = "</script><script>alert(1)</script>"
    shop.engine.admin(ADMIN).revise_plan("pack", version=1, name=evil)
    host = mount(shop.engine, attrs.evolve(OPTIONS, shop_name=evil), pages=True)
    made = host.ask("POST", "/checkout", user="user-1", json=BODY | {"plan": "pack"}, headers=KEY).json
    path = made["pay_url"].removeprefix("https://shop.example")
    page = host.ask("GET", path, prefix="")
    assert page.status == 200
    assert b"<script>alert" not in page.body
    assert b"default-src 'none'" in page.headers["content-security-policy"].encode()
    assert host.ask("GET", "/plans").headers["content-type"] == "application/json"


@pytest.mark.fault("H25")
def test_h25_a_slow_call_leaves_the_event_loop_free(shop, monkeypatch):
    """While the engine works for one request, the loop goes on turning."""
    billing = FastApiBilling(shop.engine, identity=lambda _: Actor("user-1"), close=False)
    app = FastAPI()
    app.include_router(billing.router)
    entered, leave = threading.Event(), threading.Event()

    def slow(_: object) -> list[object]:
        entered.set()
        assert leave.wait(30)
        return []

    monkeypatch.setattr(type(shop.engine), "plans", slow)

    async def scenario() -> int:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://host") as client:
            asked = asyncio.ensure_future(client.get("/v1/billing/plans"))
            turns = 0
            while not entered.is_set() or turns < 10:
                await asyncio.sleep(0)
                turns += 1
            leave.set()
            return (await asked).status_code

    assert asyncio.run(scenario()) == 200


def test_a_client_that_leaves_before_its_body_ends_is_no_failure_of_ours(shop, caplog):
    billing = FastApiBilling(shop.engine, identity=lambda _: Actor("user-1"), close=False)
    app = FastAPI()
    app.include_router(billing.router)
    told = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/billing/checkout",
        "raw_path": b"/v1/billing/checkout",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-length", b"100"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(parts)

    async def send(message):
        told.append(message)

    asyncio.run(app(scope, receive, send))
    assert told[0]["status"] == 400
    assert not [record for record in caplog.records if record.message == "request failed"]
    assert nothing_was_written(shop)


@pytest.mark.fault("H24")
def test_h24_a_length_that_is_said_twice_is_refused(host, shop):
    raw = {"Transfer-Encoding": "chunked", "Content-Length": str(len(b'{"plan":"pro"}'))}
    reply = checkout(host, body=b'{"plan":"pro"}', headers=raw)
    assert (reply.status, reply.json["code"]) == (400, "ambiguous_length")
    assert nothing_was_written(shop)
