"""Numbered documents: without gaps, never changed, corrected by another one, and nobody's but their buyer's."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import attrs
import pytest
from figure_bench import Shop

from evmbilling.domain.books.paper_words import paper_words
from evmbilling.domain.books.receipt_documents import Papers, parse_number
from evmbilling.domain.selling.offering import period_lines
from evmbilling.engine.books.receipt_documents import LEASE
from evmbilling.engine.core import Engine
from evmbilling.errors import BillingError, InputError, NotFound
from evmbilling.testing.merchant import ADMIN

YEAR = "\N{CYRILLIC SMALL LETTER GHE}."
SELLER = "Shop <b>Ltd</b>\n1 Main St & Co"


def with_papers(shop: Shop, **papers) -> Engine:
    return Engine(attrs.evolve(shop.engine._ports, papers=Papers(**papers)))


def number_all(engine: Engine, limit: int = 100) -> int:
    issued = 0
    while True:
        report = engine.number_receipts(limit=limit)
        issued += report.issued
        if not report.events:
            return issued


def documents(engine: Engine, user: str = "user-1"):
    return [found.document for found in engine.receipt_documents(user)][::-1]


def test_a_final_payment_gets_a_receipt_once(shop):
    engine = with_papers(shop, seller=SELLER, buyer=lambda user: f"Buyer {user}\nTax no. <1>")
    paid = shop.shop.buy()
    assert number_all(engine) == 0, "what is not final yet has no number"
    shop.settle(30)
    assert (number_all(engine), number_all(engine)) == (1, 0)
    found = engine.receipt_document("R-000001", user_id="user-1")
    document = found.document
    assert (found.number, document.kind, document.subject) == ("R-000001", "receipt", f"order:{paid.ledger_id}")
    assert document.content["lines"] == [{"kind": "plan", "text": "Pro", "amount": "19990000", "display": "19.99"}]
    assert document.content["payments"][0]["amount"] == "19990000"
    assert document.content["payments"][0]["tx_hash"] == "0x" + paid.order.completion.tx_hash.hex()
    assert found.buyer == "Buyer user-1\nTax no. <1>"
    assert json.loads(json.dumps(found.as_json()))["content"]["seller"] == SELLER


def test_what_turns_out_untrue_is_corrected_and_never_deleted(shop):
    shop.shop.buy("user-1")
    shop.shop.buy("user-2")
    shop.settle(30)
    number_all(shop.engine)
    event = next(e for e in shop.read(lambda unit: unit.events(limit=1000)) if e.type == "billing.payment.final.v1")
    user = event.data["user_id"]
    tell(shop, event, "billing.payment.reversed.v1")
    number_all(shop.engine)
    receipt, correction = documents(shop.engine, user)
    assert (receipt.kind, correction.kind, correction.corrects) == ("receipt", "correction", receipt.serial)
    assert correction.content["reason"] == "payment_reversed"
    assert correction.content["corrects"] == receipt.number
    tell(shop, event, "billing.payment.reversed.v1")
    assert number_all(shop.engine) == 0, "what is corrected is not corrected twice"
    tell(shop, event, "billing.payment.final.v1")
    number_all(shop.engine)
    assert [d.kind for d in documents(shop.engine, user)] == ["receipt", "correction", "receipt"]
    serials = sorted(d.serial for name in ("user-1", "user-2") for d in documents(shop.engine, name))
    assert serials == [1, 2, 3, 4]


def tell(shop: Shop, like, kind: str) -> None:
    """Publish another event about the same order."""
    from evmbilling.domain.decisions import Publish, StoreCustomer

    user = like.data["user_id"]
    with shop.engine._ports.storage.unit() as unit:
        customer = unit.lock_customers([user])[user]
        seq = customer.event_seq + 1
        event = attrs.evolve(like, event_id=f"{kind}-{seq}", seq=seq, type=kind, recorded_at=shop.now)
        unit.apply([Publish(event), StoreCustomer(attrs.evolve(customer, event_seq=seq, version=customer.version + 1))])


def test_a_refund_gets_a_credit_note_and_its_reversal_a_correction(memory_shop):
    shop = memory_shop
    shop.paid = shop.shop.buy()
    shop.settle(30)
    refund = shop.ready(amount=5_000_000, via="transfer")
    shop.send(refund)
    shop.settle()
    number_all(shop.engine)
    receipt, note = documents(shop.engine)
    assert (note.kind, note.content["amount"], note.content["receipt"]) == ("credit_note", "5000000", receipt.number)
    assert note.content["payments"][0]["address"] == refund.address or note.content["payments"][0]["address"]
    shop.shop.chain.reorganise(3)
    shop.settle(1)
    number_all(shop.engine)
    correction = documents(shop.engine)[-1]
    assert (correction.kind, correction.corrects, correction.content["reason"]) == (
        "correction",
        note.serial,
        "refund_reversed",
    )


def test_numbers_have_no_gaps_whoever_gives_them(open_shop):
    shop = open_shop("postgres")
    for user in range(6):
        shop.shop.buy(f"user-{user}", plan="pack")
    shop.settle(30)
    engines = [Engine(attrs.evolve(shop.engine._ports, worker=f"w{n}")) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda engine: [engine.number_receipts(limit=1) for _ in range(6)], engines))
    number_all(shop.engine)
    serials = sorted(d.serial for user in range(6) for d in documents(shop.engine, f"user-{user}"))
    assert serials == [1, 2, 3, 4, 5, 6]


def test_another_worker_is_at_it(memory_shop):
    lease = memory_shop.engine._ports.storage.acquire_lease(LEASE, "other", 60)
    assert memory_shop.engine.number_receipts().busy
    memory_shop.engine._ports.storage.release_lease(lease)


def test_a_host_that_fails_about_one_buyer_holds_up_nobody_else(memory_shop):
    shop = memory_shop
    for user in ("user-1", "user-2"):
        shop.shop.buy(user, plan="pack")
    shop.settle(30)
    known = {}

    def buyer(user):
        if user == "user-1" and not known:
            raise RuntimeError("the host's database is away")
        return f"Buyer {user}"

    engine = with_papers(shop, buyer=buyer)
    report = engine.number_receipts()
    assert (report.issued, report.left) == (1, 1)
    assert [d.user_id for d in documents(engine, "user-2")] == ["user-2"]
    known["now"] = True
    assert engine.number_receipts().issued == 1
    assert documents(engine, "user-1")[0].serial == 2


def test_a_series_of_its_own_counts_from_one(memory_shop):
    shop = memory_shop
    shop.shop.buy("user-1", plan="pack")
    shop.settle(30)
    number_all(shop.engine)
    shop.shop.buy("user-1", plan="pack")
    shop.settle(30)
    number_all(with_papers(shop, series="DE-2026"))
    assert [found.number for found in shop.engine.receipt_documents("user-1")] == ["R-000001", "DE-2026-000001"]
    assert parse_number("DE-2026-000001") == ("DE-2026", 1)
    below = shop.engine.receipt_documents("user-1", before="R-000001")
    assert [found.number for found in below] == ["DE-2026-000001"]
    assert [found.number for found in shop.engine.receipt_documents("user-1", limit=1)] == ["R-000001"]


def test_what_was_said_about_a_buyer_is_erased_and_the_document_stays(shop):
    engine = with_papers(shop, buyer=lambda user: "Ada Lovelace, London")
    shop.shop.buy(plan="pack")
    shop.settle(30)
    number_all(engine)
    assert engine.receipt_document("R-000001").buyer == "Ada Lovelace, London"
    assert "Ada" not in json.dumps(dict(engine.receipt_document("R-000001").document.content))
    engine.erase("user-1", actor=ADMIN)
    found = engine.receipt_document("R-000001")
    assert (found.buyer, found.document.serial) == (None, 1)


class Page(HTMLParser):
    """What a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset", "style"}]


