"""The chain source: headers and tags, honest and not."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from evm_bench import NO_NODE, Shop
from evm_servers import each, liar, open_source, scripted

from evmbilling.domain.catalogue.catalogue import Finality, Heights
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable
from evmbilling.testing.anvil import AnvilNode


def test_headers_are_those_of_the_chain(shop: Shop) -> None:
    head = shop.node.mine(5)
    assert shop.source.chain_id == 31337
    headers = shop.source.headers(head - 3, head + 4)
    assert [header.number for header in headers] == [head - 3, head - 2, head - 1, head]
    for header in headers:
        block = shop.node.block(header.number)
        assert block is not None
        assert "0x" + header.hash.hex() == block["hash"]
        assert "0x" + header.parent_hash.hex() == block["parentHash"]
        assert int(header.timestamp.timestamp()) == int(block["timestamp"], 16)
    assert shop.source.header(head) == shop.source.header("latest") == headers[-1]
    assert shop.source.header(head + 1) is None
    assert shop.source.header("safe") == headers[-2]
    assert shop.source.header("finalized") == headers[-3]
    assert shop.source.headers(head + 1, head + 5) == []
    assert shop.source.headers(5, 4) == []


def test_a_tag_that_the_node_does_not_know_is_none_and_other_refusals_are_not() -> None:
    def answer(method: str, params: list[Any]) -> Any:
        return "0x7a69" if method == "eth_chainId" else ValueError(-32602, f"invalid block tag {params[0]}")

    with scripted(each(answer)) as node, contextlib.closing(open_source(node.url)) as source:
        assert source.header("safe") is None
        assert source.header("finalized") is None
        with pytest.raises(RpcRefused):
            source.header("latest")


def test_a_dead_node_is_unavailable() -> None:
    with contextlib.closing(open_source(NO_NODE)) as source:
        for ask in (source.check_chain, lambda: source.header("latest"), lambda: source.headers(1, 2)):
            with pytest.raises(RpcUnavailable):
                ask()


def test_headers_that_do_not_link_are_a_mismatch(anvil: AnvilNode) -> None:
    anvil.mine(4)

    def change(method: str, params: list[Any], result: Any) -> Any:
        return result | {"parentHash": "0x" + "ab" * 32} if params[:1] == ["0x3"] else result

    with liar(anvil, change) as source:
        assert len(source.headers(1, 2)) == 2
        with pytest.raises(ChainMismatch, match="header 3 is no child of header 2"):
            source.headers(1, 4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hash", "0x12"),
        ("hash", "0x" + "zz" * 32),
        ("hash", "0x" + "ab" * 31 + " a"),
        ("number", "7"),
        ("number", "0x"),
        ("number", "0x_1"),
        ("number", "0x9"),
        ("number", 3),
        ("timestamp", "-0x1"),
        ("timestamp", "0xffffffffffffffff"),
        ("timestamp", "0x" + "1" * 65),
        ("parentHash", None),
        ("logsBloom", "0x0"),
    ],
)
def test_malformed_headers_are_a_mismatch(anvil: AnvilNode, field: str, value: Any) -> None:
    anvil.mine(3)
    with (
        liar(anvil, lambda m, _, result: result | {field: value} if m == "eth_getBlockByNumber" else result) as source,
        pytest.raises(ChainMismatch),
    ):
        source.header(3)


@pytest.mark.parametrize("hole", ["0x1", "0x2", "0x3"])
def test_a_hole_in_the_headers_is_a_mismatch(anvil: AnvilNode, hole: str) -> None:
    anvil.mine(4)
    with (
        liar(anvil, lambda _, params, result: None if params[:1] == [hole] else result) as source,
        pytest.raises(ChainMismatch),
    ):
        source.headers(1, 4)


@pytest.mark.parametrize("told", [{"hash": None}, {"number": None}], ids=str)
def test_a_block_that_is_there_has_a_number_and_a_hash(anvil: AnvilNode, told: dict[str, None]) -> None:
    """A pending one has none, and is never asked for."""
    anvil.mine(4)
    with liar(anvil, lambda m, p, result: result | told if p[:1] == ["0x4"] else result) as source:
        for ask in (lambda: source.header(4), lambda: source.headers(3, 4), lambda: source.tip(4)):
            with pytest.raises(ChainMismatch):
                ask()


def test_a_node_that_lacks_a_block_below_its_head_is_a_mismatch(anvil: AnvilNode) -> None:
    anvil.mine(4)
    with liar(anvil, lambda m, p, result: None if p[:1] == ["0x3"] else result) as source:
        assert source.tip(5).there is None
        with pytest.raises(ChainMismatch, match="no block 3 although its head is beyond"):
            source.tip(3)


@pytest.mark.fault("C08")
def test_c08_header_at_a_height_tells_when_the_block_is_no_longer_ours(shop: Shop) -> None:
    shop.node.mine(3)
    before = shop.source.header("latest")
    assert before is not None
    shop.node.reorg(2)
    shop.node.mine(2)
    after = shop.source.header(before.number)
    assert after is not None
    assert after.hash != before.hash


@pytest.mark.fault("C09")
@pytest.mark.parametrize("wanted", [1, 2, 12])
def test_c09_block_has_head_minus_number_plus_one_confirmations(shop: Shop, paid: ChainLog, wanted: int) -> None:
    rule = Finality("depth", wanted)
    for confirmations in range(1, wanted + 2):
        head = shop.source.header("latest")
        assert head is not None
        assert head.number - paid.block_number + 1 == confirmations
        assert rule.reached(paid.block_number, Heights(head=head.number)) is (confirmations >= wanted)
        shop.node.mine()


@pytest.mark.fault("C09")
@pytest.mark.parametrize(("tag", "behind"), [("safe", 1), ("finalized", 2)])
def test_c09_tag_reaches_the_block_that_it_names(shop: Shop, paid: ChainLog, tag: Any, behind: int) -> None:
    for after in range(behind + 2):
        named = shop.source.header(tag)
        assert named is not None
        heights = Heights(head=shop.node.block_number, **{tag: named.number})
        assert Finality(tag, 64).reached(paid.block_number, heights) is (after >= behind)
        shop.node.mine()
