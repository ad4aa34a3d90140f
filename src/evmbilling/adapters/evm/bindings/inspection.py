"""Comparing what is configured with what is on chain, in words for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.bindings.pins import pin_differences
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.adapters.evm.tokens.trial_transfers import transfer_difference
from evmbilling.contracts import artifact
from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract, Price, SubscriptionPlan
from evmbilling.domain.selling.orders import DEPOSIT
from evmbilling.errors import WrongChain
from evmbilling.ports.chain import ChainSource

if TYPE_CHECKING:
    from evmbilling.adapters.evm.abi.contracts import ContractReader

_ARTIFACTS = {"mandates": "Mandates", DEPOSIT: "Deposits"}
"""The contracts of this package, by the kind of their bindings, where it is not a Checkout."""

Chains = Callable[[Network], ChainSource]


def inspect_prices(plan: SubscriptionPlan, networks: Mapping[str, Network], chains: Chains) -> Sequence[str]:
    """Compare the assets of a plan's prices with their tokens, and what arrives of them; return differences in words.

    Raises:
        RpcUnavailable: no node answered.

    """
    found: list[str] = []
    for price in plan.prices:
        network = networks.get(price.network)
        if network is None or network.chain_id != price.asset.chain_id:
            found.append(f"{price.network}: no network of that name serves chain {price.asset.chain_id}")
            continue
        try:
            reader = _reader(network, chains)
        except WrongChain as wrong:
            found.append(f"{price.network}: {wrong.message}")
            continue
        if reader is not None and not price.asset.is_native:
            found += (f"{price.network}: {text}" for text in _token_differences(price, reader))
    return found


def inspect_contract(
    contract: PaymentContract, network: Network, chains: Chains, *, signer: str | None
) -> Sequence[str]:
    """Compare a bound contract with the artefact of this package; return differences in words.

    Raises:
        RpcUnavailable: no node answered.

    """
    try:
        reader = _reader(network, chains)
    except WrongChain as wrong:
        return [f"{network.name}: {wrong.message}"]
    if reader is None:
        return []
    code = reader.code(contract.address)
    if not code:
        return [f"{network.name}: there is no contract at {contract.address}"]
    if contract.kind == "erc20":
        return []  # the token itself: what it answers is compared with the prices
    if contract.kind == MAPPED:
        source = chains(network)
        differences = pin_differences(source.rpc, contract.pins) if isinstance(source, EvmChainSource) else ()
        return [f"{network.name}: {text}" for text in differences]
    found = []
    name = _ARTIFACTS.get(contract.kind, "Checkout")
    if not artifact(name).matches(code):
        # With the hash of what is there, so that another change of it reads otherwise.
        mark = "0x" + keccak(code).hex()[:16]
        found.append(
            f"{network.name}: the code at {contract.address} ({mark}) is not the {name} contract of this package"
        )
    if signer and name == "Checkout" and not reader.is_signer(contract.address, signer):
        found.append(f"{network.name}: the contract at {contract.address} does not accept the signer {signer}")
    return found


def _token_differences(price: Price, reader: ContractReader) -> Iterator[str]:
    asset = price.asset
    if not reader.code(asset.token):
        yield f"{asset.symbol}: there is no contract at {asset.token}"
        return
    decimals = reader.decimals(asset.token)
    if decimals is None:
        yield f"{asset.symbol}: the contract at {asset.token} does not tell its decimals"
    elif decimals != asset.decimals:
        yield f"{asset.symbol}: the token has {decimals} decimals, {asset.decimals} are configured"
    elif difference := transfer_difference(reader.rpc, asset, price.amount):
        yield difference


def _reader(network: Network, chains: Chains) -> ContractReader | None:
    """A reader of the network's contracts, its chain id just checked; None where the source is no EVM node."""
    source = chains(network)
    source.check_chain()
    if not isinstance(source, EvmChainSource):
        return None
    from evmbilling.adapters.evm.abi.contracts import ContractReader  # web3 takes half a second to import

    return ContractReader(source.rpc)
