"""A call is tried before a customer pays: through the engine and through the command line."""

from __future__ import annotations

import base64
import json

import pytest
from bindings_bench import ALICE, BOB, JOIN, JOINED, PRICE, Club
from typer.testing import CliRunner

from evmbilling.cli.app import app
from evmbilling.domain.actors import Actor, Role
from evmbilling.errors import InputError, PermissionDenied
from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.messages import Request
from evmbilling.testing.merchant import _NO_SECRET, ADMIN

WIDE = {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}


def test_a_call_is_encoded_tried_measured_and_read(club: Club):
    club.start()
    desk = club.engine.contracts(ADMIN)
    found = desk.simulate("theirs", "local", wallet=ALICE.address, token=club.token.address, amount=PRICE)
    assert (found.succeeds, found.pays, found.refusal) == (True, True, None)
    assert found.approval == (club.passes.address, PRICE)
    assert [event.means for event in found.events if event.event] == ["paid"]
    joined = next(event for event in found.events if event.means == "paid")
    assert dict(joined.fields)["buyer"] == ALICE.address
    assert found.mapped[0][1] == "paid"
    # Nothing was sent; what was measured is enough for the real thing.
    assert club.balance(club.treasury) == 0
    ((kind, offered),) = found.offered_gas
    assert kind == "token"
    (bound,) = club.admin.contracts()
    club.admin.update_contract("theirs", "local", version=bound.version, gas=dict(found.offered_gas))
    offer = club.checkout()
    assert offer.payload.gas == offered
    receipt = club.pay(offer)
    assert int(receipt["gasUsed"], 16) <= offered
    assert club.engine.order(offer.ledger_id).status == "confirmed"


def test_a_call_that_pays_nobody_is_shown(club: Club):
    elsewhere = JOIN | {"args": [JOIN["args"][0], {"vault": BOB.address, "until": 0}, "{amount}", "x"]}
    club.bind(club.passes, mint_method=elsewhere, events=[JOINED])
    club.fund(ALICE)
    desk = club.engine.contracts(ADMIN)
    found = desk.simulate("theirs", "local", wallet=ALICE.address, token=club.token.address, amount=PRICE)
    assert (found.succeeds, found.pays) == (True, False)


def test_a_call_that_is_refused_says_so(club: Club):
    club.start()
    desk = club.engine.contracts(ADMIN)
    poor = desk.simulate(
        "theirs", "local", wallet=club.node.accounts[7].address, token=club.token.address, amount=str(PRICE)
    )
    assert (poor.succeeds, poor.gas, poor.offered_gas, poor.events) == (False, None, (), ())
    assert poor.refusal


def test_a_node_that_cannot_simulate_only_tries(club: Club, monkeypatch):
    from evmbilling.adapters.evm.bindings import dry_run
    from evmbilling.adapters.evm.tokens import lending

    club.start()
    monkeypatch.setattr(dry_run, "_SIMULATE", "eth_unheardOf")
    desk = club.engine.contracts(ADMIN)
    wanted = {"wallet": ALICE.address, "token": club.token.address, "amount": PRICE}
    found = desk.simulate("theirs", "local", **wanted)
    assert (found.succeeds, found.pays, found.events, found.unchecked) == (True, None, (), ("events",))
    assert found.gas
    # A token that keeps its allowances where nobody finds them: the call is tried as things stand.
    monkeypatch.setattr(lending, "_SLOTS", ())
    found = desk.simulate("theirs", "local", **wanted)
    assert (found.succeeds, found.gas, found.unchecked) == (False, None, ("events", "approval"))
    club.act(club.token, "approve", club.passes.address, PRICE, sender=ALICE.address)
    assert desk.simulate("theirs", "local", **wanted).succeeds


def test_who_may_and_what_is_named(club: Club):
    club.start()
    with pytest.raises(PermissionDenied):
        club.engine.contracts(Actor("ops", frozenset({Role.FINANCE_OPS}))).simulate(
            "theirs", "local", wallet=ALICE.address, token="native", amount=1
        )
    with pytest.raises(InputError) as refused:
        club.engine.contracts(ADMIN).simulate("theirs", "local", wallet=ALICE.address, token="native", amount=1)
    assert refused.value.field == "mint_method.value"


def test_the_command_says_the_same_to_programs_and_people(stored_club: Club):
    club, url = stored_club, stored_club.url
    club.start()
    keys = {"BILLING_DATABASE_URL": url, "BILLING_SECRET_KEY": base64.b64encode(_NO_SECRET).decode()}
    asked = ["contracts", "simulate", "theirs", "local", "--token", club.token.address, "--amount", str(PRICE)]

    def run(account, *more: str):
        return CliRunner(env=WIDE | keys).invoke(app, [*asked, "--wallet", account.address, *more])

    told = run(ALICE, "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["succeeds"], document["pays"]) == (True, True)
    assert document["approval"] == {"spender": club.passes.address, "amount": str(PRICE)}
    assert document["payload"]["to"] == club.passes.address
    assert document["offered_gas"]["token"] > document["gas"]
    words = run(ALICE).stdout
    assert words.startswith("the call goes through; it pays the order\n")
    assert ": paid\n" in words
    poor = run(club.node.accounts[7])
    assert poor.exit_code == 1
    assert poor.stdout.startswith("the contract refuses the call: ")
    wrong = run(ALICE, "--treasury", "0x12")
    assert (wrong.exit_code, wrong.stderr.startswith("error: treasury: ")) == (2, True)


@pytest.mark.parametrize("route", ["simulate_contract", "pin_contract"])
def test_the_api_of_administration_tries_and_trusts_a_call(club: Club, route: str):
    """The same as the engine's own answer, as JSON, for administrators."""
    club.start()
    api = HttpApi(club.engine)
    (bound,) = club.admin.contracts()
    found = next(one for one in api.routes if one.name == route)
    wanted = {"wallet": ALICE.address, "token": club.token.address, "amount": str(PRICE)}
    request = Request(
        method="POST",
        path="",
        params={"slug": "theirs", "network": "local"},
        headers=(("content-type", "application/json"),),
        body=json.dumps(wanted if route == "simulate_contract" else {"version": bound.version}).encode(),
    )
    answer = api.respond(found, request, ADMIN)
    told = json.loads(answer.body)
    assert answer.status == 200, told
    if route == "pin_contract":
        assert set(told["pins"]) == {club.passes.address, club.token.address}
        assert told["version"] == bound.version + 1
        return
    own = club.engine.contracts(ADMIN).simulate("theirs", "local", **wanted)
    assert (told["succeeds"], told["pays"], told["gas"]) == (True, True, own.gas)
    assert told["offered_gas"] == dict(own.offered_gas)
    assert told["approval"] == {"spender": club.passes.address, "base_units": str(PRICE)}
    assert told["mapped"] == [{"event": own.mapped[0][0], "means": "paid"}]
    assert [event["means"] for event in told["events"]] == [event.means for event in own.events]
    assert api.respond(found, request, Actor("ops", frozenset({Role.FINANCE_OPS}))).status == 403
