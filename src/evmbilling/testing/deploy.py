"""Putting the packaged contracts on a test chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from eth_abi.abi import encode

from evmbilling._keccak import keccak
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS
from evmbilling.errors import ChainMismatch, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evmbilling.testing.anvil import AnvilNode

_DEPLOY_GAS = 8_000_000
_CALL_GAS = 1_000_000


@frozen(kw_only=True)
class Deployed:
    """A contract on a chain: its artefact's name, its address (EIP-55) and the block that holds its creation."""

    name: str
    address: str
    block: int


def deploy(node: AnvilNode, name: str, *arguments: Any, sender: str | None = None) -> Deployed:
    """Deploy a packaged contract from an unlocked account (the first one by default), and mine one block.

    Raises:
        NotFound: there is no artefact of that name.
        ChainMismatch: the creation failed, or other code than the artefact's is at the address.

    """
    contract = artifact(name)
    creation = contract.bytecode + _arguments(name, "constructor", None, arguments)
    call = {"from": sender or node.accounts[0].address, "data": "0x" + creation.hex(), "gas": hex(_DEPLOY_GAS)}
    receipt = _mined(node, call, f"the creation of {name}")
    address = checksum(bytes.fromhex(receipt["contractAddress"][2:]))
    if not contract.matches(bytes.fromhex(node.rpc("eth_getCode", address, "latest")[2:])):
        raise ChainMismatch(f"other code than {name} is at {address}")
    return Deployed(name=name, address=address, block=int(receipt["blockNumber"], 16))


def deploy_token(node: AnvilNode, *, decimals: int = 6, symbol: str = "tUSD", artefact: str = "TestToken") -> Deployed:
    """Deploy a test token, which anybody may mint."""
    return deploy(node, artefact, f"Test {symbol}", symbol, decimals)


def deploy_checkout(
    node: AnvilNode, *, signers: tuple[str, ...], owner: str | None = None, operator: str | None = None
) -> Deployed:
    """Deploy the Checkout contract; the first account owns and operates it unless others are named."""
    first = node.accounts[0].address
    return deploy(node, "Checkout", owner or first, operator or first, list(signers), "Membership", "MEMBER")


def deploy_mandates(node: AnvilNode, *, operators: tuple[str, ...], owner: str | None = None) -> Deployed:
    """Deploy the Mandates contract; the first account owns it unless another is named."""
    return deploy(node, "Mandates", owner or node.accounts[0].address, list(operators))


def put_permit2(node: AnvilNode) -> str:
    """Put a contract that behaves as Permit2's allowances do at Permit2's address, and return that."""
    node.set_code(PERMIT2_ADDRESS, "0x" + artifact("AllowancePermit2").deployed_bytecode.hex())
    return PERMIT2_ADDRESS


def calldata(name: str, function: str, *arguments: Any) -> bytes:
    """Return the data of a call to a packaged contract.

    Raises:
        NotFound: it has no such function.

    """
    entry = abi_entry(name, "function", function)
    selector = keccak(f"{function}({','.join(map(_kind, entry['inputs']))})".encode())[:4]
    return selector + _arguments(name, "function", function, arguments)


def transact(node: AnvilNode, deployed: Deployed, function: str, *arguments: Any, sender: str) -> dict[str, Any]:
    """Call a contract from an unlocked account, mine a block and return the receipt.

    Raises:
        ChainMismatch: the call failed.

    """
    return _mined(node, _call(deployed, sender, function, *arguments), f"{deployed.name}.{function}")


def transact_all(node: AnvilNode, deployed: Deployed, calls: Sequence[tuple[Any, ...]]) -> None:
    """Make many calls, each given as sender, function and its arguments, and mine as many blocks.

    The first of the blocks holds all of them: for what must be there before a test begins.

    Raises:
        ChainMismatch: one of the calls failed.

    """
    sent = {node.send(_call(deployed, *call)): call[1] for call in calls}
    height = node.mine(len(calls)) - len(calls) + 1
    receipts = {one["transactionHash"]: one["status"] for one in node.rpc("eth_getBlockReceipts", hex(height))}
    for tx_hash, function in sent.items():
        if receipts.get(tx_hash) != "0x1":
            raise ChainMismatch(f"{deployed.name}.{function} failed", tx_hash=tx_hash)


def _call(deployed: Deployed, sender: str, function: str, *arguments: Any) -> dict[str, str]:
    data = "0x" + calldata(deployed.name, function, *arguments).hex()
    return {"from": sender, "to": deployed.address, "data": data, "gas": hex(_CALL_GAS)}


def _mined(node: AnvilNode, call: dict[str, str], what: str) -> dict[str, Any]:
    tx_hash = node.send(call)
    node.rpc("anvil_mine", "0x1")  # how high the chain is then, nobody asks
    receipt = node.receipt(tx_hash)
    if receipt is None or receipt["status"] != "0x1":
        raise ChainMismatch(f"{what} failed", tx_hash=tx_hash)
    return receipt


def abi_entry(name: str, kind: str, member: str | None) -> dict[str, Any]:
    """Return the entry of a function, event or constructor in a packaged contract's ABI.

    Raises:
        NotFound: there is none.

    """
    for entry in artifact(name).abi:
        if entry["type"] == kind and entry.get("name") == member:
            return dict(entry)
    raise NotFound(f"{name} has no {kind} {member or ''}", field="member")


def _kind(part: dict[str, Any]) -> str:
    """Return the canonical type of a parameter: a struct is the tuple of its members."""
    if not part["type"].startswith("tuple"):
        return str(part["type"])
    return f"({','.join(map(_kind, part['components']))}){part['type'].removeprefix('tuple')}"


def _arguments(name: str, kind: str, function: str | None, arguments: tuple[Any, ...]) -> bytes:
    if kind == "constructor" and not arguments:
        return b""
    return encode([_kind(part) for part in abi_entry(name, kind, function)["inputs"]], arguments)
