"""Webhooks that come in: signed, fresh, once, and only a hint.

What the catalogue says about hosts is shown below HTTP, where raw bytes and headers are handed over.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import inspect
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import attrs
import pytest
from hints_bench import SECRET, VECTOR_SECRET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.domain.addresses import checksum
from evmbilling.domain.messages import hints
from evmbilling.domain.messages.hints import MOST_BYTES, RETRIES, parse_secrets, read_hint, sign_webhook
from evmbilling.domain.strict_json import nesting
from evmbilling.errors import WebhookRejected
from evmbilling.testing.merchant import ADMIN, simulated_merchant
from sampling import examples

TX = b"\x11" * 32


class Counting:
    """Notes how often a secret was found unusable."""

    def __init__(self, relay):
        engine = relay.shop.engine
        self._told, self._telemetry = [], engine._ports.telemetry
        engine._ports = attrs.evolve(engine._ports, telemetry=self)

    def __getattr__(self, name):
        return getattr(self._telemetry, name)

    def count(self, name, value=1, **labels):
        self._told += [name] * value
        self._telemetry.count(name, value, **labels)

    def unusable(self):
        return self._told.count("webhook_secrets_unusable")


def rejected(relay, reason, body, headers=None, source="checkout"):
    with pytest.raises(WebhookRejected) as caught:
        relay.send(body, headers, source)
    assert caught.value.reason == reason
    return caught.value


def test_the_vector_of_standard_webhooks():
    key = parse_secrets(VECTOR_SECRET)[0]
    signature = sign_webhook(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_is_accepted_and_leads_to_the_chain(relay):
    offer = relay.shop.checkout("user-1", idempotency_key="k")
    tx = relay.shop.chain.pay(offer.order)
    answer = relay.send(relay.body(tx))
    assert (answer.status, answer.replayed) == (202, False)
    report = relay.shop.engine.read_hints()
    assert (report.found, report.waiting) == (0, 1)  # not mined yet
    relay.shop.chain.mine(3)
    relay.shop.clock.advance(RETRIES[0])
    assert relay.shop.engine.read_hints().found == 1
    relay.shop.engine.run_intake()
    assert relay.shop.engine.order(offer.ledger_id).status == "confirmed"
    relay.shop.clock.advance(days=3)
    assert relay.shop.engine.read_hints().found == 0


@pytest.mark.fault("W01")
@pytest.mark.parametrize(
    "signature",
    ["", "v1,", "v1,AAAA", "v2,{good}", "v1a,{good}", "{bare}", "v1,{other}", "V1,{good}"],
)
def test_w01_no_or_wrong_signature(relay, signature):
    body = relay.body(TX)
    headers = relay.headers(body)
    good = headers["webhook-signature"].partition(",")[2]
    other = relay.headers(body, key=b"k" * 32)["webhook-signature"].partition(",")[2]
    headers["webhook-signature"] = signature.format(good=good, bare=good, other=other)
    error = rejected(relay, "bad_signature", body, headers)
    assert error.status == 401
    assert relay.shop.engine.read_hints() == type(relay.shop.engine.read_hints())()


@pytest.mark.fault("W02")
def test_w02_a_replay_has_no_second_effect(relay):
    body = relay.body(TX)
    headers = relay.headers(body)
    assert [relay.send(body, headers).status for _ in range(3)] == [202, 200, 200]
    report = relay.shop.engine.read_hints()
    assert report.found + report.waiting == 1


@pytest.mark.fault("W03")
@pytest.mark.parametrize(("shift", "accepted"), [(-301, 0), (-300, 1), (-299, 1), (299, 1), (300, 1), (301, 0)])
def test_w03_five_minutes_both_ways(relay, shift, accepted):
    body = relay.body(TX)
    headers = relay.headers(body, shift=shift)
    if accepted:
        assert relay.send(body, headers).status == 202
    else:
        assert rejected(relay, "bad_timestamp", body, headers).status == 401


@pytest.mark.fault("W05")
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": " ".join(["v1,AAAA"] * 1000)},
        {"webhook-signature": "\u00e9\ud800,v1"},
        {"webhook-signature": "v1" * 100_000},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "\uff11"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-id": ""},
        {"webhook-id": "a b"},
        {"webhook-id": "x" * 5000},
        {"webhook-id": "\n"},
    ],
)
def test_w05_garbage_in_headers_is_rejected(relay, change):
    body = relay.body(TX)
    with pytest.raises(WebhookRejected):
        relay.send(body, relay.headers(body) | change)


@pytest.mark.fault("H07")
def test_h07_a_doubled_header_is_rejected(relay):
    body = relay.body(TX)
    pairs = [*relay.headers(body).items(), ("Webhook-Id", "msg_2")]
    assert rejected(relay, "bad_headers", body, pairs).status == 400


@pytest.mark.fault("W06")
@pytest.mark.parametrize(
    "change",
    [
        lambda b: json.dumps(json.loads(b), separators=(",", ":")).encode(),
        lambda b: b + b" ",
        lambda b: b"\xef\xbb\xbf" + b,
        gzip.compress,
        lambda b: b.replace(b"31337", b"31338"),
    ],
)
def test_w06_the_signature_is_over_the_raw_bytes(relay, change):
    body = relay.body(TX)
    assert rejected(relay, "bad_signature", change(body), relay.headers(body)).status == 401


@pytest.mark.fault("W09")
@pytest.mark.parametrize("secret", ["", "whsec_", "short", "whsec_AAAA", "whsec_" + "A" * 200, "whsec_*" + "A" * 40])
def test_w09_weak_secrets_are_no_secrets(secret):
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        parse_secrets(secret)


@pytest.mark.fault("W10")
def test_w10_old_and_new_secret_are_accepted_while_a_rotation_lasts(relay):
    admin = relay.shop.engine.admin(ADMIN)
    admin.update_contract("checkout", relay.shop.network, version=2, webhook_secret=f"{VECTOR_SECRET} {SECRET}")
    body = relay.body(TX)
    new = parse_secrets(VECTOR_SECRET)[0]
    assert relay.send(body, relay.headers(body, "a")).status == 202
    assert relay.send(body, relay.headers(body, "b", key=new)).status == 202
    admin.update_contract("checkout", relay.shop.network, version=3, webhook_secret=VECTOR_SECRET)
    rejected(relay, "bad_signature", body, relay.headers(body, "c"))


@pytest.mark.fault("W11")
def test_w11_a_source_speaks_for_itself_only(relay):
    body = relay.body(TX)
    assert rejected(relay, "unknown_source", body, source="relay").status == 404
    rejected(relay, "unknown_source", body, source="another")
    elsewhere = relay.body(TX, chain_id=1)
    rejected(relay, "bad_body", elsewhere)


@pytest.fixture
def twins(relay):
    """Two contracts of one name on two networks; make one with a secret."""
    admin = relay.shop.engine.admin(ADMIN)
    admin.create_network(name="other", chain_id=10, rpc_urls=["http://127.0.0.1:9"], native_symbol="ETH", testnet=True)

    def make(secret):
        twin = {"address": checksum(b"twin".rjust(20, b"\1")), "kind": "checkout", "webhook_secret": secret}
        admin.create_contract(slug="checkout", network="other", start_block=0, **twin)
        return relay

    return make


@pytest.mark.fault("W11")
def test_w11_a_key_speaks_about_the_network_of_its_own_contract(twins):
    """Contracts of one name on two networks are one source, each with a secret of its own."""
    relay = twins(VECTOR_SECRET)
    here, there, key = relay.body(TX), relay.body(TX, chain_id=10), parse_secrets(VECTOR_SECRET)[0]
    rejected(relay, "bad_signature", here, relay.headers(here, "a", key=key))
    rejected(relay, "bad_signature", there, relay.headers(there, "b"))
    assert relay.send(here, relay.headers(here, "c")).status == 202
    assert relay.send(there, relay.headers(there, "d", key=key)).status == 202


@pytest.mark.fault("W11")
@pytest.mark.parametrize("first", [31337, 10])
def test_w11_relays_of_two_networks_count_their_webhooks_by_themselves(twins, first):
    relay, theirs = twins(VECTOR_SECRET), parse_secrets(VECTOR_SECRET)[0]
    bodies = {chain: relay.body(TX, chain_id=chain) for chain in (31337, 10)}
    others = {chain: relay.body(TX, chain_id=chain, note="x") for chain in (31337, 10)}
    keys = {31337: None, 10: theirs}

    def send(told, chain):
        answer = relay.send(told[chain], relay.headers(told[chain], "msg_1", key=keys[chain]))
        assert (answer.source, answer.event_id) == ("checkout", "msg_1")
        return answer.status

    order = [first, 31347 - first]
    assert [send(bodies, chain) for chain in order] == [202, 202]
    assert [send(bodies, chain) for chain in order] == [200, 200]
    for chain in order:
        rejected(relay, "conflict", others[chain], relay.headers(others[chain], "msg_1", key=keys[chain]))
    told = relay.shop.engine.admin(ADMIN).events(type_="billing.webhook.conflicted.v1")
    assert [(event.data["source"], event.data["other_chain_id"]) for event in told] == [("checkout", c) for c in order]
    report = relay.shop.engine.read_hints()
    assert report.found + report.waiting == 2


def test_a_relay_that_has_the_secret_of_both_networks_is_one_relay(twins):
    relay = twins(f"{VECTOR_SECRET} {SECRET}")
    here, there = relay.body(TX), relay.body(TX, chain_id=10)
    assert relay.send(here, relay.headers(here)).status == 202
    rejected(relay, "conflict", there, relay.headers(there))
    rejected(relay, "conflict", there, relay.headers(there, key=parse_secrets(VECTOR_SECRET)[0]))


@pytest.mark.fault("W11")
@pytest.mark.parametrize("theirs", [None, "", "whsec_short", f"{VECTOR_SECRET} whsec_short"])
def test_w11_an_unusable_secret_of_one_network_silences_no_other(twins, monkeypatch, theirs):
    """Which contract has the unusable one does not matter; what it costs is its own network's webhooks."""
    monkeypatch.setenv("RELAY_OF_TWIN", VECTOR_SECRET)
    relay, key = twins("env:RELAY_OF_TWIN"), parse_secrets(VECTOR_SECRET)[0]
    here, there = relay.body(TX), relay.body(TX, chain_id=10)
    counted = Counting(relay)
    if theirs is None:
        monkeypatch.delenv("RELAY_OF_TWIN")
    else:
        monkeypatch.setenv("RELAY_OF_TWIN", theirs)
    assert relay.send(here).status == 202
    assert counted.unusable() == 1
    assert relay.send(here).status == 200
    rejected(relay, "bad_signature", there, relay.headers(there, "b", key=key))
    rejected(relay, "bad_body", there, relay.headers(there, "b"))  # ours speaks about its own network, as ever
    assert counted.unusable() == 4
    monkeypatch.setenv("RELAY_OF_TWIN", VECTOR_SECRET)
    assert relay.send(there, relay.headers(there, "b", key=key)).status == 202
    assert counted.unusable() == 4


