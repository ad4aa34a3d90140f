"""The pages over HTTP, without a browser: names, forms and tokens that no page sends; and what forms are called."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from http import HTTPStatus
from urllib.parse import urlencode

import pytest
from http_hosts import HOSTS, OPTIONS, Host, Reply
from http_world import World, make_world

from evmbilling.integrations.http.routes import Route
from evmbilling.integrations.pages import PAGES_PREFIX, Pages
from evmbilling.testing.merchant import simulated_merchant
from sampling import share

ROUTES = Pages(simulated_merchant(seed=9).engine, OPTIONS).routes
GIVEN = {
    "token": "token",
    "ledger_id": "paid",
    "item_id": "suspense",
    "refund_id": "refund",
    "event_id": "event",
}
SEGMENTS = ("%00", "%D9%A1", "%ff", "%ED%A0%80", "%0d%0aX:y", "a" * 5000, "..%2Fpay.js", "%2e%2e", "page.css%00", "-")
ALONE = (
    ("reason",),
    ("amount", "reason"),
    ("reason", "via"),
    ("reason", "end"),
    ("ledger_id", "note"),
    ("user_id", "note"),
    ("note",),
    ("user_id", "amount", "reason", "network", "asset"),
    ("treasury",),
    ("sink",),
)
"""Fields that some form has together; others refuse them."""
EVIL = ("", "\0", "\ud800", "\uff11", "x" * 60_000, "1e999", "\r\nX: y")
BODIES = (b"", b"%", b"a" * 300_000, b"\xff=\xff", b"&".join(b"a%d=1" % n for n in range(2000)), b"reason=a&reason=b")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def worlds() -> list[tuple[World, Host]]:
    made = [(make_world(), HOSTS[name]) for name in sorted(HOSTS)]
    return [(world, host(world.shop.engine, pages=True)) for world, host in made]


def path_of(route: Route, names: dict[str, str], **instead: str) -> str:
    values = {"number": "R-000001", "name": "page.css", "action": "approve"}
    values |= {name: names[known] for name, known in GIVEN.items()}
    return route.path.format(**values | instead)


def wrong(worlds: list[tuple[World, Host]], route: Route, body: bytes | None = None, **instead: str) -> list[str]:
    """Return what is wrong with the answers of both hosts: nothing, or what was sent and what came of it."""
    replies: list[Reply] = []
    for world, host in worlds:
        storage = world.shop.engine._ports.storage
        kept, leases = storage._committed, dict(storage._leases)
        storage._committed = kept.over()
        try:
            replies.append(
                host.ask(
                    route.method,
                    path_of(route, world.names, **instead),
                    user="ops",
                    roles="billing_admin,finance_ops",
                    body=body,
                    headers=FORM if body is not None else None,
                    prefix=PAGES_PREFIX,
                )
            )
        finally:
            storage._committed, storage._leases = kept, leases
    one, other = replies
    made = one.status == HTTPStatus.SEE_OTHER  # to what was made, whose number each host has of its own
    found = {
        "a failure of ours": one.status >= 500 and one.status not in (502, 503),
        "says something of the inside": b"Traceback" in one.body,
        "the hosts differ": one.status != other.status if made else one != other,
    }
    told = f"{route.name} {instead} {body[:80] if body else body}: {one.status}, {other.status}"
    return [f"{what}: {told}" for what, is_so in found.items() if is_so]


@pytest.mark.parametrize("route", [one for one in ROUTES if one.params], ids=lambda route: route.name)
def test_no_name_in_the_path_of_a_page_is_a_failure_of_ours(worlds, route):
    body = b"reason=x" if route.method == "POST" else None
    for name in route.params:
        for value in share(SEGMENTS, f"{route.name} {name}"):
            assert wrong(worlds, route, body, **{name: value}) == []


@pytest.mark.parametrize("route", [one for one in ROUTES if one.method == "POST"], ids=lambda route: route.name)
def test_no_form_is_a_failure_of_ours(worlds, route):
    actions = ("approve", "assign", "credit", "write-off", "refund") if "action" in route.params else ("",)
    for action in actions:
        for body in BODIES:
            assert wrong(worlds, route, body, action=action) == []
        for fields in ALONE:
            for value in share(EVIL, f"{route.name} {action} {fields}"):
                sent = urlencode({name: value.encode("utf-8", "surrogatepass") for name in fields}).encode()
                assert wrong(worlds, route, sent, action=action) == []


@pytest.mark.parametrize("cut", [1, 2, 16, 25])
def test_a_token_that_is_cut_or_guessed_shows_nothing(worlds, cut):
    for world, host in worlds:
        token = world.token
        for guess in (token[:-cut], token[cut:], token + "x" * cut, token.swapcase(), "x" * len(token), token + "%00"):
            assert guess != token
            for path in ("", "/qr.svg", "/transfer.svg", "/authorization"):
                reply = host.ask("GET", f"/pay/{guess}{path}", prefix=PAGES_PREFIX)
                assert reply.status == 404, path
                assert world.pending.encode() not in reply.body
            assert host.ask("GET", f"/pay/{guess}").status == 404
            assert host.ask("POST", f"/pay/{guess}/requote", json={}).status == 404


class Labels(HTMLParser):
    """Counts what the fields of each form are called."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Counter[str]] = []
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "form":
            self.forms.append(Counter())
        self._within = tag == "label"

    def handle_endtag(self, tag: str) -> None:
        self._within = False

    def handle_data(self, data: str) -> None:
        if self._within and self.forms:
            self.forms[-1][" ".join(data.split())] += 1


@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_two_fields_of_a_form_are_called_the_same(worlds, language):
    world, host = worlds[0]
    seen = 0
    for route in (one for one in ROUTES if one.method == "GET" and one.path.startswith("/desk") and one.produces):
        path = f"{path_of(route, world.names)}?lang={language}"
        reply = host.ask("GET", path, user="ops", roles="billing_admin,finance_ops", prefix=PAGES_PREFIX)
        assert reply.status == 200, path
        read = Labels()
        read.feed(reply.body.decode())
        for form in read.forms:
            seen += len(form)
            assert [name for name, times in form.items() if times > 1] == [], path
    assert seen > 10


def test_figures_that_nobody_has_folded_name_no_day(mount):
    host = mount(simulated_merchant(seed=2).engine, pages=True)
    page = host.ask("GET", "/figures", user="ops", roles="finance_ops", prefix=f"{PAGES_PREFIX}/desk").body.decode()
    assert "Nothing has been folded yet." in page
    assert "1970" not in page
