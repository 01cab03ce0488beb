"""/nodes/{node}/lxc: containers. There is no method that runs a command in one: that needs ``pct exec``."""

from ipaddress import ip_interface
from typing import Any

from ocifree_pipeline.sandbox.machines import interfaces, power
from ocifree_pipeline.sandbox.proxmox import access, containers, guests, nodes, tasks, volumes
from ocifree_pipeline.sandbox.proxmox.api.pools import put_into
from ocifree_pipeline.sandbox.proxmox.api.qemu import digest, with_mac
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died, wrong
from ocifree_pipeline.sandbox.proxmox.guests import Guest
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, joined, number, property_string, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

CREATE: dict[str, Parameter] = containers.CONFIG | {
    "vmid": form("pve-vmid", required=True),
    "ostemplate": text(required=True, longest=255),
    "storage": form("pve-storage-id"),
    "password": text(),
    "ssh-public-keys": text(),
    "start": flag(),
    "force": flag(),
    "unique": flag(),
    "restore": flag(),
    "ignore-unpack-errors": flag(),
    "bwlimit": number(0),
    "pool": text(),
}
SEE = needs("/vms/{vmid}", "VM.Audit")
POWER = needs("/vms/{vmid}", "VM.PowerMgmt")


@method("GET", "/nodes/{node}/lxc", may=everybody)
def _list(call: Call) -> Any:
    rows = []
    for vmid, guest in call.store["guests"].items():
        if guest["type"] != "lxc" or guest["node"] != call.node.name:
            continue
        if "VM.Audit" in access.privileges(call.node, call.caller, f"/vms/{vmid}"):
            rows.append(guests.summary(call.node, vmid) | {"type": "lxc"})
    return rows


@method("POST", "/nodes/{node}/lxc", CREATE, may=needs("/vms/{vmid}", "VM.Allocate"), writes=True)
def _create(call: Call) -> Any:
    vmid = call["vmid"]
    config = {name: value for name, value in call.values.items() if containers.is_setting(name)}
    containers.check_rights(call.caller, config)
    guests.must_be_free(call.node, vmid, "lxc")
    template = call["ostemplate"]
    if template.startswith("/"):
        access.require_root(call.caller)
    found = volumes.find(call.node, template)
    if found["content"] != "vztmpl":
        raise died(f"unable to create CT {vmid} - '{template}' is no template")
    record = guests.new("lxc", call.node, {name: config[name] for name in ("hostname", "tags") if name in config})
    put_into(call, record)
    record["lock"] = "create"
    call.store["guests"][vmid] = record
    if keys := call.get("ssh-public-keys"):
        config["ssh-public-keys"] = keys
    args = {"vmid": vmid, "config": config, "template": template, "start": call.get("start", 0)}
    args["storage"] = call.get("storage", "local")
    return tasks.start(call.node, "vzcreate", vmid, call.caller.name, args, seconds=6)


tasks.UNDO["vzcreate"] = guests.forget