@pytest.mark.fault("W11")
def test_w11_a_source_is_unknown_when_none_of_its_secrets_is_usable(twins, monkeypatch):
    relay = twins("env:RELAY_OF_TWIN")
    relay.shop.engine.admin(ADMIN).update_contract(
        "checkout", relay.shop.network, version=2, webhook_secret="env:RELAY_OF_OURS"
    )
    counted, body = Counting(relay), relay.body(TX)
    monkeypatch.setenv("RELAY_OF_TWIN", "whsec_short")
    assert rejected(relay, "unknown_source", body).status == 404
    assert counted.unusable() == 2
    monkeypatch.setenv("RELAY_OF_OURS", SECRET)
    assert relay.send(body).status == 202
    assert counted.unusable() == 3


@pytest.mark.fault("W02")
@pytest.mark.parametrize("first", [31337, 10])
def test_w02_a_replay_is_one_whatever_the_secrets_are_by_then(twins, monkeypatch, first):
    """Two relays used one id, each accepted; then both were given each other's secret, or one lost its own."""
    monkeypatch.setenv("RELAY_OF_TWIN", VECTOR_SECRET)
    relay, theirs = twins("env:RELAY_OF_TWIN"), parse_secrets(VECTOR_SECRET)[0]
    keys = {31337: None, 10: theirs}
    bodies = {chain: relay.body(TX, chain_id=chain) for chain in keys}
    others = {chain: relay.body(TX, chain_id=chain, note="x") for chain in keys}
    order = [first, 31347 - first]

    def send(chain, key):
        return relay.send(bodies[chain], relay.headers(bodies[chain], key=key)).status

    def told():
        events = relay.shop.engine.admin(ADMIN).events(type_="billing.webhook.conflicted.v1")
        return [(e.aggregate, e.data["first_digest"], e.data["other_chain_id"]) for e in events]

    assert [send(chain, keys[chain]) for chain in order] == [202, 202]
    for chain in order:  # told while each has a secret of its own, and not again when they share one
        rejected(relay, "conflict", others[chain], relay.headers(others[chain], key=keys[chain]))
    once = told()
    names = ["webhook:checkout:msg_1", f"webhook:checkout@{order[1]}:msg_1"]
    assert once == [(n, hashlib.sha256(bodies[c]).hexdigest(), c) for n, c in zip(names, order, strict=True)]
    monkeypatch.setenv("RELAY_OF_TWIN", f"{VECTOR_SECRET} {SECRET}")
    assert [send(chain, None) for chain in order] == [200, 200]
    assert send(10, theirs) == 200
    for chain in order:
        assert rejected(relay, "conflict", others[chain], relay.headers(others[chain])).status == 409
    monkeypatch.setenv("RELAY_OF_TWIN", "whsec_short")
    assert send(31337, None) == 200
    rejected(relay, "conflict", others[31337], relay.headers(others[31337]))
    assert told() == once
    report = relay.shop.engine.read_hints()
    assert report.found + report.waiting == 2


