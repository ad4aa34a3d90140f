"""E-mail: who is told what, in which language; nobody hears about anybody else, and no header is forged."""

from __future__ import annotations

import email
import email.policy
import re
import smtplib
import socketserver
import string
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from engine_shop import TOKEN, TREASURY, address
from hypothesis import given
from hypothesis import strategies as st
from messages_bench import Recorder

from evmbilling.adapters.notifiers.email import EmailNotifier, parse_recipient, user_of
from evmbilling.adapters.notifiers.email_texts import KINDS, OPS_ONLY, catalogue, fill, kind_of, text_for
from evmbilling.adapters.notifiers.smtp import SmtpTransport
from evmbilling.domain.messages.delivery import QUIET, RESTORED
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.engine.core import Engine
from evmbilling.errors import ConfigurationError, PluginError
from evmbilling.factory import BillingEngine
from evmbilling.ports.network_guard import no_network
from evmbilling.ports.notifier import PermanentFailure
from evmbilling.settings import BillingSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PAID = {
    "user_id": "u1",
    "ledger_id": "0190c5a0",
    "product": "saas",
    "plan": "pro",
    "network": "fake",
    "symbol": "USDC",
    "decimals": 6,
    "amount": "19990000",
}


def event(type_=EventType.PAYMENT_CONFIRMED, *, user="u1", aggregate=None, **data):
    return Event(
        event_id="0190c5a0-0000-7000-8000-000000000001",
        type=type_,
        aggregate=aggregate or f"customer:{user}",
        seq=1,
        occurred_at=NOW,
        recorded_at=NOW,
        data=PAID | {"user_id": user} | data,
    )


class Outbox:
    """A transport that keeps messages."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(email.message_from_bytes(message.as_bytes(), policy=email.policy.default))


class Book:
    """A host's contacts."""

    def __init__(self, **addresses):
        self.addresses = addresses

    def email(self, user_id):
        return self.addresses.get(user_id)


def notifier(outbox=None, **over):
    fields = {"transport": outbox or Outbox(), "sender": "billing@shop.example", "contacts": Book(u1="a@b.example")}
    return EmailNotifier(**fields | over)


class Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a test needs."""

    timeout = 5

    def handle(self):
        self.say("220 test")
        while line := self.rfile.readline(4096):
            verb = line.decode().strip().upper().partition(" ")[0].partition(":")[0]
            if verb == "DATA":
                self.say("354 go on")
                body = b""
                while (part := self.rfile.readline(4096)) not in (b".\r\n", b""):
                    body += part
                self.server.got.append(body)
            if verb == "QUIT":
                self.say("221 bye")
                return
            self.say(self.server.answers.get(verb, "250 ok"))

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def smtp_server(**answers):
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Smtp) as server:
        server.got, server.answers = [], answers
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def transport(server, **over):
    return SmtpTransport(**{"host": "127.0.0.1", "port": server.server_address[1], "security": "none"} | over)


def test_a_message_arrives_at_a_mail_server():
    with smtp_server() as server:
        told = notifier(transport(server), locale_of=lambda _: "ru-RU")
        told.notify(event())
        told.notify(event())
        first, second = (email.message_from_bytes(raw, policy=email.policy.default) for raw in server.got)
    assert first["to"] == "a@b.example"
    assert first["from"] == "billing@shop.example"
    assert first["subject"] == "Платёж получен"
    assert "19.99 USDC" in first.get_content()
    assert first["message-id"] == second["message-id"]
    assert first["auto-submitted"] == "auto-generated"
    assert first["date"].datetime == NOW


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"RCPT": "550 no such user"}, PermanentFailure),
        ({"RCPT": "450 try later"}, smtplib.SMTPRecipientsRefused),
        ({"MAIL": "451 busy"}, smtplib.SMTPSenderRefused),
        ({"DATA": "554 no"}, smtplib.SMTPDataError),
    ],
)
def test_what_a_mail_server_refuses_is_not_lost(answers, error):
    with smtp_server(**answers) as server, pytest.raises(error):
        notifier(transport(server)).notify(event())


def test_a_server_that_cannot_encrypt_gets_nothing():
    with smtp_server() as server, pytest.raises(smtplib.SMTPNotSupportedError):
        notifier(transport(server, security="starttls")).notify(event())
    assert server.got == []


def test_nothing_is_sent_inside_a_transaction():
    with no_network(), pytest.raises(RuntimeError):
        transport(attrs.make_class("S", ["server_address"])(("", 1))).send(None)


MEMBERSHIP = {
    "refund_id": "r1",
    "subscription_id": "s1",
    "contract": "0x3",
    "token_id": "7",
    "burn": "due",
    "tx_hash": "0x1",
}
CONFLICT = {
    "source": "relay",
    "webhook_id": "m" * 255,
    "received_at": NOW.isoformat(),
    "first_tx_hash": "0x1",
    "other_tx_hash": "0x2",
}
TOLD = {
    "paid": event(),
    "due": event(EventType.PAYMENT_DUE, due_at="2026-02-28T12:00:12+00:00", days=-3),
    "overdue": event(EventType.SUBSCRIPTION_PAST_DUE, subscription_id="s1", due_at="2026-02-28T12:00:12+00:00"),
    "suspended": event(EventType.SUBSCRIPTION_SUSPENDED, subscription_id="s1", due_at="2026-02-28T12:00:12+00:00"),
    "ended": event(EventType.SUBSCRIPTION_ENDED, subscription_id="s1", reason="period_end"),
    "charge_failed": event(EventType.PAYMENT_FAILED, reason="balance", attempt=2),
    "failed": event(
        EventType.PAYMENT_UNMATCHED, received="5", reason="late", allocation="credit", tx_hash="0x1", receipt_id="r"
    ),
    "unclaimed": event(
        EventType.PAYMENT_UNCLAIMED,
        aggregate="receipt:r",
        received="5",
        reason="unknown_payer",
        payer="0x2",
        tx_hash="0x1",
        receipt_id="r",
    ),
    "reversed": event(EventType.PAYMENT_REVERSED),
    "refunded": event(EventType.REFUND_DONE, aggregate="refund:r1", refund_id="r1", address="0x2", tx_hash="0x1"),
    "membership_ended": event(EventType.MEMBERSHIP_ENDED, **MEMBERSHIP),
    "burned": event(EventType.MEMBERSHIP_BURNED, **MEMBERSHIP),
    "burn_reversed": event(EventType.MEMBERSHIP_BURN_REVERSED, **MEMBERSHIP),
    "conflict": event(EventType.WEBHOOK_CONFLICTED, aggregate="webhook:relay:m", **CONFLICT),
    "halted": event(
        EventType.NETWORK_HALTED, aggregate="network:fake", chain_id=1, at_block=5, reason="deep_reorganisation"
    ),
    "clock": event(
        EventType.SCHEDULER_HALTED, aggregate="scheduler:2026-01-31", reason="clock_ahead", clock="x", database="y"
    ),
}


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("audience", ["user", "ops"])
@pytest.mark.parametrize("kind", TOLD)
def test_every_kind_has_a_text_in_every_language(language, audience, kind):
    outbox = Outbox()
    told = notifier(
        outbox, audience=audience, recipients=["ops@shop.example"], locale_of=lambda _: language, ops_locale=language
    )
    told.notify(TOLD[kind])
    if audience == "user" and kind in OPS_ONLY:
        assert outbox.sent == []
        return
    (message,) = outbox.sent
    text = message["subject"] + message.get_content()
    assert bool(re.search(r"[\u0430-\u044f]", text)) == (language == "ru")
    assert not re.search(r"[{}]| - |: -", text)
    assert message["to"] == ("a@b.example" if audience == "user" else "ops@shop.example")


def test_both_languages_have_the_same_texts_with_the_same_names():
    def shape(language):
        return {
            (audience, kind): sorted({name for _, name, _, _ in string.Formatter().parse("".join(text)) if name})
            for audience, kinds in catalogue()[language].items()
            for kind, text in kinds.items()
        }

    assert shape("en") == shape("ru")
    assert {kind for _, kind in shape("en")} == set(KINDS.values()) == set(TOLD)


@pytest.mark.parametrize("locale", ["de", "", "xx-YY", "../../etc", "EN", "en_GB"])
def test_another_language_is_english(locale):
    assert text_for("user", "paid", locale) == text_for("user", "paid", "en")


@pytest.mark.parametrize(
    "texts",
    [
        {("user", "paid", "de"): ("Bezahlt", "{amount} {symbol}")},
        lambda audience, kind, locale: (
            ("Bezahlt", "{amount} {symbol}") if (audience, kind, locale) == ("user", "paid", "de") else None
        ),
    ],
)
def test_a_host_may_have_its_own_texts(texts):
    outbox = Outbox()
    told = notifier(outbox, texts=texts, locale_of=lambda _: "de-AT")
    told.notify(event())
    told.notify(TOLD["reversed"])
    assert outbox.sent[0]["subject"] == "Bezahlt"
    assert outbox.sent[0].get_content().strip() == "19.99 USDC"
    assert outbox.sent[1]["subject"] == "A payment was taken back by the network"


def test_amounts_are_shown_as_people_write_them_and_what_is_not_there_as_a_dash():
    assert fill("{amount}|{nothing}|{decimals}", event()) == "19.99|-|6"
    assert fill("{amount}", event(amount="1", decimals=18)) == "0.000000000000000001"
    assert fill("{amount}", event(amount="12", decimals=None)) == "12"
    assert fill("{limits}", event(limits={"a": 1})) == "-"


def test_moves_of_a_subscription_are_not_told_by_themselves():
    assert kind_of(event(EventType.SUBSCRIPTION_MOVED, after="active")) is None
    assert kind_of(event(EventType.ORDER_OPENED)) is None
    outbox = Outbox()
    notifier(outbox).notify(event(EventType.SUBSCRIPTION_MOVED, after="active"))
    assert outbox.sent == []


@pytest.mark.parametrize(("days", "kind"), [(-3, "due"), (-1, "due"), (0, "overdue"), (7, "overdue")])
def test_a_reminder_after_the_due_date_is_overdue(days, kind):
    assert kind_of(event(EventType.PAYMENT_DUE, days=days)) == kind


def test_one_who_wants_only_what_is_overdue_is_not_told_before():
    outbox = Outbox()
    told = notifier(outbox, kinds=["overdue"])
    for days in (-3, 3):
        told.notify(event(EventType.PAYMENT_DUE, days=days, due_at="2026-02-28T12:00:12+00:00"))
    assert [m["subject"] for m in outbox.sent] == ["A payment is overdue"]
    assert str(EventType.PAYMENT_DUE) in told.profile.events


def test_a_link_is_for_the_one_who_pays_and_its_line_goes_when_there_is_none():
    links = []
    outbox = Outbox()
    for audience, link in (("user", "https://shop.example/pay/x"), ("user", None), ("ops", "https://never")):
        told = notifier(
            outbox,
            audience=audience,
            recipients=["ops@shop.example"],
            pay_link_of=lambda ledger_id, link=link: links.append(ledger_id) or link,
        )
        told.notify(TOLD["due"])
    first, second, third = (m.get_content() for m in outbox.sent)
    assert "Pay here: https://shop.example/pay/x" in first
    assert "Pay here" not in second + third
    assert links == [TOLD["due"].data["ledger_id"]] * 2
    assert "2026-02-28 12:00 UTC" in first


def test_a_user_without_an_address_is_not_told():
    outbox = Outbox()
    notifier(outbox, contacts=Book()).notify(event())
    notifier(outbox, contacts=None).notify(event())
    assert outbox.sent == []


def test_a_refund_of_nobodys_money_is_told_to_ops_alone():
    outbox = Outbox()
    nobodys = event(EventType.REFUND_DONE, aggregate="refund:r1", refund_id="r1")
    nobodys = attrs.evolve(nobodys, data=nobodys.data | {"user_id": None})
    notifier(outbox).notify(nobodys)
    assert outbox.sent == []
    notifier(outbox, audience="ops", recipients=["ops@shop.example"]).notify(nobodys)
    assert len(outbox.sent) == 1


def test_kinds_can_be_chosen():
    assert notifier(kinds=["paid", "halted"]).profile.events == {
        str(EventType.PAYMENT_CONFIRMED),
        str(EventType.NETWORK_HALTED),
    }


@pytest.mark.fault("O23")
@given(users=st.lists(st.sampled_from(["u1", "u2", "u3", "u1@u2"]), min_size=1, max_size=8))
def test_o23_a_message_goes_to_the_user_of_its_own_event(users):
    outbox = Outbox()
    book = Book(**{"u1": "one@x.example", "u2": "two@x.example", "u1@u2": "both@x.example"})
    told = notifier(outbox, contacts=book)
    for user in users:
        told.notify(event(user=user, plan=f"plan-of-{user}"))
    expected = [(book.email(user), f"plan-of-{user}") for user in users if book.email(user)]
    assert [(m["to"], m.get_content().partition("(")[2].partition(")")[0]) for m in outbox.sent] == expected


@pytest.mark.fault("O23")
@pytest.mark.parametrize(
    ("aggregate", "user"),
    [("customer:u1", "u2"), ("network:u1", "u1"), ("customer:", ""), ("u1", "u1"), ("customer:u1", None)],
)
def test_o23_an_event_that_names_two_users_is_told_to_nobody(aggregate, user):
    outbox = Outbox()
    mixed = attrs.evolve(event(aggregate=aggregate), data=PAID | {"user_id": user, "refund_id": "r1"})
    with pytest.raises(PermanentFailure):
        notifier(outbox).notify(mixed)
    with pytest.raises(PermanentFailure):
        user_of(mixed)
    assert outbox.sent == []


@pytest.mark.parametrize(
    "bad",
    [
        "a@b.example\r\nBcc: evil@x.example",
        "a@b.example, evil@x.example",
        "a@b.example;evil@x.example",
        "Evil <a@b.example>",
        "a b@b.example",
        "a@b@c.example",
        "a@",
        "@b.example",
        "",
        "ä@b.example",
        "a@b..example",
        'a"@b.example',
        "a" * 65 + "@b.example",
        None,
        7,
    ],
)
def test_an_address_that_could_forge_a_header_is_refused(bad):
    outbox = Outbox()
    with pytest.raises(PermanentFailure):
        parse_recipient(bad)
    if bad is not None:
        with pytest.raises(PermanentFailure):
            notifier(outbox, contacts=Book(u1=bad)).notify(event())
    assert outbox.sent == []


@pytest.mark.parametrize("product", ["x\r\nBcc: evil@x.example", "x\n\nhello", "x\x00", "x" * 300, "x\u2028y"])
def test_a_subject_that_could_forge_a_header_is_refused(product):
    outbox = Outbox()
    texts = {("user", "paid", "en"): ("Paid: {product}", "thanks")}
    with pytest.raises(PermanentFailure):
        notifier(outbox, texts=texts).notify(event(product=product))
    assert outbox.sent == []


def test_a_host_text_cannot_reach_behind_the_values():
    outbox = Outbox()
    with pytest.raises((AttributeError, KeyError, ValueError)):
        notifier(outbox, texts={("user", "paid", "en"): ("{plan.nothing}", "")}).notify(event())
    assert outbox.sent == []


# --- people and reversals ---------------------------------------------------------------------------------------


def people(shop, **profile):
    """The shop's engine with one notifier that people read and one that systems read."""
    person, system = Recorder(quiet=QUIET, **profile), Recorder()
    ports = attrs.evolve(shop.engine._ports, notifiers={"person": person, "system": system})
    return Engine(ports), person, system


