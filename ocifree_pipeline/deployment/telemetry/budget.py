"""Series that a configuration would cause, counted through its own rules, before anything is sent.

count = counted(jobs, pages)
require_within(count, declaration.monitoring.series_budget)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import LimitReached
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.pipeline import MADE_BY_SCRAPING, Job

FREE_SERIES = 10_000
FREE_LOGS_GB = 50
GIGABYTE = 1_000_000_000
MONTH_SECONDS = 30 * 86400
LINE_BYTES = 250
"""A line of a log with its label overhead, on average."""
OFFENDERS = 15


@dataclass(frozen=True, slots=True)
class Page:
    """What one target of a job exposed, with the labels that discovery gave it."""

    job: str
    discovered: Mapping[str, str]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """Active series by job and metric; `read` counts what the targets exposed."""

    by_metric: Mapping[tuple[str, str], int]
    read: Mapping[str, int]
    over_sample_limit: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.by_metric.values())

    @property
    def by_job(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for (job, _), number in self.by_metric.items():
            found[job] += number
        return dict(found.most_common())

    def offenders(self, most: int = OFFENDERS) -> list[tuple[str, str, int]]:
        """Job, metric and series, the largest first."""
        ranked = sorted(self.by_metric.items(), key=lambda one: (-one[1], one[0]))
        return [(job, metric, number) for (job, metric), number in ranked[:most]]


def counted(jobs: Iterable[Job], pages: Iterable[Page]) -> Count:
    """Distinct label sets that would reach the sink. A target over its job's sample limit sends nothing but `up`."""
    known = {job.name: job for job in jobs}
    series: set[tuple[tuple[str, str], ...]] = set()
    metrics: Counter[tuple[str, str]] = Counter()
    read: Counter[str] = Counter()
    over: list[str] = []
    for page in pages:
        job = known[page.job]
        target = job.target(page.discovered)
        if target is None:
            continue
        read[job.name] += len(page.samples)
        exposed = [sample.labels for sample in page.samples]
        if job.sample_limit and len(exposed) > job.sample_limit:
            over.append(f"{job.name} at {target.get('instance', target.get('__address__', '?'))}: {len(exposed)}")
            exposed = []
        for labels in (*exposed, *({"__name__": name} for name in MADE_BY_SCRAPING)):
            kept = job.series(target, labels)
            if kept is None:
                continue
            key = tuple(sorted(kept.items()))
            if key not in series:
                series.add(key)
                metrics[job.name, kept["__name__"]] += 1
    return Count(dict(metrics), dict(read), tuple(over))


def require_within(count: Count, budget: int) -> None:
    """Refuses what would lose data: Grafana Cloud discards what is above its limit, and nobody chooses what."""
    if count.over_sample_limit:
        raise LimitReached(
            "a target exposes more samples than its job may read",
            why="; ".join(count.over_sample_limit),
            fix="raise sample_limit of that job in manifests/monitoring, or have the program expose less",
        )
    if count.total <= budget:
        return
    worst = ", ".join(f"{metric} of {job}: {number}" for job, metric, number in count.offenders(5))
    raise LimitReached(
        f"{count.total} active series are more than the {budget} of monitoring.series_budget",
        why=f"the free plan discards what is above {FREE_SERIES}; the largest: {worst}",
        fix="drop a metric from its allow-list in manifests/monitoring, or raise monitoring.series_budget",
    )


def log_lines_per_second(budget_gb: int, nodes: int) -> int:
    """What each node may send, so that all of them together stay within the month's budget. At least 1."""
    return max(1, int(budget_gb * GIGABYTE / MONTH_SECONDS / LINE_BYTES / max(1, nodes)))


def month_forecast_gb(bytes_per_second: float) -> float:
    """What a month at this rate comes to."""
    return bytes_per_second * MONTH_SECONDS / GIGABYTE
