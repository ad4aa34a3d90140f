"""Outgoing webhooks: signed, sent once, judged by the answer; endpoints are managed by administrators."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import logging
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
import trustme
from messages_bench import ADMIN, FINANCE, NOBODY, receiving

from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.adapters.notifiers.webhook import HttpWebhookSender, _retry_after
from evmbilling.domain.messages.delivery import SCHEDULE
from evmbilling.domain.messages.envelope import body_bytes, envelope
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.standard_webhooks import make_secret, secret_key, sign
from evmbilling.engine.messages.sinks import judged
from evmbilling.errors import Conflict, InputError, NotFound, PermissionDenied
from evmbilling.ports.network_guard import no_network
from evmbilling.ports.outgoing import WebhookAnswer, WebhookCall

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CANARY = "c4n4ry-path-token"


@contextmanager
def endpoint_bench(make, answer=204, **endpoint):
    """A bench with one endpoint at a real receiver."""
    with receiving(answer) as receiver:
        bench = make(
            webhooks=HttpWebhookSender(timeout=2), webhook_exceptions=(receiver.authority,), lanes=ThreadLanes()
        )
        bench.networks(testnet=True)
        made = bench.engine.endpoints(ADMIN).create(url=receiver.url, **endpoint)
        yield bench, receiver, made


def sink(made):
    return f"webhook:{made.endpoint.endpoint_id}"


def test_the_signature_of_the_specification():
    body = b'{"test": 2432232314}'
    signed = sign([SECRET], message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "A" * 100, "whsec_!!!!"]
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret):
    with pytest.raises(InputError) as caught:
        secret_key(secret)
    assert len(secret) < 8 or secret not in str(caught.value)
    assert 24 <= len(secret_key(make_secret(["a", "b"]))) <= 64


def test_the_envelope_is_cloudevents_and_never_changes():
    event = Event(
        event_id="0190c5a0-0000-7000-8000-000000000001",
        type=EventType.PLAN_CHANGED,
        aggregate="customer:u1",
        seq=7,
        occurred_at=datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=UTC),
        recorded_at=datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC),
        data={"user_id": "u1", "new_plan": "план", "limits": {"seats": 5}},
    )
    golden = (
        b'{"data":{"limits":{"seats":5},"new_plan":"\\u043f\\u043b\\u0430\\u043d","user_id":"u1"},'
        b'"datacontenttype":"application/json","id":"0190c5a0-0000-7000-8000-000000000001",'
        b'"recordedat":"2026-01-31T12:00:01Z","seq":7,"source":"urn:evmbilling:0102030405060708",'
        b'"specversion":"1.0","subject":"customer:u1","time":"2026-01-31T12:00:00.500000Z",'
        b'"type":"billing.plan.changed.v1"}'
    )
    assert body_bytes(envelope(event, bytes(range(1, 9)))) == golden


def test_an_endpoint_gets_a_signed_message(make_any):
    with endpoint_bench(make_any) as (bench, receiver, made):
        (event,) = bench.publish(amount="19990000")
        assert bench.engine.dispatch().delivered == 1
        ((path, headers, body),) = receiver.got
        assert path == "/hook"
        assert headers["host"] == receiver.authority
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["webhook-id"] == event.event_id
        signed = f"{event.event_id}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(made.secret.removeprefix("whsec_"))
        digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{digest}"
        assert abs(int(headers["webhook-timestamp"]) - bench.clock.now().timestamp()) < 1
        told = json.loads(body)
        assert (told["id"], told["subject"], told["seq"]) == (event.event_id, "customer:u1", 1)
        assert told["data"] == {"user_id": "u1", "amount": "19990000"}


def test_a_rotation_signs_with_both_secrets_until_it_ends(make_memory):
    with endpoint_bench(make_memory) as (bench, receiver, made):
        face = bench.engine.endpoints(ADMIN)
        second = face.rotate(made.endpoint.endpoint_id)
        bench.publish()
        bench.engine.dispatch()
        face.retire(made.endpoint.endpoint_id)
        bench.publish()
        bench.engine.dispatch()
        (_, both, body), (_, one, _) = receiver.got
        stamp = int(both["webhook-timestamp"])
        expected = sign([second.secret, made.secret], message_id=both["webhook-id"], timestamp=stamp, body=body)
        assert both["webhook-signature"] == expected
        assert len(one["webhook-signature"].split()) == 1
        face.rotate(made.endpoint.endpoint_id)
        face.rotate(made.endpoint.endpoint_id)
        assert len(face.get(made.endpoint.endpoint_id).secrets) == 2


@pytest.mark.fault("W22")
def test_w22_a_redirect_is_a_failure_and_is_not_followed(make_any):
    with (
        receiving(200) as inside,
        endpoint_bench(make_any, lambda _: (302, {"location": inside.url})) as (bench, outside, made),
    ):
        bench.publish()
        assert bench.engine.dispatch().failed == 1
        assert len(outside.got) == 1
        assert inside.got == []
        assert bench.deliveries(sink=sink(made))[0].error == "HTTP 302"


ANSWERS = [
    (200, None, "done", None),
    (204, None, "done", None),
    (299, None, "done", None),
    (300, None, "waiting", SCHEDULE[1]),
    (307, None, "waiting", SCHEDULE[1]),
    (400, None, "waiting", SCHEDULE[1]),
    (404, None, "waiting", SCHEDULE[1]),
    (429, "120", "waiting", timedelta(seconds=120)),
    (429, "0", "waiting", SCHEDULE[1]),
    (429, "-5", "waiting", SCHEDULE[1]),
    (429, "soon", "waiting", SCHEDULE[1]),
    (429, "9" * 30, "waiting", timedelta(days=1)),
    (500, "120", "waiting", SCHEDULE[1]),
    (502, "60", "waiting", timedelta(seconds=60)),
    (504, "90", "waiting", timedelta(seconds=90)),
    (410, None, "dead", None),
]


@pytest.mark.fault("W23")
@pytest.mark.parametrize(("status", "retry_after", "state", "pause"), ANSWERS)
def test_w23_an_answer_decides_what_becomes_of_a_delivery(make_memory, status, retry_after, state, pause):
    headers = {} if retry_after is None else {"retry-after": retry_after}
    with endpoint_bench(make_memory, lambda _: (status, headers)) as (bench, _, made):
        (event,) = bench.publish()
        bench.engine.dispatch()
        delivery = bench.delivery(event, sink(made))
        assert (delivery.state, delivery.status_code, delivery.attempts) == (state, status, 1)
        if pause is not None:
            assert pause <= delivery.next_at - bench.clock.now() <= pause * 1.2


@pytest.mark.fault("W23")
def test_w23_410_disables_the_endpoint_and_what_waits_is_kept(make_any):
    with endpoint_bench(make_any, lambda n: (410 if n == 0 else 204, {})) as (bench, receiver, made):
        bench.publish(3)
        assert bench.engine.dispatch().dead == 1
        face = bench.engine.endpoints(ADMIN)
        off = face.get(made.endpoint.endpoint_id)
        assert (off.disabled_reason, off.disabled_at) == ("gone", bench.clock.now())
        bench.publish()
        assert bench.engine.dispatch().delivered == 0
        assert len(receiver.got) == 1
        with pytest.raises(Conflict):
            face.test(made.endpoint.endpoint_id)
        face.enable(made.endpoint.endpoint_id)
        bench.clock.advance(seconds=10)
        assert bench.engine.dispatch().delivered == 2
        assert [a.action for a in bench.audit() if a.actor == "system"] == ["endpoint.disable"]


@pytest.mark.fault("W23")
def test_w23_a_receiver_that_asks_for_less_is_left_alone_with_the_rest_too(make_memory):
    with endpoint_bench(make_memory, lambda n: (429 if n == 0 else 204, {"retry-after": "60"})) as (bench, got, made):
        bench.publish(3)
        report = bench.engine.dispatch()
        assert (report.failed, report.left, len(got.got)) == (1, 2, 1)
        assert bench.states(sink(made)) == [(1, "waiting", 1), (2, "waiting", 0), (3, "waiting", 0)]
        bench.clock.advance(seconds=59)
        assert bench.engine.dispatch().delivered == 0
        bench.clock.advance(seconds=15)
        assert bench.engine.dispatch().delivered == 3


@contextmanager
def raw_server(behave):
    """A listener whose every connection is given to ``behave``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    continue
                with connection:
                    connection.settimeout(2)
                    try:
                        connection.recv(65536)
                        behave(connection, stop)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join(5)


