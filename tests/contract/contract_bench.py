"""An in-process chain (pyrevm) with the compiled contracts, and orders signed as the engine signs them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pyrevm
from eth_abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address

from evmbilling.contracts import artifact, artifact_names

if TYPE_CHECKING:
    from collections.abc import Callable

NATIVE = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
ZERO = "0x" + "00" * 20
START = 1_800_000_000
DAY = 86_400
DEPLOYER = to_checksum_address("0x" + "d0" * 20)
OWNER = to_checksum_address("0x" + "01" * 20)
OPERATOR = to_checksum_address("0x" + "02" * 20)
ALICE = to_checksum_address("0x" + "a1" * 20)
BOB = to_checksum_address("0x" + "b0" * 20)
MALLORY = to_checksum_address("0x" + "66" * 20)
TREASURY = to_checksum_address("0x" + "77" * 20)
SIGNER = Account.from_key("0x" + "11" * 32)
SIGNER_2 = Account.from_key("0x" + "22" * 32)
OUTSIDER = Account.from_key("0x" + "33" * 32)
PLAN = keccak(text="pro@1")

ORDER_FIELDS = (
    ("reference", "bytes32"),
    ("subscription", "uint256"),
    ("payer", "address"),
    ("beneficiary", "address"),
    ("plan", "bytes32"),
    ("token", "address"),
    ("amount", "uint256"),
    ("treasury", "address"),
    ("memberUntil", "uint64"),
    ("deadline", "uint64"),
)


class Order(NamedTuple):
    """The struct, in its ABI order."""

    reference: bytes = keccak(text="order 1")
    subscription: int = 7
    payer: str = ALICE
    beneficiary: str = ALICE
    plan: bytes = PLAN
    token: str = NATIVE
    amount: int = 20_000_000
    treasury: str = TREASURY
    memberUntil: int = START + 30 * DAY  # noqa: N815  - the name of the struct's member
    deadline: int = START + 1800


class Reverted(Exception):
    """A call was refused; ``name`` and ``values`` are those of the custom error."""

    def __init__(self, data: bytes) -> None:
        self.name, self.values = decode_error(data)
        super().__init__(f"{self.name}{self.values}")


class Log(NamedTuple):
    address: str
    name: str
    args: dict[str, Any]


def abi_type(item: dict[str, Any]) -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(abi_type(part) for part in item['components'])}){kind[5:]}"


def signature_of(item: dict[str, Any]) -> str:
    return f"{item['name']}({','.join(abi_type(part) for part in item['inputs'])})"


@cache
def errors() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    found = {
        keccak(text="Error(string)")[:4]: ("Error", ("string",)),
        keccak(text="Panic(uint256)")[:4]: ("Panic", ("uint256",)),
    }
    for name in artifact_names():
        for item in artifact(name).abi:
            if item["type"] == "error":
                types = tuple(abi_type(part) for part in item["inputs"])
                found[keccak(text=signature_of(item))[:4]] = (item["name"], types)
    return found


def decode_error(data: bytes) -> tuple[str, tuple[Any, ...]]:
    if data[:4] not in errors():
        return (f"0x{data.hex()}", ())
    name, types = errors()[data[:4]]
    return name, tuple(plain(value) for value in decode(types, data[4:]))


def plain(value: Any) -> Any:
    """Addresses come checksummed, so that they compare equal to the constants."""
    return to_checksum_address(value) if isinstance(value, str) and re.fullmatch("0x[0-9a-f]{40}", value) else value


@cache
def functions(name: str) -> dict[tuple[str, int], tuple[bytes, tuple[str, ...], tuple[str, ...]]]:
    table = {}
    for item in artifact(name).abi:
        if item["type"] == "function":
            inputs = tuple(abi_type(part) for part in item["inputs"])
            outputs = tuple(abi_type(part) for part in item["outputs"])
            table[item["name"], len(inputs)] = (keccak(text=signature_of(item))[:4], inputs, outputs)
    return table


@cache
def events(name: str) -> dict[bytes, dict[str, Any]]:
    return {keccak(text=signature_of(item)): item for item in artifact(name).abi if item["type"] == "event"}


def decode_log(name: str, topics: list[bytes], data: bytes) -> tuple[str, dict[str, Any]]:
    item = events(name)[topics[0]]
    indexed = [part for part in item["inputs"] if part["indexed"]]
    rest = [part for part in item["inputs"] if not part["indexed"]]
    values = {part["name"]: decode([part["type"]], topic)[0] for part, topic in zip(indexed, topics[1:], strict=True)}
    values |= dict(zip([part["name"] for part in rest], decode([abi_type(part) for part in rest], data), strict=True))
    return item["name"], {part["name"]: plain(values[part["name"]]) for part in item["inputs"]}


class Contract:
    """One deployed contract; ``call`` sends a transaction, and answers with its decoded result."""

    def __init__(self, bench: Bench, name: str, address: str) -> None:
        self.bench, self.name, self.address = bench, name, address

    def data(self, function: str, *args: Any) -> bytes:
        selector, inputs, _ = functions(self.name)[function, len(args)]
        return selector + encode(inputs, args)

    def call(self, function: str, *args: Any, sender: str = ALICE, value: int = 0) -> Any:
        answer = self.bench.send(sender, self.address, self.data(function, *args), value)
        outputs = functions(self.name)[function, len(args)][2]
        values = tuple(plain(item) for item in decode(outputs, answer))
        return values[0] if len(values) == 1 else values


class Bench:
    """A chain with a checkout, a six-decimal token, and one signer; time stands still until moved."""

    def __init__(self, *, chain_id: int = 31337, spec: str = "MERGE") -> None:
        # MERGE is the fork whose rules the artefacts are compiled for: newer opcodes would fail here.
        self.chain_id = chain_id
        env = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id))
        self.evm = pyrevm.EVM(env=env, spec_id=spec)
        self.names: dict[str, str] = {}
        self.logs: list[Log] = []
        self.gas = 0
        self.at(START)
        self.checkout = self.deploy("Checkout", OWNER, OPERATOR, [SIGNER.address], "Member", "MBR")
        self.token = self.deploy("TestToken", "Test Dollar", "TUSD", 6)

    def at(self, timestamp: int) -> None:
        self.now = timestamp
        self.evm.set_block_env(pyrevm.BlockEnv(number=1, timestamp=timestamp))

    def deploy(self, name: str, *args: Any) -> Contract:
        built = artifact(name)
        constructor = next((item for item in built.abi if item["type"] == "constructor"), {"inputs": []})
        code = built.bytecode + encode([abi_type(part) for part in constructor["inputs"]], args)
        try:
            address = to_checksum_address(self.evm.deploy(DEPLOYER, code))
        except RuntimeError as error:
            raise refusal(error) from None
        self.names[address] = name
        return Contract(self, name, address)

    def send(self, sender: str, to: str, data: bytes, value: int = 0) -> bytes:
        self.logs = []
        try:
            answer: bytes = self.evm.message_call(sender, to, data, value or None)
        except RuntimeError as error:
            raise refusal(error) from None
        result = self.evm.result
        self.gas = result.gas_used
        for log in result.logs:
            address = to_checksum_address(log.address)
            self.logs.append(Log(address, *decode_log(self.names[address], *log.data)))
        return answer

    def fund(self, account: str, amount: int, token: Contract | None = None, *, approve: bool = True) -> None:
        """Give ``account`` an amount of a token, and the checkout an allowance of the same amount."""
        token = token or self.token
        token.call("mint", account, amount)
        if approve:
            token.call("approve", self.checkout.address, amount, sender=account)

    def order(self, **changes: Any) -> Order:
        """An order of 20 test dollars (or of what ``changes`` say)."""
        return Order(**{"token": self.token.address, **changes})

    def sign(self, order: Order, *, key: Any = SIGNER, contract: str | None = None) -> bytes:
        message = encode_typed_data(full_message=typed_data(order, self.chain_id, contract or self.checkout.address))
        return bytes(key.sign_message(message).signature)

    def pay(self, order: Order, signature: bytes | None = None, *, sender: str = ALICE, value: int = 0) -> None:
        proof = self.sign(order) if signature is None else signature
        self.checkout.call("pay", order, proof, sender=sender, value=value)

    def paid(self) -> list[dict[str, Any]]:
        """The arguments of the checkout's own Paid events in the last transaction."""
        return [log.args for log in self.logs if (log.address, log.name) == (self.checkout.address, "Paid")]

    def balance(self, account: str, token: Contract | None = None) -> int:
        return int((token or self.token).call("balanceOf", account))


