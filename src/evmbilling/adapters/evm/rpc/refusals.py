"""What a node means when it refuses: the texts of clients and providers, sorted into what has to be done next.

Words decide before codes: -32005 is both "too many results" and "rate limited", -32000 and -32602 mean anything, and
some nodes keep the sentence in ``error.data``. Figures are read from the sentence and never assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

from attrs import field, frozen

from evmbilling.errors import RpcRefused

_DEPTH: Final = 4
_TEXTS: Final = 20
_LONGEST: Final = 4096
_HIGHEST_BLOCK: Final = 2**63 - 1
_LONGEST_PAUSE: Final = 3600.0


class RefusalKind(Enum):
    """What to do about a refusal."""

    RATE = "rate"
    """Too many requests: wait, then ask for the same."""
    HEAD_LAG = "head_lag"
    """The node has not come so far: wait or ask another one. A smaller range does not help."""
    RANGE_CAP = "range_cap"
    """More blocks than this node ever takes: smaller ranges from now on."""
    TOO_MUCH = "too_much"
    """More results, bytes or seconds than allowed: a smaller range now."""
    FAULT = "fault"
    """Anything else: another node may answer."""
    REVERTED = "reverted"
    """A contract refused: every node says the same."""
    KNOWN = "known"
    """The transaction that was sent is in the node's pool: as good as accepted."""
    NONCE_USED = "nonce_used"
    """A transaction with this nonce is mined: that one, or another one."""
    UNDERPRICED = "underpriced"
    """The transaction offers too little: less than the base fee, than the node wants, or than the one it replaces."""


@frozen
class Refusal:
    """A node's error, sorted.

    Attributes:
        cap: how many blocks the node takes at most, when it says so.
        suggestion: the range, first and last block, that the node proposes; see :func:`usable_suggestion`.
        retry_after: seconds to wait, when the node says so.

    """

    kind: RefusalKind
    cap: int | None = None
    suggestion: tuple[int, int] | None = None
    retry_after: float | None = field(default=None)


_REVERTED: Final = 3  # the code of a revert (EIP-1474's successors); some nodes only say it in words
_NUMBER: Final = r"(\d[\d,_]*\s?[km]?)\b"
_RATE: Final = re.compile(
    r"rate.?limit|too many requests|throttl|quota|compute units|request limit|requests per|request count exceeded|"
    r"throughput limit|capacity limit"
)
_HEAD_LAG: Final = re.compile(
    r"beyond current head|beyond latest|beyond the (?:latest|current|head)|after last accepted|still syncing|"
    r"not synced|unknown block|could not be found|header not found|block not found|block .{0,80}not found|"
    r"not have the requested block|indexing is in progress|block number is in the future|not yet available|"
    r"block ?out ?of ?range|block height is \d+ but requested"
)
_BY_SIZE: Final = re.compile(r"response size exceeded")  # goes on about ranges, which are not the reason
_CAPS: Final = tuple(
    re.compile(pattern.replace("#", _NUMBER))
    for pattern in (
        r"max(?:imum)? block range\s*[=:]?\s*#",
        r"block range exceeds server limit\D{0,60}#",
        r"max range:? #",
        r"too wide \(maximum #",
        r"maximum is set to #",
        r"up to an? # block",
        r"range \d+ exceeds limit of #",
        r"limited to (?:an? )?#",
        r"ranges over # blocks",
        r"blocks? distance:? #",
        r"at most # blocks",
        r"number of requested blocks is #",
        r"allowed for your plan \(\d+ > #",
        r"max is # blocks",
        r"maximum allowed is # blocks",
        r"range limit:? #",
        r"query must be smaller than size #",
    )
)
_RANGE: Final = re.compile(
    r"block ?range is (?:bigger|larger)|block ?range is too|block range too|block range limit|block range exceeds|"
    r"range (?:is )?too (?:large|wide|big)|too many blocks|ranges over|exceeds the range"
)
_TOO_MUCH: Final = re.compile(
    r"returned more than|more than .{1,20}(?:logs|results)|too many (?:logs|results)|max(?:imum)? (?:results|logs)|"
    r"logs matched by query|exceeds? (?:the )?(?:max|limit)|response (?:is )?too (?:large|big)|response size|"
    r"time.?out|timed out|deadline exceeded|took too long|too much"
)
_KNOWN: Final = re.compile(
    r"already ?known|\bknown transaction|already imported|already exists|already in (?:the )?(?:mem|tx ?)?pool"
)
_NONCE_USED: Final = re.compile(
    r"nonce[ _](?:is )?too[ _]low|oldnonce|old nonce|nonce .{0,40}already (?:been )?used|nonce has already been used"
)
_UNDERPRICED: Final = re.compile(
    r"underpriced|fee ?too ?low|not enough to replace|replacement ?not ?allowed|gas ?price (?:is )?(?:too low|below)|"
    r"max fee per gas less than block base fee|transaction gas price .{0,40}(?:too low|below)"
)
_SUGGESTION: Final = re.compile(
    r"(?:should work|this block range|with the range)\W{0,3}(0x[0-9a-f]+|\d+)\s*[,-]\s*(0x[0-9a-f]+|\d+)"
)
_PAUSE: Final = re.compile(r"(?:retry|try again|wait)(?: again)?(?: in| after| for)? (\d+(?:\.\d+)?)\s?(ms|s|m)?\b")
_PAUSE_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_RATE_CODES: Final = (429, -32005, -32029)
_CODES: Final = {-32614: RefusalKind.RANGE_CAP, -32001: RefusalKind.HEAD_LAG}
_TOO_MANY_REQUESTS: Final = 429


