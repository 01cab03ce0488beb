"""Oracle's rule for idle machines, as it is published: over seven days, CPU, network and, on A1, memory all below 20 %.

Each of them by its 95th percentile: to be busy for more than a twentieth of the week saves a machine. The forecast
supposes that every day to come is like the last one. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE

WATCHED = timedelta(days=7)
LIKE_THE_LAST = timedelta(days=1)
LOW_PERCENT = 20.0
SHARE = 0.95
SILENCE = timedelta(hours=1)
"""Without figures for so long, a machine was not running, and Oracle's week begins anew."""


class Metric(StrEnum):
    CPU = "CPU"
    NETWORK = "network"
    MEMORY = "memory"


COUNTED: Mapping[str, tuple[Metric, ...]] = {
    A1_SHAPE: (Metric.CPU, Metric.NETWORK, Metric.MEMORY),
    MICRO_SHAPE: (Metric.CPU, Metric.NETWORK),
}
"""Memory counts for A1 only. Other shapes are not free, so nobody takes them back for being idle."""


@dataclass(frozen=True, slots=True)
class Sample:
    at: datetime
    percent: float


@dataclass(frozen=True, slots=True)
class Watched:
    """A machine as Oracle sees it. A metric that nobody measured has no samples."""

    name: str
    shape: str
    state: str
    created: datetime
    samples: Mapping[Metric, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Idle:
    """The answer for one machine. `days` until it may be stopped; None: not as long as it goes on like this."""

    name: str
    shape: str
    state: str
    p95: Mapping[Metric, float]
    unmeasured: tuple[Metric, ...]
    days: float | None

    @property
    def at_risk(self) -> bool:
        return not self.is_running or bool(self.unmeasured) or self.days is not None

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING"

    def __str__(self) -> str:
        if not self.is_running:
            return f"{self.name}: it is {self.state}; if nobody stopped it, Oracle took it back as idle"
        numbers = ", ".join(f"{metric} {percent:.1f} %" for metric, percent in self.p95.items())
        if self.unmeasured:
            missing = " and ".join(self.unmeasured)
            return (
                f"{self.name}: nobody can tell, for Oracle has no figures for {missing}. They come from the Oracle "
                "Cloud Agent, which only Oracle's own images bring along"
            )
        if self.days is None:
            busy = " and ".join(metric for metric, percent in self.p95.items() if percent >= LOW_PERCENT)
            return f"{self.name}: safe by its {busy or 'last day'} (7-day p95: {numbers})"
        when = "at any time" if self.days <= 0 else f"in {self.days:.1f} days"
        why = "; a Micro has no memory test and looks idle unless it computes" if self.shape == MICRO_SHAPE else ""
        return f"{self.name}: may be stopped {when} (7-day p95: {numbers}, all below {LOW_PERCENT:.0f} %{why})"


def judge(machine: Watched, now: datetime) -> Idle:
    """The rule, now and for as many days ahead as it can turn."""
    counted = COUNTED.get(machine.shape, ())
    if not counted or machine.state != "RUNNING":
        return Idle(machine.name, machine.shape, machine.state, {}, (), None)
    unmeasured = tuple(metric for metric in counted if not machine.samples.get(metric))
    p95 = {
        metric: percentile([one.percent for one in _within(machine.samples[metric], now)] or [0.0])
        for metric in counted
        if metric not in unmeasured
    }
    days = None if unmeasured else _days_until_reclaim(machine, counted, now)
    return Idle(machine.name, machine.shape, machine.state, p95, unmeasured, days)


def running_since(machine: Watched, now: datetime) -> datetime:
    """The start of the last stretch with figures, as far back as they count."""
    since, last = machine.created, max(machine.created, now - WATCHED)
    for at in sorted({one.at for samples in machine.samples.values() for one in samples}):
        if at - last > SILENCE:
            since = at
        last = at
    return since


def percentile(values: Sequence[float]) -> float:
    """The lowest of the values that 95 of 100 do not pass."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(SHARE * len(ordered)) - 1)]


def _days_until_reclaim(machine: Watched, counted: Sequence[Metric], now: datetime) -> float | None:
    """The first moment at which all of the week before it was low; sought in steps of a tenth of a day."""
    young = max(timedelta(), running_since(machine, now) + WATCHED - now)
    step = timedelta(days=0.1)
    ahead = timedelta()
    while ahead <= WATCHED:
        if ahead >= young and all(_is_low(machine.samples[metric], now, ahead) for metric in counted):
            return ahead / timedelta(days=1)
        ahead += step
    return None


def _is_low(samples: Sequence[Sample], now: datetime, ahead: timedelta) -> bool:
    kept = [one.percent for one in samples if now + ahead - WATCHED <= one.at < now]
    last = [one.percent for one in samples if now - LIKE_THE_LAST <= one.at < now]
    coming = last * int(ahead / LIKE_THE_LAST) + last[: int(len(last) * ((ahead % LIKE_THE_LAST) / LIKE_THE_LAST))]
    return percentile((kept + coming) or [0.0]) < LOW_PERCENT


def _within(samples: Sequence[Sample], now: datetime) -> list[Sample]:
    return [one for one in samples if now - WATCHED <= one.at < now]
