"""Whatever anybody sends: an answer or a refusal, and controllers that go on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.calls import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Call, User
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.kubernetes.platform import CILIUM, FLUX, GATEWAY_API
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE

ADMIN = User("admin", ("system:masters",))
TARGETS = {
    "configmaps": "/api/v1/namespaces/default",
    "pods": "/api/v1/namespaces/default",
    "services": "/api/v1/namespaces/default",
    "secrets": "/api/v1/namespaces/default",
    "resourcequotas": "/api/v1/namespaces/default",
    "deployments": "/apis/apps/v1/namespaces/default",
    "daemonsets": "/apis/apps/v1/namespaces/default",
    "jobs": "/apis/batch/v1/namespaces/default",
    "helmreleases": "/apis/helm.toolkit.fluxcd.io/v2/namespaces/default",
    "kustomizations": "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default",
    "gateways": "/apis/gateway.networking.k8s.io/v1/namespaces/default",
    "httproutes": "/apis/gateway.networking.k8s.io/v1/namespaces/default",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}
WORDS = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "labels",
    "finalizers",
    "ownerReferences",
    "spec",
    "status",
    "selector",
    "matchLabels",
    "template",
    "containers",
    "image",
    "ports",
    "containerPort",
    "env",
    "resources",
    "requests",
    "limits",
    "hard",
    "replicas",
    "data",
    "stringData",
    "rules",
    "group",
    "versions",
    "schema",
    "scope",
    "names",
    "plural",
    "chart",
    "values",
    "sourceRef",
    "interval",
    "listeners",
    "parentRefs",
    "backendRefs",
    "volumes",
]
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 70_000), st.sampled_from(["", "a", "1", "10m", "x/y", "Always"])
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)),
    max_leaves=12,
)
CONTAINERS = [{"name": "c", "image": "web:1"}]
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": CONTAINERS, "restartPolicy": "Never"}}
SOUND: dict[str, Any] = {
    "pods": {"spec": {"containers": CONTAINERS}},
    "deployments": {
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": TEMPLATE | {"spec": {"containers": CONTAINERS}},
        }
    },
    "jobs": {"spec": {"template": TEMPLATE}},
    "services": {"spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}},
    "gateways": {"spec": {"gatewayClassName": "cilium", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}},
    "httproutes": {"spec": {"parentRefs": [{"name": "x"}], "rules": [{"backendRefs": [{"name": "x", "port": 80}]}]}},
}


@pytest.fixture(scope="module")
def cluster() -> clusters.Cluster:
    world = World(Path("unused"), seed=1)
    FLEETING.append(world)
    found = clusters.create(world, "lab")
    found.add_node("node-1", NODE)
    found.bootstrap({"cilium": CILIUM}, [GATEWAY_API, FLUX])
    for _ in range(5):
        world.settle()
    assert found.nodes() == {"node-1": True}
    return found


FLEETING: list[World] = []
"""A cluster does not keep its world alive."""


def send(cluster: clusters.Cluster, method: str, path: str, body: Any, kind: str = "application/json") -> None:
    query = {"fieldManager": "fuzz", "force": "true"}
    with contextlib.suppress(Refusal):
        cluster.api.answer(Call(method, path, ADMIN, query, body, kind))
    assert not cluster.runner.failures


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    resource=st.sampled_from(sorted(TARGETS)),
    noise=trees,
    member=st.sampled_from(["spec", "metadata", "status", "data"]),
)
def test_bodies(cluster: clusters.Cluster, resource: str, noise: Any, member: str) -> None:
    cluster.runner.failures.clear()
    path = f"{TARGETS[resource]}/{resource}"
    sound = {"metadata": {"name": "x"}} | SOUND.get(resource, {})
    send(cluster, "POST", path, noise)
    send(cluster, "POST", path, sound)
    for kind in (MERGE_PATCH, STRATEGIC_PATCH):
        send(cluster, "PATCH", f"{path}/x", {member: noise}, kind)
    send(cluster, "PATCH", f"{path}/x", sound | {member: noise}, APPLY_PATCH)
    send(cluster, "PATCH", f"{path}/x", [{"op": "add", "path": f"/{member}/a", "value": noise}], JSON_PATCH)
    send(cluster, "PUT", f"{path}/x", sound | {member: noise})
    if "toolkit" not in path and "gateway" not in path:
        # Of the status of custom kinds the sandbox knows too little to refuse what only controllers write.
        send(cluster, "PATCH", f"{path}/x/status", {"status": noise}, MERGE_PATCH)
    send(cluster, "DELETE", f"{path}/x", noise)
    send(cluster, "PATCH", f"{path}/x", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    cluster.world.settle()
    assert not cluster.runner.failures
