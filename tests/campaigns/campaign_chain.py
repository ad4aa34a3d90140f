"""A chain with many payers that changes its mind: Anvil, driven by a seed."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from evmbilling.domain.selling.offers import Checkout
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, transact
from evmbilling.testing.merchant import Merchant

MOST = 2**200
PAYERS = 8
DEEPEST = 5


class RestlessChain:
    """Payments of orders and stray transfers, mined, reorganised, dropped, spent twice.

    Attributes:
        reorgs: how many there were, by kind.

    """

    def __init__(self, node: AnvilNode, shop: Merchant, seed: random.Random) -> None:
        self._node = node
        self._shop = shop
        self._random = seed
        self._floor = 0
        self._order_of: dict[str, Checkout] = {}
        self._raw: dict[str, str] = {}
        self.reorgs: dict[str, int] = defaultdict(int)
        token = Deployed(name="TestToken", address=shop.token.token, block=0)
        for account in node.accounts[1 : PAYERS + 1]:
            transact(node, token, "mint", account.address, MOST, sender=account.address)
            transact(node, token, "approve", shop.contract, MOST, sender=account.address)
        self._floor = node.block_number

    def wallet(self, number: int) -> str:
        """Return the address that pays an order."""
        return self._node.accounts[1 + number % PAYERS].address

    def pay(self, offer: Checkout) -> None:
        """Put a payment into the pool."""
        assert offer.payload is not None
        sent = self._node.send(offer.payload.as_rpc(offer.order.wallet))
        self._order_of[sent] = offer
        self._raw[sent] = self._node.raw_transaction(sent)

    def stray(self, amount: int) -> None:
        """Put a transfer into the pool that no order explains."""
        data = "0xa9059cbb" + self._shop.treasury[2:].lower().rjust(64, "0") + f"{amount:064x}"
        call = {"from": self.wallet(amount), "to": self._shop.token.token, "data": data, "gas": "0x30d40"}
        sent = self._node.send(call)
        self._raw[sent] = self._node.raw_transaction(sent)

    def mine(self, blocks: int = 1) -> None:
        self._node.mine(blocks)

    def reorganise(self) -> list[Checkout]:
        """Reorganise a little, some way or other; return the orders whose payment was spent elsewhere."""
        head = self._node.block_number
        depth = self._random.randint(1, min(DEEPEST, head - self._floor))
        kind = self._random.choice(("drop", "reinclude", "reorder", "double_spend"))
        content = [
            (transaction, offset)
            for offset in range(depth)
            for transaction in (self._node.block(head - depth + 1 + offset, full=True) or {})["transactions"]
        ]
        for transaction, _ in content:  # what spent a payment's nonce elsewhere is one of them, too
            self._raw.setdefault(transaction["hash"], self._node.raw_transaction(transaction["hash"]))
        self.reorgs[kind] += 1
        if kind == "drop":
            self._node.reorg(depth)
            for transaction, _ in content:  # in the order in which their senders numbered them
                self._node.send_raw(self._raw[transaction["hash"]])
            return []
        if kind == "reorder":
            content = self._shuffled(content, depth - 1)
        paying = [place for place, (transaction, _) in enumerate(content) if transaction["hash"] in self._order_of]
        victims = self._random.sample(paying, min(1, len(paying))) if kind == "double_spend" else []
        given: list[Any] = [(self._raw[transaction["hash"]], offset) for transaction, offset in content]
        for place in victims:
            transaction, offset = content[place]
            attacker = self._node.accounts[0].address
            call = {"from": transaction["from"], "to": attacker, "value": "0x1", "nonce": transaction["nonce"]}
            given[place] = (call, offset)
        self._node.reorg(depth, given)
        spent = [content[place][0]["hash"] for place in victims]
        return [self._order_of[sent] for sent in spent]

    def _shuffled(self, content: list[tuple[Any, int]], offset: int) -> list[tuple[Any, int]]:
        """Mix the transactions of different senders; those of one keep their order."""
        by_sender: dict[str, list[Any]] = defaultdict(list)
        for transaction, _ in content:
            by_sender[transaction["from"]].append(transaction)
        turns = [sender for sender, sent in by_sender.items() for _ in sent]
        self._random.shuffle(turns)
        return [(by_sender[sender].pop(0), offset) for sender in turns]
