"""What finance decides: each decision moves money, postings, items and an audit entry in one transaction, once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import attrs
import pytest
from till import OPS, OTHER_TOKEN, PRICE, ROOT, SECOND, STRANGER, TREASURY, address

from evmbilling.adapters.lanes import MOST_HANGING
from evmbilling.domain.actors import Actor
from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.engine.books.finance_rulings import Rulings
from evmbilling.engine.intake import intake
from evmbilling.errors import Conflict, InputError, NotFound, PermissionDenied, RetryTransaction

LIMIT = {"USDC": 1_000}


def test_assigned_money_pays_the_order(till):
    made = till.checkout()
    till.send(STRANGER, PRICE + 4)
    item = till.item()
    done = till.finance.assign(item.item_id, made.ledger_id, note="they wrote to us")
    assert (done.state, done.ruling, done.decided_by, done.note) == ("decided", "assign", "ops", "they wrote to us")
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.placed() == [("order", "assigned", "u1", PRICE + 4)]
    assert till.kinds() == [("in", "receipt", PRICE + 4, True)]
    assert till.accounts() == {"customer_credit": 4, "deferred_revenue": PRICE, "treasury": -PRICE - 4}
    assert till.admin.unmatched_receipts() == []
    assert till.differences() == []


def test_assigned_money_stays_assigned(till):
    """Later looks at the same money, and a deadline that has passed, change nothing about a ruling."""
    made = till.checkout()
    till.mine(seconds=1801)
    assert till.status(made) == "expired"
    sent = till.send(STRANGER, PRICE)
    till.finance.assign(till.item().item_id, made.ledger_id)
    till.mine(20)
    assert (till.status(made), till.placed()) == ("final", [("order", "assigned", "u1", PRICE)])
    assert till.receipts()[0].identity.tx_hash == sent
    assert till.differences() == []


def test_assigned_money_that_is_taken_back_takes_access_back(till):
    made = till.checkout()
    sent = till.send(STRANGER, PRICE)
    till.finance.assign(till.item().item_id, made.ledger_id)
    till.reorganise(3)
    assert (till.status(made), till.allowed(), till.accounts()) == ("reversed", False, {})
    till.chain.resend(sent)
    till.mine(3)
    assert (till.status(made), till.allowed()) == ("confirmed", True)
    assert till.differences() == []


def test_credited_money_is_the_customers(till):
    till.wallet("u2")
    till.send(STRANGER, 7)
    till.finance.credit(till.item().item_id, "u2")
    assert till.placed() == [("credit", "credited", "u2", 7)]
    assert till.accounts() == {"customer_credit": 7, "treasury": -7}
    assert till.told("u2") == ["payment.unmatched"]
    assert till.differences() == []


def test_credited_money_stays_credited_when_its_order_is_looked_at_again(till):
    till.checkout()
    till.send("u1", PRICE, token=OTHER_TOKEN)
    till.finance.credit(till.item().item_id, "u1")
    till.send("u1", PRICE)
    till.mine(20)
    assert ("credit", "credited", "u1", PRICE) in till.placed()


def test_written_off_money_is_nobodys(till):
    till.send(STRANGER, 7)
    till.finance.write_off(till.item().item_id)
    assert till.placed() == [("written_off", "written_off", None, 7)]
    assert till.accounts() == {"treasury": -7, "write_off": 7}
    assert till.queue() == []
    assert till.differences() == []


def test_an_approval_is_not_what_asks_for_the_write_off(make_till):
    till = make_till(approval_above=LIMIT)
    till.send(STRANGER, 1_001)
    till.finance.write_off(till.item().item_id)
    approval = till.item("write_off_approval")
    with pytest.raises(Conflict):
        till.engine.finance(SECOND).write_off(approval.item_id)
    assert till.item("write_off_approval") == approval


def test_a_write_off_above_the_limit_needs_a_second_person(make_till):
    till = make_till(approval_above=LIMIT)
    till.send(STRANGER, 1_001)
    item = till.item()
    asked = till.finance.write_off(item.item_id)
    assert (asked.state, asked.ruling, asked.decided_by) == ("open", "write_off", "ops")
    assert till.finance.write_off(item.item_id) == asked
    assert till.accounts() == {"suspense": 1_001, "treasury": -1_001}
    approval = till.item("write_off_approval")
    with pytest.raises(PermissionDenied):
        till.finance.approve_write_off(approval.item_id)
    agreed = till.engine.finance(SECOND).approve_write_off(approval.item_id)
    assert (agreed.state, agreed.decided_by) == ("decided", "second")
    assert till.finance.item(item.item_id).state == "decided"
    assert till.accounts() == {"treasury": -1_001, "write_off": 1_001}
    assert till.engine.finance(SECOND).approve_write_off(approval.item_id) == agreed
    assert till.differences() == []


def test_nobody_approves_what_they_asked_for(make_till):
    till = make_till(approval_above=LIMIT)
    till.send(STRANGER, 1_001)
    both = till.engine.finance(SECOND)
    both.write_off(till.item().item_id)
    with pytest.raises(PermissionDenied):
        both.approve_write_off(till.item("write_off_approval").item_id)
    assert till.accounts()["suspense"] == 1_001


def test_the_limit_outlives_the_treasury(make_till):
    """What came to a treasury that no gateway sells with any more is judged by the strictest of all gateways."""
    till = make_till(approval_above=LIMIT)
    till.send(STRANGER, 1_001)
    gateway = next(g for g in till.admin.gateways() if g.slug == "gw")
    till.admin.update_gateway("gw", version=gateway.version, treasuries={"fake": address("new treasury")})
    till.finance.write_off(till.item().item_id)
    assert till.item("write_off_approval").amount == 1_001
    assert till.accounts() == {"suspense": 1_001, "treasury": -1_001}


def test_nobody_agrees_to_another_amount_than_was_asked_for(open_any):
    till = open_any("memory", approval_above=LIMIT)
    till.send(STRANGER, 1_001)
    till.finance.write_off(till.item().item_id)
    approval = till.item("write_off_approval")
    with till.storage.unit() as unit:
        unit.apply([StoreQueueItem(attrs.evolve(approval, amount=1_000, version=approval.version + 1))])
    with pytest.raises(Conflict, match="amount"):
        till.engine.finance(SECOND).approve_write_off(approval.item_id)
    assert till.accounts() == {"suspense": 1_001, "treasury": -1_001}
    till.finance.write_off(till.item().item_id)  # asked again, about what it is now
    till.engine.finance(SECOND).approve_write_off(approval.item_id)
    assert till.accounts() == {"treasury": -1_001, "write_off": 1_001}
    assert till.differences() == []


def test_another_decision_withdraws_the_question(make_till):
    till = make_till(approval_above=LIMIT)
    made = till.checkout()
    till.send(STRANGER, PRICE)
    item = till.item()
    till.finance.write_off(item.item_id)
    approval = till.item("write_off_approval")
    till.finance.assign(item.item_id, made.ledger_id)
    assert till.queue() == []
    with pytest.raises(Conflict):
        till.engine.finance(SECOND).approve_write_off(approval.item_id)


def test_the_same_decision_again_is_the_same_answer(till):
    made, other = till.checkout(), till.checkout("u2")
    till.send(STRANGER, PRICE)
    item = till.item().item_id
    first = till.finance.assign(item, made.ledger_id)
    books = till.read(lambda unit: unit.ledger_entries())
    assert till.finance.assign(item, made.ledger_id) == first
    refused = [
        lambda f: f.assign(item, other.ledger_id),
        lambda f: f.credit(item, "u1"),
        lambda f: f.write_off(item),
        lambda f: f.release(item),
        lambda f: f.acknowledge(item),
    ]
    for ruling in refused * 2:
        with pytest.raises(Conflict):
            ruling(till.finance)
    assert till.read(lambda unit: unit.ledger_entries()) == books
    assert [a.action for a in till.admin.audit(object_=item_subject(till))] == ["finance.assign"]


def just_before_the_lock(monkeypatch, work):
    """Let somebody else do something between a decision's first look and its lock, once."""
    locked = Rulings._lock

    def lock(self, user_id):
        monkeypatch.setattr(Rulings, "_lock", locked)
        work()
        return locked(self, user_id)

    monkeypatch.setattr(Rulings, "_lock", lock)