def short(recorder):
    names = [e.type.removeprefix("billing.").removesuffix(".v1") for e in recorder.told]
    return [name for name in names if name in ("payment.confirmed", "payment.reversed")]


def restore(shop, order):
    (receipt,) = shop.receipts(order)
    shop.chain.resend(receipt.identity.tx_hash)
    shop.mine(3)


def test_people_hear_of_a_reversal_that_lasts(shop):
    engine, person, system = people(shop)
    order = shop.checkout()
    shop.pay(order)
    shop.reorganise(3)
    engine.dispatch()
    assert short(system) == ["payment.confirmed", "payment.reversed"]
    assert short(person) == ["payment.confirmed"]
    shop.clock.advance(QUIET - timedelta(seconds=1))
    engine.dispatch()
    assert short(person) == ["payment.confirmed"]
    shop.clock.advance(seconds=1)
    engine.dispatch()
    assert short(person) == ["payment.confirmed", "payment.reversed"]
    restore(shop, order)
    engine.dispatch()
    assert short(person) == ["payment.confirmed", "payment.reversed", "payment.confirmed"]


@pytest.mark.parametrize("limit", [1, 100])
def test_people_hear_nothing_of_a_reversal_that_is_undone_in_time(shop, limit):
    engine, person, system = people(shop)
    order = shop.checkout()
    shop.pay(order)
    engine.dispatch()
    shop.reorganise(3)
    engine.dispatch()
    restore(shop, order)
    engine.dispatch()
    shop.clock.advance(QUIET)
    reports = [engine.dispatch(limit=limit) for _ in range(30)]
    assert short(system) == ["payment.confirmed", "payment.reversed", "payment.confirmed"]
    assert short(person) == ["payment.confirmed"]
    assert sum(report.spared for report in reports) == 2
    with shop.storage.unit(write=False) as unit:
        spared = [d for d in unit.deliveries(limit=1000) if d.error == RESTORED]
    assert {(d.sink, d.state, d.attempts) for d in spared} == {("notifier:person", "done", 0)}


