"""Deposit addresses on chain: where they are, what can be taken from them, and by whom."""

from __future__ import annotations

import pytest
from contract_bench import ALICE, BOB, MALLORY, NATIVE, TREASURY, ZERO, Bench, Contract, Reverted, decode_error
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.selling.deposits import INIT_CODE_HASH, create2_address, deposit_address
from sampling import examples

REFERENCE = keccak(text="order 1")
OTHER = to_checksum_address("0x" + "78" * 20)
AMOUNT = 20_000_000
ADDRESSES = st.binary(min_size=20, max_size=20).filter(any).map(checksum)


@pytest.fixture
def deposits(bench: Bench) -> Contract:
    return bench.deploy("Deposits")


def address_of(deposits: Contract, reference: bytes = REFERENCE, treasury: str = TREASURY) -> str:
    return deposit_address(deposits.address, reference, treasury)


def swept(bench: Bench, deposits: Contract) -> list[tuple[object, ...]]:
    """The contract's own events in the last transaction."""
    return [tuple(log.args.values()) for log in bench.logs if log.address == deposits.address]


@pytest.mark.parametrize(
    ("maker", "salt", "code", "expected"),
    [
        ("00" * 20, "00" * 32, "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
        ("deadbeef" + "00" * 16, "00" * 32, "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
        ("deadbeef" + "00" * 16, "00" * 12 + "feed" + "00" * 18, "00", "0xD04116cDd17beBE565EB2422F2497E06cC1C9833"),
        ("00" * 20, "00" * 32, "deadbeef", "0x70f2b2914A2a4b783FaEFb75f459A580616Fcb5e"),
        ("00" * 16 + "deadbeef", "00" * 28 + "cafebabe", "deadbeef", "0x60f3f640a8508fC6a86d45DF051962668E1e8AC7"),
        ("00" * 20, "00" * 32, "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
    ],
)
def test_the_examples_of_eip_1014(maker: str, salt: str, code: str, expected: str) -> None:
    assert create2_address(f"0x{maker}", bytes.fromhex(salt), keccak(bytes.fromhex(code))) == expected


def test_the_creation_code_is_the_one_that_addresses_are_made_of() -> None:
    assert keccak(artifact("DepositAddress").bytecode) == INIT_CODE_HASH


@settings(max_examples=examples(60), deadline=None)
@given(reference=st.binary(min_size=32, max_size=32), treasury=ADDRESSES)
def test_the_contract_computes_the_same_address(reference: bytes, treasury: str) -> None:
    deposits = Bench().deploy("Deposits")
    assert deposits.call("addressOf", reference, treasury) == deposit_address(deposits.address, reference, treasury)


@pytest.mark.parametrize("name", ["TestToken", "NoReturnToken"])
def test_tokens_that_were_there_before_the_address_are_swept_by_anybody(bench: Bench, name: str) -> None:
    deposits, token = bench.deploy("Deposits"), bench.deploy(name, "Token", "TKN", 6)
    address = address_of(deposits)
    bench.names[address] = "DepositAddress"
    token.call("mint", BOB, 3 * AMOUNT)
    token.call("transfer", address, AMOUNT, sender=BOB)
    assert not bytes(bench.evm.get_code(address) or b"").strip(b"\0")
    assert deposits.call("sweep", REFERENCE, TREASURY, token.address, AMOUNT, sender=MALLORY) == AMOUNT
    first = bench.gas
    assert swept(bench, deposits) == [(REFERENCE, token.address, TREASURY, AMOUNT)]
    assert (bench.balance(TREASURY, token), bench.balance(address, token)) == (AMOUNT, 0)
    # What comes again goes the same way, and cheaper: the address has its code.
    token.call("transfer", address, 2 * AMOUNT, sender=BOB)
    assert deposits.call("sweep", REFERENCE, TREASURY, token.address, 2 * AMOUNT) == 2 * AMOUNT
    assert bench.gas < first
    assert bench.balance(TREASURY, token) == 3 * AMOUNT


def test_coins_are_swept_before_and_after_the_address_has_code(bench: Bench, deposits: Contract) -> None:
    address = address_of(deposits)
    bench.names[address] = "DepositAddress"
    bench.evm.set_balance(ALICE, 10**20)
    bench.send(ALICE, address, b"", 10**18)
    assert deposits.call("sweep", REFERENCE, TREASURY, NATIVE, 10**18, sender=MALLORY) == 10**18
    assert swept(bench, deposits) == [(REFERENCE, NATIVE, TREASURY, 10**18)]
    bench.send(ALICE, address, b"", 5)
    assert bench.gas < 21_000 + 2_300  # the stipend of a contract that pays with it is enough
    assert deposits.call("sweep", REFERENCE, TREASURY, NATIVE, 5) == 5
    assert bench.evm.get_balance(TREASURY) == 10**18 + 5
    assert bench.evm.get_balance(address) == 0


def test_a_reference_has_one_address_for_each_treasury_and_contract(bench: Bench, deposits: Contract) -> None:
    again = bench.deploy("Deposits")
    found = {address_of(d, r, t) for d in (deposits, again) for r in (REFERENCE, bytes(32)) for t in (TREASURY, OTHER)}
    assert len(found) == 8


def test_nobody_has_the_money_sent_elsewhere(bench: Bench, deposits: Contract) -> None:
    address = address_of(deposits)
    bench.names[address] = "DepositAddress"
    bench.token.call("mint", address, AMOUNT)
    for treasury in (MALLORY, OTHER):
        with pytest.raises(Reverted, match="NotThere"):
            deposits.call("sweep", REFERENCE, treasury, bench.token.address, AMOUNT, sender=MALLORY)
    with pytest.raises(Reverted, match="ZeroTreasury"):
        deposits.call("sweep", REFERENCE, ZERO, bench.token.address, AMOUNT)
    deposits.call("sweep", REFERENCE, TREASURY, bench.token.address, AMOUNT)
    bench.token.call("mint", address, AMOUNT)
    # Whoever calls the address itself in the words of its maker has done nothing.
    call = bytes(12) + bytes.fromhex(bench.token.address[2:]) + bytes(32)
    bench.send(MALLORY, address, call + bench.token.data("transfer", MALLORY, AMOUNT))
    assert bench.logs == []
    assert bench.balance(address) == AMOUNT


@pytest.mark.parametrize(("held", "amount"), [(0, 1), (4, 5), (11, 5), (2**256 - 1, 5), (5, 2**256 - 1)])
def test_what_is_asked_for_has_to_be_there_and_half_of_what_is_there_at_least(
    bench: Bench, deposits: Contract, held: int, amount: int
) -> None:
    address = address_of(deposits)
    bench.token.call("mint", address, held)
    with pytest.raises(Reverted) as caught:
        deposits.call("sweep", REFERENCE, TREASURY, bench.token.address, amount)
    assert (caught.value.name, caught.value.values) == ("NotThere", (bench.token.address, held))
    bench.evm.set_balance(address, held)
    with pytest.raises(Reverted) as coins:
        deposits.call("sweep", REFERENCE, TREASURY, NATIVE, amount)
    assert (coins.value.name, coins.value.values) == ("NotThere", (NATIVE, held))


@pytest.mark.parametrize("held", [5, 6, 10])
def test_a_sweep_takes_what_it_says_and_leaves_what_came_meanwhile(bench: Bench, deposits: Contract, held: int) -> None:
    address = address_of(deposits)
    bench.names[address] = "DepositAddress"
    bench.token.call("mint", address, held)
    assert deposits.call("sweep", REFERENCE, TREASURY, bench.token.address, 5) == 5
    assert (bench.balance(address), bench.balance(TREASURY)) == (held - 5, 5)


def test_nothing_is_no_sweep(bench: Bench, deposits: Contract) -> None:
    with pytest.raises(Reverted, match="ZeroAmount"):
        deposits.call("sweep", REFERENCE, TREASURY, bench.token.address, 0)
    with pytest.raises(Reverted):
        deposits.call("sweep", REFERENCE, TREASURY, MALLORY, 1)  # no token is there


@pytest.mark.fault("T02", "T03")
@pytest.mark.parametrize("name", ["RetFalseToken", "LieToken"])
def test_t02_t03_a_token_that_moves_nothing_is_not_swept(bench: Bench, deposits: Contract, name: str) -> None:
    token = bench.deploy(name, "Bad", "BAD", 6)
    token.call("mint", address_of(deposits), AMOUNT)
    with pytest.raises(Reverted) as caught:
        deposits.call("sweep", REFERENCE, TREASURY, token.address, AMOUNT)
    assert (caught.value.name, caught.value.values) == ("NothingArrived", (token.address,))


@pytest.mark.fault("T06")
def test_t06_the_event_says_what_arrived(bench: Bench, deposits: Contract) -> None:
    token = bench.deploy("FeeToken", "Fee", "FEE", 6)
    address = address_of(deposits)
    bench.names[address] = "DepositAddress"
    token.call("mint", address, AMOUNT)
    assert deposits.call("sweep", REFERENCE, TREASURY, token.address, AMOUNT) == AMOUNT * 99 // 100
    assert swept(bench, deposits) == [(REFERENCE, token.address, TREASURY, AMOUNT * 99 // 100)]
    assert bench.balance(TREASURY, token) == AMOUNT * 99 // 100


@pytest.mark.fault("T11")
@pytest.mark.parametrize("native", [False, True], ids=["a token", "a treasury that is paid coins"])
def test_t11_who_calls_back_sweeps_once(bench: Bench, deposits: Contract, native: bool) -> None:
    hook = bench.deploy("HookToken", "Hook", "HK", 6)
    treasury = hook.address if native else TREASURY
    address, second = (address_of(deposits, r, treasury) for r in (REFERENCE, bytes(32)))
    bench.names |= dict.fromkeys((address, second), "DepositAddress")
    token = bench.token if native else hook
    bench.evm.set_balance(address, AMOUNT)
    token.call("mint", address, AMOUNT)
    token.call("mint", second, AMOUNT)
    hook.call("arm", deposits.address, deposits.data("sweep", bytes(32), treasury, token.address, AMOUNT))
    assert deposits.call("sweep", REFERENCE, treasury, NATIVE if native else token.address, AMOUNT) == AMOUNT
    assert len(swept(bench, deposits)) == 1
    assert hook.call("called") is True
    assert decode_error(hook.call("answer"))[0] == "ReentrancyGuardReentrantCall"
    assert bench.balance(second, token) == AMOUNT


def test_a_treasury_that_refuses_coins_leaves_them_where_they_are(bench: Bench, deposits: Contract) -> None:
    treasury = bench.token.address  # a contract that takes no coins
    address = address_of(deposits, treasury=treasury)
    bench.evm.set_balance(address, AMOUNT)
    with pytest.raises(Reverted):
        deposits.call("sweep", REFERENCE, treasury, NATIVE, AMOUNT)
    assert bench.evm.get_balance(address) == AMOUNT


class DepositsMachine(RuleBasedStateMachine):
    """Payments and sweeps of two tokens and the coin in any order: nothing is lost, doubled or sent elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.deposits = self.bench.deploy("Deposits")
        self.tokens = [self.bench.token, self.bench.deploy("NoReturnToken", "Old", "OLD", 6)]
        self.assets = [*(token.address for token in self.tokens), NATIVE]
        self.places = [(keccak(text=str(n)), treasury) for n in range(3) for treasury in (TREASURY, OTHER)]
        self.waits = {(place, asset): 0 for place in self.places for asset in self.assets}
        self.arrived = {(treasury, asset): 0 for treasury in (TREASURY, OTHER) for asset in self.assets}
        for place in self.places:
            self.bench.names[address_of(self.deposits, *place)] = "DepositAddress"

    @rule(place=st.integers(0, 5), asset=st.integers(0, 2), amount=st.integers(1, 10**20))
    def pay(self, place: int, asset: int, amount: int) -> None:
        address = address_of(self.deposits, *self.places[place])
        if self.assets[asset] == NATIVE:
            self.bench.evm.set_balance(BOB, amount)
            self.bench.send(BOB, address, b"", amount)
        else:
            self.tokens[asset].call("mint", BOB, amount)
            self.tokens[asset].call("transfer", address, amount, sender=BOB)
        self.waits[self.places[place], self.assets[asset]] += amount

    @rule(
        place=st.integers(0, 5),
        asset=st.integers(0, 2),
        sender=st.sampled_from((ALICE, MALLORY)),
        share=st.sampled_from((0.3, 0.5, 0.9, 1, 1, 1, 1.1)),
    )
    def sweep(self, place: int, asset: int, sender: str, share: float) -> None:
        (reference, treasury), token = self.places[place], self.assets[asset]
        waiting = self.waits[(reference, treasury), token]
        amount = int(waiting * share) or 1
        call = ("sweep", reference, treasury, token, amount)
        if not amount <= waiting <= 2 * amount:
            with pytest.raises(Reverted, match="NotThere"):
                self.deposits.call(*call, sender=sender)
            return
        assert self.deposits.call(*call, sender=sender) == amount
        assert swept(self.bench, self.deposits) == [(reference, token, treasury, amount)]
        self.waits[(reference, treasury), token] -= amount
        self.arrived[treasury, token] += amount

    @invariant()
    def everything_is_where_it_belongs(self) -> None:
        for (treasury, asset), amount in self.arrived.items():
            assert self._held(treasury, asset) == amount
        for (place, asset), amount in self.waits.items():
            assert self._held(address_of(self.deposits, *place), asset) == amount

    def _held(self, holder: str, asset: str) -> int:
        if asset == NATIVE:
            return int(self.bench.evm.get_balance(holder))
        return self.bench.balance(holder, self.tokens[self.assets.index(asset)])


DepositsMachine.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
TestDepositsHistories = DepositsMachine.TestCase
