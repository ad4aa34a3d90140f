"""A shop on Anvil whose pages two real servers serve, and people with wallets in a real browser."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Literal

import uvicorn
from attrs import define, field
from fastapi import FastAPI
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from evmbilling import Actor, Checkout, Role
from evmbilling.errors import RpcRefused
from evmbilling.factory import BillingEngine
from evmbilling.integrations.fastapi import FastApiBilling
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.integrations.http.options import Options
from evmbilling.testing.accounts import DevAccount
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.drain import drain
from evmbilling.testing.keys import address_of, sign_text, sign_typed_data
from evmbilling.testing.merchant import (
    ADMIN,
    SIGNER_KEY,
    Merchant,
    anvil_merchant,
    plan_fields,
    repeatable_secrets,
    wallet_of,
)
from evmbilling.testing.tools import npm_install
from sampling import EVERYTHING

SCRIPT = Path(__file__).with_name("injected_wallet.js")
SHORT_TTL = 30
"""Seconds that offers of the plan ``brief`` stay payable."""
PLENTY = 10**12
AXE = "4.14.1"
POLL = "document.dispatchEvent(new Event('visibilitychange'))"
PATIENCE_MS = 60_000
"""How long a window is waited for: a machine with much else to do is slow, and nothing waits longer than it has to."""
expect.set_options(timeout=PATIENCE_MS)
LANGUAGES = {"en": "en-GB", "ru": "ru-RU"}


@cache
def _axe() -> str:
    library = npm_install([f"axe-core@{AXE}"], name=f"axe-core-{AXE}") / "node_modules" / "axe-core" / "axe.min.js"
    return library.read_text("utf-8")


class ShiftedClock:
    """The present, and a little more."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


def identity(request: Any) -> Actor | None:
    """Who the test says it is."""
    user = request.headers.get("x-user")
    roles = request.headers.get("x-roles") or ""
    return None if user is None else Actor(user, frozenset(Role(word) for word in roles.split(",") if word))


@define
class Shop:
    """A merchant on a node of its own."""

    merchant: Merchant
    node: AnvilNode
    clock: ShiftedClock
    _people: Iterator[int] = field(factory=lambda: count(1))

    @property
    def engine(self) -> BillingEngine:
        return self.merchant.engine

    def somebody(self, *, tokens: int = PLENTY) -> str:
        """A new user whose wallet holds coins, and tokens when it is given some."""
        user_id = f"user-{next(self._people)}"
        wallet = wallet_of(user_id)
        self.node.rpc("anvil_impersonateAccount", wallet)
        self.node.rpc("anvil_setBalance", wallet, hex(10**20))
        if tokens:
            self.fund(wallet, tokens)
        return user_id

    def sell(self, user_id: str, **changes: Any) -> tuple[Checkout, str]:
        """An order, and the token of its pay link."""
        offer = self.merchant.checkout(user_id, **changes)
        return offer, self.engine.issue_pay_link(offer.ledger_id).token

    def fund(self, wallet: str, tokens: int = PLENTY) -> None:
        """Give a wallet tokens."""
        token = Deployed(name="TestToken", address=self.merchant.token.token, block=0)
        transact(self.node, token, "mint", wallet, tokens, sender=self.node.accounts[0].address)

    def proved(self, user_id: str) -> DevAccount:
        """A wallet with money whose key is known, and which its user has proved."""
        key = "0x" + hashlib.sha256(f"key of {user_id}".encode()).hexdigest()
        account = DevAccount(address=address_of(key), key=key)
        self.node.rpc("anvil_impersonateAccount", account.address)
        self.node.rpc("anvil_setBalance", account.address, hex(10**20))
        self.fund(account.address)
        asked = self.engine.wallet_challenge(
            user_id=user_id, wallet=account.address, network="local", domain="shop.example", uri="https://shop.example/"
        )
        signature = sign_text(account.key, asked.message)
        self.engine.confirm_wallet(user_id=user_id, nonce=asked.nonce, signature=signature)
        return account

    def settle(self, blocks: int = 1) -> None:
        """Mine, and work until nothing changes any more."""
        self.node.mine(blocks)
        drain(self.engine)

    def pass_time(self, seconds: int) -> None:
        """Let clock and chain go forward."""
        self.clock.by += timedelta(seconds=seconds)
        self.node.set_next_timestamp(int(self.clock.now().timestamp()) + 1)
        self.settle()


