"""Virtual machines and containers of a cluster: where they are, what can be said in short, and as computers."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any
from urllib.parse import unquote

from ocifree_pipeline.sandbox.machines import interfaces, reach
from ocifree_pipeline.sandbox.machines.computer import Computer, Phase, Platform, Verdict, new_state, print_to
from ocifree_pipeline.sandbox.proxmox import nodes, volumes
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import property_string
from ocifree_pipeline.sandbox.world import World

Record = dict[str, Any]
NAMES = {"qemu": "VM", "lxc": "CT"}
BUSY = 0.05
"""How busy the processors of a guest that runs are."""
DISKS = ("scsi", "virtio", "sata", "ide")


def new(kind: str, node: Node, config: dict[str, Any]) -> Record:
    return {
        "type": kind,
        "node": node.name,
        "config": config,
        "pending": {},
        "status": "stopped",
        "since": 0,
        "lock": "",
        "machine": new_state(),
        "guest": {},
        "seed": {},
        "runs": {},
    }


def find(node: Node, vmid: str, kind: str = "qemu") -> Record:
    """A guest that is on this node."""
    found: Record | None = node.store["guests"].get(vmid)
    if found is None or found["type"] != kind or found["node"] != node.name:
        folder = "qemu-server" if kind == "qemu" else "lxc"
        raise died(f"Configuration file 'nodes/{node.name}/{folder}/{vmid}.conf' does not exist")
    return found


def must_be_free(node: Node, vmid: str, kind: str) -> None:
    there = node.store["guests"].get(vmid)
    if there is not None:
        what = NAMES[kind]
        raise died(
            f"unable to create {what} {vmid} - {NAMES[there['type']]} {vmid} already exists on node '{there['node']}'"
        )


def forget(node: Node, args: dict[str, Any]) -> None:
    """It was promised, and is not made."""
    node.store["guests"].pop(args["vmid"], None)


def must_be_unlocked(guest: Record) -> None:
    if guest["lock"]:
        raise died(f"{NAMES[guest['type']]} is locked ({guest['lock']})")


def summary(node: Node, vmid: str) -> dict[str, Any]:
    guest = node.store["guests"][vmid]
    config = guest["config"]
    row: dict[str, Any] = {"vmid": int(vmid), "status": guest["status"]}
    row["name"] = config.get("name") or config.get("hostname") or f"{NAMES[guest['type']]} {vmid}"
    row["maxmem"] = int(str(config.get("memory", 512))) * 1024**2
    row["cpus"] = row["maxcpu"] = cores(config)
    for name in ("tags", "template"):
        if config.get(name):
            row[name] = config[name]
    if guest["lock"]:
        row["lock"] = guest["lock"]
    runs = guest["status"] == "running"
    row |= {"mem": row["maxmem"] // 2 if runs else 0, "cpu": BUSY if runs else 0, "disk": 0, "maxdisk": 0}
    row["uptime"] = node.now - int(guest["since"]) if runs else 0
    return row


def cores(config: dict[str, Any]) -> int:
    return int(config.get("cores", 1)) * int(config.get("sockets", 1))


def drives(config: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The disks by slot, taken apart; ``file`` is the volume."""
    return {
        name: property_string(str(value), "file")
        for name, value in config.items()
        if name.rstrip("0123456789") in (*DISKS, "efidisk", "tpmstate", "unused") and name[-1].isdigit()
    }