def refusal_of(call: Callable[[], Any]) -> Reverted | None:
    """Make the call; return its refusal, or None when it went through."""
    try:
        call()
    except Reverted as refused:
        return refused
    return None


def refusal(error: RuntimeError) -> Exception:
    """Turn the node's text into the custom error; anything but a revert stays what it is."""
    match = re.fullmatch(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}", str(error))
    return Reverted(bytes.fromhex(match[1])) if match else error


def typed_data(order: Order, chain_id: int, contract: str) -> dict[str, Any]:
    """The EIP-712 message that a signer signs."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Order": [{"name": name, "type": kind} for name, kind in ORDER_FIELDS],
        },
        "primaryType": "Order",
        "domain": {
            "name": "evmbilling Checkout",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": order._asdict(),
    }


def sign_permit(bench: Bench, token: Contract, key: Any, value: int, *, deadline: int = START + DAY) -> tuple[Any, ...]:
    """The last five arguments of ``payWithPermit``: an ERC-2612 permit of ``key``'s tokens to the checkout."""
    names = ("owner", "spender", "value", "nonce", "deadline")
    kinds = ("address", "address", "uint256", "uint256", "uint256")
    nonce = token.call("nonces", key.address)
    signed = key.sign_typed_data(
        domain_data={
            "name": token.call("name"),
            "version": "1",
            "chainId": bench.chain_id,
            "verifyingContract": token.address,
        },
        message_types={"Permit": [{"name": n, "type": k} for n, k in zip(names, kinds, strict=True)]},
        message_data=dict(zip(names, (key.address, bench.checkout.address, value, nonce, deadline), strict=True)),
    )
    return value, deadline, signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
