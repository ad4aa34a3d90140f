"""Receipts and movements against what the chain said, log by log, decoded again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.catalogue.event_mappings import mappings_of
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.paired_money import is_waiting, pair_money
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry
from evmbilling.domain.payments.treasury import Movement, receipt_role
from evmbilling.domain.reading.evidence import ChainLog, IntakeItem, Observation
from evmbilling.domain.refunds.refunds import evidence_of
from evmbilling.domain.states import RECEIPT_MOVES, SUPPORTING_RECEIPTS, ReceiptStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.intake.scene import decode_log
from evmbilling.engine.verify.books import PAGE, Sums, pages_of_movements
from evmbilling.engine.verify.queue import check_receipts_asked
from evmbilling.engine.verify.report import Findings
from evmbilling.engine.verify.tally import Row, differing
from evmbilling.errors import BillingError
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

MOST_WAITING = 100_000
_STANDING = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
_PLAIN = "erc20"
"""The kind of binding that has no contract of ours: the token itself is watched."""


class Decoder:
    """Reads logs again, with the provider that the intake used."""

    def __init__(self, ports: Ports, unit: Unit) -> None:
        self._unit = unit
        self._instance_id = ports.storage.instance_id()
        self._treasuries = {(t.chain_id, t.address) for t in unit.treasuries()}
        self._contracts: dict[tuple[int, str], PaymentContract] = {
            (c.chain_id, c.address): c for c in unit.contracts() if c.kind != _PLAIN
        }
        gateways = unit.gateways()
        self.providers: dict[int, Provider] = {}
        for network in unit.networks():
            names = [g.provider for g in gateways if network.name in g.networks]
            name = names[0] if names else next(iter(ports.providers), "evm")
            self.providers[network.chain_id] = ports.provider(name)

    def read(self, log: ChainLog) -> Observation | None:
        """Return what a log says: of a bound contract, else as a token's transfer; None when it says neither."""
        seen = self._decode(log)
        return self._paired(seen) if seen is not None and is_waiting(seen) else seen

    def is_summed(self, log: ChainLog) -> bool:
        """Whether a log is an event that all transfers of its transaction pay together."""
        seen = self._decode(log)
        return seen is not None and seen.money == "transfers"

    def sums(self, chain_id: int) -> bool:
        """Whether a contract on a chain has an event that several transfers pay together."""
        mapped = [c.events for (chain, _), c in self._contracts.items() if chain == chain_id and c.events is not None]
        return any(mapping.money == "transfers" for events in mapped for mapping in mappings_of(events))

    def _decode(self, log: ChainLog) -> Observation | None:
        provider = self.providers.get(log.chain_id)
        contract = self._contracts.get((log.chain_id, log.address))
        if provider is None:
            return None
        try:
            return decode_log(provider, log, contract)
        except BillingError:
            return None

    def _paired(self, event: Observation) -> Observation | None:
        """Return an event with the money of its transaction; None when it is not clear which that is."""
        chain_id = event.log.chain_id
        logs = self._unit.logs_of_transactions(chain_id, {event.log.tx_hash})
        beside = [seen for log in logs if (seen := self._decode(log)) is not None]
        treasuries = {address for chain, address in self._treasuries if chain == chain_id}
        # The event of a receipt is ours, whatever the copy of the shop is called that took it in.
        own = {event.reference}
        paired = pair_money(beside, treasuries=treasuries, instance_id=self._instance_id, known=own).seen
        return next((seen for seen in paired if seen.log.identity == event.log.identity), None)


