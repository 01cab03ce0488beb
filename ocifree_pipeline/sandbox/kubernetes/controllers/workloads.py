"""DaemonSets, Deployments, ReplicaSets and StatefulSets: pods as their templates say, and how far they are."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes import events
from ocifree_pipeline.sandbox.kubernetes.conditions import (
    condition,
    controller_of,
    is_true,
    key,
    keys_of_owner,
    own_key,
    owner,
    pod_from,
    split,
    with_conditions,
)
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PODS = "v1/pods"
DAEMON_SETS, DEPLOYMENTS = "apps/v1/daemonsets", "apps/v1/deployments"
REPLICA_SETS, STATEFUL_SETS = "apps/v1/replicasets", "apps/v1/statefulsets"
HASH, REVISION = "pod-template-hash", "controller-revision-hash"
DONE = frozenset({"Succeeded", "Failed"})
FAILURE = "ReplicaFailure"
RETRY_SECONDS = 15.0
DAEMON_TOLERATIONS = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)


def template_hash(template: Tree) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def pods_of(here: Here, tree: Tree) -> list[Tree]:
    """The pods that belong to a workload and have not ended."""
    uid = tree["metadata"]["uid"]
    return [
        pod
        for pod in here.client.list(PODS, tree["metadata"]["namespace"])
        if (controller_of(pod) or {}).get("uid") == uid and not pod["metadata"].get("deletionTimestamp")
    ]


def _alive(here: Here, resource: str, key: str) -> Tree | None:
    namespace, name = split(key)
    found = here.client.get(resource, namespace, name)
    return None if found is None or found["metadata"].get("deletionTimestamp") else found


def _drop(here: Here, pod: Tree) -> None:
    here.client.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class DaemonSets:
    name: str = "daemonsets"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "daemonsets.apps": own_key,
            "pods": keys_of_owner("DaemonSet"),
            "nodes": lambda here, _node: [key(one) for one in here.client.list(DAEMON_SETS)],
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        tree = _alive(here, DAEMON_SETS, key)
        if tree is None:
            return None
        spec, template = tree["spec"], tree["spec"]["template"]
        revision = template_hash(template)
        tolerations = [*(at(template, "spec", "tolerations", default=[])), *DAEMON_TOLERATIONS]
        wanted = {
            node["metadata"]["name"]
            for node in here.client.list("v1/nodes")
            if _takes(node, at(template, "spec", default={}) | {"tolerations": tolerations})
        }
        pods = {_node_of(one): one for one in pods_of(here, tree)}
        for node, pod in pods.items():
            outdated = pod["metadata"]["labels"].get(REVISION) != revision
            ended = at(pod, "status", "phase") in DONE
            if node not in wanted or ended or (outdated and spec["updateStrategy"]["type"] == "RollingUpdate"):
                _drop(here, pod)
        for node in sorted(wanted - {_node_of(one) for one in pods_of(here, tree)}):
            pod = pod_from(
                template, tree["metadata"]["namespace"], f"{tree['metadata']['name']}-", tree, {REVISION: revision}
            )
            pod["spec"]["tolerations"] = tolerations
            fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
            pod["spec"]["affinity"] = {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": fields}]}
                }
            }
            here.client.create(PODS, pod)
        pods = {_node_of(one): one for one in pods_of(here, tree)}
        ready = sum(is_true(one, "Ready") for one in pods.values())
        here.client.set_status(
            DAEMON_SETS,
            tree,
            {
                "currentNumberScheduled": len(pods),
                "desiredNumberScheduled": len(wanted),
                "numberMisscheduled": 0,
                "numberReady": ready,
                "numberAvailable": ready,
                "numberUnavailable": len(wanted) - ready,
                "updatedNumberScheduled": sum(
                    one["metadata"]["labels"].get(REVISION) == revision for one in pods.values()
                ),
                "observedGeneration": tree["metadata"]["generation"],
            },
        )
        return None


def _node_of(pod: Tree) -> str:
    affinity = at(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", default={})
    for term in affinity.get("nodeSelectorTerms") or ():
        for one in term.get("matchFields") or ():
            return str(one["values"][0])
    return str(at(pod, "spec", "nodeName", default=""))


def _takes(node: Tree, spec: Tree) -> bool:
    from ocifree_pipeline.sandbox.kubernetes.controllers.scheduler import refuses

    spec = {name: value for name, value in spec.items() if name not in {"containers", "initContainers"}}
    return not refuses(node, spec, {})


@dataclass(frozen=True, slots=True)
class Deployments:
    name: str = "deployments"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {"deployments.apps": own_key, "replicasets.apps": keys_of_owner("Deployment")}
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        tree = _alive(here, DEPLOYMENTS, key)
        if tree is None:
            return None
        metadata, spec = tree["metadata"], tree["spec"]
        mine = [one for one in here.client.list(REPLICA_SETS, metadata["namespace"]) if _belongs(one, tree)]
        current = template_hash(spec["template"])
        new = next((one for one in mine if one["metadata"]["labels"].get(HASH) == current), None)
        if new is None:
            new = here.client.create(REPLICA_SETS, _replica_set(tree, current, len(mine) + 1))
        if new["spec"]["replicas"] != spec["replicas"]:
            new = _scale(here, new, spec["replicas"])
        old = [one for one in mine if one["metadata"]["uid"] != new["metadata"]["uid"]]
        arrived = at(new, "status", "readyReplicas", default=0) >= spec["replicas"]
        if arrived or spec["strategy"]["type"] == "Recreate":
            old = [_scale(here, one, 0) if one["spec"]["replicas"] else one for one in old]
        ready = sum(at(one, "status", "readyReplicas", default=0) for one in (new, *old))
        everything = sum(at(one, "status", "replicas", default=0) for one in (new, *old))
        updated = at(new, "status", "replicas", default=0)
        failure = next((one for one in at(new, "status", "conditions", default=[]) if one["type"] == FAILURE), None)
        status = _deployment_status(here, tree, everything=everything, updated=updated, ready=ready, failure=failure)
        here.client.set_status(DEPLOYMENTS, tree, status)
        return None


def _belongs(tree: Tree, to: Tree) -> bool:
    return bool((controller_of(tree) or {}).get("uid") == to["metadata"]["uid"])


def _scale(here: Here, tree: Tree, replicas: int) -> Tree:
    metadata = tree["metadata"]
    return here.client.patch(REPLICA_SETS, metadata["namespace"], metadata["name"], {"spec": {"replicas": replicas}})


def _replica_set(tree: Tree, current: str, revision: int) -> Tree:
    metadata, template = tree["metadata"], tree["spec"]["template"]
    labels = at(template, "metadata", "labels", default={}) | {HASH: current}
    selector = tree["spec"]["selector"]
    return {
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{current}",
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [owner(tree)],
        },
        "spec": {
            "replicas": tree["spec"]["replicas"],
            "selector": selector | {"matchLabels": (selector.get("matchLabels") or {}) | {HASH: current}},
            "template": template | {"metadata": (template.get("metadata") or {}) | {"labels": labels}},
        },
    }


def _deployment_status(
    here: Here, tree: Tree, *, everything: int, updated: int, ready: int, failure: Tree | None
) -> Tree:
    wanted = tree["spec"]["replicas"]
    done = updated == wanted == ready == everything
    name = tree["metadata"]["name"]
    available = ready >= max(wanted - wanted // 4, min(wanted, 1))
    said = [
        condition("Available", True, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if available
        else condition(
            "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        ),
        condition("Progressing", True, "NewReplicaSetAvailable", f'ReplicaSet of "{name}" has successfully progressed.')
        if done
        else condition("Progressing", True, "ReplicaSetUpdated", f'ReplicaSet of "{name}" is progressing.'),
    ]
    conditions = with_conditions(tree, said if failure is None else [*said, failure], here.stamp)
    if failure is None:
        conditions = [one for one in conditions if one["type"] != FAILURE]
    status: Tree = {"observedGeneration": tree["metadata"]["generation"], "conditions": conditions}
    counts = {
        "replicas": everything,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted - ready, 0),
    }
    return status | {name: value for name, value in counts.items() if value}


@dataclass(frozen=True, slots=True)
class ReplicaSets:
    name: str = "replicasets"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {"replicasets.apps": own_key, "pods": keys_of_owner("ReplicaSet")}
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        tree = _alive(here, REPLICA_SETS, key)
        if tree is None or (is_true(tree, FAILURE) and not here.timed and not _wants_less(tree)):
            return None
        metadata, spec = tree["metadata"], tree["spec"]
        pods = [one for one in pods_of(here, tree) if at(one, "status", "phase") not in DONE]
        for pod in sorted(pods, key=lambda one: is_true(one, "Ready"))[: max(len(pods) - spec["replicas"], 0)]:
            _drop(here, pod)
        refused = ""
        for _ in range(spec["replicas"] - len(pods)):
            pod = pod_from(spec["template"], metadata["namespace"], f"{metadata['name']}-", tree)
            try:
                here.client.create(PODS, pod)
            except Refusal as refusal:
                refused = refusal.message
                events.tell(here, tree, "FailedCreate", f"Error creating: {refused}", by=self.name, warns=True)
                break
        pods = [one for one in pods_of(here, tree) if at(one, "status", "phase") not in DONE]
        more: Tree = {}
        if refused:
            failure = condition(FAILURE, True, "FailedCreate", refused)
            more["conditions"] = with_conditions(tree, [failure], here.stamp)
        _say_counts(here, REPLICA_SETS, tree, pods, more)
        return RETRY_SECONDS if refused else None


def _wants_less(tree: Tree) -> bool:
    return bool(tree["spec"]["replicas"] <= at(tree, "status", "replicas", default=0))


def _say_counts(here: Here, resource: str, tree: Tree, pods: Iterable[Tree], more: Tree | None = None) -> None:
    listed = list(pods)
    ready = sum(is_true(one, "Ready") for one in listed)
    status: Tree = {"replicas": len(listed), "observedGeneration": tree["metadata"]["generation"]} | (more or {})
    if ready:
        status |= {"readyReplicas": ready, "availableReplicas": ready}
    here.client.set_status(resource, tree, status)


@dataclass(frozen=True, slots=True)
class StatefulSets:
    """Pods with names that stay, one after the other. Claims of volumes are not played."""

    name: str = "statefulsets"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {"statefulsets.apps": own_key, "pods": keys_of_owner("StatefulSet")}
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        tree = _alive(here, STATEFUL_SETS, key)
        if tree is None:
            return None
        metadata, spec = tree["metadata"], tree["spec"]
        revision = template_hash(spec["template"])
        pods = {one["metadata"]["name"]: one for one in pods_of(here, tree)}
        wanted = [f"{metadata['name']}-{number}" for number in range(spec["replicas"])]
        for name, pod in pods.items():
            outdated = pod["metadata"]["labels"].get(REVISION) != revision
            if name not in wanted or outdated or at(pod, "status", "phase") in DONE:
                _drop(here, pod)
        pods = {one["metadata"]["name"]: one for one in pods_of(here, tree)}
        for number, name in enumerate(wanted):
            if name not in pods:
                labels = {REVISION: revision, "apps.kubernetes.io/pod-index": str(number)}
                if here.client.get(PODS, metadata["namespace"], name) is None:
                    here.client.create(PODS, pod_from(spec["template"], metadata["namespace"], name, tree, labels))
                if spec["podManagementPolicy"] == "OrderedReady":
                    break
            elif spec["podManagementPolicy"] == "OrderedReady" and not is_true(pods[name], "Ready"):
                break
        current = pods_of(here, tree)
        more = {"currentRevision": revision, "updateRevision": revision, "updatedReplicas": len(current)}
        _say_counts(here, STATEFUL_SETS, tree, current, more)
        return None
