"""Drift: a plan that is read and never applied. What it would change, somebody changed behind our back.

A failure says that materializing the asset repairs it in place. A warning says that it does not: then a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.deployment.foundation import PARTS, Part
from ocifree_pipeline.deployment.platform import flux_delivers
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.facts import materialize_command
from ocifree_pipeline.record.foundation import GuardrailsFacts, guards_of, spec_of
from ocifree_pipeline.record.monitoring import (
    ALLOY,
    DashboardFacts,
    RuleFacts,
    contact_of,
    data_token,
    rendered,
    require_grafana,
)
from ocifree_pipeline.systems.foundation import foundation_for

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api

_MANIFESTS = {"platform/gateway": ("gateway", "sample"), ALLOY: ("monitoring",)}
"""The folders of manifests/ that an asset delivers, where they are not the one of its name."""


def of_guardrails(step: Step) -> Verdict:
    """Quota policy, budget and alert rule at Oracle, against the statements that were proved last."""
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.foundation.desired import guardrails
    from ocifree_pipeline.systems.oci.foundation.engine import Engine
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    facts = guards_of(step.instance) or step.facts(step.key, GuardrailsFacts)
    session = session_for(declaration.site)
    engine = Engine(session, declaration.name, declaration.compartment, journal_of(declaration.name), step.say)
    wanted = guardrails(declaration.name, session.tenancy, facts.statements, declaration.budget)
    try:
        return _verdict(step, engine.plan(wanted).lines)
    except (CannotChange, Conflict) as error:
        return _undecided(f"{error.what}. Nothing mends it by itself: {error.fix}")


def of_foundation(step: Step) -> Verdict:
    """Network, addresses, bucket and zone, as Oracle has them now."""
    part = _part(step.key)
    try:
        plan = foundation_for(step.blueprint.declaration, spec_of(step), step.say).plan(part)
    except CannotChange as error:
        return _undecided(f"{error.what}. Nothing mends it by itself: {error.fix}")
    if plan.is_noop and plan.surplus:
        said = f"{'; '.join(plan.surplus)}. Nothing removes it by itself: delete it at Oracle if nothing needs it"
        return _undecided(said, len(plan.surplus))
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
        return _undecided(f"{error.what}: {error.why}. {error.fix}")


def of_dashboards(step: Step) -> Verdict:
    """One that a person saved is theirs. It is told once; materializing takes note of it."""
    from ocifree_pipeline.deployment.telemetry.boards import boards_for
    from ocifree_pipeline.systems.grafana import drawing, provisioning

    facts, grafana = step.facts(step.key, DashboardFacts), require_grafana(step)
    wanted = [drawing.drawn(board, step.blueprint) for board in boards_for(step.blueprint)]
    boards = provisioning.boards_at(grafana)
    changes = provisioning.planned(boards, wanted, facts.folder, tuple(facts.dashboards.values()), overwrite=False)
    lines = tuple(str(change) for change in changes if change.verb != "keep")
    taken = [str(change) for change in changes if change.verb == "keep" and change.title not in facts.kept]
    if lines or not taken:
        return _verdict(step, lines)
    return _undecided(f"{'; '.join(taken)}. It stays as it is: {materialize_command(step.key)}", len(taken))


def of_alert_rules(step: Step) -> Verdict:
    """Rules, the contact point, and the way to it."""
    from ocifree_pipeline.systems.grafana import alerting

    facts, grafana = step.facts(step.key, RuleFacts), require_grafana(step)
    groups = alerting.groups_for(step.blueprint, facts.folder)
    hearing = alerting.planned_hearing(grafana, *contact_of(step), step.blueprint.declaration.name)
    lines = [one.line for one in hearing]
    lines += [f"write {len(one.rules)} rules `{one.name}`" for one in alerting.planned_groups(grafana, groups)]
    return _verdict(step, tuple(lines))


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

    plan = plan_for(api, part, rendered_part(step, part, _values(step)))
    return [str(change) for change in plan.changes if not (change.verb == "remove" and change.ref.kind == "Secret")]


def _values(step: Step) -> Mapping[str, Any]:
    """What an asset gives to its manifests beside what every template may use."""
    if step.key == "platform/oci_ccm":
        from ocifree_pipeline.record.platform import values_for_oracles_controller

        return values_for_oracles_controller(step)
    return {"monitoring": rendered(step, data_token(step)).monitoring} if step.key == ALLOY else {}


def _undecided(said: str, differences: int = 1) -> Verdict:
    """A person has to decide."""
    return Verdict(False, said, {"differences": differences}, warn=True)


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
