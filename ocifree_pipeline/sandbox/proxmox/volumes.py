"""Volumes: disks of guests and files that storages hold. Bytes lie in the world's directory, named by their digest."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox.disks import inspection
from ocifree_pipeline.sandbox.machines import files
from ocifree_pipeline.sandbox.proxmox import sizes
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.world import World

Volume = dict[str, Any]
GIB = 1024**3
SNIPPETS = "/var/lib/vz/snippets/"
DISK_KINDS = frozenset({"images", "rootdir"})
SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": GIB, "T": 1024 * GIB}


def storage(node: Node, name: str, *, content: str = "") -> dict[str, Any]:
    """A storage that can be used on a node, for that kind of content."""
    found: dict[str, Any] | None = node.store["storage"].get(name)
    if found is None:
        raise died(f"storage '{name}' does not exist")
    if found.get("disable"):
        raise died(f"storage '{name}' is disabled")
    if found.get("nodes") and node.name not in str(found["nodes"]).split(","):
        raise died(f"storage '{name}' is not available on node '{node.name}'")
    if content and content not in str(found.get("content", "")).split(","):
        raise died(f"storage '{name}' is not configured for content-type '{content}'")
    return found


def is_active(node: Node, name: str) -> bool:
    config = node.store["storage"][name]
    return sizes.of_storage(node, name)[0] > 0 if config["type"] == "rbd" else True


def table(node: Node, name: str) -> dict[str, Volume]:
    """Where the volumes of a storage are kept: on the node, or with the cluster when the storage is shared."""
    shared = int(node.store["storage"].get(name, {}).get("shared", 0))
    found: dict[str, Volume] = node.store.setdefault("content", {}) if shared else node.own["content"]
    return found


def listed(node: Node, name: str) -> dict[str, Volume]:
    found = {volid: one for volid, one in table(node, name).items() if volid.partition(":")[0] == name}
    if name == "local":
        for path, text in files.texts(node.machine).items():
            if path.startswith(SNIPPETS):
                volid = f"local:snippets/{path.removeprefix(SNIPPETS)}"
                found[volid] = {"size": len(text.encode()), "format": "snippet", "content": "snippets", "ctime": 0}
    return found


def find(node: Node, volid: str) -> Volume:
    name, colon, _ = volid.partition(":")
    if not colon:
        raise died(f"unable to parse volume ID '{volid}'")
    found = table(node, name).get(volid)
    if found is None:
        raise died(f"volume '{volid}' does not exist")
    return found


def allocate(node: Node, name: str, vmid: str, size: int, *, form: str = "", suffix: str = "disk") -> str:
    """A new disk of a guest; its volume id."""
    config = storage(node, name, content="images" if suffix != "rootfs" else "rootdir")
    is_block = config["type"] in {"rbd", "lvmthin", "lvm", "zfspool"}
    if config["type"] == "rbd" and not is_active(node, name):
        raise died(f"error during cfs-locked 'storage-{name}' operation: rbd error: couldn't connect to the cluster!")
    form = "raw" if is_block or suffix == "rootfs" else form or "qcow2"
    known = table(node, name)
    for number in range(1000):
        base = f"vm-{vmid}-cloudinit" if suffix == "cloudinit" else f"vm-{vmid}-disk-{number}"
        volid = f"{name}:{base}" if is_block else f"{name}:{vmid}/{base}.{form}"
        if volid not in known:
            content = "rootdir" if suffix == "rootfs" else "images"
            known[volid] = {"size": size, "format": form, "content": content, "vmid": vmid, "ctime": node.now}
            return volid
        if suffix == "cloudinit":
            return volid
    raise died(f"unable to allocate an image name for VM {vmid} in storage '{name}'")


def remove(node: Node, volid: str) -> None:
    table(node, volid.partition(":")[0]).pop(volid, None)


def bytes_of(text: str) -> int:
    """``8`` and ``8G`` are 8 GiB where a size of a disk is asked for; ValueError otherwise."""
    match = SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"unable to parse size '{text}'")
    return int(float(match[1]) * UNITS[match[2] or "G"])


def text_of(size: int) -> str:
    for unit in ("T", "G", "M", "K"):
        if size >= UNITS[unit] and size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]}{unit}"
    return str(size)


# bytes ----------------------------------------------------------------------------------------------------------------


def keep(world: World, data: bytes) -> str:
    """Put bytes away; the name to find them by."""
    name = hashlib.sha256(data).hexdigest()
    path = _path(world, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
    return name


def _path(world: World, name: str) -> Path:
    return world.directory / "pve" / name


def put_file(node: Node, name: str, content: str, filename: str, data: bytes) -> str:
    """A file of a storage, looked into when it is a disk image."""
    volid = f"{name}:{content}/{filename}"
    volume: Volume = {"size": len(data), "format": filename.rpartition(".")[2], "content": content, "ctime": node.now}
    if content in {"import", "iso"}:
        blob = keep(node.world, data)
        volume["file"] = blob
        if filename.endswith(".qcow2"):
            volume["disk"] = inspection.inspect(_path(node.world, blob), "QCOW2").to_json()
    table(node, name)[volid] = volume
    return volid


def fetch(world: World, url: str) -> bytes | None:
    """What the hosts that the sandbox plays have at an address; None: nobody has it."""
    from urllib.parse import urlsplit

    from ocifree_pipeline.sandbox.door.http import Body, Request
    from ocifree_pipeline.sandbox.image_hosts import HOSTS

    parts = urlsplit(url)
    if parts.hostname not in HOSTS:
        return None
    _, answer = HOSTS[parts.hostname]
    request = Request("GET", parts.hostname, parts.path, parts.path, {}, {}, Body(_nothing()), secure=True)
    response = answer(world, request, b"").response
    return response.body if response.status == 200 else None


async def _nothing() -> AsyncIterator[bytes]:
    for piece in tuple[bytes]():
        yield piece
