"""Networks and gateways of the environment."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from evmbilling.adapters.secretbox import SecretBox
from evmbilling.domain.catalogue.catalogue import Finality, Network, PaymentGateway
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError
from evmbilling.settings import BillingSettings, gateways_from, networks_from

TREASURY = "0x52908400098527886E0F7030069857D2E4169EE7"
KEY = SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")


SEAL = SecretBox(KEY).seal


def networks(seal=SEAL, **rows):
    return networks_from(BillingSettings(rpc_config=json.dumps(rows)), seal)


def gateways(**rows):
    return gateways_from(BillingSettings(evm_gateways=json.dumps(rows)))


def refusal(call, **rows) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        call(**rows)
    return caught.value


def test_a_short_network_takes_the_defaults_of_the_record():
    (network,) = networks(mainnet={"chain_id": 1, "rpc": ["env:RPC_URL_1"]})
    assert network == Network(name="mainnet", chain_id=1, rpc_urls=(SecretRef("env", "RPC_URL_1"),))


def test_a_full_network_is_read():
    (network,) = networks(
        sepolia={
            "chain_id": 11155111,
            "rpc": ["env:A", "file:/run/rpc"],
            "testnet": True,
            "native_symbol": "SepETH",
            "credit_after": "safe",
            "irreversible_after": "finalized 64",
            "fallback_networks": ["base"],
            "start_block": 0,
            "rpc_retries": 5,
            "rpc_timeout": 20,
            "gas_price_cap": "300000000000",
            "disputed_access": False,
            "explorer_url": "https://sepolia.etherscan.io",
        }
    )
    assert network == Network(
        name="sepolia",
        chain_id=11155111,
        rpc_urls=(SecretRef("env", "A"), SecretRef("file", "/run/rpc")),
        testnet=True,
        native_symbol="SepETH",
        credit_after=Finality("safe"),
        irreversible_after=Finality("finalized", 64),
        fallback_networks=("base",),
        start_block=0,
        rpc_retries=5,
        rpc_timeout=20,
        gas_price_cap=300_000_000_000,
        disputed_access=False,
        explorer_url="https://sepolia.etherscan.io",
    )


def test_plain_urls_are_sealed():
    url = "https://node.example/v3/key"
    (network,) = networks(mainnet={"chain_id": 1, "rpc": ["env:A", url, "http://127.0.0.1:8545"]})
    first, second, third = network.rpc_urls
    assert (first.kind, second.kind, third.kind) == ("env", "enc", "enc")
    assert SecretBox(KEY).reveal(second) == url
    assert url not in repr(network) + second.stored


def test_plain_urls_without_a_key_are_refused_with_the_way_out():
    error = refusal(networks, seal=SecretBox().seal, mainnet={"chain_id": 1, "rpc": ["https://node.example/key-77"]})
    assert error.field == "BILLING_RPC_CONFIG"
    assert error.message.startswith("mainnet.rpc: a plain url is only stored encrypted: set BILLING_SECRET_KEY, or")
    assert "env:NAME" in error.message
    assert "key-77" not in str(error) + repr(error.__context__)


WRONG_NETWORKS = [
    ({"Main": {"chain_id": 1, "rpc": ["env:A"]}}, "Main.name: "),
    ({"a": {"rpc": ["env:A"]}}, "a.chain_id: this field is needed"),
    ({"a": {"chain_id": 1}}, "a.rpc: this field is needed"),
    ({"a": {"chain_id": 1, "rpc": []}}, "a.rpc: "),
    ({"a": {"chain_id": 1, "rpc": "env:A"}}, "a.rpc: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A", "env:A"]}}, "a.rpc: "),
    ({"a": {"chain_id": 1, "rpc": ["ftp://x"]}}, "a.rpc: "),
    ({"a": {"chain_id": 1, "rpc": [3]}}, "a.rpc: "),
    ({"a": {"chain_id": "1", "rpc": ["env:A"]}}, "a.chain_id: "),
    ({"a": {"chain_id": 1.0, "rpc": ["env:A"]}}, "a.chain_id: "),
    ({"a": {"chain_id": 0, "rpc": ["env:A"]}}, "a.chain_id: "),
    ({"a": {"chain_id": True, "rpc": ["env:A"]}}, "a.chain_id: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "testnet": "no"}}, "a.testnet: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "credit_after": "12"}}, "a.credit_after: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "credit_atfer": "safe"}}, "a.credit_atfer: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "rpc_timeout": 0}}, "a.rpc_timeout: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "name": "b"}}, "a.name: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "agreement_above": {"DAI": 1}}}, "a.agreement_above: 2 nodes shall agree"),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "agreement_above": {"DAI": "1.5"}}}, "a.agreement_above: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A", "env:B"], "quorum": 1}}, "a.quorum: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"], "version": 2}}, "a.version: "),
    ({"a": {"chain_id": 1, "rpc": ["env:A"]}, "b": {"chain_id": 1, "rpc": ["env:B"]}}, "a and b have one chain id"),
]


@pytest.mark.parametrize(("rows", "said"), WRONG_NETWORKS)
def test_a_wrong_network_is_refused_when_settings_are_read(rows, said):
    error = refusal(BillingSettings, rpc_config=json.dumps(rows))
    assert error.field == "BILLING_RPC_CONFIG"
    assert error.message.startswith(said)


@pytest.mark.fault("C23")
@pytest.mark.parametrize("chain_id", [11155111, 84532, 31337])
def test_c23_a_test_chain_must_say_that_it_is_one(chain_id):
    row = {"chain_id": chain_id, "rpc": ["env:A"]}
    error = refusal(BillingSettings, rpc_config={"a": row})
    assert error.field == "BILLING_RPC_CONFIG"
    assert error.message == f'a: chain {chain_id} is a test network; say "testnet": true'
    (network,) = networks(a=row | {"testnet": True})
    assert network.testnet is True
    (mainnet,) = networks(a={"chain_id": 1, "rpc": ["env:A"]})
    assert mainnet.testnet is False


def test_several_nodes_have_to_agree_about_large_amounts():
    row = {"chain_id": 1, "rpc": ["env:A", "env:B", "env:C"], "agreement_above": {"DAI": "1000", "ETH": 5}, "quorum": 3}
    (network,) = networks(a=row)
    assert (dict(network.agreement_above), network.quorum) == ({"DAI": 1000, "ETH": 5}, 3)
    assert [network.needs_agreement("DAI", amount) for amount in (1000, 1001)] == [False, True]
    assert not network.needs_agreement("USDC", 10**30)


def test_a_gateway_is_read():
    row = {"networks": ["mainnet"], "signer": "env:ORDER_KEY", "treasuries": {"mainnet": TREASURY.lower()}}
    (short,) = gateways(main=row)
    assert short == PaymentGateway(
        slug="main",
        networks=("mainnet",),
        signer=SecretRef("env", "ORDER_KEY"),
        treasuries=(("mainnet", TREASURY),),
    )
    (full,) = gateways(main=row | {"provider": "other", "order_ttl": 900, "credit_after": "depth 3"})
    assert (full.provider, full.order_ttl, full.credit_after) == ("other", 900, Finality("depth", 3))


GATEWAY = {"networks": ["n"], "signer": "env:K", "treasuries": {"n": TREASURY}}
WRONG_GATEWAYS = [
    ({"networks": []}, "a.networks: "),
    ({"signer": "0x" + "11" * 32}, "a.signer: a secret is given as env:NAME"),
    ({"signer": None}, "a.signer: "),
    ({"treasuries": {}}, "a.treasuries: "),
    ({"treasuries": {"other": TREASURY}}, "a.treasuries: there is none for n"),
    ({"treasuries": {"n": TREASURY[:-1] + "e"}}, "a.treasuries: "),
    ({"treasuries": {"n": "0x" + "0" * 40}}, "a.treasuries: the zero address"),
    ({"order_ttl": 1}, "a.order_ttl: "),
    ({"slug": "b"}, "a.slug: "),
    ({"treasury": TREASURY}, "a.treasury: "),
]


@pytest.mark.parametrize(("change", "said"), WRONG_GATEWAYS)
def test_a_wrong_gateway_is_refused_when_settings_are_read(change, said):
    error = refusal(BillingSettings, evm_gateways={"a": GATEWAY | change})
    assert error.field == "BILLING_EVM_GATEWAYS"
    assert error.message.startswith(said)
    assert "11" * 32 not in error.message
