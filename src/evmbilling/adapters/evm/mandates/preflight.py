"""What the chain says about a charge before it is tried, and about the allowance that it needs: one batch, one node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.abi.calldata import (
    PAUSED,
    WORD,
    allowance_call,
    approve_call,
    balance_call,
    is_used_call,
    selector,
)
from evmbilling.adapters.evm.mandates.mandates import can_charge_call, charge_call, state_call
from evmbilling.adapters.evm.paying.instructions import APPROVAL_GAS, is_revert, read_answer, read_number, view
from evmbilling.adapters.evm.rpc.answers import BLOCK, decode_answer, read_header
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.permit2 import APPROVE_GAS, permit2_allowance_call, permit2_approve_call
from evmbilling.adapters.evm.signing.typed_data import unix_seconds
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.mandates.mandate_charges import REFUSALS, Charge, ChargeState, Refusal, Simulated
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS, Approvals, Mandate, Permit
from evmbilling.domain.selling.offers import Problem, WalletPayload
from evmbilling.errors import ChainMismatch, RpcRefused

_STAGES: Final[tuple[Literal["unknown", "given", "revoked"], ...]] = ("unknown", "given", "revoked")
_SHORT_RECEIPT: Final = selector("ShortReceipt(uint256,uint256)")

Answer = Raw | RpcRefused


@frozen(kw_only=True)
class Allowances:
    """What the payer allows, by what it stands on.

    Attributes:
        token: base units of the token's own allowance, to the contract or to Permit2.
        permit2: base units, end (Unix seconds) and next nonce of Permit2's allowance; None when it is not asked.

    """

    token: int
    permit2: tuple[int, int, int] | None = None

    def usable(self, when: datetime, permit: Permit | None) -> int:
        """Return how much the contract could take at a time; a signed permit that would be taken then counts."""
        if self.permit2 is None:
            return self.token
        amount, expiration, nonce = self.permit2
        good = amount if unix_seconds(when) <= expiration else 0
        if permit is not None and permit.signature and permit.nonce == nonce:
            good = permit.amount if when <= min(permit.deadline, permit.expiration) else good
        return min(self.token, good)


def ask_charge_state(rpc: JsonRpc, mandate: Mandate, charge: Charge, operator: str | None) -> ChargeState:
    """Ask one node once what stands in the way of a charge; ``operator`` is who would send it.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    answers = dict(zip(_NAMES, rpc.batch(_questions(mandate, charge, operator), attempts=1), strict=True))
    header = read_header(decode_answer(BLOCK, _known(answers["block"]), "block"))
    if header is None:
        raise ChainMismatch("the node has no newest block")
    time = header.header.timestamp
    contract_known = artifact("Mandates").matches(read_answer(answers["code"]))
    balance, allowances = read_number(answers["balance"]), _allowances(mandate, answers)
    if not contract_known or balance is None or allowances is None:
        return ChargeState(time=time, contract_known=contract_known, token_answers=balance is not None)
    stage, charged = _state(answers["state"])
    return ChargeState(
        time=time,
        contract_known=True,
        token_answers=True,
        stage=stage,
        charged=charged,
        paused=bool(read_number(answers["paused"])),
        token_paused=bool(read_number(answers["token_paused"])),
        balance=balance,
        allowance=allowances.usable(time, mandate.permit),
        used=bool(read_number(answers["used"])) or bool(read_number(answers["used_elsewhere"])),
        refusal=_refusal(answers["can_charge"]) if operator else None,
        simulated=_simulated(answers["attempt"]) if operator else None,
    )


def ask_approvals(rpc: JsonRpc, mandate: Mandate, wanted: int) -> Approvals:
    """Ask one node once which allowances the payer has to give so that ``wanted`` base units can be pulled.

    Raises:
        ProviderError: no node answered, or not understandably.

    """
    spender = _spender(mandate)
    calls = [
        Call("eth_getCode", (mandate.contract, "latest")),
        Call("eth_getCode", (PERMIT2_ADDRESS, "latest")),
        *_allowance_questions(mandate),
        view(mandate.asset.token, approve_call(spender, wanted), mandate.payer),
    ]
    code, permit2_code, below, above, attempt = rpc.batch(calls, attempts=1)
    if not artifact("Mandates").matches(read_answer(code)):
        return Approvals(problems=(_missing(f"the Mandates contract is not at {mandate.contract}"),))
    if mandate.via == "permit2" and not read_answer(permit2_code):
        return Approvals(problems=(_missing("there is no Permit2 on this network"),))
    allowances = _allowances(mandate, {"below": below, "above": above})
    if allowances is None:
        return Approvals(problems=(_missing(f"there is no token at {mandate.asset.token} on this network"),))
    transactions = _approve(mandate, allowances.token, wanted, takes=not is_revert(attempt))
    return _with_permit(mandate, transactions, allowances, wanted)


def blind_approvals(mandate: Mandate, wanted: int) -> Approvals:
    """Return the allowances to give when no node could be asked: all of them, on chain."""
    transactions = _approve(mandate, 0, wanted, takes=True)
    if mandate.via == "permit2":
        transactions = (*transactions, _permit2_approval(mandate, wanted))
    problem = Problem(code="rpc_unknown", text="the network could not be asked; what is allowed already is not known")
    return Approvals(transactions=transactions, problems=(problem,))


