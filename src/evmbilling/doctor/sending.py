"""Checks of what sends our own transactions: its coin, and what contracts and tokens let it do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.money import Asset
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.orders import DEPOSIT
from evmbilling.domain.sending.fences import AWAITS_FENCE, IN_POOL, NOT_READ
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, TransmissionStatus
from evmbilling.errors import BillingError, ConfigurationError, ProviderError

_FEW_TRANSACTIONS: Final = 20
"""How many of the dearest transactions a relayer should be able to pay for."""
_MANY: Final = 1000


def check_relayers(patient: Patient) -> Iterator[Finding]:
    """See that each relayer can pay, where this process holds its key, and that none is missing."""
    for gateway, network in patient.sales():
        if gateway.relayer is not None:
            yield _relayer(patient, gateway.slug, gateway.relayer, gateway.gas_ceiling, network)
        elif _sells_by_address(patient, gateway, network):
            text = f"{gateway.slug} on {network.name}: plans are paid at deposit addresses, and nothing sweeps them"
            advice = "give the gateway its relayer back, or archive these plans"
            yield Finding(check="relayers", verdict="fail", text=text, advice=advice)
    yield from _left_behind(patient)
    yield from _held_up(patient)


def _left_behind(patient: Patient) -> Iterator[Finding]:
    """Name references that no gateway has any more, and with which something is still to be sent or followed.

    The key behind one may be the gateway's own: sealed again, it has another reference.
    """
    known = {gateway.relayer for gateway in patient.gateways}
    with patient.ports.storage.unit(write=False) as unit:
        open_ = unit.transmissions(states=OPEN_TRANSMISSIONS, limit=_MANY)
    left = Counter((one.network, one.sender) for one in open_ if one.signer not in known)
    for (network, sender), count in sorted(left.items()):
        text = f"{network}: {count} transactions of {sender} are under way with a key as no gateway holds it any more"
        advice = "leave that key where it was (and what unseals it), its coin and its rights, until they are done"
        yield Finding(check="relayers", verdict="warn", text=text, advice=advice)


def _held_up(patient: Patient) -> Iterator[Finding]:
    """Name senders of which nothing new goes out: they sent, or may send, what the database does not know of yet."""
    with patient.ports.storage.unit(write=False) as unit:
        queued = unit.transmissions(states=[TransmissionStatus.QUEUED], limit=_MANY)
    held = Counter((one.network, one.sender, one.failure_reason) for one in queued if one.failure_reason in _HELD)
    for (network, sender, reason), count in sorted(held.items()):
        why, advice = _HELD[reason or ""]
        text = f"{network}: {count} transactions wait, since {why.format(sender)}"
        yield Finding(check="relayers", verdict="warn", text=text, advice=advice)


_HELD: Final = {
    NOT_READ: (
        "{} has sent something else in blocks not read yet",
        "let the reader come to the head (`evmbilling reader status`); they go out by themselves then",
    ),
    IN_POOL: (
        "nodes hold something else of {} to be mined than the database knows of, or not what it knows of",
        "they go out when it is mined; see `After a restore` in docs/operations/playbooks.md where it never is",
    ),
    AWAITS_FENCE: (
        "nonces of {} are being used up (`evmbilling sending fence`)",
        "they go out when that is irreversible on chain; the wallet needs coin for it",
    ),
}
"""Why something waits: what the wallet has done, and what to do."""


def _sells_by_address(patient: Patient, gateway: PaymentGateway, network: Network) -> bool:
    swept = {c.slug for c in patient.contracts if (c.network, c.kind) == (network.name, DEPOSIT)}
    return any(plan.contract_slug in swept for plan in patient.plans if plan.gateway_slug == gateway.slug)


def _relayer(patient: Patient, slug: str, key: SecretRef, ceiling: int, network: Network) -> Finding:
    name = f"{slug} on {network.name}"
    try:
        transmitter = patient.provider(network).transmitter(network)
        address = transmitter.address(key)
        balance = transmitter.balance(address)
    except ConfigurationError as error:
        advice = "right for a web process; on a worker with the step relayer, put the key where `relayer` points"
        return Finding(check="relayers", verdict="warn", text=f"{name}: {error.message}", advice=advice)
    except ProviderError as error:
        advice = "look again when its nodes answer"
        return Finding(check="relayers", verdict="warn", text=f"{name}: {error.message}", advice=advice)
    text = f"{name}: {address} holds {balance} wei; one transaction may cost {ceiling}"
    if balance < ceiling:
        return Finding(check="relayers", verdict="fail", text=text, advice="send coin to it: nothing can be sent")
    if balance < ceiling * _FEW_TRANSACTIONS:
        return Finding(check="relayers", verdict="warn", text=text, advice="send coin to it soon")
    return Finding(check="relayers", verdict="pass", text=text)


def check_allowances(patient: Patient) -> Iterator[Finding]:
    """See that each relayer may charge, and that refunds from its own wallet can go through the contract."""
    for gateway, network in patient.sales():
        if gateway.relayer is None:
            continue
        try:
            address = patient.provider(network).transmitter(network).address(gateway.relayer)
            yield from _allowed(patient, gateway, network, address)
        except ConfigurationError:
            continue  # said by check_relayers
        except BillingError as error:
            text = f"{gateway.slug} on {network.name}: {error.message}"
            yield Finding(check="allowances", verdict="warn", text=text, advice="look again when its nodes answer")


def _allowed(patient: Patient, gateway: PaymentGateway, network: Network, relayer: str) -> Iterator[Finding]:
    source = patient.provider(network).chain(network)
    if not isinstance(source, EvmChainSource):
        return
    from evmbilling.adapters.evm.abi.contracts import ContractReader  # web3 takes half a second to import

    reader = ContractReader(source.rpc)
    contracts = [contract for contract in patient.contracts if contract.network == network.name]
    for contract in contracts:
        if contract.kind == "mandates":
            yield _operator(contract, relayer, accepted=reader.is_operator(contract.address, relayer))
    if gateway.treasury(network.name) != relayer:
        return
    for contract in contracts:
        if contract.kind == "checkout":
            for token in _tokens(patient, gateway, network):
                allowed = reader.allowance(token.token, relayer, contract.address)
                yield _refundable(contract, token, allowed)


def _operator(contract: PaymentContract, relayer: str, *, accepted: bool) -> Finding:
    name = f"{contract.slug} on {contract.network}"
    if accepted:
        return Finding(check="allowances", verdict="pass", text=f"{name} lets {relayer} charge")
    text = f"{name} does not let {relayer} charge"
    return Finding(check="allowances", verdict="fail", text=text, advice="let the contract's owner add the operator")


def _refundable(contract: PaymentContract, token: Asset, allowed: int | None) -> Finding:
    name = f"{contract.slug} on {contract.network}"
    if allowed:
        text = f"{name} may take {allowed} base units of {token.symbol} for refunds"
        return Finding(check="allowances", verdict="pass", text=text)
    text = f"{name} may take no {token.symbol} from the relayer: refunds through the contract fail"
    advice = "approve the contract from the relayer's wallet, or give money back by plain transfers (via transfer)"
    return Finding(check="allowances", verdict="warn", text=text, advice=advice)


def _tokens(patient: Patient, gateway: PaymentGateway, network: Network) -> list[Asset]:
    """Return the tokens that a gateway's plans are sold for on a network."""
    prices = [price for plan in patient.plans if plan.gateway_slug == gateway.slug for price in plan.prices]
    found = {p.asset.token: p.asset for p in prices if p.network == network.name and not p.asset.is_native}
    return [found[token] for token in sorted(found)]
