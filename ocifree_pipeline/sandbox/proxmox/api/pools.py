"""/pools: guests and storages under one name, so that rights are given on all of them at once."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, guests
from ocifree_pipeline.sandbox.proxmox.api import cluster
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text

NAME = form("pve-roleid", required=True)
KINDS: dict[str, Parameter] = {"type": one_of("qemu", "lxc", "storage")}
CHANGE: dict[str, Parameter] = {
    "comment": text(),
    "vms": form("pve-vmid", many=True),
    "storage": form("pve-storage-id", many=True),
    "delete": flag(),
    "allow-move": flag(),
}


def _all(call: Call) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = call.store.setdefault("pools", {})
    return found


def _one(call: Call, name: str) -> dict[str, Any]:
    if name not in _all(call):
        raise died(f"pool '{name}' does not exist")
    return _all(call)[name]


def put_into(call: Call, record: guests.Record) -> None:
    """A new guest begins in the pool that its maker names."""
    if name := call.get("pool"):
        _one(call, name)
        access.require(call.node, call.caller, f"/pool/{name}", ["VM.Allocate"])
        record["pool"] = name


def _sees(call: Call, name: str) -> bool:
    return bool({"Pool.Audit", "Pool.Allocate"} & access.privileges(call.node, call.caller, f"/pool/{name}"))


def _members(call: Call, name: str) -> list[dict[str, Any]]:
    kept = _all(call)[name]
    rows = [
        row
        for row in cluster.resources(call)
        if row.get("pool") == name or (row["type"] == "storage" and row["storage"] in kept["storage"])
    ]
    return [row for row in rows if call.get("type") in {None, row["type"]}]


def _row(call: Call, name: str) -> dict[str, Any]:
    comment = _all(call)[name]["comment"]
    return {"poolid": name} | ({"comment": comment} if comment else {})


@method("GET", "/pools", KINDS | {"poolid": form("pve-roleid")}, may=everybody)
def _pools(call: Call) -> Any:
    wanted = call.get("poolid")
    if wanted is None:
        return [_row(call, name) for name in sorted(_all(call)) if _sees(call, name)]
    _one(call, wanted)
    access.require(call.node, call.caller, f"/pool/{wanted}", ["Pool.Audit"])
    return [_row(call, wanted) | {"members": _members(call, wanted)}]


def _may_allocate(call: Call) -> None:
    access.require(call.node, call.caller, f"/pool/{call['poolid']}", ["Pool.Allocate"])


@method("POST", "/pools", {"poolid": NAME, "comment": text()}, may=_may_allocate, writes=True)
def _create(call: Call) -> Any:
    name = call["poolid"]
    if name in _all(call):
        raise died(f"create pool failed: pool '{name}' already exists")
    _all(call)[name] = {"comment": call.get("comment", ""), "storage": []}


@method("PUT", "/pools", CHANGE | {"poolid": NAME}, may=_may_allocate, writes=True)
def _change(call: Call) -> Any:
    name = call["poolid"]
    kept = _one(call, name)
    kept["comment"] = call.get("comment", kept["comment"])
    for vmid in call.get("vms", []):
        _move(call, name, vmid)
    for store in call.get("storage", []):
        if (store in kept["storage"]) != bool(call.get("delete")):
            told = "is not a pool member" if call.get("delete") else "is already a pool member"
            raise died(f"update pools failed: storage '{store}' {told}")
        others = [one for one in kept["storage"] if one != store]
        kept["storage"] = others if call.get("delete") else [*others, store]


def _move(call: Call, name: str, vmid: str) -> None:
    record = call.store["guests"].get(vmid)
    now = record.get("pool") if record else None
    if call.get("delete"):
        if record is None or now != name:
            raise died(f"update pools failed: VM {vmid} is not a pool member")
        del record["pool"]
        return
    if record is None:
        raise died(f"update pools failed: VM {vmid} does not exist")
    if now not in {None, name} and not call.get("allow-move"):
        raise died(f"update pools failed: VM {vmid} belongs already to pool '{now}' and allow-move is not set")
    record["pool"] = name


@method("DELETE", "/pools", {"poolid": NAME}, may=_may_allocate, writes=True)
def _delete(call: Call) -> Any:
    name = call["poolid"]
    if _one(call, name)["storage"]:
        raise died(f"delete pool failed: pool '{name}' is not empty (contains storage)")
    if any(one.get("pool") == name for one in call.store["guests"].values()):
        raise died(f"delete pool failed: pool '{name}' is not empty (contains VMs)")
    del _all(call)[name]