def boot_drive(config: dict[str, Any]) -> str:
    """The slot of the disk that is started first."""
    order = property_string(str(config.get("boot", "")), "legacy").get("order", "").split(";")
    known = drives(config)
    candidates = [one for one in order if one in known] or [
        name for name in sorted(known) if name.rstrip("0123456789") in DISKS and "cloudinit" not in known[name]["file"]
    ]
    return candidates[0] if candidates else ""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as a computer."""

    node: Node
    vmid: str

    @property
    def record(self) -> Record:
        found: Record = self.node.store["guests"][self.vmid]
        return found

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.record["config"]
        return found

    @property
    def is_container(self) -> bool:
        return bool(self.record["type"] == "lxc")

    @property
    def world(self) -> World:
        return self.node.world

    @property
    def key(self) -> str:
        return f"guest/{self.node.own['store']}/{self.vmid}"

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.record["machine"]
        return found

    @property
    def _volume(self) -> dict[str, Any]:
        if self.is_container:
            volid = property_string(str(self.config["rootfs"]), "volume")["volume"]
        else:
            volid = drives(self.config).get(boot_drive(self.config), {}).get("file", "")
        return volumes.table(self.node, volid.partition(":")[0]).get(volid, {})

    @property
    def guest(self) -> dict[str, Any]:
        """Kept with its disk; a guest without one forgets everything."""
        volume = self._volume
        found: dict[str, Any] = volume.setdefault("guest", {}) if volume else self.record["guest"]
        return found

    @property
    def disk(self) -> dict[str, Any]:
        found = self._volume.get("disk")
        empty = {"os": "", "osVersion": "", "labels": [], "loaders": [], "boot_code": False, "broken": "", "opaque": ""}
        system = {"os": "Debian", "osVersion": "13"} | self._volume.get("system", {})
        return {**empty, **system, "format": "raw", **(found or {})}

    @property
    def phase(self) -> Phase:
        phase: Phase = self.state["phase"]
        return phase

    @property
    def boots(self) -> int:
        return int(self.state["boots"])

    @property
    def architecture(self) -> str:
        return str(self.config.get("arch", self.node.machine.architecture)).replace("arm64", "aarch64")

    @property
    def is_uefi(self) -> bool:
        return not self.is_container and self.config.get("bios") == "ovmf"

    @property
    def vcpus(self) -> int:
        return cores(self.config)

    @property
    def memory_gb(self) -> float:
        return int(str(self.config.get("memory", 512))) / 1024

    @property
    def hostname(self) -> str:
        return str(self.config.get("hostname") or self.config.get("name") or f"{NAMES[self.record['type']]}{self.vmid}")

    @property
    def addresses(self) -> list[str]:
        """Static ones: nobody gives out addresses on a bridge without DHCP."""
        return [str(ip_interface(one).ip) for one in self.interfaces]

    @property
    def interfaces(self) -> list[str]:
        wanted = "net" if self.is_container else "ipconfig"
        source = self.config if self.is_container else self.record["seed"].get("network", self.config)
        found = [property_string(str(source[name])).get("ip", "") for name in sorted(source) if name.startswith(wanted)]
        return [one for one in found if one and one not in {"dhcp", "manual", "auto"}]

    @property
    def bridges(self) -> list[str]:
        nets = [str(value) for name, value in sorted(self.config.items()) if name.rstrip("0123456789") == "net"]
        return [property_string(one, "model").get("bridge", "") for one in nets]

    @property
    def platform(self) -> Platform:
        return "nocloud"

    @property
    def ssh_keys(self) -> list[str]:
        text = unquote(str(self.config.get("sshkeys") or self.config.get("ssh-public-keys") or ""))
        return [line.strip() for line in text.splitlines() if line.strip()]

    def user_data(self) -> str | None:
        found: str | None = self.record["seed"].get("user")
        return found

    def judge(self) -> Verdict:
        if self.is_container:
            return Verdict()
        disk, uefi = self.disk, self.is_uefi
        if self._volume.get("disk") is None:
            return _silent("its disk is empty")
        if disk["broken"]:
            return _silent(f"what was imported is no valid disk: {disk['broken']}")
        if disk["opaque"] or (not uefi and disk["boot_code"]) or (uefi and self.architecture in disk["loaders"]):
            return Verdict()
        others = " and ".join(disk["loaders"]) or "nothing"
        return _silent(
            f"its disk starts {others}; this machine is {self.architecture} with {'UEFI' if uefi else 'BIOS'}"
        )

    def again(self) -> "Guest":
        owner = nodes.named(self.node, self.record["node"])
        return Guest(owner or self.node, self.vmid)

    def print(self, *lines: str) -> None:
        print_to(self.state, lines)


def _silent(reason: str) -> Verdict:
    return Verdict(reason, (f"[firmware] This machine stays silent: {reason}.",))


def everyone(world: World) -> Iterator[Computer]:
    """All guests of all stores, as seen from the node that each is on."""
    for node in nodes.everyone(world):
        for vmid, guest in node.store["guests"].items():
            if guest["node"] == node.name:
                yield Guest(node, vmid)


def locate(world: World, ip: str) -> Computer | None:
    return next((one for one in everyone(world) if ip in one.addresses and one.phase != "off"), None)


def hosted(node: Node) -> list[Guest]:
    return [Guest(node, vmid) for vmid, guest in node.store["guests"].items() if guest["node"] == node.name]


def is_reachable(machine: Computer, guest: Guest) -> bool:
    """Whether packets of a machine find a guest: its node, a node of the same segment, or another guest there."""
    if isinstance(machine, Guest):
        same = set(machine.bridges) & set(guest.bridges)
        return bool(same) and _is_one_segment(machine.node.machine, guest.node.machine, min(same))
    for bridge in guest.bridges:
        if interfaces.owner_of_network(machine, guest.addresses[0]) == bridge:
            return _is_one_segment(machine, guest.node.machine, bridge)
    return False


def _is_one_segment(one: Computer, other: Computer, bridge: str) -> bool:
    return one.key == other.key or interfaces.are_tunnelled(one, other, bridge)


reach.SOURCES.append(everyone)
reach.LOCATORS.append(locate)
