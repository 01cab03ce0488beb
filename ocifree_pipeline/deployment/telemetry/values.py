"""What manifests/monitoring may know of a deployment: addresses of the stores, budgets, and what there is to watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.deployment.platform import kubernetes_nodes
from ocifree_pipeline.deployment.sections.monitoring import Endpoint, GrafanaCloud
from ocifree_pipeline.deployment.telemetry.budget import log_lines_per_second

TALOS_LOG_PORT = 5170
ETCD_METRICS_PORT = 2381
ETCD_METRICS_PORT_SINCE_1_14 = 2383
OTLP_GATEWAY = "otlp-gateway-"


def grafana_cloud_of(blueprint: Blueprint) -> GrafanaCloud:
    """The declared stack. The assets exist only when there is one."""
    found = blueprint.declaration.monitoring.grafana_cloud
    if found is None:
        raise PreconditionMissing(
            "the declaration names no Grafana Cloud stack",
            why="nothing is sent anywhere without one",
            fix="add monitoring.grafana_cloud to the declaration",
        )
    return found


def monitoring_values(
    blueprint: Blueprint, proxmox_nodes: Iterable[Mapping[str, str]] = (), proxmox_authority: str = ""
) -> dict[str, Any]:
    """For the templates; nothing in it is secret. `proxmox_nodes` have a name and an address."""
    declaration, cloud = blueprint.declaration, grafana_cloud_of(blueprint)
    monitoring, kubernetes = declaration.monitoring, declaration.kubernetes
    return {
        "cluster": declaration.name,
        "interval": monitoring.scrape_interval_seconds,
        "logs_budget_gb": monitoring.logs_budget_gb,
        "lines_per_second": log_lines_per_second(monitoring.logs_budget_gb, kubernetes_nodes(blueprint)),
        "prometheus": {"push": f"{base(cloud.prometheus)}/api/prom/push", "user": cloud.prometheus.user},
        "loki": {"push": f"{base(cloud.loki)}/loki/api/v1/push", "user": cloud.loki.user},
        "tempo": {"push": otlp_endpoint(cloud.tempo), "user": cloud.tempo.user} if cloud.tempo else None,
        "hubble": kubernetes.cilium.hubble,
        "tailscale": kubernetes.tailscale_operator.enabled,
        "proxmox": blueprint.plan.topology == "proxmox-ceph",
        "proxmox_nodes": [dict(node) for node in proxmox_nodes],
        "proxmox_authority": proxmox_authority,
        "etcd_port": etcd_port(kubernetes.talos_version),
        "talos_log_port": TALOS_LOG_PORT,
    }


def base(endpoint: Endpoint) -> str:
    """Scheme and host; people paste addresses with and without the path of one of the APIs."""
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.netloc}"


def otlp_endpoint(endpoint: Endpoint) -> str:
    """What an OTLP exporter adds /v1/traces to."""
    return base(endpoint) + otlp_path(base(endpoint))


def otlp_path(root: str) -> str:
    """Where a host of Grafana Cloud takes OTLP."""
    return "/otlp" if urlsplit(root).netloc.startswith(OTLP_GATEWAY) else "/tempo"


def etcd_port(talos_version: str) -> int:
    major, minor = (int(part) for part in talos_version.split(".")[:2])
    return ETCD_METRICS_PORT if (major, minor) < (1, 14) else ETCD_METRICS_PORT_SINCE_1_14
