"""A contract as somebody else would write it, what is bound of it, and bindings that do not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.selling.orders import Order
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.conformance.provider.ground import PRICE, Ground, MakeProvider
from evmbilling.testing.deploy import deploy

STRANGER = checksum(b"\x66" * 20)
IMPLEMENTATION = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
"""Where a proxy keeps the address of what stands behind it (ERC-1967)."""
ALLOWED = {"spender": "{contract}", "amount": "{amount}"}
JOIN: Mapping[str, Any] = {
    "method": "join((address,uint96,string)[],(address,uint64),uint256,string)",
    "args": [
        [{"member": "{beneficiary}", "units": "{quantity}", "note": "{plan}"}],
        {"vault": "{treasury}", "until": "{period_end}"},
        "{amount}",
        "monthly",
    ],
    "approve": ALLOWED,
}
TAG: Mapping[str, Any] = {"method": "tag", "args": ["{reference}", "{treasury}", "{amount}"], "approve": ALLOWED}
PERMIT: Mapping[str, Any] = {
    "method": "joinWithPermit",
    "args": [
        *({"vault": "{treasury}", "until": "{period_end}"}, "{amount}", "{deadline}"),
        *("{permit_v}", "{permit_r}", "{permit_s}"),
    ],
    "approve": ALLOWED,
}
JOINED: Mapping[str, Any] = {
    "event": "Joined",
    "means": "paid",
    "payer": "buyer",
    "match": "payer",
    "money": "transfer",
}
TAGGED: Mapping[str, Any] = {
    "event": "Tagged(bytes32,uint256,address)",
    "means": "paid",
    "reference": "tag",
    "amount": "amount",
    "treasury": "vault",
    "money": "transfer",
}
MISFITS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no such method": ({"mint_method": {**JOIN, "method": "jion"}}, "mint_method"),
    "a name that two methods have": ({"mint_method": {**JOIN, "method": "join"}}, "mint_method"),
    "too few arguments": ({"mint_method": {**TAG, "args": TAG["args"][:2]}}, "mint_method.args"),
    "a value of another type": ({"mint_method": {**TAG, "args": ["x", *TAG["args"][1:]]}}, "mint_method.args[0]"),
    "a member that is not there": (
        {"mint_method": {**JOIN, "args": [JOIN["args"][0], {"vault": "{treasury}"}, *JOIN["args"][2:]]}},
        "mint_method.args[1]",
    ),
    "no such event": ({"events": [{**JOINED, "event": "Jioned"}]}, "events[0]"),
    "a name that two events have": ({"events": [{**TAGGED, "event": "Tagged"}]}, "events[0]"),
    "no such field": ({"events": [{**JOINED, "payer": "byuer"}]}, "events[0].payer"),
    "a field of another type": ({"events": [{**JOINED, "payer": "terms.until"}]}, "events[0].payer"),
    "money that nothing tells": ({"events": [{**JOINED, "money": "event"}]}, "events[0]"),
}
"""Bindings that do not fit the contract, and where."""


class Club(Ground):
    """With a contract as somebody else would write it: overloads, tuples in arrays, an event without a reference."""

    def __init__(self, node: AnvilNode, make: MakeProvider, port: type) -> None:
        super().__init__(node, make, port)
        self.passes = deploy(node, "ClubPass", self.token.address, 0)

    def bound(self, **changes: Any) -> PaymentContract:
        """Bind the contract; what is given as data is written as the configuration keeps it."""
        given = {"mint_method": JOIN, "events": [JOINED]} | changes
        texts: dict[str, Any] = {
            name: value if isinstance(value, str | None) else json.dumps(value) for name, value in given.items()
        }
        full = PaymentContract(
            slug="theirs",
            network=self.network.name,
            chain_id=self.node.chain_id,
            address=self.passes.address,
            kind="mapped",
            abi=json.dumps(artifact("ClubPass").abi),
            burn_method=None,
        )
        return attrs.evolve(full, **texts)

    def asked(self, number: int = 1, **changes: Any) -> Order:
        return self.order(number, rail="call", contract=self.passes.address, **changes)

    def allow(self, amount: int = 20 * PRICE) -> None:
        self.act(self.token, "approve", self.passes.address, amount, sender=self.payer.address)

    def pay(self, order: Order, contract: PaymentContract) -> None:
        """Pay an order by the call that the provider makes of it."""
        payload = self.provider.payload(self.provider.with_call(order, contract))
        assert payload is not None
        assert self.send(payload, order.wallet), "the call failed on chain"

    def seen(self, contract: PaymentContract) -> list[Any]:
        """Return what the logs of the newest block mean."""
        watch = self.provider.watch([contract], tokens=[self.token.address], treasuries=[self.treasury])
        found = [self.provider.decode(log, contract) for log in self.logs(watch)]
        return [one for one in found if one is not None]


PAID: Mapping[str, Any] = {"event": "Numbered", "means": "paid", "match": "payer", "money": "transfer"}
NUMBERED: Mapping[str, Any] = {**PAID, "payer": "buyer", "token_id": "number"}


def numbered_abi() -> str:
    """Return the contract's ABI with a method and an event that go by the number of a membership."""
    kept = [entry for entry in artifact("ClubPass").abi if entry.get("name") not in {"tag", "Tagged"}]
    inputs = [{"name": name, "type": kind} for name, kind in (("n", "uint256"), ("v", "address"), ("p", "uint256"))]
    tag = {"type": "function", "name": "tag", "stateMutability": "nonpayable", "inputs": inputs, "outputs": []}
    told = [{"name": "number", "type": "uint256", "indexed": True}, {"name": "buyer", "type": "address"}]
    return json.dumps([*kept, tag, {"type": "event", "name": "Numbered", "anonymous": False, "inputs": told}])
