"""Numbered documents: without gaps, never changed, corrected by another one, and nobody's but their buyer's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import attrs
import pytest
from figure_bench import Shop

from evmbilling.domain.receipt_documents import Papers, parse_number
from evmbilling.engine.core import Engine
from evmbilling.engine.receipt_documents import LEASE
from evmbilling.errors import BillingError, InputError, NotFound
from evmbilling.testing.merchant import ADMIN

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
