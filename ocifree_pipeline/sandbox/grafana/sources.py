"""The data sources that every stack has: its own stores, and what Grafana Cloud says about their use."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.sandbox.grafana import logs, metrics, stack
from ocifree_pipeline.sandbox.grafana.metrics import Source
from ocifree_pipeline.sandbox.grafana.promql import Wrong
from ocifree_pipeline.sandbox.world import World

TYPES = {
    "grafanacloud-prom": "prometheus",
    "grafanacloud-logs": "loki",
    "grafanacloud-traces": "tempo",
    "grafanacloud-usage": "prometheus",
}


def listed(world: World) -> list[dict[str, Any]]:
    name = stack.facts(world)["stack"]
    return [
        {
            "uid": uid,
            "type": kind,
            "name": uid if uid == "grafanacloud-usage" else uid.replace("grafanacloud", f"grafanacloud-{name}"),
            "readOnly": True,
            "isDefault": uid == "grafanacloud-prom",
        }
        for uid, kind in TYPES.items()
    ]


def prometheus(world: World, uid: str) -> Source:
    if uid == "grafanacloud-prom":
        return metrics.stored(world)
    if uid == "grafanacloud-usage":
        return metrics.fixed(usage(world), world.clock.now())
    raise Wrong(f"data source not found: {uid}")


def usage(world: World) -> list[tuple[dict[str, str], float]]:
    """The metrics of `grafanacloud-usage` that are played. They follow at once here; really they lag some minutes."""
    known, limits = stack.facts(world), stack.limits(world)
    prom, loki = {"id": known["users"]["metrics"]}, {"id": known["users"]["logs"]}
    numbers = [
        ("grafanacloud_instance_active_series", prom, metrics.active_series(world)),
        ("grafanacloud_instance_samples_per_second", prom, metrics.samples_per_second(world)),
        ("grafanacloud_instance_samples_discarded_per_second", prom, metrics.discarded_per_second(world)),
        (
            "grafanacloud_instance_metrics_limits",
            {**prom, "limit_name": "max_global_series_per_user"},
            limits.series,
        ),
        ("grafanacloud_logs_instance_active_streams", loki, logs.active_streams(world)),
        ("grafanacloud_logs_instance_bytes_received_per_second", loki, logs.bytes_per_second(world)),
        ("grafanacloud_org_logs_usage", {}, logs.month_bytes(world) / 1e9),
        ("grafanacloud_org_logs_included_usage", {}, limits.log_gb_a_month),
    ]
    return [({"__name__": name, **labels}, float(value)) for name, labels, value in numbers]
