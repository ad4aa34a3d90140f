"""When a receipt is credited and final: by how far its network has come, and by nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evmbilling.domain.catalogue.catalogue import Heights, parse_finality
from evmbilling.domain.payments.judgement import Depths, _promotions
from evmbilling.domain.states import ReceiptStatus

SEEN, CREDITED, FINAL = ReceiptStatus.SEEN, ReceiptStatus.CREDITED, ReceiptStatus.FINAL
BLOCK = SimpleNamespace(block_number=100)


def depths(head: int) -> Depths:
    return Depths(
        credit_after=parse_finality("depth 3", field="credit_after"),
        irreversible_after=parse_finality("depth 20", field="irreversible_after"),
        heights=Heights(head=head),
    )


@pytest.mark.parametrize(
    ("status", "head", "steps"),
    [
        (SEEN, 101, []),
        (SEEN, 103, [CREDITED]),
        (SEEN, 118, [CREDITED]),
        (SEEN, 120, [CREDITED, FINAL]),
        (CREDITED, 103, []),
        (CREDITED, 118, []),
        (CREDITED, 120, [FINAL]),
        (FINAL, 120, []),
    ],
)
def test_a_receipt_counts_when_its_block_is_deep_enough(status, head, steps):
    assert _promotions(status, BLOCK, depths(head)) == steps


def test_the_first_height_at_which_it_counts():
    first = [
        next(h for h in range(100, 130) if step in _promotions(SEEN, BLOCK, depths(h))) for step in (CREDITED, FINAL)
    ]
    assert first == [
        depths(0).credit_after.threshold(100, Heights(head=0))[1],
        depths(0).irreversible_after.threshold(100, Heights(head=0))[1],
    ]
