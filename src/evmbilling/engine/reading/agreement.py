"""Large amounts are credited when several nodes show their transaction, never by the word of one.

The nodes are asked outside every transaction, before the intake takes its items; what they said holds for the very
block in which they were asked about the movement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.states import ReceiptStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.errors import BillingError
from evmbilling.ports.nodes import Nodes
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

NO_AGREEMENT = "no_agreement"
"""Why an item is parked: fewer nodes show it than have to."""
CREDITED = (ReceiptStatus.CREDITED, ReceiptStatus.FINAL)

Agreed = Mapping[tuple[CreditIdentity, bytes], bool]
"""By identity and block hash of a movement: whether enough nodes show it there."""


@frozen
class Quorum:
    """Whom to ask about a network's large amounts."""

    network: Network
    provider: Provider

    def ask(self, ports: Ports, logs: Iterable[ChainLog]) -> Agreed:
        """Ask the nodes about these movements. A node that does not answer agrees to nothing; nothing is raised."""
        return {(log.identity, log.block_hash): self._agree(ports, log) for log in logs}

    def _agree(self, ports: Ports, log: ChainLog) -> bool:
        wanted = self.network.quorum
        try:
            shown = self.provider.agreeing(self.network, log, wanted=wanted) if isinstance(self.provider, Nodes) else 1
        except BillingError:
            shown = 0
        ports.telemetry.count("agreement", network=self.network.name, outcome="yes" if shown >= wanted else "no")
        return shown >= wanted


def quorum_of(ports: Ports, unit: Unit, chain_id: int) -> Quorum | None:
    """Return whom to ask about a chain; None where one node's word is enough for any amount."""
    network = next((n for n in unit.networks() if n.chain_id == chain_id), None)
    if network is None or not network.agreement_above:
        return None
    return Quorum(*network_and_provider(ports, unit, network.name))
