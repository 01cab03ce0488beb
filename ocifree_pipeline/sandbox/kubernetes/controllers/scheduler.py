"""The scheduler: which node a pod runs on, or why none will do."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from ocifree_pipeline.sandbox.kubernetes import events
from ocifree_pipeline.sandbox.kubernetes.conditions import (
    amount,
    condition,
    controller_of,
    key,
    own_key,
    requests,
    split,
    with_conditions,
)
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PODS = "v1/pods"
NOTHING = Decimal(0)
DONE = frozenset({"Succeeded", "Failed"})


def _waiting(here: Here, _node: Tree) -> Iterable[str]:
    return [key(one) for one in here.client.list(PODS, fields="spec.nodeName=")]


def _freed(here: Here, pod: Tree) -> Iterable[str]:
    if pod["metadata"].get("deletionTimestamp") or at(pod, "status", "phase") in DONE:
        return _waiting(here, pod)
    return () if at(pod, "spec", "nodeName") else own_key(here, pod)


@dataclass(frozen=True, slots=True)
class Scheduler:
    name: str = "scheduler"
    watches: dict[str, Keys] = field(default_factory=lambda: {"pods": _freed, "nodes": _waiting})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        pod = here.client.get(PODS, namespace, name)
        if pod is None or at(pod, "spec", "nodeName") or pod["metadata"].get("deletionTimestamp"):
            return None
        nodes = here.client.list("v1/nodes")
        pods = here.client.list(PODS)
        used, owner = _used(pods), (controller_of(pod) or {}).get("uid")
        # Pods of one workload are spread, and the rest goes where there is most room.
        siblings = Counter(
            at(one, "spec", "nodeName") for one in pods if (controller_of(one) or {}).get("uid") == owner
        )
        reasons: Counter[str] = Counter()
        fitting: list[tuple[int, Decimal, Decimal, str]] = []
        for node in nodes:
            why = refuses(node, pod["spec"], used.get(node["metadata"]["name"], {}))
            if why:
                reasons[why] += 1
            else:
                place = node["metadata"]["name"]
                taken = used.get(place, {})
                fitting.append((siblings[place], taken.get("cpu", NOTHING), taken.get("pods", NOTHING), place))
        if fitting:
            here.client.bind(namespace, name, min(fitting)[-1])
            pod = here.client.get(PODS, namespace, name) or pod
            said = condition("PodScheduled", True, "", "")
        else:
            listed = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
            message = (
                f"0/{len(nodes)} nodes are available: {listed}." if nodes else "no nodes available to schedule pods"
            )
            said = condition("PodScheduled", False, "Unschedulable", message)
            if not any(one.get("message") == message for one in at(pod, "status", "conditions", default=[])):
                events.tell(here, pod, "FailedScheduling", message, by="default-scheduler", warns=True)
        status = pod.get("status") or {}
        here.client.set_status(PODS, pod, status | {"conditions": with_conditions(pod, [said], here.stamp)})
        return None


def _used(pods: list[Tree]) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = {}
    for pod in pods:
        node = at(pod, "spec", "nodeName")
        if not node or at(pod, "status", "phase") in DONE:
            continue
        here = found.setdefault(node, {"pods": Decimal(0)})
        here["pods"] += 1
        for name, value in requests(pod["spec"]).items():
            here[name] = here.get(name, Decimal(0)) + value
    return found


def refuses(node: Tree, spec: Tree, used: dict[str, Decimal]) -> str:
    """Why a pod cannot run there; empty when it can."""
    labels = node["metadata"].get("labels") or {}
    if at(node, "spec", "unschedulable") and not _tolerates(spec, {"key": "node.kubernetes.io/unschedulable"}):
        return "node(s) were unschedulable"
    for taint in at(node, "spec", "taints", default=[]):
        if taint["effect"] != "PreferNoSchedule" and not _tolerates(spec, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    wanted = spec.get("nodeSelector") or {}
    affinity = at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if any(labels.get(name) != value for name, value in wanted.items()) or not _is_drawn(node, affinity):
        return "node(s) didn't match Pod's node affinity/selector"
    allocatable = at(node, "status", "allocatable", default={})
    for name, value in {**requests(spec), "pods": Decimal(1)}.items():
        if name in allocatable and used.get(name, Decimal(0)) + value > amount(allocatable[name]):
            return "Too many pods" if name == "pods" else f"Insufficient {name}"
    return ""


def _tolerates(spec: Tree, taint: Tree) -> bool:
    for one in spec.get("tolerations") or ():
        if one.get("key") not in {None, "", taint["key"]}:
            continue
        if one.get("effect") and taint.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("operator", "Equal") == "Exists" or one.get("value", "") == taint.get("value", ""):
            return True
    return False


def _is_drawn(node: Tree, affinity: Tree | None) -> bool:
    if affinity is None:
        return True
    labels, name = node["metadata"].get("labels") or {}, node["metadata"]["name"]
    return any(
        all(_meets(one, labels) for one in term.get("matchExpressions") or ())
        and all(_meets(one, {"metadata.name": name}) for one in term.get("matchFields") or ())
        for term in affinity.get("nodeSelectorTerms") or ()
    )


def _meets(expression: Tree, values: dict[str, str]) -> bool:
    value, listed = values.get(expression["key"]), expression.get("values") or []
    return {
        "In": value in listed,
        "NotIn": value not in listed,
        "Exists": value is not None,
        "DoesNotExist": value is None,
        "Gt": value is not None and value.isdigit() and listed and int(value) > int(listed[0]),
        "Lt": value is not None and value.isdigit() and listed and int(value) < int(listed[0]),
    }[expression["operator"]] is True