@pytest.mark.fault("W15")
def test_w15_a_claim_that_the_chain_does_not_bear_out_is_nothing(relay):
    offer = relay.shop.checkout("user-1", idempotency_key="k")
    relay.send(relay.body(TX, amount=str(offer.amount), reference=offer.reference.hex(), status="paid"))
    for pause in (*RETRIES, RETRIES[-1]):
        relay.shop.chain.mine()
        relay.shop.engine.read_hints()
        relay.shop.engine.run_intake()
        relay.shop.clock.advance(pause)
    assert relay.shop.engine.order(offer.ledger_id).status == "pending"
    assert not relay.shop.engine.access("user-1").allowed
    assert relay.shop.engine.read_hints() == type(relay.shop.engine.read_hints())()  # given up: a dead letter


@pytest.mark.fault("W16")
def test_w16_a_large_body_is_rejected_before_anything_else(relay):
    body = b"[" * (MOST_BYTES + 1)
    assert rejected(relay, "too_large", body, {}).status == 413


@pytest.mark.fault("W17")
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b"\xff",
        b"",
        b"null",
        b'{"chain_id": 31337, "chain_id": 1, "tx_hash": "0x"}',
        b'{"chain_id": NaN}',
        b'{"chain_id": 31337.0, "tx_hash": "0x' + b"1" * 64 + b'"}',
        b'{"chain_id": true, "tx_hash": "0x' + b"1" * 64 + b'"}',
        b'{"chain_id": 31337, "tx_hash": "0x12"}',
        b'{"chain_id": 31337}',
        b'{"chain_id": ' + b"9" * 5000 + b"}",
    ],
    ids=range(12),
)
def test_w17_a_signed_body_that_is_no_hint(relay, body):
    assert rejected(relay, "bad_body", body, relay.headers(body)).status == 400


