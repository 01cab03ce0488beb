"""``pvecm``: forms clusters. Its exit code says little: a join that failed ends with 0."""

from collections.abc import Callable
from typing import Any

from ocifree_pipeline.sandbox.machines import names, reach, sshd, tampering
from ocifree_pipeline.sandbox.machines.session import Result, Steps, Who, Words, read_line
from ocifree_pipeline.sandbox.proxmox import certificates, console, joining, nodes, quorum, schema, tasks
from ocifree_pipeline.sandbox.proxmox.access import ROOT
from ocifree_pipeline.sandbox.proxmox.api import config
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died, wrong
from ocifree_pipeline.sandbox.proxmox.nodes import Node

NO_CLUSTER = "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?\n"
FLAGS = frozenset({"force", "use_ssh", "silent", "unmerge-known-hosts"})
NOT_QUORATE, NOT_PLAYED = 2, 127
ADD_OPTIONS = config.JOINING | {"fingerprint": schema.form("fingerprint"), "use_ssh": schema.flag()}
CREATE_OPTIONS = config.JOINING | {"token-coefficient": schema.whole(0)}


def pvecm(who: Who, words: Words) -> Steps:
    if (no := console.refusal(who)) is not None:
        yield no
        return no.code
    verb = VERBS.get(words[0]) if words else None
    if verb is None:
        yield Result(console.FAILED, err=f"ERROR: unknown command 'pvecm {' '.join(words[:1])}'\n")
        return console.FAILED
    plain, given = console.options(words[1:], FLAGS)
    node, code = console.node_of(who), console.FAILED
    try:
        code = yield from verb(who, node, plain, given)
    except ApiError as error:
        yield console.failed(error)
    console.note(node, f"pvecm {words[0]}", 500 if code else 200, mutating=words[0] not in {"status", "nodes"})
    return code


def _create(_who: Who, node: Node, plain: list[str], given: console.Options) -> Steps:
    values = schema.validate(
        CREATE_OPTIONS | {"clustername": config.CLUSTER_NAME}, given | _named(plain, "clustername")
    )
    joining.refuse_creation(node)
    links = joining.links_of(values)
    args = {
        "name": values["clustername"],
        "links": links,
        "nodeid": values.get("nodeid", 0),
        "votes": values.get("votes", 1),
    }
    upid = tasks.start(node, "clustercreate", "", ROOT, args)
    return (yield from console.to_the_end(node, upid, tells=False))


def _named(plain: list[str], *wanted: str) -> console.Options:
    if len(plain) < len(wanted):
        raise ApiError(400, "not enough arguments")
    if len(plain) > len(wanted):
        raise ApiError(400, "too many arguments")
    return dict(zip(wanted, plain, strict=True))


def _add(who: Who, node: Node, plain: list[str], given: console.Options) -> Steps:
    values = schema.validate(ADD_OPTIONS | {"hostname": schema.text(required=True)}, given | _named(plain, "hostname"))
    host = values["hostname"]
    if found := joining.objections(node, joining.links_of(values), force=bool(values.get("force"))):
        yield Result(console.FAILED, err=joining.refusal(found) + "Check if node may join a cluster failed!\n")
        return console.FAILED
    args: dict[str, Any] = {"password": "", **config.join_args(values)}
    if values.get("use_ssh"):
        yield Result(NOT_PLAYED, err="pvecm add --use_ssh is not played by the Proxmox of this sandbox\n")
        return NOT_PLAYED
    yield Result(0, f"Please enter superuser (root) password for '{host}': ")
    line = yield from read_line(who.stdin)
    if line is None:
        yield Result(0, err="EOF while reading password\n")
        return 0
    args["password"] = line
    if "fingerprint" not in values and (shown := _fingerprint_of(node, host)):
        yield Result(0, _question(host, shown))
        reply = yield from read_line(who.stdin)
        if (reply or "").strip().lower() != "yes":
            yield Result(0, err="Cannot connect: fingerprint not verified, abort!\n")
            return 0
        args["fingerprint"] = shown
    return (yield from console.to_the_end(node, tasks.start(node, "clusterjoin", "", ROOT, args), tells=False))


def _fingerprint_of(node: Node, host: str) -> str:
    found = names.resolve(node.machine, host)
    peer = nodes.at(node.world, found[0]) if found else None
    return certificates.fingerprint(peer.own["pem"]) if peer is not None and peer.own["pem"] else ""


def _question(host: str, shown: str) -> str:
    return (
        f"The authenticity of host '{host}' can't be established.\nX509 SHA256 key fingerprint is {shown}.\n"
        "Are you sure you want to continue connecting (yes/no)? "
    )


