"""One installation whose every secret is a canary, used through every surface: none of them is seen on any."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "http"))

from http_hosts import HOSTS

from evmbilling import BillingEngine
from evmbilling.adapters.prometheus import PrometheusTelemetry
from evmbilling.cli.app import app
from evmbilling.cli.logs import JsonLines, PlainLines
from evmbilling.errors import BillingError
from evmbilling.integrations.http.api import TABLES
from evmbilling.integrations.metrics import metrics_page
from evmbilling.settings import BillingSettings
from evmbilling.testing.merchant import ADMIN, Merchant, anvil_merchant
from evmbilling.testing.rpc_breaks import HttpStatus
from evmbilling.testing.rpc_proxy import RpcProxy
from evmbilling.testing.wallet import Wallet
from evmbilling.working import Workers, chosen

NAMES = ("database", "secret", "seal", "webhook", "signer", "relayer", "rpc-key", "rpc-password", "reserve", "smtp")
DIGESTS = {name: hashlib.sha256(f"canary {name}".encode()).digest() for name in NAMES}
HOUSE = "house-" + DIGESTS["smtp"].hex()[:20]
"""What the host's own code says when it breaks."""


def word(name: str) -> str:
    return "canary" + DIGESTS[name].hex()[:24]


def base(name: str) -> str:
    return base64.b64encode(DIGESTS[name]).decode()


def needles() -> dict[str, tuple[str, ...]]:
    """Every spelling in which a secret would still be one; those that are one word are looked for as that word."""
    words = {name: (word(name),) for name in ("database", "rpc-key", "rpc-password", "reserve", "smtp")}
    keys = {
        name: (base(name), base(name).rstrip("="), DIGESTS[name].hex(), repr(DIGESTS[name])[2:-1])
        for name in NAMES
        if name not in words
    }
    return words | keys | {"house": (HOUSE,)}


