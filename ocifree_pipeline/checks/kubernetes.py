"""Checks of the group kubernetes: secrets and certificates, the members of etcd, the nodes of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocifree_pipeline.record.cluster import RENEW_DAYS, KubeconfigFacts, days_until, nodes_of
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.record.platform import cluster_api, nodes_in, unready
from ocifree_pipeline.record.talos import days_left, kept_bundle, now

FEW_DAYS = 30
NO_NETWORK = "NetworkPluginNotReady"


def secrets_kept(step: Step) -> Verdict:
    """Opens the vault: a lost key to it is found out here, and not when a node has to be added."""
    left = days_left(kept_bundle(step), now())
    name, days = min(left.items(), key=lambda one: one[1])
    rows: tuple[Mapping[str, Scalar], ...] = tuple(
        {"authority": authority, "days left": number} for authority, number in left.items()
    )
    if days < 0:
        return Verdict(False, f"the authority of {name} has expired", {"days left": days}, rows)
    said = f"kept; the first to expire is {name}, in {days} days"
    return Verdict(days >= FEW_DAYS, said, {"days left": days}, rows, warn=True)


def etcd_quorum(step: Step) -> Verdict:
    """A cluster that lost a member still works, and the next loss may end it: that is a warning."""
    from ocifree_pipeline.systems.talos.cluster import look_at_etcd

    with nodes_of(step) as nodes:
        view = look_at_etcd(nodes)
    missing = view.missing(nodes.control_planes)
    rows: tuple[Mapping[str, Scalar], ...] = tuple(
        {"member": one.hostname, "id": f"{one.id:016x}", "leads": one.hostname == view.leader} for one in view.members
    )
    numbers = {"members": len(view.members), "with a leader": len(view.leaders)}
    said = "; ".join([str(view), *missing] if view.members else [str(view)])
    return Verdict(view.has_quorum and not missing, said, numbers, rows, warn=view.has_quorum)


def nodes_ready(step: Step) -> Verdict:
    """Before Cilium no node is Ready. That alone is a warning: what brings Cilium comes after this."""
    with cluster_api(step) as api:
        nodes = nodes_in(api)
    problems = unready(step, nodes)
    if not problems:
        return Verdict(True, f"{len(nodes)} nodes are Ready", {"ready": len(nodes)})
    waiting = [node for node in nodes if _waits_for_network(node)]
    only_that = len(waiting) == len(problems)
    said = "; ".join(problems)
    if only_that:
        said += "; the pod network comes with platform/cilium"
    return Verdict(False, said, {"ready": len(nodes) - len(problems)}, warn=only_that)


def _waits_for_network(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    ready: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Ready"), {})
    return ready.get("status") != "True" and NO_NETWORK in str(ready.get("message", ""))


def certificate_valid(step: Step) -> Verdict:
    """Materializing talos/kubeconfig renews it."""
    left = days_until(step.facts(step.key, KubeconfigFacts).expires)
    said = f"good for {left} days" if left >= 0 else f"expired {-left} days ago"
    return Verdict(left >= RENEW_DAYS, said, {"days left": left}, warn=left >= 0)


def cluster_info(step: Step) -> Verdict:
    """The kubeconfig as others use it: the official client of Kubernetes is given nothing but the file."""
    from ocifree_pipeline.systems.kube.cluster_info import cluster_info as ask
    from ocifree_pipeline.systems.secrets.vault import vault_of

    facts = step.facts(step.key, KubeconfigFacts)
    kubeconfig = vault_of(step.blueprint.declaration.name).get(facts.vault)
    with cluster_api(step) as api:
        info = ask(kubeconfig, api.address)
    said = f"Kubernetes {info.version} at {facts.server} let the official client in, which sees {len(info.nodes)} nodes"
    return Verdict(bool(info.nodes), said, {"nodes": len(info.nodes)}, tuple({"node": name} for name in info.nodes))
