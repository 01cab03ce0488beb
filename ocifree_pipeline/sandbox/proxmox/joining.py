"""How a cluster begins and how a node comes into it. A join is a chain of steps, and can stop after each of them."""

import copy
import hashlib
from typing import Any

from ocifree_pipeline.sandbox.machines import interfaces, names, sshd
from ocifree_pipeline.sandbox.proxmox import access, certificates, nodes, pmxcfs, quorum
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work
from ocifree_pipeline.sandbox.world import World, transition

CONFIG = "/etc/pve/corosync.conf"
KEY_FILE = "/etc/corosync/authkey"
RESTART_SECONDS = 3.0
POLL_SECONDS = 1.0


def config_digest(cluster: dict[str, Any]) -> str:
    return hashlib.sha1(pmxcfs.corosync_text(cluster).encode()).hexdigest()  # noqa: S324 - what Proxmox uses


def parse_link(value: str) -> str:
    """``10.0.1.11`` or ``address=10.0.1.11,priority=20``."""
    pieces = dict(one.partition("=")[::2] if "=" in one else ("address", one) for one in value.split(","))
    return pieces.get("address", "")


def links_of(values: dict[str, Any]) -> dict[str, str]:
    return {name[4:]: parse_link(str(value)) for name, value in values.items() if name.startswith("link")}


# create ---------------------------------------------------------------------------------------------------------------


def refuse_creation(node: Node) -> None:
    if node.cluster is not None:
        raise died(f"cluster config '{CONFIG}' already exists")
    if node.own["authkey"]:
        raise died(f"cluster authentication key '{KEY_FILE}' already exists")


