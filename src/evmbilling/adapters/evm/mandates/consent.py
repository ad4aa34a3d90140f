"""Whether a payer's signatures will do on chain, asked before they are relied on."""

from __future__ import annotations

from typing import Final

from evmbilling.adapters.evm.mandates.mandates import unwrapped
from evmbilling.adapters.evm.paying.instructions import is_revert, read_answer, view
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.signing.permit2 import permit_call
from evmbilling.adapters.evm.signing.verification import is_contract_signature
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS, Mandate, Permit

_SENDER: Final = "0x0000000000000000000000000000000000000001"


def wallet_consent(rpc: JsonRpc, mandate: Mandate, signature: bytes) -> bytes | None:
    """Return a contract wallet's signature as the Mandates contract takes it; None for one that it would refuse.

    Only contract wallets are asked here. One that is not deployed (ERC-6492) is refused: it can hold no allowance yet,
    and the contract asks nobody who is not there.

    Raises:
        RpcUnavailable: the chain had to be asked and no node answered.

    """
    inner = unwrapped(signature)
    if inner is None or not is_contract_signature(rpc, mandate.payer, mandate.digest, inner):
        return None
    return inner


def takes_permit(rpc: JsonRpc, mandate: Mandate, permit: Permit) -> bool:
    """Whether Permit2 would take a signed permit now. It asks accounts with code by ERC-1271 only.

    Raises:
        RpcUnavailable: no node answered.
        RpcRefused: the node would not try.

    """
    attempt = rpc.batch([view(PERMIT2_ADDRESS, permit_call(mandate, permit), _SENDER)])[0]
    if is_revert(attempt):
        return False
    read_answer(attempt)
    return True
