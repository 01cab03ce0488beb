"""The services of a node as systemd sees them, and which ports they open."""

from collections.abc import Mapping

from ocifree_pipeline.sandbox.ceph import on_proxmox
from ocifree_pipeline.sandbox.machines.backend import Serve
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.proxmox import nodes
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.server import PORT, serve

UNITS = ("pve-cluster", "pvedaemon", "pveproxy", "pvestatd", "pve-ha-crm", "pve-ha-lrm", "pve-firewall", "pvescheduler")


def runs(machine: Computer, unit: str) -> bool:
    node = Node(machine)
    if unit == "corosync":
        return bool(node.own["corosync"])
    if unit.startswith("ceph-"):
        return on_proxmox.unit_runs(machine, unit)
    return unit in UNITS and not node.own["failed"] and not (unit == "pveproxy" and node.own["proxyDown"])


def restart(machine: Computer, unit: str) -> str:
    """Start or restart a unit; the text says why it did not start."""
    node = Node(machine)
    if unit == "pve-cluster":
        nodes.start(node)
        return _failed(unit) if node.own["failed"] else ""
    if unit == "corosync":
        if node.cluster is None:
            return ""
        node.own["corosync"] = True
    if unit == "pveproxy":
        if node.own["failed"]:
            return _failed(unit)
        node.own.update(proxyDown=False, proxy=node.own["proxy"] + 1)
    return ""


def stop(machine: Computer, unit: str) -> None:
    own = Node(machine).own
    if unit == "pve-cluster":
        own["failed"] = "pve-cluster was stopped"
    elif unit == "corosync":
        own["corosync"] = False
    elif unit == "pveproxy":
        own["proxyDown"] = True


def _failed(unit: str) -> str:
    return (
        f"Job for {unit}.service failed because the control process exited with error code.\n"
        f'See "systemctl status {unit}.service" and "journalctl -xeu {unit}.service" for details.\n'
    )


def ports(machine: Computer) -> Mapping[int, Serve]:
    node = Node(machine)
    is_open = node.is_up and bool(node.own["pem"]) and not node.own["proxyDown"]
    return {PORT: serve} if is_open else {}