@work("clustercreate")
def _create(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    refuse_creation(node)
    ring = args["links"] or {"0": node.address}
    for number, address in ring.items():
        if not interfaces.has_address(node.machine, address):
            raise TaskError(f"link{number}: cannot use IP '{address}', not found on local node!")
    task["log"] += [
        "Corosync Cluster Engine Authentication key generator.",
        f"Writing corosync key to {KEY_FILE}.",
        f"Writing corosync config to {CONFIG}",
        "Restart corosync and cluster filesystem",
    ]
    node.store["cluster"] = {
        "name": args["name"],
        "version": 1,
        "nodes": {node.name: {"nodeid": args["nodeid"] or 1, "votes": args["votes"], "ring": ring}},
        "qdevice": None,
    }
    node.own.update(authkey=True, corosync=True, syncing=False)
    return None


# what the peer does ---------------------------------------------------------------------------------------------------


def add_node(node: Node, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """``POST /cluster/config/nodes/{node}``: the peer's side of a join."""
    cluster = node.cluster
    if cluster is None:
        raise ApiError(424, "node is not in a cluster, no join info available!")
    quorum.require(node)
    ring = links_of(values) or {"0": str(values.get("new_node_ip", ""))}
    votes, wanted = int(values.get("votes", 1)), int(values.get("nodeid", 0))
    known = cluster["nodes"].get(name)
    if known is not None and not values.get("force"):
        if known["ring"] != ring or (wanted and wanted != known["nodeid"]) or votes != known["votes"]:
            raise died(f"can't add existing node '{name}'")
        raise died(f"can't add existing node '{name}'")
    here = cluster["nodes"][min(cluster["nodes"])]["ring"]
    for number in here.keys() - ring.keys():
        raise died(f"corosync: link {number} exists in cluster config but wasn't specified for new node")
    for number in ring.keys() - here.keys():
        raise died(f"corosync: newly added node uses link {number}, which does not exist in cluster config")
    for number, address in ring.items():
        if not address:
            raise died("local node address: cannot use empty address")
        if any(one["ring"].get(number) == address for other, one in cluster["nodes"].items() if other != name):
            raise died(f"corosync: address '{address}' already used on link {number} by another node")
    used = {one["nodeid"] for one in cluster["nodes"].values()}
    ident = wanted or next(number for number in range(1, 1000) if number not in used)
    cluster["nodes"][name] = {"nodeid": ident, "votes": votes, "ring": ring}
    cluster["version"] += 1
    return {"corosync_conf": pmxcfs.corosync_text(cluster), "corosync_authkey": "", "warnings": []}


# what the joiner does -------------------------------------------------------------------------------------------------


def objections(node: Node, ring: dict[str, str], *, force: bool) -> list[str]:
    """Why this node may not join anybody."""
    found = []
    if node.own["authkey"]:
        found.append(f"authentication key '{KEY_FILE}' already exists")
    if node.cluster is not None:
        found.append(f"cluster config '{CONFIG}' already exists")
    if any(one["node"] == node.name for one in node.store["guests"].values()):
        found.append("this host already contains virtual guests")
    if node.own["corosync"]:
        found.append("corosync is already running, is this node already in a cluster?!")
    if force:
        found = []
    for number, address in ring.items():
        if not interfaces.has_address(node.machine, address):
            found.append(f"link{number}: cannot use IP '{address}', not found on local node!")
    if not ring:
        address = names.own_address(node.machine, node.name) or ""
        if not interfaces.has_address(node.machine, address):
            found.append(f"local node address: cannot use IP '{address}', not found on local node!")
    return found


def refusal(found: list[str]) -> str:
    return "detected the following error(s):\n" + "".join(f"* {one}\n" for one in found)


@work("clusterjoin")
def _join(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    """Each call is one step; ``args["step"]`` says which."""
    return STEPS[args.setdefault("step", "ask")](node, task, args)


def _ask(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    log = task["log"]
    ring: dict[str, str] = args["links"]
    if found := objections(node, ring, force=bool(args.get("force"))):
        raise TaskError(refusal(found) + "Check if node may join a cluster failed!")
    log.append("Establishing API connection with host '" + args["host"] + "'")
    peer = _peer(node, args["host"])
    if args.get("fingerprint", "").upper() != certificates.fingerprint(peer.own["pem"]) and not args.get("trust"):
        raise TaskError(
            "Cannot connect: fingerprint '" + certificates.fingerprint(peer.own["pem"]) + "' not verified, abort!"
        )
    if not access.check_password(peer, access.ROOT, args.pop("password", "")):
        raise TaskError("authentication failed - could not obtain ticket")
    log.append("Login succeeded.")
    log.append("check cluster join API version")
    log.append("Request addition of this node")
    values = {f"link{number}": address for number, address in ring.items()}
    values |= {name: args[name] for name in ("nodeid", "votes", "force") if args.get(name)}
    values["new_node_ip"] = node.address
    try:
        add_node(peer, node.name, values)
    except ApiError as error:
        raise TaskError(f"{error.message}\nCluster join aborted!") from error
    log.append("Join request OK, finishing setup locally")
    args.update(step="leave", peer=peer.machine.key)
    return POLL_SECONDS


def _peer(node: Node, host: str) -> Node:
    found = names.resolve(node.machine, host)
    peer = nodes.at(node.world, found[0]) if found else None
    if peer is None or not nodes.are_linked(node, peer) or peer.own["proxyDown"]:
        raise TaskError(f"Can't connect to {host}:8006 (No route to host)")
    return peer


def _leave(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    """The old /etc/pve is put away; what was in it is lost to this node."""
    task["log"].append("stopping pve-cluster service")
    task["log"].append("backup old database to '/var/lib/pve-cluster/backup/config-1.sql.gz'")
    peer = next((one for one in nodes.everyone(node.world) if one.machine.key == args["peer"]), None)
    if peer is None or peer.cluster is None:
        raise TaskError("the cluster is gone")
    before = node.own["store"]
    node.own.update(store=peer.own["store"], authkey=True, corosync=True, syncing=True, content=_own_content(node))
    nodes.stores(node.world).pop(before, None)
    args["step"] = "wait"
    task["log"].append("waiting for quorum...")
    return POLL_SECONDS


def _own_content(node: Node) -> dict[str, Any]:
    """Files on its own disk survive a join."""
    found: dict[str, Any] = node.own["content"]
    return found


def _wait(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    """There is no end to this waiting but quorum."""
    standing = quorum.standing(node)
    if standing is None or not standing.quorate or len(standing.members) < 2:
        return POLL_SECONDS
    node.own["syncing"] = False
    task["log"] += [
        "waiting for quorum...OK",
        "(re)generate node files",
        "generate new node certificate",
        "merge authorized SSH keys",
        "generated new node certificate, restart pveproxy and pvedaemon services",
    ]
    nodes.update_certificate(node, force=True)
    share_ssh_keys(node)
    restart_proxy(node)
    args["step"] = "end"
    return POLL_SECONDS


def _end(node: Node, task: Task, _args: dict[str, Any]) -> float | None:
    task["log"].append(f"successfully added node '{node.name}' to cluster.")
    return None


STEPS = {"ask": _ask, "leave": _leave, "wait": _wait, "end": _end}


def share_ssh_keys(node: Node) -> None:
    """Root's keys are the cluster's from now on; what only this node knew is lost. Root may log in again."""
    shared = "/etc/pve/priv/authorized_keys"
    own = f"ssh-rsa AAAAB3{node.name} root@{node.name}"
    lines = [line for line in node.store["files"].get(shared, "").splitlines() if line != own]
    node.store["files"][shared] = "".join(f"{line}\n" for line in [*lines, own])
    node.machine.guest["files"].pop(sshd.ROOTS_KEYS, None)
    said = node.machine.guest["files"].get(sshd.MAIN, "")
    if "PermitRootLogin" not in said:
        node.machine.guest["files"][sshd.MAIN] = said + "PermitRootLogin yes\n"


def restart_proxy(node: Node) -> None:
    """Connections end, and for a moment nobody listens."""
    node.own["proxyDown"] = True
    node.world.clock.later(RESTART_SECONDS, "pve.proxy", machine=node.machine.key)


@transition("pve.proxy")
def _proxy_is_back(world: World, machine: str) -> None:
    for node in nodes.everyone(world):
        if node.machine.key == machine:
            node.own.update(proxyDown=False, proxy=node.own["proxy"] + 1)


def remove_node(node: Node, name: str) -> None:
    """``pvecm delnode``: the node itself is not asked, and does not notice."""
    quorum.require(node)
    cluster = node.cluster
    if cluster is None or name not in cluster["nodes"]:
        raise died(f"Node/IP: {name} is not a known host of the cluster.")
    if name == node.name:
        raise died("Cannot delete myself from cluster!")
    del cluster["nodes"][name]
    cluster["version"] += 1
    gone = nodes.named(node, name)
    if gone is not None:
        _cast_out(gone)


def leave(node: Node) -> None:
    """As the manual separates a node: what it has of /etc/pve stays with it, without a cluster."""
    world = node.world
    ident = world.fresh("pvestore", 12)
    kept = nodes.new_store(world, ident) if node.own["syncing"] else copy.deepcopy(node.store)
    kept.update(id=ident, cluster=None)
    kept.pop("ceph", None)
    nodes.stores(world)[ident] = kept
    node.own.update(store=ident, corosync=False, syncing=False, expected=0)


def _cast_out(node: Node) -> None:
    """It still believes to be in the cluster, alone: it keeps a copy of what it last saw, without quorum."""
    world, before = node.world, node.store
    ident = world.fresh("pvestore", 12)
    kept = copy.deepcopy(before)
    kept["id"] = ident
    kept["cluster"]["nodes"][node.name] = {"nodeid": 999, "votes": 1, "ring": {"0": node.address}}
    nodes.stores(world)[ident] = kept
    node.own["store"] = ident
