"""What the manifests may know of a deployment, and of which folders its platform is made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocifree_pipeline.deployment.blueprint import Blueprint


def manifest_values(blueprint: Blueprint, versions: Mapping[str, Any]) -> dict[str, Any]:
    """For the templates of manifests/. Nothing in it is secret; `versions` is what manifests/versions.yaml pins."""
    declaration, kubernetes = blueprint.declaration, blueprint.declaration.kubernetes
    return {
        "name": declaration.name,
        "versions": versions,
        "nodes": kubernetes_nodes(blueprint),
        "cilium": kubernetes.cilium.model_dump(),
        "gateway": kubernetes.gateway.model_dump(),
        "flux": kubernetes.flux.model_dump(),
        "namespaces": {name: quota.model_dump() for name, quota in kubernetes.namespaces.items()},
        "tailnet_tags": list(declaration.access.tailscale.tags),
        "sample": {"host": sample_host(blueprint), "text": sample_text(blueprint)},
    }


def parts_for_flux(blueprint: Blueprint) -> tuple[str, ...]:
    """The folders of manifests/ that Flux may deliver in our place. The others have to be there before it runs."""
    kubernetes = blueprint.declaration.kubernetes
    found = ["policies"]
    if kubernetes.gateway.enabled:
        found += ["gateway", "sample"]
    if kubernetes.tailscale_operator.enabled:
        found.append("tailscale_operator")
    return tuple(found)


def flux_delivers(blueprint: Blueprint, part: str) -> bool:
    return blueprint.declaration.kubernetes.flux.delivers and part in parts_for_flux(blueprint)


def kubernetes_nodes(blueprint: Blueprint) -> int:
    plan = blueprint.plan
    return len(plan.ampere) if plan.topology == "talos-native" else len(plan.guests)


def has_oracles_controller(blueprint: Blueprint) -> bool:
    """Oracle's controller knows its own instances only; guests would wait for it for ever."""
    return blueprint.declaration.kubernetes.ccm.enabled and blueprint.plan.topology == "talos-native"


def sample_host(blueprint: Blueprint) -> str:
    """A name of its own, so that the sample stands in the way of nothing. Nobody has to be able to look it up."""
    declaration = blueprint.declaration
    return f"hello.{declaration.kubernetes.gateway.hostname or declaration.name + '.internal'}"


def sample_text(blueprint: Blueprint) -> str:
    return f"hello from {blueprint.declaration.name}"
