"""Both topologies with a stack declared, and the jobs of their agents."""

from __future__ import annotations

from functools import cache
from typing import Any

import promql_parser
import yaml

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.platform import manifest_values
from ocifree_pipeline.deployment.telemetry import landscape
from ocifree_pipeline.deployment.telemetry.pipeline import Job
from ocifree_pipeline.deployment.telemetry.values import monitoring_values
from ocifree_pipeline.systems.grafana.agents import Agents, agents
from ocifree_pipeline.systems.kube.rendering import versions

TOPOLOGIES = ("talos-native", "proxmox-ceph")
# What the pipeline sends itself, and what only Grafana Cloud knows.
OURS = {
    "ocifree_asset_seconds", "ocifree_claim_attempts", "ocifree_cost", "ocifree_cost_days_proven",
    "ocifree_hunt_last_asked_seconds", "ocifree_machines_at_risk", "ocifree_machines_missing", "ocifree_runs_a_day",
    "ocifree_runs_failed_a_day",
}  # fmt: skip
USAGE = {
    "grafanacloud_instance_active_series", "grafanacloud_instance_samples_discarded_per_second",
    "grafanacloud_logs_instance_active_streams", "grafanacloud_logs_instance_bytes_received_per_second",
    "grafanacloud_org_logs_usage",
}  # fmt: skip


@cache
def blueprint(topology: str) -> Blueprint:
    data = yaml.safe_load(example(topology))
    data["monitoring"] = yaml.safe_load(example("proxmox-ceph"))["monitoring"]
    return blueprint_of(parse(yaml.safe_dump(data)))


def values(topology: str, proxmox: int = 3) -> dict[str, Any]:
    drawn = blueprint(topology)
    hosts = landscape.imagined(1, 1, proxmox=proxmox).proxmox if topology == "proxmox-ceph" else ()
    nodes = [{"name": one.name, "address": one.address} for one in hosts]
    return {**manifest_values(drawn, versions()), "monitoring": {**monitoring_values(drawn, nodes), "config": "c0ffee"}}


@cache
def rendered(topology: str) -> Agents:
    return agents(values(topology))


@cache
def jobs(topology: str) -> tuple[Job, ...]:
    return rendered(topology).jobs


def metrics_in(query: str) -> set[str]:
    """The names of the metrics that a query asks for, found by a real parser."""
    found: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, query
            found.add(node.name)
        elif isinstance(node, promql_parser.MatrixSelector):
            look(node.vector_selector)
        for part in ("lhs", "rhs", "expr"):
            if hasattr(node, part):
                look(getattr(node, part))
        if isinstance(node, promql_parser.Call):
            for argument in node.args:
                look(argument)

    look(promql_parser.parse(query))
    return found