def test_a_page_is_escaped_and_loads_nothing(memory_shop):
    engine = with_papers(memory_shop, seller=SELLER, buyer=lambda _: "<script>alert(1)</script>")
    memory_shop.shop.buy(plan="pack")
    memory_shop.settle(30)
    number_all(engine)
    page = engine.receipt_document("R-000001").as_html()
    seen = Page()
    seen.feed(page)
    assert seen.links == []
    assert seen.tags.isdisjoint({"script", "b", "img", "link", "iframe", "form"})
    assert "Shop &lt;b&gt;Ltd&lt;/b&gt;<br>1 Main St &amp; Co" in page
    assert "&lt;script&gt;" in page


def printed(engine, number, locale):
    """What a person reads on a page, with what its language is."""
    page = engine.receipt_document(number).as_html(locale)
    read = unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page))
    return re.search(r'<html lang="(\w+)">', page)[1], " ".join(read.split(" "))


def test_a_receipt_reads_in_english_and_russian(memory_shop):
    shop = memory_shop
    engine = with_papers(shop, seller="Shop Ltd")
    paid = shop.shop.buy(quantity=70)
    shop.settle(30)
    number_all(engine)
    before = engine.receipt_document("R-000001").as_json()
    mined = paid.order.completion
    issued, block = engine.receipt_document("R-000001").document.issued_at, "2026-01-31T12:"
    assert before["content"]["payments"][0]["block_time"].startswith(block)
    language, read = printed(engine, "R-000001", "en-GB")
    assert (language, (issued.day, issued.month)) == ("en", (31, 1))
    for told in ("Receipt R-000001", "31 January 2026 ", "69 more", "Total", "1,399.3\xa0tUSD", "chain 31337"):
        assert told in read
    assert f"block {mined.block_number}, 31 January 2026, 12:" in read
    language, read = printed(engine, "R-000001", "ru_RU")
    assert language == "ru"
    for told in ("Чек R-000001", "31 января 2026", "ещё 69", "Итого", "1\xa0399,3\xa0tUSD", "номер 31337"):
        assert told in read
    assert f"блок {mined.block_number}, 31 января 2026" in read
    assert "Shop Ltd" in read, "what the host says stays as it is"
    assert printed(engine, "R-000001", "de")[0] == "en"
    assert engine.receipt_document("R-000001").as_json() == before


