"""A live network: from a mined block to the committed effect of every payment in it.

Nothing is asserted that depends on the machine.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles

import bm_feeder
import pytest
import sqlalchemy as sa
from bm_chain import GAS_LIMIT
from bm_web3 import TABLES
from eth_abi.abi import encode
from eth_hash.auto import keccak

from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.merchant import anvil_merchant, repeatable_secrets

INTERVAL = 200
"""Milliseconds between two blocks."""
POLL = 0.02
"""Seconds between two looks at the chain while there is nothing new."""
PLENTY = 10**18


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/live.db"


@pytest.fixture
def node():
    with AnvilNode(arguments=("--gas-limit", GAS_LIMIT)) as started:
        yield started


@pytest.mark.parametrize("payments", [20, 200])
def test_from_the_block_to_the_effect(plan, url, node, tmp_path, payments):
    blocks = 5 if plan.quick else 25
    if plan.quick:
        payments //= 4
    upgrade(url)
    storage = SqlAlchemyStorage.open(url)
    engine = BillingEngine(storage=storage, secrets=repeatable_secrets())
    shop = anvil_merchant(engine, node, credit_after="depth 1")
    payers = [account.address for account in node.accounts[:8]]
    fund(node, shop, payers)
    batches = tmp_path / "batches"
    batches.write_bytes(b"\n".join(orders(shop, node, payers, blocks, payments)))
    engine.read_chain("local")
    command = [sys.executable, str(Path(bm_feeder.__file__)), node.url, str(batches), str(INTERVAL)]
    feeder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    credited, took = work(engine, storage, blocks * payments, feeder)
    mined = dict(json.loads(feeder.communicate()[0]))
    engine.close()
    storage.close()
    latencies = sorted(when - mined[number] for number, when in credited)
    cuts = quantiles(latencies, n=100)
    span = max(mined.values()) - min(mined.values())
    print(f"\n{url.partition(':')[0]}, {payments} payments every {INTERVAL} ms, {blocks} blocks in {span:.1f} s:")
    print(f"  block to committed effect: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms", end="")
    print(f"; {blocks * payments / took:,.0f} payments/s at work")
    assert len(latencies) == blocks * payments


def fund(node, shop, payers):
    """Give every payer tokens, and the contract their allowance."""
    owner = node.accounts[0].address
    for payer in payers:
        mint = call("mint(address,uint256)", ["address", "uint256"], payer, PLENTY)
        node.send({"from": owner, "to": shop.token.token, "data": mint, "gas": "0x30d40"})
        node.mine()
        approve = call("approve(address,uint256)", ["address", "uint256"], shop.contract, PLENTY)
        node.send({"from": payer, "to": shop.token.token, "data": approve, "gas": "0x30d40"})
        node.mine()


def orders(shop, node, payers, blocks, payments):
    """Check out for every payment; give one batch of transactions for each block."""
    nonces = {payer: int(node.rpc("eth_getTransactionCount", payer, "latest"), 16) for payer in payers}
    for block in range(blocks):
        calls = []
        for number in range(payments):
            payer = payers[number % len(payers)]
            offer = shop.checkout(f"user-{block}-{number}", wallet=payer)
            transaction = offer.payload.as_rpc(payer) | {"nonce": hex(nonces[payer])}
            nonces[payer] += 1
            calls.append({"jsonrpc": "2.0", "id": number, "method": "eth_sendTransaction", "params": [transaction]})
        yield json.dumps(calls).encode()


def work(engine, storage, wanted, feeder):
    """Read and take in until everything is credited; return (block, when) for each payment, and the seconds at work."""
    receipts = TABLES["payment_receipts"]
    counts = sa.select(receipts.c.block_number, sa.func.count()).group_by(receipts.c.block_number)
    known, credited = {}, []
    busy = 0.0
    while len(credited) < wanted:
        began = time.perf_counter()
        read = engine.read_chain("local").blocks
        taken = 0
        while report := engine.run_intake(limit=200).taken:
            taken += report
            now = time.time()
            with storage._reading.begin() as connection:
                found = dict(map(tuple, connection.execute(counts)))
            for number, count in found.items():
                credited += [(number, now)] * (count - known.get(number, 0))
            known = found
        busy += time.perf_counter() - began if read or taken else 0.0
        if not read and not taken:
            assert feeder.poll() in (None, 0)
            time.sleep(POLL)
    return credited, busy


def call(signature, kinds, *values):
    return "0x" + (keccak(signature.encode())[:4] + encode(kinds, values)).hex()
