"""The platform brought up by the real controller manager and scheduler, on nodes of the sizes of our plans.

Kubelets, Flux and Cilium are those of the sandbox; who makes pods of a deployment and who finds a node for them is not.
What our own releases ask for is in them; what Talos, CoreDNS and Flux ask for is as in their releases.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.record.bootstrap import bootstrap_urls, cilium_installer
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.remote import Remote, over_http
from ocifree_pipeline.systems.kube import delivery, draining
from ocifree_pipeline.systems.kube.api import Api, api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.kube.objects import Object
from ocifree_pipeline.systems.kube.rendering import render
from ocifree_pipeline.systems.kube.secrets import secret
from ocifree_pipeline.systems.talos.defaults import CONTROL_PLANE_LABEL
from ocifree_pipeline_tests.deployment.telemetry.watched import values
from ocifree_pipeline_tests.real.control_plane import ControlPlane, control_plane
from ocifree_pipeline_tests.real.programs import program
from ocifree_pipeline_tests.test_manifests import blueprint, tree

pytestmark = [
    pytest.mark.real("kube-controller-manager + kube-scheduler"),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("kube-apiserver"),
]

FORM = "everything"
THEIRS = frozenset(
    {
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
        "jobs",
        "scheduler",
        "evictions",
        "disruptions",
        "quotas",
        "garbage",
        "namespaces",
        "endpoints",
    }
)
PARTS = ("policies", "cilium", "gateway", "sample", "tailscale_operator", "monitoring")
SECRETS = {
    "tailscale_operator": [("tailscale", "operator-oauth")],
    "monitoring": [("monitoring", "grafana-cloud"), ("monitoring", "proxmox-exporter")],
}
PATIENCE = 120
STATIC = {  # Talos starts them on every control plane, and the scheduler counts what they ask for
    "kube-apiserver": ("200m", "512Mi"),
    "kube-controller-manager": ("50m", "256Mi"),
    "kube-scheduler": ("10m", "64Mi"),
}


@dataclass
class Lab:
    api: Api
    remote: Remote
    drawn: Blueprint
    plane: ControlPlane

    def list(self, version: str, kind: str, namespace: str = "") -> list[Any]:
        return list(self.api.list(self.api.require(version, kind), namespace))

    def apply(self, thing: Object) -> None:
        self.api.apply(self.api.require(str(thing["apiVersion"]), str(thing["kind"])), thing)

    def until(self, left: Any) -> None:
        """Let everybody work until nothing is left, for as long as anything changes or patience lasts."""
        deadline = time.monotonic() + PATIENCE
        while found := left():
            assert time.monotonic() < deadline, found
            self.remote.converge()
            time.sleep(0.2)

    def pending(self) -> dict[str, str]:
        """Who waits for a node, and why."""
        return {
            pod["metadata"]["name"]: next((one.get("message", "") for one in pod["status"].get("conditions", ())), "")
            for pod in self.list("v1", "Pod")
            if pod["status"].get("phase") == "Pending"
        }


@contextmanager
def lab(folder: Path, topology: str) -> Iterator[Lab]:
    drawn = blueprint(topology, FORM)
    state: dict[str, Any] = {
        "settings": asdict(clusters.Settings()),
        "machines": {
            name: {"running": True, "since": "2026-01-01T00:00:00Z"} | clusters.clone_fields(machine)
            for name, machine in machines(drawn).items()
        },
        "manifests": {"cilium": {"text": cilium_installer(drawn), "url": False, "problem": "", "done": []}},
        "repositories": {},
    }
    for url in bootstrap_urls(drawn).values():
        state["manifests"][url] = {"text": "", "url": True, "problem": "", "done": []}
    with control_plane(folder, controllers=True) as plane, plane.session() as speaking:
        asking = over_http(speaking, f"https://127.0.0.1:{plane.port}")
        remote = Remote(asking, state, THEIRS)
        with api_at(plane.address, credentials_of(plane.kubeconfig())) as api:
            here = Lab(api, remote, drawn, plane)
            here.until(lambda: not here.list("v1", "ServiceAccount", "kube-system"))
            remote.converge(*(("nodes", name) for name in state["machines"]))
            for name in state["machines"]:
                for thing in static_pods(name):
                    here.apply(thing)
            here.apply(coredns())
            remote.converge(*(("manifests", name) for name in reversed(state["manifests"])))
            yield here


def machines(drawn: Blueprint) -> dict[str, clusters.Machine]:
    """As the plan has them, and as our machine configurations label them."""
    labels, plan = {CONTROL_PLANE_LABEL: ""}, drawn.plan
    sizes = [(one.name, one.vcpus, one.memory_gb) for one in plan.guests]
    sizes = sizes or [(one.name, one.ocpus, one.memory_gb) for one in plan.ampere]
    return {
        name.replace("_", "-"): clusters.Machine(
            (f"10.0.1.{10 + number}",), control_plane=True, cpus=cpus, memory_gb=memory, labels=labels
        )
        for number, (name, cpus, memory) in enumerate(sizes)
    }


def static_pods(node: str) -> Iterator[Object]:
    for name, (cpu, memory) in STATIC.items():
        container: dict[str, Any] = {"name": name, "image": f"registry.k8s.io/{name}:v1.36.3"}
        container |= {"resources": {"requests": {"cpu": cpu, "memory": memory}}}
        spec = {
            "nodeName": node,
            "hostNetwork": True,
            "containers": [container],
            "tolerations": [{"operator": "Exists"}],
        }
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-{node}", "namespace": "kube-system"},
            "spec": spec,
        }


def coredns() -> Object:
    labels = {"k8s-app": "kube-dns"}
    container: dict[str, Any] = {"name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.14.0"}
    container |= {"resources": {"requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.mark.parametrize("topology", ["talos-native", "proxmox-ceph"])
def test_everything_of_the_platform_finds_a_node(tmp_path: Path, topology: str) -> None:
    program("kube-controller-manager")
    program("kube-scheduler")
    with lab(tmp_path, topology) as here:
        parts = {**tree(topology, FORM), "monitoring": render("monitoring", values(topology))}
        for part in PARTS:
            things = parts[part]
            delivery.apply(here.api, delivery.plan_for(here.api, part, things), lambda line: None)
            for namespace, name in SECRETS.get(part, ()):
                here.apply(secret(namespace, name, {"token": SecretStr("x")}))
            here.until(
                lambda things=things: {
                    str(ref): state
                    for ref, state in delivery.states_of(here.api, things).items()
                    if state.verdict != "ready"
                }
            )
            assert delivery.plan_for(here.api, part, things).is_noop
        here.until(here.pending)

        # Who made them, and who found them a node.
        (deployment,) = (one for one in here.list("apps/v1", "Deployment", "sample"))
        (kept,) = here.list("apps/v1", "ReplicaSet", "sample")
        (pod,) = here.list("v1", "Pod", "sample")
        assert kept["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]
        assert pod["metadata"]["ownerReferences"][0]["uid"] == kept["metadata"]["uid"]
        scheduled = [one for one in here.list("v1", "Event") if one["reason"] == "Scheduled"]
        assert {one["reportingComponent"] for one in scheduled} == {"default-scheduler"}
        nodes = {one["metadata"]["name"] for one in here.list("v1", "Node")}
        assert nodes == set(machines(here.drawn))
        for daemons in here.list("apps/v1", "DaemonSet"):
            assert daemons["status"]["numberReady"] == len(nodes), daemons["metadata"]["name"]

        emptied(here)

        # It could have found none.
        here.apply(_greedy(pod))
        here.until(lambda: "Insufficient memory" not in str(here.pending()))


def emptied(here: Lab) -> None:
    """As before the restart of a node: the cluster is asked to evict its pods, and they come back on the others."""

    class Working:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds
            here.remote.converge()
            time.sleep(0.2)

    said: list[str] = []
    (pod,) = here.list("v1", "Pod", "sample")
    name = pod["spec"]["nodeName"]
    if len(machines(here.drawn)) == 1:
        draining.drain(here.api, name, "an upgrade", said.append, timeout=60, clock=Working())
        assert "its pods stay" in said[0]
        return
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all", "namespace": "sample"},
    }
    here.apply({**budget, "spec": {"minAvailable": 1, "selector": {"matchLabels": pod["metadata"]["labels"]}}})
    here.until(
        lambda: not here.list("policy/v1", "PodDisruptionBudget", "sample")[0].get("status", {}).get("expectedPods")
    )
    with pytest.raises(NotVerified, match="disruption budget"):
        draining.drain(here.api, name, "an upgrade", said.append, timeout=60, clock=Working())
    assert said[-1] == f"{name} takes pods again"
    here.apply({**budget, "spec": {"minAvailable": 0, "selector": {"matchLabels": pod["metadata"]["labels"]}}})
    draining.drain(here.api, name, "an upgrade", said.append, timeout=600, clock=Working())
    here.until(lambda: not [one for one in here.list("v1", "Pod", "sample") if one["status"].get("phase") == "Running"])
    assert name not in {one["spec"].get("nodeName") for one in here.list("v1", "Pod", "sample")}
    assert draining.open_again(here.api, said.append) == [name]
    here.until(here.pending)


def _greedy(pod: Any) -> Object:
    container = pod["spec"]["containers"][0]
    container = {key: container[key] for key in ("name", "image", "securityContext") if key in container}
    container |= {"resources": {"requests": {"cpu": "1m", "memory": "40Gi"}, "limits": {"memory": "40Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "greedy", "namespace": "default"},
        "spec": {"containers": [container], "securityContext": pod["spec"].get("securityContext", {})},
    }