def test_two_who_mark_an_order_at_once_mark_it_once(open_any, monkeypatch):
    till = open_any("postgres")
    made = till.checkout()
    finance = till.engine.finance(ROOT)
    just_before_the_lock(monkeypatch, lambda: finance.mark_paid(made.ledger_id, reason="in cash"))
    with pytest.raises(Conflict):
        till.engine.finance(SECOND).mark_paid(made.ledger_id, reason="by bank")
    order = till.read(lambda unit: unit.order(made.ledger_id))
    assert (order.manual.by, order.manual.reason) == ("root", "in cash")
    assert [a.actor for a in till.admin.audit(object_=f"order:{made.ledger_id}")] == ["root"]


def test_an_order_that_is_paid_meanwhile_is_not_marked(open_any, monkeypatch):
    till = open_any("postgres")
    made = till.checkout()
    just_before_the_lock(monkeypatch, lambda: till.send("u1", PRICE))
    with pytest.raises(Conflict):
        till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="in cash")
    assert till.placed() == [("order", None, "u1", PRICE)]
    assert till.accounts() == {"deferred_revenue": PRICE, "treasury": -PRICE}


def item_subject(till):
    return till.finance.queue(state=None)[0].subject


@pytest.mark.parametrize(
    ("kind", "ruling"),
    [
        ("suspense", lambda f, item, _: f.release(item)),
        ("suspense", lambda f, item, _: f.acknowledge(item)),
        ("duplicate", lambda f, item, order: f.assign(item, order)),
        ("duplicate", lambda f, item, _: f.write_off(item)),
        ("duplicate", lambda f, item, _: f.approve_write_off(item)),
    ],
)
def test_an_item_takes_the_decisions_of_its_kind(memory_till, kind, ruling):
    till = memory_till()
    made = till.checkout()
    till.send(STRANGER, 5, depth=0)
    till.send("u1", PRICE, depth=0)
    till.send("u1", PRICE)
    item = till.item(kind).item_id
    with pytest.raises(Conflict):
        ruling(till.engine.finance(SECOND), item, made.ledger_id)


