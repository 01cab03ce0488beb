"""Monitoring: what Oracle's agent inside an instance measures, a point a minute while the instance runs.

The figures are those by which idle instances are taken back (``sandbox.idle``). Only Oracle's own images bring the
agent along, so instances of imported images have none.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ocifree_pipeline.sandbox import idle, money
from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle import errors, pages, platform_images
from ocifree_pipeline.sandbox.oracle.metric_queries import MetricQuery, parse_interval, parse_query
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource

MODELS = "oci.monitoring.models"
NAMESPACE = "oci_computeagent"
MINUTE = timedelta(minutes=1)
USUAL_SPAN = timedelta(hours=3)
KEPT = ((timedelta(minutes=5), timedelta(days=7)), (timedelta(hours=1), timedelta(days=30)))
KEPT_COARSE = timedelta(days=90)
MOST_POINTS = 100_000

service = Service("monitoring")


@dataclass(frozen=True, slots=True)
class Metric:
    """``of`` makes a figure of one minute from the loads in percent."""

    unit: str
    of: Callable[[Resource, tuple[float, ...]], float]


def _minute_of_network(instance: Resource, percent: float) -> float:
    return float(instance.body["shapeConfig"]["networkingBandwidthInGbps"]) * 1e9 / 8 * 60 * percent / 100


METRICS: dict[str, Metric] = {
    "CpuUtilization": Metric("percent", lambda _instance, load: load[idle.CPU]),
    "MemoryUtilization": Metric("percent", lambda _instance, load: load[idle.MEMORY]),
    "NetworksBytesIn": Metric("bytes", lambda one, load: _minute_of_network(one, load[idle.NETWORK])),
    "NetworksBytesOut": Metric("bytes", lambda one, load: _minute_of_network(one, load[idle.NETWORK] / 2)),
}


@service.post(
    "/metrics/actions/listMetrics",
    operation="ListMetrics",
    body=f"{MODELS}.ListMetricsDetails",
    reply=f"list[{MODELS}.Metric]",
    mutating=False,
)
def list_metrics(call: Call) -> Reply:
    wanted = call.body
    if "groupBy" in wanted:
        raise errors.not_built("groupBy of ListMetrics")
    found = [
        {"name": name, "namespace": NAMESPACE, "compartmentId": one.body["compartmentId"], "dimensions": labels}
        for one in _measured(call)
        for name in METRICS
        if wanted.get("name") in {None, name} and wanted.get("namespace") in {None, NAMESPACE}
        if wanted.get("dimensionFilters", {}).items() <= (labels := _labels(call, one)).items()
    ]
    return pages.page(call, found, default_limit=1000, id_key="")


@service.post(
    "/metrics/actions/summarizeMetricsData",
    operation="SummarizeMetricsData",
    body=f"{MODELS}.SummarizeMetricsDataDetails",
    reply=f"list[{MODELS}.MetricData]",
    mutating=False,
)
def summarize_metrics_data(call: Call) -> Reply:
    query = parse_query(call.body["query"])
    start, end, resolution = _span(call, query)
    metric = METRICS.get(query.metric)
    if metric is None or call.body["namespace"] != NAMESPACE:
        return Reply([])
    groups: dict[tuple[tuple[str, str], ...], list[Resource]] = {}
    for instance in _measured(call):
        labels = _labels(call, instance)
        if query.dimensions.items() <= labels.items():
            kept = labels if query.group_by is None else {name: labels.get(name, "") for name in query.group_by}
            groups.setdefault(tuple(sorted(kept.items())), []).append(instance)
    found = [
        {
            "namespace": NAMESPACE,
            "compartmentId": call.query.need("compartmentId"),
            "name": query.metric,
            "dimensions": dict(labels),
            "metadata": {"unit": metric.unit},
            "resolution": call.body.get("resolution"),
            "aggregatedDatapoints": list(_points(call, instances, metric, query, (start, end, resolution))),
        }
        for labels, instances in groups.items()
    ]
    found = [one for one in found if one["aggregatedDatapoints"]]
    if sum(len(one["aggregatedDatapoints"]) for one in found) > MOST_POINTS:
        raise errors.invalid_parameter(f"The query would return more than {MOST_POINTS} data points")
    return Reply(found)


def _span(call: Call, query: MetricQuery) -> tuple[datetime, datetime, timedelta]:
    now = call.world.clock.now()
    end = parse(call.body["endTime"]) if "endTime" in call.body else now
    start = parse(call.body["startTime"]) if "startTime" in call.body else end - USUAL_SPAN
    resolution = parse_interval(call.body.get("resolution", "1m"))
    if start >= end:
        raise errors.invalid_parameter("startTime must be before endTime")
    if resolution > query.interval:
        raise errors.invalid_parameter("The resolution must not be longer than the interval of the query")
    if resolution != query.interval and "resolution" in call.body:
        raise errors.not_built("a resolution other than the interval of the query")
    longest = next((longest for finer, longest in KEPT if query.interval < finer), KEPT_COARSE)
    if end - start > longest:
        raise errors.invalid_parameter(f"At this interval figures of at most {longest.days} days can be asked for")
    return start, min(end, now), query.interval


def _measured(call: Call) -> Iterator[Resource]:
    """The instances of the compartment (of all, in the subtree of the tenancy) whose agent reports."""
    inside = call.compartment(call.query.need("compartmentId")).ocid
    everywhere = call.query.flag("compartmentIdInSubtree")
    if everywhere and inside != call.world.tenancy:
        raise errors.invalid_parameter("compartmentIdInSubtree can only be true for the tenancy")
    for instance in call.world.all("instance"):
        if instance.region == call.region and (everywhere or instance.body["compartmentId"] == inside):
            agent = instance.body.get("agentConfig") or {}
            off = agent.get("isMonitoringDisabled") or agent.get("areAllPluginsDisabled")
            if not off and instance.body.get("imageId") in platform_images.published(call.region):
                yield instance


def _labels(call: Call, instance: Resource) -> dict[str, str]:
    body = instance.body
    return {
        "resourceId": instance.ocid,
        "resourceDisplayName": body["displayName"],
        "region": call.region,
        "availabilityDomain": body["availabilityDomain"],
        "faultDomain": body.get("faultDomain") or "",
        "shape": body["shape"],
        "imageId": body.get("imageId") or "",
    }


def _points(
    call: Call,
    instances: list[Resource],
    metric: Metric,
    query: MetricQuery,
    window: tuple[datetime, datetime, timedelta],
) -> Iterator[dict[str, Any]]:
    start, end, step = window
    buckets: dict[datetime, list[float]] = {}
    for instance in instances:
        for minute, load in _minutes(call, instance, start, end):
            bucket = start + (minute - start) // step * step
            buckets.setdefault(bucket, []).append(metric.of(instance, load))
    for at in sorted(buckets):
        yield {"timestamp": stamp(at), "value": round(query.statistic(buckets[at]), 6)}


def _minutes(
    call: Call, instance: Resource, start: datetime, end: datetime
) -> Iterator[tuple[datetime, tuple[float, ...]]]:
    """Each full minute in which the instance ran, and how busy it was."""
    loads = idle.loads(instance)
    since = [moment for moment, _ in loads]
    for span in money.spans(call.world):
        if span.ocid != instance.ocid:
            continue
        minute = max(start, span.start)
        while minute < min(end, span.end):
            known = bisect_right(since, minute)
            yield minute, loads[known - 1][1] if known else idle.QUIET
            minute += MINUTE
