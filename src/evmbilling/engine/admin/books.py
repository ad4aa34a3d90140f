"""What administrators write into the books themselves: what a treasury held before it was watched."""

from __future__ import annotations

from evmbilling.domain.actors import Role
from evmbilling.domain.addresses import parse_address
from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.ledger import Entry
from evmbilling.domain.books.postings import book_opening
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.identity import parse_slug
from evmbilling.domain.money import parse_base_units
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.admin.token_decimals import assets_by_token
from evmbilling.errors import InputError, UnknownAsset, UnknownNetwork
from evmbilling.ports.storage import Unit


class BooksAdmin(AdminBase):
    """Opening balances."""

    def record_opening(self, *, network: str, treasury: str, token: str, amount: int | str) -> Entry:
        """Post what a treasury held of a token before its transfers were accounted for; needs ``billing_admin``.

        Verification asks the node for it where nothing was posted; a node that keeps no old state cannot say, and a
        token that was sold in later than its treasury was watched began later.

        Args:
            network: name.
            treasury, token: addresses; the treasury is watched and a plan prices the token.
            amount: base units, above 0.

        Raises:
            InputError: names what cannot be used.
            AlreadyExists: it was posted before; the books are append-only.

        """
        self._actor.require(Role.BILLING_ADMIN)
        name = parse_slug(network, field="network")
        address = parse_address(treasury, field="treasury")
        wanted = parse_address(token, field="token")
        units = parse_base_units(amount, field="amount", minimum=1)

        def work(unit: Unit) -> Entry:
            [posted] = self._opening(unit, unit.network(name), address, wanted, units)
            entry = posted.entry
            facts = {"token": wanted, "amount": str(units), "entry_id": entry.entry_id}
            self._save(unit, posted, "treasury.record", f"treasury:{entry.asset.chain_id}:{address}", facts)
            return entry

        return self._runner.write(work)

    def _opening(
        self, unit: Unit, network: Network | None, treasury: str, token: str, amount: int
    ) -> tuple[PostEntry, ...]:
        if network is None:
            raise UnknownNetwork(field="network")
        asset = assets_by_token(unit, network.chain_id).get(token)
        if asset is None:
            raise UnknownAsset("no plan prices this token there", field="token")
        if treasury not in {t.address for t in unit.treasuries(network.chain_id)}:
            raise InputError("this treasury is not watched there", field="treasury")
        clerk = Clerk(now=self._ports.clock.now(), new_id=self._ports.ids.new_id)
        return book_opening(asset=asset, treasury=treasury, amount=amount, at=clerk.now, clerk=clerk)
