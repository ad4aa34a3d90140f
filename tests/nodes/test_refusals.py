"""Every way in which clients and providers are known to refuse, and what each is taken for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, classify, refusal_of, usable_suggestion
from evmbilling.errors import RpcRefused

RATE, LAG, CAP, MUCH = RefusalKind.RATE, RefusalKind.HEAD_LAG, RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH
FAULT, REVERTED = RefusalKind.FAULT, RefusalKind.REVERTED

ALCHEMY = "You can make eth_getLogs requests with up to a "
ALCHEMY_SIZE = (
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the "
    "response size, or you can request any block range with a cap of 10K logs in the response. Based on your "
    "parameters and the response size limit, this block range should work: [0x0, 0x63]"
)

# (status, code, message, expected kind, cap, suggestion)
NODES = [
    (200, -32602, "block range extends beyond current head block", LAG, None, None),
    (200, -32602, "block range extends beyond current head block: requested 900, head 800", LAG, None, None),
    (200, -32602, "invalid block range params", FAULT, None, None),
    (200, -32602, "invalid topic(s)", FAULT, None, None),
    (200, -32602, "exceed maximum block range: 5000", CAP, 5000, None),
    (200, -32000, "unknown block", LAG, None, None),
    (200, -32602, "query exceeds max block range 100000", CAP, 100_000, None),
    (200, -32602, "query exceeds max results 20000, retry with the range 100-149", MUCH, None, (100, 149)),
    (200, -32008, "Response is too big; Exceeded max limit of 167772160", MUCH, None, None),
    (200, -32602, "query block range exceeds server limit, narrow your filter: 1000", CAP, 1000, None),
    (200, -32000, "query block range exceeds server limit, narrow your filter: 1000", CAP, 1000, None),
    (200, -32602, "query returns too many logs, narrow your filter: 20000", MUCH, None, None),
    (
        200,
        -32602,
        "requested block range [90, 99] is beyond latest executed block 80 (node is still syncing)",
        LAG,
        None,
        None,
    ),
    (200, -32001, "123 could not be found", LAG, None, None),
    (200, -32005, "Too many logs requested. Max logs per response is 20000.", MUCH, None, None),
    (503, -32603, "module queue is full", FAULT, None, None),
    (200, -32005, "block range too large, max range: 1000", CAP, 1000, None),
    (200, -32005, "query returned more than 10000 results", MUCH, None, None),
    (200, -32603, "block range is too wide (maximum 1024)", CAP, 1024, None),
    (200, -32000, "requested too many blocks from 1 to 5000, maximum is set to 2048", CAP, 2048, None),
    (200, -32000, "requested from block 99 after last accepted block 90", LAG, None, None),
    (200, -32000, "block range is bigger than maxBlockRange", CAP, None, None),
    (
        200,
        -32000,
        "block range is larger than max block range, block range = 5001, max block range = 5000",
        CAP,
        5000,
        None,
    ),
    (200, -32000, "header not found", LAG, None, None),
    (200, -32000, "the node does not have the requested block yet", LAG, None, None),
    (200, -32000, "transaction indexing is in progress", LAG, None, None),
    (200, -32602, "BlockOutOfRangeError: block height is 5 but requested was 6", LAG, None, None),
]
PROVIDERS = [
    (
        400,
        -32600,
        ALCHEMY + "500 block range. Based on your parameters, this block range should work: [0x64, 0x257]",
        CAP,
        500,
        (100, 599),
    ),
    (
        400,
        -32600,
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range",
        CAP,
        10,
        None,
    ),
    (
        200,
        -32602,
        ALCHEMY_SIZE,
        MUCH,
        None,
        (0, 99),
    ),
    (200, -32000, "query timeout exceeded", MUCH, None, None),
    (200, -32602, "range 1000000 exceeds limit of 10000", CAP, 10_000, None),
    (
        200,
        -32005,
        "query returned more than 10000 results. Try with this block range [0x64, 0xC7].",
        MUCH,
        None,
        (100, 199),
    ),
    (413, -32614, "eth_getLogs is limited to a 10,000 range", CAP, 10_000, None),
    (413, -32614, "eth_getLogs is limited to a 10,000 blocks range", CAP, 10_000, None),
    (413, -32614, "", CAP, None, None),
    (200, 35, "ranges over 10000 blocks are not supported on freetier", CAP, 10_000, None),
    (200, -32602, "query exceeds max results 20000, retry with the range 7-9", MUCH, None, (7, 9)),
    (200, 30, "Request timeout on the free tier", MUCH, None, None),
    (200, -32600, "block range is too wide", CAP, None, None),
    (200, -32600, "maximum [from, to] blocks distance: 3000", CAP, 3000, None),
    (200, -32602, "exceed maximum block range: 50000", CAP, 50_000, None),
    (200, -32602, "maximum block range: 10000", CAP, 10_000, None),
    (200, -32020, "backend response too large", MUCH, None, None),
    (200, -32020, "block range too large", CAP, None, None),
    (503, -32011, "no backend is currently healthy to serve traffic", FAULT, None, None),
    (200, -32600, "Block range limit exceeded.", CAP, None, None),
    (200, -32602, "please limit the query to at most 1000 blocks", CAP, 1000, None),
    (200, -32047, "Max range: 800", CAP, 800, None),
    (200, -32000, "Maximum allowed number of requested blocks is 10000", CAP, 10_000, None),
    (200, -32600, "eth_getLogs is limited to a 1000 blocks range", CAP, 1000, None),
    (200, -32602, "block range exceeds the range allowed for your plan (5000 > 1000)", CAP, 1000, None),
    (200, -32000, "response size should not greater than 10000000 bytes", MUCH, None, None),
    (
        200,
        -32602,
        "eth_getLogs is limited to 1024 block range. Please check the parameter requirements",
        CAP,
        1024,
        None,
    ),
    (200, -32603, "eth_getLogs range is too large, max is 1k blocks", CAP, 1000, None),
    (200, -32000, "More than 50000 logs returned", MUCH, None, None),
    (200, -32602, "query exceeds max block range 50", CAP, 50, None),
    (200, -32000, "block range too large (2000), maximum allowed is 1000 blocks", CAP, 1000, None),
    (200, -32000, "logs matched by query exceeds limit of 10000", MUCH, None, None),
    (200, -32000, "query must be smaller than size 1024", CAP, 1024, None),
    (200, -32602, "exceed max block range: 5000", CAP, 5000, None),
    (200, -32012, "requested range too large", CAP, None, None),
]
RATES = [
    (429, -32000, "", RATE, None, None),
    (200, 429, "slow down", RATE, None, None),
    (200, -32005, "limit exceeded", RATE, None, None),
    (200, -32005, "daily request count exceeded, request rate limited", RATE, None, None),
    (200, -32007, "50/second request limit reached", RATE, None, None),
    (200, -32603, "Too Many Requests", RATE, None, None),
    (400, 429, "Your app has exceeded its compute units per second capacity", RATE, None, None),
    (200, -32000, "request was throttled", RATE, None, None),
    (200, -32000, "monthly quota used up", RATE, None, None),
]
OTHERS = [
    (402, -32000, "payment required", FAULT, None, None),
    (401, -32600, "Must be authenticated!", FAULT, None, None),
    (200, -32601, "the method eth_getBlockReceipts does not exist/is not available", FAULT, None, None),
    (200, -32603, "Internal error", FAULT, None, None),
    (200, -32000, "filter not found", FAULT, None, None),
    (200, 3, "execution reverted: rate limit, block range too large", REVERTED, None, None),
    (200, -32000, "VM Exception while processing transaction: revert quota", REVERTED, None, None),
    (200, 3, "", REVERTED, None, None),
    (429, -32602, "query returned more than 10000 results", MUCH, None, None),  # words over status
]


@pytest.mark.parametrize("case", NODES + PROVIDERS + RATES + OTHERS, ids=lambda case: str(case[2])[:40])
def test_every_known_refusal_is_recognised(case: Any) -> None:
    status, code, message, kind, cap, suggestion = case
    for text in (message, message.upper().replace("0X", "0x")):
        found = classify(status=status, code=code, message=text, data=None)
        assert (found.kind, found.cap, found.suggestion) == (kind, cap, suggestion)


@pytest.mark.parametrize("case", NODES + PROVIDERS, ids=lambda case: str(case[2])[:40])
def test_the_sentence_may_stand_in_the_data(case: Any) -> None:
    status, code, message, kind, cap, _ = case
    for data in (message, {"payload": message}, {"payload": {"errors": [message]}}):
        found = classify(status=status, code=code, message="server error", data=data)
        assert (found.kind, found.cap) == (kind, cap)


def test_figures_in_the_data_are_read() -> None:
    tenderly = {"payload": "range 5000 is bigger than range limit 1000"}
    assert classify(status=200, code=-32602, message="invalid params", data=tenderly) == Refusal(CAP, cap=1000)
    infura = {"from": "0x64", "to": "0xc7", "limit": 10000}
    text = "query returned more than 10000 results"
    assert classify(status=200, code=-32005, message=text, data=infura) == Refusal(MUCH, suggestion=(100, 199))
    paused = {"rate": {"allowed_rps": 1, "backoff_seconds": 30, "current_rps": 1.4}, "see": "https://example"}
    assert classify(status=200, code=-32005, message="rate limited", data=paused) == Refusal(RATE, retry_after=30)
    assert classify(status=429, code=0, message="retry in 1500ms", data=None) == Refusal(RATE, retry_after=1.5)
    assert classify(status=429, code=0, message="retry after 1e9", data=None).retry_after is None
    assert classify(status=429, code=0, message="wait 99999999 s", data=None).retry_after is None


@pytest.mark.fault("R19")
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("already known", RefusalKind.KNOWN),
        ("ALREADY_EXISTS: already known", RefusalKind.KNOWN),
        ("AlreadyKnown, Hash: 0x12", RefusalKind.KNOWN),
        ("known transaction: 12ab", RefusalKind.KNOWN),
        ("transaction already imported", RefusalKind.KNOWN),
        ("nonce too low", RefusalKind.NONCE_USED),
        ("nonce too low: next nonce 8, tx nonce 7", RefusalKind.NONCE_USED),
        ("OldNonce, Current nonce: 8, nonce of rejected tx: 7", RefusalKind.NONCE_USED),
        ("Transaction with the same hash was already imported.", RefusalKind.KNOWN),
        ("transaction already in mempool", RefusalKind.KNOWN),
        ("unknown transaction type", FAULT),
        ("Unknown transaction 0x12", FAULT),
        ("ERR_NONCE_TOO_LOW", RefusalKind.NONCE_USED),
        ("nonce 7 already used", RefusalKind.NONCE_USED),
        ("replacement transaction underpriced", RefusalKind.UNDERPRICED),
        ("transaction underpriced", RefusalKind.UNDERPRICED),
        ("max fee per gas less than block base fee: address 0x12", RefusalKind.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", RefusalKind.UNDERPRICED),
        ("FeeTooLowToCompete", RefusalKind.UNDERPRICED),
        ("ReplacementNotAllowed", RefusalKind.UNDERPRICED),
        ("Gas price below configured minimum gas price", RefusalKind.UNDERPRICED),
        ("insufficient funds for gas * price + value", FAULT),
    ],
)
def test_r19_a_transaction_that_was_sent_before_is_recognised(message: str, kind: RefusalKind) -> None:
    assert classify(status=200, code=-32000, message=message, data=None) == Refusal(kind)


@pytest.mark.parametrize(
    ("suggestion", "usable"),
    [
        ((100, 149), True),
        ((100, 100), True),
        ((100, 198), True),
        ((100, 199), False),  # what was asked for
        ((100, 250), False),  # more than that
        ((99, 149), False),  # begins elsewhere
        ((101, 149), False),
        ((149, 100), False),  # inverted
        ((100, 99), False),
        (None, False),
    ],
)
def test_a_suggestion_is_used_only_when_it_helps(suggestion: tuple[int, int] | None, usable: bool) -> None:
    found = usable_suggestion(Refusal(MUCH, suggestion=suggestion), 100, 199)
    assert found == (suggestion if usable else None)


def test_what_nobody_sorted_is_a_fault() -> None:
    assert refusal_of(RpcRefused("no")) == Refusal(FAULT)
    assert refusal_of(RpcRefused("no", refusal=Refusal(RATE))) == Refusal(RATE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(code=st.integers(), message=st.text(), data=json_values, first=st.integers(0, 2**63), size=st.integers(0, 2**20))
def test_nothing_that_a_node_says_breaks_the_sorting(code: int, message: str, data: Any, first: int, size: int) -> None:
    found = classify(status=200, code=code, message=message, data=data)
    assert found.cap is None or found.cap > 0
    usable = usable_suggestion(found, first, first + size)
    assert usable is None or (usable[0] == first and usable[1] < first + size)
