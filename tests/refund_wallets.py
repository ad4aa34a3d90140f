"""How a customer proves, with a wallet's signature, where a refund may go."""

from __future__ import annotations

from typing import Any

from evmbilling.domain.payments.receipts import Refund
from evmbilling.factory import BillingEngine
from evmbilling.testing.keys import sign_text


def prove(
    engine: BillingEngine, refund_id: str, account: Any, *, user_id: str = "alice", network: str = "local"
) -> Refund:
    """Sign what the engine asks with the key of this account; the refund then goes to its address."""
    asked = engine.refund_challenge(
        refund_id,
        user_id=user_id,
        wallet=account.address,
        network=network,
        domain="shop.example",
        uri="https://shop.example/refund",
    )
    signature = sign_text(account.key, asked.message)
    return engine.confirm_refund_address(refund_id, user_id=user_id, nonce=asked.nonce, signature=signature)
