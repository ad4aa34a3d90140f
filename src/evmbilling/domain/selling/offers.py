"""Offers: what a wallet is handed so that it can pay, and what the caller of checkout gets back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order, OrderLine
from evmbilling.domain.states import OrderStatus

NextStep = Literal["pay", "wait", "done", "checkout_again"]
ProblemCode = Literal[
    "balance",
    "allowance",
    "paused",
    "contract_missing",
    "reference_used",
    "signer_removed",
    "token_changed",
    "token_refuses",
    "treasury_refuses",
    "contract_refuses",
    "contract_changed",
    "rpc_unknown",
]


@frozen(kw_only=True)
class WalletPayload:
    """A transaction ready for ``eth_sendTransaction``.

    Attributes:
        chain_id: EIP-155 id of the chain on which it must be sent.
        to: the address that is called, EIP-55.
        value: wei.
        data: calldata.
        gas: units, as measured for the binding: a limit, not a price.

    """

    chain_id: int
    to: str
    value: int
    data: bytes = field(repr=False)
    gas: int

    def as_rpc(self, sender: str | None = None) -> dict[str, str]:
        """Return the JSON-RPC form: quantities as minimal hex strings (execution-apis)."""
        call = {
            "chainId": hex(self.chain_id),
            "to": self.to,
            "value": hex(self.value),
            "data": "0x" + self.data.hex(),
            "gas": hex(self.gas),
        }
        return call | ({"from": sender} if sender else {})


@frozen(kw_only=True)
class PreparedRefund(WalletPayload):
    """The transaction by which a treasury gives money back.

    Attributes:
        approval: what the treasury sends before it: that the contract may take just this amount of the token (ERC-20
            ``approve``). It replaces what was allowed to the same spender. None where nothing has to be allowed.

    """

    approval: WalletPayload | None = None


@frozen(kw_only=True)
class Challenge:
    """The order as typed data (EIP-712), signed by the gateway's order-signing key.

    Attributes:
        typed_data: ``domain``, ``types``, ``primaryType``, ``message`` as JSON values.
        signature: 65 bytes. signer: the address that it recovers to.

    """

    typed_data: dict[str, Any] = field(repr=False)
    signature: bytes = field(repr=False)
    signer: str


@frozen(kw_only=True)
class Checkout:
    """The answer of ``checkout``, ``requote`` and ``order``.

    Attributes:
        ledger_id: the order's id, UUIDv7; a name, never a permission.
        status: always the present one. next: what the client should do.
        reference: 32 bytes that the payment's event carries.
        amount: base units of ``asset``; the sum of ``lines``.
        deadline: a paying block with a timestamp above it is late.
        payload: None once the order cannot be paid any more, and while the payer has to sign first (``pay_permit``).
        challenge: None then too, and for a plain transfer: nothing is signed there.
        uri: an ERC-681 link where that standard can say the payment; None for signed contract orders.
        replayed: whether the idempotency key was known already.
        address: the order's own deposit address, to which anybody can send the money; None without one, and once the
            order cannot be paid any more.
        order: the ledger row itself.

    """

    ledger_id: str
    status: OrderStatus
    next: NextStep
    reference: bytes
    asset: Asset
    amount: int
    lines: tuple[OrderLine, ...]
    deadline: datetime
    payload: WalletPayload | None
    challenge: Challenge | None
    uri: str | None = None
    address: str | None = None
    replayed: bool = False
    order: Order = field(repr=False)


@frozen(kw_only=True)
class Quote:
    """What a checkout would ask for; nothing is written.

    Attributes:
        amount: base units of ``asset``; the sum of ``lines``.
        valid_for: seconds that an offer stays payable.

    """

    plan_slug: str
    plan_version: int
    network: str
    asset: Asset
    quantity: int
    lines: tuple[OrderLine, ...]
    amount: int
    valid_for: int


@frozen(kw_only=True)
class Problem:
    """Why a payment would not go through now."""

    code: ProblemCode
    text: str


@frozen(kw_only=True)
class PayInstructions:
    """What the chain says about paying an order, looked up after the commit.

    Attributes:
        approval: a transaction to send first, or None when the allowance suffices.
        problems: empty when nothing stands in the way; a dead node gives ``rpc_unknown``.

    """

    ledger_id: str
    payload: WalletPayload | None
    approval: WalletPayload | None
    problems: tuple[Problem, ...]
