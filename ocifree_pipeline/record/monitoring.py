"""Facts of the group monitoring, and what its assets and checks look at together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.telemetry.values import (
    ETCD_METRICS_PORT,
    TALOS_LOG_PORT,
    etcd_port,
    grafana_cloud_of,
    monitoring_values,
)
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Facts

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ocifree_pipeline.systems.grafana.agents import Agents
    from ocifree_pipeline.systems.grafana.http import Door
    from ocifree_pipeline.systems.grafana.stores import Stores
    from ocifree_pipeline.systems.talos.nodes import Node
    from ocifree_pipeline.systems.talos.patches import Patch

ALLOY, DASHBOARDS, RULES = "monitoring/alloy", "monitoring/dashboards", "monitoring/alert_rules"
NAMESPACE = "monitoring"
TOKEN_NAME = "GRAFANA_CLOUD_TOKEN"  # noqa: S105 - the name of a variable
LEAST_PODS = 100
"""Series are planned for so many pods, however few there are today."""


class AlloyFacts(Facts):
    """monitoring/alloy: `config` is the digest that what the agents send carries as a label."""

    release: str
    config: str
    nodes: int
    manifests: str


class DashboardFacts(Facts):
    """monitoring/dashboards: uids by title, and those that a person has taken over."""

    folder: str
    dashboards: dict[str, str]
    kept: tuple[str, ...]


class RuleFacts(Facts):
    """monitoring/alert_rules"""

    folder: str
    groups: tuple[str, ...]
    rules: int
    contact: str
    emails: tuple[str, ...]


def now() -> float:
    return time.time()


# Grafana Cloud --------------------------------------------------------------------------------------------------------


def data_token(step: Step) -> SecretStr:
    """The access policy token."""
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    return resolve(grafana_cloud_of(step.blueprint).token, vault_of(step.blueprint.declaration.name))


def stores(step: Step) -> Stores:
    from ocifree_pipeline.systems.grafana.stores import stores_of

    return stores_of(grafana_cloud_of(step.blueprint), data_token(step))


def grafana(step: Step) -> Door | None:
    """The stack's own Grafana; None without a service account token."""
    from ocifree_pipeline.systems.grafana.stores import grafana_of
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    cloud = grafana_cloud_of(step.blueprint)
    if cloud.service_account_token is None:
        return None
    return grafana_of(cloud, resolve(cloud.service_account_token, vault_of(step.blueprint.declaration.name)))


def require_grafana(step: Step) -> Door:
    """For assets that exist only with a service account token."""
    found = grafana(step)
    if found is None:
        raise LookupError(f"{step.key} is defined without monitoring.grafana_cloud.service_account_token")
    return found


def folder_of(step: Step) -> tuple[str, str]:
    """Uid and title of the folder that holds everything of this deployment."""
    name = step.blueprint.declaration.name
    return f"ocifree-{name}"[:40], f"ocifree {name}"


def contact_of(step: Step) -> tuple[str, tuple[str, ...]]:
    """The contact point of this deployment, and the addresses behind it."""
    declaration = step.blueprint.declaration
    emails = declaration.monitoring.contact_emails or declaration.budget.alert_emails
    return f"ocifree-{declaration.name}", tuple(emails)


def grafana_page(step: Step, path: str) -> str:
    return f"https://{grafana_cloud_of(step.blueprint).stack}.grafana.net{path}"


def talos_patches(blueprint: Blueprint, node: Node) -> Iterator[Patch]:
    """For the machine configuration: logs go to the agent on the same node, and etcd shows its metrics."""
    from ocifree_pipeline.systems.talos.configuration import log_receiver

    if blueprint.declaration.monitoring.grafana_cloud is None:
        return
    yield from log_receiver(f"tcp://127.0.0.1:{TALOS_LOG_PORT}")
    if node.is_control_plane and etcd_port(blueprint.declaration.kubernetes.talos_version) == ETCD_METRICS_PORT:
        yield {"cluster": {"etcd": {"extraArgs": {"listen-metrics-urls": f"http://0.0.0.0:{ETCD_METRICS_PORT}"}}}}


# the agents -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rendered:
    """Both agents, and the values for the templates of manifests/monitoring."""

    agents: Agents
    monitoring: Mapping[str, Any]
    config: str


def rendered(step: Step, token: SecretStr) -> Rendered:
    """The configuration as it would be delivered. Its digest changes with the token: pods read it when they start."""
    import hashlib

    from ocifree_pipeline.deployment.platform import manifest_values
    from ocifree_pipeline.systems.grafana.agents import agents
    from ocifree_pipeline.systems.kube.rendering import versions

    nodes, authority = _proxmox(step)
    values = monitoring_values(step.blueprint, nodes, authority)
    made = agents({**manifest_values(step.blueprint, versions()), "monitoring": values})
    config = hashlib.sha256(f"{made.digest} {token.get_secret_value()}".encode()).hexdigest()[:12]
    return Rendered(made, {**values, "config": config}, config)


def _proxmox(step: Step) -> tuple[tuple[Mapping[str, str], ...], str]:
    """Name and address of each node below the cluster, and who signs their certificates."""
    if step.blueprint.plan.topology != "proxmox-ceph":
        return (), ""
    from ocifree_pipeline.record.proxmox import CLUSTER, ClusterFacts

    facts = step.facts(CLUSTER, ClusterFacts)
    return tuple({"name": one.name, "address": one.address} for one in facts.nodes), facts.authority
