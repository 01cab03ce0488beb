"""deploy, verify, and the operations of a long life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ocifree_pipeline.automation import backups, restore_drill, upgrade_proxmox, upgrades
from ocifree_pipeline.automation.destroy import destroy_job
from ocifree_pipeline.automation.operations import Body, operation_job
from ocifree_pipeline.automation.restore import restore_job
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.cluster import CLUSTER
from ocifree_pipeline.record.proxmox import CLUSTER as PROXMOX_CLUSTER

OPERATIONS = {
    "upgrade_talos": "Upgrade Talos one node at a time: snapshot first, health gates between, stop on doubt.",
    "upgrade_kubernetes": "Upgrade Kubernetes by one minor version, snapshot first: control planes, then kubelets.",
    "upgrade_proxmox": "Upgrade Proxmox one node at a time: guests moved away, quorum and Ceph waited for.",
    "tolerance_drill": "Lose each Proxmox node once, without a warning: quorum and storage stay, and it comes back.",
    "restore_drill": "Fetch and open the last backup of etcd, read all keys in it, compare them with the live objects.",
}


BODIES: Mapping[str, tuple[Body, str, str, str | None]] = {
    "upgrade_talos": (upgrades.upgrade_talos, CLUSTER, upgrades.TALOS, upgrades.RISK),
    "upgrade_kubernetes": (upgrades.upgrade_kubernetes, CLUSTER, upgrades.KUBERNETES, upgrades.RISK),
    "upgrade_proxmox": (
        upgrade_proxmox.upgrade_proxmox,
        PROXMOX_CLUSTER,
        upgrade_proxmox.PROXMOX,
        upgrade_proxmox.RISK,
    ),
    "tolerance_drill": (
        upgrade_proxmox.tolerance_drill,
        PROXMOX_CLUSTER,
        upgrade_proxmox.DRILL,
        upgrade_proxmox.DRILL_RISK,
    ),
    "restore_drill": (restore_drill.restore_drill, backups.BACKUP, restore_drill.AGAIN, None),
}
"""What each does, the asset that it is about, the command that starts it or goes on, and what has to be agreed to."""


def jobs(blueprint: Blueprint) -> list[Any]:
    tags = {"ocifree/deployment": blueprint.declaration.name}
    deploy = dg.define_asset_job(
        "deploy",
        selection=dg.AssetSelection.all(),
        description="Everything, in order, with its checks. What exists already says `nothing to do`.",
        tags=tags,
    )
    verify = dg.define_asset_job(
        "verify",
        selection=dg.AssetSelection.all_asset_checks(),
        description="Every check against the real thing, changing nothing.",
        tags=tags,
    )
    return [
        deploy,
        verify,
        destroy_job(blueprint),
        restore_job(blueprint),
        *(_operation(blueprint, name, describe) for name, describe in OPERATIONS.items()),
    ]


def _operation(blueprint: Blueprint, name: str, describe: str) -> dg.JobDefinition:
    body, key, again, risk = BODIES[name]
    return operation_job(blueprint, name, body, key=key, describe=describe, again=again, risk=risk)
