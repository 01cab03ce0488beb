"""monitoring/alloy, dashboards, alert_rules: telemetry within Grafana Cloud's free tier."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.platform import kubernetes_nodes
from ocifree_pipeline.deployment.telemetry import budget, landscape, planned
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.monitoring import (
    ALLOY,
    DASHBOARDS,
    LEAST_PODS,
    NAMESPACE,
    RULES,
    TOKEN_NAME,
    AlloyFacts,
    DashboardFacts,
    Rendered,
    RuleFacts,
    contact_of,
    data_token,
    folder_of,
    grafana_page,
    rendered,
    require_grafana,
    stores,
)
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import cluster_api, deliver

if TYPE_CHECKING:
    from ocifree_pipeline.deployment.telemetry.budget import Count
    from ocifree_pipeline.systems.kube.objects import Object

GROUP = "monitoring"
OVERWRITE = "OCIFREE_OVERWRITE_DASHBOARDS"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    cloud = blueprint.declaration.monitoring.grafana_cloud
    if cloud is None:
        return
    define = partial(define_asset, blueprint, group=GROUP)
    on_proxmox = blueprint.plan.topology == "proxmox-ceph"
    yield define(
        ALLOY,
        _alloy,
        kinds={"grafana", "kubernetes"},
        deps=[
            "platform/flux",
            *(["platform/tailscale_operator"] if blueprint.declaration.kubernetes.tailscale_operator.enabled else []),
            *(["proxmox/cluster", "proxmox/ceph"] if on_proxmox else []),
        ],
        describe=(
            "Grafana Alloy on every node and one for the cluster: they collect metrics and logs and send them to "
            "Grafana Cloud. Allow-lists keep what is sent within the free tier; it is counted before it is delivered."
        ),
    )
    if cloud.service_account_token is None:
        return
    yield define(
        DASHBOARDS,
        _dashboards,
        kinds={"grafana"},
        deps=[ALLOY],
        describe=(
            "One folder of dashboards, whose every query asks for metrics that this deployment really ships. One that "
            "a person has saved since is theirs and stays."
        ),
    )
    yield define(
        RULES,
        _alert_rules,
        kinds={"grafana"},
        deps=[ALLOY],
        describe=(
            "Alert rules, each with severity, context, a runbook and the first command to type, and the contact point "
            "that mails them. Rules and contact points of others are left alone."
        ),
    )


# monitoring/alloy -----------------------------------------------------------------------------------------------------


def _alloy(step: Step) -> Outcome:
    """Counted before it is delivered, and the credentials are tried first: a pod would only log that they are wrong."""
    from ocifree_pipeline.record.releases import installed_version
    from ocifree_pipeline.systems.kube.secrets import secret

    token = data_token(step)
    made = rendered(step, token)
    _try_credentials(step)
    with cluster_api(step) as api:
        count = _counted(step, made, len(api.list(api.require("v1", "Pod"))))
        login = secret(NAMESPACE, "grafana-cloud", {TOKEN_NAME: token})
        lines, more = _below(step)
        done = deliver(step, api, "monitoring", {"monitoring": made.monitoring}, secrets=[login, *more])
        version = installed_version(api, NAMESPACE, "alloy-cluster", done.objects)
    limit = step.blueprint.declaration.monitoring.series_budget
    return Outcome(
        summary=f"Alloy {version} on {kubernetes_nodes(step.blueprint)} nodes; {count.total} of {limit} series planned",
        facts=AlloyFacts(
            release=version, config=made.config, nodes=kubernetes_nodes(step.blueprint), manifests=done.digest
        ),
        plan=(*lines, *done.plan),
        numbers={"series planned": count.total, "series budget": limit}
        | {f"series of {job}": number for job, number in count.by_job.items()},
        evidence=[{"job": job, "metric": metric, "series": number} for job, metric, number in count.offenders()],
        links={"stack": grafana_page(step, "/")},
        look_inside="kubectl --namespace monitoring logs deployment/alloy-cluster --tail 50",
    )


def _try_credentials(step: Step) -> None:
    """A question to each store: a wrong token or user number is an error here, with its name."""
    doors = stores(step)
    doors.query("vector(1)")
    doors.lines('{job="none"}', 0, 1, 1)
    doors.traces_with({"service.name": "none"}, 0, 1)


def _counted(step: Step, made: Rendered, pods: int) -> Count:
    """The series that this configuration would cause in a cluster of this size. Refused above the budget."""
    declaration = step.blueprint.declaration
    size = landscape.imagined(
        kubernetes_nodes(step.blueprint),
        max(LEAST_PODS, pods),
        proxmox=len(made.monitoring["proxmox_nodes"]),
        tailscale=declaration.kubernetes.tailscale_operator.enabled,
    )
    jobs = made.agents.jobs
    count = budget.counted(jobs, planned.pages(jobs, size))
    budget.require_within(count, declaration.monitoring.series_budget)
    return count


def _below(step: Step) -> tuple[list[str], list[Object]]:
    """What Proxmox and Ceph need so that they can be asked: a token that may look, a module that shows."""
    if step.blueprint.plan.topology != "proxmox-ceph":
        return [], []
    from ocifree_pipeline.record.proxmox import nodes_of
    from ocifree_pipeline.systems.grafana import below
    from ocifree_pipeline.systems.kube.secrets import secret
    from ocifree_pipeline.systems.secrets.vault import vault_of

    with nodes_of(step) as nodes:
        entries, lines = below.auditor(nodes[0], vault_of(step.blueprint.declaration.name))
        lines += below.show_ceph(nodes[0], step.blueprint.declaration.monitoring.scrape_interval_seconds)
    return lines, [secret(NAMESPACE, "proxmox-exporter", entries)]


# monitoring/dashboards ------------------------------------------------------------------------------------------------


def _dashboards(step: Step) -> Outcome:
    import os

    from ocifree_pipeline.deployment.telemetry.boards import boards_for
    from ocifree_pipeline.systems.grafana import drawing, provisioning

    folder, title = folder_of(step)
    grafana = require_grafana(step)
    wanted = [drawing.drawn(board, step.blueprint) for board in boards_for(step.blueprint)]
    before = find_facts(step.instance, step.key, DashboardFacts)
    made = provisioning.ensure_folder(grafana, folder, title)
    boards = provisioning.boards_at(grafana)
    ours = tuple(before.dashboards.values()) if before else ()
    overwrite = os.environ.get(OVERWRITE) == "1"
    changes = provisioning.planned(boards, wanted, folder, ours, overwrite=overwrite)
    for change in changes:
        step.say(str(change))
    provisioning.apply(boards, wanted, folder, changes)
    kept = tuple(sorted(change.title for change in changes if change.verb == "keep"))
    done = [str(change) for change in changes if change.verb != "keep"]
    note = f"; {len(kept)} kept as a person saved them" if kept else ""
    return Outcome(
        summary=f"{len(wanted)} dashboards in the folder {title}{note}",
        facts=DashboardFacts(
            folder=folder, dashboards={str(spec["title"]): str(spec["uid"]) for spec in wanted}, kept=kept
        ),
        plan=(*([made] if made else []), *done),
        numbers={"dashboards": len(wanted), "kept": len(kept)},
        evidence=[_board_row(step, spec, kept) for spec in wanted],
        links={"folder": grafana_page(step, f"/dashboards/f/{folder}")},
        look_inside=f"{OVERWRITE}=1 ocifree up --select '{DASHBOARDS}'" if kept else None,
    )


def _board_row(step: Step, spec: dict[str, Any], kept: tuple[str, ...]) -> dict[str, str | int]:
    queries = sum(len(panel.get("targets", ())) for panel in spec["panels"])
    state = "kept" if spec["title"] in kept else "ours"
    return {
        "dashboard": str(spec["title"]),
        "queries": queries,
        "state": state,
        "page": grafana_page(step, f"/d/{spec['uid']}"),
    }


# monitoring/alert_rules -----------------------------------------------------------------------------------------------


def _alert_rules(step: Step) -> Outcome:
    from ocifree_pipeline.systems.grafana import alerting, provisioning

    declaration = step.blueprint.declaration
    folder, title = folder_of(step)
    grafana = require_grafana(step)
    groups = alerting.groups_for(step.blueprint, folder)
    before = find_facts(step.instance, step.key, RuleFacts)
    contact, emails = contact_of(step)
    hearing = alerting.planned_hearing(grafana, contact, emails, declaration.name)
    lines = [provisioning.ensure_folder(grafana, folder, title), *(one.line for one in hearing)]
    alerting.apply_hearing(grafana, hearing)
    for group in alerting.planned_groups(grafana, groups):
        lines.append(f"write {len(group.rules)} rules `{group.name}`")
        alerting.apply_group(grafana, group)
    for name in sorted(set(before.groups if before else ()) - {group.name for group in groups}):
        lines.append(f"remove the rules `{name}`")
        alerting.remove_group(grafana, folder, name)
    count = sum(len(group.rules) for group in groups)
    return Outcome(
        summary=f"{count} rules in {len(groups)} groups; {', '.join(emails) or 'nobody'} hears of them",
        facts=RuleFacts(
            folder=folder,
            groups=tuple(group.name for group in groups),
            rules=count,
            contact=contact,
            emails=emails,
        ),
        plan=tuple(line for line in lines if line),
        numbers={"rules": count, "groups": len(groups)},
        evidence=[{"group": group.name, "rules": len(group.rules)} for group in groups],
        links={"alerts": grafana_page(step, "/alerting/list")},
        look_inside="ocifree verify --select 'monitoring/alloy'",
    )
