"""platform/*: what makes a bare cluster usable, delivered from manifests/."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.definition import define_asset

GROUP = "platform"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    kubernetes = blueprint.declaration.kubernetes
    yield define_asset(
        blueprint,
        "platform/cilium",
        None,
        group=GROUP,
        kinds={"cilium", "kubernetes"},
        deps=["talos/kubeconfig"],
        describe="The pod network without kube-proxy, with Hubble. Nodes are NotReady until it runs.",
    )
    yield define_asset(
        blueprint,
        "platform/sops_age",
        None,
        group=GROUP,
        kinds={"kubernetes"},
        deps=["talos/kubeconfig"],
        describe="The age key with which Flux opens SOPS files: made once, kept in the vault, never in git.",
    )
    yield define_asset(
        blueprint,
        "platform/flux",
        None,
        group=GROUP,
        kinds={"flux", "kubernetes"},
        deps=["platform/cilium", "platform/sops_age"],
        describe="Flux's controllers install the charts; with a repository declared they also sync it.",
    )
    if kubernetes.gateway.enabled:
        yield define_asset(
            blueprint,
            "platform/gateway",
            None,
            group=GROUP,
            kinds={"cilium", "kubernetes"},
            deps=["platform/flux", "oci/reserved_ips"],
            describe="Gateway API through Cilium on the reserved ingress address, with a sample route that is called.",
        )
    if kubernetes.tailscale_operator.enabled:
        yield define_asset(
            blueprint,
            "platform/tailscale_operator",
            None,
            group=GROUP,
            kinds={"tailscale", "kubernetes"},
            deps=["platform/flux"],
            describe="Services for the tailnet only, without a public address.",
        )
    if kubernetes.ccm.enabled:
        yield define_asset(
            blueprint,
            "platform/oci_ccm",
            None,
            group=GROUP,
            kinds={"oci", "kubernetes"},
            deps=["platform/flux"],
            describe="Oracle's cloud controller manager, with load balancers pinned to the free 10 Mbps shape.",
        )
