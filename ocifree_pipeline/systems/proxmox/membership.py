"""Who is in the cluster, as every node sees it by itself, and what is missing. The planning is pure.

A command that says it has joined proves nothing (`pvecm add` ends with 0 when it failed), so each node is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, OcifreeError, PreconditionMissing, Transient
from ocifree_pipeline.systems.proxmox.node import Node

Seen = TypeVar("Seen")

COROSYNC = "/etc/pve/corosync.conf"
AUTHKEY = "/etc/corosync/authkey"
LEAVE = (
    "systemctl stop pve-cluster corosync; pmxcfs -l; rm -f /etc/pve/corosync.conf; rm -rf /etc/corosync/*; "
    "killall pmxcfs; systemctl start pve-cluster"
)
"""How the Proxmox manual takes a node out of a cluster without installing it anew."""


@dataclass(frozen=True, slots=True)
class View:
    """One node, and the cluster as it sees it. Without a cluster, `cluster` is None and `online` is empty."""

    node: str
    address: str
    version: str
    cluster: str | None = None
    quorate: bool = False
    online: Mapping[str, bool] | None = None
    digest: str | None = None
    has_key: bool = False
    guests: tuple[str, ...] = ()
    synchronized: bool = True

    @property
    def members(self) -> Mapping[str, bool]:
        return self.online or {}


@dataclass(frozen=True, slots=True)
class Move:
    """One step towards the cluster. `node` is who creates or joins, or whose half-made entry is taken out."""

    kind: Literal["create", "forget", "join"]
    node: str

    def words(self, cluster: str, founder: str) -> str:
        match self.kind:
            case "create":
                return f"create the cluster {cluster} on {self.node}"
            case "forget":
                return f"take the half-made entry of {self.node} out of the cluster"
            case "join":
                return f"join {self.node} to {founder}"


@dataclass(frozen=True, slots=True)
class Joining:
    """All moves, in their order, and the node that the others join."""

    founder: str
    moves: tuple[Move, ...]


def view_of(node: Node) -> View:
    """Ask a node about itself."""
    version = node.ask("/version")
    rows = node.ask("/cluster/status")
    cluster: Mapping[str, Any] | None = next((row for row in rows if row["type"] == "cluster"), None)
    guests = node.ask("/cluster/resources", "--type", "vm")
    mine = [row for row in guests if row.get("node") == node.name]
    return View(
        node=node.name,
        address=node.address,
        version=f"{version['version']} ({version['repoid']})",
        cluster=str(cluster["name"]) if cluster else None,
        quorate=bool(cluster and int(cluster.get("quorate", 0))),
        online={str(row["name"]): bool(int(row.get("online", 0))) for row in rows if row["type"] == "node"}
        if cluster
        else None,
        digest=_digest(node) if cluster else None,
        has_key=node.has(AUTHKEY),
        guests=tuple(f"{row['type']}/{row['vmid']}" for row in mine),
        synchronized=_is_synchronized(node),
    )


def patient(read: Callable[[], Seen]) -> Callable[[], Seen]:
    """While a cluster forms, services restart: a question that fails then is asked again."""

    def reading() -> Seen:
        try:
            return read()
        except NotVerified as error:
            raise Transient(error.what, why=error.why, fix=error.fix) from error

    return reading


def plan_joining(views: Sequence[View], cluster: str) -> Joining:
    """What is missing, or the reason why nobody may go on. The first view in a quorate cluster is whom others join."""
    _agree(views, cluster)
    founder = next((view for view in views if view.cluster and view.quorate), None)
    if founder is None:
        stuck = next((view for view in views if view.cluster), None)
        if stuck is not None:
            raise _no_quorum(stuck)
        founder = views[0]
        _is_free(founder, may_have_guests=True)
        moves = [Move("create", founder.node)]
    else:
        moves = []
    for view in views:
        if view.node == founder.node:
            continue
        if view.cluster is not None:
            _is_known(view, founder)
            continue
        _is_free(view)
        if view.node in founder.members:
            _is_away(view, founder)
            moves.append(Move("forget", view.node))
        moves.append(Move("join", view.node))
    return Joining(founder.node, tuple(moves))


def doubts(views: Sequence[View], cluster: str) -> tuple[str, ...]:
    """Why this is not the cluster that was wanted; empty when every node agrees that it is."""
    wanted = {view.node for view in views}
    found = []
    for view in views:
        if view.cluster != cluster:
            found.append(f"{view.node} is in {f'the cluster {view.cluster}' if view.cluster else 'no cluster'}")
            continue
        if not view.quorate:
            found.append(f"{view.node} sees no quorum")
        missing = sorted(wanted - view.members.keys())
        offline = sorted(name for name, is_online in view.members.items() if not is_online)
        if missing:
            found.append(f"{view.node} does not know {', '.join(missing)}")
        if offline:
            found.append(f"{view.node} does not see {', '.join(offline)}")
    if len({view.digest for view in views if view.cluster}) > 1:
        found.append("the nodes have different configurations of corosync")
    return tuple(found)


# what stands in the way -----------------------------------------------------------------------------------------------


def _agree(views: Sequence[View], cluster: str) -> None:
    versions = {view.version for view in views}
    if len(versions) > 1:
        told = ", ".join(f"{view.node} has {view.version}" for view in views)
        raise PreconditionMissing(
            "the nodes have different versions of Proxmox VE",
            why=told,
            fix="on each older node: apt-get update && apt-get dist-upgrade, then materialize proxmox/cluster again",
        )
    late = [view.node for view in views if not view.synchronized]
    if late:
        raise PreconditionMissing(
            f"the clock of {', '.join(late)} is not synchronized",
            why="corosync and Ceph need clocks that agree",
            fix="on the node: chronyc makestep, then materialize proxmox/cluster again",
        )
    for view in views:
        if view.cluster not in (None, cluster):
            raise Conflict(
                f"{view.node} is in another cluster: {view.cluster}",
                why=f"this deployment's is {cluster}, and a node can be in one only",
                fix=f"if nothing of it is needed, on {view.node}, as root: {LEAVE}",
            )


def _is_free(view: View, *, may_have_guests: bool = False) -> None:
    if view.has_key:
        raise Conflict(
            f"{view.node} has joined by half: it has the key of a cluster and is in none",
            why=f"{AUTHKEY} is there and {COROSYNC} is not; Proxmox refuses to join such a node",
            fix=f"on {view.node}, as root: {LEAVE}; then materialize proxmox/cluster again",
        )
    if view.guests and not may_have_guests:
        raise Conflict(
            f"{view.node} has guests: {', '.join(view.guests)}",
            why="joining a cluster wipes the configuration of a node, that of its guests too",
            fix="move them away or remove them, then materialize proxmox/cluster again",
        )


def _is_known(view: View, founder: View) -> None:
    if view.node not in founder.members:
        raise Conflict(
            f"{view.node} believes to be in {view.cluster}, and {founder.node} does not know it",
            why="it was taken out of the cluster, or its join broke off",
            fix=f"on {view.node}, as root: {LEAVE}; then materialize proxmox/cluster again",
        )


def _is_away(view: View, founder: View) -> None:
    """Only an entry behind which nobody is may be taken out: then those who are online are a majority without it."""
    if founder.members[view.node]:
        raise Conflict(
            f"{view.node} is in no cluster, and {founder.node} sees it online",
            why="another machine answers in its name",
            fix=f"on {founder.node}: pvecm status; look who has the address that it lists for {view.node}",
        )


def _no_quorum(view: View) -> OcifreeError:
    away = sorted(name for name, is_online in view.members.items() if not is_online)
    return NotVerified(
        f"the cluster {view.cluster} has no quorum",
        why=f"{view.node} does not see {', '.join(away) or 'the others'}; without a majority nothing can be written",
        fix="bring the missing nodes back (`ocifree status`), then materialize proxmox/cluster again",
    )


def _digest(node: Node) -> str | None:
    found = node.ask("/cluster/config/join").get("config_digest")
    return str(found) if found else None


def _is_synchronized(node: Node) -> bool:
    said = node.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    return said.stdout.strip() == "yes"


def fingerprint_of(founder: Node) -> str:
    """Of the certificate that the founder shows at its API: read where it is trusted, compared where it is not."""
    for row in founder.ask("/cluster/config/join")["nodelist"]:
        if row["name"] == founder.name:
            return str(row["pve_fp"])
    raise NotVerified(
        f"{founder.name} does not list itself in its cluster",
        why="/cluster/config/join has no entry of its name",
        fix="look at it: pvecm nodes",
    )
