"""/nodes/{node}/qemu: virtual machines, their making, their settings, their end."""

import hashlib
from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, guests, qemu, tasks, volumes
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.api.pools import put_into
from ocifree_pipeline.sandbox.proxmox.errors import died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, joined, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

CREATE: dict[str, Parameter] = qemu.CONFIG | {
    "vmid": form("pve-vmid", required=True),
    "start": flag(),
    "unique": flag(),
    "force": flag(),
    "storage": form("pve-storage-id"),
    "pool": text(),
    "archive": text(),
    "bwlimit": whole(0),
}
CHANGE: dict[str, Parameter] = qemu.CONFIG | {
    "delete": text(many=True),
    "revert": text(many=True),
    "digest": form("digest"),
    "force": flag(),
    "skiplock": flag(),
}
MAKING_SECONDS = 6.0
SEE = needs("/vms/{vmid}", "VM.Audit")


@method("GET", "/nodes/{node}/qemu", {"full": flag()}, may=everybody)
def _list(call: Call) -> Any:
    rows = []
    for vmid, guest in call.store["guests"].items():
        if guest["type"] != "qemu" or guest["node"] != call.node.name:
            continue
        if "VM.Audit" in access.privileges(call.node, call.caller, f"/vms/{vmid}"):
            rows.append(guests.summary(call.node, vmid))
    return rows


@method("POST", "/nodes/{node}/qemu", CREATE, may=needs("/vms/{vmid}", "VM.Allocate"), writes=True)
def _create(call: Call) -> Any:
    vmid = call["vmid"]
    if "archive" in call.values:
        raise wrong(archive="restoring is not played by the Proxmox of this sandbox")
    qemu.check_rights(call.node, call.caller, vmid, call.values)
    config = qemu.chosen(call.values)
    guests.must_be_free(call.node, vmid, "qemu")
    for drive in guests.drives(config).values():
        store, colon, _ = drive["file"].partition(":")
        if colon:
            volumes.storage(call.node, store)
        if source := drive.get("import-from"):
            _check_source(call, source)
    record = guests.new("qemu", call.node, {name: one for name, one in config.items() if name in {"name", "tags"}})
    put_into(call, record)
    record["lock"] = "create"
    call.store["guests"][vmid] = record
    args = {"vmid": vmid, "config": config, "user": call.caller.user, "token": call.caller.token}
    args["start"] = call.get("start", 0)
    return tasks.start(call.node, "qmcreate", vmid, call.caller.name, args, seconds=MAKING_SECONDS)


def _check_source(call: Call, source: str) -> None:
    if source.startswith("/"):
        return
    volumes.find(call.node, source)
    rights = {"Datastore.AllocateSpace", "Datastore.Audit", "Datastore.AllocateTemplate"}
    access.require(call.node, call.caller, f"/storage/{source.partition(':')[0]}", rights, some=True)


tasks.UNDO["qmcreate"] = guests.forget


