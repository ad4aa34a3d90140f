"""The shop on a chain of its own: nothing has to be installed, configured or paid for."""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from evmbilling import BillingSettings
from evmbilling.errors import BillingError
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import deploy_checkout, deploy_token, transact
from evmbilling.testing.drain import drain

from .dev_wallet import DevWallet
from .opening import OWNER, open_shop, put_on_sale
from .selling import Shop

CHAIN_ID = 31337
BLOCK_SECONDS = 2
OWNER_ACCOUNT, PAYER, SCRIPTED = DEV_ACCOUNTS[:3]
TREASURY = DEV_ACCOUNTS[-1]
Serve = Callable[[Shop, DevWallet, socket.socket], tuple[Callable[[], None], Callable[[], None]]]


@frozen(kw_only=True)
class Local:
    """A shop that is being served."""

    shop: Shop
    node: AnvilNode
    origin: str
    stop: Callable[[], None]
    wait: Callable[[], None]


@contextmanager
def running(serve: Serve, *, port: int = 0, block_seconds: float = BLOCK_SECONDS) -> Iterator[Local]:
    """Serve the shop on a local chain on which a block is mined every few seconds.

    Args:
        serve: of one of the applications.
        port: where; a free one when 0.
        block_seconds: between two blocks.

    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evmbilling-shop-"))
        node = stack.enter_context(AnvilNode(chain_id=CHAIN_ID))
        listening = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        shop = _open(node, Path(folder), origin)
        stack.callback(shop.billing.close)
        stack.callback(shop.sessions.kw["bind"].dispose)
        run, stop = serve(shop, DevWallet(node, PAYER.address), listening)
        server = threading.Thread(target=run, name="server", daemon=True)
        over = threading.Event()
        worker = threading.Thread(target=_work, args=(shop, node, over, block_seconds), name="worker", daemon=True)
        server.start()
        worker.start()
        stack.callback(worker.join, 20)
        stack.callback(over.set)
        stack.callback(server.join, 20)
        stack.callback(stop)
        yield Local(shop=shop, node=node, origin=origin, stop=stop, wait=server.join)


def main(serve: Serve) -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="The shop on a local chain.")
    parser.add_argument("--port", type=int, default=8000)
    with running(serve, port=parser.parse_args().port) as local:
        print(told(local), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            local.wait()


def told(local: Local) -> str:
    """Return what somebody at the keyboard wants to know."""
    return (
        f"The shop:          {local.origin}/\n"
        f"The finance desk:  {local.origin}/billing/desk   (sign in as: finance)\n"
        f"The API:           {local.origin}/v1/billing/openapi.json\n"
        f"The chain:         {local.node.url}\n"
        f"End to end:        python examples/e2e.py {local.origin} --rpc {local.node.url}\n"
        "Stop with Ctrl-C; nothing is kept."
    )


def _open(node: AnvilNode, folder: Path, origin: str) -> Shop:
    os.environ["SHOP_ORDER_KEY"] = OWNER_ACCOUNT.key
    settings = BillingSettings(
        database_url=f"sqlite:///{folder / 'shop.sqlite3'}",
        secret_key=base64.b64encode(os.urandom(32)).decode(),
        finance_ops_user_ids=("finance",),
    )
    shop = open_shop(settings, secret=secrets.token_urlsafe(32), origin=origin)
    token = deploy_token(node, decimals=6, symbol="tUSD")
    contract = deploy_checkout(node, signers=(OWNER_ACCOUNT.address,))
    for account in (PAYER, SCRIPTED):
        transact(node, token, "mint", account.address, 10**12, sender=OWNER_ACCOUNT.address)
    admin = shop.billing.admin(OWNER)
    admin.create_network(
        name="local",
        chain_id=CHAIN_ID,
        rpc_urls=[node.url],
        testnet=True,
        credit_after="depth 3",
        irreversible_after="depth 50",
    )
    admin.create_gateway(
        slug="main", networks=["local"], signer="env:SHOP_ORDER_KEY", treasuries={"local": TREASURY.address}
    )
    admin.create_contract(slug="checkout", network="local", address=contract.address, start_block=contract.block)
    asked = {"network": "local", "chain_id": CHAIN_ID, "token": token.address, "decimals": 6, "symbol": "tUSD"}
    put_on_sale(shop, **asked, price="4.99")
    return shop


def _work(shop: Shop, node: AnvilNode, over: threading.Event, block_seconds: float) -> None:
    """Mine, and do what workers do. A real shop runs them beside its servers."""
    while not over.wait(block_seconds):
        try:
            node.mine()
            drain(shop.billing, release=True, fold=True)
        except BillingError as error:
            print(f"the worker tries again: {error}", flush=True)
