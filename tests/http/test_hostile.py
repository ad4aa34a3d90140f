"""Values of every kind in every field, path and parameter: no failure of ours, the same from both hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from http_hosts import HOSTS, Host, Reply
from http_world import USER, World, filled, make_world
from test_routes import CASES, ROUTES

from evmbilling.integrations.http.options import PREFIX
from evmbilling.integrations.http.routes import Route
from sampling import share

VALUES = (
    "",
    "\0",
    "\ud800",
    "\uff11\uff12",
    "x" * 70_000,
    "http://[::1",
    "http://\u2100.com/",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    None,
    True,
    1.5,
    2**63,
    10**90,
    [],
    {},
    ["\ud800"],
    {"local": "\0"},
)
SEGMENTS = ("%00", "%D9%A1", "%EF%BC%91", "%ff", "%ED%A0%80", "%0d%0aX:y", "%27", "%25s", "a" * 5000, "R-000001%0a")
ASKED = (
    "",
    "%00",
    "%ff",
    "%ED%A0%80",
    "%EF%BC%91",
    "x" * 3000,
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "1970-01-01T00:00:00Z",
    "..%2F..%2Fetc%2Fpasswd",
    "localtime",
    "YzE6",
    "YzE6AA",
    "YzE6Jw",
    "YzI6eA",
    "YzE6Ui0wMDAwMDE",
)
"""Values of parameters; the last ones look like cursors."""
HEADERS = (
    {"Cookie": "s=1", "Origin": "http://[::1"},
    {"Cookie": "s=1", "Origin": "http://\xff"},
    {"Cookie": "s=1", "Sec-Fetch-Site": "\xff"},
    {"Accept-Language": "ru;q="},
    {"Authorization": "Bearer \xff"},
    {"Content-Type": "\xff"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "\xff"},
    {"Accept-Encoding": "gzip;q=\xff"},
    {"Idempotency-Key": "\xe9 a"},
)
OURS = frozenset({502, 503})
"""Statuses that are no mistake: no chain can be asked here."""
RANDOM = frozenset(
    {"rotate_endpoint", "try_endpoint", "challenge_wallet", "challenge_refund_address", "create_endpoint"}
)
"""Routes whose good answers hold fresh random bytes, of which the two hosts have their own."""
GOOD = range(200, 300)


@pytest.fixture(scope="module")
def worlds() -> list[tuple[World, Host]]:
    made = [(make_world(), HOSTS[name]) for name in sorted(HOSTS)]
    return [(world, host(world.shop.engine)) for world, host in made]


class Attacker:
    """Sends the same to both hosts, each as it was made."""

    def __init__(self, worlds: list[tuple[World, Host]], route: Route) -> None:
        self.worlds, self.route = worlds, route
        self.case = CASES[route.name]
        self.stores = [world.shop.engine._ports.storage for world, _ in worlds]
        self.kept = [(storage._committed, dict(storage._leases)) for storage in self.stores]

    def put_back(self, over: bool = True) -> None:
        for storage, (committed, leases) in zip(self.stores, self.kept, strict=True):
            storage._committed, storage._leases = committed.over() if over else committed, dict(leases)

    def wrong(self, path: str | None = None, json: Any = None, headers: dict[str, str] | None = None) -> list[str]:
        """Return what is wrong with the answers: nothing, or what was sent and what came of it."""
        self.put_back()
        one, other = (self._ask(world, host, path, json, headers or {}) for world, host in self.worlds)
        random = one.status in GOOD and self.route.name in RANDOM
        found = {
            "a failure of ours": one.status >= 500 and one.status not in OURS,
            "says something of the inside": b"Traceback" in one.body or b"sys." in one.body,
            "the hosts differ": one.status != other.status if random else one != other,
        }
        told = f"{path} {str(json)[:200]} {headers}: {one.status} {one.body[:200]!r}, {other.status}"
        return [f"{what}: {told}" for what, is_so in found.items() if is_so]

    def _ask(self, world: World, host: Host, path: str | None, json: Any, more: dict[str, str]) -> Reply:
        roles = "" if self.route.access == "user" else "billing_admin,finance_ops"
        headers = {name.replace("_", "-"): value for name, value in self.case["headers"].items()}
        return host.ask(
            self.route.method,
            filled(self.case["path"] if path is None else path, world.names),
            user=USER,
            roles=roles,
            json=filled(self.case["json"] if json is None else json, world.names),
            headers=headers | more,
            prefix="" if self.route.outside else PREFIX,
        )


@pytest.fixture
def attacker(request, worlds) -> Iterator[Attacker]:
    one = Attacker(worlds, request.param)
    yield one
    one.put_back(over=False)


def of_routes(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("attacker", routes, indirect=True, ids=[route.name for route in routes])


@of_routes([route for route in ROUTES if route.body is not None])
def test_no_value_of_a_field_is_a_failure_of_ours(attacker: Attacker):
    body = attacker.case["json"]
    assert attacker.route.body is not None
    assert attacker.wrong() == []
    for name in attacker.route.body.model_fields:
        for value in share(VALUES, f"{attacker.route.name} {name}"):
            assert attacker.wrong(json=body | {name: value}) == []


@of_routes([route for route in ROUTES if route.params])
def test_no_name_in_a_path_is_a_failure_of_ours(attacker: Attacker):
    given = attacker.case["path"].partition("?")[0].split("/")
    places = [at for at, part in enumerate(attacker.route.path.split("/")) if part.startswith("{")]
    for at in places:
        for value in share(SEGMENTS, f"{attacker.route.name} {at}"):
            assert attacker.wrong("/".join([*given[:at], value, *given[at + 1 :]])) == []


@of_routes([route for route in ROUTES if any(one.where == "query" for one in route.parameters)])
def test_no_parameter_is_a_failure_of_ours(attacker: Attacker):
    path = attacker.case["path"].partition("?")[0]
    for one in attacker.route.parameters:
        for value in share(ASKED, f"{attacker.route.name} {one.name}") if one.where == "query" else ():
            assert attacker.wrong(f"{path}?{one.name}={value}") == []


@of_routes(list(ROUTES))
def test_no_header_is_a_failure_of_ours(attacker: Attacker):
    for headers in share(HEADERS, attacker.route.name):
        assert attacker.wrong(headers=headers) == []