def test_credit_notes_and_corrections_read_in_russian(memory_shop):
    shop = memory_shop
    shop.paid = shop.shop.buy()
    shop.settle(30)
    refund = shop.ready(amount=5_000_000, via="transfer")
    shop.send(refund)
    shop.settle()
    number_all(shop.engine)
    shop.shop.chain.reorganise(3)
    shop.settle(1)
    number_all(shop.engine)
    _, note = printed(shop.engine, "R-000002", "ru")
    for told in ("Кредит-нота R-000002", " чеку ", "R-000001", "Возвращено", "5\xa0tUSD", refund.reason):
        assert told in note
    _, correction = printed(shop.engine, "R-000003", "ru")
    for told in ("Исправление R-000003", "Исправляет", "R-000002", "Отменено", "сеть отменила возврат"):
        assert told in correction
    assert "the network has taken the refund back" in printed(shop.engine, "R-000003", "en")[1]


def test_money_from_elsewhere_is_said_on_the_paper(memory_shop):
    offer = memory_shop.shop.checkout()
    memory_shop.engine.finance(ADMIN).mark_paid(offer.ledger_id, reason="by bank")
    number_all(memory_shop.engine)
    assert "another way, not on chain" in printed(memory_shop.engine, "R-000001", "en")[1]
    assert "другим способом, не в сети" in printed(memory_shop.engine, "R-000001", "ru")[1]


@pytest.mark.parametrize(
    ("language", "display", "written"),
    [
        ("en", "1234567.000000000000000001", "1,234,567.000000000000000001"),
        ("ru", "1234567.000000000000000001", "1\xa0234\xa0567,000000000000000001"),
        ("en", "-1000.5", "-1,000.5"),
        ("ru", "-1000.5", "-1\xa0000,5"),
        ("ru", "-0.5", "-0,5"),
        ("en", "999", "999"),
        ("ru", str(2**256 - 1), f"{2**256 - 1:,}".replace(",", "\xa0")),
    ],
)
def test_amounts_keep_every_digit(language, display, written):
    assert paper_words(language).amount(display) == written


def test_days_are_those_of_utc():
    late = datetime(2026, 2, 28, 23, 30, tzinfo=timezone(-timedelta(hours=1)))
    assert (paper_words("en").day(late), paper_words("ru").day(late)) == ("1 March 2026", f"1 марта 2026 {YEAR}")
    assert paper_words("ru").moment(late) == f"1 марта 2026 {YEAR}, 00:30:00 UTC"
    months = [paper_words("ru").day(datetime(2026, month, 1, tzinfo=UTC)) for month in range(1, 13)]
    assert len(set(months)) == 12


def test_the_lines_of_ours_are_all_in_the_catalogue(memory_shop):
    """Every text that an order can be given by us; a new one has no words yet and fails here."""
    words, (offer,) = paper_words("ru"), [memory_shop.shop.checkout(quantity=3)]
    lines = [*offer.lines]
    for share in ((1, 2), (3, 2)):
        lines += period_lines(offer.lines, SimpleNamespace(share=lambda _, paused, share=share: share), 0)
    bought = memory_shop.shop.buy("user-2")
    memory_shop.settle(30)
    change = memory_shop.engine.preview_change(
        str(bought.order.subscription_id), timing="now", quantity=4, user_id="user-2"
    )
    lines += change.lines
    assert {line.kind for line in lines} == {"plan", "quantity", "proration", "credit"}
    for line in lines:
        assert (words.line(line.kind, line.text) == line.text) is (line.kind == "plan"), line
    assert words.line("tax", "Tax of unused time") == "Налог за неиспользованное время"
    assert words.line("tax", "VAT") == "VAT"
    assert words.line("plan", "3 more") == "3 more"


@pytest.mark.fault("H15")
@pytest.mark.parametrize(
    "number",
    ["../../etc/passwd", "R-000001/../x", "R-1", "R-00000\u0661", "R-000001\n", "r", "", "R-0000001", "-000001", 5],
)
def test_h15_a_number_is_looked_up_and_never_a_path(memory_shop, number):
    with pytest.raises(BillingError) as caught:
        memory_shop.engine.receipt_document(number)
    assert isinstance(caught.value, InputError | NotFound)


def test_documents_of_others_are_not_there(memory_shop):
    memory_shop.shop.buy(plan="pack")
    memory_shop.settle(30)
    number_all(memory_shop.engine)
    assert memory_shop.engine.receipt_document("R-000001").number == "R-000001"
    with pytest.raises(NotFound):
        memory_shop.engine.receipt_document("R-000001", user_id="user-2")
    assert memory_shop.engine.receipt_documents("user-2") == ()
