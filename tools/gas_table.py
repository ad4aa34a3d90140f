# ruff: noqa: INP001  - a folder of scripts, not a package
"""Measure what the calls of the contracts cost, on a local Anvil chain.

::

    python tools/gas_table.py            print the tables
    python tools/gas_table.py --write    put them into the pages of the contracts in docs/reference
    python tools/gas_table.py --check    exit 1 when a table there is another
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from eth_account import Account
from web3 import Web3

from evmbilling.contracts import artifact
from evmbilling.testing.anvil import AnvilNode

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "checkout": "docs/reference/checkout-contract.md",
    "mandates": "docs/reference/mandates-contract.md",
    "deposits": "docs/reference/deposits-contract.md",
}
START, END = "<!-- gas table: begin -->\n", "<!-- gas table: end -->\n"

NATIVE = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
ZERO = "0x" + "00" * 20
LATER = 4_000_000_000  # a time far ahead; fixed, so that the bytes of the call data do not change
AMOUNT = 20_000_000
ORDER = {
    "reference": "bytes32",
    "subscription": "uint256",
    "payer": "address",
    "beneficiary": "address",
    "plan": "bytes32",
    "token": "address",
    "amount": "uint256",
    "treasury": "address",
    "memberUntil": "uint64",
    "deadline": "uint64",
}
PERMIT = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}


class Shop:
    """A deployed checkout with a payer, and the gas of each call that was measured."""

    def __init__(self, node: AnvilNode) -> None:
        self.node = node
        self.owner, self.operator, self.payer, self.treasury, self.signer = node.accounts[:5]
        self.rows: list[tuple[str, int]] = []
        self.orders = 0
        roles = (self.owner.address, self.operator.address, [self.signer.address], "Member", "MBR")
        self.checkout, gas = self.deploy("Checkout", *roles)
        self.rows.append(("deploy the contract", gas))

    def deploy(self, name: str, *arguments: Any) -> tuple[Any, int]:
        """Deploy a contract; return it and the gas."""
        built = artifact(name)
        factory = Web3().eth.contract(abi=built.abi, bytecode=built.bytecode)
        data = factory.constructor(*arguments).data_in_transaction
        receipt = self.transact({"from": self.owner.address, "data": data})
        address = Web3.to_checksum_address(receipt["contractAddress"])
        return Web3().eth.contract(address=address, abi=built.abi), int(receipt["gasUsed"], 16)

    def transact(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """Mine one transaction; return its receipt, which must be a success."""
        tx_hash = self.node.send({"gas": hex(5_000_000), **transaction})
        self.node.mine()
        receipt = self.node.receipt(tx_hash)
        if receipt is None or receipt["status"] != "0x1":
            raise RuntimeError(f"a transaction that was to be measured failed: {tx_hash}")
        return receipt

    def call(self, contract: Any, function: str, *arguments: Any, sender: Any = None, value: int = 0) -> int:
        """Send a call by ``sender`` (the payer by default); return the gas."""
        account = (sender or self.payer).address
        data = contract.encode_abi(function, args=arguments)
        fields = {"from": account, "to": contract.address, "data": data, "value": hex(value)}
        return int(self.transact(fields)["gasUsed"], 16)

    def token(self, name: str) -> Any:
        """Deploy a test token that payer, operator and treasury already hold."""
        token, _ = self.deploy(name, "Test Dollar", "TUSD", 6)
        for holder in (self.payer, self.operator, self.treasury):
            self.call(token, "mint", holder.address, 100 * AMOUNT)
        return token

    def domain(self, name: str, contract: str) -> dict[str, Any]:
        """An EIP-712 domain of this chain, version 1."""
        return {"name": name, "version": "1", "chainId": self.node.chain_id, "verifyingContract": contract}

    def order(self, token: str, subscription: int) -> tuple[tuple[Any, ...], bytes]:
        """A new signed order; each one of a subscription offers a later expiry than the one before."""
        self.orders += 1
        values = (
            Web3.keccak(text=f"order {self.orders}"),
            subscription,
            self.payer.address,
            self.payer.address,
            Web3.keccak(text="pro@1"),
            token,
            AMOUNT,
            self.treasury.address,
            LATER + self.orders if subscription else 0,
            LATER,
        )
        domain = self.domain("evmbilling Checkout", self.checkout.address)
        types = {"Order": [{"name": name, "type": kind} for name, kind in ORDER.items()]}
        message = dict(zip(ORDER, values, strict=True))
        return values, Account.sign_typed_data(self.signer.key, domain, types, message).signature

    def pay(self, row: str, token: Any, subscription: int) -> None:
        """Measure a payment; tokens by an allowance of exactly the amount, or the native coin when None."""
        order, signature = self.order(token.address if token else NATIVE, subscription)
        if token:
            self.call(token, "approve", self.checkout.address, AMOUNT)
        gas = self.call(self.checkout, "pay", order, signature, value=0 if token else AMOUNT)
        self.rows.append((row, gas))

    def pay_with_permit(self, row: str, token: Any, subscription: int) -> None:
        """Measure a payment that brings its own allowance."""
        order, signature = self.order(token.address, subscription)
        values = (self.payer.address, self.checkout.address, AMOUNT, 0, LATER)
        types = {"Permit": [{"name": name, "type": kind} for name, kind in PERMIT.items()]}
        domain = self.domain("Test Dollar", token.address)
        permit = Account.sign_typed_data(self.payer.key, domain, types, dict(zip(PERMIT, values, strict=True)))
        tail = (AMOUNT, LATER, permit.v, permit.r.to_bytes(32, "big"), permit.s.to_bytes(32, "big"))
        gas = self.call(self.checkout, "payWithPermit", order, signature, *tail)
        self.rows.append((row, gas))


def measure(node: AnvilNode) -> list[tuple[str, int]]:
    """Return each call with its gas, refunds of gas deducted, on a fresh chain."""
    shop = Shop(node)
    token, old = shop.token("TestToken"), shop.token("NoReturnToken")
    shop.rows.append(
        ("`approve` of an ERC-20 for one order", shop.call(token, "approve", shop.checkout.address, AMOUNT))
    )
    shop.pay("`pay`, ERC-20, first payment of a membership", token, 1)
    shop.pay("`pay`, ERC-20, later payment of a membership", token, 1)
    shop.pay("`pay`, ERC-20, no membership", token, 0)
    shop.pay("`pay`, ERC-20 without return values, later payment", old, 1)
    shop.pay_with_permit("`payWithPermit`, later payment (no `approve` needed)", token, 1)
    shop.pay("`pay`, native coin, first payment of a membership", None, 2)
    shop.pay("`pay`, native coin, later payment of a membership", None, 2)
    shop.pay("`pay`, native coin, no membership", None, 0)
    reference, payer = Web3.keccak(text="order 1"), shop.payer.address
    shop.call(token, "approve", shop.checkout.address, 10 * AMOUNT, sender=shop.operator)
    gas = shop.call(
        shop.checkout, "refund", reference, Web3.keccak(text="r1"), token.address, payer, AMOUNT, sender=shop.operator
    )
    shop.rows.append(("`refund`, ERC-20", gas))
    call = (reference, Web3.keccak(text="r2"), NATIVE, payer, AMOUNT)
    gas = shop.call(shop.checkout, "refund", *call, sender=shop.operator, value=AMOUNT)
    shop.rows.append(("`refund`, native coin", gas))
    shop.rows.append(("`cancelSubscription` by the holder", shop.call(shop.checkout, "cancelSubscription", 1)))
    return shop.rows


def table(rows: list[tuple[str, int]]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| call | gas |", "|---|--:|", *(f"| {name} | {gas:,} |" for name, gas in rows)]
    return "\n".join(lines) + "\n"


def measure_all() -> dict[str, str]:
    """Return the table of each page, each measured on a chain of its own."""
    from gas_deposits import measure as measure_deposits
    from gas_mandates import measure as measure_mandates

    tables = {}
    for name, measurement in (
        ("checkout", measure),
        ("mandates", measure_mandates),
        ("deposits", measure_deposits),
    ):
        with AnvilNode() as node:
            tables[name] = table(measurement(node))
    return tables


def written(name: str) -> str:
    """Return the table of a page."""
    return (ROOT / PAGES[name]).read_text().partition(START)[2].partition(END)[0]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help="put the table into the documentation")
    group.add_argument("--check", action="store_true", help="exit 1 when the documentation says otherwise")
    options = parser.parse_args(arguments)
    stale = 0
    for name, measured in measure_all().items():
        sys.stdout.write(f"{name}\n{measured}\n")
        page = ROOT / PAGES[name]
        if options.write:
            page.write_text(page.read_text().replace(START + written(name) + END, START + measured + END))
        if options.check and written(name) != measured:
            sys.stderr.write(f"the table in {PAGES[name]} is another; run this with --write\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