def classify(*, status: int | None, code: int, message: str, data: object) -> Refusal:
    """Sort an error object that a node answered with. Pure.

    Args:
        status: of HTTP, when there is one.
        code, message, data: of the JSON-RPC error.

    """
    if code == _REVERTED or "revert" in message.lower():
        return Refusal(RefusalKind.REVERTED)  # a contract chooses its own words
    text = " \n".join([message, *_texts(data)])[:_LONGEST].lower()
    kind = _kind_of(text, status, code)
    is_size = kind in (RefusalKind.RANGE_CAP, RefusalKind.TOO_MUCH)
    return Refusal(
        kind,
        cap=_cap_in(text) if kind is RefusalKind.RANGE_CAP else None,
        suggestion=_suggestion_in(text, data) if is_size else None,
        retry_after=_pause_in(text, data) if kind is RefusalKind.RATE else None,
    )


def usable_suggestion(refusal: Refusal, first: int, last: int) -> tuple[int, int] | None:
    """Return the range that a node proposed when it helps: it starts where we did and ends earlier. Pure.

    Nodes have proposed the very range that they refused, ranges that start elsewhere, and inverted ones.
    """
    if refusal.suggestion is None:
        return None
    begins, ends = refusal.suggestion
    return (begins, ends) if begins == first <= ends < last else None


def refusal_of(refused: RpcRefused) -> Refusal:
    """Return what a refusal was sorted as; a fault when nobody has."""
    found = refused.refusal
    return found if isinstance(found, Refusal) else Refusal(RefusalKind.FAULT)


def _kind_of(text: str, status: int | None, code: int) -> RefusalKind:
    in_order = (
        (_KNOWN, RefusalKind.KNOWN),
        (_NONCE_USED, RefusalKind.NONCE_USED),
        (_UNDERPRICED, RefusalKind.UNDERPRICED),
        (_RATE, RefusalKind.RATE),
        (_HEAD_LAG, RefusalKind.HEAD_LAG),  # before ranges: both say "block range"
        (_BY_SIZE, RefusalKind.TOO_MUCH),
        (_RANGE, RefusalKind.RANGE_CAP),
    )
    for pattern, kind in in_order:
        if pattern.search(text):
            return kind
    if any(pattern.search(text) for pattern in _CAPS):
        return RefusalKind.RANGE_CAP
    if _TOO_MUCH.search(text):
        return RefusalKind.TOO_MUCH
    if status == _TOO_MANY_REQUESTS or code in _RATE_CODES:
        return RefusalKind.RATE
    return _CODES.get(code, RefusalKind.FAULT)


def _cap_in(text: str) -> int | None:
    for pattern in _CAPS:
        found = pattern.search(text)
        if found:
            digits = found[1].replace(",", "").replace("_", "").replace(" ", "")
            scale = {"k": 1_000, "m": 1_000_000}.get(digits[-1], 1)
            cap = int(digits.rstrip("km")) * scale
            return cap if 0 < cap <= _HIGHEST_BLOCK else None
    return None


def _suggestion_in(text: str, data: object) -> tuple[int, int] | None:
    if isinstance(data, Mapping):
        told = [_block(data.get(side)) for side in ("from", "to")]
        if told[0] is not None and told[1] is not None:
            return told[0], told[1]
    found = _SUGGESTION.search(text)
    first, last = (_block(found[1]), _block(found[2])) if found else (None, None)
    return None if first is None or last is None else (first, last)


def _block(value: object) -> int | None:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", value, re.ASCII):
        number = int(value, 16 if value.startswith("0x") else 10)
    return number if number is not None and 0 <= number <= _HIGHEST_BLOCK else None


def _pause_in(text: str, data: object) -> float | None:
    """Read how long to wait, from the sentence or from ``data.rate.backoff_seconds``."""
    told = data.get("rate", data) if isinstance(data, Mapping) else None
    seconds = told.get("backoff_seconds") if isinstance(told, Mapping) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        found = _PAUSE.search(text)
        seconds = float(found[1]) * _PAUSE_UNITS[found[2]] if found else None
    return None if seconds is None or not 0 <= seconds <= _LONGEST_PAUSE else float(seconds)


def _texts(data: object) -> list[str]:
    """Return the sentences in an error's data, without what a contract returned."""
    found: list[str] = []
    for text in _strings(data, _DEPTH):
        if not text.startswith("0x"):
            found.append(text[:_LONGEST])
        if len(found) == _TEXTS:
            break
    return found


def _strings(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item, depth - 1)
    elif depth and isinstance(value, Sequence):
        for item in value:
            yield from _strings(item, depth - 1)
