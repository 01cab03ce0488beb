"""A pod of Alloy whose configuration does not load ends at once, and is started again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.deployment.telemetry import pipeline
from ocifree_pipeline.deployment.telemetry.syntax import Invalid
from ocifree_pipeline.sandbox.grafana.alloy_files import ALLOY, file_of
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, key, own_key, split, with_conditions
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at, clone

PODS = "v1/pods"
SAYS = "Error: /etc/alloy/config.alloy: "


def _with_it(here: Here, config: Tree) -> Iterable[str]:
    """Pods of Alloy in the namespace of a ConfigMap."""
    name, value = ALLOY
    pods = here.client.list(PODS, config["metadata"].get("namespace", ""), labels=f"{name}={value}")
    return [key(pod) for pod in pods]


@dataclass(frozen=True, slots=True)
class AlloyStart:
    name: str = "alloy-start"
    watches: dict[str, Keys] = field(default_factory=lambda: {"pods": own_key, "configmaps": _with_it})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        pod = here.client.get(PODS, namespace, name)
        if pod is None or at(pod, "status", "phase") != "Running" or not _is_alloy(pod):
            return None
        problem = _problem(here, pod)
        said = at(_state(pod), "waiting", "message", default="")
        if problem and said != SAYS + problem:
            _say(here, pod, {"waiting": {"reason": "CrashLoopBackOff", "message": SAYS + problem}}, ready=False)
        elif not problem and said.startswith(SAYS):
            _say(here, pod, {"running": {"startedAt": here.stamp}}, ready=True)
        return None


def _is_alloy(pod: Tree) -> bool:
    name, value = ALLOY
    return bool((pod["metadata"].get("labels") or {}).get(name) == value)


def _problem(here: Here, pod: Tree) -> str:
    namespace = pod["metadata"]["namespace"]
    text = file_of(pod, lambda name: here.client.get("v1/configmaps", namespace, name))
    try:
        pipeline.load(text or "")
    except Invalid as error:
        return str(error)
    return ""


def _state(pod: Tree) -> Tree:
    statuses = at(pod, "status", "containerStatuses", default=[])
    found: Tree = statuses[0].get("state", {}) if statuses else {}
    return found


def _say(here: Here, pod: Tree, state: Tree, *, ready: bool) -> None:
    status = clone(pod["status"])
    first = status["containerStatuses"][0]
    first.update(state=state, ready=ready, restartCount=first.get("restartCount", 0) + (0 if ready else 1))
    told = [condition(kind, ready, "" if ready else "ContainersNotReady") for kind in ("Ready", "ContainersReady")]
    here.client.set_status(PODS, pod, status | {"conditions": with_conditions(pod, told, here.stamp)})
