"""A wallet library that is not ours (viem) verifies what the shop signed, and pays what the API hands out."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

from evmbilling.integrations.http.options import PREFIX
from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.keys import address_of
from evmbilling.testing.merchant import CREDIT_DEPTH, SIGNER_KEY
from evmbilling.testing.tools import npm_install

VIEM = "2.38.0"
SCRIPT = Path(__file__).with_name("other_wallet.cjs")


def checkout(origin, user, wallet, key):
    request = urllib.request.Request(
        f"{origin}{PREFIX}/checkout",
        data=json.dumps({"plan": "pro", "wallet": wallet}).encode(),
        headers={"Content-Type": "application/json", "X-User": user, "Idempotency-Key": key},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_viem_verifies_the_challenge_and_pays_the_payload(shop, origin, user):
    account = shop.node.accounts[6]
    token = Deployed(name="TestToken", address=shop.merchant.token.token, block=0)
    transact(shop.node, token, "mint", account.address, 10**9, sender=account.address)
    offer = checkout(origin, user, account.address, "with-viem")
    given = {
        "library": str(npm_install([f"viem@{VIEM}"], name=f"viem-{VIEM}")),
        "url": shop.node.url,
        "key": account.key,
        "challenge": offer["challenge"],
        "approval": offer["approval"],
        "payload": offer["payload"],
    }
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, SCRIPT], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["signer"] == offer["challenge"]["signer"] == address_of(SIGNER_KEY)
    assert said["valid"] is True
    assert said["changed"] is False
    shop.settle(CREDIT_DEPTH)
    assert [shop.node.receipt(sent)["status"] for sent in said["hashes"]] == ["0x1", "0x1"]
    assert shop.engine.order(offer["ledger_id"]).status == "confirmed"
    assert shop.engine.access(user).allowed
