"""What a virtual machine is made of: its parameters, its disks, and what its node must have before it can start."""

from typing import Any

from ocifree_pipeline.sandbox.machines import files, interfaces
from ocifree_pipeline.sandbox.proxmox import guests, volumes
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died, wrong
from ocifree_pipeline.sandbox.proxmox.guests import Record, drives
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, joined, one_of, property_string, text, whole

SLOTS = {"scsi[n]": 31, "virtio[n]": 16, "sata[n]": 6, "ide[n]": 4}
NO_KVM = "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
CONFIG: dict[str, Parameter] = {
    "name": form("dns-name"),
    "description": text(longest=8192),
    "tags": text(pattern=r"[a-zA-Z0-9_+.\-;, ]*"),
    "cores": whole(1),
    "sockets": whole(1),
    "memory": text(pattern=r"\d+|current=\d+"),
    "balloon": whole(0),
    "cpu": text(),
    "machine": text(pattern=r"(type=)?(pc|q35|virt)[-a-z0-9.+]*(,.*)?", longest=40),
    "arch": one_of("x86_64", "aarch64"),
    "bios": one_of("seabios", "ovmf"),
    "scsihw": one_of("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"),
    "efidisk0": text(),
    "scsi[n]": text(),
    "virtio[n]": text(),
    "sata[n]": text(),
    "ide[n]": text(),
    "unused[n]": text(),
    "net[n]": text(),
    "serial[n]": text(pattern=r"/dev/.+|socket"),
    "vga": text(),
    "agent": text(),
    "kvm": flag(),
    "boot": text(),
    "onboot": flag(),
    "startup": text(),
    "ostype": one_of("other", "l24", "l26", "win10", "win11", "solaris", "wvista", "win7", "win8", "w2k8"),
    "citype": one_of("configdrive2", "nocloud", "opennebula"),
    "cicustom": text(),
    "ciuser": text(),
    "cipassword": text(),
    "ciupgrade": flag(),
    "ipconfig[n]": text(),
    "nameserver": text(),
    "searchdomain": text(),
    "sshkeys": text(),
    "smbios1": text(longest=512),
    "protection": flag(),
    "numa": flag(),
    "tablet": flag(),
    "keyboard": text(pattern=r"[a-z]{2}(-[a-z]{2})?"),
    "cpuunits": whole(1),
    "acpi": flag(),
    "hotplug": text(),
    "rng0": text(),
    "args": text(),
    "template": flag(),
    "hookscript": text(),
    "localtime": flag(),
    "lock": text(),
}
WISHES = frozenset({"file", "import-from", "format", "size"})
"""What a drive is asked for with, and does not keep as it was said."""
ROOT_ONLY = {"args": "only root can set 'args' config", "arch": "only root can set 'arch' config"}
PRIVILEGES = {
    "memory": "VM.Config.Memory",
    "balloon": "VM.Config.Memory",
    "cores": "VM.Config.CPU",
    "sockets": "VM.Config.CPU",
    "cpu": "VM.Config.CPU",
    "net": "VM.Config.Network",
    "ipconfig": "VM.Config.Cloudinit",
    "cicustom": "VM.Config.Cloudinit",
    "citype": "VM.Config.Cloudinit",
    "nameserver": "VM.Config.Cloudinit",
    "sshkeys": "VM.Config.Cloudinit",
    "machine": "VM.Config.HWType",
    "bios": "VM.Config.Options",
    "scsihw": "VM.Config.HWType",
    "vga": "VM.Config.HWType",
    "serial": "VM.Config.HWType",
    "scsi": "VM.Config.Disk",
    "virtio": "VM.Config.Disk",
    "sata": "VM.Config.Disk",
    "efidisk": "VM.Config.Disk",
}


