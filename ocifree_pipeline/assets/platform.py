"""platform/*: what makes a bare cluster usable, delivered from manifests/."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dagster as dg

from ocifree_pipeline.assets import platform_flux, platform_gateway, platform_network
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.platform import has_oracles_controller
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import PoliciesFacts, TailscaleOperatorFacts, cluster_api, deliver

GROUP = "platform"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    kubernetes = blueprint.declaration.kubernetes
    has_ccm = has_oracles_controller(blueprint)
    if has_ccm:
        yield define(
            "platform/oci_ccm",
            platform_network.oci_ccm,
            kinds={"oracle", "kubernetes"},
            # Before everything else: until it has greeted a node, nothing that it does not name may start there.
            deps=["talos/kubeconfig", "oci/network"],
            describe=(
                "Oracle's cloud controller manager: it tells Kubernetes which instance a node is, and makes load "
                "balancers for services, pinned to the one free shape of 10 Mbps."
            ),
        )
    yield define(
        "platform/cilium",
        platform_network.cilium,
        kinds={"cilium", "kubernetes"},
        deps=["talos/kubeconfig", *(["platform/oci_ccm"] if has_ccm else [])],
        describe=(
            "The network between pods, instead of kube-proxy, with Hubble to look into it. Talos installs it at the "
            "first boot, and nodes are NotReady until it runs; this asset takes it over as a release of Flux."
        ),
    )
    yield define(
        "platform/sops_age",
        platform_flux.sops_age,
        kinds={"kubernetes"},
        deps=["talos/kubeconfig"],
        describe="The age key with which Flux opens SOPS files: made once, kept in the vault, never in git.",
    )
    yield define(
        "platform/flux",
        platform_flux.flux,
        kinds={"flux", "kubernetes"},
        deps=["platform/cilium", "platform/sops_age"],
        describe=(
            "Flux's controllers install the charts of the assets after this one and mend them by themselves. With a "
            "repository declared they also bring what is in it."
        ),
    )
    yield define(
        "platform/policies",
        _policies,
        kinds={"kubernetes"},
        deps=["platform/cilium"],
        describe=(
            "The declared namespaces, each with its quota and limits, so that one workload cannot starve small nodes, "
            "and a network that starts out closed but for names and the gateway."
        ),
    )
    if kubernetes.gateway.enabled:
        yield define(
            "platform/gateway",
            platform_gateway.gateway,
            kinds={"cilium", "kubernetes"},
            deps=["platform/flux", "oci/reserved_ips", *(["proxmox/network"] if blueprint.plan.guests else [])],
            describe=(
                "The way in: the reserved address leads to a node, where Cilium listens as a Gateway. A sample page is "
                "called from outside, so that a route of yours has a working one to be compared with."
            ),
        )
    if kubernetes.tailscale_operator.enabled:
        yield define(
            "platform/tailscale_operator",
            _tailscale_operator,
            kinds={"tailscale", "kubernetes"},
            deps=["platform/flux"],
            describe=(
                "Tailscale's operator: a service with its class is reached from the tailnet alone, without a public "
                "address. It makes its keys with the declared OAuth client."
            ),
        )


# platform/policies ----------------------------------------------------------------------------------------------------


def _policies(step: Step) -> Outcome:
    namespaces = tuple(step.blueprint.declaration.kubernetes.namespaces)
    with cluster_api(step) as api:
        done = deliver(step, api, "policies")
    named = ", ".join(namespaces)
    return Outcome(
        summary=f"with quotas, closed but for DNS and the gateway: {named}" if named else "no namespaces are declared",
        facts=PoliciesFacts(namespaces=namespaces, manifests=done.digest),
        plan=done.plan,
        numbers={"namespaces": len(namespaces)},
        look_inside="kubectl get resourcequotas,networkpolicies --all-namespaces",
    )


# platform/tailscale_operator ------------------------------------------------------------------------------------------


def _tailscale_operator(step: Step) -> Outcome:
    from ocifree_pipeline.deployment.errors import PreconditionMissing
    from ocifree_pipeline.record.releases import installed_version
    from ocifree_pipeline.systems.kube.secrets import secret
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    declaration = step.blueprint.declaration
    oauth = declaration.access.tailscale.oauth
    if oauth is None:
        raise PreconditionMissing(
            "the Tailscale operator has no OAuth client",
            why="it makes keys for services with one",
            fix="add access.tailscale.oauth to the declaration",
        )
    vault = vault_of(declaration.name)
    entries = {
        "client_id": resolve(oauth.client_id, vault),
        "client_secret": resolve(oauth.client_secret, vault),
    }
    with cluster_api(step) as api:
        login = secret("tailscale", "operator-oauth", entries)
        done = deliver(step, api, "tailscale_operator", secrets=[login])
        version = installed_version(api, "tailscale", "tailscale-operator", done.objects)
    hostname = f"{declaration.name}-operator"
    return Outcome(
        summary=f"Tailscale operator {version} runs as {hostname}",
        facts=TailscaleOperatorFacts(release=version, hostname=hostname, manifests=done.digest),
        plan=done.plan,
        links={"machines": "https://login.tailscale.com/admin/machines"},
        look_inside="kubectl --namespace tailscale get pods",
    )
