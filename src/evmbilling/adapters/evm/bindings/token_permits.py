"""What a payer signs for a configured call, and where the signature goes in: ERC-2612, ERC-3009 and Permit2.

An ERC-2612 permit says nothing about an order, so its call has to come from the payer. In the other schemes the nonce
is the order's reference: what was signed pays that order and no other, once, whoever sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import field, frozen
from msgspec import Raw

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import SIGNATURE_BYTES, WORD, selector
from evmbilling.adapters.evm.bindings.bindings import binding_of, order_values
from evmbilling.adapters.evm.bindings.call_encoding import CompiledCall
from evmbilling.adapters.evm.bindings.permit2_witness import compile_witness
from evmbilling.adapters.evm.mandates.mandates import unwrapped
from evmbilling.adapters.evm.paying.instructions import view
from evmbilling.adapters.evm.rpc.exchange import Call
from evmbilling.adapters.evm.rpc.pinned import LATEST, ask_now
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.signing.permit2 import DOMAIN_FIELDS as PERMIT2_DOMAIN
from evmbilling.adapters.evm.signing.token_domains import domain_questions, read_domain, view_answer
from evmbilling.adapters.evm.signing.typed_data import (
    DOMAIN_FIELDS,
    Fields,
    address_word,
    listed,
    type_string,
    unix_seconds,
)
from evmbilling.adapters.evm.signing.verification import is_contract_signature, is_key_signature
from evmbilling.domain.catalogue.call_templates import Scheme
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ChainMismatch, ChallengeRefused, Conflict, RpcRefused

_PERMIT: Final = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_AUTHORIZATION: Final = (
    ("from", "address"),
    ("to", "address"),
    ("value", "uint256"),
    ("validAfter", "uint256"),
    ("validBefore", "uint256"),
    ("nonce", "bytes32"),
)
_PERMITTED: Final = (("token", "address"), ("amount", "uint256"))
_TRANSFER: Final = (
    ("permitted", "TokenPermissions"),
    ("spender", "address"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_PERMITTED_TYPE: Final = type_string("TokenPermissions", _PERMITTED)
_NONCES: Final = selector("nonces(address)")
_STATE: Final = selector("authorizationState(address,bytes32)")
_BITMAP: Final = selector("nonceBitmap(address,uint256)")
_SEPARATOR: Final = selector("DOMAIN_SEPARATOR()")
_PERMIT2_HASH: Final = keccak(type_string("EIP712Domain", PERMIT2_DOMAIN)) + keccak(b"Permit2")
_LOW_BITS: Final = 8
_PERMIT2_SCHEMES: Final = frozenset({"permit2_transfer", "permit2_witness"})
_AUTHORIZATIONS: Final[dict[Scheme, str]] = {
    "erc3009_transfer": "TransferWithAuthorization",
    "erc3009_receive": "ReceiveWithAuthorization",
}


@frozen(kw_only=True)
class PayerSigns:
    """What a payer can sign now.

    Attributes:
        typed_data: EIP-712 as JSON values. digest: the 32 bytes that are signed.

    """

    typed_data: dict[str, Any] = field(repr=False)
    digest: bytes = field(repr=False)


@frozen(kw_only=True)
class _Asked:
    """One order's call that takes a signature: who gets how much by it."""

    order: Order
    call: CompiledCall
    spender: str
    amount: int

    @property
    def deadline(self) -> int:
        return unix_seconds(self.order.deadline)


def ask_permit(rpc: JsonRpc, order: Order, contract: PaymentContract) -> PayerSigns:
    """Ask the token for what a payer has to sign, all as of one block.

    Raises:
        Conflict: the binding has no call with a signature, the token takes none, or it was used already.
        ChainMismatch: the token's domain is not the one of its ``DOMAIN_SEPARATOR``.
        ProviderError: no node answered.

    """
    return _signs(rpc, _asked(order, contract))


