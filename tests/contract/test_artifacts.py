"""The compiled artefacts: complete, current, small enough, made for old chains; and the tool that proves it."""

from __future__ import annotations

import importlib.util
import json
from importlib import resources
from typing import Any

import attrs
import pytest
from contract_bench import OWNER, Bench, signature_of
from eth_utils import keccak

from evmbilling.contracts import artifact, artifact_names
from evmbilling.errors import NotFound

FOLDER = resources.files("evmbilling.contracts")
PRODUCTS = {"Checkout", "DepositAddress", "Deposits", "Mandates", "Till"}
TEST_CONTRACTS = {
    "AllowancePermit2",
    "AuthorizedToken",
    "ClubPass",
    "FeeToken",
    "Forwarder",
    "HookToken",
    "KeyLock",
    "LieToken",
    "ListToken",
    "Bazaar",
    "Many",
    "NFTish",
    "NoReturnToken",
    "PaidPass",
    "PhantomToken",
    "PullPass",
    "RetFalseToken",
    "ShareToken",
    "SlotProxy",
    "TestToken",
    "TransferPermit2",
    "ContractWallet",
    "WalletFactory",
    "WitnessShop",
    "ZeroPass",
}
MANDATE = "(address,address,address,uint256,bytes32,uint160,uint160,uint64,uint64,uint64,address,bool,uint256)"
CHARGE = "(bytes32,uint160,uint64,address)"
PERMIT = "((address,uint160,uint48,uint48),address,uint256)"
ORDER = "(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64,uint64)"

# Wallet payloads, bindings and readers depend on these; a change of any needs a new contract version.
SELECTORS = {
    f"pay({ORDER},bytes)",
    f"payWithPermit({ORDER},bytes,uint256,uint256,uint8,bytes32,bytes32)",
    "refund(bytes32,bytes32,address,address,uint256)",
    "isUsed(bytes32)",
    f"orderHash({ORDER})",
    "renewSubscription(uint256,uint64)",
    "cancelSubscription(uint256)",
    "expiresAt(uint256)",
    "isRenewable(uint256)",
    "burn(uint256)",
    "pause()",
    "unpause()",
    "setOperator(address)",
    "addSigner(address)",
    "removeSigner(address)",
}
MANDATES_SELECTORS = {
    f"charge({MANDATE},bytes,{CHARGE})",
    f"chargeWithPermit({MANDATE},bytes,{CHARGE},{PERMIT},bytes)",
    f"give({MANDATE},bytes)",
    "revoke(bytes32)",
    "revokeBySignature(address,bytes32,bytes)",
    f"canCharge({MANDATE},bytes,{CHARGE},address)",
    f"remaining({MANDATE})",
    f"mandateId({MANDATE})",
    "stateOf(address,bytes32)",
    "isUsed(bytes32)",
    "pause()",
    "unpause()",
    "addOperator(address)",
    "removeOperator(address)",
}
MANDATES_TOPICS = {
    "Charged(bytes32,bytes32,address,uint256,address,uint256,address,uint256)": (
        ["reference", "mandate", "payer"],
        ["subscription", "token", "amount", "treasury", "received"],
    ),
    f"MandateGiven(bytes32,address,uint256,{MANDATE})": (["mandate", "payer", "subscription"], ["terms"]),
    "MandateRevoked(bytes32,address)": (["mandate", "payer"], []),
}
DEPOSITS_SELECTORS = {"sweep(bytes32,address,address,uint256)", "addressOf(bytes32,address)"}
DEPOSITS_TOPICS = {"Swept(bytes32,address,address,uint256)": (["reference", "token", "treasury"], ["amount"])}
TILL_SELECTORS = {
    "treasury()",
    "pay(bytes32,address,uint256)",
    "payWithPermit(bytes32,address,uint256,uint256,uint8,bytes32,bytes32)",
    "payWithAuthorization(bytes32,address,address,uint256,uint256,uint8,bytes32,bytes32)",
    "payWithPermit2(bytes32,address,address,uint256,uint256,bytes)",
}
TILL_TOPICS = {
    "Received(bytes32,address,address,uint256,address)": (
        ["reference", "payer", "token"],
        ["amount", "treasury"],
    ),
}
TOPICS = {
    "Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)": (
        ["reference", "subscription", "payer"],
        ["beneficiary", "plan", "token", "amount", "treasury", "memberUntil"],
    ),
    "Refunded(bytes32,bytes32,address,address,uint256)": (["reference", "refundId", "to"], ["token", "amount"]),
    "SubscriptionUpdate(uint256,uint64)": (["tokenId"], ["expiration"]),
}


def record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "artifacts" / f"{name}.json").read_text())
    return found


