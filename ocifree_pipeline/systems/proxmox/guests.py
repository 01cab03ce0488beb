"""Virtual machines: made once, found again by name and tag, never made anew by themselves.

The number of a guest is in the journal before it is asked for: while Proxmox makes a guest, its number is all that
one sees of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ocifree_pipeline.deployment.errors import Conflict, NotVerified
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.oci.waiting import Pause, wait_for
from ocifree_pipeline.systems.proxmox.api import TASK_SECONDS, Api, NotThere
from ocifree_pipeline.systems.talos.nodes import StaticAddress

CREATE = "create a guest"
TAG = "ocifree"
DISK, SEED = "scsi0", "scsi1"
RESOLVERS = "1.1.1.1 8.8.8.8"
TRIES = 4
GIB = 1024
_COMPARED = ("cores", "memory", "bios", "scsihw", "kvm", "cpu", "cicustom", "ipconfig0", "net0")


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine as it shall be. `image` and `user_data` are volumes; `node` is where it is made."""

    name: str
    node: str
    deployment: str
    cores: int
    memory_gb: int
    disk_gb: int
    pool: str
    bridge: str
    address: StaticAddress
    image: str
    user_data: str
    architecture: str
    has_kvm: bool
    has_agent: bool

    @property
    def tags(self) -> tuple[str, str]:
        return TAG, tag_of(self.deployment)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for at `path`, and how it is found again."""

    name: str
    deployment: str
    kind: Literal["qemu", "lxc"]
    path: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A guest of ours that stands."""

    vmid: int
    node: str
    running: bool


def tag_of(deployment: str) -> str:
    return f"{TAG}-{deployment}"


def settings(machine: Machine) -> dict[str, Any]:
    """What it is made with. Its processor follows from what the node can do; emulated, it is as able as QEMU makes it.

    Not `virtio-scsi-single`: with it, Talos has hung at its bootstrap. The cloud-init drive is a SCSI one, as ARM
    machines have no IDE.
    """
    arm = machine.architecture == "aarch64"
    emulated = "max" if arm else "x86-64-v2-AES"
    return {
        "name": machine.name,
        "tags": ";".join(machine.tags),
        "ostype": "l26",
        "machine": "virt" if arm else "q35",
        "bios": "ovmf",
        "efidisk0": f"{machine.pool}:0,efitype=4m,pre-enrolled-keys=0",
        "sockets": 1,
        "cores": machine.cores,
        "cpu": "host" if machine.has_kvm else emulated,
        "kvm": machine.has_kvm,
        "memory": machine.memory_gb * GIB,
        "balloon": 0,
        "scsihw": "virtio-scsi-pci",
        DISK: f"{machine.pool}:0,import-from={machine.image},discard=on",
        SEED: f"{machine.pool}:cloudinit",
        "citype": "nocloud",
        "cicustom": f"user={machine.user_data}",
        "ipconfig0": f"ip={machine.address.address},gw={machine.address.gateway}",
        "nameserver": RESOLVERS,
        "net0": f"virtio,bridge={machine.bridge},mtu=1",
        "serial0": "socket",
        "vga": "serial0",
        "agent": int(machine.has_agent),
        "boot": f"order={DISK}",
        "onboot": True,
    }


def find(api: Api, name: str, deployment: str, kind: str = "qemu") -> Found | None:
    """By name and tag, on whichever node it is now. Two of them are nobody's to choose from."""
    rows = [
        row
        for row in api.get("/cluster/resources", type="vm")
        if row.get("name") == name
        and row["type"] == kind
        and tag_of(deployment) in str(row.get("tags", "")).replace(",", ";").split(";")
    ]
    if len(rows) > 1:
        told = ", ".join(f"{row['vmid']} on {row['node']}" for row in rows)
        raise Conflict(
            f"there are {len(rows)} guests called {name}",
            why=f"{told}; both have the tag {tag_of(deployment)}",
            fix="look which one is in use, and take the tag or the whole guest away from the other",
        )
    return next((Found(int(row["vmid"]), str(row["node"]), row.get("status") == "running") for row in rows), None)


def order_of(machine: Machine) -> Order:
    return Order(machine.name, machine.deployment, "qemu", f"/nodes/{machine.node}/qemu", settings(machine))


def ensure(api: Api, journal: Journal, order: Order) -> tuple[Found, bool]:
    """The guest, and whether it was made just now. It is not started."""
    found = find(api, order.name, order.deployment, order.kind)
    made = found is None
    for _ in range(TRIES):
        if found is not None:
            settle(journal, order.name)
            return found, made
        found = _make(api, journal, order)
    raise Conflict(
        f"no number was free for {order.name}",
        why=f"{TRIES} numbers were taken by others just when they were asked for",
        fix="something else makes guests in this cluster; materialize the asset again",
    )


def settle(journal: Journal, name: str) -> None:
    """It stands: whoever was about to make it has no need to look again."""
    for intent in journal.open_intents(CREATE):
        if intent.subject == name:
            journal.close(intent, "made")


