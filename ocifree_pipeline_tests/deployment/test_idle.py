"""Oracle's idle rule: the percentile, which metrics count, and how many days are left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.idle import WATCHED, Metric, Sample, Watched, judge, percentile, running_since
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
HOURS = 7 * 24
Curve = Callable[[int], float]


def samples(curve: Curve, hours: int = HOURS) -> tuple[Sample, ...]:
    """One an hour; the curve gets how many hours ago."""
    return tuple(Sample(NOW - timedelta(hours=ago), curve(ago)) for ago in range(hours, 0, -1))


def machine(
    shape: str = A1_SHAPE, *, age: float = 30, state: str = "RUNNING", **curves: float | Curve | None
) -> Watched:
    hours = min(HOURS, int(age * 24))
    given = {"cpu": 3.0, "network": 1.0, "memory": 10.0} | curves
    found = {}
    for metric, name in ((Metric.CPU, "cpu"), (Metric.NETWORK, "network"), (Metric.MEMORY, "memory")):
        curve = given[name]
        if curve is not None:
            found[metric] = samples(curve if callable(curve) else lambda ago, level=curve: level, hours)
    return Watched("ampere_1", shape, state, NOW - timedelta(days=age), found)


@pytest.mark.parametrize(
    ("watched", "days"),
    [
        (machine(), 0.0),
        (machine(memory=40.0), None),
        (machine(memory=20.0), None),
        (machine(memory=19.9), 0.0),
        (machine(cpu=25.0), None),
        (machine(network=25.0), None),
        (machine(MICRO_SHAPE, memory=90.0), 0.0),
        (machine(MICRO_SHAPE, memory=None), 0.0),
        (machine(MICRO_SHAPE, cpu=50.0), None),
        (machine(age=2), 5.0),
        (machine(age=7), 0.0),
        (machine("VM.Standard.E4.Flex"), None),
    ],
)
def test_days_until_a_machine_may_be_stopped(watched: Watched, days: float | None) -> None:
    found = judge(watched, NOW)
    assert (found.days is None) == (days is None)
    if days is not None:
        assert found.days == pytest.approx(days, abs=0.15)
        assert found.at_risk


def test_load_that_has_ended_saves_until_it_is_a_twentieth_of_the_week() -> None:
    """Busy until three days ago: 96 of 168 hours. 8.4 hours may stay, so 87.6 must leave the week: 3.65 days."""
    found = judge(machine(cpu=lambda ago: 50.0 if ago > 72 else 3.0), NOW)
    assert found.days == pytest.approx(3.65, abs=0.15)
    assert "may be stopped in 3." in str(found)


def test_two_busy_hours_a_day_are_enough_and_one_is_not() -> None:
    assert judge(machine(cpu=lambda ago: 50.0 if ago % 12 == 0 else 3.0), NOW).days is None
    assert judge(machine(cpu=lambda ago: 50.0 if ago % 24 == 0 else 3.0), NOW).days == 0.0


def test_a_machine_without_figures_is_a_risk_that_is_named() -> None:
    found = judge(machine(memory=None, cpu=None), NOW)
    assert found.unmeasured == (Metric.CPU, Metric.MEMORY)
    assert found.at_risk
    assert "nobody can tell, for Oracle has no figures for CPU and memory" in str(found)


def test_a_stopped_machine_may_have_been_taken_back() -> None:
    found = judge(machine(state="STOPPED"), NOW)
    assert found.at_risk
    assert "if nobody stopped it, Oracle took it back as idle" in str(found)


def test_words() -> None:
    assert str(judge(machine(memory=40.0), NOW)) == (
        "ampere_1: safe by its memory (7-day p95: CPU 3.0 %, network 1.0 %, memory 40.0 %)"
    )
    assert "a Micro has no memory test and looks idle unless it computes" in str(judge(machine(MICRO_SHAPE), NOW))
    assert "at any time" in str(judge(machine(), NOW))


def test_a_week_begins_anew_after_a_stop() -> None:
    gap = machine(cpu=3.0)
    kept = {
        metric: tuple(one for one in found if not 60 < (NOW - one.at) / timedelta(hours=1) < 90)
        for metric, found in gap.samples.items()
    }
    stopped = Watched(gap.name, gap.shape, gap.state, gap.created, kept)
    assert NOW - running_since(stopped, NOW) == timedelta(hours=60)
    assert judge(stopped, NOW).days == pytest.approx(4.5, abs=0.15)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_the_percentile(values: list[float]) -> None:
    found = percentile(values)
    assert sum(value <= found for value in values) >= 0.95 * len(values)
    assert sum(value < found for value in values) < 0.95 * len(values)


@given(st.floats(0, 100), st.floats(0, 100), st.integers(0, HOURS), st.floats(0.1, 30))
def test_the_forecast_ends_within_a_week_and_agrees_with_the_present(
    before: float, after: float, turn: int, age: float
) -> None:
    watched = machine(cpu=lambda ago: before if ago > turn else after, age=age)
    found = judge(watched, NOW)
    if found.unmeasured:
        return
    assert found.days is None or 0 <= found.days <= 7
    if found.days == 0:
        assert all(percent < 20 for percent in found.p95.values())
        assert age * 86400 >= WATCHED.total_seconds() - 3601
    if after >= 20 and turn >= 24 and age >= 1:
        assert found.days is None
