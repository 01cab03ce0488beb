"""/cluster/sdn: zones, vnets and subnets. What is changed waits until ``PUT /cluster/sdn`` applies it on every node."""

from ipaddress import ip_network
from typing import Any

from ocifree_pipeline.sandbox.machines import interfaces
from ocifree_pipeline.sandbox.proxmox import nodes, tasks
from ocifree_pipeline.sandbox.proxmox.errors import died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, work

VXLAN_OVERHEAD = 50
ZONE: dict[str, Parameter] = {
    "peers": form("ip", many=True),
    "mtu": whole(1280, 65520),
    "nodes": form("pve-node", many=True),
    "ipam": text(),
    "dhcp": one_of("dnsmasq"),
    "bridge": text(),
    "dns": text(),
}
VNET: dict[str, Parameter] = {
    "zone": form("pve-sdn-id"),
    "tag": whole(1, 16777215),
    "alias": text(longest=256),
    "vlanaware": flag(),
    "isolate-ports": flag(),
}
SUBNET: dict[str, Parameter] = {
    "gateway": form("ip"),
    "snat": flag(),
    "dhcp-range": text(many=True),
    "dnszoneprefix": text(),
}
CHANGE: dict[str, Parameter] = {"delete": text(many=True), "digest": form("digest")}
SHOW = {"running": flag(), "pending": flag()}
MAY = needs("/sdn", "SDN.Allocate")
SEE = needs("/sdn", "SDN.Audit", "SDN.Allocate", some=True)


def _all(call: Call, kind: str) -> dict[str, Any]:
    """What is to be: the running configuration with what waits laid over it."""
    sdn = call.store["sdn"]
    return dict(sdn["pending"].get(kind, sdn["running"][kind]))


def _keep(call: Call, kind: str, entries: dict[str, Any]) -> None:
    sdn = call.store["sdn"]
    if entries == sdn["running"][kind]:
        sdn["pending"].pop(kind, None)
    else:
        sdn["pending"][kind] = entries


def _rows(call: Call, kind: str, name: str) -> list[dict[str, Any]]:
    running = call.store["sdn"]["running"][kind]
    entries = running if call.get("running") else _all(call, kind)
    rows = []
    for ident, one in sorted(entries.items()):
        row = {name: ident, **one}
        if call.get("pending") and running.get(ident) != one:
            row["state"] = "changed" if ident in running else "new"
        rows.append(row)
    return rows


def _fields(call: Call, names: dict[str, Parameter]) -> dict[str, Any]:
    found = {name: call[name] for name in names if name in call.values}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in found.items()}


@method("GET", "/cluster/sdn/zones", SHOW | {"type": text()}, may=SEE)
def _zones(call: Call) -> Any:
    return [row for row in _rows(call, "zones", "zone") if call.get("type") in {None, row["type"]}]


@method(
    "POST",
    "/cluster/sdn/zones",
    ZONE
    | {
        "zone": form("pve-sdn-id", required=True),
        "type": one_of("simple", "vlan", "qinq", "vxlan", "evpn", required=True),
    },
    may=MAY,
    writes=True,
)
def _add_zone(call: Call) -> Any:
    entries = _all(call, "zones")
    if call["zone"] in entries:
        raise died(f"create sdn zone object failed: sdn zone object ID '{call['zone']}' already defined")
    if call["type"] not in {"simple", "vxlan"}:
        raise died(f"create sdn zone object failed: type '{call['type']}' is not played by the Proxmox of this sandbox")
    if call["type"] == "vxlan" and "peers" not in call.values:
        raise wrong(peers="property is missing and it is not optional")
    if call["type"] != "simple" and "dhcp" in call.values:
        raise wrong(dhcp="automatic DHCP is possible in simple zones only")
    _keep(call, "zones", entries | {call["zone"]: {"type": call["type"]} | _fields(call, ZONE)})


def _one(call: Call, kind: str, ident: str) -> tuple[dict[str, Any], dict[str, Any]]:
    entries = _all(call, kind)
    if ident not in entries:
        raise died(f"sdn '{ident}' does not exist")
    return entries, entries[ident]


@method("GET", "/cluster/sdn/zones/{zone}", SHOW, may=SEE)
def _zone(call: Call) -> Any:
    return {"zone": call["zone"]} | _one(call, "zones", call["zone"])[1]


@method("PUT", "/cluster/sdn/zones/{zone}", ZONE | CHANGE, may=MAY, writes=True)
def _change_zone(call: Call) -> Any:
    _change(call, "zones", call["zone"], ZONE)


@method("DELETE", "/cluster/sdn/zones/{zone}", may=MAY, writes=True)
def _delete_zone(call: Call) -> Any:
    if any(one["zone"] == call["zone"] for one in _all(call, "vnets").values()):
        raise died(f"delete sdn zone object failed: zone {call['zone']} is used by a vnet")
    _delete(call, "zones", call["zone"])


def _change(call: Call, kind: str, ident: str, names: dict[str, Parameter]) -> None:
    entries, one = _one(call, kind, ident)
    kept = {name: value for name, value in one.items() if name not in call.get("delete", [])}
    _keep(call, kind, entries | {ident: kept | _fields(call, names)})


def _delete(call: Call, kind: str, ident: str) -> None:
    entries, _ = _one(call, kind, ident)
    del entries[ident]
    _keep(call, kind, entries)


@method("GET", "/cluster/sdn/vnets", SHOW, may=SEE)
def _vnets(call: Call) -> Any:
    return _rows(call, "vnets", "vnet")


