"""The catalogue of events: what each type means and says; :mod:`evmbilling.domain.messages.event_flows` says when.

``docs/reference/events.md`` is written from here, and tests run every flow against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from evmbilling.domain.messages.events import EventType


@frozen(kw_only=True)
class EventEntry:
    """One type of event.

    Attributes:
        meaning: when it is published.
        aggregate: what ``seq`` counts within.
        fields: the names that ``data`` always has, and what they mean.
        sometimes: names that ``data`` has in some cases.

    """

    meaning: str
    aggregate: str
    fields: Mapping[str, str]
    sometimes: Mapping[str, str] = {}


_CUSTOMER: Final = "customer:<user_id>"
_USER = {"user_id": "the host's opaque id of the customer"}
_ASSET = {
    "token": "address of the token; 0xEeee… for the chain's own coin",
    "symbol": "of the asset",
    "decimals": "of the asset: how many digits of an amount stand behind the point",
}
_ORDER = _USER | {
    "ledger_id": "the order",
    "status": "of the order, after this event",
    "plan": "slug",
    "product": "`type` or `type/id`",
    "subscription_id": "null for a thing that is sold once",
    "network": "name",
    **_ASSET,
    "amount": "what the order asks for: base units, as text",
}
_RECEIPT = {
    "receipt_id": "the movement of money",
    "tx_hash": "of its transaction",
    "received": "what arrived: base units, as text",
}
_DUE = {
    "period": "index of the period that the order pays, from 0",
    "due_at": "when it has, or had, to be paid: where that period begins",
    "deadline": "until when the order can be paid",
    "attempts": "how often a mandate was charged for it",
    "reason": "of the last charge that failed, or null",
}
_SUBSCRIPTION = _USER | {
    "subscription_id": "the subscription",
    "product": "`type` or `type/id`",
    "plan": "slug",
    "paid_until": "end of what is paid, or null",
}
_TERMS = {
    "plan": "slug",
    "version": "of the plan",
    "quantity": "pieces",
    "interval": "how often it is paid",
}
_DEBT = _SUBSCRIPTION | {
    "chain_id": "of the network of what is owed",
    **_ASSET,
    "amount": "what is owed in the asset of the oldest debt: base units, as text",
    "periods": "how many periods are owed",
    "ledger_id": "the order of the oldest",
    "due_at": "when that one was due",
    "state": "of the plan's dunning policy, or null",
}
_REFUND = {
    "refund_id": "the refund",
    "ledger_id": "the order it gives back; null for money that no order explains",
    "receipt_id": "the receipt it gives back, or null",
    "user_id": "the customer, or null",
    "status": "of the refund, after this event",
    "network": "name",
    **_ASSET,
    "amount": "what was given back: base units, as text",
    "address": "where it went",
    "tx_hash": "of the transaction that carried it out, or null",
    "at": "when billing wrote it",
}
_MANDATE = _USER | {
    "mandate_id": "the mandate",
    "status": "of the mandate, after this event",
    "subscription_id": "what may be charged for",
    "plan": "slug of the plan that the payer agreed to",
    "network": "name",
    **_ASSET,
    "wallet": "the payer's address",
    "via": "`allowance` or `permit2`",
    "charge_cap": "what one charge may take: base units, as text",
    "expires_at": "when it ends by itself",
    "reason": "`by_user`, `by_us` or `replaced` for one that was cancelled, else null",
}

_MEMBERSHIP = _USER | {
    "refund_id": "the refund with which it ended",
    "ledger_id": "the order that was given back",
    "subscription_id": "the subscription",
    "product": "`type` or `type/id`",
    "plan": "slug",
    "network": "name",
    "contract": "that holds the membership token, or null where there is none",
    "token_id": "of the membership token, as text: the number of the subscription's id, or the contract's own; or null",
    "burn": "`ended` where no token is, `due` until it is burned, `confirming`, `done`",
    "tx_hash": "of the burn, or null",
}

CATALOGUE: Final[Mapping[EventType, EventEntry]] = {
    EventType.ORDER_OPENED: EventEntry(
        meaning="An offer was made and can be paid.", aggregate=_CUSTOMER, fields=_ORDER
    ),
    EventType.ORDER_SUPERSEDED: EventEntry(
        meaning="An offer is no longer made, because another one took its place. It stays watched.",
        aggregate=_CUSTOMER,
        fields=_ORDER,
    ),
    EventType.ORDER_EXPIRED: EventEntry(
        meaning="An offer's deadline has passed on its own chain. It stays watched.", aggregate=_CUSTOMER, fields=_ORDER
    ),
    EventType.ORDER_CANCELLED: EventEntry(
        meaning="An offer is no longer made: another order paid its period, or its subscription ended. It stays "
        "watched.",
        aggregate=_CUSTOMER,
        fields=_ORDER,
    ),
    EventType.ORDER_FORGIVEN: EventEntry(
        meaning="A period that was owed need not be paid any more: the plan forgives it, or the subscription ended.",
        aggregate=_CUSTOMER,
        fields=_ORDER | {"period": "index of the period, from 0"},
    ),
    EventType.PAYMENT_DUE: EventEntry(
        meaning="A reminder: a renewal is due in some days, or has been for some. By the plan's schedule.",
        aggregate=_CUSTOMER,
        fields=_ORDER | _DUE | {"days": "since it was due; negative before"},
    ),
    EventType.PAYMENT_FAILED: EventEntry(
        meaning="A mandate was charged, and the charge failed.",
        aggregate=_CUSTOMER,
        fields=_ORDER | _DUE | {"attempt": "which charge it was"},
    ),
    EventType.PAYMENT_SEEN: EventEntry(
        meaning="A payment of the order is in a block, but not deep enough to count.",
        aggregate=_CUSTOMER,
        fields=_ORDER | _RECEIPT,
    ),
    EventType.PAYMENT_CONFIRMED: EventEntry(
        meaning="The order is paid. Published again when a reversed payment is mined again.",
        aggregate=_CUSTOMER,
        fields=_ORDER,
    ),
    EventType.PAYMENT_FINAL: EventEntry(
        meaning="The payment is so deep that it is no longer doubted.", aggregate=_CUSTOMER, fields=_ORDER
    ),
    EventType.PAYMENT_REVERSED: EventEntry(
        meaning="A reorganisation took back the block of a payment that counted. People are told only if it is not "
        "restored within a few minutes.",
        aggregate=_CUSTOMER,
        fields=_ORDER,
    ),
    EventType.PAYMENT_UNMATCHED: EventEntry(
        meaning="Money arrived that does not pay its order as it is.",
        aggregate=_CUSTOMER,
        fields=_USER
        | _ASSET
        | _RECEIPT
        | {"allocation": "what it counts for: `credit` or `suspense`", "reason": "a word, such as `late`"},
        sometimes={name: text for name, text in _ORDER.items() if name not in _USER | _ASSET}
        | {"chain_id": "of the network, when no order is known"},
    ),
    EventType.PAYMENT_UNCLAIMED: EventEntry(
        meaning="Money arrived that no order and no customer explains. It waits in the finance queue; told once.",
        aggregate="receipt:<receipt_id>",
        fields={"chain_id": "of the network"}
        | _ASSET
        | _RECEIPT
        | {
            "payer": "the paying address",
            "reason": "a word, such as `no_order` or `unknown_payer`",
        },
    ),
    EventType.REFUND_DONE: EventEntry(
        meaning="Money was given back, and the chain says so.", aggregate="refund:<refund_id>", fields=_REFUND
    ),
    EventType.REFUND_REVERSED: EventEntry(
        meaning="A reorganisation took back the block of a refund.", aggregate="refund:<refund_id>", fields=_REFUND
    ),
    EventType.REFUND_NOT_MINED: EventEntry(
        meaning="A transaction that a person named for a refund in the coin is in no block a day later. It is looked "
        "for ever more rarely from then on, once a day in the end: name it again when it was sent after all, or take "
        "it back and name the right one.",
        aggregate="transaction:<chain_id>:<tx_hash>",
        fields={
            "refund_id": "the refund",
            "network": "name",
            "chain_id": "EIP-155 id",
            "tx_hash": "of the transaction that nobody has mined",
            "named_at": "when it was named",
        },
    ),
    EventType.MANDATE_GIVEN: EventEntry(
        meaning="A payer allows charges to be pulled. Published again when a reorganisation takes back a revocation.",
        aggregate=_CUSTOMER,
        fields=_MANDATE,
    ),
    EventType.MANDATE_REVOKED: EventEntry(
        meaning="The payer ended a mandate on chain. Nothing is charged under it any more.",
        aggregate=_CUSTOMER,
        fields=_MANDATE,
    ),
    EventType.MANDATE_CANCELLED: EventEntry(
        meaning="A mandate that was given is not used any more: the user or we ended it, or another took its place.",
        aggregate=_CUSTOMER,
        fields=_MANDATE,
    ),
    EventType.MEMBERSHIP_ENDED: EventEntry(
        meaning="A membership has ended with a refund, or when the last month was over that was not given back. While "
        "`burn` is `due`, the operator of the contract has to burn the token.",
        aggregate=_CUSTOMER,
        fields=_MEMBERSHIP,
    ),
    EventType.MEMBERSHIP_BURNED: EventEntry(
        meaning="The token of a membership that ended with a refund was burned, and the chain says so.",
        aggregate=_CUSTOMER,
        fields=_MEMBERSHIP,
    ),
    EventType.MEMBERSHIP_BURN_REVERSED: EventEntry(
        meaning="A reorganisation took back the block in which a membership token was burned. The subscription stays "
        "over.",
        aggregate=_CUSTOMER,
        fields=_MEMBERSHIP,
    ),
    EventType.PLAN_CHANGED: EventEntry(
        meaning="The plan that a user is entitled to changed. Quota backends are told of it.",
        aggregate=_CUSTOMER,
        fields=_USER
        | {
            "subscription_id": "null for a thing that is sold once",
            "product": "`type` or `type/id`",
            "old_plan": "slug, or null for none",
            "new_plan": "slug, or null for none",
            "limits": "whole numbers by the name of the limit, of the new plan; empty for none",
            "effective_at": "from when",
            "cause": "`payment`, `reversal`, `change`, `end`, `pause` or `admin`",
        },
    ),
    EventType.SUBSCRIPTION_MOVED: EventEntry(
        meaning="A subscription has another status.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION | {"before": "status", "after": "status"},
    ),
    EventType.SUBSCRIPTION_PAST_DUE: EventEntry(
        meaning="Something is owed: when it falls past due, and in each state of dunning that tells.",
        aggregate=_CUSTOMER,
        fields=_DEBT,
    ),
    EventType.SUBSCRIPTION_SUSPENDED: EventEntry(
        meaning="Its debt has come so far that it is suspended. A payment of what is owed ends that at once.",
        aggregate=_CUSTOMER,
        fields=_DEBT,
    ),
    EventType.SUBSCRIPTION_ENDED: EventEntry(
        meaning="A subscription is over.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION
        | {
            "reason": "a word, such as `cancelled`, `period_end`, `dunning:<state>`, `refunded`, `lapsed`, `gave_way` "
            "where another one took its place; null when nobody said why"
        },
    ),
    EventType.SUBSCRIPTION_LEAVING: EventEntry(
        meaning="It will end at the end of what is paid.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION | {"ends_at": "when"},
    ),
    EventType.SUBSCRIPTION_STAYING: EventEntry(
        meaning="It will not end after all.", aggregate=_CUSTOMER, fields=_SUBSCRIPTION
    ),
    EventType.SUBSCRIPTION_CHANGED: EventEntry(
        meaning="Other terms hold: another plan, version, quantity or interval. Access says so too.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION
        | {
            f"{when}_{name}": f"{meaning}, {word}"
            for when, word in (("old", "until now"), ("new", "from now on"))
            for name, meaning in _TERMS.items()
        },
    ),
    EventType.CHANGE_SCHEDULED: EventEntry(
        meaning="A change of terms was decided and waits: for its order to be paid, or for a period to begin.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION
        | {f"new_{name}": f"{meaning}, once it holds" for name, meaning in _TERMS.items()}
        | {
            "timing": "`now` or `next_period`",
            "ledger_id": "the order that has to be paid for it now, or null",
            "starts_at": "when it begins if it is paid in time, or null for at the payment",
        },
    ),
    EventType.CHANGE_WITHDRAWN: EventEntry(
        meaning="A change that waited was dropped; nothing changes.", aggregate=_CUSTOMER, fields=_SUBSCRIPTION
    ),
    EventType.SUBSCRIPTION_ADOPTED: EventEntry(
        meaning="An existing subscriber was imported: paid elsewhere until `paid_until`, from then on here.",
        aggregate=_CUSTOMER,
        fields=_SUBSCRIPTION | {"external_id": "their name where they came from"},
    ),
    EventType.SCHEDULER_HALTED: EventEntry(
        meaning="Nothing falls due: the clock of a machine contradicts the database's, or the chains. Told once a day.",
        aggregate="scheduler:<day>",
        fields={
            "reason": "`clock_ahead` or `clock_behind`",
            "clock": "what the machine says",
            "database": "what the database says",
        },
    ),
    EventType.WEBHOOK_CONFLICTED: EventEntry(
        meaning="A source signed two different bodies under one id. The first stands, the other was refused with 409; "
        "told once for each id (in the subject, `<source>@<chain_id>` where relays of two networks under one slug use "
        "it). Neither moves money, but somebody should look at the source.",
        aggregate="webhook:<source>:<id>",
        fields={
            "source": "slug of the contract, or `relay`",
            "webhook_id": "under which both came",
            "first_digest": "SHA-256 of the body that stands",
            "first_tx_hash": "of the transaction that it names",
            "received_at": "when it came",
            "other_digest": "SHA-256 of the body that was refused",
            "other_chain_id": "EIP-155 id that it names",
            "other_tx_hash": "of the transaction that it names",
        },
    ),
    EventType.NETWORK_HALTED: EventEntry(
        meaning="Reading a network stopped: what was irreversible changed. A person has to resume it.",
        aggregate="network:<name>",
        fields={"network": "name", "chain_id": "EIP-155", "reason": "a word", "at_block": "height"},
    ),
    EventType.NETWORK_RESUMED: EventEntry(
        meaning="A person accepted the branch on which a halted network stands now. It is read again from the last "
        "block that both branches have, and what was disputed is judged anew.",
        aggregate="network:<name>",
        fields={
            "network": "name",
            "chain_id": "EIP-155",
            "accepted": "hash of the block that was accepted",
            "block": "its height",
            "read_from": "height of the first block that is read again",
        },
    ),
    EventType.ENDPOINT_TESTED: EventEntry(
        meaning="An administrator tests a webhook endpoint; it goes to that endpoint alone.",
        aggregate="endpoint:<endpoint_id>",
        fields={"endpoint_id": "the endpoint"},
    ),
}
