"""Checks that ask the chains: nodes, contracts, order-signing keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract
from evmbilling.domain.payments.finance import DECIMALS_UNREAD, HALTS, contract_subject, token_subject
from evmbilling.errors import BillingError, ConfigurationError, ProviderError, WrongChain
from evmbilling.ports.nodes import Nodes

_AHEAD: Final = timedelta(seconds=60)
"""How far a chain's head may be ahead of this machine before somebody should look at one of the clocks."""


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
    ahead = head.timestamp - patient.figures.clock
    if ahead > _AHEAD and not network.testnet:
        text = f"{network.name}: the chain's head is {int(ahead.total_seconds())} s ahead of this machine"
        yield Finding(check="nodes", verdict="warn", text=text, advice="synchronise this machine's clock (NTP)")
    yield from _each_node(patient, network)
    if not absent:
        text = f"{network.name}: chain {network.chain_id}, head {head.number}"
        yield Finding(check="nodes", verdict="pass", text=text)


def _each_node(patient: Patient, network: Network) -> Iterator[Finding]:
    """Ask every node of a network: one that is down is not missed until the next one fails too."""
    missing = network.witnesses_missing()
    if missing:
        advice = "add nodes of other operators, or lower quorum: large payments are not credited like this"
        yield _nodes(network, missing, advice)
    provider = patient.provider(network)
    source = provider.chain(network)
    if not isinstance(source, EvmChainSource) or not isinstance(provider, Nodes):
        return
    answering = {session.name for session in source.rpc.each_node()}
    for node in provider.node_health(network):
        if node.node not in answering and not node.node.startswith("reserve"):
            text = f"{network.name}: {node.node} does not answer: {node.reason or node.state}"
            yield Finding(check="nodes", verdict="warn", text=text, advice="correct or replace it in rpc_urls")


def check_contracts(patient: Patient) -> Iterator[Finding]:
    """Compare the code behind each bound contract with this package's."""
    for contract in patient.contracts:
        advice = "see the playbook Changed contract or token; nothing new is sold through it"
        yield from _inspected(patient, contract, "contracts", advice)
    yield from _halted(patient)


def _halted(patient: Patient) -> Iterator[Finding]:
    """Name contracts and tokens that stand still until a person has looked: good code again does not end that."""
    about = {contract_subject(c.chain_id, c.address): f"{c.slug} on {c.network}" for c in patient.contracts}
    for price in (price for plan in patient.plans for price in plan.prices):
        asset = price.asset
        about[token_subject(asset.chain_id, asset.token)] = f"{asset.symbol} ({asset.token}) on {price.network}"
    with patient.ports.storage.unit(write=False) as unit:
        items = unit.queue_items_of(list(about))
    for item in items:
        if item.kind in HALTS and item.state == "open":
            text = f"nothing is sold through {about[item.subject]} while the item {item.item_id} is open: {item.reason}"
            advice = "see the playbook Changed contract or token; acknowledge the item in the finance queue"
            soon = item.reason == DECIMALS_UNREAD
            yield Finding(
                check="contracts",
                verdict="warn" if soon else "fail",
                text=text,
                advice="the step checks asks again when a node answers" if soon else advice,
            )


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
