"""The Monitoring Query Language, as far as the sandbox answers it: ``Metric[5m]{name = "value"}.groupBy(name).mean()``.

An expression is read token by token. What the language has and the sandbox does not answer (joins, nested queries,
predicates, regular expressions, some statistics) is refused by name with 501; what is no expression, with 400.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ocifree_pipeline.sandbox.oracle import errors

TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_\-]*)|(?P<number>\d+(?:\.\d+)?)(?P<unit>[mhd])?"
    r'|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<mark>=~|!=|>=|<=|&&|\|\||[\[\]{}().,=<>]))'
)
LONGEST = {"m": 60, "h": 24, "d": 1}
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
UNANSWERED = frozenset({"absent", "first", "increment", "last", "rate"})

Statistic = Callable[[Sequence[float]], float]

STATISTICS: dict[str, Statistic] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "avg": lambda values: math.fsum(values) / len(values),
    "sum": math.fsum,
    "max": max,
    "min": min,
    "count": lambda values: float(len(values)),
}


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """``group_by`` None keeps every stream by itself; an empty one makes a single stream of them all."""

    metric: str
    interval: timedelta
    statistic: Statistic
    dimensions: dict[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] | None = None


def parse_query(text: str) -> MetricQuery:
    """The query behind an expression, or Oracle's refusal."""
    return _Reader(text).query()


def parse_interval(text: str) -> timedelta:
    """``1m`` to ``60m``, ``1h`` to ``24h``, or ``1d``."""
    match = re.fullmatch(r"(\d+)([mhd])", text)
    if match is None or not 1 <= int(match[1]) <= LONGEST[match[2]]:
        raise errors.invalid_parameter(f"{text!r} is no interval: 1m to 60m, 1h to 24h, or 1d")
    return int(match[1]) * UNITS[match[2]]


def percentile(share: float) -> Statistic:
    """The value that so many of the values do not pass."""

    def of(values: Sequence[float]) -> float:
        ordered = sorted(values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return of


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())
        self.at = 0

    def query(self) -> MetricQuery:
        if self._next_is("("):
            raise errors.not_built("nested MQL queries")
        metric = self._take("word", "a metric")
        self._mark("[")
        interval = parse_interval(self._take("interval", "an interval"))
        self._mark("]")
        dimensions = self._dimensions() if self._next_is("{") else {}
        group_by: tuple[str, ...] | None = None
        self._mark(".")
        name = self._take("word", "a statistic")
        if name in {"groupBy", "grouping"}:
            group_by = self._names()
            if (name == "groupBy") != bool(group_by):
                raise self._wrong(f"{name}() {'needs' if name == 'groupBy' else 'takes no'} names")
            self._mark(".")
            name = self._take("word", "a statistic")
        statistic = self._statistic(name)
        if self.at < len(self.tokens):
            raise errors.not_built(f"MQL after the statistic ({self.tokens[self.at][1]!r})")
        return MetricQuery(metric, interval, statistic, dimensions, group_by)

    def _dimensions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self._mark("{")
        while True:
            name = self._take("word", "the name of a dimension")
            if self._next_is("=~") or self._next_is("!="):
                raise errors.not_built(f"the MQL operator {self.tokens[self.at][1]}")
            self._mark("=")
            found[name] = re.sub(r"\\(.)", r"\1", self._take("text", "a value in double quotes"))
            if self._next_is("||"):
                raise errors.not_built("the MQL operator ||")
            if self._next_is("}"):
                self._mark("}")
                return found
            self._mark("," if self._next_is(",") else "&&")

    def _names(self) -> tuple[str, ...]:
        names: list[str] = []
        self._mark("(")
        while not self._next_is(")"):
            if names:
                self._mark(",")
            names.append(self._take("word", "the name of a dimension"))
        self._mark(")")
        return tuple(names)

    def _statistic(self, name: str) -> Statistic:
        if name in UNANSWERED:
            raise errors.not_built(f"the MQL statistic {name}()")
        self._mark("(")
        if name == "percentile":
            share = float(self._take("number", "a share such as 0.95"))
            if not 0 < share < 1:
                raise self._wrong("the share of a percentile is between 0 and 1")
            found = percentile(share)
        elif name in STATISTICS:
            found = STATISTICS[name]
        else:
            raise self._wrong(f"{name}() is no statistic")
        self._mark(")")
        return found

    # tokens -------------------------------------------------------------------------------------------------------

    def _tokens(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        at, text = 0, self.text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise self._wrong(f"{text[at : at + 10]!r} is not understood")
            kind = "interval" if match["unit"] else str(match.lastgroup)
            value = match["number"] + match["unit"] if match["unit"] else match[kind]
            found.append((kind, value))
            at = match.end()
        return found

    def _next_is(self, mark: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] == ("mark", mark)

    def _mark(self, mark: str) -> None:
        if not self._next_is(mark):
            raise self._wrong(f"{mark!r} is missing")
        self.at += 1

    def _take(self, kind: str, what: str) -> str:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != kind:
            raise self._wrong(f"{what} is missing")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _wrong(self, why: str) -> errors.OracleError:
        return errors.invalid_parameter(f"The query {self.text!r} is not valid: {why}")