def test_what_does_not_exist_or_fit_is_refused(till):
    other = till.checkout(plan="other")
    till.send(STRANGER, 5)
    item = till.item().item_id
    for ruling, error in (
        (lambda f: f.assign("nothing", other.ledger_id), NotFound),
        (lambda f: f.assign(item, "00000000-0000-7000-8000-000000000000"), NotFound),
        (lambda f: f.assign(item, other.ledger_id), InputError),
        (lambda f: f.credit(item, "nobody"), NotFound),
        (lambda f: f.item("nothing"), NotFound),
        (lambda f: f.credit(item, "u1", note="two\nlines"), InputError),
    ):
        with pytest.raises(error):
            ruling(till.finance)
    assert till.item().version == 1


def test_money_that_is_gone_cannot_be_decided(till):
    till.send(STRANGER, 5)
    item = till.item().item_id
    till.reorganise(3)
    assert till.queue(None) == [("suspense", "unknown_payer", "withdrawn")]
    with pytest.raises(Conflict):
        till.finance.write_off(item)


@pytest.mark.parametrize(
    ("actor", "call"),
    [
        (Actor("nobody"), lambda f: f.queue()),
        (Actor("nobody"), lambda f: f.item("x")),
        (ROOT, lambda f: f.assign("x", "y")),
        (ROOT, lambda f: f.credit("x", "y")),
        (ROOT, lambda f: f.write_off("x")),
        (ROOT, lambda f: f.release("x")),
        (ROOT, lambda f: f.acknowledge("x")),
        (OPS, lambda f: f.approve_write_off("x")),
        (OPS, lambda f: f.mark_paid("x", reason="cash")),
    ],
)
def test_roles(memory_till, actor, call):
    with pytest.raises(PermissionDenied):
        call(memory_till().engine.finance(actor))