@pytest.fixture(scope="session")
def tool(project: Any) -> Any:
    spec = importlib.util.spec_from_file_location("compile_contracts", project / "tools/compile_contracts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_contracts_are_there() -> None:
    assert set(artifact_names()) == PRODUCTS | {"SignatureCheck", "TransferProbe"} | TEST_CONTRACTS
    assert list(artifact_names()) == sorted(artifact_names())


def test_an_artefact_is_frozen_and_read_once() -> None:
    found = artifact("Checkout")
    assert found is artifact("Checkout")
    assert found.name == "Checkout"
    assert found.compiler.startswith("0.8.37+commit.")
    assert len(repr(found)) < 200
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("name", ["", "checkout", "../artifacts/Checkout", "Nothing"])
def test_an_unknown_name_is_refused_and_the_known_ones_told(name: str) -> None:
    with pytest.raises(NotFound, match="AllowancePermit2, AuthorizedToken, Bazaar, Checkout, ClubPass") as caught:
        artifact(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("name", "selectors", "topics"),
    [
        ("Checkout", SELECTORS, TOPICS),
        ("Mandates", MANDATES_SELECTORS, MANDATES_TOPICS),
        ("Deposits", DEPOSITS_SELECTORS, DEPOSITS_TOPICS),
        ("Till", TILL_SELECTORS, TILL_TOPICS),
    ],
    ids=["Checkout", "Mandates", "Deposits", "Till"],
)
def test_functions_and_events_are_the_published_ones(
    name: str, selectors: set[str], topics: dict[str, tuple[list[str], list[str]]]
) -> None:
    abi = artifact(name).abi
    assert {signature_of(item) for item in abi if item["type"] == "function"} >= selectors
    events = {
        signature_of(item): tuple(
            [part["name"] for part in item["inputs"] if part["indexed"] is indexed] for indexed in (True, False)
        )
        for item in abi
        if item["type"] == "event"
    }
    assert {name: events[name] for name in topics} == topics


@pytest.mark.parametrize("name", sorted(TEST_CONTRACTS | PRODUCTS))
def test_an_artefact_fits_every_chain(name: str) -> None:
    found = record(name)
    assert found["settings"]["evmVersion"] == "paris"
    assert len(artifact(name).deployed_bytecode) <= 24_576  # EIP-170
    assert len(artifact(name).bytecode) <= 49_152  # EIP-3860


@pytest.mark.parametrize("name", sorted(TEST_CONTRACTS | PRODUCTS))
def test_an_artefact_is_of_the_sources_beside_it(name: str) -> None:
    """Needs no compiler: every source of ours has the hash that the compiler saw."""
    ours = {path: digest for path, digest in record(name)["sources"].items() if not path.startswith("@")}
    assert ours
    for path, digest in ours.items():
        assert "0x" + keccak((FOLDER / "solidity" / path).read_bytes()).hex() == digest, path


def test_no_source_of_the_library_is_kept_here() -> None:
    folders = [FOLDER / "solidity", FOLDER / "solidity" / "testing"]
    texts = [entry.read_text() for folder in folders for entry in folder.iterdir() if entry.name.endswith(".sol")]
    assert len(texts) > 10
    for text in texts:
        assert text.startswith("// SPDX-License-Identifier: Apache-2.0\n")
        assert "last updated v" not in text


def test_code_on_a_chain_is_recognised(bench: Bench) -> None:
    code = bench.evm.get_code(bench.checkout.address)
    assert code is not None
    # pyrevm answers with the code as it analysed it: zeros are appended.
    code = bytes(code)[: len(artifact("Checkout").deployed_bytecode)]
    assert artifact("Checkout").matches(code)
    assert code != artifact("Checkout").deployed_bytecode  # the immutables are written into it
    assert not artifact("Checkout").matches(code[:-1])
    assert not artifact("Checkout").matches(bytes([code[0] ^ 1]) + code[1:])
    assert not artifact("TestToken").matches(code)
    assert not artifact("Checkout").matches(b"")


def test_equal_artefacts_have_no_difference(tool: Any) -> None:
    kept = {path.name: path.read_text() for path in tool.ARTIFACTS.glob("*.json")}
    assert tool.compare(kept) == []


def test_a_changed_byte_of_code_is_shown(tool: Any) -> None:
    kept = {path.name: path.read_text() for path in tool.ARTIFACTS.glob("*.json")}
    text = kept["NFTish.json"]
    place = text.index('"bytecode": "0x') + 200
    other = "0" if text[place] != "0" else "1"
    report = tool.compare(kept | {"NFTish.json": text[:place] + other + text[place + 1 :]})
    assert "--- committed NFTish.json" in report
    assert "+++ compiled NFTish.json" in report
    assert sum(line.startswith("-") for line in report) == 2
    assert all(len(line) <= 80 for line in report)


def test_missing_and_left_over_artefacts_are_told(tool: Any) -> None:
    kept = {path.name: path.read_text() for path in tool.ARTIFACTS.glob("*.json")}
    text = kept.pop("NFTish.json")
    assert tool.compare(kept) == ["NFTish.json: no source makes this file"]
    report = tool.compare(kept | {"NFTish.json": text, "New.json": text})
    assert "+++ compiled New.json" in report
    assert report[-1].startswith("... and ")


def test_a_difference_fails_the_check(tool: Any, monkeypatch: Any, capsys: Any) -> None:
    kept = {path.name: path.read_text() for path in tool.ARTIFACTS.glob("*.json")}
    monkeypatch.setattr(tool, "build", lambda: kept)
    assert tool.main(["--check"]) == 0
    assert "byte for byte" in capsys.readouterr().out
    monkeypatch.setattr(tool, "build", lambda: {"Checkout.json": kept["Checkout.json"]})
    assert tool.main(["--check"]) == 1
    assert "TestToken.json: no source makes this file" in capsys.readouterr().err


def test_a_missing_compiler_is_told_with_what_to_do(tool: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(tool.shutil, "which", lambda _: None)
    assert tool.main(["--check"]) == 1
    assert "Node.js with npm is needed" in capsys.readouterr().err


def test_names_that_solidity_reserves_are_published_without_their_underscore(tool: Any) -> None:
    abi = [{"name": "f_", "inputs": [{"name": "reference_", "type": "tuple", "components": [{"name": "a_"}]}]}]
    assert tool.published(abi) == [
        {"name": "f", "inputs": [{"name": "reference", "type": "tuple", "components": [{"name": "a"}]}]}
    ]


def test_the_owner_is_the_one_of_the_deployment(bench: Bench) -> None:
    assert bench.checkout.call("owner") == OWNER