def check_rights(node: Node, caller: Caller, vmid: str, values: dict[str, Any]) -> None:
    from ocifree_pipeline.sandbox.proxmox import access

    if caller.is_root:
        return
    for name, value in values.items():
        if name in ROOT_ONLY:
            raise ApiError(403, ROOT_ONLY[name])
        bare = name.rstrip("0123456789")
        needed = PRIVILEGES.get(name) or PRIVILEGES.get(bare)
        if needed or name in CONFIG or f"{bare}[n]" in CONFIG:
            access.require(node, caller, f"/vms/{vmid}", [needed or "VM.Config.Options"])
        if bare == "net":
            bridge = property_string(str(value), "model").get("bridge", "")
            access.require(node, caller, f"/sdn/zones/localnetwork/{bridge}", ["SDN.Use"])
        if bare in {*guests.DISKS, "efidisk"}:
            store = str(value).partition(":")[0]
            access.require(node, caller, f"/storage/{store}", ["Datastore.AllocateSpace"])


def chosen(values: dict[str, Any]) -> dict[str, Any]:
    """The settings among the parameters of a call, checked as far as they can be without a node."""
    found = {}
    for name, value in values.items():
        bare = name.rstrip("0123456789")
        if name not in CONFIG and f"{bare}[n]" not in CONFIG:
            continue
        limit = SLOTS.get(f"{bare}[n]")
        if limit is not None and int(name[len(bare) :]) >= limit:
            raise wrong(
                **{name: "property is not defined in schema and the schema does not allow additional properties"}
            )
        if bare in {"net", "ipconfig", *guests.DISKS, "efidisk"}:
            try:
                property_string(str(value), "model" if bare == "net" else "file")
            except ValueError as error:
                raise wrong(**{name: str(error)}) from error
        found[name] = value
    return found


def place_disks(node: Node, caller: Caller, vmid: str, config: dict[str, Any], log: list[str]) -> dict[str, Any]:
    """Allocate and import what the drives ask for; the settings with volumes in place of wishes."""
    made = dict(config)
    for name, drive in drives(config).items():
        volume = drive["file"]
        store, colon, what = volume.partition(":")
        if volume == "none" or not colon or ("media" in drive and drive["media"] == "cdrom" and what != "cloudinit"):
            if colon:
                volumes.find(node, volume)
            continue
        rest = {key: value for key, value in drive.items() if key not in WISHES}
        if what == "cloudinit":
            size = 4 * 1024**2
            volid = volumes.allocate(node, store, vmid, size, form=drive.get("format", ""), suffix="cloudinit")
            made[name] = joined({"file": volid, "media": "cdrom", **rest}, "file")
        elif what.replace(".", "", 1).isdigit():
            made[name] = _new_disk(node, caller, vmid, name, drive, log=log)
        else:
            volumes.find(node, volume)
    return made


def _new_disk(node: Node, caller: Caller, vmid: str, name: str, drive: dict[str, str], *, log: list[str]) -> str:
    store, _, wish = drive["file"].partition(":")
    size = volumes.bytes_of(wish) if name != "efidisk0" else 4 * 1024**2
    rest = {key: value for key, value in drive.items() if key not in WISHES}
    source = drive.get("import-from")
    image: dict[str, Any] = {}
    if source:
        if source.startswith("/"):
            if not caller.is_root:
                raise ApiError(403, "Only root can pass arbitrary filesystem paths.")
            raise died(f"importing from the path '{source}' is not played by the Proxmox of this sandbox")
        image = volumes.find(node, source)
        size = int((image.get("disk") or {}).get("size_bytes") or image["size"])
    elif size == 0 and name != "efidisk0":
        raise died(f"{name}: size 0 without import-from is no disk")
    volid = volumes.allocate(node, store, vmid, size, form=drive.get("format", ""))
    volume = volumes.find(node, volid)
    if source:
        volume["disk"] = image.get("disk")
        log.append(f"{name}: successfully created disk '{volid},size={volumes.text_of(size)}' from '{source}'")
    else:
        log.append(f"{name}: successfully created disk '{volid},size={volumes.text_of(size)}'")
    return joined({"file": volid, **rest, "size": volumes.text_of(size)}, "file")


