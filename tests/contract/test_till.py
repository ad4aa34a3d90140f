"""The Till: what a payer signed can be used for nothing else, whoever holds it."""

from __future__ import annotations

import pytest
from eth_utils import keccak

from evmbilling.contracts import artifact
from evmbilling.errors import ChainMismatch, RpcRefused
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, calldata, deploy, deploy_token, transact
from evmbilling.testing.keys import sign_typed_data

PAYER, MALLORY, VAULT, OTHER_VAULT = DEV_ACCOUNTS[3:7]
REFERENCE, OTHER = b"\1" * 32, b"\2" * 32
AMOUNT = 5_000_000
Vrs = tuple[int, bytes, bytes]
LATE = 2**40


class Counter:
    """A till, a token that moves on signatures, and a payer who holds some."""

    def __init__(self, node: AnvilNode, *, token: str = "AuthorizedToken") -> None:
        self.node = node
        self.token = deploy_token(node, artefact=token)
        self.till = deploy(node, "Till", VAULT.address)
        transact(node, self.token, "mint", PAYER.address, 10 * AMOUNT, sender=PAYER.address)

    def call(self, function: str, *arguments: object, sender: str) -> None:
        transact(self.node, self.till, function, *arguments, sender=sender)

    def refused(self, to: Deployed, function: str, *arguments: object, sender: str) -> str:
        """Return the words and the data with which a call is refused."""
        call = {"from": sender, "to": to.address, "data": "0x" + calldata(to.name, function, *arguments).hex()}
        with pytest.raises(RpcRefused) as caught:
            self.node.rpc("eth_call", call, "latest")
        return f"{caught.value.message} {caught.value.details['data']}"

    def balance(self, address: str) -> int:
        call = {"to": self.token.address, "data": "0x" + calldata(self.token.name, "balanceOf", address).hex()}
        return int(self.node.rpc("eth_call", call, "latest"), 16)

    def typed(self, primary: str, fields: list[tuple[str, str]], message: dict[str, object]) -> Vrs:
        """Sign typed data of the token as the payer; return v, r, s."""
        own = [("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")]
        data = {
            "types": {
                kind: [{"name": name, "type": form} for name, form in listed]
                for kind, listed in (("EIP712Domain", own), (primary, fields))
            },
            "primaryType": primary,
            "domain": {
                "name": "Test tUSD",
                "version": "2",
                "chainId": self.node.chain_id,
                "verifyingContract": self.token.address,
            },
            "message": message,
        }
        signature = sign_typed_data(PAYER.key, data)
        return signature[64], signature[:32], signature[32:64]

    def authorization(self) -> Vrs:
        fields = [("from", "address"), ("to", "address"), ("value", "uint256")]
        fields += [("validAfter", "uint256"), ("validBefore", "uint256"), ("nonce", "bytes32")]
        message = {"from": PAYER.address, "to": self.till.address, "value": AMOUNT}
        window = {"validAfter": 0, "validBefore": LATE, "nonce": REFERENCE}
        return self.typed("ReceiveWithAuthorization", fields, message | window)

    def permit(self) -> Vrs:
        fields = [("owner", "address"), ("spender", "address"), ("value", "uint256")]
        fields += [("nonce", "uint256"), ("deadline", "uint256")]
        message = {"owner": PAYER.address, "spender": self.till.address, "value": AMOUNT, "nonce": 0, "deadline": LATE}
        return self.typed("Permit", fields, message)


@pytest.fixture
def counter(anvil: AnvilNode) -> Counter:
    return Counter(anvil)


def test_an_authorization_pays_its_order_once_and_nothing_else(counter: Counter) -> None:
    signed = counter.authorization()
    token, payer = counter.token.address, PAYER.address
    wrong = [
        (OTHER, payer, token, AMOUNT, LATE),
        (REFERENCE, MALLORY.address, token, AMOUNT, LATE),
        (REFERENCE, payer, token, AMOUNT - 1, LATE),
        (REFERENCE, payer, token, AMOUNT, LATE + 1),
    ]
    for arguments in wrong:
        assert "invalid signature" in counter.refused(
            counter.till, "payWithAuthorization", *arguments, *signed, sender=MALLORY.address
        )
    elsewhere = deploy(counter.node, "Till", OTHER_VAULT.address)
    right = (REFERENCE, payer, token, AMOUNT, LATE, *signed)
    assert "invalid signature" in counter.refused(elsewhere, "payWithAuthorization", *right, sender=MALLORY.address)
    counter.call("payWithAuthorization", *right, sender=MALLORY.address)
    assert (counter.balance(VAULT.address), counter.balance(counter.till.address)) == (AMOUNT, 0)
    assert "used" in counter.refused(counter.till, "payWithAuthorization", *right, sender=MALLORY.address)


