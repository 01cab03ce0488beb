"""How busy the machines were in the last seven days, as Oracle's Monitoring has it. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ocifree_pipeline.deployment.idle import COUNTED, WATCHED, Idle, Metric, Sample, Watched, judge
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Scope
from ocifree_pipeline.systems.oci.instances import OVER
from ocifree_pipeline.systems.oci.session import every, reading

NAMESPACE = "oci_computeagent"
MINUTES = 5
_BITS = 8
_GIGA = 1_000_000_000

QUERIES: Mapping[Metric, tuple[str, ...]] = {
    Metric.CPU: ("CpuUtilization[5m].groupBy(resourceId).mean()",),
    Metric.MEMORY: ("MemoryUtilization[5m].groupBy(resourceId).mean()",),
    Metric.NETWORK: (
        "NetworksBytesIn[5m].groupBy(resourceId).sum()",
        "NetworksBytesOut[5m].groupBy(resourceId).sum()",
    ),
}
"""The finest figures that Oracle keeps for more than seven days. Of a network, the busier direction counts."""


def read_idle(scope: Scope, now: datetime) -> tuple[Idle, ...]:
    """The rule applied to every machine of the deployment, in the order of their names."""
    return tuple(judge(machine, now) for machine in read_watched(scope, now))


def read_watched(scope: Scope, now: datetime) -> tuple[Watched, ...]:
    if scope.compartment is None:
        return ()
    with told("list the instances of this deployment"):
        standing = every(scope.session.client("core.ComputeClient").list_instances, scope.compartment)
    ours = [one for one in standing if scope.is_ours(one) and one.lifecycle_state not in OVER]
    if not ours:
        return ()
    found = {metric: _read(scope, metric, now) for metric in QUERIES}
    return tuple(
        sorted(
            (
                Watched(
                    name=_name(one),
                    shape=one.shape,
                    state=one.lifecycle_state,
                    created=one.time_created,
                    samples={metric: _samples(metric, found[metric], one) for metric in COUNTED.get(one.shape, ())},
                )
                for one in ours
            ),
            key=lambda machine: machine.name,
        )
    )


def _name(instance: Any) -> str:
    role = (instance.freeform_tags or {}).get(ROLE_TAG, "")
    return role.removeprefix("machines/") or str(instance.display_name)


Streams = Mapping[str, Sequence[tuple[datetime, float]]]
"""By instance."""


def _read(scope: Scope, metric: Metric, now: datetime) -> tuple[Streams, ...]:
    return tuple(_streams(_summarize(scope, query, now)) for query in QUERIES[metric])


def _summarize(scope: Scope, query: str, now: datetime) -> list[Any]:
    from oci.monitoring import models

    details = models.SummarizeMetricsDataDetails(
        namespace=NAMESPACE, query=query, start_time=now - WATCHED, end_time=now, resolution=f"{MINUTES}m"
    )
    with told(f"read {query.partition('[')[0]} of the last seven days"):
        found: list[Any] = (
            scope.session.client("monitoring.MonitoringClient")
            .summarize_metrics_data(scope.inside, details, retry_strategy=reading())
            .data
        )
    return found


def _streams(found: Iterable[Any]) -> Streams:
    return {
        stream.dimensions["resourceId"]: [
            (point.timestamp, float(point.value)) for point in stream.aggregated_datapoints
        ]
        for stream in found
    }


def _samples(metric: Metric, streams: Sequence[Streams], instance: Any) -> tuple[Sample, ...]:
    """Percent. Bytes become a share of what the shape's network carries in the interval."""
    busiest: dict[datetime, float] = {}
    for stream in streams:
        for at, value in stream.get(instance.id, ()):
            busiest[at] = max(busiest.get(at, 0.0), value)
    if metric is Metric.NETWORK:
        carries = float(instance.shape_config.networking_bandwidth_in_gbps) * _GIGA / _BITS * MINUTES * 60
        busiest = {at: value / carries * 100 for at, value in busiest.items()}
    return tuple(Sample(at, percent) for at, percent in sorted(busiest.items()))
