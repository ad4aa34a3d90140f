"""The Anvil node that tests and the demo stand on."""

from __future__ import annotations

import gc
import os
import signal
import time

import pytest

from evmbilling.errors import ChainMismatch, RpcRefused, RpcUnavailable
from evmbilling.testing.anvil import AnvilNode


def payment(node: AnvilNode, value: int = 1) -> str:
    payer, shop, *_ = node.accounts
    return node.send({"from": payer.address, "to": shop.address, "value": hex(value)})


def balance(node: AnvilNode, address: str) -> int:
    return int(node.rpc("eth_getBalance", address, "latest"), 16)


def test_chain_starts_as_configured():
    with AnvilNode(chain_id=777, timestamp=1_700_000_000) as node:
        assert int(node.rpc("eth_chainId"), 16) == 777
        assert node.block_number == 0
        assert int(node.block(0)["timestamp"], 16) == 1_700_000_000
        assert [a.lower() for a in node.rpc("eth_accounts")] == [a.address.lower() for a in node.accounts]


def test_dev_keys_belong_to_their_addresses():
    from eth_account import Account

    addresses = [Account.from_key(account.key).address for account in AnvilNode.accounts]
    assert addresses == [account.address for account in AnvilNode.accounts]


def test_process_is_ended_by_its_own_pid_and_the_port_stays():
    node = AnvilNode()
    with node:
        pid, url = node.pid, node.url
        os.kill(pid, 0)
    assert not node.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RpcUnavailable):
        node.rpc("eth_blockNumber")
    with node:
        assert node.url == url
        assert node.pid != pid


def test_collected_node_leaves_no_process():
    node = AnvilNode().start()
    pid = node.pid
    del node
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_dead_process_is_an_error_that_can_be_retried():
    with AnvilNode() as node:
        os.kill(node.pid, signal.SIGKILL)
        while node.running:
            time.sleep(0.001)
        with pytest.raises(RpcUnavailable) as caught:
            node.rpc("eth_blockNumber")
    assert caught.value.retry_safe


def test_failed_start_tells_the_words_of_the_program():
    with pytest.raises(RpcUnavailable, match="no-such-fork"):
        AnvilNode(hardfork="no-such-fork").start()


def test_errors_of_the_node_keep_their_code(anvil):
    with pytest.raises(RpcRefused, match="no_such") as caught:
        anvil.rpc("no_such_method")
    assert caught.value.details["rpc_code"] == -32601


def test_nothing_is_mined_until_asked_and_tags_follow_the_head(anvil):
    base = anvil.block_number
    tx_hash = payment(anvil)
    assert anvil.receipt(tx_hash) is None
    assert anvil.mine(4) == base + 4
    assert int(anvil.receipt(tx_hash)["blockNumber"], 16) == base + 1
    assert int(anvil.block("safe")["number"], 16) == base + 3
    assert int(anvil.block("finalized")["number"], 16) == base + 2


def test_time_can_be_set_and_moved(anvil):
    now = int(anvil.block()["timestamp"], 16)
    anvil.mine(timestamp=now + 1000)
    assert int(anvil.block()["timestamp"], 16) == now + 1000
    anvil.increase_time(86_400)
    anvil.mine()
    assert int(anvil.block()["timestamp"], 16) >= now + 1000 + 86_400
    with pytest.raises(RpcRefused):
        anvil.set_next_timestamp(now)


