"""Balances of a real node, and a balance that was written into a token's storage."""

from __future__ import annotations

import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.system import SystemClock
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.errors import RpcRefused
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import ADMIN, anvil_merchant, repeatable_secrets


@pytest.fixture
def engine():
    made = BillingEngine(storage=MemoryStorage(SystemClock()), secrets=repeatable_secrets())
    yield made
    made.close()


@pytest.fixture
def merchant(engine, anvil):
    return anvil_merchant(engine, anvil)


def source_of(engine, network):
    stored = next(n for n in engine.admin(ADMIN).networks() if n.name == network)
    return engine._ports.providers["evm"].chain(stored)


def test_a_node_says_balances_of_token_and_coin_after_a_block(engine, merchant, anvil):
    source = source_of(engine, merchant.network)
    at = anvil.block_number
    assert source.balance(merchant.token.token, merchant.treasury, at) == 0
    anvil.set_balance(merchant.treasury, 7)
    anvil.mine()
    assert source.balance(NATIVE_COIN, merchant.treasury, anvil.block_number) == 7
    with pytest.raises(RpcRefused):
        source.balance(merchant.treasury, merchant.treasury, anvil.block_number)


@pytest.mark.fault("T07")
def test_t07_a_balance_written_into_storage_is_an_unexplained_delta(engine, merchant, anvil):
    anvil.mine()
    engine.read_chain(merchant.network)
    assert [d.code for d in engine.verify().differences] == []
    anvil.rpc("anvil_dealERC20", merchant.treasury, merchant.token.token, hex(123))
    anvil.mine()
    engine.read_chain(merchant.network)
    [difference] = engine.verify().differences
    assert (difference.code, difference.expected, difference.found) == ("unexplained_delta", "0", "123")
    assert engine.run_intake().taken == 0