@pytest.mark.fault("W17")
@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 120_000, '{"a":"' + '\\"' * 120_000, '"' * 200_000, '["' + "\\" * 200_000]
)
def test_w17_strings_that_never_end_are_read_once(relay, text):
    """The time of this process, and not of the machine: reading again from every quote took minutes."""
    body = text.encode()
    began = time.process_time()
    rejected(relay, "bad_body", body, relay.headers(body))
    assert time.process_time() - began < 5


@pytest.mark.fault("W17")
@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("[[1],{}]", 2),
        ('["[[[["]', 1),
        ('["\\"[["]', 1),
        ('["\\\\",[["x"]]]', 3),
        ('{"a":"b', 1),
        ("]]][", 0),
        ('"a\nb[', 0),
    ],
)
def test_w17_brackets_within_strings_nest_nothing(text, depth):
    assert nesting(text) == depth


@pytest.mark.fault("W18")
def test_w18_a_node_that_fails_leaves_the_hint_for_later(relay):
    offer = relay.shop.checkout("user-1", idempotency_key="k")
    tx = relay.shop.chain.pay(offer.order)
    relay.shop.chain.mine(3)
    relay.send(relay.body(tx))
    relay.shop.chain.fail()
    assert relay.shop.engine.read_hints().waiting == 1
    relay.shop.chain.heal()
    assert relay.shop.engine.read_hints() == type(relay.shop.engine.read_hints())()  # not due again yet
    relay.shop.clock.advance(RETRIES[0])
    assert relay.shop.engine.read_hints().found == 1


