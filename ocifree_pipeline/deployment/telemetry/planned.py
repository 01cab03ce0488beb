"""The pages that all targets of a landscape would show to the jobs of a configuration, discovered as Alloy would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ocifree_pipeline.deployment.telemetry import exporters
from ocifree_pipeline.deployment.telemetry.budget import Page
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.landscape import Landscape, Node, Pod
from ocifree_pipeline.deployment.telemetry.pipeline import Discovery, Job

_UNSAFE = re.compile(r"[^a-zA-Z0-9_]")


def discovered(discovery: Discovery, landscape: Landscape) -> Iterator[dict[str, str]]:
    """Targets before relabelling, with the meta labels that Alloy gives them."""
    yield from (dict(target) for target in discovery.static)
    if discovery.role == "node":
        yield from (node_target(node) for node in landscape.nodes)
    elif discovery.role == "pod":
        for pod in landscape.pods:
            if discovery.namespaces and pod.namespace not in discovery.namespaces:
                continue
            if discovery.fields.startswith("spec.nodeName=") and discovery.fields != f"spec.nodeName={pod.node}":
                continue
            yield from pod_targets(pod)


def node_target(node: Node) -> dict[str, str]:
    meta = {
        "__address__": f"{node.address}:10250",
        "__meta_kubernetes_node_name": node.name,
        "__meta_kubernetes_node_address_InternalIP": node.address,
    }
    if node.control_plane:
        meta["__meta_kubernetes_node_labelpresent_node_role_kubernetes_io_control_plane"] = "true"
    return meta


def pod_targets(pod: Pod) -> Iterator[dict[str, str]]:
    """One for each port of each container, or one for a container that has none."""
    meta = {
        "__meta_kubernetes_namespace": pod.namespace,
        "__meta_kubernetes_pod_name": pod.name,
        "__meta_kubernetes_pod_uid": pod.uid,
        "__meta_kubernetes_pod_ip": pod.address,
        "__meta_kubernetes_pod_node_name": pod.node,
        "__meta_kubernetes_pod_phase": pod.phase,
    }
    for name, value in pod.labels.items():
        meta[f"__meta_kubernetes_pod_label_{_UNSAFE.sub('_', name)}"] = value
    for number, container in enumerate(pod.containers):
        this = {**meta, "__meta_kubernetes_pod_container_name": container.name}
        ports = pod.ports if number == 0 else ()
        for port_name, port in ports:
            yield {
                **this,
                "__address__": f"{pod.address}:{port}",
                "__meta_kubernetes_pod_container_port_name": port_name,
                "__meta_kubernetes_pod_container_port_number": str(port),
            }
        if not ports:
            yield {**this, "__address__": pod.address}


def exposed(job: str, target: Mapping[str, str], landscape: Landscape) -> tuple[Sample, ...]:
    """What a target of ours shows. LookupError when nothing of that kind listens at its address."""
    nodes = {node.name: node for node in landscape.nodes}
    match job:
        case "node":
            return tuple(exporters.node_exporter(landscape, nodes[target["node"]]))
        case "kubelet":
            return tuple(exporters.kubelet(landscape, nodes[target["node"]]))
        case "cadvisor":
            return tuple(exporters.cadvisor(landscape, nodes[target["node"]]))
        case "kube-state":
            return tuple(exporters.kube_state_metrics(landscape))
        case "apiserver":
            return tuple(exporters.apiserver(landscape))
        case "etcd":
            members = [node for node in landscape.nodes if node.control_plane]
            return tuple(exporters.etcd(landscape, has_leader=sum(n.ready for n in members) * 2 > len(members)))
        case "cilium":
            return tuple(exporters.cilium(landscape))
        case "hubble":
            return tuple(exporters.hubble(landscape))
        case "flux":
            return tuple(exporters.flux(landscape, target.get("instance", "")))
        case "alloy":
            return tuple(exporters.alloy(landscape))
        case "tailscale":
            return tuple(exporters.tailscale(landscape))
        case "proxmox":
            params = {name: target.get(f"__param_{name}", "") for name in ("cluster", "node")}
            return tuple(exporters.proxmox(landscape, params))
        case "ceph" if landscape.ceph is not None:
            active = target.get("node") == landscape.ceph.active_manager
            return tuple(exporters.ceph(landscape, landscape.ceph)) if active else ()
    raise LookupError(f"nothing that the job {job} asks for is known here")


def pages(jobs: Iterable[Job], landscape: Landscape) -> Iterator[Page]:
    """Every page of every target, to count what would be sent."""
    for job in jobs:
        for meta in discovered(job.discovery, landscape):
            target = job.target(meta)
            if target is not None:
                yield Page(job.name, meta, exposed(job.name, target, landscape))