def test_two_people_at_once_decide_once(make_till):
    till = make_till()
    till.wallet("u2"), till.wallet("u3")
    till.send(STRANGER, 7)
    item = till.item().item_id

    def decide(user_id):
        try:
            return till.finance.credit(item, user_id).ruling
        except (Conflict, RetryTransaction) as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(decide, ["u2", "u3"]))
    assert sorted(done).count("credit") == 1, done
    assert till.accounts() == {"customer_credit": 7, "treasury": -7}
    assert till.differences() == []


# -- paid another way


def test_an_order_marked_as_paid_gives_access(till):
    made = till.checkout()
    marked = till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="bank transfer 4711")
    assert (str(marked.status), marked.manual.by, marked.manual.reason) == ("final", "root", "bank transfer 4711")
    assert (till.status(made), till.allowed()) == ("final", True)
    subscription = till.engine.subscriptions("u1")[0]
    assert (str(subscription.status), subscription.anchor) == ("active", till.clock.now())
    assert till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="bank transfer 4711") == marked
    with pytest.raises(Conflict):
        till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="another reason")
    assert [a.action for a in till.admin.audit(object_=f"order:{made.ledger_id}")] == ["finance.mark_paid"]
    assert till.differences() == []


def test_a_thing_marked_as_paid_is_theirs(till):
    made = till.checkout(plan="once")
    till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="cash")
    assert till.allowed()
    assert till.differences() == []


def test_money_after_the_mark_is_credit(till):
    made = till.checkout()
    till.send("u1", 1_000)
    till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="cash")
    till.send("u1", PRICE)
    till.mine(20)
    assert sorted(till.placed(), key=str) == [("credit", "marked_paid", "u1", PRICE), ("order", None, "u1", 1_000)]
    assert till.status(made) == "final"
    assert till.accounts()["customer_credit"] == PRICE
    assert till.differences() == []


@pytest.mark.parametrize("status", ["expired", "confirmed", "final"])
def test_what_can_be_marked(memory_till, status):
    till = memory_till(order_ttl=60)
    made = till.checkout()
    if status == "expired":
        till.mine(seconds=61)
    else:
        till.send("u1", PRICE, depth=3 if status == "confirmed" else 20)
    assert till.status(made) == status
    if status == "expired":
        assert str(till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="cash").status) == "final"
    else:
        with pytest.raises(Conflict):
            till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="cash")


# -- held by a screen


class Screening:
    """A host's screen that holds some addresses and counts what it was asked."""

    def __init__(self, *held: str, answer: object = "hold") -> None:
        self.held, self.answer, self.asked = held, answer, []

    def __call__(self, payer: str, tx_hash: bytes) -> str:
        self.asked.append((payer, tx_hash))
        if payer not in self.held:
            return "ok"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("plan", ["pro", "signed"])
def test_held_money_gives_no_access_until_it_is_released(make_till, plan):
    screen = Screening()
    till = make_till(screen=screen)
    made = till.checkout(plan=plan)
    screen.held = (made.order.wallet,)
    if plan == "pro":
        till.send("u1", PRICE)
    else:
        till.chain.pay(made.order)
        till.mine(3)
    till.mine(5)
    assert (till.status(made), till.allowed()) == ("pending", False)
    assert till.placed() == [("suspense", "screen_hold", "u1", PRICE)]
    assert till.queue() == [("held", "screen_hold", "open")]
    assert len(screen.asked) == 1
    till.finance.release(till.item("held").item_id)
    assert (till.status(made), till.allowed(), till.queue()) == ("confirmed", True, [])
    assert till.kinds() == [("in", "receipt", PRICE, True)]
    assert till.differences() == []


@pytest.mark.parametrize("answer", [ValueError("the service is down"), "maybe", None])
def test_a_screen_that_fails_holds(memory_till, answer):
    screen = Screening(answer=answer)
    till = memory_till(screen=screen)
    made = till.checkout()
    screen.held = (made.order.wallet,)
    till.send("u1", PRICE)
    assert till.queue() == [("held", "screen_hold", "open")]


