"""The samples that were pushed, and the limits of a free stack: what is above them is discarded, and said so.

A series keeps its last points only; enough for every window that alerts and dashboards of a day look at.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.grafana.wire import Labels, Series
from ocifree_pipeline.sandbox.world import World

ACTIVE_SECONDS = 30 * 60
KEPT_POINTS = 90
BURST_SECONDS = 20
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
MOST_LABELS, MOST_VALUE = 40, 2048

Points = tuple[list[int], list[float]]


@dataclass(frozen=True, slots=True)
class Match:
    """A label matcher of a selector. Regular expressions match the whole value; a missing label is empty."""

    label: str
    test: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Discarded(Exception):
    """Part of a request was not taken; the rest was."""

    status: int
    message: str


Source = Callable[[list[Match], int, int], Iterator[tuple[Labels, list[int], list[float]]]]
"""The series that match, with their points after the first and up to the second moment (milliseconds)."""


def push(world: World, series: Iterable[Series]) -> int:
    """Store what fits. Returns the samples taken; Discarded says what was not."""
    kept, limits = _kept(world), stack.limits(world)
    now = world.clock.now().timestamp()
    incoming = list(series)
    _within_rate(world, sum(len(one.samples) for one in incoming), limits)
    active, taken, over, broken = active_series(world), 0, 0, ""
    for one in incoming:
        broken = _problem(one.labels) or broken
        if _problem(one.labels):
            continue
        key = _key(one.labels)
        found = kept.get(key)
        if found is None or found["seen"] < now - ACTIVE_SECONDS:
            if active >= limits.series:
                over += 1
                continue
            active += 1
        if found is None:
            found = kept[key] = {"labels": one.labels, "t": [], "v": [], "seen": now}
        found["seen"] = now
        taken += sum(_put(found, time, value) for time, value in one.samples)
    if over:
        _count_discarded(world, over)
        raise Discarded(
            400,
            f"failed pushing to ingester: user={stack.facts(world)['users']['metrics']}: per-user series limit of "
            f"{limits.series} exceeded (err-mimir-max-series-per-user). To adjust the related per-tenant limit, "
            "contact your service administrator.\n",
        )
    if broken:
        raise Discarded(400, broken + "\n")
    return taken


def active_series(world: World) -> int:
    """Series that got a point within half an hour."""
    since = world.clock.now().timestamp() - ACTIVE_SECONDS
    return sum(1 for one in _kept(world).values() if one["seen"] >= since)


def samples_per_second(world: World) -> float:
    """Over the last five minutes."""
    now = world.clock.now().timestamp() * 1000
    since = now - 300_000
    count = sum(len(one["t"]) - bisect_right(one["t"], since) for one in _kept(world).values())
    return count / 300


def discarded_per_second(world: World) -> float:
    """Over the last five minutes."""
    since = world.clock.now().timestamp() - 300
    return float(sum(samples for at, samples in stack.facts(world).get("discarded", []) if at > since)) / 300


def stored(world: World) -> Source:
    def select(matches: list[Match], after: int, until: int) -> Iterator[tuple[Labels, list[int], list[float]]]:
        for one in _kept(world).values():
            labels = one["labels"]
            if all(match.test(labels.get(match.label, "")) for match in matches):
                first, last = bisect_right(one["t"], after), bisect_right(one["t"], until)
                if first < last:
                    yield labels, one["t"][first:last], one["v"][first:last]

    return select


def fixed(values: Iterable[tuple[Labels, float]], now: datetime) -> Source:
    """A source of numbers that are computed when they are asked for."""
    listed, at = list(values), int(now.timestamp() * 1000)

    def select(matches: list[Match], after: int, until: int) -> Iterator[tuple[Labels, list[int], list[float]]]:
        for labels, value in listed:
            if all(match.test(labels.get(match.label, "")) for match in matches):
                yield labels, [min(at, until)], [value]

    return select


def _kept(world: World) -> dict[str, Any]:
    found: dict[str, Any] = stack.facts(world).setdefault("series", {})
    return found


def _key(labels: Labels) -> str:
    return "\x1f".join(f"{name}={labels[name]}" for name in sorted(labels))


def _put(series: dict[str, Any], time: int, value: float) -> bool:
    """Points stay in order; one that is there already is not taken twice."""
    times, values = series["t"], series["v"]
    at = bisect_left(times, time)
    if at < len(times) and times[at] == time:
        return False
    times.insert(at, time)
    values.insert(at, value)
    del times[:-KEPT_POINTS], values[:-KEPT_POINTS]
    return True


def _problem(labels: Labels) -> str:
    name = labels.get("__name__", "")
    if not name:
        return "received series has no metric name (err-mimir-missing-metric-name)"
    if not NAME.fullmatch(name):
        return f"received a series with invalid metric name: '{name}' (err-mimir-metric-name-invalid)"
    if len(labels) > MOST_LABELS:
        return (
            f"received a series whose number of labels exceeds the limit (actual: {len(labels)}, "
            f"limit: {MOST_LABELS}) series: '{name}' (err-mimir-max-label-names-per-series)"
        )
    long = next((key for key, value in labels.items() if len(value) > MOST_VALUE), None)
    if long is not None:
        return f"received a series whose label value length exceeds the limit, label: '{long}' (err-mimir-label-value-too-long)"  # noqa: E501
    return ""


def _within_rate(world: World, samples: int, limits: stack.Limits) -> None:
    """A bucket that fills with virtual time."""
    known = stack.facts(world)
    now, most = world.clock.now().timestamp(), float(limits.samples_per_second * BURST_SECONDS)
    bucket = known.setdefault("bucket", {"at": now, "left": most})
    bucket["left"] = min(most, bucket["left"] + (now - bucket["at"]) * limits.samples_per_second)
    bucket["at"] = now
    if samples > bucket["left"]:
        _count_discarded(world, samples)
        raise Discarded(
            429,
            f"the request has been rejected because the tenant exceeded the ingestion rate limit, set to "
            f"{limits.samples_per_second} items/s with a maximum allowed burst of {int(most)}. This limit is applied "
            "on the total number of samples, exemplars and metadata received across all distributors "
            "(err-mimir-tenant-max-ingestion-rate)\n",
        )
    bucket["left"] -= samples


def _count_discarded(world: World, samples: int) -> None:
    known = stack.facts(world)
    now = world.clock.now().timestamp()
    known["discarded"] = [one for one in known.get("discarded", []) if one[0] > now - 300] + [[now, samples]]
