"""Every check of `evmbilling doctor`: it passes on an installation that is well, and fails on what it is there for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
from datetime import timedelta

import attrs
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.system import SystemClock
from evmbilling.cli.app import app
from evmbilling.doctor import CHECKS
from evmbilling.doctor.checks import BEFORE
from evmbilling.doctor.configuration import check_hooks, is_weak
from evmbilling.doctor.database import check_database, judge_database
from evmbilling.doctor.patient import Patient
from evmbilling.domain.books.seals import Seal
from evmbilling.domain.decisions import AddSeal, SaveGateway, StoreProof, StoreRefund
from evmbilling.domain.refunds.proofs import MISSING
from evmbilling.settings import BillingSettings
from evmbilling.testing.deploy import Deployed, deploy, deploy_mandates, transact
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, plan_fields
from evmbilling.testing.rpc_lies import RangeCap
from evmbilling.testing.rpc_proxy import RpcProxy
from evmbilling.testing.wallet import Wallet
from refund_wallets import prove


def shell(ward, *arguments):
    names = {
        f"BILLING_{name.upper()}": value if isinstance(value, str) else ",".join(value)
        for name, value in ward.given.items()
    }
    return CliRunner(env=names | {"COLUMNS": "200"}).invoke(app, ["doctor", *arguments])


def test_an_installation_that_is_well_passes_every_check(ward):
    diagnosis = ward.examine()
    assert {f.text: f.verdict for f in diagnosis.findings if f.verdict != "pass"} == {}
    # these say nothing where no gateway has a relayer
    silent = {"relayers", "allowances", "mandates"}
    assert {f.check for f in diagnosis.findings} == (BEFORE.keys() | CHECKS.keys()) - silent
    assert all(f.advice == "" for f in diagnosis.findings)
    told = shell(ward, "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["verdict"] == "pass"
    words = shell(ward)
    assert (words.exit_code, words.stdout.splitlines()[0]) == (0, "PASS migrations: the tables are this package's")


def test_a_check_that_fails_ends_the_command_with_1_and_says_what_to_do(ward):
    ward.engine.watch.rest(["readers"])
    told = shell(ward)
    assert told.exit_code == 1
    assert "FAIL workers: nobody does readers -> start `evmbilling worker`, or look at the log" in told.stdout


def raw(ward, *statements):
    with sqlite3.connect(ward.url.removeprefix("sqlite:///")) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_migrations(ward):
    raw(ward, "DROP TRIGGER " + a_trigger(ward))
    verdict, text = ward.found("migrations")
    assert verdict == "fail"
    assert "trigger" in text


def a_trigger(ward):
    with sqlite3.connect(ward.url.removeprefix("sqlite:///")) as connection:
        (name,) = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' LIMIT 1").fetchone()
    connection.close()
    return name


def test_tables_that_are_absent_are_said_and_nothing_else_is_tried(ward, tmp_path):
    diagnosis = ward.examine(database_url=f"sqlite:///{tmp_path}/new.db")
    assert diagnosis.verdict == "fail"
    assert diagnosis.findings[0].text.startswith("revision none instead of ")
    assert [f.check for f in diagnosis.findings] == ["migrations", "database", "engine"]
    assert diagnosis.findings[-1].check == "engine"
    assert "evmbilling db upgrade" in diagnosis.findings[-1].text


def test_a_database_that_does_not_answer(ward):
    diagnosis = ward.examine(database_url="postgresql://nobody:hush@127.0.0.1:9/none")
    assert {(f.check, f.verdict) for f in diagnosis.findings} == {
        (check, "fail") for check in ("migrations", "database", "engine")
    }
    assert {f.text.partition(" (")[0] for f in diagnosis.findings} == {"there is no connection to the database"}
    assert "hush" not in repr(diagnosis)


@pytest.mark.fault("D17")
def test_d17_a_server_that_may_lose_commits_is_found(postgres_url):
    found = {f.text: f for f in check_database(BillingSettings(database_url=postgres_url))}
    assert found["fsync is off"].verdict == found["synchronous_commit is off"].verdict == "fail"
    assert "after a power loss" in found["fsync is off"].advice
    engine = sa.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable')
        connection.commit()
    engine.dispose()
    found = {f.text: f.verdict for f in check_database(BillingSettings(database_url=postgres_url))}
    assert found["default_transaction_isolation is serializable"] == "warn"


@pytest.mark.fault("D17")
def test_d17_sqlite_writes_through(ward):
    (found,) = [f for f in ward.examine().findings if f.check == "database"]
    assert (found.verdict, found.text) == ("pass", "journal_mode wal, synchronous 2, foreign_keys 1")
    (off,) = judge_database("sqlite", {"journal_mode": "wal", "synchronous": "0", "foreign_keys": "1"})
    assert (off.verdict, off.text) == ("fail", "synchronous is 0")


@pytest.mark.fault("D09")
def test_d09_a_replica_is_refused():
    well = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "in_recovery": "no"}
    (fine,) = judge_database("postgresql", well)
    assert fine.verdict == "pass"
    (replica,) = judge_database("postgresql", well | {"in_recovery": "yes"})
    assert replica.verdict == "fail"
    assert "money is read from the primary only" in replica.advice


def test_secrets(ward):
    told = base64.b64encode(b"evmbilling tests only, no secret").decode()
    assert ward.found("secrets", seal_key=told) == ("fail", "BILLING_SEAL_KEY can be guessed")
    weak = "whsec_" + base64.b64encode(bytes(32)).decode()
    verdict, text = ward.found("secrets", webhook_secret=weak)
    assert (verdict, text) == ("fail", "BILLING_WEBHOOK_SECRET can be guessed")
    fresh = base64.b64encode(hashlib.sha256(b"fresh").digest()).decode()
    exchanged = f"{fresh} {ward.given['secret_key']}"
    was = "stored secrets are not sealed under the newest key of BILLING_SECRET_KEY"
    assert ward.found("secrets", secret_key=exchanged) == ("warn", f"2 {was}")
    assert ward.found("secrets", seal_key=f"{fresh} {told}")[0] == "pass"
    lost = "stored secrets cannot be read with BILLING_SECRET_KEY: network:local, gateway:main"
    assert ward.found("secrets", secret_key=fresh) == ("fail", f"2 {lost}")
    admin = ward.engine.admin(ADMIN)
    admin.update_contract("checkout", "local", version=1, webhook_secret=weak)
    assert ward.found("secrets") == ("fail", "webhook_secret of checkout on local can be guessed")


@pytest.mark.parametrize("weak", [bytes(32), b"a" * 32, bytes(range(8)) * 4, b"correct horse battery staple 1234"])
def test_what_a_weak_key_is(weak):
    assert is_weak(weak)


def test_hooks(ward):
    assert ward.found("hooks", notifiers=()) == ("warn", "no notifier is selected: people are told nothing")
    (unknown,) = [f for f in ward.examine(notifiers=("pigeon",)).findings if f.check == "engine"]
    assert unknown.verdict == "fail"
    assert "pigeon" in unknown.text


def test_what_does_less_than_it_is_asked_for_is_named(ward):
    lacking = attrs.evolve(ward.engine._ports, notifiers={"pigeon": object()}, providers={"evm": object()})
    with ward.monkeypatch.context() as patched:
        patched.setattr(ward.engine, "_ports", lacking)
        found = list(check_hooks(Patient(BillingSettings(**ward.given), ward.engine)))
    failed = {f.text.partition(":")[0]: f for f in found if f.verdict == "fail"}
    assert failed.keys() == {"notifier pigeon", "provider evm"}
    assert "notify" in failed["notifier pigeon"].text
    assert "chain" in failed["provider evm"].text
    assert {f.advice for f in failed.values()} == {"install another version of its plugin"}


def test_misfits(ward):
    admin = ward.engine.admin(ADMIN)
    assert ward.found("misfits")[0] == "pass"
    fields = {"signer": SIGNER_KEY, "treasuries": {"local": ward.shop.treasury}}
    admin.create_network(name="new", chain_id=77, rpc_urls=["http://127.0.0.1:9"], testnet=True)
    made = admin.create_gateway(
        slug="typo",
        networks=["new"],
        misfits={"approval_above": {"tUSX": 1}},
        **(fields | {"treasuries": {"new": ward.shop.treasury}}),
    )
    assert ward.found("misfits")[0] == "pass"
    admin.update_gateway("typo", version=made.version, networks=["local"], **fields)
    verdict, text = ward.found("misfits")
    assert (verdict, "gateway typo has a limit for tUSX" in text) == ("warn", True)


def test_drift(ward):
    given = {"chain_id": 31337, "rpc": ["http://127.0.0.1:9/key-of-ours"], "testnet": True, "credit_after": "depth 3"}
    verdict, text = ward.found("drift", rpc_config={"local": given | {"irreversible_after": "depth 20"}})
    assert verdict == "warn"
    assert text.startswith("network local: rpc_urls")
    assert "key-of-ours" not in text


def test_drift_of_a_gateway(ward):
    stored = ward.engine.admin(ADMIN).gateways()[0]
    given = {"networks": ["local"], "signer": "env:ANOTHER_KEY", "treasuries": dict(stored.treasuries)}
    verdict, text = ward.found("drift", evm_gateways={"main": given})
    assert (verdict, text.partition(" differ ")[0]) == ("warn", "gateway main: signer")


def test_nodes(ward, anvil):
    anvil.set_chain_id(5)
    try:
        verdict, text = ward.found("nodes")
    finally:
        anvil.set_chain_id(31337)
    assert verdict == "fail"
    assert text.startswith("local: ")
    network = ward.engine.admin(ADMIN).networks()[0]
    ward.engine.admin(ADMIN).update_network("local", version=network.version, rpc_urls=["http://127.0.0.1:9"])
    verdict, text = ward.found("nodes")
    assert verdict == "fail"
    diagnosis = ward.examine()
    assert {f.verdict for f in diagnosis.findings if f.check in {"contracts", "signers"}} == {"warn"}


def test_one_of_several_nodes_that_is_down_is_named(ward, anvil):
    admin, network = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).networks()[0]
    urls = [anvil.url, "http://127.0.0.1:9/v2/key-of-ours"]
    network = admin.update_network("local", version=network.version, rpc_urls=urls)
    assert ward.found("nodes") == ("warn", "local: node 2 of 2 does not answer: no_connection")
    with RpcProxy(anvil.url) as second:
        admin.update_network("local", version=network.version, rpc_urls=[anvil.url, second.url])
        assert ward.found("nodes")[0] == "pass"


def test_what_each_node_lets_us_ask(ward, anvil):
    ward.node.mine(600)
    verdict, text = ward.found("limits")
    assert verdict == "pass"
    assert re.fullmatch(r"local: node 1 of 1 takes \d+ blocks and 20 calls at once; safe, finalized", text)
    admin, network = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).networks()[0]
    with RpcProxy(anvil.url) as provider:
        network = admin.update_network("local", version=network.version, rpc_urls=[provider.url])
        provider.add(RangeCap(250))
        assert "takes 250 blocks" in ward.found("limits")[1]
        provider.add(RangeCap(40, "block range is too wide"))
        verdict, text = ward.found("limits")
        assert (verdict, int(text.split("takes ")[1].split()[0]) <= 40) == ("warn", True)
        provider.add(RangeCap(0, "block range is too wide"))
        assert ward.found("limits") == ("fail", "local: node 1 of 1 gives no logs of any range")


def test_what_nodes_allow_is_not_passed_over_when_none_answers(ward):
    admin, network = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).networks()[0]
    dead = ["http://127.0.0.1:9", "http://127.0.0.1:9/other"]
    for urls in (dead[:1], dead):
        network = admin.update_network("local", version=network.version, rpc_urls=urls)
        verdict, text = ward.found("limits")
        assert (verdict, text.partition(": ")[2].partition(": ")[0]) == (
            "warn",
            "what its nodes allow could not be asked",
        )


def test_a_clock_that_the_chain_is_ahead_of(ward):
    network = ward.engine.admin(ADMIN).networks()[0]
    ward.engine.admin(ADMIN).update_network("local", version=network.version, testnet=False)
    assert ward.found("nodes")[0] == "pass"

    class Behind(SystemClock):
        def now(self):
            return super().now() - timedelta(hours=2)

    ward.node.mine()
    ward.monkeypatch.setattr("evmbilling.factory.SystemClock", Behind)
    verdict, text = ward.found("nodes")
    assert verdict == "warn"
    assert text.endswith("s ahead of this machine")


def test_contracts_and_signers(ward, anvil):
    anvil.set_code(ward.shop.contract, "0x6001")
    verdict, text = ward.found("contracts")
    assert verdict == "fail"
    assert "is not the Checkout contract of this package" in text


def test_a_halt_lasts_until_a_person_has_looked(ward, anvil):
    code = anvil.rpc("eth_getCode", ward.shop.contract, "latest")
    anvil.set_code(ward.shop.contract, "0x6001")
    ward.engine.check_contracts()
    anvil.set_code(ward.shop.contract, code)
    finance = ward.engine.finance(ADMIN)
    (item,) = finance.queue()
    verdict, text = ward.found("contracts")
    assert verdict == "fail"
    assert text.startswith(f"nothing is sold through checkout on local while the item {item.item_id} is open: local: ")
    finance.acknowledge(item.item_id, note="ours")
    assert ward.found("contracts")[0] == "pass"


def test_a_token_whose_decimals_nobody_has_read_is_looked_at_again(ward):
    admin = ward.engine.admin(ADMIN)
    admin.update_network("local", version=admin.networks()[0].version, rpc_urls=["http://127.0.0.1:9"])
    token = attrs.evolve(ward.shop.token, token="0x" + "77" * 20, symbol="NEW")
    admin.create_plan(**plan_fields(attrs.evolve(ward.shop, token=token), "new"))
    halted = [f for f in ward.examine().findings if f.text.startswith("nothing is sold through NEW (0x7777")]
    assert [(f.check, f.verdict, f.advice) for f in halted] == [
        ("contracts", "warn", "the step checks asks again when a node answers")
    ]


def test_signers(ward):
    gateway = ward.engine.admin(ADMIN).gateways()[0]
    admin = ward.engine.admin(ADMIN)
    admin.update_gateway("main", version=gateway.version, signer="0x" + "42" * 32)
    verdict, text = ward.found("signers")
    assert verdict == "fail"
    assert "does not accept the signer" in text
    admin.update_gateway("main", version=gateway.version + 1, signer="env:NOT_THERE")
    assert ward.found("signers")[0] == "fail"


def test_relayers(ward, anvil):
    admin, gateway = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).gateways()[0]
    admin.update_gateway("main", version=gateway.version, relayer="0x" + "43" * 32)
    verdict, text = ward.found("relayers")
    assert verdict == "fail"
    address, ceiling = text.split()[3], gateway.gas_ceiling
    assert f"holds 0 wei; one transaction may cost {ceiling}" in text
    anvil.set_balance(address, ceiling)
    assert ward.found("relayers")[0] == "warn"
    anvil.set_balance(address, ceiling * 20)
    assert ward.found("relayers")[0] == "pass"
    admin.update_gateway("main", version=gateway.version + 1, relayer="env:NOT_THERE")
    assert ward.found("relayers")[0] == "warn"


def test_refunds_in_the_coin_are_known_by_their_transactions(ward, anvil):
    payer = anvil.accounts[3]
    offer = ward.shop.checkout("alice", wallet=payer.address, asset="ETH")
    anvil.send(offer.payload.as_rpc(payer.address))
    anvil.mine(3)
    ward.engine.read_chain("local")
    ward.engine.run_intake()
    desk = ward.engine.refunds(ADMIN)
    refund = desk.request(ledger_id=offer.ledger_id, reason="asked", via="transfer")
    prove(ward.engine, refund.refund_id, payer)
    payload = desk.prepare(refund.refund_id)
    assert ward.found("refunds")[0] == "pass"  # whoever sends it has an hour
    prepared = attrs.evolve(desk.refund(refund.refund_id), prepared_at=SystemClock().now() - timedelta(hours=2))
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([StoreRefund(attrs.evolve(prepared, version=prepared.version + 1))])
    verdict, text = ward.found("refunds")
    assert (verdict, refund.refund_id in text) == ("warn", True)
    named = desk.name_transaction(refund.refund_id, tx_hash=anvil.send(payload.as_rpc(ward.shop.treasury)))
    assert ward.found("refunds")[0] == "pass"
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([StoreProof(attrs.evolve(named, reason=MISSING, version=named.version + 1))])
    verdict, text = ward.found("refunds")
    assert (verdict, f"nobody has mined for a day: {refund.refund_id}" in text) == ("warn", True)


def test_plans_at_deposit_addresses_need_a_relayer(ward, anvil):
    admin, gateway = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).gateways()[0]
    admin.update_gateway("main", version=gateway.version, relayer=anvil.accounts[3].key)
    made = deploy(anvil, "Deposits")
    admin.create_contract(slug="sweeper", network="local", address=made.address, start_block=made.block, kind="deposit")
    admin.create_plan(**plan_fields(ward.shop, "sent", product="sent", contract_slug="sweeper"))
    assert ward.found("relayers")[0] != "fail"
    with ward.engine._ports.storage.unit() as unit:  # as a row was left that an older version let through
        stored = unit.gateway("main")
        unit.apply([SaveGateway(attrs.evolve(stored, relayer=None, version=stored.version + 1))])
    told = ("fail", "main on local: plans are paid at deposit addresses, and nothing sweeps them")
    assert ward.found("relayers") == told


def test_what_a_relayer_may_do(ward, anvil):
    relayer = anvil.accounts[3]
    admin, gateway = ward.engine.admin(ADMIN), ward.engine.admin(ADMIN).gateways()[0]
    gateway = admin.update_gateway("main", version=gateway.version, relayer=relayer.key)
    strange = deploy_mandates(anvil, operators=(anvil.accounts[4].address,))
    admin.create_contract(
        slug="pull", network="local", address=strange.address, kind="mandates", start_block=strange.block
    )
    refused = ward.found("allowances")
    assert refused == ("fail", f"pull on local does not let {relayer.address} charge")
    admin.archive_contract("pull", "local", version=1)
    known = deploy_mandates(anvil, operators=(relayer.address,))
    admin.create_contract(
        slug="pull2", network="local", address=known.address, kind="mandates", start_block=known.block
    )
    assert ward.found("allowances") == ("pass", f"pull2 on local lets {relayer.address} charge")
    admin.update_gateway("main", version=gateway.version, treasuries={"local": relayer.address})
    verdict, text = ward.found("allowances")
    assert verdict == "warn"
    assert text == "checkout on local may take no tUSD from the relayer: refunds through the contract fail"
    token = Deployed(name="TestToken", address=ward.shop.token.token, block=0)
    transact(anvil, token, "approve", ward.shop.contract, 5, sender=relayer.address)
    assert ward.found("allowances")[0] == "pass"


def test_readers(ward, anvil):
    network = ward.engine.admin(ADMIN).networks()[0]
    ward.engine.admin(ADMIN).update_network("local", version=network.version, max_lag=1)
    raw(ward, "UPDATE evmbilling_cursors SET block_time = '2020-01-01T00:00:00.000000Z'")
    verdict, text = ward.found("readers")
    assert verdict == "fail"
    assert text.endswith("s old, 1 are allowed")


def test_a_network_that_stands_still(ward):
    ward.node.mine(25)
    ward.engine.read_chain("local")
    ward.node.reorg(24)
    ward.node.mine()
    assert ward.engine.read_chain("local").outcome == "halted"
    assert ward.found("readers") == ("fail", "local stands still: reorg_below_irreversible")


def test_readers_that_read_nothing(ward):
    ward.engine.admin(ADMIN).create_network(name="new", chain_id=31340, rpc_urls=["http://127.0.0.1:9"], testnet=True)
    assert ward.found("readers") == ("warn", "new: nothing is bound there yet, so there is nothing to read")
    ward.engine.admin(ADMIN).update_network("new", version=1, start_block=1)
    assert ward.found("readers") == ("warn", "new: nothing has been read yet")
    (finding,) = [f for f in ward.examine().findings if f.verdict == "warn" and f.check == "readers"]
    assert "somebody tries" in finding.advice


def test_a_fresh_installation_is_told_what_it_lacks(ward):
    raw(ward, "DELETE FROM evmbilling_leases", "DELETE FROM evmbilling_cursors")
    verdict, text = ward.found("workers")
    assert (verdict, text.partition(":")[0]) == ("fail", "no worker has been started yet")
    (finding,) = [f for f in ward.examine().findings if f.check == "readers"]
    assert (finding.verdict, finding.text) == ("warn", "local: nothing has been read yet")
    assert "right after an installation" in finding.advice


def test_workers(ward):
    ward.engine.watch.rest(["relayer", "checks"])
    assert ward.found("workers") == ("warn", "nobody does relayer, checks")
    ward.engine.watch.rest(["intake"])
    assert ward.found("workers") == ("fail", "nobody does intake")


@pytest.mark.parametrize(("ahead", "verdict"), [(29, "pass"), (40, "warn"), (-4000, "fail")])
def test_clock(ward, ahead, verdict):
    class Skewed(SystemClock):
        def now(self):
            return super().now() + timedelta(seconds=ahead)

    real = SystemClock()
    ward.monkeypatch.setattr("evmbilling.factory.SystemClock", Skewed)
    ward.monkeypatch.setattr(
        "evmbilling.adapters.sqlalchemy.storage.SqlAlchemyStorage.now", lambda _: real.now(), raising=True
    )
    assert ward.found("clock")[0] == verdict


def later(ward, **span):
    real = SqlAlchemyStorage.now
    ward.monkeypatch.setattr(SqlAlchemyStorage, "now", lambda storage: real(storage) + timedelta(**span))


@pytest.mark.parametrize(("minutes", "verdict"), [(1, "pass"), (6, "warn"), (70, "fail")])
def test_messages_that_wait(ward, minutes, verdict):
    a_payment(ward)
    later(ward, minutes=minutes)
    found = ward.found("messages")
    assert found[0] == verdict
    assert " events wait, the oldest for " in found[1]


def test_messages_that_are_dead(ward):
    a_payment(ward)
    columns = "event_id, sink, aggregate, seq, state, attempts, next_at, version"
    values = "event_id, 'notifier:log', aggregate, seq, 'dead', 9, recorded_at, 1"
    raw(ward, f"INSERT INTO evmbilling_deliveries ({columns}) SELECT {values} FROM evmbilling_outbox LIMIT 1")
    assert ward.found("messages") == ("warn", "notifier:log: 1 dead")


def a_payment(ward):
    account = ward.node.accounts[1]
    offer = ward.shop.checkout(wallet=account.address, asset="ETH")
    Wallet(account.key, ward.node.url).pay(ward.engine.pay_instructions(offer.ledger_id))
    ward.node.mine(4)
    ward.shop.drain()
    assert ward.engine.watch.figures().outbox.count


def test_seals(ward):
    assert ward.found("seals", seal_key=None)[0] == "warn"
    real = SystemClock()

    class Later(SystemClock):
        def now(self):
            return real.now() + timedelta(minutes=6)

    ward.monkeypatch.setattr("evmbilling.factory.SystemClock", Later)
    verdict, text = ward.found("seals")
    assert verdict == "fail"
    assert text.endswith("are not sealed after five minutes")


def test_a_worker_with_a_former_seal_key_is_named(ward):
    last = Seal(
        number=1, previous=bytes(32), mac=bytes(32), rows=0, sealed_at=ward.engine.watch.now(), key_id="5ea1c0de"
    )
    with ward.engine._ports.storage.unit() as unit:
        unit.apply([AddSeal(last, ())])
    verdict, text = ward.found("seals")
    assert (verdict, "5ea1c0de" in text) == ("fail", True)


def test_settings_that_are_none(ward):
    ward.monkeypatch.setenv("BILLING_NOTIFIRES", "log")
    told = "BILLING_NOTIFIRES: there is no such setting, it is ignored; did you mean BILLING_NOTIFIERS?"
    assert ward.found("settings") == ("warn", told)
    ward.monkeypatch.delenv("BILLING_NOTIFIRES")
    unread = ward.found("settings", plugin_options={"notifier.pigeon": {"loft": 1}})
    assert unread == ("warn", "BILLING_PLUGIN_OPTIONS: nothing reads the options of notifier.pigeon")