def test_a_screen_that_hangs_holds_what_it_was_asked_about_and_delays_nothing_else(memory_till, monkeypatch):
    monkeypatch.setattr(intake, "SCREEN_LIMIT", timedelta(seconds=0.05))
    free, asked = threading.Event(), []

    def screen(payer, _):
        asked.append(payer)
        if payer == address("u1"):
            free.wait(30)
        return "ok"

    till = memory_till(screen=screen)
    first, second = till.checkout(), till.checkout("u2")
    till.send("u1", PRICE, depth=0)
    till.send("u2", PRICE, depth=0)
    try:
        till.mine(3)
        assert till.queue() == [("held", "screen_hold", "open")]
        assert (till.status(first), till.status(second)) == ("pending", "confirmed")
        assert asked == [address("u1"), address("u2")]
    finally:
        free.set()


def test_money_waits_while_a_screen_hangs_in_earlier_questions_and_flows_when_it_is_back(memory_till, monkeypatch):
    monkeypatch.setattr(intake, "SCREEN_LIMIT", timedelta(seconds=0.02))
    free = threading.Event()

    def screen(payer, _):
        if payer != address("u9"):
            free.wait(30)
        return "ok"

    till = memory_till(screen=screen)
    for number in range(MOST_HANGING):
        till.checkout(f"u{number}")
        till.send(f"u{number}", PRICE, depth=0)
    made = till.checkout("u9")
    try:
        till.mine(3)
        assert len(till.queue()) == MOST_HANGING
        till.send("u9", PRICE)
        assert till.status(made) == "pending"
        assert len(till.queue()) == MOST_HANGING
    finally:
        free.set()
    for thread in threading.enumerate():
        if thread.name == "lane-screen":
            thread.join(30)
    till.settle()
    assert till.status(made) == "confirmed"


def test_money_of_strangers_is_told_to_the_operators_once(make_till):
    till = make_till()
    till.send(STRANGER, 5)
    (told,) = till.admin.events(type_="billing.payment.unclaimed.v1")
    (receipt,) = till.admin.unmatched_receipts()
    assert told.aggregate == f"receipt:{receipt.receipt_id}"
    assert {
        "received": "5",
        "reason": "unknown_payer",
        "payer": STRANGER,
        "symbol": "USDC",
    }.items() <= told.data.items()
    till.reorganise(3)
    till.chain.resend(receipt.identity.tx_hash)
    till.mine(20)
    assert till.kinds() == [("in", "suspense", 5, True)]
    assert len(till.admin.events(type_="billing.payment.unclaimed.v1")) == 1


def test_what_the_screen_lets_pass_flows_and_is_asked_once(make_till):
    screen = Screening()
    till = make_till(screen=screen)
    made = till.checkout()
    sent = till.send("u1", PRICE, depth=1)
    till.mine(1)
    till.reorganise(1)
    till.chain.resend(sent)
    till.mine(25)
    assert till.status(made) == "final"
    assert screen.asked == [(made.order.wallet, sent)]
    till.send(TREASURY, 5, to=STRANGER)
    assert len(screen.asked) == 1


def test_held_money_of_strangers_and_of_nobodys_order(make_till):
    screen = Screening(STRANGER)
    till = make_till(screen=screen)
    screen.held = (STRANGER, till.wallet("u2"))
    till.send(STRANGER, 5, depth=0)
    till.send("u2", 7)
    assert till.queue() == [("held", "screen_hold", "open")] * 2
    for item in till.finance.queue():
        till.finance.release(item.item_id)
    assert sorted(till.placed(), key=str) == [("credit", "no_order", "u2", 7), ("suspense", "unknown_payer", None, 5)]
    assert till.queue() == [("suspense", "unknown_payer", "open")]
    assert till.accounts() == {"customer_credit": 7, "suspense": 5, "treasury": -12}
    assert till.differences() == []


# -- items that only have to be seen


def test_reversals_and_duplicates_are_acknowledged(till):
    made = till.checkout()
    till.send("u1", PRICE, depth=0)
    till.send("u1", PRICE)
    done = till.finance.acknowledge(till.item("duplicate").item_id, note="asked them")
    assert till.finance.acknowledge(done.item_id) == done
    till.reorganise(3)
    assert till.status(made) == "reversed"
    till.finance.acknowledge(till.item("reversed").item_id)
    assert till.queue() == []
    assert [a.action for a in till.admin.audit() if a.action.startswith("finance")] == ["finance.acknowledge"] * 2