class ChainCheck:
    """Compares receipts and movements with the evidence.

    Attributes:
        sums: what the chain says that was transferred to treasuries less what was transferred from them.
        received: what receipts whose money counts come to, by (chain id, token).
        reversed: receipts that the chain took back; they are few.
        waiting: movements that the intake has to look at; they are taken from the evidence and not from our rows.
        decoder: reads logs again.

    """

    def __init__(self, ports: Ports, unit: Unit, findings: Findings) -> None:
        self._unit = unit
        self._findings = findings
        self.decoder = Decoder(ports, unit)
        self.providers = self.decoder.providers
        self._since = {(t.chain_id, t.address): t.since_block for t in unit.treasuries()}
        items: Sequence[IntakeItem] = unit.stuck_items(limit=MOST_WAITING)
        self.waiting = frozenset(item.identity for item in items)
        # A payment and the transfer behind it are two logs of one transaction, and each waits for itself.
        self._moving = frozenset(_transaction(identity) for identity in self.waiting)
        self.sums: Sums = defaultdict(int)
        self._halts = {c.chain_id: c.halt.at_block for c in unit.cursors() if c.halt is not None}
        self.received: dict[tuple[int, str], int] = defaultdict(int)
        self.reversed: list[Receipt] = []
        if len(items) == MOST_WAITING:
            findings.add("unproved", "intake", reason="too_much_waits")

    def run(self, salt: bytes) -> None:
        """Find every difference between receipts, movements and the evidence."""
        for receipts in _grouped(self._unit):
            self._check_receipts(receipts)
        self._check_movements()
        self._add_waiting()
        for receipt_id, moved, received in differing(self._moved, salt):
            self._findings.add("receipt_without_movement", f"receipt:{receipt_id}", expected=received, found=moved)

    def _check_receipts(self, receipts: Sequence[Receipt]) -> None:
        self._findings.looked_at("receipts", len(receipts))
        logs = self._unit.logs_of([r.identity for r in receipts])
        settled = [r for r in receipts if _transaction(r.identity) not in self._moving]
        check_receipts_asked(self._unit, self._findings, settled)
        journals: dict[str, list[ReceiptEntry]] = defaultdict(list)
        for entry in self._unit.entries_of_receipts([r.receipt_id for r in receipts]):
            journals[entry.receipt_id].append(entry)
        for receipt in receipts:
            if receipt.status in SUPPORTING_RECEIPTS:
                self.received[(receipt.asset.chain_id, receipt.asset.token)] += receipt.amount
            elif receipt.status is ReceiptStatus.REVERSED:
                self.reversed.append(receipt)
            wrong = journal_fault(receipt, journals[receipt.receipt_id])
            if wrong:
                self._findings.add("receipt_journal_differs", f"receipt:{receipt.receipt_id}", reason=wrong)
            if receipt.identity not in self.waiting:
                self._compare(receipt, logs.get(receipt.identity))

    def _compare(self, receipt: Receipt, log: ChainLog | None) -> None:
        """Compare a receipt with the log that is canonical now, field by field."""
        subject = f"receipt:{receipt.receipt_id}"
        if log is None or receipt.status is ReceiptStatus.DISPUTED:
            if receipt.status in _STANDING - {ReceiptStatus.DISPUTED}:
                self._findings.add("receipt_evidence_differs", subject, found="no log", reason="no_evidence")
            return
        if receipt.status not in _STANDING and log.block_number > self._halts.get(log.chain_id, log.block_number):
            return  # taken back by a person, while nobody knows whether this block is still there
        if receipt.status not in _STANDING:
            if self._is_its_evidence(receipt, log):
                reason = "evidence_is_there"
                self._findings.add("receipt_evidence_differs", subject, found=receipt.status, reason=reason)
            return
        seen = self.decoder.read(log)
        if seen is None:
            self._findings.add("receipt_evidence_differs", subject, reason="not_decoded")
            return
        said = {
            "amount": (seen.amount, receipt.amount),
            "token": (seen.token, receipt.asset.token),
            "payer": (seen.payer, receipt.payer),
            "treasury": (seen.treasury, receipt.treasury),
            "block": (evidence_of(log), receipt.evidence),
        }
        for name, (expected, found) in said.items():
            if expected != found:
                self._findings.add("receipt_evidence_differs", subject, expected=expected, found=found, reason=name)

    def _is_its_evidence(self, receipt: Receipt, log: ChainLog) -> bool:
        """Whether a log in the place of a receipt's is money of that receipt: not what is no money, or another's."""
        seen = self.decoder.read(log)
        if seen is None or seen.kind not in {"payment", "transfer"}:
            return seen is None
        behind = self._unit.movements([log.identity]).get(log.identity) if seen.kind == "transfer" else None
        return behind is None or behind.receipt_id in {None, receipt.receipt_id}

    def _check_movements(self) -> None:
        page: list[Movement] = []
        for movement in pages_of_movements(self._unit):
            page.append(movement)
            if len(page) == PAGE:
                self._check_page(page)
                page = []
        self._check_page(page)

    def _check_page(self, page: Sequence[Movement]) -> None:
        self._findings.looked_at("movements", len(page))
        logs = self._unit.logs_of([m.identity for m in page])
        receipts = self._unit.receipts({m.receipt_id for m in page if m.receipt_id})
        for movement in page:
            subject = f"movement:{movement.identity}"
            part = self._is_part(movement, receipts)
            fault = class_fault(movement, receipts, is_part=part) or self._refund_fault(movement)
            if not fault and _transaction(movement.identity) not in self._moving:
                fault = role_fault(movement, receipts)
            if fault:
                self._findings.add("movement_class_differs", subject, found=movement.kind, reason=fault)
            if movement.identity in self.waiting:
                continue
            fault = self._evidence_fault(movement, logs.get(movement.identity))
            if fault:
                self._findings.add("movement_evidence_differs", subject, reason=fault)
            if movement.live:
                amount = movement.amount if movement.direction == "in" else -movement.amount
                chain_id, block = movement.identity.chain_id, movement.evidence.block_number
                for address, moved in ((movement.treasury, amount), (movement.counterparty, -amount)):
                    if self._watches(chain_id, address, block):
                        self.sums[(chain_id, address, movement.asset.token)] += moved

    def _is_part(self, movement: Movement, receipts: Mapping[str, Receipt]) -> bool:
        """Whether a transfer is one of several that an event is paid by; what they come to is proved by their sum."""
        receipt = receipts.get(movement.receipt_id or "")
        if receipt is None or (receipt.amount, "in") == (movement.amount, movement.direction):
            return False
        log = self._unit.logs_of([receipt.identity]).get(receipt.identity)
        if log is None:  # the chain has taken it back, and does not say any more what it was
            return not movement.live and self.decoder.sums(movement.identity.chain_id)
        return self.decoder.is_summed(log)

    def _refund_fault(self, movement: Movement) -> str:
        known = movement.refund_id is None or self._unit.refund(movement.refund_id) is not None
        return "" if known else "no_such_refund"

    def _evidence_fault(self, movement: Movement, log: ChainLog | None) -> str:
        if log is None:
            return "no_evidence" if movement.live else ""
        seen = self.decoder.read(log)
        if not movement.live:
            # Another branch of the chain may have another log there, that moves nothing.
            return "evidence_is_there" if seen is None or seen.kind == "transfer" else ""
        if seen is None:
            return "not_decoded"
        ends = (seen.treasury, seen.payer) if movement.direction == "in" else (seen.payer, seen.treasury)
        said = (ends[0], ends[1], seen.token, seen.amount, evidence_of(log))
        kept = (movement.treasury, movement.counterparty, movement.asset.token, movement.amount, movement.evidence)
        names = ("treasury", "counterparty", "token", "amount", "block")
        return next((name for name, a, b in zip(names, said, kept, strict=True) if a != b), "")

    def _add_waiting(self) -> None:
        """Add what the intake has not looked at yet, as the chain says it."""
        for log in self._unit.logs_of(self.waiting).values():
            seen = self.decoder.read(log)
            if seen is None or seen.kind != "transfer":
                continue
            for address, amount in ((seen.treasury, seen.amount), (seen.payer, -seen.amount)):
                if self._watches(log.chain_id, address, log.block_number):
                    self.sums[(log.chain_id, address, seen.token)] += amount

    def _watches(self, chain_id: int, address: str, block: int) -> bool:
        return block >= self._since.get((chain_id, address), block + 1)

    def _moved(self) -> Iterator[Row]:
        """By receipt: what its movements carried (left), and what the chain still says that it received (right)."""
        for movement in pages_of_movements(self._unit):
            if movement.receipt_id and movement.live and _transaction(movement.identity) not in self._moving:
                yield movement.receipt_id, self._carried(movement), 0
        for receipts in _grouped(self._unit):
            logs = self._unit.logs_of([r.identity for r in receipts])
            for receipt in receipts:
                log = logs.get(receipt.identity)
                if log is not None and self._accounted(receipt, log):
                    yield receipt.receipt_id, 0, receipt.amount

    def _carried(self, movement: Movement) -> int:
        """Return what a transfer brought to the treasury of its receipt; less than nothing for what left it again."""
        if movement.direction == "in":
            return movement.amount
        receipt = self._unit.receipts([movement.receipt_id or ""]).get(movement.receipt_id or "")
        left = receipt is not None and receipt.treasury == movement.treasury
        return -movement.amount if left else movement.amount

    def _accounted(self, receipt: Receipt, log: ChainLog) -> bool:
        """Whether the transfer behind a receipt must be among the movements."""
        since = self._since.get((receipt.asset.chain_id, receipt.treasury))
        started = since is not None and log.block_number >= since
        settled = _transaction(receipt.identity) not in self._moving
        if receipt.status not in _STANDING and not self._is_its_evidence(receipt, log):
            return False
        return started and settled and not receipt.asset.is_native and receipt.amount > 0


