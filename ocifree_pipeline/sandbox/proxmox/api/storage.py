"""/storage and /nodes/{node}/storage: definitions, and what they hold."""

import hashlib
from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, sizes, tasks, volumes
from ocifree_pipeline.sandbox.proxmox.errors import died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import Task, work

CONTENTS = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")
LOCAL, UNDECLARED = "local", "backup,images,iso,rootdir,snippets,vztmpl"
"""There always is one of that name; what it takes where no file says so."""
TYPES = ("dir", "lvm", "lvmthin", "rbd", "cephfs", "nfs", "zfspool", "pbs", "btrfs", "cifs")
CHANGES: dict[str, Parameter] = {
    "content": text(many=True),
    "nodes": form("pve-node", many=True),
    "disable": flag(),
    "shared": flag(),
    "krbd": flag(),
    "prune-backups": text(),
    "preallocation": one_of("off", "metadata", "falloc", "full"),
    "pool": text(),
    "monhost": text(),
    "username": text(),
    "create-base-path": flag(),
    "create-subdirs": flag(),
    "delete": text(many=True),
    "digest": form("digest"),
}
DEFINITION: dict[str, Parameter] = {
    **{name: one for name, one in CHANGES.items() if name not in {"delete", "digest"}},
    "type": one_of(*TYPES, required=True),
    "path": text(pattern=r"/.*"),
    "vgname": text(),
    "thinpool": text(),
}


def _contents(values: list[str]) -> str:
    for one in values:
        if one not in CONTENTS:
            raise wrong(content=f"invalid format - content type '{one}' does not exist\n")
    return ",".join(values)


@method("GET", "/storage", {"type": one_of(*TYPES)}, may=everybody)
def _definitions(call: Call) -> Any:
    rows = [_definition(name, one) for name, one in sorted(call.store["storage"].items())]
    return [row for row in rows if call.get("type") in {None, row["type"]} and _sees(call, row["storage"])]


def _sees(call: Call, name: str) -> bool:
    rights = access.privileges(call.node, call.caller, f"/storage/{name}")
    return bool(rights & {"Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"})


def _definition(name: str, one: dict[str, Any]) -> dict[str, Any]:
    return {"storage": name, "digest": _digest(one)} | one


def _digest(one: dict[str, Any]) -> str:
    return hashlib.sha1(repr(sorted(one.items())).encode()).hexdigest()  # noqa: S324 - what Proxmox uses


