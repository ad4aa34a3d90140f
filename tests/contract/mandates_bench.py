"""The in-process chain with a Mandates contract, Permit2 at its address, and mandates signed as wallets sign them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyrevm
from contract_bench import (
    DAY,
    NATIVE,
    OWNER,
    PLAN,
    START,
    TREASURY,
    ZERO,
    Bench,
    Contract,
    Order,
    typed_data,
)
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address

from evmbilling.contracts import artifact

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
CHARGER = to_checksum_address("0x" + "c4" * 20)
PAYER = Account.from_key("0x" + "44" * 32)
AMOUNT = 20_000_000
MONTH = 28 * DAY
REASONS = (
    *("None", "Paused", "NotOperator", "WrongOperator", "BadTerms", "ZeroAmount", "Revoked", "NotStarted", "Expired"),
    *("ChargeLate", "ReferenceUsed", "PaidElsewhere", "OverChargeCap", "OverCap", "NotAToken", "NoPermit2"),
    *("BadSignature", "BalanceTooLow", "AllowanceTooLow"),
)
"""The names of ``Refusal``, by their numbers."""

MANDATE_FIELDS = (
    ("payer", "address"),
    ("token", "address"),
    ("treasury", "address"),
    ("subscription", "uint256"),
    ("plan", "bytes32"),
    ("chargeCap", "uint160"),
    ("cap", "uint160"),
    ("spacing", "uint64"),
    ("start", "uint64"),
    ("expiry", "uint64"),
    ("operator", "address"),
    ("permit2", "bool"),
    ("salt", "uint256"),
)


class Mandate(NamedTuple):
    """The struct, in its ABI order."""

    payer: str = PAYER.address
    token: str = NATIVE  # the bench chooses
    treasury: str = TREASURY
    subscription: int = 7
    plan: bytes = PLAN
    chargeCap: int = AMOUNT  # noqa: N815  - the name of the struct's member
    cap: int = AMOUNT
    spacing: int = MONTH
    start: int = START
    expiry: int = START + 1000 * DAY
    operator: str = ZERO
    permit2: bool = False
    salt: int = 1


class Charge(NamedTuple):
    """The struct, in its ABI order."""

    reference: bytes = keccak(text="order 1")
    amount: int = AMOUNT
    deadline: int = START + 5000 * DAY
    checkout: str = ZERO


class MandatesBench(Bench):
    """A bench whose payer has money, and has let the Mandates contract have it."""

    def __init__(self, *, chain_id: int = 31337) -> None:
        super().__init__(chain_id=chain_id)
        self.mandates = self.deploy("Mandates", OWNER, [CHARGER])
        self.permit2 = Contract(self, "AllowancePermit2", PERMIT2)
        self.names[PERMIT2] = "AllowancePermit2"
        self.put_code(PERMIT2, artifact("AllowancePermit2").deployed_bytecode)
        self.endow(PAYER.address, 100 * AMOUNT)

    def put_code(self, address: str, code: bytes) -> None:
        self.evm.insert_account_info(address, pyrevm.AccountInfo(code=code))

    def endow(self, payer: str, amount: int, token: Contract | None = None) -> None:
        """Give a payer tokens, and the contract an allowance of them, both ways."""
        token = token or self.token
        token.call("mint", payer, amount)
        # A contract cannot be a sender (EIP-3607), so a wallet of code is an account without for a moment.
        code = bytes(self.evm.get_code(payer) or b"")
        self.put_code(payer, b"")
        token.call("approve", self.mandates.address, amount, sender=payer)
        token.call("approve", PERMIT2, amount, sender=payer)
        self.put_code(payer, code)

    def mandate(self, **changes: Any) -> Mandate:
        return Mandate(**{"token": self.token.address, **changes})

    def consent(self, mandate: Mandate, *, key: Any = PAYER, contract: str | None = None) -> bytes:
        message = mandate_typed_data(mandate, self.chain_id, contract or self.mandates.address)
        return bytes(key.sign_message(encode_typed_data(full_message=message)).signature)

    def charge(
        self, mandate: Mandate, signature: bytes | None = None, *, sender: str = CHARGER, **changes: Any
    ) -> None:
        proof = self.consent(mandate) if signature is None else signature
        self.mandates.call("charge", mandate, proof, Charge(**changes), sender=sender)

    def reason(self, mandate: Mandate, signature: bytes | None = None, *, sender: str = CHARGER, **changes: Any) -> str:
        """What ``canCharge`` answers, by its name."""
        proof = self.consent(mandate) if signature is None else signature
        return REASONS[self.mandates.call("canCharge", mandate, proof, Charge(**changes), sender)]

    def remaining(self, mandate: Mandate) -> int:
        return int(self.mandates.call("remaining", mandate))

    def identity(self, mandate: Mandate) -> bytes:
        return bytes(self.mandates.call("mandateId", mandate))

    def state(self, mandate: Mandate) -> tuple[int, int]:
        """Stage (0 unknown, 1 given, 2 revoked) and what was charged."""
        stage, charged = self.mandates.call("stateOf", mandate.payer, self.identity(mandate))
        return int(stage), int(charged)

    def told(self, name: str) -> list[dict[str, Any]]:
        """The arguments of the contract's own events of one name in the last transaction."""
        return [log.args for log in self.logs if (log.address, log.name) == (self.mandates.address, name)]

    def permit(self, *, token: str, amount: int, key: Any = PAYER, **changes: int) -> tuple[Any, bytes]:
        """A signed Permit2 permit of the payer to the contract."""
        details = (token, amount, changes.get("expiration", START + 1000 * DAY), changes.get("nonce", 0))
        single = (details, self.mandates.address, changes.get("deadline", START + DAY))
        digest = bytes(self.permit2.call("permitHash", single))
        return single, bytes(key.unsafe_sign_hash(digest).signature)


def mandate_typed_data(mandate: Mandate, chain_id: int, contract: str) -> dict[str, Any]:
    """The EIP-712 message that the payer signs."""
    return wrap("Mandate", MANDATE_FIELDS, mandate._asdict(), chain_id, contract)


def revocation_typed_data(payer: str, mandate: bytes, chain_id: int, contract: str) -> dict[str, Any]:
    """The EIP-712 message by which a payer lets anybody revoke."""
    fields = (("payer", "address"), ("mandate", "bytes32"))
    return wrap("Revocation", fields, {"payer": payer, "mandate": mandate}, chain_id, contract)


def wrap(
    name: str, fields: tuple[tuple[str, str], ...], message: dict[str, Any], chain_id: int, contract: str
) -> dict[str, Any]:
    found = typed_data(Order(), chain_id, contract)
    types = {k: v for k, v in found["types"].items() if k == "EIP712Domain"}
    types[name] = [{"name": field, "type": kind} for field, kind in fields]
    domain = found["domain"] | {"name": "evmbilling Mandates"}
    return {"types": types, "primaryType": name, "domain": domain, "message": message}


def pay_checkout(bench: MandatesBench, reference: bytes) -> None:
    """Pay an order of this reference through the checkout."""
    payer = PAYER.address
    order = bench.order(reference=reference, payer=payer)
    bench.token.call("approve", bench.checkout.address, order.amount, sender=payer)
    bench.pay(order, sender=payer)
