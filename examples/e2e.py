"""The whole path against the URL of a running shop: sign in, check out, pay, wait, see access open.

``python examples/e2e.py http://127.0.0.1:8000 --rpc http://127.0.0.1:8545``

The wallet is an account of the local chain whose key everybody knows; for another chain, name a key in WALLET_KEY.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
import time
from http import HTTPStatus
from typing import Any

import urllib3

from evmbilling import WalletPayload
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.wallet import Wallet

API = "/v1/billing"
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.25


class Browser:
    """Keeps cookies, as a browser does."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.rstrip("/")
        self._http = urllib3.PoolManager(timeout=20, retries=False)
        self._cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, **sent: Any) -> urllib3.BaseHTTPResponse:
        """Send a request; anything but success is the end."""
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items())} | sent.pop("headers", {})
        reply = self._http.request(method, self._origin + path, headers=headers, redirect=False, **sent)
        for cookie in reply.headers.getlist("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        if reply.status >= HTTPStatus.BAD_REQUEST:
            sys.exit(f"{method} {path}: {reply.status} {reply.data.decode()[:500]}")
        return reply

    def sign_in(self, name: str) -> None:
        """Fill in the shop's form."""
        page = self.ask("GET", "/").data.decode()
        token = re.search(r'name="form" value="([^"]+)"', page)
        fields = {"form": token[1] if token else "", "name": name, "password": secrets.token_hex()}
        self.ask("POST", "/login", fields=fields, encode_multipart=False)


def payload_of(shown: dict[str, str]) -> WalletPayload:
    """Return a transaction of the API as a wallet takes it."""
    return WalletPayload(
        chain_id=int(shown["chainId"], 16),
        to=shown["to"],
        value=int(shown["value"], 16),
        data=bytes.fromhex(shown["data"][2:]),
        gas=int(shown["gas"], 16),
    )


def main() -> None:
    """Walk the path."""
    parser = argparse.ArgumentParser(description="Buy in a running shop, over HTTP and on its chain.")
    parser.add_argument("origin")
    parser.add_argument("--rpc", required=True, help="a node of the chain on which the shop sells")
    given = parser.parse_args()
    wallet = Wallet(os.environ.get("WALLET_KEY", DEV_ACCOUNTS[2].key), given.rpc)
    browser, user = Browser(given.origin), "e2e" + secrets.token_hex(4)
    browser.sign_in(user)
    (plan, *_) = browser.ask("GET", f"{API}/plans").json()["plans"]
    body = {"plan": plan["slug"], "wallet": wallet.address}
    headers = {"Idempotency-Key": secrets.token_hex()}
    offer = browser.ask("POST", f"{API}/checkout", json=body, headers=headers).json()
    again = browser.ask("POST", f"{API}/checkout", json=body, headers=headers).json()
    check("the same request is the same order", again["ledger_id"] == offer["ledger_id"])
    check("no access before it is paid", not allowed(browser, plan["product"]))
    for shown in (offer["approval"], offer["payload"]):
        if shown is not None:
            wallet.wait(wallet.send(payload_of(shown)), timeout=PATIENCE_SECONDS)
    print("paid; waiting for confirmations")
    seen = follow(browser, offer["ledger_id"])
    check("confirmed", seen["status"] in ("confirmed", "final"))
    check("access is open", allowed(browser, plan["product"]))
    newest = browser.ask("GET", f"{API}/history").json()["orders"][0]
    check("in the history, with its transaction", newest["tx_hash"] == seen["tx_hash"] is not None)


def follow(browser: Browser, ledger_id: str) -> dict[str, Any]:
    """Look until nothing is left to wait for."""
    until, told = time.monotonic() + PATIENCE_SECONDS, ""
    while True:
        seen: dict[str, Any] = browser.ask("GET", f"{API}/checkout/{ledger_id}").json()
        have, needed = seen["confirmations"]["have"], seen["confirmations"]["needed"]
        now = f"{seen['status']}: {have} of {needed}"
        if now != told:
            print(now)
            told = now
        if seen["next"] == "done" or time.monotonic() > until:
            return seen
        time.sleep(POLL_SECONDS)


def allowed(browser: Browser, product: str) -> bool:
    """Whether the user may use what was bought."""
    return bool(browser.ask("GET", f"{API}/me/access?product={product}").json()["allowed"])


def check(what: str, holds: bool) -> None:
    """Say what holds; what does not is the end."""
    if not holds:
        sys.exit(f"NOT: {what}")
    print(f"ok: {what}")


if __name__ == "__main__":
    main()