def journal_fault(receipt: Receipt, entries: Sequence[ReceiptEntry]) -> str:
    """Return what is wrong with a receipt's journal, as a stable word; empty when it tells how the receipt got here."""
    if [entry.seq for entry in entries] != list(range(1, receipt.entries + 1)):
        return "numbers"
    statuses = [ReceiptStatus(entry.kind) for entry in entries]
    # What was seen anew after it had gone may be of another content: a person decided so.
    newest = max((at for at, status in enumerate(statuses) if status is ReceiptStatus.SEEN), default=0)
    if any(entry.amount != receipt.amount for entry in entries[newest:]):
        return "amount"
    if statuses[-1:] != [receipt.status]:
        return "status"
    steps = pairwise(statuses)
    legal = statuses[0] is ReceiptStatus.SEEN and all(after in RECEIPT_MOVES[before] for before, after in steps)
    return "" if legal else "moves"


def class_fault(movement: Movement, receipts: Mapping[str, Receipt], *, is_part: bool = False) -> str:
    """Return why a movement is not exactly one of receipt, refund, suspense and external; empty when it is."""
    named = (movement.receipt_id is not None, movement.refund_id is not None)
    wanted = {"refund": (False, True), "external": (False, False)}.get(movement.kind, (True, False))
    if named != wanted:
        return "names_another"
    if movement.receipt_id is None:
        return ""
    receipt = receipts.get(movement.receipt_id)
    if receipt is None:
        return "no_such_receipt"
    receiver = movement.treasury if movement.direction == "in" or is_part else movement.counterparty
    said = (movement.amount, receiver, movement.asset.token)
    same = said == (movement.amount if is_part else receipt.amount, receipt.treasury, receipt.asset.token)
    return "" if same else "receipt_differs"


def role_fault(movement: Movement, receipts: Mapping[str, Receipt]) -> str:
    """Return why a live transfer is not what its receipt says that it is: suspense, or a receipt; empty when it is."""
    receipt = receipts.get(movement.receipt_id or "")
    return "kind" if receipt is not None and movement.live and receipt_role(receipt).kind != movement.kind else ""


def _transaction(identity: CreditIdentity) -> tuple[int, bytes]:
    return identity.chain_id, identity.tx_hash


def _grouped(unit: Unit) -> Iterator[Sequence[Receipt]]:
    """Give all receipts, a page at a time."""
    after = ""
    while page := unit.all_receipts(after=after, limit=PAGE):
        yield page
        after = page[-1].receipt_id
