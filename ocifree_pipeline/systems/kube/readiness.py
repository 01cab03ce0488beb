"""Does an object work? Each kind says it in its own words; what has no status is ready when it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocifree_pipeline.systems.kube.objects import Object, at, group_of

Verdict = Literal["ready", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class State:
    """`message` is the controller's own where it gave one."""

    verdict: Verdict
    message: str


READY = State("ready", "ready")


def state_of(thing: Object) -> State:
    """Failed means that waiting does not help."""
    if at(thing, "metadata.deletionTimestamp"):
        return State("waiting", "is being deleted")
    rule = _RULES.get((group_of(str(thing["apiVersion"])), str(thing["kind"])))
    if rule is not None:
        return rule(thing)
    return _by_condition(thing) if tells(thing) else READY


def tells(thing: Object) -> bool:
    """Whether objects of this kind say how they are."""
    group = group_of(str(thing["apiVersion"]))
    return (group, str(thing["kind"])) in _RULES or group.endswith("fluxcd.io")


def _namespace(thing: Object) -> State:
    phase = at(thing, "status.phase")
    return READY if phase == "Active" else State("waiting", f"phase {phase or 'unknown'}")


def _definition(thing: Object) -> State:
    names = _condition(thing, "NamesAccepted")
    if names.get("status") == "False":
        return State("failed", _said(names))
    established = _condition(thing, "Established")
    return READY if established.get("status") == "True" else State("waiting", _said(established))


def _deployment(thing: Object) -> State:
    progressing = _condition(thing, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return State("failed", _said(progressing))
    wanted = int(at(thing, "spec.replicas", 1))
    if not _is_seen(thing):
        return State("waiting", "its controller has not seen the change yet")
    updated, available = (int(at(thing, f"status.{name}", 0)) for name in ("updatedReplicas", "availableReplicas"))
    if min(updated, available) >= wanted:
        return READY
    return State("waiting", f"{min(updated, available)} of {wanted} pods are available")


def _daemon_set(thing: Object) -> State:
    if not _is_seen(thing) or at(thing, "status.desiredNumberScheduled") is None:
        return State("waiting", "its controller has not seen the change yet")
    names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    wanted, updated, available = (int(at(thing, f"status.{name}", 0)) for name in names)
    if min(updated, available) >= wanted:
        return READY
    return State("waiting", f"available on {min(updated, available)} of {wanted} nodes")


def _stateful_set(thing: Object) -> State:
    wanted = int(at(thing, "spec.replicas", 1))
    if not _is_seen(thing):
        return State("waiting", "its controller has not seen the change yet")
    ready, updated = (int(at(thing, f"status.{name}", 0)) for name in ("readyReplicas", "updatedReplicas"))
    return (
        READY
        if min(ready, updated) >= wanted
        else State("waiting", f"{min(ready, updated)} of {wanted} pods are ready")
    )


def _job(thing: Object) -> State:
    failed = _condition(thing, "Failed")
    if failed.get("status") == "True":
        return State("failed", _said(failed))
    return READY if _condition(thing, "Complete").get("status") == "True" else State("waiting", "has not finished yet")


def _by_condition(thing: Object) -> State:
    """Flux: Ready says how it stands, Stalled that it has given up."""
    stalled = _condition(thing, "Stalled")
    if stalled.get("status") == "True":
        return State("failed", _said(stalled))
    ready = _condition(thing, "Ready")
    generation = at(thing, "metadata.generation")
    observed = ready.get("observedGeneration", at(thing, "status.observedGeneration", generation))
    if not ready or observed != generation:
        return State("waiting", "its controller has not seen the change yet")
    return READY if ready.get("status") == "True" else State("waiting", _said(ready))


def _gateway(thing: Object) -> State:
    for kind in ("Accepted", "Programmed"):
        condition = _condition(thing, kind)
        if condition.get("status") != "True":
            return State("waiting", _said(condition) if condition else "no controller has taken it yet")
    return READY


def _route(thing: Object) -> State:
    parents = at(thing, "status.parents") or ()
    if not parents:
        return State("waiting", "no gateway has taken it yet")
    for parent in parents:
        for kind in ("Accepted", "ResolvedRefs"):
            condition = _condition({"status": parent}, kind)
            if condition.get("status") != "True":
                return State("waiting", _said(condition) if condition else "no gateway has taken it yet")
    return READY


_RULES: Mapping[tuple[str, str], Callable[[Object], State]] = {
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "Deployment"): _deployment,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("gateway.networking.k8s.io", "Gateway"): _gateway,
    ("gateway.networking.k8s.io", "HTTPRoute"): _route,
}


def _is_seen(thing: Object) -> bool:
    return int(at(thing, "status.observedGeneration", 0)) >= int(at(thing, "metadata.generation", 0))


def _condition(thing: Object, kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(
        (one for one in at(thing, "status.conditions") or () if one.get("type") == kind), {}
    )
    return found


def _said(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "no reason given yet")
