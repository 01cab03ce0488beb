"""/etc/pve of a node as files: what the store holds, written the way Proxmox writes it. Read-only without quorum."""

from typing import Any

from ocifree_pipeline.sandbox.machines import sshd
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.proxmox import certificates, nodes, quorum
from ocifree_pipeline.sandbox.proxmox.nodes import Node

READ_ONLY = "Permission denied"
BROKEN = "Transport endpoint is not connected"


class Pmxcfs:
    prefix = "/etc/pve/"

    def texts(self, machine: Computer) -> dict[str, str]:
        node = Node(machine)
        if node.own["failed"]:
            return {}
        store = node.store
        found: dict[str, str] = dict(store["files"])
        found["/etc/pve/storage.cfg"] = sections(store["storage"])
        found["/etc/pve/user.cfg"] = _users(store)
        found["/etc/pve/pve-root-ca.pem"] = str(store["ca"]["pem"])
        found["/etc/pve/.version"] = f'{{"starttime": 1, "clinfo": {store["sequence"]}}}\n'
        if node.cluster is not None:
            found["/etc/pve/corosync.conf"] = corosync_text(node.cluster)
        for one in nodes.members(node):
            place = f"/etc/pve/nodes/{one.name}"
            if one.own["pem"]:
                found[f"{place}/pve-ssl.pem"] = str(one.own["pem"])
                found[f"{place}/pve-ssl.key"] = certificates.private_pem(one.own["key"]).decode()
        for vmid, guest in store["guests"].items():
            folder = "qemu-server" if guest["type"] == "qemu" else "lxc"
            text = "".join(f"{name}: {value}\n" for name, value in sorted(guest["config"].items()))
            found[f"/etc/pve/nodes/{guest['node']}/{folder}/{vmid}.conf"] = text
        if node.own["authkey"]:
            found[sshd.ROOTS_KEYS] = store["files"].get("/etc/pve/priv/authorized_keys", "")
        mine = f"/etc/pve/nodes/{node.name}/"
        found |= {f"/etc/pve/local/{path.removeprefix(mine)}": text for path, text in found.items() if mine in path}
        return found

    def write(self, machine: Computer, path: str, text: str | None) -> str:
        node = Node(machine)
        if node.own["failed"]:
            return BROKEN
        if not node.own.get("local") and not quorum.is_quorate(node):
            return READ_ONLY
        if path == "/etc/pve/corosync.conf" and text is None and node.own.get("local"):
            from ocifree_pipeline.sandbox.proxmox import joining

            joining.leave(node)
            return ""
        known = node.store["files"]
        if path not in known and path in self.texts(machine):
            return "Operation not permitted (write it with its own command: the sandbox does not read it back)"
        if text is None:
            known.pop(path, None)
        else:
            known[path] = text
        return ""


class Corosync:
    """/etc/corosync: what corosync was given when the node came into a cluster."""

    prefix = "/etc/corosync/"

    def texts(self, machine: Computer) -> dict[str, str]:
        node = Node(machine)
        if not node.own["authkey"]:
            return {}
        found = {"/etc/corosync/authkey": "(the key of the cluster)\n"}
        return found | ({"/etc/corosync/corosync.conf": corosync_text(node.cluster)} if node.cluster else {})

    def write(self, machine: Computer, path: str, text: str | None) -> str:
        if text is not None:
            return "Operation not permitted (the sandbox does not read it back)"
        if path.endswith("/authkey"):
            Node(machine).own["authkey"] = False
        return ""


def corosync_text(cluster: dict[str, Any]) -> str:
    lines = ["logging {", "  debug: off", "  to_syslog: yes", "}", "", "nodelist {"]
    for name, one in sorted(cluster["nodes"].items()):
        lines += ["  node {", f"    name: {name}", f"    nodeid: {one['nodeid']}", f"    quorum_votes: {one['votes']}"]
        lines += [f"    ring{number}_addr: {address}" for number, address in sorted(one["ring"].items())]
        lines += ["  }"]
    lines += ["}", "", "quorum {"]
    device = cluster.get("qdevice")
    if device:
        lines += ["  device {", "    model: net", "    net {", f"      algorithm: {device['algorithm']}"]
        lines += [f"      host: {device['host']}", "      tls: on", "    }", f"    votes: {device['votes']}", "  }"]
    lines += ["  provider: corosync_votequorum", "}", "", "totem {", f"  cluster_name: {cluster['name']}"]
    lines += [f"  config_version: {cluster['version']}"]
    for number in sorted({ring for one in cluster["nodes"].values() for ring in one["ring"]}):
        lines += ["  interface {", f"    linknumber: {number}", "  }"]
    lines += ["  ip_version: ipv4-6", "  link_mode: passive", "  secauth: on", "  version: 2", "}"]
    return "\n".join(lines) + "\n"


def sections(entries: dict[str, dict[str, Any]]) -> str:
    """A section file such as storage.cfg."""
    found = []
    for name, one in entries.items():
        found.append(f"{one['type']}: {name}\n")
        found += [f"\t{key} {value}\n" for key, value in one.items() if key not in {"type", "shared"} or value == 1]
        found.append("\n")
    return "".join(found)


def _users(store: dict[str, Any]) -> str:
    lines = [f"user:{name}:{one.get('enable', 1)}:0::::::\n" for name, one in store["users"].items()]
    lines += [f"token:{name}:0:{one.get('privsep', 1)}::\n" for name, one in store["tokens"].items()]
    lines += [f"role:{name}:{','.join(privs)}:\n" for name, privs in store["roles"].items()]
    rows = store["acl"]
    lines += [f"acl:{row['propagate']}:{row['path']}:{row['ugid']}:{row['roleid']}:\n" for row in rows]
    return "".join(lines)