@contextmanager
def open_shop(databases: Any, notifiers: Mapping[str, Any] | None = None) -> Iterator[Shop]:
    """A shop over SQLite on a new chain."""
    with ExitStack() as stack:
        node = stack.enter_context(AnvilNode())
        clock = ShiftedClock()
        storage = stack.enter_context(databases.open("sqlite", clock))
        engine = BillingEngine(
            storage=storage, clock=clock, secrets=repeatable_secrets(), notifiers=dict(notifiers or {})
        )
        stack.callback(lambda: [provider.close() for provider in engine._ports.providers.values()])
        merchant = anvil_merchant(engine, node)
        admin = engine.admin(ADMIN)
        network = admin.networks()[0]
        admin.update_network("local", version=network.version, explorer_url="https://explorer.example")
        admin.create_gateway(
            slug="brief",
            networks=["local"],
            signer=SIGNER_KEY,
            treasuries={"local": merchant.treasury},
            order_ttl=SHORT_TTL,
        )
        admin.create_plan(**plan_fields(merchant, "brief", name="Brief", product="brief", gateway_slug="brief"))
        yield Shop(merchant, node, clock)


@contextmanager
def serving(name: str, engine: BillingEngine) -> Iterator[str]:
    """Serve an engine's API and pages; the origin is what is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options = Options(public_url=origin, shop_name="Aurora Books")
        run, stop = SERVERS[name](engine, options, listening)
        thread = threading.Thread(target=run, name=f"server-{name}", daemon=True)
        thread.start()
        try:
            yield origin
        finally:
            stop()
            thread.join(10)


def _fastapi(engine: BillingEngine, options: Options, listening: socket.socket) -> tuple[Any, Any]:
    billing = FastApiBilling(engine, identity=identity, options=options, pages=True, close=False)
    app = FastAPI(lifespan=billing.lifespan)
    app.include_router(billing.router)
    app.include_router(billing.pages)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", access_log=False))

    def stop() -> None:
        server.should_exit = True

    return lambda: server.run(sockets=[listening]), stop


def _flask(engine: BillingEngine, options: Options, listening: socket.socket) -> tuple[Any, Any]:
    app = Flask("shop")
    FlaskBilling(engine, identity=identity, options=options, pages=True).init_app(app)
    server = make_server("127.0.0.1", 0, app, threaded=True, fd=listening.fileno())
    server.log = lambda *_: None  # type: ignore[method-assign]  # not a line for every request
    return server.serve_forever, server.shutdown


SERVERS: dict[str, Callable[..., tuple[Any, Any]]] = {"fastapi": _fastapi, "flask": _flask}


class InjectedWallet:
    """What the wallet in a page answers: it sends from an unlocked account of the node."""

    def __init__(self, node: AnvilNode, address: str) -> None:
        self.node = node
        self.accounts = [address]
        self.chain_id = node.chain_id
        self.knows = {node.chain_id}
        self.refuses: dict[str, int] = {}
        self.sent: list[str] = []
        self.keys: dict[str, str] = {}
        self.connected = False
        self.gas: int | None = None
        self.page: Page | None = None

    def answer(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method in self.refuses:
            return {"error": {"code": self.refuses[method], "message": f"no {method}"}}
        try:
            return {"result": self._result(method, params)}
        except RpcRefused as refused:
            return {"error": {"code": refused.details.get("rpc_code"), "message": refused.message}}

    def _result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_requestAccounts" | "eth_accounts":
                self.connected = self.connected or method == "eth_requestAccounts"
                return self.accounts if self.connected else []
            case "eth_chainId":
                return hex(self.chain_id)
            case "wallet_switchEthereumChain":
                self._switch(int(params[0]["chainId"], 16))
                return None
            case "eth_signTypedData_v4":
                return "0x" + sign_typed_data(self.keys[params[0]], json.loads(params[1])).hex()
            case "eth_sendTransaction":
                return self._send(params[0])
            case _:
                return self.node.rpc(method, *params)

    def _switch(self, chain_id: int) -> None:
        if chain_id not in self.knows:
            raise RpcRefused("unrecognised chain", rpc_code=4902)
        self.chain_id = chain_id

    def _send(self, call: dict[str, Any]) -> str:
        assert self.chain_id == int(call["chainId"], 16), "a wallet sends on its own chain alone"
        limit = {} if self.gas is None else {"gas": hex(self.gas)}
        self.sent.append(self.node.send({key: value for key, value in call.items() if key != "chainId"} | limit))
        return self.sent[-1]

    def hold(self, account: DevAccount) -> None:
        """Hold this account alone, and its key."""
        self.accounts, self.keys = [account.address], {account.address: account.key}

    def tell(self, name: str, value: Any) -> None:
        assert self.page is not None
        self.page.evaluate("([name, value]) => window.walletTells(name, value)", [name, value])

    def choose(self, *accounts: str) -> None:
        self.accounts = list(accounts)
        self.tell("accountsChanged", self.accounts)


@define
class Visit:
    """Somebody before the checkout page."""

    page: Page
    wallet: InjectedWallet
    origin: str
    asked: list[str] = field(factory=list)
    complaints: list[str] = field(factory=list)
    expected: list[str] = field(factory=list)

    def listen(self) -> None:
        """Hear what the window asks for and complains of."""
        self.wallet.page = self.page
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open_another(self) -> None:
        """Close the tab, and open an empty one in the same browser."""
        closed, self.page = self.page, self.page.context.new_page()
        closed.close()
        self.listen()

    def open(self, token: str) -> None:
        self.page.goto(f"{self.origin}/billing/pay/{token}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def connect(self) -> None:
        self.press("Connect Test Wallet")

    def look(self) -> None:
        """Let the page look now, as it does every two seconds."""
        self.page.evaluate(POLL)

    def sees(self, text: str) -> None:
        expect(self.page.locator("#status")).to_have_text(text)

    def reads(self, text: str) -> None:
        expect(self.page.locator("#problem").filter(visible=True)).to_contain_text(text)

    def is_quiet(self) -> None:
        expect(self.page.locator("#problem")).to_be_hidden()

    def keeps(self, folder: Path, name: str) -> None:
        """Keep what is seen, for people to look at, in the whole run; nothing is beside the window."""
        if EVERYTHING:
            self.page.screenshot(path=folder / f"{name}.png", full_page=True)
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.page.viewport_size["width"]

    def has_no_barriers(self) -> None:
        """Names, labels, contrast and structure are what WCAG 2.2 AA asks, as far as a program can tell (axe-core)."""
        self.page.evaluate(_axe())
        found = self.page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
        assert not found, [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]

    def check(self) -> None:
        """Nothing was asked of anybody else, and the browser had nothing to complain of."""
        assert [url for url in self.asked if not url.startswith(self.origin + "/")] == []
        assert [text for text in self.complaints if not any(part in text for part in self.expected)] == []


@contextmanager
def visiting(
    browser: Browser,
    origin: str,
    wallet: InjectedWallet,
    *,
    language: str = "en",
    scheme: str = "light",
    width: int = 360,
    injected: Literal["announced", "older", "none"] = "announced",
    headers: dict[str, str] | None = None,
) -> Iterator[Visit]:
    """Open a browser's window of one's own, with a wallet in it."""
    context = browser.new_context(
        locale=LANGUAGES[language],
        color_scheme=scheme,  # type: ignore[arg-type]  # one of the two words
        viewport={"width": width, "height": 740},
        extra_http_headers=headers or {},
    )
    try:
        context.set_default_timeout(PATIENCE_MS)
        context.expose_function("walletAsked", wallet.answer)
        context.add_init_script(f"window.olderWallet = {str(injected == 'older').lower()}")
        if injected != "none":
            context.add_init_script(path=SCRIPT)
        visit = Visit(context.new_page(), wallet, origin)
        visit.listen()
        yield visit
        visit.check()
    finally:
        context.close()
