"""Moving pods away from a node before it restarts, as their disruption budgets allow, and letting them come back.

A node that we closed carries a note of it in the cluster, so whoever goes on after a stop opens it again, and a node
that a person closed is left closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.kube.api import Api
from ocifree_pipeline.systems.kube.errors import Gone
from ocifree_pipeline.systems.kube.objects import Object, Ref, at, ref_of
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

CLOSED_BY_US = "ocifree/closed-for"
_MIRROR = "kubernetes.io/config.mirror"
_ENDED = ("Succeeded", "Failed")


def open_again(api: Api, say: Callable[[str], None]) -> list[str]:
    """Let every node take pods that was closed by us and has not been opened since."""
    nodes = api.require("v1", "Node")
    opened = []
    for node in api.list(nodes):
        if CLOSED_BY_US in at(node, "metadata.annotations", {}):
            ref = ref_of(node)
            body = {"metadata": {"annotations": {CLOSED_BY_US: None}}, "spec": {"unschedulable": None}}
            api.merge(nodes, ref, body, f"let {ref} take pods again")
            opened.append(ref.name)
            say(f"{ref.name} takes pods again")
    return opened


def drain(api: Api, name: str, reason: str, say: Callable[[str], None], *, timeout: float, clock: Clock = time) -> None:
    """Until every pod that can be elsewhere is. The only node that takes pods is left as it is."""
    nodes = api.require("v1", "Node")
    known = {ref_of(one).name: one for one in api.list(nodes)}
    others = [one for one, node in known.items() if one != name and _takes_pods(node)]
    if name not in known or not others:
        say(f"{name}: its pods stay, as no other node takes them; they start again with it")
        return
    if not at(known[name], "spec.unschedulable", False):
        body = {"metadata": {"annotations": {CLOSED_BY_US: reason}}, "spec": {"unschedulable": True}}
        api.merge(nodes, Ref("", "Node", "", name), body, f"close {name} to pods")
    # Those that come meanwhile bear to be here: they tolerate a closed node, as Cilium's operator does.
    leaving = {str(pod["metadata"]["uid"]) for pod in movable(api, name)}
    if leaving:
        say(f"{name}: {len(leaving)} pods move away")

    def evict() -> list[str]:
        left = [pod for pod in movable(api, name) if pod["metadata"]["uid"] in leaving]
        return [f"{ref_of(pod).namespace}/{ref_of(pod).name}{_asked(api, pod)}" for pod in left]

    try:
        wait_for(
            evict,
            lambda left: not left,
            what=f"the pods of {name} are elsewhere",
            timeout=timeout,
            pause=Pause(2, 15),
            clock=clock,
        )
    except TimedOut as error:
        left = evict()
        open_again(api, say)
        raise NotVerified(
            f"{len(left)} pods do not leave {name} within {timeout:.0f} s",
            why="; ".join(left)[:400],
            fix="give what they belong to another replica, or its disruption budget more room "
            "(`kubectl get poddisruptionbudgets --all-namespaces`); the node takes pods again",
        ) from error


def movable(api: Api, node: str) -> Iterable[Object]:
    """Pods that somebody makes again elsewhere. Those of the node itself, and those that nobody looks after, stay."""
    for pod in api.list(api.require("v1", "Pod"), fields=f"spec.nodeName={node}"):
        owner: Object = next((one for one in at(pod, "metadata.ownerReferences", ()) if one.get("controller")), {})
        stays = not owner or owner["kind"] == "DaemonSet" or _MIRROR in at(pod, "metadata.annotations", {})
        if not stays and at(pod, "status.phase") not in _ENDED:
            yield pod


def _takes_pods(node: Object) -> bool:
    if at(node, "spec.unschedulable", False):
        return False
    if any(one.get("effect") in {"NoSchedule", "NoExecute"} for one in at(node, "spec.taints", ())):
        return False
    return any(one["type"] == "Ready" and one["status"] == "True" for one in at(node, "status.conditions", ()))


def _asked(api: Api, pod: Object) -> str:
    """Ask for its eviction, unless it leaves already; why not, in the words of the cluster."""
    if at(pod, "metadata.deletionTimestamp"):
        return ", which is leaving"
    try:
        api.evict(ref_of(pod), str(pod["metadata"]["uid"]))
    except Gone:
        return ", which has gone"
    except Transient as error:
        return f": {error.why}"
    return ", which was asked to leave"
