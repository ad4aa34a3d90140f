"""Where something was raised: frames and kinds, and no words but our own."""

from __future__ import annotations

import pytest

from evmbilling.domain.traces import summary_of, trace_of
from evmbilling.errors import InputError, StorageError


def inner(words):
    raise ConnectionError(words)


def outer(words):
    try:
        inner(words)
    except ConnectionError as error:
        raise StorageError("the database does not answer") from error


def test_causes_come_first_and_only_ours_say_something():
    with pytest.raises(StorageError) as caught:
        outer("postgresql://billing:hunter2@db")
    lines = trace_of(caught.value).splitlines()
    words = [line.rpartition(" ")[2] for line in lines if ":" in line and ".py" in line]
    assert words == ["outer", "inner", "test_causes_come_first_and_only_ours_say_something", "outer"]
    assert "ConnectionError" in lines
    assert lines[-1] == "StorageError: the database does not answer"
    assert "hunter2" not in "".join(lines)


def test_a_circle_of_causes_ends():
    one, other = ValueError("x"), KeyError("y")
    one.__cause__, other.__cause__ = other, one
    assert trace_of(one).splitlines() == ["KeyError", "ValueError"]


def test_a_suppressed_cause_is_left_out():
    def refused():
        try:
            inner("secret")
        except ConnectionError:
            raise InputError("not a number", field="x") from None

    with pytest.raises(InputError) as caught:
        refused()
    assert "ConnectionError" not in trace_of(caught.value)
    assert summary_of(caught.value) == f"InputError: {caught.value}"
    assert summary_of(OSError("secret")) == "OSError"