def test_seqs_reach_people_in_order_though_one_waits(shop):
    engine, person, _ = people(shop)
    shop.pay(shop.checkout())
    shop.reorganise(3)
    engine.dispatch()
    shop.pay(shop.checkout("k2", plan="site"))
    for _ in range(4):
        engine.dispatch()
        shop.clock.advance(QUIET)
    seqs = [e.seq for e in person.told]
    assert seqs == sorted(seqs)


@pytest.mark.fault("T15")
def test_t15_zero_transfers_tell_nobody_anything(shop):
    engine, person, system = people(shop)
    shop.checkout()
    engine.dispatch()
    person.told.clear()
    system.told.clear()
    for n in range(300):
        receiver = TREASURY if n % 2 else address("poisoner")
        shop.chain.transfer(TOKEN, address("wallet"), receiver, 0, nonce=n)
    shop.mine(3)
    assert engine.dispatch(limit=1000).handed_out == 0
    assert (person.told, system.told) == ([], [])
    assert shop.types() == ["order.opened"]


# --- settings ---------------------------------------------------------------------------------------------------


def settings(**over):
    fields = {
        "storage": "memory",
        "notifiers": ("email", "email_ops", "log"),
        "plugin_options": {
            "notifier.email": {"host": "127.0.0.1", "port": 25, "sender": "b@shop.example", "security": "none"},
            "notifier.email_ops": {
                "host": "127.0.0.1",
                "sender": "b@shop.example",
                "recipients": ["ops@shop.example"],
                "kinds": ["halted", "failed"],
                "locale": "ru",
            },
        },
    }
    return BillingSettings(**fields | over)


