"""Applying decisions: each class has one place here, and the list of classes is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, assert_never, get_args

from evmbilling.adapters.sqlalchemy.rows import (
    billing,
    books,
    catalogue,
    chain,
    mandates,
    messages,
    money,
    sending,
    subscriptions,
)
from evmbilling.adapters.sqlalchemy.writing.evidence import EvidenceDecision, EvidenceWriter
from evmbilling.adapters.sqlalchemy.writing.figures import FigureDecision, FigureWriter
from evmbilling.adapters.sqlalchemy.writing.grouping import grouped
from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import owned_changes
from evmbilling.domain.mandates.charges import StoreCharge
from evmbilling.domain.selling.pay_links import OpenPayLink
from evmbilling.errors import StorageError, UnknownPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evmbilling.domain.books.ledger import Entry
    from evmbilling.domain.people.customers import Customer

CatalogueDecision = d.SaveNetwork | d.SaveGateway | d.SaveContract | d.AddPlanVersion | d.ArchivePlan
EffectDecision = (
    d.StoreCustomer
    | d.ConfirmWallet
    | d.OpenOrder
    | d.StoreOrder
    | d.BindKey
    | d.StoreEntitlement
    | d.StoreReceipt
    | d.AppendEntry
    | d.StoreRefund
    | d.StoreMandate
    | d.Publish
    | d.RecordAudit
    | d.StoreItem
)
SubscriptionDecision = d.OpenSubscription | d.StoreSubscription | d.RecordChange | StoreCharge | OpenPayLink
BookDecision = d.PostEntry | d.WatchTreasury | d.StoreMovement | d.StoreQueueItem | d.AddSeal
MessageDecision = (
    d.StoreInboxItem | d.SaveEndpoint | d.OpenDeliveries | d.StoreDelivery | d.OpenChallenge | d.EraseCustomer
)
SendingDecision = d.StoreTransmission | d.RecordSigned | d.StoreDeposit | d.StoreProof


class Applier(EvidenceWriter, FigureWriter):
    """Implements ``apply`` of :class:`evmbilling.ports.storage.Unit`."""

    def apply(self, decisions: Sequence[d.Decision]) -> None:
        """Write the decisions, all or none: after an error the unit answers nothing and is not committed.

        So no savepoint is needed, and a list costs no round trips beyond its statements; on PostgreSQL changes of
        single rows share one.
        """
        self._begin_writing()
        self._foreseen.clear()
        try:
            for kind, group in grouped(decisions):
                self._families[kind](self, group[0], group)
            self._send()
        except BaseException:
            self._closed = "a write failed in this unit; nothing of it is kept"
            raise

    def _apply_catalogue(self, first: CatalogueDecision, group: Sequence[Any]) -> None:
        changes = self._statements.changes
        match first:
            case d.SaveNetwork():
                self._save("networks", [(e.network, catalogue.network_values(e.network)) for e in group])
            case d.SaveGateway():
                self._save("gateways", [(e.gateway, catalogue.gateway_values(e.gateway)) for e in group])
            case d.SaveContract():
                self._save("contracts", [(e.contract, catalogue.contract_values(e.contract)) for e in group])
            case d.AddPlanVersion():
                self._change(changes.inserts["plans"], [catalogue.plan_values(e.plan) for e in group])
            case d.ArchivePlan():
                for decision in group:
                    self._archive(decision)
            case _:
                assert_never(first)

    def _apply_effects(self, first: EffectDecision, group: Sequence[Any]) -> None:  # noqa: C901, PLR0912  - one flat table
        changes = self._statements.changes
        match first:
            case d.StoreCustomer():
                self._store(changes.customer, [billing.customer_values(e.customer) for e in group], "customer")
            case d.ConfirmWallet():
                self._change(changes.wallet, [billing.wallet_values(e.wallet) for e in group])
            case d.OpenOrder():
                self._change(changes.inserts["payment_transactions"], [billing.order_values(e.order) for e in group])
            case d.StoreOrder():
                rows = [{"ledger_id": e.order.ledger_id, **billing.order_projection(e.order)} for e in group]
                self._replace("payment_transactions", rows)
            case d.BindKey():
                self._change(changes.inserts["idempotency_keys"], [billing.key_values(e.record) for e in group])
            case d.StoreEntitlement():
                self._change(changes.entitlement, [billing.entitlement_values(e.entitlement) for e in group])
            case d.StoreReceipt():
                self._save("payment_receipts", [(e.receipt, money.receipt_values(e.receipt)) for e in group])
            case d.AppendEntry():
                self._change(changes.inserts["receipt_entries"], [money.entry_values(e.entry) for e in group])
            case d.StoreRefund():
                self._save("refunds", [(e.refund, money.refund_values(e.refund)) for e in group])
            case d.StoreMandate():
                self._save("mandates", [(e.mandate, mandates.mandate_values(e.mandate)) for e in group])
            case d.Publish():
                self._change(changes.inserts["outbox"], [money.event_values(e.event) for e in group])
                self._change(changes.inserts["unsent_events"], [messages.unsent_values(e.event) for e in group])
            case d.RecordAudit():
                self._change(changes.inserts["audit"], [money.audit_values(e.entry) for e in group])
            case d.StoreItem():
                self._store(changes.item, [chain.item_values(e.item) for e in group], "intake item")
            case _:
                assert_never(first)

    def _apply_subscriptions(self, first: SubscriptionDecision, group: Sequence[Any]) -> None:
        inserts = self._statements.changes.inserts
        match first:
            case d.OpenSubscription():
                self._change(
                    inserts["subscriptions"], [subscriptions.subscription_values(e.subscription) for e in group]
                )
            case d.StoreSubscription():
                rows = [subscriptions.subscription_values(e.subscription) for e in group]
                self._replace("subscriptions", rows)
            case d.RecordChange():
                self._change(inserts["subscription_changes"], [subscriptions.change_values(e.change) for e in group])
            case StoreCharge():
                self._save("charges", [(e.charge, subscriptions.charge_values(e.charge)) for e in group])
            case OpenPayLink():
                for decision in group:
                    self._open_link(decision)
            case _:
                assert_never(first)

    def _open_link(self, decision: OpenPayLink) -> None:
        """Insert a link; the older ones of its order end soon."""
        self._send()
        ended = {"order": decision.link.ledger_id, "others_until": decision.others_until}
        self._run(self._statements.changes.shorten_links, ended)
        self._change(self._statements.changes.inserts["pay_links"], [subscriptions.pay_link_values(decision.link)])

    def _apply_books(self, first: BookDecision, group: Sequence[Any]) -> None:
        changes = self._statements.changes
        match first:
            case d.PostEntry():
                self._post([e.entry for e in group])
            case d.WatchTreasury():
                self._change(changes.treasury, [books.treasury_values(e.treasury) for e in group])
            case d.StoreMovement():
                self._save("movements", [(e.movement, books.movement_values(e.movement)) for e in group])
            case d.StoreQueueItem():
                self._save("finance_queue", [(e.item, books.queue_values(e.item)) for e in group])
            case d.AddSeal():
                self._change(changes.inserts["seals"], [books.seal_values(e.seal) for e in group])
                self._change(changes.inserts["seal_items"], [books.seal_item_values(i) for e in group for i in e.items])
            case _:
                assert_never(first)

    def _apply_messages(self, first: MessageDecision, group: Sequence[Any]) -> None:
        changes = self._statements.changes
        match first:
            case d.StoreInboxItem():
                self._save("webhook_inbox", [(e.item, messages.inbox_values(e.item)) for e in group])
            case d.SaveEndpoint():
                self._save("webhook_endpoints", [(e.endpoint, messages.endpoint_values(e.endpoint)) for e in group])
            case d.OpenDeliveries():
                self._change(changes.delivery, [messages.delivery_values(i) for e in group for i in e.deliveries])
                self._hand_out({e.event_id for e in group})
            case d.StoreDelivery():
                self._replace("deliveries", [messages.delivery_values(e.delivery) for e in group])
            case d.OpenChallenge():
                self._change(
                    changes.inserts["wallet_challenges"], [messages.challenge_values(e.challenge) for e in group]
                )
            case d.EraseCustomer():
                for decision in group:
                    self._erase(decision.customer)
            case _:
                assert_never(first)

    def _apply_sending(self, first: SendingDecision, group: Sequence[Any]) -> None:
        match first:
            case d.StoreTransmission():
                pairs = [(e.transmission, sending.transmission_values(e.transmission)) for e in group]
                self._save("transmissions", pairs)
            case d.RecordSigned():
                versions = [sending.signed_values(e.signed) for e in group]
                self._change(self._statements.changes.inserts["signed_transactions"], versions)
            case d.StoreDeposit():
                self._save("deposits", [(e.deposit, sending.deposit_values(e.deposit)) for e in group])
            case d.StoreProof():
                self._save("refund_proofs", [(e.proof, sending.proof_values(e.proof)) for e in group])
            case _:
                assert_never(first)

    def _apply_each_evidence(self, _: EvidenceDecision, group: Sequence[EvidenceDecision]) -> None:
        for decision in group:
            self._apply_evidence(decision)

    def _post(self, entries: Sequence[Entry]) -> None:
        """Append entries and add them to the balances of their owners, each of whom belongs to one customer."""
        changes = self._statements.changes
        self._change(changes.inserts["ledger_entries"], [books.posting_values(entry) for entry in entries])
        self._change(changes.inserts["ledger_lines"], [row for entry in entries for row in books.line_values(entry)])
        added = [books.balance_values(balance) for balance in owned_changes(entries)]
        if not changes.adds_balances:
            self._send()
            found = self._in(self._statements.ledger.balances, "owners", [row["owner"] for row in added])
            held = {_place(row._asdict()): row for row in found}
            for row in added:
                stored = held.get(_place(row))
                if stored is not None:
                    row["debit"] += stored.debit
                    row["credit"] += stored.credit
        self._change(changes.balance, added)

    def _hand_out(self, event_ids: set[str]) -> None:
        self._send()
        wanted = {"event_ids": sorted(event_ids)}
        changes = self._statements.changes
        if self._count(changes.handed_out, wanted) < len(event_ids):
            ((published,),) = self._rows(changes.published, wanted)
            if published != len(event_ids):
                raise StorageError("the row refers to one that is not there", field="event_id")

    def _erase(self, customer: Customer) -> None:
        """Replace a customer's row, and remove what says who they are."""
        self._store(self._statements.changes.customer, [billing.customer_values(customer)], "customer")
        self._send()
        for statement in self._statements.changes.erase:
            self._run(statement, {"gone": customer.user_id})

    def _archive(self, decision: d.ArchivePlan) -> None:
        self._send()
        values = {"key_slug": decision.plan.slug, "new_archived_at": decision.plan.archived_at}
        if not self._run(self._statements.changes.archive_plan, values).rowcount:
            raise UnknownPlan(field="plan")

    _families: ClassVar[Mapping[type, Callable[[Applier, Any, Sequence[Any]], None]]] = {
        kind: write
        for family, write in (
            (CatalogueDecision, _apply_catalogue),
            (BookDecision, _apply_books),
            (SubscriptionDecision, _apply_subscriptions),
            (MessageDecision, _apply_messages),
            (SendingDecision, _apply_sending),
            (FigureDecision, FigureWriter._apply_figures),  # noqa: SLF001  - of this very class
            (EvidenceDecision, _apply_each_evidence),
            (EffectDecision, _apply_effects),
        )
        for kind in get_args(family)
    }
    """How a decision is written, by its class: a look at each family in turn costs more than the family's own."""


def _place(row: Any) -> tuple[Any, ...]:
    return (row["owner"], row["account"], row["chain_id"], row["token"])
