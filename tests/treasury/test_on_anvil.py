"""Plain transfers on a real chain, with tokens that do not behave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from eth_hash.auto import keccak
from till import OPS, ROOT

from evmbilling.domain.addresses import checksum
from evmbilling.domain.decisions import ConfirmWallet
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.errors import InputError, UnknownAsset
from evmbilling.factory import BillingEngine
from evmbilling.ports.storage import Storage
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import calldata, deploy_token, transact
from evmbilling.testing.merchant import SIGNER_KEY, repeatable_secrets

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000
TREASURY = checksum(keccak(b"treasury on anvil")[12:])
DATABASES = ["memory", "sqlite", "postgres"]
SCRIPT = "<script>alert('\u202e\x00')</script>"


@attrs.frozen(kw_only=True)
class Counter:
    """A merchant on a node, whose token is one of the packaged ones."""

    node: AnvilNode
    engine: BillingEngine
    token: Any
    payer: str
    storage: Storage
    clock: FrozenClock

    def checkout(self, key: str = "k1") -> Any:
        return self.engine.checkout(plan="direct", user_id="u1", wallet=self.payer, idempotency_key=key)

    def send(self, payload: Any, *, mine: int = 3) -> dict[str, Any]:
        """Let the unlocked wallet send a payload as it is, and mine until it counts."""
        tx_hash = self.node.send(payload.as_rpc(self.payer))
        self.node.mine(mine)
        self.settle()
        receipt = self.node.receipt(tx_hash)
        assert receipt is not None
        return receipt

    def settle(self) -> None:
        head = self.node.block()
        assert head is not None
        self.clock.set(max(self.clock.now(), datetime.fromtimestamp(int(head["timestamp"], 16), UTC)))
        self.engine.read_chain("local")
        while self.engine.run_intake().taken:
            pass

    def status(self, made: Any) -> str:
        return str(self.engine.order(made.ledger_id).status)

    def receipts(self) -> list[Any]:
        with self.storage.unit(write=False) as unit:
            return list(unit.all_receipts())

    def problems(self, made: Any) -> list[str]:
        return [p.code for p in self.engine.pay_instructions(made.ledger_id).problems]

    def sell(self, slug: str = "direct", *, amount: int = PRICE) -> None:
        """Sell something for the token."""
        price = {"network": "local", "chain_id": self.node.chain_id, "token": self.token.address, "decimals": 6}
        self.engine.admin(ROOT).create_plan(
            slug=slug,
            name="Direct",
            product="book",
            interval="none",
            gateway_slug="gw",
            contract_slug="direct",
            prices=[price | {"symbol": "USDC", "amount": amount}],
        )

    def set_fee(self, basis_points: int) -> None:
        transact(self.node, self.token, "setFee", basis_points, sender=self.payer)

    def found(self) -> list[str]:
        return [d.code for d in self.engine.verify(full=True).differences]


@pytest.fixture
def open_counter(anvil: AnvilNode, open_database: Callable[..., Any]) -> Iterator[Callable[..., Counter]]:
    """Deploy a token and open a merchant on it: ``open_counter("FeeToken")``."""
    opened: list[BillingEngine] = []

    def open_(
        artefact: str = "TestToken",
        *,
        symbol: str = "tUSD",
        funds: int = 10 * PRICE,
        fee: int | None = None,
        database: str = "memory",
    ) -> Counter:
        token = deploy_token(anvil, decimals=6, artefact=artefact, symbol=symbol)
        payer = anvil.accounts[3].address
        transact(anvil, token, "mint", payer, funds, sender=payer)
        if fee is not None:
            transact(anvil, token, "setFee", fee, sender=payer)
        head = anvil.block()
        assert head is not None
        clock = FrozenClock(datetime.fromtimestamp(int(head["timestamp"], 16), UTC))
        storage = open_database(database, clock)
        engine = BillingEngine(storage=storage, clock=clock, secrets=repeatable_secrets())
        opened.append(engine)
        admin = engine.admin(ROOT)
        admin.create_network(
            name="local",
            chain_id=anvil.chain_id,
            rpc_urls=[anvil.url],
            testnet=True,
            start_block=token.block + 1,
            credit_after="depth 3",
            irreversible_after="depth 20",
        )
        admin.create_gateway(slug="gw", networks=["local"], signer=SIGNER_KEY, treasuries={"local": TREASURY})
        admin.create_contract(slug="direct", network="local", address=token.address, kind="erc20")
        counter = Counter(node=anvil, engine=engine, token=token, payer=payer, storage=storage, clock=clock)
        counter.sell()
        with storage.unit() as unit:
            unit.lock_customer(Customer(user_id="u1", created_at=clock.now()))
            unit.apply([ConfirmWallet(Wallet(user_id="u1", address=payer, confirmed_at=clock.now()))])
        return counter

    yield open_
    for engine in opened:
        engine.close()


def refuse(counter: Counter, *selectors: bytes) -> None:
    """Let the token refuse these functions from now on and act as before otherwise, as a paused one does."""
    node, address = counter.node, counter.token.address
    elsewhere = checksum(keccak(b"the code as it was")[12:])
    node.set_code(elsewhere, node.rpc("eth_getCode", address, "latest"))
    # calldatacopy; delegatecall to the code as it was; returndatacopy
    body = bytes.fromhex("3660006000376000600036600073") + bytes.fromhex(elsewhere[2:])
    body += bytes.fromhex("5af43d600060003e")
    start = 6 + 11 * len(selectors)
    good = start + len(body) + 4 + 4
    bad = good + 5
    code = bytes.fromhex("60003560e01c")
    for selector in selectors:
        code += b"\x80\x63" + selector + b"\x14\x61" + bad.to_bytes(2) + b"\x57"
    code += body + b"\x61" + good.to_bytes(2) + b"\x57" + bytes.fromhex("3d6000fd")
    code += bytes.fromhex("5b3d6000f3") + bytes.fromhex("5b60006000fd")
    node.set_code(address, "0x" + code.hex())


def test_a_plain_transfer_pays_on_a_real_chain(open_counter: Callable[..., Counter]) -> None:
    counter = open_counter()
    made = counter.checkout()
    assert counter.problems(made) == []
    receipt = counter.send(made.payload)
    assert (receipt["status"], counter.status(made)) == ("0x1", "confirmed")
    assert counter.engine.access("u1").allowed
    assert int(receipt["gasUsed"], 16) < made.payload.gas
    assert counter.found() == []


def test_transfers_between_and_from_treasuries_are_seen_on_a_real_chain(open_counter: Callable[..., Counter]) -> None:
    counter = open_counter()
    counter.send(counter.checkout().payload)
    counter.node.impersonate(TREASURY)
    counter.node.set_balance(TREASURY, 10**18)
    transact(counter.node, counter.token, "transfer", counter.payer, 1_000, sender=TREASURY)
    counter.node.mine(3)
    counter.settle()
    with counter.storage.unit(write=False) as unit:
        assert sorted((m.direction, m.kind, m.amount) for m in unit.all_movements()) == [
            ("in", "receipt", PRICE),
            ("out", "external", 1_000),
        ]
    assert counter.found() == []


@pytest.mark.fault("T01", "T09", "T10")
@pytest.mark.parametrize("database", DATABASES)
def test_t01_t09_t10_a_transfer_that_the_token_refuses_pays_nothing_and_the_order_stays_due(
    open_counter: Callable[..., Counter], database: str
) -> None:
    """A paused token, or one that blocks an address, refuses every transfer."""
    counter = open_counter(database=database)
    made = counter.checkout()
    before = counter.node.rpc("eth_getCode", counter.token.address, "latest")
    refuse(counter, bytes.fromhex("a9059cbb"))
    assert counter.problems(made) == ["token_refuses"]
    receipt = counter.send(made.payload)
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert (counter.status(made), counter.receipts()) == ("pending", [])
    for _ in range(3):
        counter.settle()
    counter.node.set_code(counter.token.address, before)
    assert counter.problems(made) == []
    counter.send(made.payload)
    assert counter.status(made) == "confirmed"


@pytest.mark.fault("T02")
def test_t02_a_token_that_answers_false_moves_nothing(open_counter: Callable[..., Counter]) -> None:
    counter = open_counter("RetFalseToken", funds=0)
    made = counter.checkout()
    assert counter.problems(made) == ["balance"]
    receipt = counter.send(made.payload)
    assert receipt["logs"] == []
    assert (counter.status(made), counter.receipts()) == ("pending", [])


@pytest.mark.fault("T06")
@pytest.mark.parametrize("database", DATABASES)
def test_t06_a_token_that_keeps_a_fee_is_not_sold_in(open_counter: Callable[..., Counter], database: str) -> None:
    with pytest.raises(InputError) as refused:
        open_counter("FeeToken", fee=100, database=database)
    assert refused.value.field == "prices[0]"
    assert "keeps a fee: of 19.99 sent 19.7901 arrive" in refused.value.message


@pytest.mark.fault("T06")
@pytest.mark.parametrize("database", DATABASES)
def test_t06_a_fee_that_is_switched_on_later_halts_the_token(
    open_counter: Callable[..., Counter], database: str
) -> None:
    counter = open_counter("FeeToken", fee=0, database=database)
    made = counter.checkout()
    assert counter.engine.check_tokens() == []
    counter.set_fee(1)
    (item,) = counter.engine.check_tokens()
    assert (item.kind, item.reason) == ("token_halted", "keeps_a_fee")
    address = counter.token.address
    assert item.note == f"local: USDC: the token {address} keeps a fee: of 19.99 sent 19.988001 arrive"
    assert counter.engine.check_tokens() == []
    with pytest.raises(UnknownAsset):
        counter.checkout("k2")
    # What is sent anyway waits for a person, however much of it arrived.
    counter.send(made.payload)
    assert (counter.status(made), [r.allocation for r in counter.receipts()]) == ("pending", ["suspense"])
    counter.set_fee(0)
    counter.engine.finance(OPS).acknowledge(item.item_id, note="the fee is off again")
    assert counter.engine.check_tokens() == []
    assert counter.checkout("k3").order.asset.token == address
    # What a person has seen was that fee: one that comes later is asked about again.
    counter.set_fee(1)
    assert [again.item_id for again in counter.engine.check_tokens()] == [item.item_id]
    counter.engine.finance(OPS).acknowledge(item.item_id, note="we live with it")
    assert counter.engine.check_tokens() == []
    assert counter.checkout("k4").order.asset.token == address


@pytest.mark.fault("T06")
def test_t06_the_highest_price_is_tried_because_a_small_fee_rounds_to_nothing_on_others(
    open_counter: Callable[..., Counter],
) -> None:
    counter = open_counter("FeeToken", fee=0)
    for number in range(6):
        counter.sell(f"cheap-{number}", amount=9_999 - number)
    counter.set_fee(1)
    (item,) = counter.engine.check_tokens()
    assert "of 19.99 sent 19.988001 arrive" in item.note
    counter.sell("another", amount=9_999)


@pytest.mark.fault("T06")
@pytest.mark.parametrize("database", DATABASES)
def test_t06_a_fee_that_no_check_has_seen_yet_is_named_by_verify(
    open_counter: Callable[..., Counter], database: str
) -> None:
    """The log tells more than what arrived; only the balance says so."""
    counter = open_counter("FeeToken", fee=0, database=database)
    made = counter.checkout()
    counter.set_fee(100)
    counter.send(made.payload)
    assert [r.amount for r in counter.receipts()] == [PRICE]
    assert counter.found() == ["unexplained_delta"]


@pytest.mark.fault("T07", "T08")
@pytest.mark.parametrize("database", DATABASES)
def test_t07_t08_balances_that_move_without_a_log_give_no_credit(
    open_counter: Callable[..., Counter], database: str
) -> None:
    """Rebasing, airdrops and silent tokens: no log, no receipt; verify tells the difference."""
    counter = open_counter(database=database)
    made = counter.checkout()
    counter.node.rpc("anvil_dealERC20", TREASURY, counter.token.address, hex(PRICE))
    counter.node.mine(3)
    counter.settle()
    assert (counter.status(made), counter.receipts()) == ("pending", [])
    assert counter.found() == ["unexplained_delta"]


@pytest.mark.fault("T13")
@pytest.mark.parametrize("database", DATABASES)
def test_t13_decimals_that_change_halt_the_token(open_counter: Callable[..., Counter], database: str) -> None:
    counter = open_counter(database=database)
    made = counter.checkout()
    assert counter.engine.check_tokens() == []
    other = deploy_token(counter.node, decimals=18)
    counter.node.set_code(counter.token.address, counter.node.rpc("eth_getCode", other.address, "latest"))
    if counter.node.rpc("eth_call", {"to": counter.token.address, "data": "0x313ce567"}, "latest")[-2:] == "06":
        counter.node.set_storage(counter.token.address, 2, 18)  # decimals are kept in storage, not in the code
    assert counter.problems(made) == ["token_changed"]
    (item,) = counter.engine.check_tokens()
    assert (item.kind, item.reason) == ("token_halted", "decimals_changed")
    assert [i.item_id for i in counter.engine.finance(OPS).queue()] == [item.item_id]


@pytest.mark.fault("T26")
@pytest.mark.parametrize("database", DATABASES)
def test_t26_what_the_token_calls_itself_is_never_shown(open_counter: Callable[..., Counter], database: str) -> None:
    counter = open_counter(symbol=SCRIPT, database=database)
    made = counter.checkout()
    counter.send(made.payload)
    shown = repr((made, counter.receipts(), counter.engine.pay_instructions(made.ledger_id)))
    assert "script" not in shown
    assert {r.asset.symbol for r in counter.receipts()} == {"USDC"}


@pytest.mark.fault("T25")
@pytest.mark.parametrize("database", DATABASES)
def test_t25_the_largest_amount_of_a_real_token(open_counter: Callable[..., Counter], database: str) -> None:
    counter = open_counter(funds=2**256 - 1, database=database)
    made = counter.checkout()
    data = calldata("TestToken", "transfer", TREASURY, 2**256 - 1)
    counter.send(attrs.evolve(made.payload, data=data))
    assert counter.status(made) == "confirmed"
    assert [r.amount for r in counter.receipts()] == [2**256 - 1]
    assert counter.found() == []


@pytest.mark.fault("T03")
def test_t03_a_token_that_lies_about_a_transfer_is_not_one_that_we_sell_in(
    open_counter: Callable[..., Counter],
) -> None:
    counter = open_counter()
    made = counter.checkout()
    liar = deploy_token(counter.node, artefact="LieToken")
    transact(counter.node, liar, "transfer", TREASURY, PRICE, sender=counter.payer)
    counter.node.mine(3)
    counter.settle()
    assert (counter.status(made), counter.receipts()) == ("pending", [])


def test_a_transfer_that_two_queries_find_is_one_movement(open_counter: Callable[..., Counter]) -> None:
    counter = open_counter()
    counter.send(counter.checkout().payload)
    counter.node.impersonate(TREASURY)
    counter.node.set_balance(TREASURY, 10**18)
    transact(counter.node, counter.token, "transfer", TREASURY, 5, sender=TREASURY)
    counter.node.mine(3)
    counter.settle()
    with counter.storage.unit(write=False) as unit:
        assert sorted((m.kind, m.amount) for m in unit.all_movements()) == [("external", 5), ("receipt", PRICE)]
    assert counter.found() == []
