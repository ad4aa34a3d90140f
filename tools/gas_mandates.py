# ruff: noqa: INP001  - a folder of scripts, not a package
"""What the calls of the Mandates contract cost; ``gas_table.py`` prints it beside the Checkout's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web3 import Web3

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gas_table import AMOUNT, LATER, ZERO, Account, Shop

from evmbilling.testing.deploy import put_permit2

if TYPE_CHECKING:
    from evmbilling.testing.anvil import AnvilNode

MANDATE = {
    "payer": "address",
    "token": "address",
    "treasury": "address",
    "subscription": "uint256",
    "plan": "bytes32",
    "chargeCap": "uint160",
    "cap": "uint160",
    "spacing": "uint64",
    "start": "uint64",
    "expiry": "uint64",
    "operator": "address",
    "permit2": "bool",
    "salt": "uint256",
}
DETAILS = {"token": "address", "amount": "uint160", "expiration": "uint48", "nonce": "uint48"}
SINGLE = {"details": "PermitDetails", "spender": "address", "sigDeadline": "uint256"}
DAY = 86_400


class PullingShop(Shop):
    """A deployed Mandates contract with a payer who allows a hundred charges."""

    def __init__(self, node: AnvilNode) -> None:
        super().__init__(node)
        self.permit2 = put_permit2(node)
        self.mandates, gas = self.deploy("Mandates", self.owner.address, [self.operator.address])
        self.rows = [("deploy the contract", gas)]

    def mandate(self, token: Any, salt: int, *, permit2: bool = False) -> tuple[tuple[Any, ...], bytes]:
        """A mandate that the payer signed; a spacing of a day, begun long ago."""
        start = 1_700_000_000
        values = (
            *(self.payer.address, token.address, self.treasury.address, 2**127, Web3.keccak(text="pro@1")),
            *(AMOUNT, AMOUNT, DAY, start, LATER, ZERO, permit2, salt),
        )
        domain = self.domain("evmbilling Mandates", self.mandates.address)
        types = {"Mandate": [{"name": name, "type": kind} for name, kind in MANDATE.items()]}
        message = dict(zip(MANDATE, values, strict=True))
        return values, Account.sign_typed_data(self.payer.key, domain, types, message).signature

    def charge(self, row: str, mandate: tuple[tuple[Any, ...], bytes], *permit: Any, checkout: str = ZERO) -> None:
        """Measure a charge by the operator; with a permit when there is one."""
        self.orders += 1
        order = (Web3.keccak(text=f"order {self.orders}"), AMOUNT, LATER, checkout)
        function = "chargeWithPermit" if permit else "charge"
        self.rows.append((row, self.call(self.mandates, function, *mandate, order, *permit, sender=self.operator)))

    def permit(self, token: Any) -> tuple[Any, bytes]:
        """A signed allowance of Permit2 for many charges."""
        details, spender = (token.address, 100 * AMOUNT, 2**40, 0), self.mandates.address
        types = {
            "PermitSingle": [{"name": name, "type": kind} for name, kind in SINGLE.items()],
            "PermitDetails": [{"name": name, "type": kind} for name, kind in DETAILS.items()],
        }
        domain = {"name": "Permit2", "chainId": self.node.chain_id, "verifyingContract": self.permit2}
        named = dict(zip(DETAILS, details, strict=True))
        message = {"details": named, "spender": spender, "sigDeadline": LATER}
        signed = Account.sign_typed_data(self.payer.key, domain, types, message)
        return (details, spender, LATER), signed.signature


def measure(node: AnvilNode) -> list[tuple[str, int]]:
    """Return each call with its gas, refunds of gas deducted, on a fresh chain."""
    shop = PullingShop(node)
    token, old = shop.token("TestToken"), shop.token("NoReturnToken")
    shop.rows.append(
        (
            "`approve` of an ERC-20 for many charges",
            shop.call(token, "approve", shop.mandates.address, 100 * AMOUNT),
        )
    )
    shop.call(old, "approve", shop.mandates.address, 100 * AMOUNT)
    plain, odd = shop.mandate(token, 1), shop.mandate(old, 2)
    shop.charge("`charge`, first of a mandate", plain)
    shop.charge("`charge`, later", plain)
    shop.charge("`charge`, later, asking a checkout too", plain, checkout=shop.checkout.address)
    shop.charge("`charge`, first, ERC-20 without return values", odd)
    shop.call(token, "approve", shop.permit2, 100 * AMOUNT)
    through = shop.mandate(token, 3, permit2=True)
    shop.charge("`chargeWithPermit`, first, over Permit2", through, *shop.permit(token))
    shop.charge("`charge`, later, over Permit2", through)
    given, revoked = shop.mandate(token, 4), shop.mandate(token, 5)
    shop.rows.append(("`give` by somebody else", shop.call(shop.mandates, "give", *given, sender=shop.operator)))
    shop.rows.append(("`give` by the payer", shop.call(shop.mandates, "give", revoked[0], b"")))
    identity = node.rpc(
        "eth_call",
        {"to": shop.mandates.address, "data": shop.mandates.encode_abi("mandateId", args=[plain[0]])},
        "latest",
    )
    shop.rows.append(("`revoke`", shop.call(shop.mandates, "revoke", identity)))
    return shop.rows
