"""What lies below a cluster, as its exporters see it: Proxmox nodes, their guests, and Ceph."""

from __future__ import annotations

from ocifree_pipeline.deployment.telemetry.landscape import CephState, ProxmoxNode
from ocifree_pipeline.sandbox.ceph import reports
from ocifree_pipeline.sandbox.ceph.on_proxmox import site_of
from ocifree_pipeline.sandbox.ceph.site import Site
from ocifree_pipeline.sandbox.proxmox import nodes
from ocifree_pipeline.sandbox.world import World

HEALTH = {"HEALTH_OK": 0, "HEALTH_WARN": 1, "HEALTH_ERR": 2}


def hypervisors(world: World) -> tuple[ProxmoxNode, ...]:
    return tuple(ProxmoxNode(node.name, node.address, node.is_up) for node in nodes.everyone(world))


def guests(world: World) -> tuple[tuple[str, str, bool], ...]:
    """A guest runs only where its node does."""
    found = {}
    for node in nodes.everyone(world):
        for vmid, guest in node.store["guests"].items():
            if guest["node"] == node.name:
                name = str(guest["config"].get("name") or guest["config"].get("hostname") or vmid)
                found[f"{guest['type']}/{vmid}"] = (name, guest["status"] == "running" and node.is_up)
    return tuple((ident, name, runs) for ident, (name, runs) in sorted(found.items()))


def ceph(world: World) -> CephState | None:
    """As the active manager tells it; None while no manager answers, or while its module `prometheus` is off."""
    for node in nodes.everyone(world):
        if not node.is_up:
            continue
        site = site_of(node.machine)
        if "fsid" in site.shared:
            return _state(site)
    return None


def _state(site: Site) -> CephState | None:
    active = reports.mgr_dump(site)["active_name"]
    if not active or "prometheus" not in reports.modules(site)["enabled_modules"]:
        return None
    health = reports.health_of(site, detail=False)
    stats = reports.df(site)["stats"]
    states = [one["state"] for one in reports.pg_brief(site)["pg_stats"]]
    quorum = reports.status(site)["quorum_names"]
    return CephState(
        health=HEALTH[health["status"]],
        checks=tuple(code for code, check in health["checks"].items() if not check["muted"]),
        osds={f"osd.{number}": (bool(osd["up"]), bool(osd["in"])) for number, osd in site.shared["osds"].items()},
        monitors={name: name in quorum for name in site.shared["mons"]},
        total_bytes=stats["total_bytes"],
        used_bytes=stats["total_used_bytes"],
        pools=tuple(pool["pool_name"] for pool in site.shared["pools"].values()),
        groups=len(states),
        degraded=sum("degraded" in state or "undersized" in state for state in states),
        active_manager=str(active),
    )