def _known(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = call.store["storage"].get(call["storage"])
    if found is None:
        raise died(f"storage '{call['storage']}' does not exist")
    return found


@method(
    "GET", "/storage/{storage}", may=needs("/storage/{storage}", "Datastore.Allocate", "Datastore.Audit", some=True)
)
def _get_definition(call: Call) -> Any:
    return _definition(call["storage"], _known(call))


@method(
    "POST",
    "/storage",
    DEFINITION | {"storage": form("pve-storage-id", required=True)},
    may=needs("/storage", "Datastore.Allocate"),
    writes=True,
)
def _define(call: Call) -> Any:
    name = call["storage"]
    if name in call.store["storage"]:
        raise died(f"create storage failed: storage ID '{name}' already defined")
    made = {key: call[key] for key in DEFINITION if key in call.values}
    if made["type"] == "dir" and "path" not in made:
        raise wrong(path="property is missing and it is not optional")
    if made["type"] not in {"dir", "rbd"}:
        raise died(f"create storage failed: type '{made['type']}' is not played by the Proxmox of this sandbox")
    made["content"] = _contents(made.get("content", ["images", "rootdir"]))
    if "nodes" in made:
        made["nodes"] = ",".join(made["nodes"])
    made["shared"] = 1 if made["type"] == "rbd" else made.get("shared", 0)
    call.store["storage"][name] = made
    return {"storage": name, "type": made["type"]}


@method("PUT", "/storage/{storage}", CHANGES, may=needs("/storage", "Datastore.Allocate"), writes=True)
def _redefine(call: Call) -> Any:
    one = _known(call)
    if "digest" in call.values and call["digest"] != _digest(one):
        raise died("detected modified configuration - file changed by other user? Try again.")
    for key in call.get("delete", []):
        one.pop(key, None)
    for key, value in call.values.items():
        if key not in {"storage", "delete", "digest"}:
            one[key] = _contents(value) if key == "content" else ",".join(value) if key == "nodes" else value
    return {"storage": call["storage"], "type": one["type"]}


@method("DELETE", "/storage/{storage}", may=needs("/storage", "Datastore.Allocate"), writes=True)
def _undefine(call: Call) -> Any:
    _known(call)
    del call.store["storage"][call["storage"]]
    if call["storage"] == LOCAL:
        call.store["storage"][LOCAL] = {"type": "dir", "path": "/var/lib/vz", "content": UNDECLARED, "shared": 0}


# on a node ------------------------------------------------------------------------------------------------------------


def _row(node: Node, name: str) -> dict[str, Any]:
    one = node.store["storage"][name]
    total, used = sizes.of_storage(node, name)
    active = volumes.is_active(node, name) and not one.get("disable")
    return {
        "storage": name,
        "type": one["type"],
        "content": one.get("content", ""),
        "shared": int(one.get("shared", 0)),
        "enabled": int(not one.get("disable")),
        "active": int(active),
        "total": total if active else 0,
        "used": used if active else 0,
        "avail": total - used if active else 0,
    }


@method(
    "GET",
    "/nodes/{node}/storage",
    {
        "storage": form("pve-storage-id"),
        "content": text(many=True),
        "enabled": flag(),
        "format": flag(),
        "target": form("pve-node"),
    },
    may=everybody,
)
def _on_node(call: Call) -> Any:
    rows = []
    for name, one in sorted(call.store["storage"].items()):
        if call.get("storage") not in {None, name} or not _sees(call, name):
            continue
        if one.get("nodes") and call.node.name not in str(one["nodes"]).split(","):
            continue
        kinds = set(str(one.get("content", "")).split(","))
        if call.get("content") and not kinds & set(call["content"]):
            continue
        rows.append(_row(call.node, name))
    return rows


@method("GET", "/nodes/{node}/storage/{storage}/status", may=needs("/storage/{storage}", "Datastore.Audit"))
def _status(call: Call) -> Any:
    volumes.storage(call.node, call["storage"])
    return {name: value for name, value in _row(call.node, call["storage"]).items() if name != "storage"}


@method(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    {"content": text(), "vmid": form("pve-vmid")},
    may=needs("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", some=True),
)
def _content(call: Call) -> Any:
    volumes.storage(call.node, call["storage"])
    rows = []
    for volid, one in sorted(volumes.listed(call.node, call["storage"]).items()):
        if call.get("content") not in {None, one["content"]} or call.get("vmid") not in {None, one.get("vmid")}:
            continue
        row = {"volid": volid, "size": one["size"], "format": one["format"], "content": one["content"]}
        row["ctime"] = one["ctime"]
        rows.append(row | ({"vmid": int(one["vmid"])} if one.get("vmid") else {}))
    return rows


@method(
    "GET",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    may=needs("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace", some=True),
)
def _volume(call: Call) -> Any:
    one = volumes.find(call.node, _volid(call))
    return {"format": one["format"], "size": one["size"], "used": one["size"], "path": f"/dev/{_volid(call)}"}


def _volid(call: Call) -> str:
    return str(call["volume"] if ":" in call["volume"] else f"{call['storage']}:{call['volume']}")


@method(
    "DELETE",
    "/nodes/{node}/storage/{storage}/content/{volume}",
    {"delay": whole(1, 30)},
    may=needs("/storage/{storage}", "Datastore.Allocate"),
)
def _delete_content(call: Call) -> Any:
    volid = _volid(call)
    volumes.find(call.node, volid)
    if any(volid in str(value) for one in call.store["guests"].values() for value in one["config"].values()):
        raise died(f"volume '{volid}' is used by a guest")
    return tasks.start(call.node, "imgdel", f"{volid}", call.caller.name, {"volid": volid})


@work("imgdel")
def _imgdel(node: Node, _task: Task, args: dict[str, Any]) -> float | None:
    volumes.remove(node, args["volid"])
    return None
