"""After a restore, what the wallet has signed and no block holds yet: waited for where it is seen, fenced off else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import pytest
import sqlalchemy as sa
from relay_bench import HOUR, RELAYER, Relay, both
from test_relayed_refunds import OPS, proved_refund
from test_relayer_restored import PRICE, again, paid_in_token, returned, settle

from databases import Databases
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.transmitter import EvmTransmitter
from evmbilling.adapters.sqlalchemy.copying import copy_database
from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.sending.fences import is_fence
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.domain.states import RefundStatus
from evmbilling.errors import ConfigurationError, Conflict, InputError, NotFound, PermissionDenied, UnknownNetwork
from evmbilling.testing.merchant import ADMIN
from evmbilling.testing.rpc_lies import PoolCount, PoolUncounted, RpcError
from evmbilling.testing.rpc_proxy import RpcProxy

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

Restore = Callable[[], Relay]


@pytest.fixture
def forgotten(open_relay, url: str, databases: Databases, request, anvil) -> Iterator[tuple[str, Restore]]:
    """A refund that was signed behind an errand after the backup, and how to go on with the backup's rows."""
    relay = open_relay()
    refund_id = proved_refund(relay, paid_in_token(relay))
    relay.engine.sending(OPS).send_refund(refund_id)
    relay.close()
    name = "postgres" if url.startswith("postgres") else "sqlite"
    with databases.lend(name) as backup:
        rested(url)
        copy_database(url, backup)
        relay = again(open_relay, relay.shop)
        # By its id the errand is the first in the queue: a charge that is not in the backup.
        relay.errand(0, value=1, not_after=relay.clock.now() + 24 * HOUR)
        relay.relay()
        assert relay.now(0).status is T.SUBMITTED
        assert relay.chain_nonce() + 2 == pooled(relay)

        def restore() -> Relay:
            relay.engine.close()
            opened = Relay(anvil, backup, relay.clock, fresh=False)
            opened.shop = attrs.evolve(relay.shop, engine=opened.engine)
            request.addfinalizer(opened.close)
            return opened

        yield refund_id, restore


