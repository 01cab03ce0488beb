"""PromQL over a source of series: the part of the language that alerts, dashboards and checks here speak.

What is parsed but not played (subqueries, `@`, some functions) answers with an error that says so.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

import promql_parser as parser

from ocifree_pipeline.sandbox.grafana import promql_functions as functions
from ocifree_pipeline.sandbox.grafana.metrics import Match, Source
from ocifree_pipeline.sandbox.grafana.wire import Labels

LOOKBACK_MS = 5 * 60 * 1000

Vector = list[tuple[Labels, float]]
Value = float | str | Vector


class Wrong(ValueError):
    """The query is not PromQL, or not what can be computed from it."""


class NotPlayed(Wrong):
    """PromQL that the sandbox does not compute."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the sandbox does not play {what}")


@lru_cache(maxsize=512)
def parsed(query: str) -> Any:
    try:
        return parser.parse(query)
    except ValueError as error:
        raise Wrong(f'invalid parameter "query": {error}') from error


def instant(source: Source, query: str, at: int) -> Value:
    """The value at a moment in milliseconds."""
    return _Evaluation(source, at).value(parsed(query))


def ranged(source: Source, query: str, start: int, end: int, step: int) -> list[tuple[Labels, list[tuple[int, float]]]]:
    """A value at each step, as series."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for at in range(start, end + 1, step):
        value = instant(source, query, at)
        if isinstance(value, str):
            raise Wrong('invalid expression type "string" for range query, must be Scalar or instant Vector')
        for labels, number in [({}, value)] if isinstance(value, float) else value:
            found.setdefault(tuple(sorted(labels.items())), []).append((at, number))
    return [(dict(key), points) for key, points in found.items()]


def matches_of(selector: Any) -> list[Match]:
    """The matchers of a vector selector, its name included."""
    found = [Match("__name__", _equals(selector.name))] if selector.name else []
    if selector.matchers.or_matchers:
        raise NotPlayed("`or` between matchers")
    return found + [Match(one.name, _test(one.op, one.value)) for one in selector.matchers.matchers]


def _test(op: Any, value: str) -> Callable[[str], bool]:
    if op in (parser.MatchOp.Equal, parser.MatchOp.NotEqual):
        wanted = op == parser.MatchOp.Equal
        return lambda text: (text == value) is wanted
    compiled, wanted = _regex(value), op == parser.MatchOp.Re
    return lambda text: (compiled.fullmatch(text) is not None) is wanted


def _equals(value: str) -> Callable[[str], bool]:
    return lambda text: text == value


@lru_cache(maxsize=512)
def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise Wrong(f"error parsing regexp: {error}") from error


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": functions.divide,
    "%": functions.modulo,
    "^": functions.power,
}
COMPARISON: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


@dataclass(slots=True)
class _Evaluation:
    source: Source
    at: int
    seen: dict[str, Vector] = field(default_factory=dict)

    def value(self, node: Any) -> Value:
        match node:
            case parser.NumberLiteral():
                return float(node.val)
            case parser.StringLiteral():
                return str(node.val)
            case parser.ParenExpr():
                return self.value(node.expr)
            case parser.UnaryExpr():
                value = self.value(node.expr)
                return -value if isinstance(value, float) else [(_bare(a), -b) for a, b in self.vector(node.expr)]
            case parser.VectorSelector():
                return self._select(node)
            case parser.AggregateExpr():
                return self._aggregate(node)
            case parser.BinaryExpr():
                return self._binary(node)
            case parser.Call():
                return self._call(node)
            case parser.MatrixSelector():
                raise Wrong('invalid expression type "range vector" for an instant query')
        raise NotPlayed(f"{type(node).__name__} ({node.prettify()})")

    def vector(self, node: Any) -> Vector:
        value = self.value(node)
        if not isinstance(value, list):
            raise Wrong(f"expected an instant vector: {node.prettify()}")
        return value

    def scalar(self, node: Any) -> float:
        value = self.value(node)
        if not isinstance(value, float):
            raise Wrong(f"expected a scalar: {node.prettify()}")
        return value

    # selectors ------------------------------------------------------------------------------------------------------

    def _select(self, node: Any) -> Vector:
        at = self.at - _offset(node)
        found = self.source(matches_of(node), at - LOOKBACK_MS, at)
        return [(labels, values[-1]) for labels, _, values in found if not functions.is_stale(values[-1])]

    def _window(self, node: Any) -> tuple[list[tuple[Labels, list[int], list[float]]], int, int]:
        if not isinstance(node, parser.MatrixSelector):
            raise Wrong(f"expected a range vector: {node.prettify()}")
        selector = node.vector_selector
        until = self.at - _offset(selector)
        since = until - _milliseconds(node.range)
        found = []
        for labels, times, values in self.source(matches_of(selector), since, until):
            alive = [(time, value) for time, value in zip(times, values, strict=True) if not functions.is_stale(value)]
            if alive:
                found.append((labels, [time for time, _ in alive], [value for _, value in alive]))
        return found, since, until

    # operators ------------------------------------------------------------------------------------------------------

    def _aggregate(self, node: Any) -> Vector:
        groups: dict[tuple[tuple[str, str], ...], Vector] = {}
        for labels, value in self.vector(node.expr):
            groups.setdefault(tuple(sorted(_grouped(labels, node.modifier).items())), []).append((labels, value))
        name = str(node.op)
        if name in {"topk", "bottomk"}:
            most = int(self.scalar(node.param))
            ranked = (sorted(one, key=lambda pair: pair[1], reverse=name == "topk") for one in groups.values())
            return [pair for one in ranked for pair in one[:most]]
        if name == "quantile":
            share = self.scalar(node.param)
            return [(dict(key), functions.quantile(share, [v for _, v in one])) for key, one in groups.items()]
        function = functions.AGGREGATIONS.get(name)
        if function is None:
            raise NotPlayed(f"the aggregation {name}")
        return [(dict(key), function([v for _, v in one])) for key, one in groups.items()]

    def _binary(self, node: Any) -> Value:
        name = str(node.op)
        if name in {"and", "or", "unless"}:
            return _sets(name, self.vector(node.lhs), self.vector(node.rhs), node.modifier)
        if name not in ARITHMETIC and name not in COMPARISON:
            raise NotPlayed(f"the operator {name}")
        left, right = self.value(node.lhs), self.value(node.rhs)
        if isinstance(left, str) or isinstance(right, str):
            raise Wrong("binary expression must contain only scalar and instant vector types")
        modifier = node.modifier
        keep_bool = modifier is not None and modifier.return_bool
        if isinstance(left, float) and isinstance(right, float):
            return ARITHMETIC[name](left, right) if name in ARITHMETIC else float(COMPARISON[name](left, right))
        if isinstance(left, list) and isinstance(right, list):
            return _matched(name, left, right, modifier, keep_bool)
        found: Vector = []
        series: Vector = left if isinstance(left, list) else right if isinstance(right, list) else []
        for labels, value in series:
            first = left if isinstance(left, float) else value
            second = right if isinstance(right, float) else value
            result = _computed(name, first, second, value, keep_bool)
            if result is not None:
                found.append((labels if name in COMPARISON and not keep_bool else _bare(labels), result))
        return found

    # functions ------------------------------------------------------------------------------------------------------

    def _call(self, node: Any) -> Value:
        name, arguments = str(node.func.name), list(node.args)
        if name in functions.OVER_TIME:
            *before, window = arguments if name != "predict_linear" else [arguments[1], arguments[0]]
            parameters = [self.scalar(one) for one in before]
            series, since, until = self._window(window)
            found: Vector = []
            for labels, times, values in series:
                over = functions.Over(times, values, since, until)
                result = functions.OVER_TIME[name](over, *parameters)
                if result is not None:
                    found.append((labels if name == "last_over_time" else _bare(labels), result))
            return found
        if name in functions.EACH:
            parameters = [self.scalar(one) for one in arguments[1:]]
            return [
                (_bare(labels), functions.EACH[name](value, *parameters)) for labels, value in self.vector(arguments[0])
            ]
        match name:
            case "absent":
                return [] if self.vector(arguments[0]) else [(_absent_labels(arguments[0]), 1.0)]
            case "absent_over_time":
                return [] if self._window(arguments[0])[0] else [(_absent_labels(arguments[0].vector_selector), 1.0)]
            case "time":
                return self.at / 1000
            case "timestamp":
                return [(_bare(labels), self.at / 1000) for labels, _ in self.vector(arguments[0])]
            case "vector":
                return [({}, self.scalar(arguments[0]))]
            case "scalar":
                only = self.vector(arguments[0])
                return only[0][1] if len(only) == 1 else math.nan
            case "sort" | "sort_desc":
                return sorted(self.vector(arguments[0]), key=lambda pair: pair[1], reverse=name == "sort_desc")
            case "label_replace":
                target, replacement, source, pattern = (str(self.value(one)) for one in arguments[1:])
                return [
                    (functions.relabelled(labels, target, replacement, source, _regex(pattern)), value)
                    for labels, value in self.vector(arguments[0])
                ]
        raise NotPlayed(f"the function {name}")


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _offset(selector: Any) -> int:
    if selector.at is not None:
        raise NotPlayed("the modifier @")
    return 0 if selector.offset is None else _milliseconds(selector.offset)


def _bare(labels: Labels) -> Labels:
    return {name: value for name, value in labels.items() if name != "__name__"}


def _grouped(labels: Labels, modifier: Any) -> Labels:
    if modifier is None:
        return {}
    if modifier.type == parser.AggModifierType.By:
        return {name: labels[name] for name in modifier.labels if name in labels}
    return {name: value for name, value in labels.items() if name not in {*modifier.labels, "__name__"}}


def _signature(labels: Labels, modifier: Any) -> tuple[tuple[str, str], ...]:
    matching = None if modifier is None else modifier.matching
    if matching is None:
        return tuple(sorted(_bare(labels).items()))
    if matching.type == parser.LabelModifierType.Include:
        return tuple((name, labels.get(name, "")) for name in sorted(matching.labels))
    return tuple(sorted((n, v) for n, v in labels.items() if n not in {*matching.labels, "__name__"}))


def _sets(name: str, left: Vector, right: Vector, modifier: Any) -> Vector:
    there = {_signature(labels, modifier) for labels, _ in right}
    if name == "and":
        return [pair for pair in left if _signature(pair[0], modifier) in there]
    if name == "unless":
        return [pair for pair in left if _signature(pair[0], modifier) not in there]
    first = {_signature(labels, modifier) for labels, _ in left}
    return [*left, *(pair for pair in right if _signature(pair[0], modifier) not in first)]


def _matched(name: str, left: Vector, right: Vector, modifier: Any, keep_bool: bool) -> Vector:
    """Vector matching: one to one, or many to one where group_left or group_right says so."""
    card = None if modifier is None else modifier.card
    swapped = card == parser.VectorMatchCardinality.OneToMany
    many, one = (right, left) if swapped else (left, right)
    index: dict[tuple[tuple[str, str], ...], tuple[Labels, float]] = {}
    for labels, value in one:
        key = _signature(labels, modifier)
        if key in index:
            raise Wrong(
                "found duplicate series for the match group on one side of the operation: "
                "many-to-many matching not allowed"
            )
        index[key] = (labels, value)
    grouped = swapped or card == parser.VectorMatchCardinality.ManyToOne
    found: Vector = []
    used = set()
    for labels, value in many:
        key = _signature(labels, modifier)
        if key not in index:
            continue
        if not grouped and key in used:
            raise Wrong("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")
        used.add(key)
        other_labels, other = index[key]
        pair = (other, value) if swapped else (value, other)
        result = _computed(name, *pair, pair[0], keep_bool)
        if result is None:
            continue
        if grouped:
            extra = {n: other_labels[n] for n in modifier.group_labels or () if n in other_labels}
            kept = labels if name in COMPARISON and not keep_bool else _bare(labels)
            found.append(({**kept, **extra}, result))
        elif name in COMPARISON and not keep_bool:
            found.append((labels if modifier is None or modifier.matching is None else dict(key), result))
        else:
            found.append(({n: v for n, v in key if v}, result))
    return found


def _computed(name: str, left: float, right: float, kept: float, keep_bool: bool) -> float | None:
    if name in ARITHMETIC:
        return ARITHMETIC[name](left, right)
    holds = COMPARISON[name](left, right)
    return float(holds) if keep_bool else (kept if holds else None)


def _absent_labels(node: Any) -> Labels:
    """The labels that the selector fixes by equality."""
    while isinstance(node, parser.ParenExpr):
        node = node.expr
    if not isinstance(node, parser.VectorSelector):
        return {}
    pairs = [(m.name, m.value) for m in node.matchers.matchers if m.op == parser.MatchOp.Equal]
    return {name: value for name, value in pairs if value and [n for n, _ in pairs].count(name) == 1}
