"""proxmox/cluster, network, ceph, ceph_pool, tailscale_lxc_<n>: only in the topology proxmox-ceph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from ocifree_pipeline.assets import proxmox_ceph, tailscale_lxc
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import AuthFailed
from ocifree_pipeline.record.ceph import CEPH, POOL
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.machines import dialer_for
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.proxmox import (
    CLUSTER,
    NETWORK,
    TOKEN,
    ClusterFacts,
    GuestsFacts,
    NodeFacts,
    nodes_of,
    third_vote,
    wanted_network,
)
from ocifree_pipeline.record.replaced import was_replaced
from ocifree_pipeline.record.tailnet import LINKS
from ocifree_pipeline.systems.proxmox.membership import Joining, Move
from ocifree_pipeline.systems.proxmox.node import Node

if TYPE_CHECKING:
    from ocifree_pipeline.systems.proxmox.api import Token

GROUP = "proxmox"
AUTHORITY = "/etc/pve/pve-root-ca.pem"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    if blueprint.plan.topology != "proxmox-ceph":
        return
    define = partial(define_asset, blueprint, group=GROUP)
    yield define(
        CLUSTER,
        _cluster,
        kinds={"proxmox"},
        deps=[f"machines/{machine.name}" for machine in blueprint.plan.machines],
        describe=(
            "One Proxmox cluster of all Ampere nodes. `pvecm add` exits 0 when a join failed, so this asset believes "
            "only what it reads back: quorate, every member online, one configuration everywhere."
        ),
    )
    yield define(
        NETWORK,
        _network,
        kinds={"proxmox"},
        deps=[CLUSTER],
        describe=(
            "A bridge on each node, a VXLAN tunnel between them as its only port, and NAT to the outside. Oracle drops "
            "foreign MAC addresses, so no guest is ever bridged to the network card."
        ),
    )
    yield define(
        CEPH,
        proxmox_ceph.ceph,
        kinds={"ceph", "proxmox"},
        deps=[NETWORK],
        describe=(
            "Ceph monitors, managers and one OSD a node on the declared partition of its boot volume, with memory "
            "targets for small nodes."
        ),
    )
    yield define(
        POOL,
        proxmox_ceph.ceph_pool,
        kinds={"ceph"},
        deps=[CEPH],
        describe=f"The pool for virtual machine disks. {blueprint.plan.ceph.how if blueprint.plan.ceph else ''}.",
    )
    if blueprint.declaration.access.tailscale.enabled:
        for number, node in enumerate(blueprint.plan.ampere, start=1):
            yield define(
                tailscale_lxc.lxc_key(number),
                partial(tailscale_lxc.materialize, number=number),
                kinds={"proxmox", "tailscale"},
                deps=[NETWORK, LINKS],
                describe=f"An unprivileged container on {node.name} that joins the tailnet and routes to the guests.",
            )


# proxmox/cluster ------------------------------------------------------------------------------------------------------


def _cluster(step: Step) -> Outcome:
    """Formed over SSH; then its token, and what its storages take, because a join wipes both."""
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox.forming import Former, cluster_name

    deployment = step.blueprint.declaration.name
    with nodes_of(step) as nodes:
        former = Former(cluster_name(deployment), nodes, journal_of(deployment), step.say)
        lines = former.prepare()
        joining = former.plan()
        lines += _bury(step, nodes, joining)
        lines += [move.words(former.cluster, joining.founder) for move in joining.moves]
        views = former.apply(joining)
        lines += third_vote(step, nodes)
        founder = nodes[0]
        authority = founder.text(AUTHORITY)
        try:
            token, made = _let_in(step, founder, authority)
        except AuthFailed:
            token, made = _let_in(step, founder, authority, renew=True)
        lines += made
    facts = ClusterFacts(
        name=former.cluster,
        release=views[0].version,
        nodes=tuple(NodeFacts(machine=node.machine, name=node.name, address=node.address) for node in nodes),
        authority=authority,
        user=token.user,
        token_name=token.name,
        token=TOKEN,
    )
    return Outcome(
        summary=f"{facts.name}: {len(views)} of {len(views)} nodes online, quorate, Proxmox VE {facts.release}",
        facts=facts,
        plan=tuple(lines),
        numbers={"nodes": len(views), "changes": len(lines)},
        evidence=[
            {"node": view.node, "address": view.address, "quorate": view.quorate, "configuration": view.digest}
            for view in views
        ],
        look_inside=f"ssh to {founder.machine} (see its asset), then: sudo pvecm status",
    )


def _let_in(step: Step, founder: Node, authority: str, *, renew: bool = False) -> tuple[Token, list[str]]:
    """The token, tried at the API; and what its storages take."""
    from ocifree_pipeline.systems.proxmox import access, storage
    from ocifree_pipeline.systems.proxmox.api import session
    from ocifree_pipeline.systems.secrets.vault import vault_of

    token, made = access.establish(founder, vault_of(step.blueprint.declaration.name), TOKEN, renew=renew)
    with session(dialer_for(step, founder.machine), founder.address, authority=authority, token=token) as api:
        return token, [*made, *storage.allow(api)]


def _bury(step: Step, nodes: Sequence[Node], joining: Joining) -> list[str]:
    """A node that is not itself any more leaves nothing behind, in Ceph neither, before its successor comes in."""
    from ocifree_pipeline.systems.ceph.burying import Burial

    lines: list[str] = []
    founder = next(node for node in nodes if node.name == joining.founder)
    for node in nodes:
        if Move("forget", node.name) in joining.moves and was_replaced(step, node.machine):
            step.say(f"{node.machine} is another machine than before, and Oracle has ended the one before")
            lines += Burial(node.name, founder, step.say).bury()
    return lines


# proxmox/network ------------------------------------------------------------------------------------------------------


def _network(step: Step) -> Outcome:
    from ocifree_pipeline.systems.proxmox import network

    step.facts(CLUSTER, ClusterFacts)
    with nodes_of(step) as nodes:
        wanted = wanted_network(step, nodes)
        lines: list[str] = []
        for node, one in zip(nodes, wanted, strict=True):
            found = network.plan(node, one)
            for line in found:
                step.say(line)
            if found:
                network.apply(node, one)
            lines += found
        network.prove(nodes, wanted)
    facts = GuestsFacts(
        bridge=network.BRIDGE,
        mtu=wanted[0].mtu,
        range=str(wanted[0].gateway.network),
        gateways={node.name: str(one.gateway.ip) for node, one in zip(nodes, wanted, strict=True)},
    )
    return Outcome(
        summary=f"{facts.bridge} on {len(nodes)} nodes: {facts.range}, packets of up to {facts.mtu} bytes, "
        "translated on the way out",
        facts=facts,
        plan=tuple(lines),
        numbers={"changes": len(lines), "mtu": facts.mtu},
        evidence=[{"node": node, "way out for guests": address} for node, address in facts.gateways.items()],
        look_inside="ssh to a node (see its asset), then: ip -d link show vxguests",
    )