def grow(api: Api, found: Found, disk_gb: int) -> list[str]:
    """The disk has this size at least. It never shrinks."""
    now = _size_gb(api.get(f"/nodes/{found.node}/qemu/{found.vmid}/config").get(DISK, ""))
    if now >= disk_gb:
        return []
    answer = api.put(f"/nodes/{found.node}/qemu/{found.vmid}/resize", disk=DISK, size=f"{disk_gb}G")
    if isinstance(answer, str) and answer.startswith("UPID:"):
        api.wait(answer)
    after = _size_gb(api.get(f"/nodes/{found.node}/qemu/{found.vmid}/config").get(DISK, ""))
    if after < disk_gb:
        raise NotVerified(
            f"the disk of guest {found.vmid} has {after:g} GB",
            why=f"it was to have {disk_gb}",
            fix=f"qm rescan --vmid {found.vmid} on {found.node}",
        )
    return [f"grow the disk of guest {found.vmid} from {now:g} to {disk_gb} GB"]


def start(api: Api, found: Found, kind: str = "qemu") -> list[str]:
    """It runs. One that runs already is left alone."""
    path = f"/nodes/{found.node}/{kind}/{found.vmid}/status"
    if api.get(f"{path}/current")["status"] == "running":
        return []
    api.wait(api.post(f"{path}/start"))
    said = api.get(f"{path}/current")
    if said["status"] != "running":
        raise NotVerified(
            f"guest {found.vmid} does not run",
            why=f"the task of its start ended well, and it is {said['status']}",
            fix=f"on {found.node}: journalctl -u pvedaemon, and try: {kind} start",
        )
    return [f"start guest {found.vmid}"]


def differences(api: Api, found: Found, machine: Machine) -> list[str]:
    """What is set otherwise than it would be made today. Only told: a guest is not changed behind its back."""
    wanted, there = settings(machine), api.get(f"/nodes/{found.node}/qemu/{found.vmid}/config")
    lines = [f"it runs on {found.node}, the plan says {machine.node}"] if found.node != machine.node else []
    for name in _COMPARED:
        want, has = wanted[name], there.get(name, 1 if name == "kvm" else None)
        if name == "net0":
            want, has = f"bridge={machine.bridge}", next((p for p in str(has).split(",") if "bridge" in p), None)
        if _pieces(int(want) if isinstance(want, bool) else want) != _pieces(has):
            lines.append(f"{name} is {has}, the plan says {want}")
    return lines


def _pieces(value: object) -> list[str]:
    """Proxmox keeps the pieces of a setting in the order that they were given in."""
    return sorted(str(value).split(","))


def _intend(api: Api, journal: Journal, name: str) -> Intent:
    promised = {int(str(one.details["vmid"])): one.subject for one in journal.open_intents(CREATE)}
    vmid = int(api.get("/cluster/nextid"))
    while vmid in promised:
        vmid += 1
    return journal.intend(CREATE, name, {"vmid": vmid}, now=datetime.now(UTC))


def _make(api: Api, journal: Journal, order: Order) -> Found | None:
    """Ask for it under a number that seems free. None when somebody else took the number meanwhile."""
    intent = _intend(api, journal, order.name)
    vmid = int(str(intent.details["vmid"]))
    if _is_being_made(api, order.path, vmid):
        _await_made(api, order.path, vmid)
        return find(api, order.name, order.deployment, order.kind)
    try:
        upid = api.post(order.path, vmid=vmid, **order.parameters)
    except Conflict:
        journal.close(intent, "the number was taken")
        return find(api, order.name, order.deployment, order.kind)
    api.wait(upid)
    found = find(api, order.name, order.deployment, order.kind)
    if found is None:
        raise NotVerified(
            f"{order.name} was made and is not there",
            why=f"the task {upid.split(':')[5]} ended well, and no guest has that name and tag",
            fix=f"look at it: pvesh get {order.path}",
        )
    return found


def _is_being_made(api: Api, path: str, vmid: int) -> bool:
    try:
        return bool(api.get(f"{path}/{vmid}/config").get("lock") == "create")
    except NotThere:
        return False


def _await_made(api: Api, path: str, vmid: int) -> None:
    wait_for(
        lambda: _is_being_made(api, path, vmid),
        lambda goes_on: not goes_on,
        what=f"guest {vmid}, whose making was under way, is made",
        timeout=TASK_SECONDS,
        pause=Pause(1, 5),
        clock=api.clock,
    )


def _size_gb(drive: str) -> float:
    size = next((part.removeprefix("size=") for part in drive.split(",") if part.startswith("size=")), "0")
    units = {"K": 1 / GIB / GIB, "M": 1 / GIB, "G": 1.0, "T": float(GIB)}
    return float(size[:-1]) * units[size[-1]] if size[-1:] in units else float(size) / GIB**3