@pytest.mark.fault("W19")
def test_w19_deliveries_at_the_same_instant_are_one(relay):
    body = relay.body(TX)
    headers = relay.headers(body)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: relay.send(body, headers).status, range(24)))
    assert sorted(statuses) == [200] * 23 + [202]
    report = relay.shop.engine.read_hints()
    assert report.found + report.waiting == 1


def test_another_body_under_the_same_id_is_a_conflict(relay):
    body, other = relay.body(TX), relay.body(TX, note="x")
    relay.send(body)
    assert rejected(relay, "conflict", other, relay.headers(other)).status == 409


def test_a_source_that_contradicts_itself_is_told_to_ops_once(relay):
    first, second = b"\1" * 32, b"\2" * 32
    body, other = relay.body(first), relay.body(second)
    relay.send(body)
    headers = relay.headers(other)

    def send(_):
        with pytest.raises(WebhookRejected) as refused:
            relay.send(other, headers)
        return refused.value.status

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send, range(8))) == [409] * 8
    (event,) = relay.shop.engine.admin(ADMIN).events(type_="billing.webhook.conflicted.v1")
    assert event.aggregate == "webhook:checkout:msg_1"
    assert event.data == {
        "source": "checkout",
        "webhook_id": "msg_1",
        "first_digest": hashlib.sha256(body).hexdigest(),
        "first_tx_hash": "0x" + first.hex(),
        "received_at": relay.shop.clock.now().isoformat(),
        "other_digest": hashlib.sha256(other).hexdigest(),
        "other_chain_id": 31337,
        "other_tx_hash": "0x" + second.hex(),
    }
    assert relay.send(body).status == 200  # the first stands
    for bad in (relay.headers(other) | {"webhook-signature": "v1,AAAA"}, relay.headers(other, shift=-900)):
        with pytest.raises(WebhookRejected):
            relay.send(other, bad)  # nobody without the secret makes an event
    another = relay.body(first, note="x")
    relay.send(another, relay.headers(another, "msg_2"))
    with pytest.raises(WebhookRejected):
        relay.send(body, relay.headers(body, "msg_2"))
    told = relay.shop.engine.admin(ADMIN).events(type_="billing.webhook.conflicted.v1")
    assert [e.data["webhook_id"] for e in told] == ["msg_1", "msg_2"]


