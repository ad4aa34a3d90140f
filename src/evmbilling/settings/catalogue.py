"""Networks and gateways of the environment, read by the rules that hold for an administrator too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.engine.admin.catalogue_input import gateway_readers, network_readers, read_fields
from evmbilling.engine.admin.dunning_input import dunning_policy
from evmbilling.engine.admin.readers import Reader
from evmbilling.errors import ConfigurationError, InputError
from evmbilling.ports.secrets import Secrets

PREFIX = "BILLING_"
Rows = Mapping[str, dict[str, Any]]
TEST_CHAINS = frozenset(
    {97, 1337, 4002, 17000, 31337, 43113, 59141, 80002, 84532, 300, 421614, 534351, 560048, 11155111, 11155420}
)
"""Chain ids of public test networks and of local nodes: configured only with ``"testnet": true``."""


def read_networks(rows: Rows, seal: Callable[[str], SecretRef]) -> tuple[Network, ...]:
    """Return the networks by name; plain urls go through ``seal``.

    Raises:
        ConfigurationError: a field that cannot be used, one chain twice, or a test chain that does not say so.

    """
    readers = network_readers(cast("Secrets", SimpleNamespace(seal=seal)))  # they use nothing else of it
    made: dict[int, Network] = {}
    for name, fields in sorted(rows.items()):
        given = {"rpc_urls" if key == "rpc" else key: value for key, value in fields.items()}
        network = Network(**_row("RPC_CONFIG", name, readers, given, Network))
        if network.chain_id in made:
            raise _wrong("RPC_CONFIG", f"{made[network.chain_id].name} and {name} have one chain id")
        if network.chain_id in TEST_CHAINS and not network.testnet:
            raise _wrong("RPC_CONFIG", f'{name}: chain {network.chain_id} is a test network; say "testnet": true')
        missing = network.witnesses_missing()
        if missing:
            raise _wrong("RPC_CONFIG", f"{name}.agreement_above: {missing}")
        made[network.chain_id] = network
    return tuple(made.values())


def read_gateways(rows: Rows) -> tuple[PaymentGateway, ...]:
    """Return the gateways by slug.

    Raises:
        ConfigurationError: a field that cannot be used, a plain key, or a network without a treasury.

    """
    readers = gateway_readers(cast("Secrets", None))  # its secrets are references here, never values
    readers["signer"] = lambda value: parse_secret_ref(value, field="signer")
    readers["relayer"] = lambda value: parse_secret_ref(value, field="relayer")
    made = []
    for slug, fields in sorted(rows.items()):
        gateway = PaymentGateway(**_row("EVM_GATEWAYS", slug, readers, fields, PaymentGateway))
        without = [network for network in gateway.networks if gateway.treasury(network) is None]
        if without:
            raise _wrong("EVM_GATEWAYS", f"{slug}.treasuries: there is none for {', '.join(without)}")
        made.append(gateway)
    return tuple(made)


def read_dunning(fields: dict[str, Any]) -> DunningPolicy:
    """Return what happens with debt under plans that say nothing about it.

    Raises:
        ConfigurationError: a field that cannot be used.

    """
    try:
        return dunning_policy(fields)
    except InputError as error:
        text = error.message
    raise _wrong("DUNNING", text)


def _row(variable: str, name: str, readers: Mapping[str, Reader], fields: dict[str, Any], kind: type[Any]) -> Any:
    key = "slug" if kind is PaymentGateway else "name"
    if key in fields:
        raise _wrong(variable, f"{name}.{key}: the key before the colon is the {key}")
    try:
        return read_fields(readers, fields | {key: name}, kind)
    except InputError as error:
        field = "rpc" if error.field == "rpc_urls" else error.field
        text = f"{name}.{field}: {error.message}"
    except ConfigurationError:
        text = (
            f"{name}.rpc: a plain url is only stored encrypted: set {PREFIX}SECRET_KEY, or write env:NAME and set NAME"
        )
    raise _wrong(variable, text)


def _wrong(variable: str, text: str) -> ConfigurationError:
    return ConfigurationError(text, field=f"{PREFIX}{variable}")
