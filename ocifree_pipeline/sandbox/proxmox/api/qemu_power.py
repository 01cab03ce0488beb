"""/nodes/{node}/qemu/{vmid}: power, the guest agent, and the way to another node."""

from ipaddress import ip_interface
from typing import Any

from ocifree_pipeline.sandbox.machines import power, sshd
from ocifree_pipeline.sandbox.proxmox import access, guests, nodes, qemu, tasks, volumes
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died, wrong
from ocifree_pipeline.sandbox.proxmox.guests import Guest, Record
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, property_string, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

POWER = needs("/vms/{vmid}", "VM.PowerMgmt")
SEE = needs("/vms/{vmid}", "VM.Audit")
AGENT = needs("/vms/{vmid}", "VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted", some=True)
START: dict[str, Parameter] = {
    "skiplock": flag(),
    "timeout": whole(0),
    "machine": text(),
    "migratedfrom": form("pve-node"),
    "stateuri": text(),
    "force-cpu": text(),
}
STOP: dict[str, Parameter] = {
    "skiplock": flag(),
    "timeout": whole(0),
    "keepActive": flag(),
    "overrule-shutdown": flag(),
}
SHUTDOWN: dict[str, Parameter] = {"skiplock": flag(), "timeout": whole(0), "forceStop": flag(), "keepActive": flag()}
MIGRATION_SECONDS = 12.0


@method("GET", "/nodes/{node}/qemu/{vmid}/status/current", may=SEE)
def _current(call: Call) -> Any:
    vmid = call["vmid"]
    record = guests.find(call.node, vmid)
    runs = record["status"] == "running"
    row = guests.summary(call.node, vmid) | {"qmpstatus": record["status"]}
    row["ha"] = {"managed": int(f"vm:{vmid}" in call.store["ha"]["resources"])}
    if has_agent(record):
        row["agent"] = 1
    if runs:
        row |= {"pid": 40_000 + int(vmid), "running-machine": _machine(call.node, record), "running-qemu": "11.0.0"}
    return row


def _machine(node: Node, record: Record) -> str:
    arm = node.machine.architecture == "aarch64"
    return str(record["config"].get("machine", "virt" if arm else "pc-i440fx")) + "-11.0+pve0"


def has_agent(record: Record) -> bool:
    value = str(record["config"].get("agent", "0"))
    return property_string(value, "enabled").get("enabled", "0") == "1"