@define
class Ears:
    """What every surface said, by its name."""

    said: dict[str, list[str]] = field(factory=dict)

    def hear(self, surface: str, *texts: object) -> None:
        self.said.setdefault(surface, []).extend(map(str, texts))

    def tried(self, surface: str, call: Callable[[], object]) -> None:
        """Keep what a call answers, or everything that a crash report could make of its error."""
        try:
            self.hear(surface, repr(call()))
        except BillingError as error:
            self.hear(surface, repr(error), error.details, "".join(traceback.format_exception(error)))

    def leaks(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for surface, texts in self.said.items():
            whole = "\n".join(texts).lower()
            names = {name for name, spelt in needles().items() if any(one.lower() in whole for one in spelt)}
            if names:
                found[surface] = names
        return found


@define
class Installation:
    """An engine as its settings make it, on PostgreSQL and Anvil."""

    engine: BillingEngine
    shop: Merchant
    settings: BillingSettings
    environment: Mapping[str, str]
    node: RpcProxy
    anvil: Any


@pytest.fixture
def house(databases, anvil, monkeypatch) -> Iterator[Installation]:
    with databases.lend("postgres") as url:
        yield from _installed(url, anvil, monkeypatch)


def _installed(given: str, anvil: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    plain = make_url(given)
    url = (plain.set(password=word("database")) if plain.password is None else plain).render_as_string(False)
    mail = {
        "host": "127.0.0.1",
        "port": 9,
        "security": "none",
        "username": "billing",
        "password": "env:SMTP_PASSWORD",
        "sender": "billing@shop.example",
        "recipients": ["ops@shop.example"],
    }
    with RpcProxy(anvil.url) as node:
        place = node.url.removeprefix("http://").strip("/")
        rpc = f"http://user:{word('rpc-password')}@{place}/v2/{word('rpc-key')}"
        environment = {
            "BILLING_DATABASE_URL": url,
            "BILLING_SECRET_KEY": base("secret"),
            "BILLING_SEAL_KEY": base("seal"),
            "BILLING_WEBHOOK_SECRET": "whsec_" + base("webhook"),
            "BILLING_NOTIFIERS": "log,email_ops",
            "BILLING_PLUGIN_OPTIONS": json.dumps({"notifier.email_ops": mail}),
            "BILLING_RPC_CONFIG": json.dumps(
                {"dark": {"chain_id": 31399, "rpc": ["env:DARK_RPC"], "testnet": True, "credit_after": "depth 3",
                          "irreversible_after": "depth 20", "start_block": 0}}
            ),
            "DARK_RPC": f"http://127.0.0.1:9/v2/{word('reserve')}",
            "SMTP_PASSWORD": word("smtp"),
            "RELAYER_KEY": "0x" + DIGESTS["relayer"].hex(),
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = BillingSettings()
        engine = BillingEngine.from_settings(settings, telemetry=PrometheusTelemetry(), buyer=_broken)
        shop = anvil_merchant(engine, anvil, signer_key="0x" + DIGESTS["signer"].hex(), rpc_url=rpc)
        admin = engine.admin(ADMIN)
        admin.update_gateway("main", version=1, relayer="env:RELAYER_KEY")
        admin.update_contract("checkout", "local", version=1, webhook_secret="whsec_" + base("webhook"))
        yield Installation(engine, shop, settings, environment, node, anvil)
        engine.close()


def _broken(user: str) -> str:
    """A callable of the host that repeats what it knows of a customer when it breaks."""
    raise RuntimeError(f"{HOUSE}: cannot reach the register about {user}")


@contextmanager
def listening(ears: Ears) -> Iterator[None]:
    """Hear everything that is logged, by anybody, as each formatter of ours and Python's own write it."""
    formatters = {"json log": JsonLines(), "plain log": PlainLines(), "python log": logging.Formatter("%(message)s")}
    streams = {name: io.StringIO() for name in formatters}
    root, before = logging.getLogger(), logging.getLogger().level
    handlers = []
    for name, formatter in formatters.items():
        handler = logging.StreamHandler(streams[name])
        handler.setFormatter(formatter)
        handlers.append(handler)
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
        for name, stream in streams.items():
            ears.hear(name, stream.getvalue())


def pay(house: Installation) -> None:
    account = house.anvil.accounts[1]
    offer = house.shop.checkout("user-1", wallet=account.address, asset="ETH")
    Wallet(account.key, house.anvil.url).pay(house.engine.pay_instructions(offer.ledger_id))
    house.anvil.mine(25)


def work(house: Installation, ears: Ears) -> None:
    engine = house.engine
    made = Workers(
        engine, chosen(engine), now=engine.watch.now, networks=lambda: [n.network for n in engine.networks_health()]
    )
    ears.hear("worker", json.dumps(made.once().as_document()))


def use_engine(house: Installation, ears: Ears) -> None:
    engine, admin = house.engine, house.engine.admin(ADMIN)
    ears.hear("objects", repr(house.settings), repr(engine), repr(engine._ports), repr(vars(engine)), repr(admin))
    ears.hear("objects", repr(admin.networks()), repr(admin.gateways()), repr(admin.contracts()))
    ears.hear("events", [(e.type, e.aggregate, e.data) for e in admin.events(limit=1000)])
    ears.hear("audit", [(e.action, e.object, e.changes) for e in admin.audit(limit=1000)])
    ears.hear("deliveries", repr(engine.deliveries(ADMIN).list()), repr(engine.endpoints(ADMIN).list()))
    ears.hear("health", repr(engine.networks_health()), repr(engine.watch.figures()))
    ears.hear("metrics", metrics_page(engine).body.decode())
    ears.tried("errors", lambda: engine.read_chain("dark"))
    ears.tried("errors", lambda: engine.admin(ADMIN).update_gateway("main", version=9, signer="0x" + "1"))
    ears.tried("errors", engine.verify)
    house.node.add(HttpStatus(403, f"no such key {word('rpc-key')} of {word('rpc-password')}".encode()))
    ears.tried("errors", lambda: engine.read_chain("local"))
    ears.hear("health", repr(engine.networks_health()))
    house.node.heal()


def use_hosts(house: Installation, ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mount in HOSTS.items():
        host = mount(house.engine)
        paths = [route.path for table in TABLES for route in table.routes if route.method == "GET"]
        for path in [*paths, "/openapi.json"]:
            for user, roles in ((None, ""), ("user-1", ""), ("admin-1", "billing_admin,finance_ops")):
                whole = path.replace("{name}", "local").replace("{slug}", "main").replace("{user_id}", "user-1")
                reply = host.ask("GET", whole, user=user, roles=roles)
                ears.hear(name, reply.headers, reply.body.decode())
        given = {"name": "more", "chain_id": 7, "rpc_urls": [f"ftp://x/{word('rpc-key')}"], "testnet": True}
        refused = host.ask("POST", "/admin/networks", user="a", roles="billing_admin", json=given)
        assert refused.status == 422
        forged = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
        unsigned = host.ask("POST", "/contracts/webhook", json={"chain_id": 1}, headers=forged)
        ears.hear(name, refused.body.decode(), unsigned.body.decode())
        with monkeypatch.context() as broken:
            broken.setattr(type(house.engine), "plans", lambda *_, **__: _broken("user-1"))
            reply = host.ask("GET", "/plans")
        assert reply.status == 500
        ears.hear(name, reply.body.decode())


COMMANDS = (
    "worker --once",
    "doctor",
    "audit",
    "deadletters list",
    "plugins list",
    "reader status",
    "overview",
    "verify",
    "db check",
    "reader backfill dark --wait 0",
    "reader resume local --accept 0x00",
)


IN_WORDS = ("worker --once", "doctor", "verify")


def use_commands(house: Installation, ears: Ears) -> None:
    runner = CliRunner(env={**house.environment, "COLUMNS": "200"})
    for command in COMMANDS:
        words = [command.split()] if command in IN_WORDS else []
        for arguments in (*words, [*command.split(), "--json"]):
            answer = runner.invoke(app, arguments)
            assert answer.exception is None or isinstance(answer.exception, SystemExit), command
            ears.hear("commands", answer.stdout, answer.stderr)
    elsewhere = make_url(house.environment["BILLING_DATABASE_URL"]).set(host="127.0.0.1", port=9)
    away = runner.invoke(app, ["doctor"], env={"BILLING_DATABASE_URL": elsewhere.render_as_string(False)})
    ears.hear("commands", away.stdout, away.stderr)


@pytest.mark.fault("G01")
@pytest.mark.fault("G03")
def test_g01_g03_no_secret_and_no_word_of_a_broken_callable_is_seen_on_any_surface(house, monkeypatch) -> None:
    ears = Ears()
    with listening(ears):
        house.engine.endpoints(ADMIN).create(url="https://receiver.invalid/hook")
        pay(house)
        work(house, ears)
        use_engine(house, ears)
        use_hosts(house, ears, monkeypatch)
    use_commands(house, ears)
    heard = {name: "\n".join(texts) for name, texts in ears.said.items()}
    assert ears.leaks() == {}
    # It was all there to be leaked: the money came in, and every broken thing was met.
    assert house.engine.access("user-1").allowed
    assert "rpc_unknown" in heard["worker"] + heard["errors"]
    assert "http_status" in heard["health"] or "closed" in heard["health"]
    assert "billing.payment.confirmed.v1" in heard["events"]
    assert "what stands on receipts about a buyer is not known" in heard["json log"]
    assert "request failed: RuntimeError" in heard["python log"]
    assert 'evmbilling_deliveries_total{outcome="failed",sink="email_ops"}' in heard["metrics"]
    assert heard["fastapi"].count("networks") == heard["flask"].count("networks") > 0
    with suppress(BillingError):
        url = house.engine._ports.secrets.reveal(house.engine.admin(ADMIN).networks()[-1].rpc_urls[0])
        assert word("rpc-key") in url


def test_the_ears_hear() -> None:
    """A leak in any spelling is found."""
    for name, spelt in needles().items():
        for one in spelt:
            ears = Ears()
            ears.hear("somewhere", f"x{one.upper() if one.isalnum() else one}y")
            assert name in ears.leaks()["somewhere"]
