"""The job restore: etcd from a backup, on control planes that are empty, or in place of what lives there."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from ocifree_pipeline.assets.cluster import fetch_kubeconfig, wait_for_kubernetes
from ocifree_pipeline.automation.backups import IDENTITY, KINDS, chosen, is_it, living, objects_in, opened
from ocifree_pipeline.automation.destroy import require_quiet
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, Transient
from ocifree_pipeline.record.cluster import (
    CLUSTER,
    ETCD_SECONDS,
    ClusterFacts,
    let_in_or_configured,
    nodes_of,
)
from ocifree_pipeline.record.definition import Step, as_failure, record_anew
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.platform import first_that_answers
from ocifree_pipeline.record.talos import cluster_of, now

if TYPE_CHECKING:
    from ocifree_pipeline.systems.talos.backups import Backup
    from ocifree_pipeline.systems.talos.cluster import EtcdView

NAME, OP = "restore", "restore_etcd"
AGAIN = "ocifree restore"
NODES = KINDS["v1", "Node"]
SHOWN = 5


def restore_job(blueprint: Blueprint) -> dg.JobDefinition:
    fields = {
        "backup": dg.Field(str, default_value="", description="The beginning of its name; the newest if none is named"),
        "confirm": dg.Field(
            str, default_value="", description="The name of the deployment, if its cluster lives and shall go back"
        ),
    }

    @dg.op(name=OP, config_schema=fields)
    def restore_etcd(context: dg.OpExecutionContext) -> None:
        try:
            require_quiet(context.instance, context.run_id, why="both would change the same machines", again=AGAIN)
            step = Step(blueprint, CLUSTER, context.instance, context.log.info)
            agreed = context.op_config["confirm"] == blueprint.declaration.name
            context.log.info(restore(step, context.op_config["backup"], agreed=agreed))
        except OcifreeError as error:
            raise as_failure(error, AGAIN) from error

    @dg.job(
        name=NAME,
        description="Start etcd from a backup on empty control planes; on living ones after a typed confirmation.",
        tags={
            "ocifree/deployment": blueprint.declaration.name,
            "dagster/retry_on_asset_or_op_failure": "false",
            "dagster/max_retries": "0",
        },
    )
    def operation() -> None:
        restore_etcd()

    return operation


def restore(step: Step, wanted: str, *, agreed: bool) -> str:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.talos import cluster as talos
    from ocifree_pipeline.systems.talos import restoring

    name, timeout = step.blueprint.declaration.name, ETCD_SECONDS[step.blueprint.plan.topology]
    journal = journal_of(name)
    begun = [str(one.details["backup"]) for one in restoring.under_way(journal, name)]
    backup = chosen(step, wanted or (begun[-1] if begun else ""))
    with tempfile.TemporaryDirectory(prefix="ocifree-restore-") as directory:
        plain = opened(step, backup, Path(directory))
        kept = objects_in(plain)
        _require_cluster(backup, kept)
        with nodes_of(step) as nodes:
            for place in nodes.control_planes:
                step.say(f"wait until {place.hostname} lets us in at {place.address}")
                let_in_or_configured(step, nodes, place)
            restoring.restore(
                nodes, name, plain, backup.short, journal, say=step.say, agreed=agreed, now=now, timeout=timeout
            )
            view = talos.wait_for_etcd(nodes, step.say, timeout=timeout)
            step.say(f"etcd is whole: {view}; wait until the Kubernetes API is ready")
            wait_for_kubernetes(step, nodes, cluster_of(step).endpoint, timeout)
    compared = _read_back(step, backup, kept, timeout)
    restoring.end(journal, name, "read back")
    said = (
        f"{name} is where it was at {backup.at:%Y-%m-%d %H:%M} UTC: etcd on {len(view.members)} control planes, "
        f"{compared} objects of {backup.short} read back"
    )
    _note_members(step, view, said)
    return said


def _require_cluster(backup: "Backup", kept: Mapping[str, bytes]) -> None:
    if not kept.get(IDENTITY):
        raise NotVerified(
            f"{backup.name} holds no cluster",
            why="the namespace kube-system is not in it",
            fix="`ocifree restore --list` shows the others; give the beginning of the name of one",
        )


def _read_back(step: Step, backup: "Backup", kept: Mapping[str, bytes], timeout: float) -> int:
    """Every object of the backup lives. Nodes are left out: those whose machine is gone are taken out at once."""
    from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
    from ocifree_pipeline.systems.oci.waiting import Pause, wait_for

    folders = tuple(f"/registry/{folder}/" for folder in KINDS.values() if folder != NODES)
    wanted = {key for key, value in kept.items() if value and key.startswith(folders)}
    credentials = credentials_of(fetch_kubeconfig(step))

    def missing() -> list[str]:
        with ExitStack() as stack:
            live = dict(living(first_that_answers(step, credentials, stack)))
        if not is_it(live.get(IDENTITY), kept[IDENTITY]):
            raise Transient(
                f"what lives is not the cluster of {backup.short}",
                why="its namespace kube-system is another than the one in the backup",
                fix=f"`{AGAIN} {backup.short}`",
            )
        return sorted(wanted - live.keys())

    wait_for(
        lambda: missing()[:SHOWN],
        lambda left: not left,
        what=f"every object of {backup.short} is there",
        timeout=timeout,
        pause=Pause(2, 15),
    )
    return len(wanted)


def _note_members(step: Step, view: "EtcdView", said: str) -> None:
    """The members are others now. Without a record, the next `ocifree up` writes the first one."""
    facts = find_facts(step.instance, CLUSTER, ClusterFacts)
    if facts is not None:
        members = {one.hostname: f"{one.id:016x}" for one in view.members}
        record_anew(step, CLUSTER, facts.model_copy(update={"members": members}), said)
