"""A node's url is a secret; a contract cannot make us call anybody."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import attrs
import pytest
import web3.utils.exception_handling
from eth_abi.abi import encode
from eth_hash.auto import keccak
from evm_bench import STRANGE_ASSET, Shop
from evm_servers import ScriptedNode, each, ok, raw_server, scripted
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3

from evmbilling.adapters.evm.abi.contracts import ContractReader, RpcProvider
from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.rpc.redact import Redactor
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import BillingError, ConfigurationError, RpcRefused

CANARY = "c4n4ry-k3y/+ä"
QUOTED = quote(CANARY, safe="")
PLACES = {
    "path": "http://{host}/v3/{key}",
    "user": "http://{key}@{host}/",
    "password": "http://user:{key}@{host}/",
    "query": "http://{host}/?apikey={key}",
    "value without a name": "http://{host}/rpc?{key}",
}


def leaks(text: str) -> bool:
    """Whether any telling part of the canary is in a text."""
    return "c4n4ry" in text.lower() or "k3y" in text.lower()


def everything(error: BaseException | None) -> Iterator[str]:
    """All that a log or a crash report could make of an error, locals of our frames included."""
    while error is not None:
        yield from (
            str(error),
            repr(error),
            repr(getattr(error, "details", "")),
            "".join(traceback.format_exception(error)),
        )
        # The first frame is the test's own, which knows the canary.
        ours = error.__traceback__.tb_next if error.__traceback__ else None
        report = traceback.TracebackException(type(error), error, ours, capture_locals=True)
        yield "".join(report.format())
        error = error.__cause__ or error.__context__


def echo(body: Any) -> Any:
    """A node that repeats what it was called with, as some do."""
    texts = f"no such key {CANARY} at /v3/{QUOTED}?apikey={QUOTED} {QUOTED.lower()}"
    return ok({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32000, "message": texts, "data": texts}})


def refuse_all(body: Any) -> Any:
    if isinstance(body, list):
        return ok([json.loads(echo(item)[1]) for item in body])
    if body["method"] in ("eth_chainId", "eth_blockNumber"):
        return ok({"jsonrpc": "2.0", "id": body["id"], "result": "0x7a69"})
    return echo(body)


def broken_headers(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nno colon here\r\n: empty\r\ncontent-length: 2\r\n\r\n{}")


@contextlib.contextmanager
def node_that(fault: str) -> Iterator[str]:
    """Yield host and port of a node that fails in some way."""
    answers = {
        "echoes": echo,
        "refuses": refuse_all,
        "is elsewhere": each(lambda *_: "0x89"),
        "redirects": lambda _: (302, b"", {"location": f"http://127.0.0.1:9/{QUOTED}"}),
        "fails": lambda _: (500, f"cannot POST /v3/{QUOTED}".encode()),
        "says html": lambda _: (200, f"<a href=/{QUOTED}>".encode()),
    }
    if fault in answers:
        with scripted(answers[fault]) as server:
            yield f"127.0.0.1:{server.port}"
    elif fault == "breaks HTTP":
        with raw_server(broken_headers) as port:
            yield f"127.0.0.1:{port}"
    elif fault == "hangs":
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
    elif fault == "is nowhere":
        yield "c4n4ry.invalid"
    else:
        yield "127.0.0.1:9"


FAULTS = (
    "echoes",
    "refuses",
    "is elsewhere",
    "redirects",
    "fails",
    "says html",
    "breaks HTTP",
    "hangs",
    "is nowhere",
    "is dead",
)


@pytest.mark.fault("R20")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_r20_no_url_in_errors_logs_and_reprs(fault: str, place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with node_that(fault) as host:
        source = open_canary(PLACES[place], host)
        with contextlib.closing(source):
            asks = (source.check_chain, lambda: source.header("latest"), lambda: source.rpc.call("eth_call"))
            errors = [caught for caught in map(error_of, asks) if caught]
    assert errors
    texts = [text for error in errors for text in everything(error)]
    texts += [repr(source), repr(source.rpc), repr(vars(source.rpc)), str(vars(source.rpc)), caplog.text]
    assert [text for text in texts if leaks(text)] == []
    assert not any("127.0.0.1" in str(error) for error in errors)


def open_canary(pattern: str, host: str) -> EvmChainSource:
    url = pattern.format(host=host, key=QUOTED)
    return EvmChainSource(JsonRpc(chain_id=31337, urls=[url], timeout=0.2, attempts=1))


def error_of(ask: Any) -> BaseException | None:
    try:
        ask()
    except BillingError as error:
        return error
    return None


@pytest.mark.fault("R20")
@pytest.mark.parametrize("url", [f"ftp://x/{QUOTED}", f"{QUOTED}", f"http://[{QUOTED}/", f"http://{QUOTED}:port/"])
def test_r20_unusable_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JsonRpc(chain_id=1, urls=[url])
    error: BaseException | None = caught.value
    while error is not None:
        assert not leaks(f"{error} {error!r} {''.join(traceback.format_exception(error))}")
        error = error.__cause__ or error.__context__


@pytest.mark.fault("R20")
def test_r20_provider_and_its_answers_do_not_tell_the_url(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(refuse_all) as server:
        provider = EvmProvider(
            signer_for=lambda _: shop.signer, reveal=lambda _: f"http://127.0.0.1:{server.port}/v3/{QUOTED}"
        )
        with contextlib.closing(provider):
            answer = provider.pay_instructions(shop.order(), shop.network)
            source = provider.chain(shop.network)
            assert isinstance(source, EvmChainSource)
            with pytest.raises(RpcRefused) as caught:
                source.rpc.call("eth_getCode", STRANGE_ASSET, "latest")
            assert ContractReader(source.rpc).decimals(STRANGE_ASSET) is None
    texts = [repr(answer), repr(provider), repr(vars(provider)), repr(shop.network), caplog.text]
    assert [text for text in (*texts, *everything(caught.value)) if leaks(text)] == []


def test_r20_is_worth_it_web3s_own_provider_tells_the_url() -> None:
    # Why web3 goes through our transport: its own names the whole url.
    assert leaks(str(Web3.HTTPProvider(f"http://127.0.0.1:9/v3/{CANARY}")))
    rpc = JsonRpc(chain_id=1, urls=[f"http://127.0.0.1:9/v3/{QUOTED}"])
    assert not leaks(str(RpcProvider(rpc)) + repr(RpcProvider(rpc)) + repr(Web3(RpcProvider(rpc))))


def test_a_user_and_password_in_a_url_are_sent_as_a_header_only() -> None:
    with scripted(each(lambda *_: "0x7a69")) as server:
        url = f"http://us%40er:{QUOTED}@127.0.0.1:{server.port}/path%20x?a=b"
        source = EvmChainSource(JsonRpc(chain_id=31337, urls=[url], timeout=2, attempts=1))
        with contextlib.closing(source):
            source.check_chain()
    assert server.paths == ["/path%20x?a=b"]
    import base64

    assert base64.b64decode(server.headers[0]["authorization"].split()[1]).decode() == f"us@er:{CANARY}"


@given(
    key=st.text(
        st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?/"), min_size=8, max_size=40
    ),
    around=st.text(max_size=300),
    place=st.sampled_from(list(PLACES.values())),
)
def test_whatever_the_key_is_it_is_cleaned_out_of_a_text(key: str, around: str, place: str) -> None:
    url = place.format(host="node.example", key=quote(key, safe=""))
    cleaned = Redactor([url]).clean(f"{around} {key} {url} {quote(key, safe='')} {around}")
    assert key not in cleaned
    assert quote(key, safe="") not in cleaned
    assert len(cleaned) <= 200
    assert cleaned.isascii()


@pytest.mark.parametrize(
    "told",
    [
        "key c4n4ry-k3y is unknown",
        "key C4N4RY-K3Y is unknown",
        "user svc-billing is locked",
        "host nodes.example.org is closing",
        "no route /v3/c4n4ry-k3y/%2B",
        "token=tok/en+1 has expired",
        "token tok%2Fen%2B1 has expired",
    ],
)
def test_a_part_of_a_url_is_cleaned_out_too(told: str) -> None:
    url = "https://svc-billing:pa55w%6Frd@nodes.example.org:8443/v3/c4n4ry-k3y%2F%2B?token=tok%2Fen%2B1"
    cleaned = Redactor([url]).clean(told).lower()
    assert not any(word in cleaned for word in ("c4n4ry", "k3y", "svc", "nodes", "tok/en", "tok%2f"))
    assert "..." in cleaned
    assert Redactor([url]).clean("the password is pa55word") == "the password is ..."
    assert Redactor([]).clean(told) == told


# -- CCIP-read


def offchain_lookup_code(address: str, url: str) -> str:
    """Code that reverts every call with OffchainLookup (ERC-3668) and that url."""
    types = ("address", "string[]", "bytes", "bytes4", "bytes")
    error = "OffchainLookup(address,string[],bytes,bytes4,bytes)"
    data = keccak(error.encode())[:4] + encode(types, (address, [url], b"\x01", b"\x00" * 4, b""))
    size = len(data).to_bytes(2, "big").hex()
    return "0x61" + size + "61000f" + "6000" + "39" + "61" + size + "6000" + "fd" + data.hex()


class Trusting(RpcProvider):
    """What web3 does unless it is told otherwise."""

    global_ccip_read_enabled = True
    ccip_read_allow_http = True


@pytest.mark.fault("R18")
def test_r18_contract_cannot_make_us_call_anybody(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: Any) -> Any:
        return 200, b'{"data":"0x"}', {"connection": "close"}

    # web3's own list of forbidden hosts is out of the way: only the switch decides here.
    monkeypatch.setattr(web3.utils.exception_handling, "validate_ccip_url_host", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "*")
    with scripted(answer) as listener:
        code = offchain_lookup_code(STRANGE_ASSET, f"{listener.url}{{sender}}")
        shop.node.set_code(STRANGE_ASSET, code)
        asset = shop.asset(token=STRANGE_ASSET)
        monkeypatch.setattr(RpcProvider, "ccip_read_allow_http", True)
        assert ContractReader(shop.source.rpc).decimals(STRANGE_ASSET) is None
        shop.provider.pay_instructions(shop.order(asset=asset), shop.network)
        contract = attrs.evolve(shop.contract, address=STRANGE_ASSET)
        assert shop.provider.inspect_contract(contract, shop.network, shop.gateway) != []
        assert listener.requests == []
        trap_is_real(shop, listener)


def trap_is_real(shop: Shop, listener: ScriptedNode) -> None:
    trusting = Web3(Trusting(shop.source.rpc), middleware=[])
    with contextlib.suppress(Exception):
        trusting.eth.call({"to": Web3.to_checksum_address(STRANGE_ASSET), "data": "0x313ce567"})
    assert listener.requests


def test_a_changed_network_gets_a_new_source_and_the_same_one_is_shared(shop: Shop) -> None:
    revealed: list[SecretRef] = []

    def reveal(ref: SecretRef) -> str:
        revealed.append(ref)
        return shop.node.url

    provider = EvmProvider(signer_for=lambda _: shop.signer, reveal=reveal)
    with contextlib.closing(provider):
        first = provider.chain(shop.network)
        assert provider.chain(attrs.evolve(shop.network)) is first
        assert len(revealed) == 1
        assert provider.chain(attrs.evolve(shop.network, rpc_timeout=3)) is not first
    made = EvmProvider(signer_for=lambda _: shop.signer, reveal=str, sources=lambda _: first)
    assert made.chain(shop.network) is first