def permitted_payload(rpc: JsonRpc, order: Order, contract: PaymentContract, signature: bytes) -> WalletPayload:
    """Return the call that pays with a signature, the payer's in its place.

    Raises:
        ChallengeRefused: it is not the payer's signature of what the token wants now.
        Conflict, ChainMismatch, ProviderError: as :func:`ask_permit`.

    """
    asked = _asked(order, contract)
    given = _taken(rpc, asked, _signs(rpc, asked).digest, signature)
    if given is None:
        raise ChallengeRefused("this is not the wallet's signature of the permit; ask for it again", field="signature")
    values = {**order_values(order), "permit_signature": given}
    if len(given) == SIGNATURE_BYTES:
        values |= {"permit_r": given[:32], "permit_s": given[32:64], "permit_v": given[64]}
    data = asked.call.encode(values)
    return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=data, gas=order.gas)


def _asked(order: Order, contract: PaymentContract) -> _Asked:
    call = binding_of(contract).signed_call_for(order)
    granted = call.signed(order_values(order)) if call is not None and not order.asset.is_native else None
    if call is None or granted is None or contract.address != order.contract:
        raise Conflict("this contract takes no permits for this order", field="permit_method")
    return _Asked(order=order, call=call, spender=granted[0], amount=granted[1])


def _signs(rpc: JsonRpc, asked: _Asked) -> PayerSigns:
    if asked.call.scheme in _PERMIT2_SCHEMES:
        return _permit2(asked, ask_now(rpc, _permit2_questions(asked.order)))
    own = _NONCES + address_word(asked.order.wallet)
    if asked.call.scheme != "erc2612":
        own = _STATE + address_word(asked.order.wallet) + asked.order.reference
    questions = [*domain_questions(asked.order.asset), view(asked.order.asset.token, own)]
    answers = ask_now(rpc, questions)
    return _permit(asked, answers) if asked.call.scheme == "erc2612" else _authorization(asked, answers)


def _permit(asked: _Asked, answers: Sequence[Raw | RpcRefused]) -> PayerSigns:
    """ERC-2612: the spender may take the amount; the token counts its permits."""
    order, nonce = asked.order, view_answer(answers[-1])
    if len(nonce) != WORD:
        raise Conflict("this token takes no permits", field="asset")
    domain = read_domain(order.asset, answers[:-1])
    words = (address_word(order.wallet), address_word(asked.spender), _word(asked.amount), nonce, _word(asked.deadline))
    message = {
        "owner": order.wallet,
        "spender": asked.spender,
        "value": str(asked.amount),
        "nonce": str(int.from_bytes(nonce, "big")),
        "deadline": str(asked.deadline),
    }
    return _signed(domain.fields, domain.separator, {"Permit": _PERMIT}, message, b"".join(words))


def _authorization(asked: _Asked, answers: Sequence[Raw | RpcRefused]) -> PayerSigns:
    """ERC-3009: the amount goes to the payee, once, before the deadline; the nonce is the order's reference."""
    order, state = asked.order, view_answer(answers[-1])
    if len(state) != WORD:
        raise Conflict("this token takes no authorizations", field="asset")
    if any(state):
        raise Conflict("this order's authorization was used or cancelled", field="ledger_id")
    domain = read_domain(order.asset, answers[:-1])
    primary = _AUTHORIZATIONS[asked.call.scheme or "erc3009_transfer"]
    words = (
        *(address_word(order.wallet), address_word(asked.spender)),
        *(_word(asked.amount), _word(0), _word(asked.deadline), order.reference),
    )
    message = {
        "from": order.wallet,
        "to": asked.spender,
        "value": str(asked.amount),
        "validAfter": "0",
        "validBefore": str(asked.deadline),
        "nonce": "0x" + order.reference.hex(),
    }
    return _signed(domain.fields, domain.separator, {primary: _AUTHORIZATION}, message, b"".join(words))


def _permit2_questions(order: Order) -> list[Call]:
    word = int.from_bytes(order.reference, "big") >> _LOW_BITS
    used = _BITMAP + address_word(order.wallet) + _word(word)
    return [view(PERMIT2_ADDRESS, _SEPARATOR), view(PERMIT2_ADDRESS, used)]