_NAMES: Final = (
    *("code", "block", "paused", "state", "can_charge", "balance", "below", "above"),
    *("token_paused", "used", "used_elsewhere", "attempt"),
)


def _questions(mandate: Mandate, charge: Charge, operator: str | None) -> list[Call]:
    """In the order of ``_NAMES``; what need not be known is asked of nobody, so that places do not move."""
    contract, token = mandate.contract, mandate.asset.token
    elsewhere = charge.checkout if charge.checkout != ZERO_ADDRESS else contract
    sender = operator or ZERO_ADDRESS
    return [
        Call("eth_getCode", (contract, "latest")),
        Call("eth_getBlockByNumber", ("latest", False)),
        view(contract, PAUSED),
        view(contract, state_call(mandate)),
        view(contract, can_charge_call(mandate, charge, sender)),
        view(token, balance_call(mandate.payer)),
        *_allowance_questions(mandate),
        view(token, PAUSED),
        view(contract, is_used_call(charge.reference)),
        view(elsewhere, is_used_call(charge.reference)),
        view(contract, charge_call(mandate, charge), sender),
    ]


def _allowance_questions(mandate: Mandate) -> list[Call]:
    token = mandate.asset.token
    return [
        view(token, allowance_call(mandate.payer, _spender(mandate))),
        view(PERMIT2_ADDRESS, permit2_allowance_call(mandate.payer, token, mandate.contract)),
    ]


def _spender(mandate: Mandate) -> str:
    return PERMIT2_ADDRESS if mandate.via == "permit2" else mandate.contract


def _allowances(mandate: Mandate, answers: dict[str, Answer]) -> Allowances | None:
    """Read them; None when the token does not answer."""
    below = read_number(answers["below"])
    if below is None:
        return None
    if mandate.via == "allowance":
        return Allowances(token=below)
    words = _words(answers["above"], 3)
    return Allowances(token=below, permit2=(words[0], words[1], words[2]) if words else (0, 0, 0))


def _state(answer: Answer) -> tuple[Literal["unknown", "given", "revoked"], int]:
    words = _words(answer, 2)
    if words is None or words[0] >= len(_STAGES):
        raise ChainMismatch("the contract's answer about the mandate is not understood")
    return _STAGES[words[0]], words[1]


def _refusal(answer: Answer) -> Refusal | None:
    number = read_number(answer)
    return None if number is None or number >= len(REFUSALS) else REFUSALS[number]


def _simulated(answer: Answer) -> Simulated | None:
    """Read how the trial went; None when the node itself would not try."""
    if not isinstance(answer, RpcRefused):
        return "ok"
    if not is_revert(answer):
        return None
    data = str(answer.details.get("data") or "")
    return "short" if data.startswith(to_hex(_SHORT_RECEIPT)) else "reverted"


def _words(answer: Answer, count: int) -> list[int] | None:
    """Read words; None when a contract gave fewer, as an address without code does."""
    if isinstance(answer, RpcRefused) and is_revert(answer):
        return None
    value = read_answer(answer)
    if len(value) < count * WORD:
        return None
    return [int.from_bytes(value[place * WORD : (place + 1) * WORD], "big") for place in range(count)]


def _known(answer: Answer) -> Raw:
    if isinstance(answer, RpcRefused):
        raise answer
    return answer


def _missing(text: str) -> Problem:
    return Problem(code="contract_missing", text=text)


def _approve(mandate: Mandate, allowed: int, wanted: int, *, takes: bool) -> tuple[WalletPayload, ...]:
    """Return the token's approvals: none, one, or first to zero for a token that will not change one (USDT)."""
    if allowed >= wanted:
        return ()
    amounts = (wanted,) if takes or allowed == 0 else (0, wanted)
    return tuple(
        WalletPayload(
            chain_id=mandate.chain_id,
            to=mandate.asset.token,
            value=0,
            data=approve_call(_spender(mandate), amount),
            gas=APPROVAL_GAS,
        )
        for amount in amounts
    )


def _with_permit(
    mandate: Mandate, transactions: Sequence[WalletPayload], allowances: Allowances, wanted: int
) -> Approvals:
    if allowances.permit2 is None:
        return Approvals(transactions=tuple(transactions))
    amount, expiration, nonce = allowances.permit2
    if amount >= wanted and expiration >= unix_seconds(mandate.expires_at):
        return Approvals(transactions=tuple(transactions))
    permit = Permit(amount=wanted, nonce=nonce, expiration=mandate.expires_at, deadline=mandate.expires_at)
    instead = _permit2_approval(mandate, wanted)
    return Approvals(transactions=tuple(transactions), permit=permit, instead_of_permit=instead)


def _permit2_approval(mandate: Mandate, wanted: int) -> WalletPayload:
    data = permit2_approve_call(mandate.asset.token, mandate.contract, wanted, unix_seconds(mandate.expires_at))
    return WalletPayload(chain_id=mandate.chain_id, to=PERMIT2_ADDRESS, value=0, data=data, gas=APPROVE_GAS)
