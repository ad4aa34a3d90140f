"""The shops of the tutorials, served as the pages say: a wallet of its own pays by JSON-RPC, and the page opens."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import urllib3
from eth_account import Account
from page_program import be, tables_script

import forks
from sampling import EVERYTHING

TUTORIALS = Path(__file__).resolve().parents[2] / "docs/tutorials"
BLOCK = re.compile(r"^```python([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 90


def files_of(page: str, folder: Path, port: int) -> None:
    """Write ``shop.py`` and ``serve.py`` as a page tells its reader to."""
    blocks = BLOCK.findall((TUTORIALS / page).read_text())
    (folder / "shop.py").write_text("\n\n".join([code for info, code in blocks if not info][:3]))
    ((served),) = [code for info, code in blocks if info == ' title="serve.py"']
    assert "port=8000" in served
    (folder / "serve.py").write_text(served.replace("port=8000", f"port={port}"))


class Reader:
    """Somebody outside of the shop's process: HTTP to the shop, JSON-RPC to the node, and a key made here."""

    def __init__(self, shop: str, node: str) -> None:
        self.shop, self.node, self.key = shop, node, Account.create()
        self.pool = urllib3.PoolManager(retries=False, timeout=10)

    def ask(self, method: str, path: str, **more):
        headers = {"X-Demo-User": "ann", "Idempotency-Key": "ann-1"}
        return self.pool.request(method, self.shop + path, headers=headers, **more)

    def call(self, method: str, *params):
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.pool.request("POST", self.node, json=asked).json()
        assert "error" not in answer, answer
        return answer["result"]

    def receipt(self, name: str):
        return until(lambda: self.call("eth_getTransactionReceipt", name))

    def give(self, token: str) -> None:
        """Let the owner of the test token give some, and the node coins for gas."""
        self.call("anvil_setBalance", self.key.address, hex(10**18))
        words = self.key.address[2:].lower().rjust(64, "0") + f"{100_000_000:x}".rjust(64, "0")
        owner = self.call("eth_accounts")[0]
        sent = self.call("eth_sendTransaction", {"from": owner, "to": token, "data": "0x40c10f19" + words})
        assert self.receipt(sent)["status"] == "0x1"

    def pay(self, payload) -> None:
        fields = {
            "chainId": int(str(payload["chainId"]), 0),
            "to": payload["to"],
            "data": payload["data"],
            "value": int(str(payload["value"]), 0),
            "gas": int(str(payload["gas"]), 0),
            "nonce": int(self.call("eth_getTransactionCount", self.key.address, "latest"), 16),
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 10**9,
        }
        raw = bytes(self.key.sign_transaction(fields).raw_transaction)
        assert self.receipt(self.call("eth_sendRawTransaction", "0x" + raw.hex()))["status"] == "0x1"


def until(look):
    """Ask until there is something."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("it never came")


@pytest.mark.parametrize(
    "page",
    # What both mount is asked of both in tests/http, and the program of each page runs with those of the others.
    ["billing-in-fastapi.md", pytest.param("billing-in-flask.md", marks=pytest.mark.exhaustive)],
)
def test_a_served_shop_is_paid_from_outside(page, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    files_of(page, tmp_path, port)
    said, complained = (tmp_path / name for name in ("said.txt", "complained.txt"))
    home = {key: value for key, value in os.environ.items() if not key.startswith("BILLING_")}
    (tmp_path / "tables.sql").write_text(tables_script())
    program = (_begun_from_nothing,) if EVERYTHING else (be, str(tmp_path / "serve.py"), str(tmp_path / "tables.sql"))
    shop = forks.begin(*program, folder=tmp_path, env=home, out=said, err=complained)
    try:
        (node,) = until(lambda: shop.exitcode is not None or _found(said))
        reader = Reader(f"http://127.0.0.1:{port}", node)
        until(lambda: served(reader))
        assert reader.ask("GET", "/report").status == 402
        asked = {"plan": "pro", "wallet": reader.key.address}
        offer = reader.ask("POST", "/v1/billing/checkout", json=asked).json()
        assert offer["pay_url"].startswith("http://127.0.0.1:8000/")
        reader.give(offer["approval"]["to"])
        reader.pay(offer["approval"])
        reader.pay(offer["payload"])
        until(lambda: reader.ask("GET", "/report").status == 200)
        assert reader.ask("GET", "/call").json() == {"left": 999}
    finally:
        os.kill(shop.pid, signal.SIGINT)
        shop.join(SECONDS)
    assert "Traceback" not in complained.read_text()


def _begun_from_nothing() -> None:
    """Be the program that the page tells to start."""
    os.execv(sys.executable, [sys.executable, "serve.py"])


def _found(said: Path) -> list[str]:
    return re.findall(r"answers at (\S+)", said.read_text()) if said.exists() else []


def served(reader: Reader) -> bool:
    try:
        return reader.ask("GET", "/report").status > 0
    except urllib3.exceptions.HTTPError:
        return False
