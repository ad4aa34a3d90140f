# ruff: noqa: INP001  - a folder of scripts, not a package
"""What the calls of the Deposits contract cost; ``gas_table.py`` prints it beside the Checkout's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web3 import Web3

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gas_table import AMOUNT, NATIVE, Shop

if TYPE_CHECKING:
    from evmbilling.testing.anvil import AnvilNode


class SweepingShop(Shop):
    """A deployed Deposits contract, and a payer who sends to its addresses."""

    def __init__(self, node: AnvilNode) -> None:
        super().__init__(node)
        self.deposits, gas = self.deploy("Deposits")
        self.rows = [("deploy the contract", gas)]

    def address(self, order: str) -> str:
        """Return the deposit address of an order."""
        data = self.deposits.encode_abi("addressOf", args=[Web3.keccak(text=order), self.treasury.address])
        answer: str = self.node.rpc("eth_call", {"to": self.deposits.address, "data": data}, "latest")
        return Web3.to_checksum_address("0x" + answer[-40:])

    def send(self, order: str, token: Any) -> int:
        """Send tokens, or the coin when None, to an order's address; return the gas."""
        if token is not None:
            return self.call(token, "transfer", self.address(order), AMOUNT)
        fields = {"from": self.payer.address, "to": self.address(order), "value": hex(AMOUNT)}
        return int(self.transact(fields)["gasUsed"], 16)

    def sweep(self, row: str, order: str, token: Any) -> None:
        """Measure a sweep by the operator."""
        arguments = (Web3.keccak(text=order), self.treasury.address, token.address if token else NATIVE, AMOUNT)
        self.rows.append((row, self.call(self.deposits, "sweep", *arguments, sender=self.operator)))


def measure(node: AnvilNode) -> list[tuple[str, int]]:
    """Return each call with its gas, refunds of gas deducted, on a fresh chain."""
    shop = SweepingShop(node)
    token, old = shop.token("TestToken"), shop.token("NoReturnToken")
    shop.rows.append(("`transfer` of an ERC-20 to an address", shop.send("token", token)))
    shop.sweep("`sweep`, ERC-20, first of an address", "token", token)
    shop.send("token", token)
    shop.sweep("`sweep`, ERC-20, later", "token", token)
    shop.send("old", old)
    shop.sweep("`sweep`, ERC-20 without return values, first of an address", "old", old)
    shop.rows.append(("the native coin sent to an address", shop.send("coin", None)))
    shop.sweep("`sweep`, native coin, first of an address", "coin", None)
    shop.rows.append(("the native coin sent to an address that was swept", shop.send("coin", None)))
    shop.sweep("`sweep`, native coin, later", "coin", None)
    return shop.rows