def _status(_who: Who, node: Node, _plain: list[str], _given: console.Options) -> Steps:
    cluster = node.cluster
    if cluster is None:
        yield Result(2, err=NO_CLUSTER)
        return 2
    now = node.world.clock.now()
    out = "Cluster information\n-------------------\n"
    out += f"Name:             {cluster['name']}\nConfig Version:   {cluster['version']}\n"
    out += "Transport:        knet\nSecure auth:      on\n\n"
    standing = quorum.standing(node)
    if standing is None:
        yield Result(1, out, "Cannot initialize CMAP service\n")
        return 1
    here = cluster["nodes"].get(node.name, {"nodeid": 0})
    first = min(int(cluster["nodes"][name]["nodeid"]) for name in standing.members)
    out += "Quorum information\n------------------\n"
    out += f"Date:             {now:%a %b %e %H:%M:%S %Y}\nQuorum provider:  corosync_votequorum\n"
    out += f"Nodes:            {len(standing.members)}\nNode ID:          0x{int(here['nodeid']):08x}\n"
    out += f"Ring ID:          {first:x}.{cluster['version']:x}\n"
    out += f"Quorate:          {'Yes' if standing.quorate else 'No'}\n\n"
    out += "Votequorum information\n----------------------\n"
    device = cluster.get("qdevice") or {}
    total = sum(int(one["votes"]) for one in cluster["nodes"].values()) + int(device.get("votes", 0))
    blocked = "" if standing.quorate else " Activity blocked"
    flags = " ".join((["Quorate"] if standing.quorate else []) + (["Qdevice"] if device else []))
    out += f"Expected votes:   {standing.expected}\nHighest expected: {max(standing.expected, total)}\n"
    out += f"Total votes:      {standing.total}\nQuorum:           {standing.needed} {blocked}\n"
    out += f"Flags:            {flags}\n\n"
    out += "Membership information\n----------------------\n    Nodeid      Votes    Qdevice Name\n"
    for name in standing.members:
        one = cluster["nodes"][name]
        local = " (local)" if name == node.name else ""
        out += f"0x{int(one['nodeid']):08x} {one['votes']:>10} {one['ring']['0']}{local}\n"
    if device:
        out += f"0x00000000 {standing.device:>10}            Qdevice\n"
    code = 0 if standing.quorate else NOT_QUORATE
    yield Result(code, out)
    return code


def _nodes(_who: Who, node: Node, _plain: list[str], _given: console.Options) -> Steps:
    standing = quorum.standing(node)
    if node.cluster is None or standing is None:
        yield Result(2, err=NO_CLUSTER)
        return 2
    out = "\nMembership information\n----------------------\n    Nodeid      Votes Name\n"
    for name in standing.members:
        one = node.cluster["nodes"][name]
        out += f"{one['nodeid']:>10} {one['votes']:>10} {name}{' (local)' if name == node.name else ''}\n"
    yield Result(0, out)
    return 0


def _delnode(_who: Who, node: Node, plain: list[str], _given: console.Options) -> Steps:
    joining.remove_node(node, str(_named(plain, "node")["node"]))
    yield Result(0, f"Killing node {plain[0]}\n")
    return 0


def _expected(_who: Who, node: Node, plain: list[str], _given: console.Options) -> Steps:
    wanted = schema.validate({"expected": schema.whole(1, required=True)}, _named(plain, "expected"))["expected"]
    standing = quorum.standing(node)
    if standing is None:
        raise died("Unable to set expected votes: CS_ERR_LIBRARY")
    if wanted < standing.total - len(standing.members) or wanted > 64:
        raise died("Unable to set expected votes: CS_ERR_INVALID_PARAM")
    for one in nodes.members(node):
        if one.name in standing.members:
            one.own["expected"] = wanted
    yield Result(0)
    return 0


def _updatecerts(_who: Who, node: Node, _plain: list[str], given: console.Options) -> Steps:
    quorum.require(node)
    nodes.update_certificate(node, force="force" in given)
    yield Result(0, "(re)generate node files\nmerge authorized SSH keys\n")
    return 0


def _qdevice(_who: Who, node: Node, plain: list[str], given: console.Options) -> Steps:
    cluster = node.cluster
    if cluster is None:
        raise died("Node not in a cluster. Aborting.")
    quorum.require(node)
    if plain[:1] == ["remove"]:
        if not cluster.get("qdevice"):
            raise died("No QDevice configured!")
        if away := next((name for name in cluster["nodes"] if name not in _online(node)), None):
            raise died(f"All nodes must be online! Node {away} is offline, aborting.")
        cluster.update(qdevice=None, version=cluster["version"] + 1)
        yield Result(0, "\nRemoved Qdevice.\n")
        return 0
    if plain[:1] != ["setup"] or len(plain) != 2:
        raise wrong(command="use 'setup <address>' or 'remove'")
    if cluster.get("qdevice") and "force" not in given:
        raise died("QDevice already configured!")
    if (no := _why_no_device(node, plain[1])) is not None:
        raise died(no)
    algorithm = "lms" if len(cluster["nodes"]) % 2 else "ffsplit"
    votes = len(cluster["nodes"]) - 1 if algorithm == "lms" else 1
    ready = [one.machine.key for one in nodes.members(node)]
    device = {"host": plain[1], "algorithm": algorithm, "votes": votes, "ready": ready}
    cluster.update(qdevice=device, version=cluster["version"] + 1)
    yield Result(0, "INFO: initializing qnetd server\nINFO: copying CA cert and initializing on all nodes\nDone\n")
    return 0


def _online(node: Node) -> tuple[str, ...]:
    standing = quorum.standing(node)
    return standing.members if standing is not None else ()


def _why_no_device(node: Node, address: str) -> str | None:
    machine = reach.at(node.world, address)
    if machine is None or machine.phase != "up" or not tampering.is_linked(node.world, node.machine.key, machine.key):
        return f"ssh: connect to host {address} port 22: No route to host"
    if not sshd.permits_root(machine, node.address):
        return f"root@{address}: Permission denied (publickey)."
    if "corosync-qnetd" not in machine.guest.get("packages", {}):
        return f"Host key/qnetd check failed: corosync-qnetd-certutil: command not found on {address}"
    for one in nodes.members(node):
        if "corosync-qdevice" not in one.machine.guest["packages"]:
            return f"corosync-qdevice is not installed on node '{one.name}'"
        if not one.is_up:
            return f"All nodes must be online! Node {one.name} is offline, aborting."
    return None


VERBS: dict[str, Callable[[Who, Node, list[str], console.Options], Steps]] = {
    "create": _create,
    "add": _add,
    "status": _status,
    "nodes": _nodes,
    "delnode": _delnode,
    "expected": _expected,
    "updatecerts": _updatecerts,
    "qdevice": _qdevice,
}