@work("qmcreate")
def _make(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    vmid = args["vmid"]
    record = node.store["guests"].get(vmid)
    if record is None:
        raise TaskError(f"unable to create VM {vmid} - config file vanished")
    try:
        record["config"] = qemu.place_disks(
            node, Caller(args["user"], args["token"]), vmid, args["config"], task["log"]
        )
        record["config"].setdefault("smbios1", f"uuid={new_uuid(node)}")
        for name, value in list(record["config"].items()):
            if name.rstrip("0123456789") == "net":
                record["config"][name] = with_mac(node, str(value))
    except Exception as error:
        del node.store["guests"][vmid]
        reason = getattr(error, "message", str(error))
        raise TaskError(f"unable to create VM {vmid} - {reason}") from error
    record["lock"] = ""
    if args["start"]:
        from ocifree_pipeline.sandbox.proxmox.api import qemu_power

        qemu_power.start_now(node, vmid, task)
    return None


def new_uuid(node: Node) -> str:
    digits = hashlib.sha256(node.world.fresh("smbios").encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def with_mac(node: Node, value: str, model_key: str = "model") -> str:
    """A network card gets an address of Proxmox's own range unless it brings one."""
    from ocifree_pipeline.sandbox.proxmox.schema import property_string

    pieces = property_string(value, model_key)
    digits = hashlib.sha256(node.world.fresh("pvemac").encode()).hexdigest()
    mac = f"BC:24:11:{digits[:2]}:{digits[2:4]}:{digits[4:6]}".upper()
    if model_key == "name":
        pieces.setdefault("hwaddr", mac)
        return joined(pieces)
    model = pieces.pop("model", None)
    if model is None:
        return value
    return joined({model: mac, **pieces})


@method(
    "GET",
    "/nodes/{node}/qemu/{vmid}/config",
    {"current": flag(), "snapshot": text()},
    may=SEE,
)
def _config(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    shown = dict(record["config"])
    if not call.get("current"):
        shown |= {name: value for name, value in record["pending"].items() if value is not None}
        for name, value in record["pending"].items():
            if value is None:
                shown.pop(name, None)
    if "cipassword" in shown:
        shown["cipassword"] = "**********"
    if record["lock"]:
        shown["lock"] = record["lock"]
    return shown | {"digest": digest(record)}


def digest(record: guests.Record) -> str:
    return hashlib.sha1(repr(sorted(record["config"].items())).encode()).hexdigest()  # noqa: S324 - as Proxmox does


@method("GET", "/nodes/{node}/qemu/{vmid}/pending", may=SEE)
def _pending(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    rows = []
    for name in sorted({*record["config"], *record["pending"]}):
        row: dict[str, Any] = {"key": name}
        if name in record["config"]:
            row["value"] = record["config"][name]
        if name in record["pending"]:
            waits = record["pending"][name]
            row |= {"delete": 1} if waits is None else {"pending": waits}
        rows.append(row)
    return rows


COLD = frozenset({"cores", "sockets", "memory", "cpu", "machine", "bios", "kvm", "scsihw", "serial0", "vga", "agent"})
"""What a running machine takes at its next start only."""


def change(call: Call) -> list[str]:
    """Apply a change; the log of what was done to disks."""
    vmid = call["vmid"]
    record = guests.find(call.node, vmid)
    if not call.get("skiplock"):
        guests.must_be_unlocked(record)
    if "digest" in call.values and call["digest"] != digest(record):
        raise died("detected modified configuration - file changed by other user? Try again.")
    qemu.check_rights(call.node, call.caller, vmid, call.values)
    wanted = qemu.chosen(call.values)
    if not wanted and not call.get("delete") and not call.get("revert"):
        raise wrong(option="no options specified")
    log: list[str] = []
    for name, value in qemu.place_disks(call.node, call.caller, vmid, wanted, log).items():
        final = with_mac(call.node, str(value)) if name.rstrip("0123456789") == "net" else value
        if record["status"] == "running" and name in COLD:
            record["pending"][name] = final
        else:
            record["config"][name] = final
    for name in call.get("delete", []):
        if record["status"] == "running" and name in COLD:
            record["pending"][name] = None
        else:
            _drop(record, name)
    for name in call.get("revert", []):
        record["pending"].pop(name, None)
    return log


def _drop(record: guests.Record, name: str) -> None:
    gone = record["config"].pop(name, None)
    drive = guests.drives({name: gone}).get(name) if gone else None
    if drive and not name.startswith("unused") and "cloudinit" not in drive["file"] and ":" in drive["file"]:
        free = next(number for number in range(256) if f"unused{number}" not in record["config"])
        record["config"][f"unused{free}"] = drive["file"]


@method("PUT", "/nodes/{node}/qemu/{vmid}/config", CHANGE, may=everybody, writes=True)
def _change(call: Call) -> Any:
    change(call)


@method(
    "POST",
    "/nodes/{node}/qemu/{vmid}/config",
    CHANGE | {"background_delay": whole(1, 30)},
    may=everybody,
    writes=True,
)
def _change_slowly(call: Call) -> Any:
    change(call)
    return tasks.start(call.node, "qmconfig", call["vmid"], call.caller.name)


@work("qmconfig")
def _configured(_node: Node, _task: Task, _args: dict[str, Any]) -> float | None:
    return None


@method(
    "PUT",
    "/nodes/{node}/qemu/{vmid}/resize",
    {
        "disk": text(required=True, pattern=r"(ide|scsi|virtio|sata)\d+|efidisk0"),
        "size": text(required=True, pattern=r"\+?\d+(\.\d+)?[KMGT]?"),
        "digest": form("digest"),
        "skiplock": flag(),
    },
    may=needs("/vms/{vmid}", "VM.Config.Disk"),
    writes=True,
)
def _resize(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    guests.must_be_unlocked(record)
    if call["disk"] not in guests.drives(record["config"]):
        raise died(f"disk '{call['disk']}' does not exist")
    args = {"vmid": call["vmid"], "disk": call["disk"], "size": call["size"]}
    return tasks.start(call.node, "resize", call["vmid"], call.caller.name, args)


@work("resize")
def _grow(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    record = guests.find(node, args["vmid"])
    drive = guests.drives(record["config"])[args["disk"]]
    volume = volumes.find(node, drive["file"])
    number = volumes.SIZE.fullmatch(args["size"].lstrip("+"))
    assert number is not None  # noqa: S101 - the parameter was matched before
    asked = int(float(number[1]) * volumes.UNITS[number[2]])
    size = int(volume["size"]) + asked if args["size"].startswith("+") else asked
    if size < volume["size"]:
        raise TaskError("shrinking disks is not supported")
    volume["size"] = size
    drive["size"] = volumes.text_of(size)
    record["config"][args["disk"]] = joined(drive, "file")
    return None


@method(
    "DELETE",
    "/nodes/{node}/qemu/{vmid}",
    {"purge": flag(), "skiplock": flag(), "destroy-unreferenced-disks": flag()},
    may=needs("/vms/{vmid}", "VM.Allocate"),
    writes=True,
)
def _destroy(call: Call) -> Any:
    vmid = call["vmid"]
    record = guests.find(call.node, vmid)
    if not call.get("skiplock"):
        guests.must_be_unlocked(record)
    if record["config"].get("protection"):
        raise died(f"can't remove VM {vmid} - protection mode enabled")
    if record["status"] == "running":
        raise died(f"VM {vmid} is running - destroy failed")
    if f"vm:{vmid}" in call.store["ha"]["resources"] and not call.get("purge"):
        raise died(f"unable to remove VM {vmid} - used in HA resources and purge parameter not set.")
    return tasks.start(call.node, "qmdestroy", vmid, call.caller.name, {"vmid": vmid})


@work("qmdestroy")
def _unmake(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    vmid = args["vmid"]
    record = guests.find(node, vmid)
    for drive in guests.drives(record["config"]).values():
        if ":" in drive["file"]:
            task["log"].append(f"Removing image: {drive['file']}")
            volumes.remove(node, drive["file"])
    del node.store["guests"][vmid]
    node.store["ha"]["resources"].pop(f"vm:{vmid}", None)
    return None


@method("GET", "/nodes/{node}/qemu/{vmid}", may=SEE)
def _index(call: Call) -> Any:
    guests.find(call.node, call["vmid"])
    return [{"subdir": name} for name in ("config", "pending", "status", "agent", "migrate", "resize", "cloudinit")]


@method(
    "GET",
    "/nodes/{node}/qemu/{vmid}/cloudinit/dump",
    {"type": text(required=True, pattern="user|network|meta")},
    may=SEE,
)
def _dump(call: Call) -> Any:
    found = qemu.seed(call.node, guests.find(call.node, call["vmid"]))
    return str(found.get("user", "")) if call["type"] == "user" else ""
