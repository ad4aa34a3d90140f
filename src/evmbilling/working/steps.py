"""The steps of a worker: one table says what is called, how often, and when it should have succeeded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from evmbilling.errors import ConfigurationError, InputError


@frozen(kw_only=True)
class Did:
    """What one call of a step came to.

    Attributes:
        more: whether it has to be called again at once. count: how much it did.
        stands: why nothing was done though there may be work, such as ``halted``; None when all is well.

    """

    more: bool = False
    count: int = 0
    stands: str | None = None


@frozen
class Call:
    """One method of the engine.

    Attributes:
        method: its name.
        again: fields of its report; it is called again at once while one of them is not 0.
        arguments: what it is given every time.
        stands: the field of its report that says why it could do nothing, with the words in it that mean so; no words:
            whatever is there.

    """

    method: str
    again: tuple[str, ...] = ()
    arguments: Mapping[str, int] = field(factory=dict)
    stands: tuple[str, tuple[str, ...]] | None = None

    def run(self, engine: object, network: str | None) -> Did:
        """Call it once.

        Raises:
            Exception: whatever the engine raises.

        """
        given: dict[str, Any] = dict(self.arguments)
        if network is not None:
            given["network"] = network
        report = getattr(engine, self.method)(**given)
        count = sum(int(getattr(report, name)) for name in self.again)
        return Did(more=count > 0, count=count, stands=self._standing(report))

    def _standing(self, report: object) -> str | None:
        if self.stands is None:
            return None
        name, words = self.stands
        said = getattr(report, name)
        if not said or (words and said not in words):
            return None
        return ", ".join(sorted(said)) if isinstance(said, Mapping) else str(said)


@frozen(kw_only=True)
class Step:
    """A step that a worker can be told to do.

    Attributes:
        name: as ``--only`` takes it.
        calls: what it calls, in order.
        pause: seconds between two looks when there was nothing to do.
        overdue: seconds without a success after which it is unhealthy.
        rest: how many times as long as the last look took the pause is at least: for a look through whole tables, whose
            cost grows with them. No longer than half of ``overdue``.
        by_network: whether every network has a thread of its own, so that none waits for another's node.
        needs: the setting without which it is off; None when it needs none.

    """

    name: str
    calls: tuple[Call, ...]
    pause: int
    overdue: int
    rest: int = 0
    by_network: bool = False
    needs: str | None = None

    def pause_after(self, took: float) -> float:
        """Return the seconds of pause after a look that took so many and found nothing to do."""
        return max(self.pause, min(self.rest * took, self.overdue / 2))

    def present(self, engine: object) -> tuple[Call, ...]:
        """Return the calls that this engine has."""
        return tuple(call for call in self.calls if hasattr(engine, call.method))


MINUTE: Final = 60
HOUR: Final = 3600
STEPS: Final[tuple[Step, ...]] = (
    Step(
        name="readers",
        calls=(
            Call(
                "read_chain",
                ("blocks", "rescanned", "rewound"),
                {"max_blocks": 2000},
                stands=("outcome", ("halted", "behind")),
            ),
        ),
        pause=1,
        overdue=2 * MINUTE,
        by_network=True,
    ),
    Step(name="intake", calls=(Call("run_intake", ("taken",)),), pause=1, overdue=2 * MINUTE, by_network=True),
    Step(name="expiry", calls=(Call("expire_orders", ("expired",)),), pause=5, overdue=5 * MINUTE),
    Step(
        name="renewals",
        calls=(Call("run_renewals", ("looked",), stands=("halted", ())),),
        pause=5,
        overdue=5 * MINUTE,
    ),
    Step(name="charges", calls=(Call("run_charges", ("changed",)),), pause=5, overdue=5 * MINUTE),
    Step(
        name="deposits",
        calls=(Call("look_at_deposits", ("done",), stands=("failed", ())),),
        pause=5,
        overdue=5 * MINUTE,
    ),
    Step(
        name="relayer",
        calls=(Call("relay", ("signed", "moved"), stands=("failed", ())),),
        pause=3,
        overdue=5 * MINUTE,
    ),
    Step(name="dispatcher", calls=(Call("dispatch", ("handed_out", "delivered")),), pause=1, overdue=5 * MINUTE),
    Step(name="hints", calls=(Call("read_hints", ("found",)),), pause=2, overdue=5 * MINUTE),
    Step(name="release", calls=(Call("release_revenue", ("orders",)),), pause=10 * MINUTE, overdue=HOUR),
    Step(
        name="folder",
        calls=(Call("fold", ("folded",)), Call("number_receipts", ("issued",))),
        pause=30,
        overdue=10 * MINUTE,
    ),
    Step(name="sealer", calls=(Call("seal", ("sealed",)),), pause=10, overdue=10 * MINUTE, rest=20, needs="seal_key"),
    # Tokens first: a contract whose code is pinned is sold through, and by then a token that differs is halted.
    Step(name="checks", calls=(Call("check_tokens"), Call("check_contracts")), pause=10 * MINUTE, overdue=HOUR),
)
"""Everything that has to be called again and again. Pauses follow from how soon somebody misses the work."""

ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "follow": "readers does the same, with read_chain",
        "rescan": "a person asks for it",
        "rebuild_figures": "a person asks for it",
        "prune": "removes rows: a timer of the host runs `evmbilling prune`",
    }
)
"""Steps of the engine that no worker calls, and why."""


def chosen(engine: object, only: Collection[str] | None = None, steps: Sequence[Step] = STEPS) -> tuple[Step, ...]:
    """Return the steps that a worker does, in the order of the table.

    Args:
        engine: whose steps.
        only: names; every step that the engine has when left out.
        steps: the table.

    Raises:
        InputError: there is no such step, or none is left (``field="only"``).
        ConfigurationError: this engine does not have a step that was named.

    """
    known = {step.name: step for step in steps}
    strange = sorted(set(only or ()) - set(known))
    if strange:
        raise InputError(f"there is no step {', '.join(strange)}; there are {', '.join(known)}", field="only")
    if only is None:
        return tuple(step for step in steps if step.present(engine))
    found = tuple(step for step in steps if step.name in set(only))
    if not found:
        raise InputError("at least one step is expected", field="only")
    absent = [step.name for step in found if not step.present(engine)]
    if absent:
        raise ConfigurationError(f"this engine has no step {', '.join(absent)}", field="only")
    return found
