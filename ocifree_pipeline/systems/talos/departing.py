"""Members of etcd, and nodes of Kubernetes, whose machine is gone for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ocifree_pipeline.deployment.errors import NotVerified, Refused
from ocifree_pipeline.systems.kube.api import Api
from ocifree_pipeline.systems.kube.objects import Ref, at
from ocifree_pipeline.systems.oci.waiting import Clock, wait_for
from ocifree_pipeline.systems.talos.client import Member
from ocifree_pipeline.systems.talos.cluster import EtcdView, Nodes, look_at_etcd

REMOVE_SECONDS = 60.0
EMPTY_SECONDS, LOOK_SECONDS = 300.0, 20.0
"""How long a machine has to be without an etcd that is said to have one. Images are pulled in less."""


def remove_replaced(nodes: Nodes, say: Callable[[str], None], *, clock: Clock = time) -> list[str]:
    """Those at whose place another machine answers with the secrets of the cluster, one after the other."""
    lines, stay = [], set[int]()
    while (view := look_at_etcd(nodes)).has_quorum:
        found = next((one for one in view.replaced if one.id not in stay), None)
        if found is None:
            break
        if _is_gone(nodes, view, found, say, clock):
            lines.append(remove(nodes, view, found.hostname, found.id, say, clock=clock))
        else:
            stay.add(found.id)
    return lines


def _is_gone(nodes: Nodes, view: EtcdView, member: Member, say: Callable[[str], None], clock: Clock) -> bool:
    """Another member runs there, or at another address; else nothing of etcd comes up there for minutes.

    A machine that starts looks for a moment like one that has nothing, so that moment proves nothing.
    """
    place = next(place for place in nodes.control_planes if place.hostname == member.hostname)
    addresses = {urlsplit(peer).hostname for peer in member.peers}
    if place.hostname in view.own or place.address not in addresses:
        return True
    say(f"{place.hostname} is a member of etcd and shows none: wait {EMPTY_SECONDS:.0f} s whether it comes up")
    until = clock.monotonic() + EMPTY_SECONDS
    while clock.monotonic() < until:
        clock.sleep(LOOK_SECONDS)
        if place.hostname not in look_at_etcd(nodes).preparing:
            return False
    return True


def remove(
    nodes: Nodes, view: EtcdView, hostname: str, member: int, say: Callable[[str], None], *, clock: Clock = time
) -> str:
    """Take one that does not run out of a cluster that has a quorum without it, which only grows firmer by that."""
    if member in view.own.values() or not view.has_quorum:
        raise NotVerified(
            f"the member {member:016x} of {hostname} stays in etcd",
            why="it takes part" if member in view.own.values() else f"etcd has no quorum: {view}",
            fix="ocifree verify --select 'talos/cluster'",
        )
    line = f"take {hostname} out of etcd, whose machine is gone: member {member:016x}"
    say(line)

    def ask() -> bool:
        asked = next(place for place in nodes.control_planes if place.hostname in view.own)
        with nodes.open(asked) as node:
            if member in {one.id for one in node.members()}:
                try:
                    node.remove_member(member)
                except Refused:
                    return member not in {one.id for one in node.members()}
            return member not in {one.id for one in node.members()}

    wait_for(ask, bool, what=f"etcd is without {hostname}", timeout=REMOVE_SECONDS, clock=clock)
    return line


def forget_node(api: Api, hostname: str, say: Callable[[str], None]) -> list[str]:
    """Its object goes, and what was on it is made elsewhere at once; one that is Ready belongs to a machine that is."""
    nodes, ref = api.require("v1", "Node"), Ref("", "Node", "", hostname)
    found = api.get(nodes, ref)
    if found is None:
        return []
    if any(one["type"] == "Ready" and one["status"] == "True" for one in at(found, "status.conditions", ())):
        say(f"{hostname} is Ready yet, so it stays in Kubernetes")
        return []
    api.delete(nodes, ref, str(found["metadata"]["uid"]))
    say(f"take {hostname} out of Kubernetes, whose machine is gone")
    return [f"take {hostname} out of Kubernetes"]
