"""What is installed on a guest: packages by name, with versions. What an image brings is there from the first boot."""

from ocifree_pipeline.sandbox.machines import names
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World

PVE_VERSION = "9.2.11"
CEPH_VERSION = "20.2.1-pve1"
BASE = {
    "bash": "5.2.37-2",
    "ca-certificates": "20250419",
    "cloud-init": "25.1.4-1",
    "openssh-server": "1:10.0p1-7",
    "sudo": "1.9.16p2-3",
    "systemd": "257.8-1",
}
HARDENED = {"chrony": "4.6.1-3", "nftables": "1.1.3-1", "tailscale": "1.90.6", "unattended-upgrades": "2.12"}
PROXMOX = {
    "pve-manager": PVE_VERSION,
    "pve-cluster": "9.1.6",
    "pve-container": "6.1.2",
    "qemu-server": "9.2.6",
    "libpve-storage-perl": "9.1.7",
    "libpve-access-control": "9.1.1",
    "pve-ha-manager": "5.1.0",
    "corosync": "3.1.10-pve1",
    "corosync-qdevice": "3.0.3-1",
    "ifupdown2": "3.3.0-1+pmx11",
    "postfix": "3.10.4-1",
    "open-iscsi": "2.1.11-1",
    "chrony": "4.6.1-3",
    "lvm2": "2.03.31-2",
}
CEPH = dict.fromkeys(
    ("ceph", "ceph-base", "ceph-common", "ceph-fuse", "ceph-mds", "ceph-mgr", "ceph-mon", "ceph-osd", "ceph-volume"),
    CEPH_VERSION,
) | {"gdisk": "1.0.10-2", "nvme-cli": "2.13-2"}
AVAILABLE = BASE | {
    "corosync-qnetd": "3.0.3-1",
    "corosync-qdevice": "3.0.3-1",
    "curl": "8.14.1-2",
    "chrony": "4.6.1-3",
    "gdisk": "1.0.10-2",
    "gnupg": "2.4.7-21",
    "jq": "1.7.1-6",
    "nftables": "1.1.3-1",
    "nvme-cli": "2.13-2",
    "parted": "3.6-5",
    "tailscale": "1.90.6",
    "unattended-upgrades": "2.12",
    "qemu-guest-agent": "1:10.0.3",
    "iptables": "1.8.11-2",
    "dnsmasq": "2.91-1",
    "frr": "10.3.1-1+pve4",
    "frr-pythontools": "10.3.1-1+pve4",
    "rsync": "3.4.1-5",
}
"""What the archives of Debian and Tailscale offer, as far as anybody asks."""


def brought(machine: Computer) -> dict[str, str]:
    """What the image holds."""
    proxmox = PROXMOX | CEPH if names.is_for_proxmox(machine) else {}
    return BASE | (HARDENED if names.is_hardened(machine) else {}) | proxmox


def offered(machine: Computer) -> dict[str, str]:
    """What apt-get would find: Debian's archive, and on a Proxmox node those of Proxmox and Ceph too.

    Newer versions are found from the next `apt-get update` on.
    """
    known = AVAILABLE | (PROXMOX | CEPH if names.is_for_proxmox(machine) else {})
    newer = machine.guest.get("lists", {})
    return known | {name: newer[name] for name in newer if name in known or name in installed(machine)}


def published(world: World) -> dict[str, str]:
    """Versions that the archives have put out since the images were made."""
    found: dict[str, str] = world.facts.setdefault("archives", {})
    return found


def read_lists(machine: Computer) -> None:
    """What `apt-get update` does."""
    machine.guest["lists"] = dict(published(machine.world))


def newer(machine: Computer) -> dict[str, str]:
    """What is installed, in the other version that apt-get knows of."""
    known, have = offered(machine), installed(machine)
    return {one: known[one] for one in sorted(have) if known.get(one, have[one]) != have[one]}


def installed(machine: Computer) -> dict[str, str]:
    found: dict[str, str] = machine.guest["packages"]
    return found


def add(machine: Computer, wanted: list[str]) -> list[str]:
    """Install; what is returned are those that no archive has."""
    known, have = offered(machine), installed(machine)
    if unknown := [one for one in wanted if one not in known and one not in have]:
        return unknown
    for one in wanted:
        have.setdefault(one, known.get(one, "1.0"))
    return []
