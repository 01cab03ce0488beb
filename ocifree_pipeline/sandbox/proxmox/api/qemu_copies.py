"""/nodes/{node}/qemu: templates, and copies of a machine with all its disks."""

import copy
import re
from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, guests, nodes, tasks, volumes
from ocifree_pipeline.sandbox.proxmox.api.pools import put_into
from ocifree_pipeline.sandbox.proxmox.api.qemu import new_uuid, with_mac
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import flag, form, joined, text
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

COPY_SECONDS = 10.0
LEFT_BEHIND = ("template", "protection", "smbios1")
CARD = re.compile(r"^(\w+)=[0-9A-F:]{17}")


@method("POST", "/nodes/{node}/qemu/{vmid}/template", may=needs("/vms/{vmid}", "VM.Allocate"), writes=True)
def _template(call: Call) -> Any:
    record = guests.find(call.node, call["vmid"])
    guests.must_be_unlocked(record)
    if record["config"].get("template"):
        raise died("you can't convert a template to a template")
    if record["status"] == "running":
        raise died("you can't convert a VM to template if VM is running")
    record["config"]["template"] = 1
    return tasks.start(call.node, "qmtemplate", call["vmid"], call.caller.name, {"vmid": call["vmid"]})


@work("qmtemplate")
def _become_base(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    """Its disks are called otherwise from then on, so that nobody takes them for those of a machine."""
    config = guests.find(node, args["vmid"])["config"]
    for slot, drive in guests.drives(config).items():
        before = drive["file"]
        if _is_disk(drive):
            drive["file"] = before.replace(f"vm-{args['vmid']}-", f"base-{args['vmid']}-")
            kept = volumes.table(node, before.partition(":")[0])
            kept[drive["file"]] = kept.pop(before)
            config[slot] = joined(drive, "file")
    return None


def _is_disk(drive: dict[str, str]) -> bool:
    return ":" in drive["file"] and "cloudinit" not in drive["file"] and drive.get("media") != "cdrom"


@method(
    "POST",
    "/nodes/{node}/qemu/{vmid}/clone",
    {
        "newid": form("pve-vmid", required=True),
        "name": form("dns-name"),
        "description": text(),
        "pool": text(),
        "full": flag(),
        "target": form("pve-node"),
        "storage": form("pve-storage-id"),
    },
    may=needs("/vms/{vmid}", "VM.Clone"),
    writes=True,
)
def _clone(call: Call) -> Any:
    source, newid = guests.find(call.node, call["vmid"]), call["newid"]
    guests.must_be_unlocked(source)
    access.require(call.node, call.caller, f"/vms/{newid}", ["VM.Allocate"])
    guests.must_be_free(call.node, newid, "qemu")
    if source["status"] == "running":
        raise ApiError(501, "copying a machine that runs is not played by the Proxmox of this sandbox")
    if not call.get("full", not source["config"].get("template")):
        raise ApiError(501, "linked copies are not played by the Proxmox of this sandbox")
    target = _target(call, source)
    name = call.get("name") or f"Copy-of-VM-{source['config'].get('name', call['vmid'])}"
    record = guests.new("qemu", target, {"name": name})
    put_into(call, record)
    record["lock"] = "clone"
    call.store["guests"][newid] = record
    args = {"vmid": newid, "source": call["vmid"], "storage": call.get("storage", ""), "name": name}
    args["description"] = call.get("description", "")
    return tasks.start(call.node, "qmclone", call["vmid"], call.caller.name, args, seconds=COPY_SECONDS)


def _target(call: Call, source: guests.Record) -> Node:
    """Where the copy is to be; all its disks must be there as well."""
    name = call.get("target", call.node.name)
    target = nodes.named(call.node, name)
    if target is None:
        raise died(f"no such cluster node '{name}'")
    chosen = call.get("storage")
    stores = {drive["file"].partition(":")[0] for drive in guests.drives(source["config"]).values()}
    for store in {chosen} if chosen else stores:
        if target.name != call.node.name and not volumes.storage(call.node, store).get("shared"):
            raise died(
                f"can't clone to non-shared storage '{store}'"
                if chosen
                else f"can't clone VM to node '{name}' (VM uses local storage)"
            )
    return target


tasks.UNDO["qmclone"] = guests.forget


@work("qmclone")
def _copy(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    vmid, source = args["vmid"], guests.find(node, args["source"])
    record = node.store["guests"].get(vmid)
    if record is None:
        raise TaskError(f"clone failed: Configuration file of VM {vmid} vanished")
    config = {name: value for name, value in source["config"].items() if name not in LEFT_BEHIND}
    try:
        for slot, drive in guests.drives(config).items():
            config[slot] = _copied(node, vmid, drive, args["storage"])
    except ApiError as error:
        del node.store["guests"][vmid]
        raise TaskError(f"clone failed: {error.message}") from error
    for name in [one for one in config if one.rstrip("0123456789") == "net"]:
        config[name] = with_mac(node, CARD.sub(r"\1", str(config[name])))
    config |= {"name": args["name"], "smbios1": f"uuid={new_uuid(node)}"}
    config |= {"description": args["description"]} if args["description"] else {}
    record.update(config=config, lock="")
    task["log"].append(f"create full clone of {len(guests.drives(config))} drives")
    return None


def _copied(node: Node, vmid: str, drive: dict[str, str], storage: str) -> str:
    store = storage or drive["file"].partition(":")[0]
    if "cloudinit" in drive["file"]:
        made = volumes.allocate(node, store, vmid, volumes.find(node, drive["file"])["size"], suffix="cloudinit")
    elif _is_disk(drive):
        before = volumes.find(node, drive["file"])
        made = volumes.allocate(node, store, vmid, before["size"], form=before["format"])
        inside = {name: copy.deepcopy(one) for name, one in before.items() if name in {"disk", "guest", "system"}}
        volumes.find(node, made).update(inside)
    else:
        return joined(drive, "file")
    return joined({**drive, "file": made}, "file")
