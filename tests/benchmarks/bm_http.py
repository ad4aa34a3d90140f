"""Clients that ask a server over and over, each on a connection of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from statistics import median
from typing import Any

from attrs import frozen
from bm_served import SECRET

from evmbilling.domain.messages.standard_webhooks import sign
from evmbilling.testing.merchant import wallet_of

API = "/v1/billing"
CLIENTS = 4
BUYER = "buyer"
Asked = tuple[str, str, dict[str, str], bytes | None]
"""Method, path, headers, body."""


@frozen
class Turn:
    """How a route did in one round."""

    per_second: float
    p95_ms: float


@frozen(kw_only=True)
class Result:
    """A route against the peer on the same server."""

    name: str
    per_second: float
    p95_ms: float
    ratio: float
    least: float
    greatest: float


class Asker:
    """One client."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, asked: Asked) -> tuple[int, bytes]:
        method, path, headers, body = asked
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def routes_of(order: str) -> dict[str, Callable[[str], Asked]]:
    """Return how each route is asked for the time that a mark names; the first is the peer."""
    user = {"X-User": BUYER}
    return {
        "SELECT and INSERT": lambda mark: ("POST", f"/peer/{BUYER}", {}, None),
        "checkout": _checkout,
        "status": lambda mark: ("GET", f"{API}/checkout/{order}", user, None),
        "history": lambda mark: ("GET", f"{API}/history?limit=20", user, None),
        "access": lambda mark: ("GET", f"{API}/me/access?product=api", user, None),
        "webhook": _webhook,
    }


def _checkout(mark: str) -> Asked:
    """A first checkout of a new customer."""
    user = f"new-{mark}"
    body = json.dumps({"plan": "pro", "wallet": wallet_of(user)}).encode()
    return (
        "POST",
        f"{API}/checkout",
        {"X-User": user, "Idempotency-Key": mark, "Content-Type": "application/json"},
        body,
    )


def _webhook(mark: str) -> Asked:
    at = int(time.time())
    body = json.dumps({"chain_id": 31337, "tx_hash": "0x" + mark.encode().hex().ljust(64, "0")[:64]}).encode()
    signature = sign([SECRET], message_id=mark, timestamp=at, body=body)
    headers = {"webhook-id": mark, "webhook-timestamp": str(at), "webhook-signature": signature}
    return "POST", f"{API}/contracts/webhook", {**headers, "Content-Type": "application/json"}, body


def buy_some(port: int, orders: int) -> str:
    """Give the buyer a history; return the newest order."""
    asker, newest = Asker(port), ""
    for number in range(orders):
        body = json.dumps({"plan": "pack", "wallet": wallet_of(BUYER)}).encode()
        headers = {"X-User": BUYER, "Idempotency-Key": f"h-{number}", "Content-Type": "application/json"}
        status, answer = asker.ask(("POST", f"{API}/checkout", headers, body))
        assert status == 201, answer
        newest = json.loads(answer)["ledger_id"]
    asker.close()
    return newest


def turn(port: int, make: Callable[[str], Asked], mark: str, asks: int) -> Turn:
    """Let all clients ask at once; every answer has to be a good one."""
    took: list[float] = []
    wrong: list[Any] = []
    ready = threading.Barrier(CLIENTS + 1)

    def client(number: int) -> None:
        asker = Asker(port)
        wanted = [make(f"{mark}-{number}-{n}") for n in range(asks)]
        ready.wait()
        for asked in wanted:
            started = time.perf_counter()
            status, answer = asker.ask(asked)
            took.append(time.perf_counter() - started)
            if status not in (200, 201, 202):
                wrong.append((status, answer))
        asker.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    assert not wrong, wrong[0]
    return Turn(len(took) / seconds, sorted(took)[int(len(took) * 0.95) - 1] * 1000)


def measure_server(port: int, *, rounds: int, asks: int, orders: int = 20) -> list[Result]:
    """Let all routes take turns in every round; the first one is for warming up."""
    routes = routes_of(buy_some(port, orders))
    names, turns = list(routes), {name: [] for name in routes}
    for number in range(rounds + 1):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            done = turn(port, routes[name], f"{number}-{name.replace(' ', '')}", asks)
            if number:
                turns[name].append(done)
    peer = turns[names[0]]
    return [_result(name, turns[name], peer) for name in names]


def _result(name: str, turns: list[Turn], peer: list[Turn]) -> Result:
    ratios = [own.per_second / other.per_second for own, other in zip(turns, peer, strict=True)]
    return Result(
        name=name,
        per_second=median(one.per_second for one in turns),
        p95_ms=median(one.p95_ms for one in turns),
        ratio=median(ratios),
        least=min(ratios),
        greatest=max(ratios),
    )


def table(server: str, results: list[Result]) -> str:
    """Return the results as they are printed."""
    lines = [f"{server}, one worker, {CLIENTS} clients", f"  {'route':<20}{'a second':>10}{'p95 ms':>9}   x the peer"]
    for one in results:
        spread = f"{one.ratio:.2f} ({one.least:.2f} to {one.greatest:.2f})"
        lines.append(f"  {one.name:<20}{one.per_second:>10.0f}{one.p95_ms:>9.1f}   {spread}")
    return "\n".join(lines)
