"""Checks of refunds in a chain's own coin: they leave no log, so somebody has to say which transaction paid them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from evmbilling.doctor.findings import Finding
from evmbilling.doctor.patient import Patient
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.refunds.proofs import MISSING, is_coin_refund
from evmbilling.domain.sending.transmissions import TransmissionStatus
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.sending.coins import NOT_LOOKED_UP
from evmbilling.ports.storage import Unit

_SOON: Final = timedelta(hours=1)
"""How long whoever sent one may take to name its transaction."""
_MANY: Final = 1000
_SENT: Final = (RefundStatus.PREPARED, RefundStatus.SUBMITTED, RefundStatus.UNKNOWN)


def check_refunds(patient: Patient) -> Iterator[Finding]:
    """See that what was given back in the coin is known by its transaction, and that nothing waits for a look."""
    now = patient.ports.clock.now()
    with patient.ports.storage.unit(write=False) as unit:
        prepared = unit.refunds(states=_SENT, limit=_MANY)
        late = [r for r in prepared if r.prepared_at is None or now - r.prepared_at >= _SOON]
        silent = [refund for refund in late if is_coin_refund(refund) and not _is_known(unit, refund)]
        missing = [refund for refund in late if is_coin_refund(refund) and _is_missing(unit, refund)]
        queued = unit.transmissions(states=[TransmissionStatus.QUEUED], limit=_MANY)
    unseen = Counter((one.network, one.sender) for one in queued if one.failure_reason == NOT_LOOKED_UP)
    for (network, sender), count in sorted(unseen.items()):
        text = f"{network}: {count} refunds in the coin wait, since {sender} has sent what is not known here"
        advice = "look among what it has sent: name the transaction of a refund that left, withdraw and send the others"
        yield Finding(check="refunds", verdict="warn", text=text, advice=advice)
    if silent:
        named = ", ".join(refund.refund_id for refund in silent[:5])
        text = f"{len(silent)} refunds in the coin are prepared and no transaction is named for them: {named}"
        advice = "look whether the treasury has sent them: name the transaction of each that left, cancel the others"
        yield Finding(check="refunds", verdict="warn", text=text, advice=advice)
    if missing:
        named = ", ".join(refund.refund_id for refund in missing[:5])
        text = f"{len(missing)} refunds in the coin are named by a transaction that nobody has mined for a day: {named}"
        advice = "look at an explorer: name it again when it was sent after all, or take it back and name the right one"
        yield Finding(check="refunds", verdict="warn", text=text, advice=advice)
    if not silent and not missing and not unseen:
        yield Finding(check="refunds", verdict="pass", text="each refund in the coin is known by its transaction")


def _is_missing(unit: Unit, refund: Refund) -> bool:
    return any(proof.state == "open" and proof.reason == MISSING for proof in unit.proofs_of(refund.refund_id))


def _is_known(unit: Unit, refund: Refund) -> bool:
    """Whether a transaction is named for a refund, or it still waits in the relayer's queue."""
    if any(proof.state != "refused" for proof in unit.proofs_of(refund.refund_id)):
        return True
    sent = unit.transmissions_of("refund", f"refund:{refund.refund_id}")
    return any(one.status is TransmissionStatus.QUEUED for one in sent)
