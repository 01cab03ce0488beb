"""When an object counts as working, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.systems.kube.readiness import state_of, tells


def thing(kind: str, status: dict[str, Any], api_version: str = "apps/v1", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "y", "generation": 2} | more.pop("metadata", {}),
        "status": status,
        **more,
    }


def condition(kind: str, status: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "message": message, **more}


def flux(*conditions: dict[str, Any], observed: int = 2) -> dict[str, Any]:
    status = {"observedGeneration": observed, "conditions": list(conditions)}
    return thing("HelmRelease", status, "helm.toolkit.fluxcd.io/v2")


DEPLOYMENT = {"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 3}
DAEMON_SET = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberAvailable": 3,
}
LATE = condition("Progressing", "False", "gave up", reason="ProgressDeadlineExceeded")
ROUTE = ("HTTPRoute", "gateway.networking.k8s.io/v1")
GATEWAY = ("Gateway", "gateway.networking.k8s.io/v1")
CRD = ("CustomResourceDefinition", "apiextensions.k8s.io/v1")
ACCEPTED, RESOLVED = condition("Accepted", "True"), condition("ResolvedRefs", "True")


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (thing("Deployment", DEPLOYMENT, spec={"replicas": 3}), "ready", "ready"),
        (thing("Deployment", DEPLOYMENT | {"availableReplicas": 2}, spec={"replicas": 3}), "waiting", "2 of 3"),
        (thing("Deployment", DEPLOYMENT | {"updatedReplicas": 1}, spec={"replicas": 3}), "waiting", "1 of 3"),
        (thing("Deployment", DEPLOYMENT | {"observedGeneration": 1}, spec={"replicas": 3}), "waiting", "not seen"),
        (thing("Deployment", {}, spec={"replicas": 0}, metadata={"generation": 0}), "ready", "ready"),
        (thing("Deployment", DEPLOYMENT | {"conditions": [LATE]}, spec={"replicas": 3}), "failed", "gave up"),
        (thing("DaemonSet", DAEMON_SET), "ready", "ready"),
        (thing("DaemonSet", DAEMON_SET | {"numberAvailable": 1}), "waiting", "on 1 of 3 nodes"),
        (thing("DaemonSet", {}), "waiting", "not seen"),
        (thing("StatefulSet", {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1}), "ready", "ready"),
        (thing("StatefulSet", {"observedGeneration": 2, "readyReplicas": 0}), "waiting", "0 of 1"),
        (thing("Job", {"conditions": [condition("Complete", "True")]}, "batch/v1"), "ready", "ready"),
        (thing("Job", {"conditions": [condition("Failed", "True", "too often")]}, "batch/v1"), "failed", "too often"),
        (thing("Job", {}, "batch/v1"), "waiting", "not finished"),
        (thing("Namespace", {"phase": "Active"}, "v1"), "ready", "ready"),
        (thing("Namespace", {"phase": "Terminating"}, "v1"), "waiting", "Terminating"),
        (thing(CRD[0], {"conditions": [condition("Established", "True")]}, CRD[1]), "ready", "ready"),
        (thing(CRD[0], {}, CRD[1]), "waiting", "no reason given yet"),
        (thing(CRD[0], {"conditions": [condition("NamesAccepted", "False", "taken")]}, CRD[1]), "failed", "taken"),
        (flux(condition("Ready", "True")), "ready", "ready"),
        (flux(condition("Ready", "True"), observed=1), "waiting", "not seen"),
        (flux(condition("Ready", "True", observedGeneration=1)), "waiting", "not seen"),
        (flux(condition("Ready", "False", "timed out")), "waiting", "timed out"),
        (flux(condition("Ready", "False", "x"), condition("Stalled", "True", "no such chart")), "failed", "no such"),
        (flux(), "waiting", "not seen"),
        (thing(GATEWAY[0], {"conditions": [ACCEPTED]}, GATEWAY[1]), "waiting", "no controller"),
        (
            thing(GATEWAY[0], {"conditions": [ACCEPTED, condition("Programmed", "True")]}, GATEWAY[1]),
            "ready",
            "ready",
        ),
        (
            thing(GATEWAY[0], {"conditions": [condition("Accepted", "False", "no class")]}, GATEWAY[1]),
            "waiting",
            "no class",
        ),
        (thing(ROUTE[0], {}, ROUTE[1]), "waiting", "no gateway"),
        (thing(ROUTE[0], {"parents": [{"conditions": [ACCEPTED, RESOLVED]}]}, ROUTE[1]), "ready", "ready"),
        (
            thing(
                ROUTE[0],
                {"parents": [{"conditions": [ACCEPTED, condition("ResolvedRefs", "False", "no service")]}]},
                ROUTE[1],
            ),
            "waiting",
            "no service",
        ),
        (thing("ConfigMap", {}, "v1"), "ready", "ready"),
        (thing("ConfigMap", {}, "v1", metadata={"deletionTimestamp": "now"}), "waiting", "being deleted"),
    ],
)
def test_states(found: dict[str, Any], verdict: str, said: str) -> None:
    state = state_of(found)
    assert state.verdict == verdict
    assert said in state.message


def test_only_kinds_that_tell_are_asked() -> None:
    assert tells(flux())
    assert tells(thing("Deployment", {}))
    assert not tells(thing("ConfigMap", {}, "v1"))