@method(
    "POST",
    "/cluster/sdn/vnets",
    VNET
    | {"vnet": form("pve-sdn-id", required=True), "zone": form("pve-sdn-id", required=True), "type": one_of("vnet")},
    may=MAY,
    writes=True,
)
def _add_vnet(call: Call) -> Any:
    entries, zones = _all(call, "vnets"), _all(call, "zones")
    if call["vnet"] in entries:
        raise died(f"create sdn vnet object failed: sdn vnet object ID '{call['vnet']}' already defined")
    if call["zone"] not in zones:
        raise died(f"create sdn vnet object failed: zone '{call['zone']}' does not exist")
    if zones[call["zone"]]["type"] == "vxlan" and "tag" not in call.values:
        raise died("create sdn vnet object failed: missing vxlan tag")
    _keep(call, "vnets", entries | {call["vnet"]: {"type": "vnet"} | _fields(call, VNET)})


@method("GET", "/cluster/sdn/vnets/{vnet}", SHOW, may=SEE)
def _vnet(call: Call) -> Any:
    return {"vnet": call["vnet"]} | _one(call, "vnets", call["vnet"])[1]


@method("PUT", "/cluster/sdn/vnets/{vnet}", VNET | CHANGE, may=MAY, writes=True)
def _change_vnet(call: Call) -> Any:
    _change(call, "vnets", call["vnet"], VNET)


@method("DELETE", "/cluster/sdn/vnets/{vnet}", may=MAY, writes=True)
def _delete_vnet(call: Call) -> Any:
    if any(one["vnet"] == call["vnet"] for one in _all(call, "subnets").values()):
        raise died(f"delete sdn vnet object failed: vnet {call['vnet']} has subnets")
    _delete(call, "vnets", call["vnet"])


def _subnet_id(call: Call) -> str:
    zone = _one(call, "vnets", call["vnet"])[1]["zone"]
    return f"{zone}-{str(call['subnet']).replace('/', '-')}"


@method("GET", "/cluster/sdn/vnets/{vnet}/subnets", SHOW, may=SEE)
def _subnets(call: Call) -> Any:
    return [row for row in _rows(call, "subnets", "subnet") if row["vnet"] == call["vnet"]]


@method(
    "POST",
    "/cluster/sdn/vnets/{vnet}/subnets",
    SUBNET | {"subnet": form("network", required=True), "type": one_of("subnet", required=True)},
    may=MAY,
    writes=True,
)
def _add_subnet(call: Call) -> Any:
    ident, entries = _subnet_id(call), _all(call, "subnets")
    if ident in entries:
        raise died(f"create sdn subnet object failed: sdn subnet object ID '{ident}' already defined")
    made = {"type": "subnet", "vnet": call["vnet"], "cidr": call["subnet"]} | _fields(call, SUBNET)
    _keep(call, "subnets", entries | {ident: made})


@method("GET", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", SHOW, may=SEE)
def _subnet(call: Call) -> Any:
    return next(one for one in _rows(call, "subnets", "subnet") if one["subnet"] == _in_vnet(call))


@method("PUT", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", SUBNET | CHANGE, may=MAY, writes=True)
def _change_subnet(call: Call) -> Any:
    _change(call, "subnets", _in_vnet(call), SUBNET)


def _in_vnet(call: Call) -> str:
    ident = str(call["subnet"])
    if _one(call, "subnets", ident)[1]["vnet"] != call["vnet"]:
        raise died(f"sdn '{ident}' does not exist")
    return ident


@method("DELETE", "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", may=MAY, writes=True)
def _delete_subnet(call: Call) -> Any:
    _delete(call, "subnets", call["subnet"])


@method("PUT", "/cluster/sdn", {"lock-token": text(), "release-lock": flag()}, may=MAY, writes=True)
def _apply(call: Call) -> Any:
    return tasks.start(call.node, "reloadnetworkall", "", call.caller.name)


@work("reloadnetworkall")
def _reload(node: Node, task: Task, _args: dict[str, Any]) -> float | None:
    sdn = node.store["sdn"]
    sdn["running"] |= sdn["pending"]
    sdn["pending"] = {}
    for one in nodes.members(node):
        if one.is_up and nodes.are_linked(node, one):
            task["log"].append(f"{one.name}: reloading network config")
            write(one)
        else:
            tasks.warn(task, f"{one.name}: reloading network config failed: No route to host")
    return None


def write(node: Node) -> None:
    """What the running configuration means for a node: /etc/network/interfaces.d/sdn, and ifreload."""
    running = node.store["sdn"]["running"]
    text_ = "#version:1\n"
    for name, vnet in sorted(running["vnets"].items()):
        zone = running["zones"].get(vnet["zone"], {})
        if zone.get("nodes") and node.name not in str(zone["nodes"]).split(","):
            continue
        mtu, port = zone.get("mtu"), "none"
        if zone.get("type") == "vxlan":
            port = f"vxlan_{name}"
            mtu = mtu or interfaces.CARD_MTU - VXLAN_OVERHEAD
            peers = [peer for peer in str(zone["peers"]).split(",") if peer not in node.machine.addresses]
            lines = "".join(f"\tvxlan-remoteip {peer}\n" for peer in peers)
            text_ += f"\nauto {port}\niface {port}\n\tvxlan-id {vnet['tag']}\n{lines}\tmtu {mtu}\n"
        text_ += f"\nauto {name}\niface {name}\n"
        for subnet in running["subnets"].values():
            if subnet["vnet"] == name and subnet.get("gateway"):
                text_ += f"\taddress {subnet['gateway']}/{ip_network(subnet['cidr']).prefixlen}\n"
        text_ += f"\tbridge_ports {port}\n\tbridge_stp off\n\tbridge_fd 0\n" + (f"\tmtu {mtu}\n" if mtu else "")
    node.machine.guest["files"]["/etc/network/interfaces.d/sdn"] = text_
    interfaces.reload(node.machine)
