"""The functions of PromQL, each on plain numbers."""

from __future__ import annotations

import math
import re
import statistics
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ocifree_pipeline.sandbox.grafana.wire import Labels

STALE: float = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
"""A sender writes it when a series has ended."""


def is_stale(value: float) -> bool:
    return math.isnan(value) and struct.pack("<d", value) == struct.pack("<d", STALE)


@dataclass(frozen=True, slots=True)
class Over:
    """The points of one series in a window (milliseconds), never empty."""

    times: list[int]
    values: list[float]
    since: int
    until: int


def divide(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right


def modulo(left: float, right: float) -> float:
    return math.fmod(left, right) if right and math.isfinite(left) else math.nan


def power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except (OverflowError, ValueError):
        return math.nan if left < 0 else math.inf


def increase(over: Over) -> float | None:
    return _extrapolated(over, counter=True)


def delta(over: Over) -> float | None:
    return _extrapolated(over, counter=False)


def rate(over: Over) -> float | None:
    whole = increase(over)
    return None if whole is None else whole / ((over.until - over.since) / 1000)


def _extrapolated(over: Over, *, counter: bool) -> float | None:
    """What changed in the window, stretched to its edges where the points come near enough to them."""
    if len(over.times) < 2:
        return None
    result = over.values[-1] - over.values[0]
    if counter:
        pairs = zip(over.values, over.values[1:], strict=False)
        result += sum(before for before, after in pairs if after < before)
    sampled = (over.times[-1] - over.times[0]) / 1000
    if sampled == 0:
        return None
    between = sampled / (len(over.times) - 1)
    at_start = (over.times[0] - over.since) / 1000
    at_end = (over.until - over.times[-1]) / 1000
    if counter and result > 0 and over.values[0] >= 0:
        at_start = min(at_start, sampled * (over.values[0] / result))
    near = between * 1.1
    stretched = sampled + (at_start if at_start < near else between / 2) + (at_end if at_end < near else between / 2)
    return result * stretched / sampled


def irate(over: Over) -> float | None:
    if len(over.times) < 2:
        return None
    last, before = over.values[-1], over.values[-2]
    return (last if last < before else last - before) / ((over.times[-1] - over.times[-2]) / 1000)


def slope(over: Over) -> tuple[float, float] | None:
    """Slope a second and value at the end of the window, by least squares."""
    if len(over.times) < 2:
        return None
    xs = [(time - over.until) / 1000 for time in over.times]
    try:
        found = statistics.linear_regression(xs, over.values)
    except statistics.StatisticsError:
        return None
    return found.slope, found.intercept


def deriv(over: Over) -> float | None:
    found = slope(over)
    return None if found is None else found[0]


def predict_linear(over: Over, seconds: float) -> float | None:
    found = slope(over)
    return None if found is None else found[1] + found[0] * seconds


def quantile(share: float, values: list[float]) -> float:
    if not values or math.isnan(share):
        return math.nan
    if not 0 <= share <= 1:
        return math.copysign(math.inf, share - 0.5)
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _changes(over: Over) -> float:
    return float(sum(a != b for a, b in zip(over.values, over.values[1:], strict=False)))


def _resets(over: Over) -> float:
    return float(sum(b < a for a, b in zip(over.values, over.values[1:], strict=False)))


OVER_TIME: Mapping[str, Callable[..., float | None]] = {
    "rate": rate,
    "irate": irate,
    "increase": increase,
    "delta": delta,
    "deriv": deriv,
    "predict_linear": predict_linear,
    "changes": _changes,
    "resets": _resets,
    "avg_over_time": lambda over: statistics.fmean(over.values),
    "min_over_time": lambda over: min(over.values),
    "max_over_time": lambda over: max(over.values),
    "sum_over_time": lambda over: math.fsum(over.values),
    "count_over_time": lambda over: float(len(over.values)),
    "last_over_time": lambda over: over.values[-1],
    "present_over_time": lambda over: 1.0,
    "quantile_over_time": lambda over, share: quantile(share, over.values),
}
AGGREGATIONS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "avg": statistics.fmean,
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stddev": statistics.pstdev,
}
EACH: Mapping[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": lambda value: float(math.ceil(value)) if math.isfinite(value) else value,
    "floor": lambda value: float(math.floor(value)) if math.isfinite(value) else value,
    "round": lambda value, to=1.0: math.floor(value / to + 0.5) * to if math.isfinite(value) else value,
    "clamp_min": max,
    "clamp_max": min,
    "clamp": lambda value, low, high: max(low, min(high, value)),
}


def relabelled(labels: Labels, target: str, replacement: str, source: str, pattern: re.Pattern[str]) -> Labels:
    """label_replace: `$1` stands for a group; no match leaves the labels alone."""
    found = pattern.fullmatch(labels.get(source, ""))
    if found is None:
        return labels
    template = re.sub(r"\$(\w+|\{\w+\})", lambda one: rf"\g<{one[1].strip('{}')}>", replacement.replace("\\", r"\\"))
    value = found.expand(template)
    return {**labels, target: value} if value else {key: text for key, text in labels.items() if key != target}