@method("POST", "/nodes/{node}/qemu/{vmid}/status/start", START, may=POWER)
def _start(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    if record["status"] == "running":
        raise died(f"VM {call['vmid']} already running")
    guests.must_be_unlocked(record)
    return tasks.start(call.node, "qmstart", call["vmid"], call.caller.name, {"vmid": call["vmid"]})


@work("qmstart")
def _started(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    start_now(node, args["vmid"], task)
    return None


def start_now(node: Node, vmid: str, task: Task) -> None:
    record = guests.find(node, vmid)
    if record["status"] == "running":
        raise TaskError(f"VM {vmid} already running")
    record["config"] |= {name: one for name, one in record["pending"].items() if one is not None}
    for name in [name for name, one in record["pending"].items() if one is None]:
        record["config"].pop(name, None)
    record["pending"] = {}
    for warning in qemu.check_start(node, record):
        tasks.warn(task, warning)
    made = qemu.seed(node, record)
    record.update(seed=made, status="running", since=node.now)
    power.power_on(Guest(node, vmid))


def _running(call: Call) -> Record:
    record = guests.find(call.node, call["vmid"])
    if record["status"] != "running":
        raise died(f"VM {call['vmid']} not running")
    return record


def _power_task(kind: str, parameters: dict[str, Parameter], path: str) -> None:
    @method("POST", f"/nodes/{{node}}/qemu/{{vmid}}/status/{path}", parameters, may=POWER)
    def _ask(call: Call) -> Any:
        if path in {"shutdown", "reboot"}:
            _running(call)
        record = guests.find(call.node, call["vmid"])
        if not call.get("skiplock"):
            guests.must_be_unlocked(record)
        args = {"vmid": call["vmid"], "path": path, "force": call.get("forceStop", 0)}
        return tasks.start(call.node, kind, call["vmid"], call.caller.name, args)


@work("qmstop")
@work("qmshutdown")
def _stopped(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    record = guests.find(node, args["vmid"])
    guest = Guest(node, args["vmid"])
    if args["path"] == "shutdown" and guest.phase != "up" and not args["force"]:
        raise TaskError("VM quit/powerdown failed - got timeout")
    stop_now(guest)
    task["log"].append(f"VM {args['vmid']} {record['status']}")
    return None


def stop_now(guest: Guest) -> None:
    power.power_off(guest)
    guest.record.update(status="stopped", since=0)


@work("qmreboot")
@work("qmreset")
def _rebooted(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    guests.find(node, args["vmid"])
    guest = Guest(node, args["vmid"])
    power.power_off(guest)
    power.power_on(guest)
    return None


_power_task("qmstop", STOP, "stop")
_power_task("qmshutdown", SHUTDOWN, "shutdown")
_power_task("qmreboot", {"timeout": whole(0)}, "reboot")
_power_task("qmreset", {"skiplock": flag()}, "reset")


# the guest agent ------------------------------------------------------------------------------------------------------


def _agent(call: Call) -> Guest:
    record = guests.find(call.node, call["vmid"])
    if not has_agent(record):
        raise died("No QEMU guest agent configured")
    if record["status"] != "running":
        raise died(f"VM {call['vmid']} is not running")
    guest = Guest(call.node, call["vmid"])
    if guest.phase != "up":
        raise died("QEMU guest agent is not running")
    return guest


@method("POST", "/nodes/{node}/qemu/{vmid}/agent/ping", may=AGENT)
def _ping(call: Call) -> Any:
    _agent(call)
    return {"result": {}}


@method("GET", "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces", may=AGENT)
def _interfaces(call: Call) -> Any:
    guest = _agent(call)
    lo = {"name": "lo", "hardware-address": "00:00:00:00:00:00"}
    rows: list[dict[str, Any]] = [lo | {"ip-addresses": [_address("127.0.0.1/8")]}]
    for number, one in enumerate(guest.interfaces):
        net = property_string(str(guest.config.get(f"net{number}", "virtio")), "model")
        mac = next((value for name, value in net.items() if name in {"virtio", "e1000", "vmxnet3"}), "")
        rows.append({"name": f"eth{number}", "hardware-address": mac.lower(), "ip-addresses": [_address(one)]})
    return {"result": rows}


def _address(text_: str) -> dict[str, Any]:
    one = ip_interface(text_)
    return {"ip-address": str(one.ip), "ip-address-type": f"ipv{one.version}", "prefix": one.network.prefixlen}


# migration ------------------------------------------------------------------------------------------------------------

MIGRATE: dict[str, Parameter] = {
    "target": form("pve-node", required=True),
    "online": flag(),
    "force": flag(),
    "with-local-disks": flag(),
    "targetstorage": text(),
    "bwlimit": whole(0),
    "migration_type": one_of("secure", "insecure"),
    "migration_network": form("CIDR"),
    "with-conntrack-state": flag(),
}


def local_disks(node: Node, record: Record) -> list[dict[str, Any]]:
    found = []
    for name, drive in guests.drives(record["config"]).items():
        store = drive["file"].partition(":")[0]
        if ":" in drive["file"] and not int(node.store["storage"].get(store, {}).get("shared", 0)):
            is_seed = "cloudinit" in drive["file"]
            cdrom = int(drive.get("media") == "cdrom" and not is_seed)
            found.append({"volid": drive["file"], "drivename": name, "cdrom": cdrom, "is_attached": 1, "seed": is_seed})
    return found


def _unavailable(node: Node, record: Record, target: str) -> list[str]:
    stores = {
        drive["file"].partition(":")[0] for drive in guests.drives(record["config"]).values() if ":" in drive["file"]
    }
    found = []
    for name in sorted(stores):
        limited = node.store["storage"].get(name, {}).get("nodes")
        if limited and target not in str(limited).split(","):
            found.append(name)
    return found


@method(
    "GET", "/nodes/{node}/qemu/{vmid}/migrate", {"target": form("pve-node")}, may=needs("/vms/{vmid}", "VM.Migrate")
)
def _preconditions(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    others = [one.name for one in nodes.members(call.node) if one.name != call.node.name]
    blocked = {name: {"unavailable_storages": bad} for name in others if (bad := _unavailable(call.node, record, name))}
    disks = [{name: value for name, value in one.items() if name != "seed"} for one in local_disks(call.node, record)]
    return {
        "running": int(record["status"] == "running"),
        "allowed_nodes": [name for name in others if name not in blocked],
        "not_allowed_nodes": blocked,
        "local_disks": disks,
        "local_resources": [],
        "mapped-resources": [],
    }


@method("POST", "/nodes/{node}/qemu/{vmid}/migrate", MIGRATE, may=needs("/vms/{vmid}", "VM.Migrate"), writes=True)
def _migrate(call: Call) -> Any:
    vmid, target = call["vmid"], call["target"]
    record = guests.find(call.node, vmid)
    if target == call.node.name:
        raise wrong(target="target is local node.")
    if nodes.named(call.node, target) is None:
        raise died(f"target node '{target}' does not exist")
    guests.must_be_unlocked(record)
    if record["status"] == "running" and not call.get("online"):
        raise wrong(online="can't migrate running VM without --online")
    if bad := _unavailable(call.node, record, target):
        raise died(f"storage '{bad[0]}' is not available on node '{target}'")
    for one in local_disks(call.node, record):
        if one["cdrom"]:
            raise died(f"can't migrate VM which uses local cdrom image: {one['volid']}")
        if not one["seed"] and not call.get("with-local-disks") and record["status"] == "running":
            raise died(f"can't migrate attached local disks without 'with-local-disks' option: {one['volid']}")
    if "force" in call.values:
        access.require_root(call.caller)
    args = {"vmid": vmid, "target": target, "online": call.get("online", 0), "step": "begin"}
    if f"vm:{vmid}" in call.store["ha"]["resources"]:
        args["ha"] = 1
        return tasks.start(call.node, "hamigrate", vmid, call.caller.name, args)
    return tasks.start(call.node, "qmigrate", vmid, call.caller.name, args)


@work("qmigrate")
@work("hamigrate")
def _move(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    vmid = args["vmid"]
    if args["step"] == "begin":
        record = guests.find(node, vmid)
        target = reach_target(node, args["target"])
        runs = record["status"] == "running"
        if args["online"] and not runs:
            tasks.warn(task, "VM is not running, doing an offline migration instead")
        task["log"].append(f"starting migration of VM {vmid} to node '{target.name}' ({target.address})")
        _check_target(node, record, target)
        record["lock"] = "migrate"
        args.update(step="end", since=node.world.clock.now().timestamp())
        return MIGRATION_SECONDS if runs else 1.0
    guest = node.store["guests"].get(vmid)
    if guest is None or guest["node"] != node.name:
        raise TaskError("migration aborted: the VM is gone")
    seconds = int(node.world.clock.now().timestamp() - args["since"])
    lasted = f"(duration {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d})"
    guest["lock"] = ""
    try:
        target = reach_target(node, args["target"])
        _check_target(node, guest, target)
    except TaskError as error:
        task["log"].append(f"ERROR: migration aborted {lasted}: {error}")
        raise TaskError("migration aborted") from error
    for one in local_disks(node, guest):
        volume = node.own["content"].pop(one["volid"], None)
        if volume is not None:
            target.own["content"][one["volid"]] = volume
    guest["node"] = target.name
    task["log"].append(f"migration finished successfully {lasted}")
    return None


def reach_target(node: Node, name: str) -> Node:
    target = nodes.named(node, name)
    if target is None or not nodes.are_linked(node, target):
        raise TaskError(
            f"Can't connect to destination address using public key: ssh to {name} failed: No route to host"
        )
    return target


def _check_target(node: Node, record: Record, target: Node) -> None:
    """Root of a node must get into the other one by its key."""
    if not sshd.permits_root(target.machine, node.address):
        raise TaskError("Can't connect to destination address using public key")
    config = record["config"]
    if guests.cores(config) > target.machine.vcpus and record["status"] == "running":
        raise TaskError(f"MAX {target.machine.vcpus} vcpus allowed per VM on this node")
    if target.machine.architecture != node.machine.architecture:
        raise TaskError("migration between different architectures is not possible")
    try:
        for drive in guests.drives(config).values():
            if ":" in drive["file"]:
                volumes.storage(target, drive["file"].partition(":")[0])
        if record["status"] == "running":
            qemu.check_start(target if not local_disks(node, record) else node, record)
            qemu.seed(target, record)
    except ApiError as error:
        raise TaskError(error.message) from error
