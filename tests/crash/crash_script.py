"""From a checkout to a refund: every step can be taken again by a process that knows only what was stored."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from crash_world import CHAIN_ID, Node, Receiver, World

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from databases import open_sql
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import checksum
from evmbilling.domain.messages.hints import parse_secrets, sign_webhook
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.people.siwe import personal_digest
from evmbilling.factory import BillingEngine
from evmbilling.ports.crash import crash_point
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import _accounts
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, open_merchant, repeatable_secrets
from evmbilling.testing.paid_logs import transfer_log

ALICE = DEV_ACCOUNTS[1]
OPS = Actor("ops", frozenset({Role.FINANCE_OPS}))
USER = "user-1"
SECRET = "whsec_" + base64.b64encode(b"a contract's own secret: 32 byte").decode()
DAY = 86_400


def open_engine(url: str, folder: Path, world: World, *, fine: bool = False) -> BillingEngine:
    """Open what a fresh process opens."""
    source = Node(world.chain) if fine else world.chain
    return BillingEngine(
        storage=open_sql(url, world, waits=Waits(lock=10)),
        clock=world,
        secrets=repeatable_secrets(),
        sources=lambda _: source,
        seal_key=b"s" * 32,
        notifiers={"file": Receiver(folder)},
    )


def stock(url: str, folder: Path) -> None:
    """Migrate a database and open a merchant in it, who sells nothing yet."""
    upgrade(url)
    engine = open_engine(url, folder, World(folder))
    addresses = {name: checksum(name.encode().rjust(20, b"\1")) for name in ("contract", "token", "treasury")}
    open_merchant(engine, chain_id=CHAIN_ID, rpc_url="http://127.0.0.1:9", signer=SIGNER_KEY, **addresses)
    engine.admin(ADMIN).update_contract("checkout", "local", version=1, webhook_secret=SECRET)
    engine.close()


def tell_of_statements(engine: BillingEngine) -> None:
    """Make a place to die of each statement, before it is sent and after its answer."""
    listened: Any = engine._ports.storage._engine  # type: ignore[attr-defined]  # only a SQL storage has one
    sa.event.listen(listened, "before_cursor_execute", lambda *_: crash_point("statement.before"))
    sa.event.listen(listened, "after_cursor_execute", lambda *_: crash_point("statement.after"))


class Life:
    """One process: it takes all steps, those that were taken before as well.

    Args:
        url, folder: the database, and where the world outside is remembered.
        ahead: seconds that its clock is ahead of the chain.
        fine: die around every statement and every question to the node as well.

    """

    def __init__(self, url: str, folder: Path, *, ahead: int = 0, fine: bool = False) -> None:
        self.world = World(folder, ahead=ahead)
        self.engine = open_engine(url, folder, self.world, fine=fine)
        if fine:
            tell_of_statements(self.engine)

    def run(self) -> None:
        """Sell, be paid, tell, give a part back, seal."""
        offer = self.engine.checkout(plan="pro", user_id=USER, wallet=ALICE.address, idempotency_key="first")
        # A quarter of an hour passes before the wallet pays: longer than it takes to start a process again.
        self.world.once("paid", ("pay", (offer.order,), {}), ("mine", (1,), {"seconds": 900}))
        self._hint(self.world.done["paid"][0])
        self._work()
        self.world.once("confirmed", ("mine", (2,), {}))
        self._work()
        self.world.once("a day later", ("mine", (1,), {"seconds": DAY}))
        self.engine.release_revenue()
        self._give_back(offer.ledger_id)
        self.world.once("deep", ("mine", (20,), {}))
        self._work()
        self.engine.seal()

    def settle(self) -> None:
        """Work until a whole round changes nothing."""
        for _ in range(20):
            handed = self._work()
            if not handed and not self.engine.seal().sealed:
                return
        raise AssertionError("it does not settle")

    def _work(self) -> int:
        self.engine.read_hints()
        self.engine.read_chain("local")
        taken = self.engine.run_intake().taken
        report = self.engine.dispatch()
        return taken + report.handed_out + report.delivered

    def _hint(self, tx_hash: bytes) -> None:
        """A relay tells of the payment; it repeats itself until it hears an answer."""
        body = json.dumps({"chain_id": CHAIN_ID, "tx_hash": "0x" + tx_hash.hex()}).encode()
        timestamp = str(int(self.world.now().timestamp()))
        signature = sign_webhook(parse_secrets(SECRET)[0], "msg_1", timestamp, body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": timestamp, "webhook-signature": signature}
        self.engine.handle_webhook("checkout", body, headers)

    def _give_back(self, ledger_id: str) -> None:
        desk = self.engine.refunds(OPS)
        known = list(desk.refunds())
        asked = {"ledger_id": ledger_id, "amount": 5_000_000, "reason": "asked", "via": "transfer"}
        refund = known[0] if known else desk.request(**asked)
        if refund.address is None:
            self._prove(refund)
        if refund.status in ("requested", "approved"):
            desk.prepare(refund.refund_id)
            refund = desk.refund(refund.refund_id)
        moved = transfer_log(refund.asset.token, refund.treasury, ALICE.address, refund.amount)
        self.world.once("given back", ("send", (moved,), {}), ("mine", (1,), {}))
        self._work()
        self.world.once("given back for good", ("mine", (2,), {}))
        self._work()

    def _prove(self, refund: Refund) -> None:
        challenge = self.engine.refund_challenge(
            refund.refund_id,
            user_id=USER,
            wallet=ALICE.address,
            network="local",
            domain="shop.example",
            uri="https://shop.example/refund",
        )
        signature = bytes(_accounts().unsafe_sign_hash(personal_digest(challenge.message), ALICE.key).signature)
        self.engine.confirm_refund_address(refund.refund_id, user_id=USER, nonce=challenge.nonce, signature=signature)
