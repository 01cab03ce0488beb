"""deploy, verify, and the operations of a long life. An operation that is not built yet is a job that says so."""

from __future__ import annotations

from typing import Any

import dagster as dg

from ocifree_pipeline.automation.destroy import destroy_job
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NotYetBuilt
from ocifree_pipeline.deployment.unbuilt import missing_for

OPERATIONS = {
    "upgrade_talos": "Upgrade Talos one node at a time: snapshot first, health gates between, stop on doubt.",
    "upgrade_kubernetes": "Upgrade Kubernetes by one minor version, after an etcd snapshot.",
    "upgrade_proxmox": "Upgrade Proxmox one node at a time: guests moved away, quorum and Ceph waited for.",
    "restore_drill": "Restore the last etcd snapshot into a fresh cluster and compare the objects.",
}


def jobs(blueprint: Blueprint) -> list[Any]:
    deploy = dg.define_asset_job(
        "deploy",
        selection=dg.AssetSelection.all(),
        description="Everything, in order, with its checks. What exists already says `nothing to do`.",
    )
    verify = dg.define_asset_job(
        "verify",
        selection=dg.AssetSelection.all_asset_checks(),
        description="Every check against the real thing, changing nothing.",
    )
    return [
        deploy,
        verify,
        destroy_job(blueprint),
        *(_operation(name, describe) for name, describe in OPERATIONS.items()),
    ]


def _operation(name: str, describe: str) -> dg.JobDefinition:
    missing = missing_for(f"job:{name}")

    @dg.op(name=f"{name}_refuses")
    def refuse() -> None:
        error = NotYetBuilt(f"job {name}", missing)
        raise dg.Failure(description=str(error), metadata={"error": "NotYetBuilt"}, allow_retries=False)

    @dg.job(name=name, description=describe, tags={"ocifree/unbuilt": ""})
    def operation() -> None:
        refuse()

    return operation
