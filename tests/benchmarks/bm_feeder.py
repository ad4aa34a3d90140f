"""A program that sends transactions to a node and mines a block at fixed times.

``python bm_feeder.py URL FILE MILLISECONDS``: each line of the file is a batch of transactions (JSON-RPC calls) for one
block. Prints for each block its number, and when it was mined, in seconds since the epoch.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import urllib3

HEADERS = {"content-type": "application/json"}


def feed(url: str, batches: list[bytes], interval: float) -> list[tuple[int, float]]:
    pool = urllib3.PoolManager()

    def post(body: bytes) -> Any:
        return json.loads(pool.request("POST", url, body=body, headers=HEADERS).data)

    def call(method: str, *params: Any) -> Any:
        return post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())["result"]

    mined: list[tuple[int, float]] = []
    start = time.time()
    for number, batch in enumerate(batches, 1):
        refused = [answer["error"] for answer in post(batch) if "error" in answer]
        if refused:
            raise SystemExit(str(refused[0]))
        time.sleep(max(0.0, start + number * interval - time.time()))
        call("anvil_mine", "0x1")
        mined.append((int(call("eth_blockNumber"), 16), time.time()))
    return mined


if __name__ == "__main__":
    url, file, milliseconds = sys.argv[1:]
    print(json.dumps(feed(url, Path(file).read_bytes().splitlines(), int(milliseconds) / 1000)))
