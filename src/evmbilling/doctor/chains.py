"""Checks that ask the chains: nodes, contracts, keys, the relayer's coin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.catalogue import Network, PaymentContract
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import BillingError, ConfigurationError, ProviderError, WrongChain

_FEW_TRANSACTIONS: Final = 20
"""How many of the dearest transactions a relayer should be able to pay for."""


def check_nodes(patient: Patient) -> Iterator[Finding]:
    """Ask each network's nodes for their chain id, their head and their finality tags."""
    for network in patient.networks:
        try:
            yield from _node(patient, network)
        except WrongChain as error:
            yield _nodes(network, f"a node serves another chain: {error.message}", "correct its rpc_urls")
        except (ProviderError, ConfigurationError) as error:
            yield _nodes(network, error.message, "see the playbook RPC outage; payments wait, nothing is lost")


def _node(patient: Patient, network: Network) -> Iterator[Finding]:
    source = patient.provider(network).chain(network)
    source.check_chain()
    head = source.header("latest")
    if head is None:
        yield _nodes(network, "the node has no head", "it may be syncing: use another one")
        return
    rules = (network.credit_after, network.irreversible_after)
    # A tag with a depth beside it gives way to that depth.
    absent = {rule.kind for rule in rules if rule.kind != "depth" and not rule.blocks and not source.header(rule.kind)}
    for tag in sorted(absent):
        advice = "choose a depth for credit_after and irreversible_after, or another node"
        yield _nodes(network, f"the node does not know the tag {tag}, and the network waits for it", advice)
    if not absent:
        text = f"{network.name}: chain {network.chain_id}, head {head.number}"
        yield Finding(check="nodes", verdict="pass", text=text)


def check_contracts(patient: Patient) -> Iterator[Finding]:
    """Compare the code behind each bound contract with this package's."""
    for contract in patient.contracts:
        advice = "see the playbook Changed contract or token; nothing new is sold through it"
        yield from _inspected(patient, contract, "contracts", advice)


def check_signers(patient: Patient) -> Iterator[Finding]:
    """See that each gateway's order-signing key is there, and that its contracts accept it."""
    for gateway, network in patient.sales():
        provider = patient.provider(network)
        try:
            address = provider.signer_address(gateway)
        except BillingError as error:
            advice = "put the key where `signer` of the gateway points; checkouts fail without it"
            yield Finding(check="signers", verdict="fail", text=f"{gateway.slug}: {error.message}", advice=advice)
            continue
        for contract in patient.contracts:
            if contract.network == network.name and contract.kind == "checkout":
                yield from _accepts(patient, contract, network, gateway.slug, address)


def _accepts(
    patient: Patient, contract: PaymentContract, network: Network, slug: str, address: str
) -> Iterator[Finding]:
    provider = patient.provider(network)
    gateway = next(each for each in patient.gateways if each.slug == slug)
    try:
        known = set(provider.inspect_contract(contract, network))
        found = [text for text in provider.inspect_contract(contract, network, gateway) if text not in known]
    except (ProviderError, ConfigurationError) as error:
        text = f"{slug}: {contract.slug} on {network.name} could not be asked: {error.message}"
        yield Finding(check="signers", verdict="warn", text=text, advice="look again when its nodes answer")
        return
    for text in found:
        advice = "let the contract's owner add the signer, or sign with a key that it accepts; see the playbook"
        yield Finding(check="signers", verdict="fail", text=f"{slug}: {text}", advice=advice)
    if not found:
        text = f"{slug}: {contract.slug} on {network.name} accepts {address}"
        yield Finding(check="signers", verdict="pass", text=text)


def check_relayers(patient: Patient) -> Iterator[Finding]:
    """See that each relayer can pay for its transactions; only where this process holds the key."""
    for gateway, network in patient.sales():
        if gateway.relayer is not None:
            yield _relayer(patient, gateway.slug, gateway.relayer, gateway.gas_ceiling, network)


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


def _inspected(patient: Patient, contract: PaymentContract, check: str, advice: str) -> Iterator[Finding]:
    network = patient.network(contract.network)
    if network is None:
        return
    name = f"{contract.slug} on {contract.network}"
    try:
        found = patient.provider(network).inspect_contract(contract, network)
    except (ProviderError, ConfigurationError) as error:
        text = f"{name} could not be asked: {error.message}"
        yield Finding(check=check, verdict="warn", text=text, advice="look again when its nodes answer")
        return
    for text in found:
        yield Finding(check=check, verdict="fail", text=text, advice=advice)
    if not found:
        yield Finding(check=check, verdict="pass", text=f"{name} is the contract of this package")


def _nodes(network: Network, text: str, advice: str) -> Finding:
    return Finding(check="nodes", verdict="fail", text=f"{network.name}: {text}", advice=advice)
