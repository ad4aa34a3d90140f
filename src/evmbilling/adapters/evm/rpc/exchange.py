"""JSON-RPC 2.0 with one node: batches of the size that it takes, answers matched to questions, refusals sorted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen
from msgspec import Raw

from evmbilling.adapters.evm.rpc.hexes import read_quantity
from evmbilling.adapters.evm.rpc.http import HttpAnswer, NoAnswer, NodeHttp
from evmbilling.adapters.evm.rpc.redact import Redactor
from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, classify
from evmbilling.errors import RpcRefused

LARGEST_BATCH: Final = 50
_GROW_AFTER: Final = 100
"""Full batches that a node took since it refused one."""
_OK: Final = 200
_TOO_MANY: Final = 429
_CLOSED: Final = (401, 402, 403)
_SERVER_FAULT: Final = 500
_BATCH_TOO_LARGE: Final = (400, 413)
_REVERT_DATA: Final = 4096

Results = list[Raw | RpcRefused]


@frozen
class Call:
    """One call: a method and its positional parameters (JSON values)."""

    method: str
    params: tuple[Any, ...] = ()


class _Fault(msgspec.Struct):
    """An error object; some nodes write the code as a text, or leave the message null."""

    code: int | str | float | None = 0
    message: str | None = ""
    data: Any = None

    @property
    def text(self) -> str:
        """The message; empty where there is none."""
        return self.message or ""

    @property
    def number(self) -> int:
        """The code; 0 where it is none."""
        try:
            return int(self.code or 0)
        except (ValueError, OverflowError):
            return 0


_ABSENT: Final = Raw(b"")


class _Reply(msgspec.Struct):
    id: int | str | None = None
    result: Raw = _ABSENT
    error: _Fault | str | None = None


_ONE = msgspec.json.Decoder(_Reply)
_MANY = msgspec.json.Decoder(list[_Reply])


class _BatchRefused(Exception):
    """The node takes no batch of this size."""


class Exchange:
    """Questions to one node and its answers. Safe for threads.

    Args:
        redactor: keeps urls out of what the node says.
        ids: numbers for requests, never the same one twice.

    """

    def __init__(self, http: NodeHttp, redactor: Redactor, ids: Iterator[int]) -> None:
        self.http = http
        self._redactor, self._ids = redactor, ids
        self._batch, self._taken = LARGEST_BATCH, 0

    def __repr__(self) -> str:
        return "<Exchange>"

    @property
    def batch(self) -> int:
        """How many calls the node takes at once, as far as is known."""
        return self._batch

    def ask(self, calls: Sequence[Call], *, timeout: float | None = None) -> Results:
        """Ask for the first calls, as many as the node takes at once, and return their results, in order.

        Raises:
            NoAnswer: none that can be used, or "too many requests" for any of them.

        """
        while True:
            part = calls[: self._batch]
            try:
                results = self._once(part, timeout)
            except _BatchRefused:
                self._batch, self._taken = max(1, len(part) // 2), 0
            else:
                self._grow(len(part))
                return results

    def _grow(self, calls: int) -> None:
        """Try larger batches again after many that were taken: an error of a moment had made them small."""
        if calls == self._batch < LARGEST_BATCH:
            self._taken += 1
            if self._taken >= _GROW_AFTER:
                self._batch, self._taken = min(2 * self._batch, LARGEST_BATCH), 0

    def _once(self, calls: Sequence[Call], timeout: float | None) -> Results:
        ids = [next(self._ids) for _ in calls]
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": call.method, "params": call.params}
            for number, call in zip(ids, calls, strict=True)
        ]
        batch = len(calls) > 1
        answer = self.http.post(msgspec.json.encode(requests if batch else requests[0]), timeout=timeout)
        told = _read_replies(answer, batch=batch)
        replies = {reply.id: reply for reply in told}
        if len(calls) == 1 and None in replies and replies[None].error is not None:
            replies = {ids[0]: replies[None]}  # some nodes answer an error without the id
        if replies.keys() != set(ids) or len(told) != len(ids):
            raise NoAnswer("the answer does not fit the question", "misfit")
        return [self._result(answer, call, replies[number]) for number, call in zip(ids, calls, strict=True)]

    def _result(self, answer: HttpAnswer, call: Call, reply: _Reply) -> Raw | RpcRefused:
        if reply.error is None:
            if reply.result is _ABSENT:
                raise NoAnswer("the answer holds neither a result nor an error", "no_rpc")
            return reply.result
        fault = _Fault(message=reply.error) if isinstance(reply.error, str) else reply.error
        refusal = _sort(answer, fault)
        if refusal.kind is RefusalKind.RATE:
            raise _too_many(answer, refusal)
        return RpcRefused(
            f"{call.method}: {self._redactor.clean(fault.text)}",
            method=call.method,
            rpc_code=fault.number,
            refusal=refusal,
            data=_revert_data(fault.data),
        )


def read_number(answer: Raw | RpcRefused, what: str) -> int:
    """Read a quantity that every node can tell.

    Raises:
        NoAnswer: it is none.

    """
    number = None
    try:
        if not isinstance(answer, RpcRefused):
            number = read_quantity(msgspec.json.decode(answer, type=str))
    except (msgspec.MsgspecError, ValueError):
        number = None
    if number is None:
        raise NoAnswer(f"it does not tell its {what}", "misfit")
    return number


def _read_replies(answer: HttpAnswer, *, batch: bool) -> list[_Reply]:
    """Read an answer; an error object is an answer whatever the HTTP status."""
    replies: list[_Reply] | None = None
    status, body = answer.status, answer.body
    try:
        replies = _MANY.decode(body) if body.lstrip()[:1] == b"[" else [_ONE.decode(body)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        replies = None
    if replies is not None and status == _OK and (len(replies) > 1 or not batch):
        return replies
    error = replies[0].error if replies and len(replies) == 1 else None
    if error:
        _believe_or_leave(answer, _Fault(message=error) if isinstance(error, str) else error, batch=batch)
        return replies or []
    if status == _TOO_MANY:
        raise _too_many(answer, None)
    if status in _CLOSED:
        raise NoAnswer(f"HTTP status {status}", "closed")
    if batch and status in _BATCH_TOO_LARGE:
        raise _BatchRefused
    if status == _OK:
        raise NoAnswer("the answer is no JSON-RPC", "no_rpc")
    raise NoAnswer(f"HTTP status {status}", "http_status", retry_after=answer.retry_after)


def _believe_or_leave(answer: HttpAnswer, fault: _Fault, *, batch: bool) -> None:
    """Return when one error object is an answer to what was asked; raise what it is otherwise."""
    refusal = _sort(answer, fault)
    if refusal.kind is RefusalKind.RATE:
        raise _too_many(answer, refusal)
    if refusal.kind is RefusalKind.FAULT:
        if answer.status in _CLOSED:
            raise NoAnswer(f"HTTP status {answer.status}", "closed")
        if answer.status >= _SERVER_FAULT:
            raise NoAnswer(f"HTTP status {answer.status}", "http_status", retry_after=answer.retry_after)
    if batch:
        raise _BatchRefused


def _sort(answer: HttpAnswer, fault: _Fault) -> Refusal:
    return classify(status=answer.status, code=fault.number, message=fault.text, data=fault.data)


def _too_many(answer: HttpAnswer, refusal: Refusal | None) -> NoAnswer:
    told = answer.retry_after
    if told is None and refusal is not None:
        told = refusal.retry_after
    return NoAnswer("too many requests", "rate", retry_after=told)


def _revert_data(data: Any) -> str | None:
    """Keep what a contract reverted with; a node's other data is its own affair and could repeat our url."""
    if isinstance(data, str) and data.startswith("0x") and len(data) <= _REVERT_DATA:
        digits = data[2:]
        return data if not digits.strip("0123456789abcdefABCDEF") else None
    return None
