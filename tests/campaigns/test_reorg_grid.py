"""Reorganisations of every depth and kind leave books that are proved, with the suspense that is expected."""

from __future__ import annotations

import pytest
from attrs import frozen
from campaign_digest import differing, digest
from campaign_seed import campaign_seed, is_long

from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.provider.fields import STRAY, AnvilField, FakeField, Field, Mode
from evmbilling.testing.merchant import ADMIN, CREDIT_DEPTH
from sampling import EVERYTHING

WINDOW = 64
DEPTHS = (*range(1, 13), 31, 32, 33, WINDOW - 1, WINDOW, WINDOW + 1)
MODES: tuple[Mode, ...] = ("drop", "reinclude", "reorder", "double_spend")
SAMPLE = tuple((depth, mode) for depth in (1, 12, WINDOW - 1, WINDOW, WINDOW + 1) for mode in MODES)
"""On Anvil without a campaign: the shallowest, one that undoes an order that was paid for, and about the window."""
ONCE = ((12, "double_spend"), (WINDOW - 1, "reinclude"), (WINDOW, "drop"), (1, "reorder"))
"""In the usual run, in which the fake chain has each of these depths in every mode: each mode."""
EDGES = {1, CREDIT_DEPTH - 1, CREDIT_DEPTH, CREDIT_DEPTH + 1, 12, WINDOW - 1, WINDOW, WINDOW + 1}
"""Where what a payment counts for changes; between them the modes take turns in the usual run."""
ON_FAKE = [
    (mode, depth)
    for number, mode in enumerate(MODES)
    for depth in DEPTHS
    if EVERYTHING or is_long() or depth in EDGES or depth % len(MODES) == number
]


ON_ANVIL = [(d, m) for d in DEPTHS for m in MODES] if is_long() else SAMPLE if EVERYTHING else ONCE


@frozen
class Story:
    """Payments at some distances from the head, one of them the last that a reorganisation leaves alone."""

    depth: int

    @property
    def places(self) -> tuple[int, ...]:
        """How many confirmations each payment has when it happens; a stray transfer stands beside the last of them."""
        middle = (self.depth + 1) // 2
        return tuple(sorted({1, middle, self.depth, self.depth + 1}, reverse=True))

    @property
    def stray(self) -> int:
        return (self.depth + 1) // 2


def run(field: Field, depth: int, mode: Mode, *, look_every: int) -> None:
    """Pay, read meanwhile, reorganise, read, and check; then let what was dropped be mined again, and check."""
    story = Story(depth)
    offers = {place: field.checkout(number) for number, place in enumerate(story.places, 1)}
    numbers = {place: number for number, place in enumerate(story.places, 1)}
    field.settle()
    for place in range(depth + 2, 0, -1):
        if place in offers:
            field.pay(numbers[place], offers[place])
        if place == story.stray:
            field.stray()
        field.mine()
        if place % look_every == 0:
            field.settle()
    field.settle()
    field.reorganise(depth, mode)
    field.mine()
    _settle(field, halts=depth >= WINDOW)
    statuses = {place: status(field, offers[place]) for place in offers}
    assert statuses == {place: expected(place, depth, mode) for place in offers}
    assert suspense(field) == ([] if mode in ("drop", "double_spend") else [STRAY])
    assert wrong(field) == []
    if mode == "drop":
        field.resend()
    field.mine(WINDOW + 1)
    field.settle()
    lost = mode == "double_spend"
    assert {place: status(field, offers[place]) for place in offers} == {
        place: expected(place, depth, mode) if lost and place <= depth else "final" for place in offers
    }
    assert suspense(field) == ([] if lost else [STRAY])
    assert wrong(field) == []


def _settle(field: Field, *, halts: bool) -> None:
    field.settle()
    desk = field.shop.engine.reader(ADMIN)
    (network,) = desk.status()
    assert (network.unavailable == "halted") == halts
    if network.contested is not None:
        desk.resume(network.network.name, accept=field.hash_at(network.contested.number))
        field.settle()


def expected(place: int, depth: int, mode: Mode) -> str:
    """Return the status of an order whose payment had so many confirmations, one block after the reorganisation."""
    now = {"reinclude": place + 1, "reorder": 2}.get(mode, 0) if place <= depth else place + 1
    if not now:
        return "reversed" if place >= CREDIT_DEPTH else "pending"
    # What counted and is still on the chain goes on counting, however young its block is now.
    if now >= WINDOW or (place >= WINDOW and place <= depth):
        return "final"
    return "confirmed" if max(now, place) >= CREDIT_DEPTH else "confirming"


def status(field, offer):
    return str(field.shop.engine.order(offer.ledger_id).status)


def suspense(field):
    return [
        r.amount for r in field.shop.engine.admin(ADMIN).unmatched_receipts() if r.status not in ("gone", "reversed")
    ]


def wrong(field):
    return [repr(d) for d in field.shop.engine.verify().differences]


@pytest.mark.parametrize(("mode", "depth"), ON_FAKE)
def test_any_reorganisation_leaves_proved_books_on_the_fake_chain(mode, depth):
    field = FakeField(campaign_seed(depth), WINDOW)
    run(field, depth, mode, look_every=1 if depth < (20 if EVERYTHING else 4) else 7)


@pytest.mark.parametrize(("depth", "mode"), ON_ANVIL)
def test_any_reorganisation_leaves_proved_books_on_anvil(depth, mode):
    with AnvilNode() as node:
        field = AnvilField(node, WINDOW)
        try:
            run(field, depth, mode, look_every=1 if depth < 4 else 30)
        finally:
            field.shop.engine.close()


@pytest.mark.parametrize("depth", [2, 7, 33])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.sampled(strength=1)
def test_who_watched_and_who_was_away_end_in_the_same(mode, depth):
    ends = []
    for look_every in (1, 10**6):
        field = FakeField(depth, WINDOW)
        story = Story(depth)
        offers = [field.checkout(number) for number, _ in enumerate(story.places, 1)]
        for place in range(depth + 2, 0, -1):
            for number, offer in enumerate(offers, 1):
                if story.places[number - 1] == place:
                    field.pay(number, offer)
            if place == story.stray:
                field.stray()
            field.mine()
            if look_every == 1:
                field.settle()
        field.reorganise(depth, mode)
        if look_every == 1:
            field.settle()
        if mode == "drop":
            field.resend()
        field.mine(WINDOW)
        field.settle()
        ends.append(digest(field.shop.engine))
    assert differing(*ends) == {}
    assert len(ends[0]["receipts"]) >= 1
