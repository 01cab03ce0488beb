"""The dashboards of a deployment, as data. Every query asks for metrics that the deployment ships; a test proves it."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.sections.monitoring import Dashboard
from ocifree_pipeline.deployment.telemetry.boards import around, cluster
from ocifree_pipeline.deployment.telemetry.boards.model import Board

BOARDS: Mapping[Dashboard, tuple[Board, ...]] = {
    "kubernetes": (cluster.KUBERNETES, cluster.NETWORK),
    "talos": (cluster.NODES, cluster.CONTROL_PLANE),
    "proxmox": (around.PROXMOX,),
    "ceph": (around.CEPH,),
    "tailscale": (cluster.TAILSCALE,),
    "logs": (cluster.LOGS,),
}
ALWAYS = (around.PIPELINE,)


def boards_for(blueprint: Blueprint) -> tuple[Board, ...]:
    """What is declared, without what this topology does not have."""
    on_proxmox = blueprint.plan.topology == "proxmox-ceph"
    has: Mapping[str, bool] = {
        "proxmox": on_proxmox,
        "ceph": on_proxmox,
        "tailscale": blueprint.declaration.kubernetes.tailscale_operator.enabled,
    }
    declared = blueprint.declaration.monitoring.dashboards
    return (*(board for name in declared if has.get(name, True) for board in BOARDS[name]), *ALWAYS)


def filled_in(query: str, blueprint: Blueprint) -> str:
    """The query of one deployment."""
    name = blueprint.declaration.name
    return query.replace("$C", f'cluster="{name}"').replace("$D", f'deployment="{name}"')
