"""The notifier passes the kit, found by its entry point, against a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.plugins import PluginManager
from evmbilling.ports.notifier import Notifier
from evmbilling.testing.conformance import NotifierConformance

TOKEN = "canary-5d1f0a"


class Room(ThreadingHTTPServer):
    """A chat room that takes messages, refuses one, or is closed for good."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.taken: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.fails_at, self.closed, self.goes_away = 0, False, False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/room"

    def take(self, message: dict[str, Any]) -> int | None:
        """Return the status to answer with; None for a reply that gets lost."""
        with self.lock:
            self.fails_at -= 1
            if self.closed or self.fails_at == 0:
                return 410 if self.closed else 503
            self.taken.append(message)
            gone, self.goes_away = self.goes_away, False
            return None if gone else 204

    def names(self) -> list[str]:
        return [message["id"] for message in self.taken]

    def data(self) -> list[Any]:
        return [message["data"] for message in self.taken]

    def refuse_next(self, number: int) -> None:
        self.fails_at = number

    def refuse_for_good(self) -> None:
        self.closed = True

    def lose_next_reply(self) -> None:
        self.goes_away = True


class Visitor(BaseHTTPRequestHandler):
    server: Room

    def do_POST(self) -> None:
        assert self.headers["authorization"] == f"Bearer {TOKEN}"
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.take(json.loads(body))
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@cache
def loaded() -> PluginManager:
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["chat_notifier"])
    return manager


class TestChatNotifier(NotifierConformance):
    capabilities = frozenset({"breakable", "carries_data", "lost_replies", "permanent_failure"})

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (TOKEN,)

    @pytest.fixture
    def outlet(self) -> Iterator[Room]:
        with Room() as room:
            thread = threading.Thread(target=room.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            yield room
            room.shutdown()
            thread.join()

    @pytest.fixture
    def notifier(self, outlet: Room, monkeypatch: pytest.MonkeyPatch) -> Notifier:
        monkeypatch.setenv("CHAT_TOKEN", TOKEN)
        manager = loaded()
        return manager.notifiers.build("chat", {"url": outlet.url, "token": "env:CHAT_TOKEN"}, secrets=SecretBox())