def test_a_permit_is_spent_by_its_owner_alone(counter: Counter) -> None:
    """A permit does not say what it is for, so whoever saw it first may send it, but not spend it."""
    signed = counter.permit()
    arguments = (counter.token.address, AMOUNT, LATE, *signed)
    assert "allowance too low" in counter.refused(
        counter.till, "payWithPermit", OTHER, *arguments, sender=MALLORY.address
    )
    till = counter.till.address
    transact(counter.node, counter.token, "permit", PAYER.address, till, AMOUNT, LATE, *signed, sender=MALLORY.address)
    assert "allowance too low" in counter.refused(
        counter.till, "pay", OTHER, counter.token.address, AMOUNT, sender=MALLORY.address
    )
    counter.call("payWithPermit", REFERENCE, *arguments, sender=PAYER.address)
    assert counter.balance(VAULT.address) == AMOUNT


def test_what_is_no_token_pays_nothing(counter: Counter) -> None:
    told = counter.refused(counter.till, "pay", REFERENCE, MALLORY.address, AMOUNT, sender=PAYER.address)
    assert keccak(b"NotAToken(address)")[:4].hex() in told
    assert counter.balance(VAULT.address) == 0


@pytest.mark.fault("T02", "T03", "T06")
@pytest.mark.parametrize("odd", ["RetFalseToken", "LieToken", "FeeToken"])
def test_t02_t03_t06_a_token_that_does_not_bring_the_amount_pays_nothing(anvil: AnvilNode, odd: str) -> None:
    counter = Counter(anvil, token=odd)
    transact(anvil, counter.token, "approve", counter.till.address, AMOUNT, sender=PAYER.address)
    told = counter.refused(counter.till, "pay", REFERENCE, counter.token.address, AMOUNT, sender=PAYER.address)
    short = keccak(b"ShortReceipt(uint256,uint256)")[:4].hex()
    assert (short in told) is (odd != "RetFalseToken")
    assert counter.balance(VAULT.address) == 0


@pytest.mark.fault("T11")
def test_t11_a_token_that_calls_back_pays_one_order_once(anvil: AnvilNode) -> None:
    counter = Counter(anvil, token="HookToken")
    transact(anvil, counter.token, "approve", counter.till.address, 3 * AMOUNT, sender=PAYER.address)
    again = calldata("Till", "pay", OTHER, counter.token.address, AMOUNT)
    transact(anvil, counter.token, "arm", counter.till.address, again, sender=PAYER.address)
    counter.call("pay", REFERENCE, counter.token.address, AMOUNT, sender=PAYER.address)
    assert counter.balance(VAULT.address) == AMOUNT
    call = {"to": counter.token.address, "data": "0x" + calldata("HookToken", "answer").hex()}
    assert keccak(b"ReentrancyGuardReentrantCall()")[:4].hex() in anvil.rpc("eth_call", call, "latest")


@pytest.mark.fault("T29")
def test_t29_a_token_without_return_values_is_paid_by_an_exact_allowance(anvil: AnvilNode) -> None:
    counter = Counter(anvil, token="NoReturnToken")
    transact(anvil, counter.token, "approve", counter.till.address, AMOUNT, sender=PAYER.address)
    counter.call("pay", REFERENCE, counter.token.address, AMOUNT, sender=PAYER.address)
    assert counter.balance(VAULT.address) == AMOUNT


@pytest.mark.fault("T28")
def test_t28_a_phantom_permit_is_judged_by_the_allowance(anvil: AnvilNode) -> None:
    """A fallback that takes every call makes a permit that does not exist "succeed"."""
    counter = Counter(anvil, token="PhantomToken")
    arguments = (counter.token.address, AMOUNT, LATE, 27, REFERENCE, OTHER)
    counter.refused(counter.till, "payWithPermit", REFERENCE, *arguments, sender=PAYER.address)
    counter.refused(counter.till, "payWithAuthorization", REFERENCE, PAYER.address, *arguments, sender=MALLORY.address)
    assert counter.balance(VAULT.address) == 0


def test_a_till_has_a_treasury_for_ever(anvil: AnvilNode) -> None:
    functions = {item["name"] for item in artifact("Till").abi if item["type"] == "function"}
    assert functions == {"treasury", "pay", "payWithPermit", "payWithAuthorization", "payWithPermit2"}
    with pytest.raises((RpcRefused, ChainMismatch)):
        deploy(anvil, "Till", "0x" + "00" * 20)