def check_start(node: Node, guest: Record) -> list[str]:
    """What is in the way of a start is an ApiError; what is only odd is returned."""
    config, machine = guest["config"], node.machine
    warnings = []
    if config.get("template"):
        raise died("you can't start a vm if it's a template")
    host = machine.architecture
    arch = config.get("arch", host)
    has_kvm = files.exists(machine, "/dev/kvm")
    if int(config.get("kvm", 1)) and not has_kvm:
        raise died(NO_KVM)
    cpu = property_string(str(config.get("cpu", "")), "cputype").get("cputype", "") if config.get("cpu") else ""
    if cpu == "host" and not int(config.get("kvm", 1)):
        raise died("CPU type 'host' requires KVM")
    if guests.cores(config) > machine.vcpus:
        raise died(f"MAX {machine.vcpus} vcpus allowed per VM on this node")
    if arch == "aarch64":
        if any(name.startswith("ide") for name in config):
            raise died("aarch64 cannot use IDE devices")
        if config.get("bios") != "ovmf":
            raise died("aarch64 machines start with OVMF only: set bios=ovmf")
        if not str(config.get("machine", "virt")).removeprefix("type=").startswith("virt"):
            raise died(f"start failed: QEMU exited with code 1: unsupported machine type '{config['machine']}'")
    if config.get("bios") == "ovmf" and "efidisk0" not in config:
        warnings.append("no efidisk configured! Using temporary efivars disk.")
    if _megabytes(config) > machine.memory_gb * 1024:
        raise died("start failed: QEMU exited with code 1: cannot set up guest memory: Cannot allocate memory")
    running = interfaces.running(machine)
    for name, value in config.items():
        if name.rstrip("0123456789") == "net":
            bridge = property_string(str(value), "model").get("bridge", "")
            if bridge and bridge not in running:
                raise died(f"bridge '{bridge}' does not exist")
    for drive in drives(config).values():
        if ":" in drive["file"]:
            volumes.storage(node, drive["file"].partition(":")[0])
            if not volumes.is_active(node, drive["file"].partition(":")[0]):
                raise died(f"rbd: couldn't connect to the cluster!\ncan't activate volume '{drive['file']}'")
            volumes.find(node, drive["file"])
    return warnings


def _megabytes(config: dict[str, Any]) -> int:
    return int(str(config.get("memory", 512)).removeprefix("current="))


def seed(node: Node, guest: Record) -> dict[str, Any]:
    """What is written on the cloud-init drive; nothing without one, but the serial number may carry a hint."""
    config = guest["config"]
    if not any("cloudinit" in drive["file"] for drive in drives(config).values()):
        return {}
    network = {name: value for name, value in config.items() if name.startswith("ipconfig")}
    made: dict[str, Any] = {"network": network}
    custom = property_string(str(config["cicustom"])) if config.get("cicustom") else {}
    for kind in custom:
        if kind not in {"user", "meta", "network", "vendor"}:
            raise died(f"invalid cicustom: {kind}")
        if kind == "network":
            raise died("a network of cicustom is not played by the Proxmox of this sandbox: use ipconfig")
    if "user" in custom:
        made["user"] = _snippet(node, custom["user"])
    else:
        lines = ["#cloud-config", f"hostname: {config.get('name', 'vm')}"]
        if config.get("ciuser"):
            lines += ["users:", "  - default"]
        made["user"] = "\n".join(lines) + "\n"
    return made


def _snippet(node: Node, volid: str) -> str:
    name, _, path = volid.partition(":")
    volumes.storage(node, name, content="snippets")
    if name != "local" or not path.startswith("snippets/"):
        raise died(f"volume '{volid}' is no snippet of the storage local")
    text_ = files.texts(node.machine).get(volumes.SNIPPETS + path.removeprefix("snippets/"))
    if text_ is None:
        raise died(f"can't open '{volumes.SNIPPETS}{path.removeprefix('snippets/')}' - No such file or directory")
    return text_