@work("vzcreate")
def _make(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    vmid, config = args["vmid"], dict(args["config"])
    record = node.store["guests"].get(vmid)
    if record is None:
        raise TaskError(f"unable to create CT {vmid} - config file vanished")
    try:
        template = volumes.find(node, args["template"])
        native = node.machine.architecture.replace("aarch64", "arm64").replace("x86_64", "amd64")
        arch = template["system"]["architecture"]
        if arch != native:
            raise TaskError(f"architecture '{arch}' of the template does not fit this node ({native})")
        config["rootfs"] = _rootfs(node, vmid, str(config.get("rootfs", f"{args['storage']}:4")), template)
        for name, value in list(config.items()):
            if name.rstrip("0123456789") == "net":
                config[name] = with_mac(node, str(value), "name")
        config |= {"arch": arch, "ostype": str(template["system"]["os"]).lower()}
        config.setdefault("hostname", f"CT{vmid}")
        config.setdefault("memory", 512)
    except (TaskError, ApiError) as error:
        del node.store["guests"][vmid]
        reason = error.message if isinstance(error, ApiError) else str(error)
        raise TaskError(f"unable to create CT {vmid} - {reason}") from error
    record.update(config=config, lock="")
    task["log"] += [
        f"extracting archive '{args['template']}'",
        "Creating SSH host key 'ssh_host_ed25519_key' - this may take some time ...",
    ]
    if args["start"]:
        start_now(node, vmid)
    return None


def _rootfs(node: Node, vmid: str, value: str, template: dict[str, Any]) -> str:
    pieces = property_string(value, "volume")
    store, _, what = pieces["volume"].partition(":")
    size = volumes.bytes_of(what or "4")
    volid = volumes.allocate(node, store, vmid, size, suffix="rootfs")
    volumes.find(node, volid)["system"] = template["system"]
    return joined(
        {"volume": volid, **{k: v for k, v in pieces.items() if k != "volume"}, "size": volumes.text_of(size)}, "volume"
    )


@method("GET", "/nodes/{node}/lxc/{vmid}/config", {"current": flag(), "snapshot": text()}, may=SEE)
def _config(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    shown = {name: one for name, one in record["config"].items() if name != "ssh-public-keys"} | {
        "digest": digest(record)
    }
    return shown | ({"lock": record["lock"]} if record["lock"] else {})


@method(
    "PUT",
    "/nodes/{node}/lxc/{vmid}/config",
    containers.CONFIG | {"delete": text(many=True), "revert": text(many=True), "digest": form("digest")},
    may=needs("/vms/{vmid}", "VM.Config.Options", "VM.Config.Network", "VM.Config.Memory", some=True),
    writes=True,
)
def _change(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    guests.must_be_unlocked(record)
    config = {name: value for name, value in call.values.items() if containers.is_setting(name)}
    containers.check_rights(call.caller, config)
    for name, value in config.items():
        is_net = name.rstrip("0123456789") == "net"
        record["config"][name] = with_mac(call.node, str(value), "name") if is_net else value
    for name in call.get("delete", []):
        record["config"].pop(name, None)


@method(
    "DELETE",
    "/nodes/{node}/lxc/{vmid}",
    {"purge": flag(), "force": flag(), "destroy-unreferenced-disks": flag()},
    may=needs("/vms/{vmid}", "VM.Allocate"),
    writes=True,
)
def _destroy(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    guests.must_be_unlocked(record)
    if record["status"] == "running" and not call.get("force"):
        raise died(f"CT {call['vmid']} is running - destroy failed!")
    return tasks.start(call.node, "vzdestroy", call["vmid"], call.caller.name, {"vmid": call["vmid"]})


@work("vzdestroy")
def _unmake(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    record = guests.find(node, args["vmid"], "lxc")
    if record["status"] == "running":
        stop_now(Guest(node, args["vmid"]))
    volumes.remove(node, property_string(str(record["config"]["rootfs"]), "volume")["volume"])
    del node.store["guests"][args["vmid"]]
    node.store["ha"]["resources"].pop(f"ct:{args['vmid']}", None)
    return None


@method("GET", "/nodes/{node}/lxc/{vmid}/status/current", may=SEE)
def _current(call: Call) -> Any:
    guests.find(call.node, call["vmid"], "lxc")
    return guests.summary(call.node, call["vmid"]) | {"type": "lxc", "ha": {"managed": 0}}


@method("POST", "/nodes/{node}/lxc/{vmid}/status/start", {"skiplock": flag(), "debug": flag()}, may=POWER)
def _start(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    if record["status"] == "running":
        raise died(f"CT {call['vmid']} already running")
    guests.must_be_unlocked(record)
    return tasks.start(call.node, "vzstart", call["vmid"], call.caller.name, {"vmid": call["vmid"]})


@work("vzstart")
def _started(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    start_now(node, args["vmid"])
    return None


def start_now(node: Node, vmid: str) -> None:
    record = guests.find(node, vmid, "lxc")
    running = interfaces.running(node.machine)
    for name, value in record["config"].items():
        if name.rstrip("0123456789") == "net":
            bridge = property_string(str(value)).get("bridge", "")
            if bridge not in running:
                raise TaskError(f"bridge '{bridge}' does not exist")
    record.update(status="running", since=node.now)
    guest = Guest(node, vmid)
    guest.guest["hasTunnel"] = containers.has_tunnel(record["config"])
    power.power_on(guest)


def stop_now(guest: Guest) -> None:
    power.power_off(guest)
    guest.record.update(status="stopped", since=0)


ENDS: dict[str, dict[str, Parameter]] = {
    "stop": {"skiplock": flag(), "overrule-shutdown": flag()},
    "shutdown": {"timeout": whole(0), "forceStop": flag()},
    "reboot": {"timeout": whole(0)},
}


def _ends(kind: str, path: str) -> None:
    @method("POST", f"/nodes/{{node}}/lxc/{{vmid}}/status/{path}", ENDS[path], may=POWER)
    def _ask(call: Call) -> Any:
        record = guests.find(call.node, call["vmid"], "lxc")
        if record["status"] != "running":
            raise died(f"CT {call['vmid']} not running")
        return tasks.start(call.node, kind, call["vmid"], call.caller.name, {"vmid": call["vmid"], "path": path})


@work("vzstop")
@work("vzshutdown")
@work("vzreboot")
def _ended(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    guests.find(node, args["vmid"], "lxc")
    stop_now(Guest(node, args["vmid"]))
    if args["path"] == "reboot":
        start_now(node, args["vmid"])
    return None


for _kind, _path in (("vzstop", "stop"), ("vzshutdown", "shutdown"), ("vzreboot", "reboot")):
    _ends(_kind, _path)


@method("GET", "/nodes/{node}/lxc/{vmid}/interfaces", may=SEE)
def _interfaces(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    if record["status"] != "running":
        return []
    rows = [_interface("lo", "00:00:00:00:00:00", "127.0.0.1/8")]
    for name, value in sorted(record["config"].items()):
        if name.rstrip("0123456789") == "net":
            net = property_string(str(value))
            rows.append(_interface(net["name"], net["hwaddr"].lower(), net.get("ip", "dhcp")))
    return rows


def _interface(name: str, card: str, address: str) -> dict[str, Any]:
    """Old names and new ones for the same. Nobody gives out addresses, so only a written one is there."""
    row: dict[str, Any] = {"name": name, "hwaddr": card, "hardware-address": card, "ip-addresses": []}
    if address[0].isdigit():
        found = ip_interface(address)
        told = {"ip-address": str(found.ip), "ip-address-type": "inet", "prefix": found.network.prefixlen}
        row |= {"inet": str(found), "ip-addresses": [told]}
    return row


@method(
    "POST",
    "/nodes/{node}/lxc/{vmid}/migrate",
    {
        "target": form("pve-node", required=True),
        "online": flag(),
        "restart": flag(),
        "timeout": whole(),
        "bwlimit": number(0),
    },
    may=needs("/vms/{vmid}", "VM.Migrate"),
    writes=True,
)
def _migrate(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"], "lxc")
    if call["target"] == call.node.name:
        raise wrong(target="target is local node.")
    if nodes.named(call.node, call["target"]) is None:
        raise died(f"target node '{call['target']}' does not exist")
    if call.get("online"):
        raise died("lxc live migration is currently not implemented")
    if record["status"] == "running" and not call.get("restart"):
        raise died("CT is running - use restart mode")
    args = {"vmid": call["vmid"], "target": call["target"]}
    return tasks.start(call.node, "vzmigrate", call["vmid"], call.caller.name, args, seconds=10)


@work("vzmigrate")
def _move(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    from ocifree_pipeline.sandbox.proxmox.api.qemu_power import reach_target

    record = guests.find(node, args["vmid"], "lxc")
    target = reach_target(node, args["target"])
    ran = record["status"] == "running"
    if ran:
        stop_now(Guest(node, args["vmid"]))
    volid = property_string(str(record["config"]["rootfs"]), "volume")["volume"]
    if volid in node.own["content"]:
        target.own["content"][volid] = node.own["content"].pop(volid)
    record["node"] = target.name
    if ran:
        start_now(target, args["vmid"])
    task["log"].append("migration finished successfully")
    return None
