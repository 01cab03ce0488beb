"""/nodes/{node}/network: what is declared, what waits to be applied, and what runs."""

from ipaddress import ip_interface
from typing import Any

from ocifree_pipeline.sandbox.machines import files, interfaces
from ocifree_pipeline.sandbox.machines.session import Who
from ocifree_pipeline.sandbox.proxmox import tasks
from ocifree_pipeline.sandbox.proxmox.errors import died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

TYPES = ("bridge", "bond", "eth", "alias", "vlan", "fabric", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort", "vnet")
FIELDS: dict[str, Parameter] = {
    "type": one_of(*TYPES, required=True),
    "address": form("ip"),
    "netmask": text(),
    "cidr": form("CIDR"),
    "gateway": form("ip"),
    "autostart": flag(),
    "bridge_ports": text(),
    "bridge_vlan_aware": flag(),
    "mtu": whole(1280, 65520),
    "comments": text(),
    "delete": text(many=True),
}


def _current(node: Node) -> dict[str, Any]:
    """The interfaces that the API shows: those of the file, and the card."""
    found: dict[str, Any] = {}
    card = interfaces.card(node.machine)
    found[interfaces.CARD] = {"type": "eth", "exists": 1, "active": 1, "method": "manual"} | _addressed(
        card["addresses"]
    )
    running = interfaces.running(node.machine)
    for name, one in interfaces.declared(node.machine).items():
        if name == "lo":
            continue
        kind = "bridge" if one.get("bridge-ports") or name.startswith("vmbr") else "unknown"
        row: dict[str, Any] = {"type": kind, "method": one.method, "autostart": int(one.auto)}
        row |= {"active": 1} if name in running else {}
        if kind == "bridge":
            row["bridge_ports"] = "" if one.get("bridge-ports") == "none" else one.get("bridge-ports")
        row |= {"mtu": one.get("mtu")} if one.get("mtu") else {}
        found[name] = row | _addressed([value for key, value in one.options if key == "address"])
    return found


def _addressed(addresses: list[str]) -> dict[str, Any]:
    if not addresses:
        return {}
    first = ip_interface(addresses[0])
    return {"cidr": str(first), "address": str(first.ip), "netmask": str(first.network.prefixlen)}


@method("GET", "/nodes/{node}/network", {"type": text()}, may=everybody)
def _list(call: Call) -> Any:
    found = call.node.own["pending"] or _current(call.node)
    wanted = call.get("type")
    rows = [{"iface": name} | one for name, one in sorted(found.items())]
    kinds = {"any_bridge": {"bridge", "OVSBridge"}, "any_local_bridge": {"bridge", "OVSBridge"}}.get(wanted, {wanted})
    return [row for row in rows if wanted is None or row["type"] in kinds]


@method("GET", "/nodes/{node}/network/{iface}", may=needs("/nodes/{node}", "Sys.Audit"))
def _get(call: Call) -> Any:
    return _named(call, call["iface"])


def _named(call: Call, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = (call.node.own["pending"] or _current(call.node)).get(name)
    if found is None:
        raise died(f"interface '{name}' does not exist")
    return found


def _pending(call: Call) -> dict[str, Any]:
    if call.node.own["pending"] is None:
        call.node.own["pending"] = _current(call.node)
    found: dict[str, Any] = call.node.own["pending"]
    return found


def _row(call: Call) -> dict[str, Any]:
    row = {name: call[name] for name in FIELDS if name in call.values and name != "delete"}
    if "address" in row and "cidr" not in row:
        row["cidr"] = str(ip_interface(f"{row['address']}/{row.get('netmask', '24')}"))
    if "cidr" in row:
        row |= _addressed([row["cidr"]])
    return row | {"method": "static" if "cidr" in row else "manual"}


@method(
    "POST",
    "/nodes/{node}/network",
    {name: one for name, one in FIELDS.items() if name != "delete"} | {"iface": form("pve-iface", required=True)},
    may=needs("/nodes/{node}", "Sys.Modify"),
)
def _create(call: Call) -> Any:
    if call["type"] not in {"bridge", "eth"}:
        raise wrong(type=f"'{call['type']}' is not played by the Proxmox of this sandbox")
    pending = _pending(call)
    if call["iface"] in pending:
        raise wrong(iface="interface already exists")
    if call["type"] == "bridge" and not call["iface"].startswith("vmbr"):
        raise wrong(iface="bridge name must start with 'vmbr'")
    pending[call["iface"]] = _row(call)


@method("PUT", "/nodes/{node}/network/{iface}", FIELDS, may=needs("/nodes/{node}", "Sys.Modify"))
def _change(call: Call) -> Any:
    _named(call, call["iface"])
    pending = _pending(call)
    before = {name: value for name, value in pending[call["iface"]].items() if name not in call.get("delete", [])}
    pending[call["iface"]] = before | _row(call)


@method("DELETE", "/nodes/{node}/network/{iface}", may=needs("/nodes/{node}", "Sys.Modify"))
def _delete(call: Call) -> Any:
    _named(call, call["iface"])
    del _pending(call)[call["iface"]]


@method("DELETE", "/nodes/{node}/network", may=needs("/nodes/{node}", "Sys.Modify"))
def _revert(call: Call) -> Any:
    call.node.own["pending"] = None


@method(
    "PUT",
    "/nodes/{node}/network",
    {"regenerate-frr": flag()},
    may=needs("/nodes/{node}", "Sys.Modify"),
)
def _apply(call: Call) -> Any:
    return tasks.start(call.node, "srvreload", "networking", call.caller.name)


@work("srvreload")
def _reload(node: Node, task: Task, _args: dict[str, Any]) -> float | None:
    pending = node.own["pending"]
    if pending is not None:
        wrong_text = files.write(Who(node.machine, "root"), interfaces.FILE, _file(node, pending))
        if wrong_text:
            raise TaskError(wrong_text)
        for path in [one for one in files.texts(node.machine) if one.startswith("/etc/network/interfaces.d/")]:
            files.write(Who(node.machine, "root"), path, None)
        node.own["pending"] = None
    failed = interfaces.reload(node.machine)
    if failed:
        raise TaskError(f"command 'ifreload -a' failed: exit code 1: {failed.strip()}")
    task["log"].append("ifreload -a")
    return None


def _file(node: Node, pending: dict[str, Any]) -> str:
    text_ = "auto lo\niface lo inet loopback\n\n"
    kept = interfaces.declared(node.machine)
    for name, one in sorted(pending.items()):
        if name == interfaces.CARD and not one.get("cidr"):
            continue
        if one["type"] == "eth":
            continue
        if one["type"] == "unknown" and name in kept:
            options = "".join(f"\t{key} {value}\n" for key, value in kept[name].options)
            text_ += f"auto {name}\niface {name} inet {kept[name].method}\n{options}\n"
            continue
        text_ += (
            f"auto {name}\niface {name} inet {one['method']}\n"
            if one.get("autostart")
            else f"iface {name} inet manual\n"
        )
        text_ += f"\taddress {one['cidr']}\n" if one.get("cidr") else ""
        text_ += f"\tgateway {one['gateway']}\n" if one.get("gateway") else ""
        if one["type"] == "bridge":
            text_ += f"\tbridge-ports {one.get('bridge_ports') or 'none'}\n\tbridge-stp off\n\tbridge-fd 0\n"
        text_ += f"\tmtu {one['mtu']}\n" if one.get("mtu") else ""
        text_ += "\n"
    return text_ + "source /etc/network/interfaces.d/*\n"
