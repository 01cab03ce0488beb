"""/version, /cluster: status, resources, options, next id, tasks."""

from typing import Any

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.proxmox import guests, nodes, quorum, sizes, tasks
from ocifree_pipeline.sandbox.proxmox.errors import wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import RELEASE, REPOID, Node
from ocifree_pipeline.sandbox.proxmox.schema import form, one_of, text, whole


@method("GET", "/version", may=everybody)
def _version(call: Call) -> Any:
    return {"version": call.node.version, "release": RELEASE, "repoid": REPOID}


@method("GET", "/cluster/status", may=needs("/", "Sys.Audit"))
def status(call: Call) -> Any:
    node = call.node
    if node.cluster is None:
        return [_node_row(node, node.name, 0, node.address, online=True, local=True)]
    standing = quorum.standing(node)
    cluster, seen = node.cluster, standing.members if standing is not None else ()
    rows: list[dict[str, Any]] = [
        {
            "type": "cluster",
            "id": "cluster",
            "name": cluster["name"],
            "version": cluster["version"],
            "nodes": len(cluster["nodes"]),
            "quorate": int(quorum.is_quorate(node)),
        }
    ]
    for name, one in sorted(cluster["nodes"].items()):
        other = nodes.named(node, name)
        address = other.address if other is not None else one["ring"]["0"]
        online = name in seen or name == node.name
        rows.append(_node_row(node, name, one["nodeid"], address, online=online, local=name == node.name))
    return rows


def _node_row(node: Node, name: str, ident: int, address: str, *, online: bool, local: bool) -> dict[str, Any]:
    return {
        "type": "node",
        "id": f"node/{name}",
        "name": name,
        "nodeid": ident,
        "ip": address,
        "level": "",
        "online": int(online),
        "local": int(local),
    }


@method("GET", "/cluster/resources", {"type": one_of("vm", "storage", "node", "sdn")}, may=everybody)
def resources(call: Call) -> Any:
    rows = [*_guests(call), *_nodes(call), *_storages(call)]
    wanted = call.get("type")
    kinds = {"vm": {"qemu", "lxc"}}.get(wanted, {wanted}) if wanted else None
    return [row for row in rows if kinds is None or row["type"] in kinds]


def _sees(call: Call, name: str) -> bool:
    """Whether news of a node gets here."""
    standing = quorum.standing(call.node)
    return name == call.node.name or (standing is not None and name in standing.members)


def _guests(call: Call) -> list[dict[str, Any]]:
    from ocifree_pipeline.sandbox.proxmox import access

    found = []
    for vmid, guest in sorted(call.store["guests"].items(), key=lambda one: int(one[0])):
        if not call.caller.is_root and "VM.Audit" not in access.privileges(call.node, call.caller, f"/vms/{vmid}"):
            continue
        row = guests.summary(call.node, vmid) | {"type": guest["type"], "id": f"{guest['type']}/{vmid}"}
        row["vmid"] = int(vmid)
        row["node"] = guest["node"]
        row |= {"pool": guest["pool"]} if guest.get("pool") else {}
        if not _sees(call, guest["node"]):
            row["status"] = "unknown"
        if f"{'vm' if guest['type'] == 'qemu' else 'ct'}:{vmid}" in call.store["ha"]["resources"]:
            row["hastate"] = "started"
        found.append(row)
    return found


def _nodes(call: Call) -> list[dict[str, Any]]:
    rows = []
    for one in nodes.members(call.node):
        online = _sees(call, one.name)
        row = {"type": "node", "id": f"node/{one.name}", "node": one.name, "status": "online" if online else "offline"}
        rows.append(row | (figures(one) if online else {}))
    return rows


def _storages(call: Call) -> list[dict[str, Any]]:
    rows = []
    for one in nodes.members(call.node):
        for name, config in call.store["storage"].items():
            if config.get("nodes") and one.name not in str(config["nodes"]).split(","):
                continue
            total, used = sizes.of_storage(one, name)
            rows.append(
                {
                    "type": "storage",
                    "id": f"storage/{one.name}/{name}",
                    "storage": name,
                    "node": one.name,
                    "plugintype": config["type"],
                    "content": config.get("content", ""),
                    "shared": int(config.get("shared", 0)),
                    "status": "available" if _sees(call, one.name) else "unknown",
                    "maxdisk": total,
                    "disk": used,
                }
            )
    return rows


def figures(node: Node) -> dict[str, Any]:
    """Load and sizes of a node."""
    total, used = sizes.of_storage(node, "local")
    cpus, memory = node.machine.vcpus, int(node.machine.memory_gb * 1024**3)
    run = [guests.summary(node, one.vmid) for one in guests.hosted(node) if one.record["status"] == "running"]
    busy = sizes.IDLE_CPUS + sum(row["cpu"] * row["maxcpu"] for row in run)
    taken = sizes.of_daemons(node) + sum(int(row["maxmem"]) for row in run)
    return {
        "cpu": round(min(busy / cpus, 1.0), 4),
        "maxcpu": cpus,
        "mem": min(taken, memory),
        "maxmem": memory,
        "disk": used,
        "maxdisk": total,
        "uptime": uptime(node),
        "level": "",
    }


def uptime(node: Node) -> int:
    return int((node.world.clock.now() - parse(node.machine.state["since"])).total_seconds())


@method("GET", "/cluster/nextid", {"vmid": form("pve-vmid")}, may=everybody)
def next_id(call: Call) -> Any:
    taken = call.store["guests"]
    if (wanted := call.get("vmid")) is not None:
        if wanted in taken:
            raise wrong(vmid=f"VM {wanted} already exists")
        return wanted
    return str(next(number for number in range(100, 1_000_000) if str(number) not in taken))


@method("GET", "/cluster/options", may=needs("/", "Sys.Audit"))
def _options(call: Call) -> Any:
    return {"keyboard": "en-us", **call.store["options"]}


@method(
    "PUT",
    "/cluster/options",
    {name: text() for name in ("migration", "description", "keyboard", "mac_prefix", "delete", "ha")}
    | {"max_workers": whole(1)},
    may=needs("/", "Sys.Modify"),
    writes=True,
)
def _set_options(call: Call) -> Any:
    options = call.store["options"]
    for name in str(call.get("delete", "")).split(","):
        options.pop(name, None)
    options.update({name: value for name, value in call.values.items() if name != "delete"})


@method("GET", "/cluster/tasks", may=everybody)
def _tasks(call: Call) -> Any:
    found = [tasks.public(task) for one in nodes.members(call.node) for task in one.own["tasks"].values()]
    for row in found:
        row["status"] = row.pop("exitstatus", "") or row["status"]
    return sorted(found, key=lambda row: -row["starttime"])[:50]


@method("GET", "/cluster", may=everybody)
def _index(_call: Call) -> Any:
    return [
        {"name": name} for name in ("resources", "config", "ha", "status", "nextid", "options", "sdn", "tasks", "ceph")
    ]