def _permit2(asked: _Asked, answers: Sequence[Raw | RpcRefused]) -> PayerSigns:
    """Permit2's SignatureTransfer: the spender moves the amount, once; the nonce is the order's reference."""
    order = asked.order
    separator, bits = map(view_answer, answers)
    if len(separator) != WORD or len(bits) != WORD:
        raise Conflict("there is no Permit2 on this network", field="network")
    if keccak(_PERMIT2_HASH + _word(order.chain_id) + address_word(PERMIT2_ADDRESS)) != separator:
        raise ChainMismatch("Permit2's domain is not the one of its DOMAIN_SEPARATOR")
    nonce = int.from_bytes(order.reference, "big")
    if int.from_bytes(bits, "big") >> (nonce % 2**_LOW_BITS) & 1:
        raise Conflict("this order's permit was used or cancelled", field="ledger_id")
    permitted = keccak(keccak(_PERMITTED_TYPE) + address_word(order.asset.token) + _word(asked.amount))
    words: tuple[bytes, ...] = (
        *(permitted, address_word(asked.spender)),
        *(order.reference, _word(asked.deadline)),
    )
    message: dict[str, Any] = {
        "permitted": {"token": order.asset.token, "amount": str(asked.amount)},
        "spender": asked.spender,
        "nonce": str(nonce),
        "deadline": str(asked.deadline),
    }
    domain = {"name": "Permit2", "chainId": order.chain_id, "verifyingContract": PERMIT2_ADDRESS}
    types: dict[str, Fields] = {"PermitTransferFrom": _TRANSFER, "TokenPermissions": _PERMITTED}
    sign = asked.call.template.sign
    if sign is not None and sign.witness is not None:
        witness = compile_witness(sign.witness, "sign.witness")
        shown, hashed = witness.filled(order_values(order))
        message, words = {**message, "witness": shown}, (*words, hashed)
        # EIP-712 lists the structs that a type refers to by name.
        others = sorted({"TokenPermissions": _PERMITTED, witness.name: witness.fields}.items())
        types = {"PermitWitnessTransferFrom": (*_TRANSFER, ("witness", witness.name)), **dict(others)}
    return _signed(domain, separator, types, message, b"".join(words))


def _signed(
    domain: dict[str, Any], separator: bytes, types: dict[str, Fields], message: dict[str, Any], words: bytes
) -> PayerSigns:
    """Return typed data, the first type being the primary one, and the digest of its encoded members."""
    primary = next(iter(types))
    own = DOMAIN_FIELDS if "version" in domain else PERMIT2_DOMAIN
    typehash = keccak(b"".join(type_string(name, fields) for name, fields in types.items()))
    return PayerSigns(
        typed_data={
            "types": {name: listed(fields) for name, fields in {"EIP712Domain": own, **types}.items()},
            "primaryType": primary,
            "domain": domain,
            "message": message,
        },
        digest=keccak(b"\x19\x01" + separator + keccak(typehash + words)),
    )


def _taken(rpc: JsonRpc, asked: _Asked, digest: bytes, signature: bytes) -> bytes | None:
    """Return the signature as the call takes it; None for one that would be refused.

    A key's signature has 65 bytes. A contract wallet's has any, so it needs a call that takes it whole. Permit2 asks
    accounts with code by ERC-1271 only, also those that sign as a key (EIP-7702).
    """
    wallet = asked.order.wallet
    by_key = len(signature) == SIGNATURE_BYTES and is_key_signature(wallet, digest, signature)
    if "permit_signature" not in asked.call.template.placeholders():
        return signature if by_key else None
    inner = unwrapped(signature)
    if asked.call.scheme in _PERMIT2_SCHEMES:
        (code,) = ask_now(rpc, [Call("eth_getCode", (wallet, LATEST))])
        if not view_answer(code):
            return signature if by_key else None
    elif by_key:
        return signature
    return inner if inner is not None and is_contract_signature(rpc, wallet, digest, inner) else None


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")
