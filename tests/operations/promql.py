"""Evaluates the part of PromQL that the alert rules use, as Prometheus does, on scrapes that a test has made.

No package evaluates PromQL outside a server. What is written here follows the Prometheus documentation ("Querying":
operators, functions) and the extrapolation of its ``rate`` and ``increase``; a construct that is not known is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import promql_parser as p
from attrs import define, field, frozen
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
_STALE = 300
"""Seconds after which a series that is no longer scraped is gone."""


@frozen
class Scrape:
    at: float
    series: dict[tuple[str, Labels], float]

    @classmethod
    def of(cls, at: float, *pages: str) -> Scrape:
        found = {}
        for page in pages:
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    found[sample.name, frozenset(sample.labels.items())] = sample.value
        return cls(at, found)


@define
class Prometheus:
    """What a server would have kept of a few scrapes, the oldest first."""

    scrapes: list[Scrape] = field(factory=list)

    def scrape(self, at: float, *pages: str) -> None:
        self.scrapes.append(Scrape.of(at, *pages))

    def fires(self, expression: str, at: float | None = None) -> list[dict[str, str]]:
        """Return the labels of everything for which an expression is true now."""
        now = self.scrapes[-1].at if at is None else at
        result = self._value(p.parse(expression), now)
        assert isinstance(result, dict), "an alert needs a vector"
        return [dict(labels) for labels in result]

    def _value(self, node: p.Expr, at: float) -> Vector | float:
        match node:
            case p.NumberLiteral():
                return float(node.val)
            case p.ParenExpr():
                return self._value(node.expr, at)
            case p.VectorSelector():
                return self._instant(node, at)
            case p.Call():
                return self._call(node, at)
            case p.AggregateExpr():
                return self._aggregate(node, at)
            case p.BinaryExpr():
                return self._binary(node, at)
        raise NotImplementedError(type(node).__name__)

    # -- selecting

    def _instant(self, node: p.VectorSelector, at: float) -> Vector:
        last = next((s for s in reversed(self.scrapes) if s.at <= at), None)
        if last is None or at - last.at > _STALE:
            return {}
        return {labels: value for (name, labels), value in last.series.items() if _matches(node, name, labels)}

    def _range(self, node: p.MatrixSelector, at: float) -> dict[Labels, list[tuple[float, float]]]:
        found: dict[Labels, list[tuple[float, float]]] = {}
        since = at - node.range.total_seconds()
        for scrape in self.scrapes:
            if since < scrape.at <= at:
                for (name, labels), value in scrape.series.items():
                    if _matches(node.vector_selector, name, labels):
                        found.setdefault(labels, []).append((scrape.at, value))
        return found

    # -- computing

    def _call(self, node: p.Call, at: float) -> Vector | float:
        name = node.func.name
        if name == "time":
            return at
        (given,) = node.args
        if name in {"rate", "increase"}:
            assert isinstance(given, p.MatrixSelector)
            span = given.range.total_seconds()
            grown = {labels: _increase(samples, at, span) for labels, samples in self._range(given, at).items()}
            per = span if name == "rate" else 1
            return {labels: value / per for labels, value in grown.items() if value is not None}
        value = self._value(given, at)
        assert isinstance(value, dict)
        if name == "abs":
            return {labels: abs(number) for labels, number in value.items()}
        if name == "absent":
            return {} if value else {frozenset(): 1.0}
        raise NotImplementedError(name)

    def _aggregate(self, node: p.AggregateExpr, at: float) -> Vector:
        how: dict[str, Callable[[Iterable[float]], float]] = {"sum": math.fsum, "max": max, "min": min}
        value = self._value(node.expr, at)
        assert isinstance(value, dict)
        assert node.modifier is None or node.modifier.type == p.AggModifierType.By
        kept = set() if node.modifier is None else set(node.modifier.labels)
        groups: dict[Labels, list[float]] = {}
        for labels, number in value.items():
            groups.setdefault(frozenset(pair for pair in labels if pair[0] in kept), []).append(number)
        return {labels: how[str(node.op)](numbers) for labels, numbers in groups.items()}

    def _binary(self, node: p.BinaryExpr, at: float) -> Vector | float:
        left, right, word = self._value(node.lhs, at), self._value(node.rhs, at), str(node.op)
        if word == "and":
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            assert node.modifier.matching is not None, "only `and on()` is known here"
            return left if right else {}
        if isinstance(left, float) and isinstance(right, float):
            return _COMPUTED[word](left, right)
        pairs = _paired(left, right)
        if word in _COMPARED:
            return {labels: x for labels, (x, y) in pairs.items() if _COMPARED[word](x, y)}
        return {labels: _COMPUTED[word](x, y) for labels, (x, y) in pairs.items()}


_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">": lambda x, y: x > y,
    "<": lambda x, y: x < y,
    "==": lambda x, y: x == y,
}
_COMPUTED: dict[str, Callable[[float, float], float]] = {
    "-": lambda x, y: x - y,
    "+": lambda x, y: x + y,
    "/": lambda x, y: x / y if y else math.nan,
}


def _paired(left: Vector | float, right: Vector | float) -> dict[Labels, tuple[float, float]]:
    """Match two sides one to one by all of their labels; what is on one side only is left out."""
    if isinstance(right, float):
        assert isinstance(left, dict)
        return {labels: (value, right) for labels, value in left.items()}
    if isinstance(left, float):
        return {labels: (left, value) for labels, value in right.items()}
    return {labels: (value, right[labels]) for labels, value in left.items() if labels in right}


def _matches(node: p.VectorSelector, name: str, labels: Labels) -> bool:
    if name != node.name:
        return False
    held = dict(labels)
    for matcher in node.matchers.matchers:
        value, op = held.get(matcher.name, ""), matcher.op
        exact = op in (p.MatchOp.Equal, p.MatchOp.NotEqual)
        same = value == matcher.value if exact else re.fullmatch(matcher.value, value) is not None
        if same != (op in (p.MatchOp.Equal, p.MatchOp.Re)):
            return False
    return True


def _increase(samples: Sequence[tuple[float, float]], at: float, span: float) -> float | None:
    """Return by how much a counter grew, extrapolated to the range as Prometheus does; None for one sample."""
    if len(samples) < 2:
        return None
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    resets = sum(before for (_, before), (_, after) in pairwise(samples) if after < before)
    grown, sampled = last - first + resets, last_at - first_at
    average = sampled / (len(samples) - 1)
    to_start, to_end = first_at - (at - span), at - last_at
    if grown > 0 and first >= 0:
        to_start = min(to_start, sampled * first / grown)
    ends = [side if side < 1.1 * average else average / 2 for side in (to_start, to_end)]
    return grown * (sampled + sum(ends)) / sampled
