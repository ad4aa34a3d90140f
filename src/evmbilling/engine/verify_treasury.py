"""Treasuries against the chain: what moved explains what they hold, at the block up to which we have read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue import Network
from evmbilling.domain.evidence import BlockHeader
from evmbilling.domain.treasury import Treasury
from evmbilling.engine.verify_books import Sums
from evmbilling.engine.verify_report import CoinDelta, Findings
from evmbilling.errors import BillingError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


@frozen(kw_only=True)
class ChainQuestion:
    """What a node has to be asked about one network.

    Attributes:
        block: the block up to which the chain has been read; None before the first.
        tokens: addresses of every token that a plan prices there.

    """

    network: Network
    provider: Provider
    block: BlockHeader | None
    treasuries: Sequence[Treasury]
    tokens: Sequence[str]


def load_questions(unit: Unit, providers: Mapping[int, Provider]) -> tuple[ChainQuestion, ...]:
    """Return what has to be asked of every network that has a treasury."""
    questions: list[ChainQuestion] = []
    for network in unit.networks():
        treasuries = unit.treasuries(network.chain_id)
        cursor = unit.cursor(network.chain_id)
        if treasuries and network.chain_id in providers:
            questions.append(
                ChainQuestion(
                    network=network,
                    provider=providers[network.chain_id],
                    block=cursor.block if cursor is not None else None,
                    treasuries=treasuries,
                    tokens=[a.token for a in unit.priced_assets(network.chain_id) if not a.is_native],
                )
            )
    return tuple(questions)


class TreasuryCheck:
    """Asks the nodes and compares.

    Args:
        sums: what moved, by (chain id, treasury, token).
        openings: what was there before, where it was posted.
        booked: what the books say that treasuries hold.

    """

    def __init__(self, findings: Findings, *, sums: Sums, openings: Sums, booked: Sums) -> None:
        self._findings = findings
        self._sums = sums
        self._openings = openings
        self._booked = booked
        self.coins: list[CoinDelta] = []

    def run(self, questions: Sequence[ChainQuestion]) -> None:
        """Compare every treasury; what a node cannot say is unproved, never proved."""
        for question in questions:
            if question.block is None:
                continue
            try:
                source = question.provider.chain(question.network)
                header = source.header(question.block.number)
            except BillingError as error:
                self._findings.add("unproved", f"network:{question.network.name}", reason=error.code)
                continue
            if header is None or header.hash != question.block.hash:
                self._findings.add("unproved", f"network:{question.network.name}", reason="block_changed")
                continue
            for treasury in question.treasuries:
                self._check_treasury(source, treasury, question.tokens, question.block.number)

    def _check_treasury(self, source: ChainSource, treasury: Treasury, tokens: Sequence[str], block: int) -> None:
        for token in tokens:
            key = (treasury.chain_id, treasury.address, token)
            subject = f"treasury:{treasury.chain_id}:{treasury.address}:{token}"
            self._findings.looked_at("treasuries", 1)
            try:
                opening = self._openings.get(key)
                if opening is None:
                    opening = _before(source, treasury, token)
                found = source.balance(token, treasury.address, block)
            except BillingError as error:
                self._findings.add("unproved", subject, reason=error.code)
                continue
            expected = opening + self._sums.get(key, 0)
            if expected != found:
                self._findings.add("unexplained_delta", subject, expected=expected, found=found)
        try:
            held = source.balance(NATIVE_COIN, treasury.address, block)
        except BillingError as error:
            self._findings.add(
                "unproved", f"treasury:{treasury.chain_id}:{treasury.address}:{NATIVE_COIN}", reason=error.code
            )
            return
        booked = self._booked.get((treasury.chain_id, treasury.address, NATIVE_COIN), 0)
        self.coins.append(CoinDelta(chain_id=treasury.chain_id, treasury=treasury.address, balance=held, booked=booked))


def _before(source: ChainSource, treasury: Treasury, token: str) -> int:
    """Ask what a treasury held before it was watched; a node without old states cannot say."""
    return source.balance(token, treasury.address, treasury.since_block - 1) if treasury.since_block > 0 else 0
