"""A node that misbehaves on demand: a real HTTP server on the loopback interface, before a real node.

Requests go on to the node behind, one by one or as a batch, unless a rule says otherwise::

    with RpcProxy(anvil.url, seed=7) as node:
        node.add(Hang(), methods=["eth_getLogs"], first=2)             # the first two, then never again
        node.add(Lag(5), probability=0.5)                              # a balancer over two nodes
        node.add(HttpStatus(429, headers={"retry-after": "1"}), after=10)
        ...
        node.asked[-1].method

Faults of the connection are in :mod:`evmbilling.testing.rpc_breaks`, untrue answers in
:mod:`evmbilling.testing.rpc_lies`.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections.abc import Collection, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import urllib3
from attrs import define, field, frozen

from evmbilling.errors import ConfigurationError, RpcRefused
from evmbilling.testing.rpc_breaks import Break, hang_up, send_answer
from evmbilling.testing.rpc_lies import Lie, Reply

_NODE_SECONDS = 60
_JOIN_SECONDS = 10


@frozen
class Delay:
    """Answer later, by ``seconds``; other faults may come on top."""

    seconds: float


Fault = Break | Lie | Delay


@frozen
class Asked:
    """One call that reached the proxy, and the names of the faults that it met."""

    method: str
    params: Sequence[Any]
    faults: tuple[str, ...] = ()


@define(eq=False)
class Rule:
    """A fault and when it happens.

    Attributes:
        methods: of which calls; of all when empty.
        after: how many calls it lets pass first.
        first: how often it happens at most; None without end.
        probability: of happening to a call, by the proxy's seed.
        met: how often it has happened.

    """

    fault: Fault
    methods: frozenset[str] = frozenset()
    after: int = 0
    first: int | None = None
    probability: float = 1.0
    met: int = 0
    _passed: int = field(default=0, init=False)

    def happens(self, method: str, chance: random.Random) -> bool:
        """Say whether it happens to a call, and count it."""
        if self.methods and method not in self.methods:
            return False
        if self._passed < self.after:
            self._passed += 1
            return False
        if (self.first is not None and self.met >= self.first) or chance.random() >= self.probability:
            return False
        self.met += 1
        return True


class RpcProxy:
    """Stands before a JSON-RPC node; a context manager. Safe for threads.

    Args:
        url: of the node behind.
        seed: of what happens by chance.

    """

    def __init__(self, url: str, *, seed: int = 0) -> None:
        self._behind = url
        self._http = urllib3.PoolManager(maxsize=16, timeout=_NODE_SECONDS, retries=False)
        self._chance = random.Random(seed)  # noqa: S311  - chance that can be repeated is the point
        self._rules: list[Rule] = []
        self._asked: list[Asked] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def __repr__(self) -> str:
        return f"<RpcProxy at port {self._port}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._http.clear()

    # -- the server

    @property
    def url(self) -> str:
        """Where the proxy answers; the same again after a stop and a start.

        Raises:
            ConfigurationError: it was never started.

        """
        if not self._port:
            raise ConfigurationError("this proxy is not started")
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> Self:
        """Listen; does nothing when it does already."""
        if self._server is None:
            self._ended.clear()
            self._server = _Server(("127.0.0.1", self._port), _handler_of(self))
            self._port = int(self._server.server_address[1])
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
            self._thread.start()
        return self

    def stop(self) -> None:
        """Listen no more, so that connections are refused; requests that hang are let go."""
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut()
            self._server = None
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
            self._thread = None

    # -- rules

    def add(
        self,
        fault: Fault,
        *,
        methods: Collection[str] = (),
        after: int = 0,
        first: int | None = None,
        probability: float = 1.0,
    ) -> Rule:
        """Let a fault happen from now on; the arguments are those of :class:`Rule`."""
        rule = Rule(fault, frozenset(methods), after, first, probability)
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Let a fault happen no more."""
        with self._lock:
            self._rules.remove(rule)

    def heal(self) -> None:
        """Let no fault happen any more."""
        with self._lock:
            self._rules.clear()

    # -- what was asked

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every call so far, in order."""
        with self._lock:
            return tuple(self._asked)

    def methods(self) -> list[str]:
        """Return the methods of every call so far, in order."""
        return [call.method for call in self.asked]

    def forget(self) -> None:
        """Forget what was asked so far."""
        with self._lock:
            self._asked.clear()

    def behind(self, method: str, *params: Any) -> Any:
        """Return what the node behind answers.

        Raises:
            RpcRefused: it refused.

        """
        reply = self._pass_on([{"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}])[0]
        if "error" in reply:
            raise RpcRefused(f"{method}: {reply['error'].get('message')}", method=method, error=reply["error"])
        return reply["result"]

    # -- inside

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Serve one HTTP request."""
        asked = json.loads(body)
        calls = asked if isinstance(asked, list) else [asked]
        met = [self._meet(call) for call in calls]
        faults = [fault for found in met for fault in found]
        self._ended.wait(max((fault.seconds for fault in faults if isinstance(fault, Delay)), default=0))
        broken = next((fault for fault in faults if isinstance(fault, Break)), None)
        if broken is not None and not broken.reaches_node:
            broken.serve(handler, body, self._ended)
            return
        lies = [[fault for fault in found if isinstance(fault, Lie)] for found in met]
        replies = self._replies(calls, lies)
        answer = json.dumps(replies if isinstance(asked, list) else replies[0]).encode()
        if broken is not None:
            broken.serve(handler, answer, self._ended)
        elif self._ended.is_set():
            hang_up(handler)
        else:
            send_answer(handler, answer)

    def _meet(self, call: dict[str, Any]) -> list[Fault]:
        method = call["method"]
        with self._lock:
            faults = [rule.fault for rule in self._rules if rule.happens(method, self._chance)]
            names = tuple(type(fault).__name__ for fault in faults)
            self._asked.append(Asked(method, call.get("params", ()), names))
        return faults

    def _replies(self, calls: Sequence[dict[str, Any]], lies: Sequence[Sequence[Lie]]) -> list[Reply]:
        """Ask the node behind for what nobody answers in its place, and let the lies change it."""
        replies: dict[int, Reply] = {}
        for at, (call, own) in enumerate(zip(calls, lies, strict=True)):
            invented = (lie.instead(call["method"], call.get("params", [])) for lie in own)
            reply = next((found for found in invented if found is not None), None)
            if reply is not None:
                replies[at] = reply
        passed = [at for at in range(len(calls)) if at not in replies]
        replies |= zip(passed, self._pass_on([calls[at] for at in passed]), strict=True)
        for at, (call, own) in enumerate(zip(calls, lies, strict=True)):
            for lie in own:
                try:
                    replies[at] = lie.change(call["method"], call.get("params", []), replies[at], self.behind)
                except RpcRefused as refused:
                    replies[at] = {"error": refused.details["error"]}
        return [{"jsonrpc": "2.0", "id": call.get("id")} | replies[at] for at, call in enumerate(calls)]

    def _pass_on(self, calls: Sequence[dict[str, Any]]) -> list[Reply]:
        if not calls:
            return []
        body = json.dumps([call | {"id": at} for at, call in enumerate(calls)])
        answer = self._http.request("POST", self._behind, body=body, headers={"content-type": "application/json"})
        by_id = {reply["id"]: reply for reply in json.loads(answer.data)}
        return [{key: by_id[at][key] for key in ("result", "error") if key in by_id[at]} for at in range(len(calls))]


class _Server(ThreadingHTTPServer):
    """A server that cuts its connections when it ends: idle ones would be served on."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lines: set[socket.socket] = set()
        self._lines_lock = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        line, address = super().get_request()
        with self._lines_lock:
            self._lines.add(line)
        return line, address

    def shutdown_request(self, request: Any) -> None:
        with self._lines_lock:
            self._lines.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Break every connection."""
        with self._lines_lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


def _handler_of(proxy: RpcProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            # A client that has enough of waiting closes the connection: nobody is left to be told.
            with contextlib.suppress(OSError):
                proxy.answer(self, body)
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    return Handler