def test_the_settings_build_the_notifiers_that_they_name():
    engine = BillingEngine.from_settings(settings(), contacts=Book(u1="a@b.example"))
    ports = engine._ports
    assert sorted(ports.notifiers) == ["email", "email_ops", "log"]
    assert ports.notifiers["email_ops"].profile.events == {KINDS_BY["failed"], KINDS_BY["halted"]}
    assert ports.notifiers["email"]._locale_of("nobody") == "en"
    assert ports.webhooks is not None
    engine.close()


KINDS_BY = {kind: str(type_) for type_, kind in KINDS.items()}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"host": "h", "sender": "Shop <b@shop.example>"}, ConfigurationError),
        ({"host": "h", "sender": "b@shop.example", "kinds": ["odd"]}, ConfigurationError),
        ({"host": "h"}, ConfigurationError),
        ({"host": "h", "sender": "b@shop.example", "password": "plain"}, Exception),
        ({"host": "h", "sender": "b@shop.example", "password": "env:NOT_SET_HERE"}, ConfigurationError),
    ],
)
def test_wrong_options_are_named(options, error):
    with pytest.raises(error) as caught:
        BillingEngine.from_settings(settings(plugin_options={"notifier.email": options}), contacts=Book())
    assert "plain" not in str(caught.value)


def test_email_without_contacts_is_said_at_the_start():
    with pytest.raises(PluginError, match="contacts"):
        BillingEngine.from_settings(settings())
