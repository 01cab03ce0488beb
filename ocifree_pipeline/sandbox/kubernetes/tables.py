"""Objects as rows, for `kubectl get`: the server decides which columns a kind has."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

WANTED = "as=Table"
Cell = Callable[[Tree], object]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    cell: Cell
    kind: str = "string"


def is_wanted(accept: str) -> bool:
    return WANTED in accept.replace(" ", "")


def table(kind: Kind, items: Iterable[Tree], metadata: Tree, now: datetime) -> Tree:
    columns = [
        Column("Name", lambda tree: tree["metadata"]["name"]),
        *(COLUMNS.get(kind.resource) or _usual(kind)),
        Column("Age", lambda tree: age(tree, now)),
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": one.title,
                "type": one.kind,
                "format": "name" if one.title == "Name" else "",
                "description": "",
                "priority": 0,
            }
            for one in columns
        ],
        "rows": [{"cells": [one.cell(tree) for one in columns], "object": _partial(tree)} for tree in items],
    }


def age(tree: Tree, now: datetime) -> str:
    """How old an object is, as people say it."""
    seconds = max(0, int((now - parse(tree["metadata"]["creationTimestamp"])).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _partial(tree: Tree) -> Tree:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": tree["metadata"]}


def _usual(kind: Kind) -> list[Column]:
    """Custom kinds tell whether they are ready, and why not."""
    if kind.custom is None or not kind.status:
        return []
    return [
        Column("Ready", lambda tree: _of(tree, "Ready", "status")),
        Column("Status", lambda tree: _of(tree, "Ready", "message")),
    ]


def _of(tree: Tree, kind: str, what: str) -> str:
    for one in at(tree, "status", "conditions", default=[]):
        if one["type"] == kind:
            return str(one[what])
    return ""


def _pod_status(tree: Tree) -> str:
    if tree["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for one in at(tree, "status", "containerStatuses", default=[]):
        reason = at(one, "state", "waiting", "reason") or at(one, "state", "terminated", "reason")
        if reason:
            return str(reason)
    return str(at(tree, "status", "phase", default="Unknown"))


def _pod_ready(tree: Tree) -> str:
    listed = at(tree, "status", "containerStatuses", default=[])
    return f"{sum(one['ready'] for one in listed)}/{len(tree['spec']['containers'])}"


def _restarts(tree: Tree) -> int:
    return sum(one["restartCount"] for one in at(tree, "status", "containerStatuses", default=[]))


def _node_status(tree: Tree) -> str:
    said = "Ready" if is_true(tree, "Ready") else "NotReady"
    return f"{said},SchedulingDisabled" if at(tree, "spec", "unschedulable") else said


def _roles(tree: Tree) -> str:
    prefix = "node-role.kubernetes.io/"
    found = [one.removeprefix(prefix) for one in tree["metadata"].get("labels") or {} if one.startswith(prefix)]
    return ",".join(sorted(found)) or "<none>"


def _ports(tree: Tree) -> str:
    listed = at(tree, "spec", "ports", default=[])
    return ",".join(
        f"{one['port']}:{one['nodePort']}/{one['protocol']}"
        if "nodePort" in one
        else f"{one['port']}/{one['protocol']}"
        for one in listed
    )


def _external(tree: Tree) -> str:
    found = [one.get("ip") or one.get("hostname") for one in at(tree, "status", "loadBalancer", "ingress", default=[])]
    if not found and at(tree, "spec", "type") == "LoadBalancer":
        return "<pending>"
    return ",".join(map(str, found)) or "<none>"


def _number(title: str, *path: str) -> Column:
    return Column(title, lambda tree: at(tree, *path, default=0), "integer")


def _word(title: str, *path: str) -> Column:
    return Column(title, lambda tree: str(at(tree, *path, default="")))


COLUMNS: dict[str, list[Column]] = {
    "nodes": [
        Column("Status", _node_status),
        Column("Roles", _roles),
        _word("Version", "status", "nodeInfo", "kubeletVersion"),
    ],
    "pods": [Column("Ready", _pod_ready), Column("Status", _pod_status), Column("Restarts", _restarts, "integer")],
    "namespaces": [_word("Status", "status", "phase")],
    "services": [
        _word("Type", "spec", "type"),
        _word("Cluster-IP", "spec", "clusterIP"),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
    ],
    "deployments.apps": [
        Column(
            "Ready",
            lambda tree: f"{at(tree, 'status', 'readyReplicas', default=0)}/{at(tree, 'spec', 'replicas', default=0)}",
        ),
        _number("Up-to-date", "status", "updatedReplicas"),
        _number("Available", "status", "availableReplicas"),
    ],
    "daemonsets.apps": [
        _number("Desired", "status", "desiredNumberScheduled"),
        _number("Current", "status", "currentNumberScheduled"),
        _number("Ready", "status", "numberReady"),
    ],
    "jobs.batch": [
        Column("Status", lambda tree: next((one for one in ("Complete", "Failed") if is_true(tree, one)), "Running")),
    ],
    "configmaps": [Column("Data", lambda tree: len(tree.get("data") or {}), "integer")],
    "secrets": [_word("Type", "type"), Column("Data", lambda tree: len(tree.get("data") or {}), "integer")],
    "events": [_word("Type", "type"), _word("Reason", "reason"), _word("Message", "message")],
    "gateways.gateway.networking.k8s.io": [
        _word("Class", "spec", "gatewayClassName"),
        Column("Address", lambda tree: ",".join(one["value"] for one in at(tree, "status", "addresses", default=[]))),
        Column("Programmed", lambda tree: _of(tree, "Programmed", "status")),
    ],
    "httproutes.gateway.networking.k8s.io": [
        Column("Hostnames", lambda tree: ",".join(at(tree, "spec", "hostnames", default=[]))),
    ],
}