@pytest.mark.fault("W07")
def test_w07_what_a_framework_parsed_and_wrote_again_is_not_what_was_signed(relay):
    """The engine's half: raw bytes, taken once. That frameworks hand them over is shown where they are integrated."""
    body = json.dumps({"tx_hash": "0x" + TX.hex(), "chain_id": 31337}, indent=1).encode()
    headers = relay.headers(body)
    parsed = json.loads(body)
    for again in (
        json.dumps(parsed).encode(),
        json.dumps(parsed, separators=(",", ":")).encode(),
        json.dumps(parsed, sort_keys=True, indent=1).encode(),
        body + b"\n",
        body.decode().encode("utf-16"),
        b"",
    ):
        assert rejected(relay, "bad_signature", again, headers).status == 401
    for no_bytes in (parsed, body.decode(), bytearray(body), memoryview(body), io.BytesIO(body), [body], None):
        assert rejected(relay, "bad_body", no_bytes, headers).status == 400
    assert relay.send(body, headers).status == 202


@pytest.mark.fault("W14")
def test_w14_hints_in_any_order_end_in_the_same_place(relay):
    offers = [relay.shop.checkout(f"user-{n}", idempotency_key="k") for n in range(4)]
    sent = [relay.shop.chain.pay(o.order) for o in offers]
    relay.shop.chain.mine(3)
    for n in (3, 1, 0, 2, 1, 3):
        body = relay.body(sent[n])
        relay.send(body, relay.headers(body, f"m{n}"))
        relay.shop.engine.read_hints()
        relay.shop.engine.run_intake()
    assert [relay.shop.engine.order(o.ledger_id).status for o in offers] == ["confirmed"] * 4


def test_the_hosts_own_relay_speaks_about_every_network():
    shop = simulated_merchant()
    key = parse_secrets(SECRET)[0]
    body = json.dumps({"chain_id": 31337, "tx_hash": "0x" + TX.hex()}).encode()
    stamp = str(int(shop.clock.now().timestamp()))
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": sign_webhook(key, "m", stamp, body)}
    with pytest.raises(WebhookRejected):
        shop.engine.handle_webhook("relay", body, headers)


ANY_TEXT = st.text(max_size=80)
ANY_HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-ID", "x"]), ANY_TEXT
)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200), headers=st.one_of(ANY_HEADERS, st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=6))
)
def test_whatever_is_sent_it_is_one_error(body, headers):
    with pytest.raises(WebhookRejected):
        read_hint(body, headers, [b"k" * 32], datetime(2026, 1, 1, tzinfo=UTC))


@settings(max_examples=examples(200), deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=300), st.from_regex(r'\{"chain_id": .{0,20}, "tx_hash": .{0,80}\}').map(str.encode)
    )
)
def test_whatever_is_signed_it_is_a_hint_or_one_error(body):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    stamp = str(int(now.timestamp()))
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": stamp,
        "webhook-signature": sign_webhook(b"k" * 32, "m", stamp, body),
    }
    with suppress(WebhookRejected):
        assert len(read_hint(body, headers, [b"k" * 32], now).tx_hash) == 32


@pytest.mark.fault("W08")
def test_w08_signatures_are_compared_in_constant_time():
    source = inspect.getsource(hints)
    assert "hmac.compare_digest(expected, " in source
    check = ast.parse(inspect.getsource(hints._check_signature))
    assert [node for node in ast.walk(check) if isinstance(node, ast.Compare | ast.Break | ast.Return)] == []
