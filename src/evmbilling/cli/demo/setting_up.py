"""Steps: a chain, a token, the contract, a database, a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy import migrating
from evmbilling.cli.demo.checks import Check, Checks, chain, database
from evmbilling.cli.demo.world import CHAIN_ID, DEPTH
from evmbilling.testing.deploy import deploy_checkout, deploy_token, transact
from evmbilling.testing.keys import address_of
from evmbilling.testing.merchant import ADMIN, open_merchant

if TYPE_CHECKING:
    from evmbilling.cli.demo.world import World

MINTED = 1_000_000_000
"""1,000 tokens of six decimals for each wallet."""
_COINS = 10**19


def start_chain(world: World) -> None:
    """Start Anvil on a free port, and give the wallets coins for gas."""
    world.node.start()
    for wallet in (world.wallet, world.second_wallet):
        world.node.set_balance(wallet.address, _COINS)


def verify_chain(world: World) -> Checks:
    """The node answers as Anvil on the wanted chain."""
    yield chain("chain id", expected=CHAIN_ID, found=world.chain.rpc.number("eth_chainId"))
    client = world.chain.rpc.call("web3_clientVersion")
    yield chain("client", expected="anvil", found=str(client).partition("/")[0].lower())


def place_token(world: World) -> None:
    """Deploy a token of six decimals and mint some for both wallets."""
    world.token = deploy_token(world.node, decimals=6, symbol="tUSD")
    for wallet in (world.wallet, world.second_wallet):
        transact(world.node, world.token, "mint", wallet.address, MINTED, sender=world.deployer)


def verify_token(world: World) -> Checks:
    """The packaged token is there, has six decimals, and the wallets have some."""
    token = world.token.address
    yield chain("code is the artefact", expected=True, found=world.chain.is_artefact("TestToken", token))
    yield chain("decimals", expected=6, found=world.chain.view("TestToken", token, "decimals"))
    for wallet in (world.wallet, world.second_wallet):
        yield chain(f"balance of {wallet.address}", expected=MINTED, found=world.chain.balance(token, wallet.address))


def place_contract(world: World) -> None:
    """Deploy the Checkout contract with one signer."""
    world.checkout = deploy_checkout(world.node, signers=(address_of(world.signer_key),))


def verify_contract(world: World) -> Checks:
    """The packaged contract is there and takes orders of our signer and of nobody else we know."""
    contract = world.checkout.address
    yield chain("code is the artefact", expected=True, found=world.chain.is_artefact("Checkout", contract))
    for name, key, expected in (("our signer", world.signer_key, 1), ("the second user", world.second_key, 0)):
        found = world.chain.view("Checkout", contract, "isSigner", address_of(key))
        yield chain(f"signs orders: {name}", expected=expected, found=found)
    yield chain("paused", expected=0, found=world.chain.view("Checkout", contract, "paused"))


def migrate(world: World) -> None:
    """Make the tables in a new SQLite file."""
    migrating.upgrade(world.database_url)


def verify_database(world: World) -> Checks:
    """The tables are what this version expects."""
    version = world.database.row("alembic_version")
    yield database("revision", expected=migrating.head(), found=version.get("version_num"))
    yield database("differences", expected=[], found=migrating.check(world.database_url))
    yield database(
        "integrity", expected="ok", found=world.database.query("PRAGMA integrity_check")[0]["integrity_check"]
    )


def fill_catalogue(world: World) -> None:
    """Create network, gateway, contract and plans through the administration."""
    world.merchant = open_merchant(
        world.engine,
        chain_id=CHAIN_ID,
        rpc_url=world.node.url,
        signer=world.signer_key,
        contract=world.checkout.address,
        token=world.token.address,
        treasury=world.treasury,
        start_block=world.checkout.block,
        credit_after=f"depth {DEPTH}",
    )


def verify_catalogue(world: World) -> Checks:
    """The rows are there, audited, and no secret stands in the file."""
    network = world.database.row("networks", name="local")
    yield database("network: chain id", expected=CHAIN_ID, found=network.get("chain_id"))
    yield database("network: credit after", expected=f"depth {DEPTH}", found=network.get("credit_after"))
    gateway = world.database.row("gateways", slug="main")
    yield database("gateway: networks", expected='["local"]', found=gateway.get("networks"))
    contract = world.database.row("contracts", slug="checkout")
    yield database("contract: address", expected=world.checkout.address, found=contract.get("address"))
    plan = world.database.row("plans", slug="pro")
    yield database("plan: interval", expected="month", found=plan.get("interval_unit"))
    yield from _audited(world)
    content = b"".join(path.read_bytes() for path in world.folder.iterdir())
    secrets = (bytes.fromhex(world.signer_key[2:]).hex().encode(), world.node.url.encode())
    yield database("secrets in the clear", expected=0, found=sum(secret in content for secret in secrets))


def _audited(world: World) -> Checks:
    wanted = ["network.create", "gateway.create", "contract.create", "plan.create", "plan.create"]
    rows = world.database.rows("audit", actor=ADMIN.user_id)
    yield Check(source="database", what="audit", expected=wanted, found=[row["action"] for row in rows])
