"""Drift: a plan that is read and never applied. What it would change, somebody changed behind our back.

A failure says that materializing the asset repairs it in place. A warning says that it does not: then a person decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.deployment.foundation import PARTS, Part
from ocifree_pipeline.deployment.platform import flux_delivers
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.facts import materialize_command
from ocifree_pipeline.record.foundation import spec_of
from ocifree_pipeline.systems.foundation import foundation_for

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api

_MANIFESTS = {"platform/gateway": ("gateway", "sample")}
"""The folders of manifests/ that an asset delivers, where they are not the one of its name."""


def of_foundation(step: Step) -> Verdict:
    """Network, addresses, bucket and zone, as Oracle has them now."""
    part = _part(step.key)
    try:
        plan = foundation_for(step.blueprint.declaration, spec_of(step), step.say).plan(part)
    except CannotChange as error:
        return Verdict(False, f"{error.what}. Nothing mends it by itself: {error.fix}", {"differences": 1}, warn=True)
    if plan.is_noop and plan.surplus:
        return Verdict(
            False,
            f"{'; '.join(plan.surplus)}. Nothing removes it by itself: delete it at Oracle if nothing needs it",
            numbers={"differences": len(plan.surplus)},
            warn=True,
        )
    return _verdict(step, tuple(plan.lines))


def of_platform(step: Step) -> Verdict:
    """The objects of the manifests, compared by the cluster itself in a rehearsal."""
    from ocifree_pipeline.record.platform import cluster_api

    parts = _MANIFESTS.get(step.key, (step.key.rpartition("/")[2],))
    delivered = [part for part in parts if not flux_delivers(step.blueprint, part)]
    if not delivered:
        return Verdict(True, "Flux delivers it and mends it by itself", {"differences": 0})
    try:
        with cluster_api(step) as api:
            return _verdict(step, tuple(line for part in delivered for line in _planned(step, api, part)))
    except Conflict as error:
        return Verdict(False, f"{error.what}: {error.why}. {error.fix}", {"differences": 1}, warn=True)


def of_guest_network(step: Step) -> Verdict:
    """Files and interfaces of every Proxmox node."""
    from ocifree_pipeline.record.proxmox import nodes_of, wanted_network
    from ocifree_pipeline.systems.proxmox import network

    with nodes_of(step) as nodes:
        wanted = wanted_network(step, nodes)
        return _verdict(
            step, tuple(line for node, one in zip(nodes, wanted, strict=True) for line in network.plan(node, one))
        )


def _planned(step: Step, api: Api, part: str) -> list[str]:
    """Secrets are handed over beside the manifests, so a plan of the manifests alone would take them for surplus."""
    from ocifree_pipeline.record.platform import rendered_part
    from ocifree_pipeline.systems.kube.delivery import plan_for

    plan = plan_for(api, part, rendered_part(step, part))
    return [str(change) for change in plan.changes if not (change.verb == "remove" and change.ref.kind == "Secret")]


def _part(key: str) -> Part:
    return next(part for part in PARTS if key == f"oci/{part}")


def _verdict(step: Step, lines: tuple[str, ...]) -> Verdict:
    if not lines:
        return Verdict(True, "as it was made", {"differences": 0})
    return Verdict(
        False,
        f"{'; '.join(lines[:8])}{f' and {len(lines) - 8} more' if len(lines) > 8 else ''}. "
        f"Repaired in place by: {materialize_command(step.key)}",
        numbers={"differences": len(lines)},
        evidence=tuple({"to repair": line} for line in lines),
    )