def drip(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stop.wait(0.05):
        connection.sendall(b"x")


def continue_for_ever(connection, stop):
    while not stop.wait(0.01):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


BAD_RECEIVERS = {
    "silent": (lambda c, stop: stop.wait(2), "no answer in time"),
    "drips": (drip, "no answer in time"),
    "continues": (continue_for_ever, "no answer in time"),
    "closes": (lambda c, stop: None, "no connection"),
    "garbage": (lambda c, stop: c.sendall(b"\x00\x01 hello\r\n\r\n"), "the answer is no HTTP"),
    "endless status line": (lambda c, stop: c.sendall(b"HTTP/1.1 200 " + b"a" * 100_000), "the answer is no HTTP"),
    "too many headers": (
        lambda c, stop: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
        "the answer is no HTTP",
    ),
}


@pytest.mark.fault("W23")
@pytest.mark.parametrize("name", BAD_RECEIVERS)
def test_w23_a_receiver_that_misbehaves_costs_bounded_time_and_memory(name):
    behave, error = BAD_RECEIVERS[name]
    with raw_server(behave) as port:
        began = time.monotonic()
        answer = HttpWebhookSender(timeout=0.4).send(call(f"http://127.0.0.1:{port}/", port))
    assert (answer.status, answer.error) == (None, error)
    assert time.monotonic() - began < 20  # it would go on for ever


def test_a_huge_answer_is_not_read():
    def pour(connection, stop):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
        while not stop.is_set():
            connection.sendall(b"x" * 65536)

    with raw_server(pour) as port:
        assert HttpWebhookSender(timeout=1).send(call(f"http://127.0.0.1:{port}/", port)).status == 200


def test_a_connection_goes_to_the_judged_address_with_the_name_in_tls_and_host(tmp_path):
    certificate(tmp_path, "hooks.example.com")
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.headers["host"], self.connection.getpeername()[0]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(tmp_path / "server.pem")
        names = []
        inside.sni_callback = lambda sock, name, context: names.append(name)
        server.socket = inside.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        port = server.server_port
        asked = []

        def resolver(host, port):
            asked.append(host)
            return [ip_address("127.0.0.1")]

        trusted = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        sender = HttpWebhookSender(timeout=3, tls=trusted, resolver=resolver)
        good = call(f"https://hooks.example.com:{port}/", port, excepted=frozenset({f"hooks.example.com:{port}"}))
        assert sender.send(good).status == 204
        wrong = call(f"https://other.example.com:{port}/", port, excepted=frozenset({f"other.example.com:{port}"}))
        assert sender.send(wrong).error == "the certificate is not valid"
        strangers = HttpWebhookSender(timeout=3, resolver=resolver)
        assert strangers.send(good).error == "the certificate is not valid"
        server.shutdown()
    assert asked == ["hooks.example.com", "other.example.com", "hooks.example.com"]
    assert seen == [(f"hooks.example.com:{port}", "127.0.0.1")]
    assert names[0] == "hooks.example.com"


def certificate(folder, name):
    """Make a certificate for a name, and the authority that vouches for it."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")


def call(url, port, **over):
    fields = {
        "url": url,
        "secrets": (SECRET,),
        "message_id": "msg_1",
        "timestamp": 1,
        "body": b"{}",
        "excepted": frozenset({f"127.0.0.1:{port}"}),
    }
    return WebhookCall(**fields | over)


def test_a_sender_refuses_to_work_inside_a_transaction():
    with no_network(), pytest.raises(RuntimeError):
        HttpWebhookSender().send(call("https://example.com", 1))


def test_nobody_listening_and_no_such_name_are_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert HttpWebhookSender(timeout=1).send(call(f"http://127.0.0.1:{port}/", port)).error == "no connection"

    def nowhere(host, port):
        raise socket.gaierror

    assert HttpWebhookSender(resolver=nowhere).send(call("https://example.com", 1)).error == "no connection"
    assert HttpWebhookSender(resolver=lambda h, p: []).send(call("https://example.com", 1)).error == (
        "the host has no address"
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("\u0667", None),
        ("1e3", None),
        ("", None),
        (None, None),
        ("a" * 500, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    read = _retry_after(value, now=datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert read == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("answer", [None, 200, {"status": 200}, WebhookAnswer(status=None)])
def test_what_is_no_answer_is_a_failure(answer):
    assert judged(answer).outcome == "failed"


def test_an_event_that_is_too_large_is_dead(make_memory):
    with endpoint_bench(make_memory) as (bench, receiver, made):
        (event,) = bench.publish(note="x" * 300_000)
        assert bench.engine.dispatch().dead == 1
        assert bench.delivery(event, sink(made)).error == "the event is too large"
        assert receiver.got == []


@pytest.mark.fault("W20")
def test_w20_exceptions_end_with_the_first_real_network(make_any):
    with endpoint_bench(make_any) as (bench, receiver, made):
        bench.networks(testnet=False)
        bench.publish()
        assert bench.engine.dispatch().failed == 1
        assert receiver.got == []
        assert bench.deliveries(sink=sink(made))[0].error == "this url may not be called"
        with pytest.raises(InputError):
            bench.engine.endpoints(ADMIN).create(url=receiver.url)


def test_endpoints_are_administered_and_audited(make_any):
    with endpoint_bench(make_any, events=["billing.payment.final.v1"]) as (bench, receiver, made):
        face, endpoint_id = bench.engine.endpoints(ADMIN), made.endpoint.endpoint_id
        bench.publish()
        assert bench.engine.dispatch().handed_out == 1
        assert receiver.got == []
        event_id = face.test(endpoint_id)
        face.test(endpoint_id)
        assert bench.engine.dispatch().delivered == 2
        first = json.loads(receiver.got[0][2])
        assert (first["id"], first["type"]) == (event_id, "billing.endpoint.tested.v1")
        assert first["data"] == {"endpoint_id": endpoint_id}
        assert [(d.event_id == event_id, d.state) for d in face.deliveries(endpoint_id)] == [
            (True, "done"),
            (False, "done"),
        ]
        face.redeliver(endpoint_id, event_id)
        assert bench.engine.dispatch().delivered == 1
        face.update(endpoint_id, events=[], ordered=True)
        assert face.get(endpoint_id).ordered
        face.disable(endpoint_id)
        assert face.list()[0].disabled_reason == "by an administrator"
        actions = [a.action.partition(".")[2] for a in bench.audit() if a.object.startswith("e")]
        assert actions == ["create", "test", "test", "redeliver", "update", "disable"]
        assert json.loads(json.dumps([a.changes for a in bench.audit()]))


REFUSALS = [
    lambda f, i: f.create(url="https://10.0.0.1/"),
    lambda f, i: f.create(url="https://example.com/", events=["billing.unknown"]),
    lambda f, i: f.create(url="https://example.com/", events="billing.payment.seen.v1"),
    lambda f, i: f.create(url="https://example.com/", secret="short"),
    lambda f, i: f.update(i, url="http://example.com/"),
    lambda f, i: f.rotate(i, secret="whsec_AAAA"),
    lambda f, i: f.deliveries(i, state="odd"),
    lambda f, i: f.deliveries(i, limit=0),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_endpoints_refuse_what_cannot_be_used(make_memory, number):
    with endpoint_bench(make_memory) as (bench, _, made):
        face = bench.engine.endpoints(ADMIN)
        before = face.list()
        with pytest.raises(InputError):
            REFUSALS[number](face, made.endpoint.endpoint_id)
        assert face.list() == before


CALLS = {
    "create": lambda f, i: f.create(url="https://example.com/"),
    "rotate": lambda f, i: f.rotate(i),
    "retire": lambda f, i: f.retire(i),
    "update": lambda f, i: f.update(i, ordered=True),
    "disable": lambda f, i: f.disable(i),
    "enable": lambda f, i: f.enable(i),
    "test": lambda f, i: f.test(i),
    "redeliver": lambda f, i: f.redeliver(i, "x"),
    "list": lambda f, i: f.list(),
    "get": lambda f, i: f.get(i),
    "deliveries": lambda f, i: f.deliveries(i),
}
READING = {"list", "get", "deliveries"}


@pytest.mark.parametrize("name", CALLS)
def test_roles_guard_endpoints(make_memory, name):
    with endpoint_bench(make_memory) as (bench, _, made):
        endpoint_id = made.endpoint.endpoint_id
        with pytest.raises(PermissionDenied):
            CALLS[name](bench.engine.endpoints(NOBODY), endpoint_id)
        if name in READING:
            CALLS[name](bench.engine.endpoints(FINANCE), endpoint_id)
        else:
            with pytest.raises(PermissionDenied):
                CALLS[name](bench.engine.endpoints(FINANCE), endpoint_id)


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"create", "list", "deliveries"}))
def test_an_endpoint_that_is_not_there_is_not_found(make_memory, name):
    with endpoint_bench(make_memory) as (bench, _, _made), pytest.raises(NotFound):
        CALLS[name](bench.engine.endpoints(ADMIN), "nowhere")


def test_roles_guard_deliveries(make_memory):
    bench = make_memory()
    for use in (lambda f: f.list(), lambda f: f.redeliver("e", "s")):
        with pytest.raises(PermissionDenied):
            use(bench.engine.deliveries(NOBODY))
    assert bench.engine.deliveries(FINANCE).list() == []
    with pytest.raises(NotFound):
        bench.engine.deliveries(FINANCE).redeliver("e", "s")


@pytest.mark.fault("W24")
def test_w24_no_secret_of_an_endpoint_is_shown(make_any, caplog):
    caplog.set_level(logging.DEBUG)
    with endpoint_bench(make_any, 500) as (bench, receiver, _):
        face = bench.engine.endpoints(ADMIN)
        made = face.create(url=f"{receiver.url}/{CANARY}?key={CANARY}")
        rotated = face.rotate(made.endpoint.endpoint_id)
        face.update(made.endpoint.endpoint_id, url=f"{receiver.url}/{CANARY}2")
        bench.publish()
        bench.engine.dispatch()
        stored = face.list()
        shown = [repr(x) for x in (made, rotated, stored, bench.audit(), bench.deliveries(), bench.telemetry.labels)]
        text = caplog.text + json.dumps([a.changes for a in bench.audit()]) + "".join(shown)
        for secret in (CANARY, made.secret, rotated.secret, made.secret.removeprefix("whsec_")):
            assert secret not in text
        assert all(ref.kind == "enc" for endpoint in stored for ref in endpoint.secrets)
        assert f"/hook/{CANARY}2" in {path for path, _, _ in receiver.got}
