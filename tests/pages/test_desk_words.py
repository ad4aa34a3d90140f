"""The catalogue of the pages: whole in each language, with a word for everything that the desk can show."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import get_args

import pytest

from evmbilling.domain.books.paper_words import paper_words
from evmbilling.domain.payments.finance import QueueKind, QueueState, Ruling
from evmbilling.domain.payments.receipts import Allocation
from evmbilling.domain.reading.nodes import NodeState
from evmbilling.domain.refunds.proofs import MISSING, NOT_MINED, WHY
from evmbilling.domain.states import OrderStatus, ReceiptStatus, RefundStatus, SubscriptionStatus
from evmbilling.errors import Conflict, InputError
from evmbilling.integrations.http.languages import LANGUAGES, language_of
from evmbilling.integrations.http.messages import Request
from evmbilling.integrations.pages.desk_queue import ACTIONS
from evmbilling.integrations.pages.words import desk_words, texts

PAGES = files("evmbilling.integrations.pages")
WORDS = {
    "status": OrderStatus,
    "receipt": ReceiptStatus,
    "refund": RefundStatus,
    "refund_says": RefundStatus,
    "subscription": SubscriptionStatus,
    "kind": get_args(QueueKind),
    "queue": get_args(QueueState),
    "ruling": get_args(Ruling),
    "node": get_args(NodeState),
    "allocation": get_args(Allocation),
    "do": ACTIONS,
    "proof_says": (*WHY, NOT_MINED, MISSING, "withdrawn"),
}


def places(text):
    return sorted(re.findall(r"\{\w+\}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_says_everything_with_the_same_places(language):
    assert paper_words(language).language == language
    catalogues = [
        (desk_words(language).said, desk_words("en").said),
        (texts(language), texts("en")),
        (paper_words(language).said, paper_words("en").said),
    ]
    for said, first in catalogues:
        assert said.keys() == first.keys()
        assert {key: places(text) for key, text in said.items()} == {key: places(text) for key, text in first.items()}
        assert all(text for text in said.values())


@pytest.mark.parametrize("group", WORDS)
def test_there_is_a_word_for_everything(group):
    assert [word for word in WORDS[group] if f"{group}_{word}" not in desk_words("en").said] == []


def test_templates_say_nothing_that_is_not_in_the_catalogue():
    found = set()
    for template in PAGES.joinpath("templates").iterdir():
        if template.name.startswith("desk"):
            found |= set(re.findall(r"""\bt\("(\w+[a-z])"\s*[,)]""", template.read_text("utf-8")))
    assert len(found) > 100
    assert found - desk_words("en").said.keys() == set()


def test_sentences_that_are_translated_are_sentences_of_ours():
    known = json.loads(PAGES.joinpath("desk_texts.json").read_text("utf-8"))["ru sentences"]
    source = [path.read_text("utf-8") for path in PAGES.joinpath("../..").resolve().rglob("*.py")]
    lost = [said for said in known if not any(said.replace('"', '\\"') in text or said in text for text in source)]
    assert lost == []


def test_a_problem_is_told_in_the_language_with_its_field():
    paid = Conflict("the order is paid already", field="ledger_id")
    assert desk_words("en").problem(paid) == "Number of the order: The order is paid already."
    assert desk_words("ru").problem(paid) == "Номер заказа: Заказ уже оплачен."
    unknown = InputError("something that nobody has translated", field="something")
    assert desk_words("en").problem(unknown) == "Something that nobody has translated."
    assert desk_words("ru").problem(unknown) == "Это значение использовать нельзя."


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ((), None, "en"),
        ((), "ru", "ru"),
        ((), "de, ru-RU;q=0.8, en;q=0.9", "en"),
        ((), "en;q=0, ru;q=0.1", "ru"),
        ((("lang", "ru"),), "en", "ru"),
        ((("lang", "xx"),), "ru", "ru"),
        ((), "ru;q=", "en"),
        ((), "ru;q=1.5, en;q=0", "en"),
    ],
)
def test_the_address_goes_before_the_browser(query, accepted, language):
    headers = () if accepted is None else (("Accept-Language", accepted),)
    assert language_of(Request(method="GET", path="/", query=query, headers=headers)) == language
