"""Endpoints of services: which pods answer for a service, and on which ports."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.conditions import is_true, key, own_key, owner, split
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.selectors import selects
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

SLICES, SERVICES, ENDPOINTS = "discovery.k8s.io/v1/endpointslices", "v1/services", "v1/endpoints"


def _of_pod(here: Here, pod: Tree) -> Iterable[str]:
    metadata = pod["metadata"]
    return [
        key(one)
        for one in here.client.list(SERVICES, metadata["namespace"])
        if at(one, "spec", "selector")
        and selects({"matchLabels": one["spec"]["selector"]}, metadata.get("labels") or {})
    ]


@dataclass(frozen=True, slots=True)
class Endpoints:
    name: str = "endpoints"
    watches: dict[str, Keys] = field(default_factory=lambda: {"services": own_key, "pods": _of_pod})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        service = here.client.get(SERVICES, namespace, name)
        if service is None:
            here.client.delete(ENDPOINTS, namespace, name)
            return None
        selector = at(service, "spec", "selector")
        if not selector:
            return None
        pods = [
            one
            for one in here.client.list("v1/pods", namespace)
            if selects({"matchLabels": selector}, one["metadata"].get("labels") or {})
            and at(one, "status", "podIP")
            and at(one, "status", "phase") == "Running"
        ]
        ports = [_port(one, pods[0] if pods else None) for one in at(service, "spec", "ports", default=[])]
        labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "sandbox"}
        wanted: Tree = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-slice",
                "namespace": namespace,
                "labels": labels,
                "ownerReferences": [owner(service)],
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [_endpoint(one) for one in pods],
        }
        here.client.apply(SLICES, wanted, "endpointslice-controller")
        ready = [one for one in pods if is_true(one, "Ready")]
        addresses = [{"ip": one["status"]["podIP"], "targetRef": _reference(one)} for one in ready]
        older: Tree = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace},
        }
        if addresses and ports:
            older["subsets"] = [{"addresses": addresses, "ports": ports}]
        here.client.apply(ENDPOINTS, older, "endpoints-controller")
        return None


def _endpoint(pod: Tree) -> Tree:
    ready = is_true(pod, "Ready")
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": _reference(pod),
    }


def _reference(pod: Tree) -> Tree:
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _port(port: Tree, pod: Tree | None) -> Tree:
    return {"name": port.get("name", ""), "port": resolved(port, pod), "protocol": port["protocol"]}


def resolved(port: Tree, pod: Tree | None) -> int:
    """The port of a pod that a service's port leads to; it may be given by name."""
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in at(pod, "spec", "containers", default=[]):
        for one in container.get("ports") or ():
            if one.get("name") == target:
                return int(one["containerPort"])
    return int(port["port"])