def test_snapshot_is_consumed_by_its_revert(anvil):
    shop = anvil.accounts[1].address
    before = balance(anvil, shop), anvil.block_number
    snapshot = anvil.snapshot()
    payment(anvil)
    anvil.mine()
    payment(anvil)
    assert balance(anvil, shop) == before[0] + 1
    anvil.revert(snapshot)
    assert (balance(anvil, shop), anvil.block_number) == before
    assert anvil.rpc("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    with pytest.raises(ChainMismatch):
        anvil.revert(snapshot)


def test_reorg_drops_a_payment_and_takes_it_again(anvil):
    anvil.mine()
    tx_hash = payment(anvil)
    anvil.mine(3)
    raw = anvil.raw_transaction(tx_hash)
    old = anvil.receipt(tx_hash)
    replaced = anvil.reorg(3)
    assert old["blockHash"] == replaced[0]
    assert len(replaced) == 3
    assert anvil.receipt(tx_hash) is None
    assert anvil.rpc("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    anvil.reorg(2, [(raw, 1)])
    new = anvil.receipt(tx_hash)
    assert new["status"] == "0x1"
    assert new["blockHash"] != old["blockHash"]


def test_reorg_of_empty_blocks_changes_every_hash(anvil):
    anvil.mine(5)
    top = anvil.block_number
    old = [anvil.block_hash(height) for height in range(top - 3, top + 1)]
    assert anvil.reorg(4) == old
    assert not set(old) & {anvil.block_hash(height) for height in range(top - 3, top + 1)}
    assert int(anvil.rpc("eth_coinbase"), 16) == 0


def test_reorg_keeps_what_was_deployed_however_much_was_mined_and_taken_back():
    contract = "0x600a600c600039600a6000f3602a60005260206000f3"  # answers 42
    with AnvilNode() as node:
        for _ in range(40):
            snapshot = node.snapshot()
            node.mine(25)
            node.revert(snapshot)
        sent = node.send({"from": node.accounts[0].address, "data": contract, "gas": "0x30d40"})
        node.mine(30)
        deployed = node.receipt(sent)["contractAddress"]
        node.reorg(25)
        answers = [node.rpc("eth_call", {"to": deployed}, hex(block)) for block in range(1, 31)]
    assert [int(answer, 16) for answer in answers] == [42] * 30


def test_reorg_that_loses_a_transaction_is_an_error(anvil):
    anvil.mine()
    first, second = payment(anvil), payment(anvil)
    anvil.mine(2)
    raws = anvil.raw_transaction(first), anvil.raw_transaction(second)
    with pytest.raises(ChainMismatch, match="0 of 1"):
        anvil.reorg(2, [(raws[1], 0)])  # its nonce comes after the first one's


def test_reorg_cannot_cut_off_a_snapshot(anvil):
    anvil.mine(2)
    with pytest.raises(ChainMismatch):
        anvil.reorg(3)
    with pytest.raises(ChainMismatch):
        anvil.reorg(0)


def test_dropped_transaction_leaves_the_pool(anvil):
    tx_hash = payment(anvil)
    anvil.drop(tx_hash)
    anvil.mine()
    assert anvil.receipt(tx_hash) is None
    with pytest.raises(ChainMismatch):
        anvil.drop(tx_hash)
    with pytest.raises(ChainMismatch):
        anvil.raw_transaction(tx_hash)


def test_state_can_be_written(anvil):
    address = "0x" + "ab" * 20
    anvil.set_balance(address, 10**18)
    anvil.set_code(address, "0x60015f5260205ff3")  # answers 1
    anvil.set_storage(address, 7, 2**256 - 1)
    assert balance(anvil, address) == 10**18
    assert int(anvil.rpc("eth_call", {"to": address}, "latest"), 16) == 1
    assert int(anvil.rpc("eth_getStorageAt", address, "0x7", "latest"), 16) == 2**256 - 1
    anvil.impersonate(address)
    tx_hash = anvil.send({"from": address, "to": anvil.accounts[1].address, "value": "0x5"})
    anvil.mine()
    assert anvil.receipt(tx_hash)["status"] == "0x1"


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_the_chain_as_the_session_left_it(anvil, anvil_node, turn):
    assert anvil is anvil_node
    stranger = "0x" + "5e" * 20
    assert balance(anvil, stranger) == 0, turn
    assert int(anvil.rpc("eth_chainId"), 16) == anvil.chain_id
    assert int(anvil.rpc("eth_coinbase"), 16) == 0
    assert anvil.rpc("anvil_getAutomine") is False
    anvil.mine(2)
    anvil.send({"from": anvil.accounts[0].address, "to": stranger, "value": "0x1"})
    anvil.mine()
    anvil.set_chain_id(137)
    anvil.rpc("evm_setAutomine", True)
    anvil.rpc("anvil_setCoinbase", "0x" + "11" * 20)
    anvil.reorg(1)


def test_pair_has_two_chains(anvil_pair):
    one, two = anvil_pair
    assert {int(node.rpc("eth_chainId"), 16) for node in anvil_pair} == {one.chain_id, two.chain_id}
    assert one.chain_id != two.chain_id
    before = one.block_number, two.block_number
    one.mine()
    assert (one.block_number, two.block_number) == (before[0] + 1, before[1])
