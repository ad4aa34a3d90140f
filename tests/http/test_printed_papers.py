"""Printed receipts on both hosts: in the language that the address, the browser or the host asks for."""

from __future__ import annotations

import attrs
import pytest
from http_hosts import OPTIONS
from http_world import USER, make_world

from evmbilling.errors import ConfigurationError
from evmbilling.integrations.http.options import PREFIX, Options

PATH = "/me/receipts/R-000001/print"


@pytest.fixture(scope="module")
def engine():
    return make_world().shop.engine


def language(reply):
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    page = reply.body.decode()
    found = page.partition('<html lang="')[2][:2]
    assert ("Чек R-000001" in page, "Receipt R-000001" in page) == (found == "ru", found == "en")
    return found


ASKED = (
    ("", None, "en", "en"),
    ("", None, "ru", "ru"),
    ("", "ru-RU,ru;q=0.9,en;q=0.8", "en", "ru"),
    ("", "de, fr;q=0.5", "ru", "ru"),
    ("", "en", "ru", "en"),
    ("?lang=en", "ru", "ru", "en"),
    ("?lang=ru", "en", "en", "ru"),
    ("?lang=xx", "ru", "en", "ru"),
    ("?lang=", "", "en", "en"),
    ("", ";;q=,ru;q=NaN,\xff;q=9\xb2", "en", "en"),
    ("", "ru;q=", "en", "en"),
    ("", "ru;q=" + "1" * 5000, "en", "en"),
    ("", "en;q=0.5;x=1, ru ; Q=0.501", "en", "ru"),
    ("", "x," * 5000 + "ru", "en", "en"),
)
"""The query, what the browser accepts, what the host chose, and what is spoken then."""


def test_a_receipt_is_printed_in_the_language_of_who_asks(mount, engine):
    hosts = {chosen: mount(engine, attrs.evolve(OPTIONS, language=chosen)) for chosen in ("en", "ru")}
    for query, accepted, chosen, told in ASKED:
        headers = {} if accepted is None else {"Accept-Language": accepted}
        answer = hosts[chosen].ask("GET", PATH + query, user=USER, headers=headers)
        assert language(answer) == told, (query, accepted, chosen)


def test_json_is_the_same_in_every_language(mount, engine):
    host = mount(engine)
    plain, russian = (
        host.ask("GET", "/me/receipts/R-000001", user=USER, headers={"Accept-Language": tag}) for tag in ("en", "ru")
    )
    assert plain.body == russian.body
    assert plain.json["content"]["display"] == "19.99"
    assert host.ask("GET", "/me/receipts/R-000001?lang=ru", user=USER).status == 400


def test_the_desk_prints_in_the_language_of_who_asks(mount, engine):
    host = mount(engine, pages=True)
    asked = {"user": "ops", "roles": "finance_ops", "prefix": "/billing/desk"}
    assert language(host.ask("GET", "/receipts/R-000001?lang=ru", **asked)) == "ru"
    assert language(host.ask("GET", "/receipts/R-000001", **asked)) == "en"


def test_pages_speak_the_hosts_language_to_everybody_else(mount, engine):
    host = mount(engine, attrs.evolve(OPTIONS, language="ru"), pages=True)
    told = host.ask("GET", "/pay/nothing", prefix="/billing", headers={"Accept-Language": "de"})
    assert 'lang="ru"' in told.body.decode()
    browser = {"Accept": "text/html", "Accept-Language": "de"}
    assert "Войдите" in host.ask("GET", "", prefix="/billing/desk", headers=browser).body.decode()


@pytest.mark.parametrize("word", ["de", "", "EN", None])
def test_a_language_that_nobody_speaks_is_no_choice(word):
    with pytest.raises(ConfigurationError) as caught:
        Options(language=word)
    assert caught.value.field == "language"


def test_the_document_names_the_language(mount, engine):
    read = mount(engine).ask("GET", "/openapi.json").json
    asked = read["paths"][PREFIX + "/me/receipts/{number}/print"]["get"]["parameters"]
    assert "lang" in {one["name"] for one in asked}
