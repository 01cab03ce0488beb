"""What a cluster gets from Talos in its first minute: the pod network, Flux, and the kinds of Gateway API."""

from __future__ import annotations

from collections.abc import Iterator

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.platform import manifest_values
from ocifree_pipeline.systems.kube.rendering import manifest_folder, render, render_file, versions
from ocifree_pipeline.systems.talos.manifests import bootstrap_manifests
from ocifree_pipeline.systems.talos.nodes import Cluster, Node
from ocifree_pipeline.systems.talos.patches import Patch

CILIUM = "cilium-install"


def bootstrap_patches(blueprint: Blueprint, cluster: Cluster, node: Node) -> Iterator[Patch]:
    """For the machine configuration of a control plane; a worker applies nothing."""
    if not node.is_control_plane:
        return
    yield from bootstrap_manifests(cluster, {CILIUM: cilium_installer(blueprint)}, bootstrap_urls(blueprint))


def cilium_installer(blueprint: Blueprint) -> str:
    """Text as the node gets it. It is parsed here too: Talos would show a mistake only once a machine has booted."""
    folder = manifest_folder()
    values = manifest_values(blueprint, versions(folder))
    render("bootstrap", values, folder)
    return render_file(folder / "bootstrap" / "cilium.yaml.j2", values, folder)


def bootstrap_urls(blueprint: Blueprint) -> dict[str, str]:
    pinned = versions()
    found = {"flux": str(pinned["flux"]["manifest"])}
    if blueprint.declaration.kubernetes.gateway.enabled:
        found["gateway-api"] = str(pinned["gateway_api"]["manifest"])
    return found
