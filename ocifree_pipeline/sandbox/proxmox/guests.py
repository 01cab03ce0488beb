"""Virtual machines and containers of a cluster: their configuration, and what can be said about them in short."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox.nodes import Node

Guest = dict[str, Any]


def summary(node: Node, vmid: str) -> dict[str, Any]:
    guest = node.store["guests"][vmid]
    config = guest["config"]
    row: dict[str, Any] = {"vmid": int(vmid), "status": guest["status"]}
    row["name"] = config.get("name") or config.get("hostname") or f"{'VM' if guest['type'] == 'qemu' else 'CT'} {vmid}"
    row["maxmem"] = int(str(config.get("memory", 512))) * 1024**2
    row["cpus"] = row["maxcpu"] = int(config.get("cores", 1)) * int(config.get("sockets", 1))
    for name in ("tags", "template"):
        if config.get(name):
            row[name] = config[name]
    if guest.get("lock"):
        row["lock"] = guest["lock"]
    row["uptime"] = node.now - int(guest["since"]) if guest["status"] == "running" else 0
    return row
