"""platform/oci_ccm and platform/cilium: what a node needs before anything else can run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import (
    CiliumFacts,
    OracleControllerFacts,
    cluster_api,
    deliver,
    nodes_in,
    patience,
    unready,
    values_for_oracles_controller,
)

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api
    from ocifree_pipeline.systems.kube.objects import Object

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"


# platform/oci_ccm -----------------------------------------------------------------------------------------------------


def oci_ccm(step: Step) -> Outcome:
    with cluster_api(step) as api:
        done = deliver(step, api, "oci_ccm", values_for_oracles_controller(step))
        nodes = _wait_for(step, lambda: nodes_in(api), _ungreeted, "Oracle's controller has greeted every node")
    names = tuple(sorted(str(node["metadata"]["name"]) for node in nodes))
    image = str(
        next(one for one in done.objects if one["kind"] == "DaemonSet")["spec"]["template"]["spec"]["containers"][0][
            "image"
        ]
    )
    return Outcome(
        summary=f"Oracle's controller knows {', '.join(names)}; only the free load balancer is allowed",
        facts=OracleControllerFacts(image=image, nodes=names, manifests=done.digest),
        plan=done.plan,
        numbers={"nodes": len(names)},
        look_inside="kubectl --namespace kube-system logs daemonset/oci-cloud-controller-manager",
    )


def _ungreeted(nodes: list[Object]) -> str | None:
    waiting = [
        str(node["metadata"]["name"])
        for node in nodes
        if any(taint.get("key") == UNINITIALIZED for taint in node.get("spec", {}).get("taints", ()))
    ]
    if not waiting:
        return None
    return (
        f"{', '.join(waiting)}: still uninitialized. Does a dynamic group hold the nodes, and does a policy let it use "
        "instances, the network and load balancers?"
    )


# platform/cilium ------------------------------------------------------------------------------------------------------


def cilium(step: Step) -> Outcome:
    from ocifree_pipeline.record.releases import installed_version

    with cluster_api(step) as api:
        _wait_for(step, lambda: api, lambda seen: _not_running(step, seen), "Cilium runs on every node")
        done = deliver(step, api, "cilium")
        version = installed_version(api, "kube-system", "cilium", done.objects)
        # What the release changed is rolled out node by node, after it calls itself Ready.
        _wait_for(step, lambda: api, lambda seen: _not_running(step, seen), "Cilium runs on every node")
        names = tuple(sorted(str(node["metadata"]["name"]) for node in nodes_in(api)))
    hubble = "with" if step.blueprint.declaration.kubernetes.cilium.hubble else "without"
    return Outcome(
        summary=f"Cilium {version} {hubble} Hubble on {', '.join(names)}, Ready",
        facts=CiliumFacts(release=version, nodes=names, manifests=done.digest),
        plan=done.plan,
        numbers={"nodes": len(names)},
        look_inside="kubectl --namespace kube-system exec daemonset/cilium -- cilium status",
    )


def _not_running(step: Step, api: Api) -> str | None:
    """What keeps the pod network from running on every node, in the words of whoever knows."""
    problems = agents_missing(step, api) + unready(step, nodes_in(api))
    return "; ".join(problems) or None


def agents_missing(step: Step, api: Api) -> list[str]:
    from ocifree_pipeline.deployment.platform import kubernetes_nodes
    from ocifree_pipeline.systems.kube.objects import Ref, at
    from ocifree_pipeline.systems.kube.readiness import state_of

    agents = api.get(api.require("apps/v1", "DaemonSet"), Ref("apps", "DaemonSet", "kube-system", "cilium"))
    if agents is None:
        job = api.get(api.require("batch/v1", "Job"), Ref("batch", "Job", "kube-system", "cilium-install"))
        if job is None:
            raise NotVerified(
                "nothing installs Cilium on this cluster",
                why="neither its agents are there nor the job cilium-install, which Talos makes at bootstrap",
                fix="look whether the control plane has this deployment's machine configuration: "
                "ocifree up --select 'talos/cluster'",
            )
        return [f"job cilium-install: {state_of(job).message}"]
    state = state_of(agents)
    if state.verdict != "ready":
        return [f"daemonset cilium: {state.message}"]
    available, wanted = int(at(agents, "status.numberAvailable", 0)), kubernetes_nodes(step.blueprint)
    return [f"daemonset cilium: available on {available} of {wanted} nodes"] if available < wanted else []


def _wait_for(step: Step, read: Any, problem: Any, what: str) -> Any:
    """Until `problem` finds nothing wrong with what `read` gives; each new problem is told."""
    from ocifree_pipeline.systems.oci.waiting import Pause, TimedOut, wait_for

    told = ""

    def done(seen: Any) -> bool:
        nonlocal told
        found = problem(seen)
        if found and found != told:
            step.say(f"wait: {found}")
        told = found or ""
        return found is None

    try:
        return wait_for(read, done, what=what, timeout=patience(step), pause=Pause(1, 10))
    except TimedOut as error:
        raise NotVerified(
            error.what,
            why=told or error.why,
            fix="kubectl --namespace kube-system get pods --output wide; then materialize this asset again",
        ) from error
