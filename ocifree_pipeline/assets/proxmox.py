"""proxmox/cluster, network, ceph, ceph_pool, tailscale_lxc_<n>: only in the topology proxmox-ceph."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.definition import define_asset

GROUP = "proxmox"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    if blueprint.plan.topology != "proxmox-ceph":
        return
    yield define_asset(
        blueprint,
        "proxmox/cluster",
        None,
        group=GROUP,
        kinds={"proxmox"},
        deps=[f"machines/{machine.name}" for machine in blueprint.plan.machines],
        describe=(
            "One Proxmox cluster of all Ampere nodes. `pvecm add` exits 0 when a join failed, so this asset believes "
            "only what it reads back: quorate, every member online, one configuration everywhere."
        ),
    )
    yield define_asset(
        blueprint,
        "proxmox/network",
        None,
        group=GROUP,
        kinds={"proxmox"},
        deps=["proxmox/cluster"],
        describe=(
            "A bridge without a port on each node, NAT to the outside and a VXLAN zone between nodes. Oracle drops "
            "foreign MAC addresses, so no guest is ever bridged to the network card."
        ),
    )
    yield define_asset(
        blueprint,
        "proxmox/ceph",
        None,
        group=GROUP,
        kinds={"ceph", "proxmox"},
        deps=["proxmox/network"],
        describe=(
            "Ceph monitors, managers and one OSD a node on the declared partition of its boot volume, with memory "
            "targets for small nodes."
        ),
    )
    yield define_asset(
        blueprint,
        "proxmox/ceph_pool",
        None,
        group=GROUP,
        kinds={"ceph"},
        deps=["proxmox/ceph"],
        describe=f"The pool for virtual machine disks. {blueprint.plan.ceph.how if blueprint.plan.ceph else ''}.",
    )
    if blueprint.declaration.access.tailscale.enabled:
        for number, node in enumerate(blueprint.plan.ampere, start=1):
            yield define_asset(
                blueprint,
                f"proxmox/tailscale_lxc_{number}",
                None,
                group=GROUP,
                kinds={"proxmox", "tailscale"},
                deps=["proxmox/network"],
                describe=f"An unprivileged container on {node.name} that joins the tailnet and routes to the guests.",
            )