def rested(url: str) -> None:
    """Let a minute pass, in which the leases of what was stopped run out."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM evmbilling_leases")
    engine.dispose()


def pooled(relay: Relay) -> int:
    return int(relay.node.rpc("eth_getTransactionCount", RELAYER.address, "pending"), 16)


def go_on(relay: Relay, rounds: int = 3) -> None:
    for _ in range(rounds):
        relay.relay(seconds=700)
        relay.node.mine(1)


@both
def test_what_waits_in_the_pool_is_waited_for(forgotten):
    """The refund would have got the nonce of the errand before it, and both of its transactions would be mined."""
    refund_id, restore = forgotten
    relay = restore()
    relay.relay()
    (waits,) = relay.engine.sending(OPS).transmissions()
    assert (waits.status, waits.failure_reason, waits.nonce) == (T.QUEUED, "in_pool", None)
    assert returned(relay) == 0
    go_on(relay)
    assert returned(relay) == PRICE
    settle(relay)
    go_on(relay)
    assert returned(relay) == PRICE
    assert relay.engine.refunds(OPS).refund(refund_id).status is RefundStatus.DONE
    assert {one.status for one in relay.engine.sending(OPS).transmissions()} <= {T.CANCELLED, T.FAILED}
    assert [d.code for d in relay.engine.verify().differences if d.code != "unproved"] == []


@both
@pytest.mark.parametrize("old_is_mined", [True, False])
def test_what_no_node_shows_is_fenced_off(forgotten, old_is_mined):
    """The node has lost its pool; what somebody else kept comes while the nonces are used up, or too late."""
    refund_id, restore = forgotten
    relay = restore()
    signed = [relay.node.raw_transaction(tx) for tx in kept(relay)]
    relay.node.drop_all()
    posts = relay.engine.sending(ADMIN).fence("main", "local", count=4)
    assert len(posts) == 4
    if old_is_mined:
        for raw in signed:
            relay.node.send_raw(raw)
        relay.node.mine(1)
        settle(relay)
    for _ in range(3):
        relay.relay(seconds=700)
    refund = next(one for one in relay.engine.sending(OPS).transmissions() if not is_fence(one))
    if refund.status is T.QUEUED:
        assert refund.failure_reason == "awaits_fence"
    relay.node.mine(1)
    for raw in () if old_is_mined else signed:
        with pytest.raises(Exception, match="nonce too low"):
            relay.node.send_raw(raw)
    for _ in range(3):
        relay.node.mine(25)
        settle(relay)
        relay.relay(seconds=700)
    settle(relay)
    assert returned(relay) == PRICE
    assert relay.engine.refunds(OPS).refund(refund_id).status is RefundStatus.DONE
    assert not relay.engine.sending(OPS).transmissions(states=sorted({T.QUEUED, T.SIGNED, T.SUBMITTED, T.UNKNOWN}))
    assert {one.status for one in relay.engine.sending(OPS).transmissions() if is_fence(one)} == {T.DONE}


def kept(relay: Relay) -> list[str]:
    """Hashes of what the pool holds of the wallet, in the order of their nonces."""
    content = relay.node.rpc("txpool_content")["pending"]
    own = next(held for sender, held in content.items() if sender.lower() == RELAYER.address.lower())
    return [own[nonce]["hash"] for nonce in sorted(own, key=int)]


def test_every_node_is_asked_what_it_holds(relay: Relay):
    """One that knows no pending state, one that lies, one that holds less: the most of what can be holds."""
    relay.errand()
    relay.relay()
    relay.node.mine()
    said = {"silent": RpcError(-32602, "no pending state"), "liar": PoolCount(-1), "more": PoolCount(2)}
    with ExitStack() as stack:
        proxies = [stack.enter_context(RpcProxy(relay.node.url)) for _ in range(4)]
        for proxy, lie in zip(proxies, said.values(), strict=False):
            proxy.add(lie, methods=["eth_getTransactionCount"])
        first = relay.chain_nonce()
        for urls, counted in ((proxies, first + 2), (proxies[:2], None), ([*proxies[:2], proxies[3]], first)):
            rpc = JsonRpc(chain_id=relay.node.chain_id, urls=[proxy.url for proxy in urls])
            assert EvmTransmitter(rpc, signer_for=lambda _: None).pooled(RELAYER.address) == counted
            rpc.close()


def test_a_node_that_invents_a_pool_is_named_and_ends_no_later_than_what_waits(relay: Relay):
    """What it says cannot be told from the truth: what waits fails without a nonce when its time is over."""
    with RpcProxy(relay.node.url) as proxy:
        network = relay.engine.admin(ADMIN).networks()[0]
        relay.engine.admin(ADMIN).update_network("local", version=network.version, rpc_urls=[proxy.url])
        proxy.add(PoolCount(1), methods=["eth_getTransactionCount"])
        relay.errand()
        relay.relay()
        assert (relay.now().status, relay.now().failure_reason) == (T.QUEUED, "in_pool")
        relay.relay(seconds=7200)
        assert (relay.now().status, relay.now().failure_reason) == (T.FAILED, "in_pool")
        proxy.heal()
        proxy.add(PoolCount(-1), methods=["eth_getTransactionCount"])
        relay.errand(2, not_after=relay.clock.now() + HOUR)
        relay.relay()
        relay.node.mine()
        relay.errand(3, not_after=relay.clock.now() + HOUR)
        relay.relay()
        assert relay.now(3).status is T.SUBMITTED, "a pool of less than what is mined is none"


def test_a_node_that_counts_no_pool_costs_a_block_and_no_minutes(relay: Relay):
    """What waits while something of ours is in the pool is sent when that is mined, however long that took."""
    with RpcProxy(relay.node.url) as proxy:
        network = relay.engine.admin(ADMIN).networks()[0]
        relay.engine.admin(ADMIN).update_network("local", version=network.version, rpc_urls=[proxy.url])
        proxy.add(PoolUncounted(), methods=["eth_getTransactionCount"])
        relay.errand()
        relay.relay()
        assert relay.now().status is T.SUBMITTED
        for number in range(2, 6):
            relay.errand(number)
        for _ in range(20):
            relay.relay(seconds=15)
        assert {relay.now(number).failure_reason for number in range(2, 6)} == {"in_pool"}
        relay.node.mine()
        relay.relay(seconds=30)
        assert {relay.now(number).status for number in range(2, 6)} == {T.SUBMITTED}
        relay.node.mine()
        assert relay.held() >= sum(range(1, 6))


def test_a_fence_is_asked_for_by_finance_for_a_relayer_that_is_here(relay: Relay):
    sending = relay.engine.sending(OPS)
    with pytest.raises(PermissionDenied):
        relay.engine.sending(Actor("alice", frozenset())).fence("main", "local")
    with pytest.raises(NotFound):
        sending.fence("other", "local")
    with pytest.raises(UnknownNetwork):
        sending.fence("main", "other")
    for count in (0, 1001):
        with pytest.raises(InputError, match=r"from 1 to 1000$"):
            sending.fence("main", "local", count=count)
    assert len(sending.fence("main", "local")) == 64
    with pytest.raises(Conflict):
        sending.fence("main", "local")
    told = [e.action for e in relay.engine.admin(Actor("a", frozenset({Role.BILLING_ADMIN}))).audit()]
    assert "transmission.fence" in told
    relay.engine.admin(ADMIN).update_gateway("main", version=2, relayer=None)
    with pytest.raises(ConfigurationError):
        sending.fence("main", "local")


def test_what_was_queued_before_goes_after_the_fence(relay: Relay):
    relay.errand(1, not_after=relay.clock.now() + 24 * HOUR)
    sending = relay.engine.sending(OPS)
    sending.fence("main", "local", count=3)
    first = relay.chain_nonce()
    relay.relay()
    assert (relay.now().status, relay.now().failure_reason) == (T.QUEUED, "awaits_fence")
    fence = [one for one in sending.transmissions() if is_fence(one)]
    assert [one.nonce for one in fence] == [first, first + 1, first + 2]
    relay.node.mine(25)
    settle(relay)
    relay.relay(seconds=700)
    relay.relay(seconds=700)
    assert relay.now().nonce == first + 3
    assert {one.status for one in sending.transmissions() if is_fence(one)} == {T.DONE}
    assert relay.now().status in OPEN_TRANSMISSIONS
